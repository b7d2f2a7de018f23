#!/bin/sh
# Creates Tidewire's topics on a cluster of three or more brokers. Existing topics are left alone.
#
#   BROKERS=kafka:9092 ./create-topics.sh
#
# KAFKA_BIN          folder with kafka-topics.sh (default: found on PATH)
# COMMAND_CONFIG     client properties (SASL, TLS) for the tools
# PARTITIONS         of tidewire.changes (default 12); adding more later moves objects to other partitions
# RETENTION_MS       of tidewire.changes and tidewire.alerts (default 7 days)
# REPLICATION        brokers that hold each partition (default 3; 1 on a single broker)
# PREFIX             of the topic names (default tidewire)
set -eu

: "${BROKERS:?set BROKERS to host:port of a broker}"
PARTITIONS=${PARTITIONS:-12}
RETENTION_MS=${RETENTION_MS:-604800000}
REPLICATION=${REPLICATION:-3}
PREFIX=${PREFIX:-tidewire}
TOPICS=${KAFKA_BIN:+$KAFKA_BIN/}kafka-topics.sh

# acks=all waits for the in-sync replicas: two of three, so that one broker may be down.
if [ "$REPLICATION" -ge 3 ]; then IN_SYNC=2; else IN_SYNC=1; fi

create() {
    name=$1 partitions=$2
    shift 2
    "$TOPICS" --bootstrap-server "$BROKERS" ${COMMAND_CONFIG:+--command-config "$COMMAND_CONFIG"} \
        --create --if-not-exists --topic "$name" --partitions "$partitions" \
        --replication-factor "$REPLICATION" --config "min.insync.replicas=$IN_SYNC" "$@"
}

# Never compacted: compaction would swallow changes inside retention.
create "$PREFIX.changes" "$PARTITIONS" \
    --config cleanup.policy=delete --config "retention.ms=$RETENTION_MS"
# Nor these: a script's alerts share a key, and each of them counts.
create "$PREFIX.alerts" 3 \
    --config cleanup.policy=delete --config "retention.ms=$RETENTION_MS"
create "$PREFIX.control" 1 --config cleanup.policy=compact
create "$PREFIX.objects" "$PARTITIONS" --config cleanup.policy=compact
create "$PREFIX.quarantine" 3 --config cleanup.policy=compact
