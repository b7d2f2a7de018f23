"""Writes an update of each of the objects 0 to n-1, as the documentation of the record says."""

import sys

from confluent_kafka import Producer

bootstrap, topic, prefix, count = sys.argv[1:]
failed = []
producer = Producer(
    {"bootstrap.servers": bootstrap, "acks": "all", "partitioner": "murmur2_random"}
)
for key in range(int(count)):
    producer.produce(
        topic,
        key=f"{prefix}{key}",
        value=f'{{"new":{{"key":{key}}},"old":null}}',
        headers={"tw": "1;U;;none"},
        on_delivery=lambda error, _: failed.append(error) if error else None,
    )
if producer.flush(30) or failed:
    sys.exit(f"not written: {failed}")
print(f"{count} written")
