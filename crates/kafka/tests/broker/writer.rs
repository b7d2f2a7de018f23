//! What a writer answers when it goes wrong, and what the quarantine keeps.

use std::time::Duration;

use bytes::Bytes;
use tidewire_event::{LeaderEpoch, Offset, Partition};
use tidewire_kafka::{
    EmbeddedBroker, KafkaOptions, PoisonRecord, QUARANTINE_VALUE_BYTES_MAX, Quarantine, StartAt,
    Writer,
};
use tidewire_log::{LogRecord, LogWriter, WriteError};
use tidewire_testkit::kafka::Kafka;

use crate::harness::{Cluster, Tail, places, record, write};

#[tokio::test]
async fn a_cluster_that_is_away_is_unavailable_and_a_full_queue_is_full() {
    let mut options = KafkaOptions::new("127.0.0.1:1");
    options.delivery_timeout = Duration::from_millis(500);
    options.request_timeout = Duration::from_millis(300);
    options.properties.insert("queue.buffering.max.messages".to_owned(), "1".to_owned());
    let writer = Writer::start(&options, "t").unwrap();
    let first = writer.write(record("k", "1"));
    assert_eq!(writer.write(record("k", "2")).await, Err(WriteError::QueueFull));
    assert_eq!(writer.status().queued, 1);
    assert_eq!(first.await, Err(WriteError::Unavailable));
    assert!(writer.status().last_error.is_some());
    assert!(writer.probe().is_err());
}

#[tokio::test]
async fn an_acknowledgement_that_does_not_come_leaves_the_outcome_unknown() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("t", 1).unwrap();
    let mut options = broker.options();
    // The first write waits for the producer's id, which takes a second at times.
    options.delivery_timeout = Duration::from_secs(4);
    let writer = Writer::start(&options, "t").unwrap();
    write(&writer, "k", "1").await;
    broker.faults().unwrap().broker_round_trip_time(1, Duration::from_secs(30)).unwrap();
    assert_eq!(writer.write(record("k", "2")).await, Err(WriteError::Unknown));
}

#[tokio::test]
async fn what_the_topic_does_not_take_is_refused() {
    let Some(kafka) = Kafka::shared() else { return };
    let (cluster, topic) = (Cluster::of(kafka), kafka.topic("small"));
    cluster.create(&topic, 1, &[("max.message.bytes", "2000")]).await;
    let mut options = KafkaOptions::new(kafka.bootstrap());
    let late = ("topic.metadata.propagation.max.ms".to_owned(), "300".to_owned());
    options.properties.extend([late]);
    let writer = Writer::start(&options, &topic).unwrap();
    // Beyond what the topic takes, and beyond what the client sends.
    for bytes in [5_000, 2_000_000] {
        let large = writer.write(record("k", &"x".repeat(bytes)));
        assert_eq!(large.await, Err(WriteError::TooLarge), "{bytes}");
    }
    // It goes on after a refusal.
    assert_eq!(write(&writer, "k", "small").await, (0, 0));

    let nowhere = Writer::start(&options, &kafka.topic("no-such")).unwrap();
    let refused = nowhere.write(record("k", "1")).await;
    assert!(matches!(refused, Err(WriteError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn copies_of_one_poison_record_share_their_key() {
    for place in places("quarantine", 2).await {
        let replicas = [0, 1].map(|_| Quarantine::start(&place.options, &place.topic).unwrap());
        let payload = vec![b'x'; QUARANTINE_VALUE_BYTES_MAX + 1];
        let poison = PoisonRecord {
            topic: "tidewire.changes",
            record: LogRecord {
                partition: Partition(3),
                offset: Offset(17),
                leader_epoch: LeaderEpoch::UNKNOWN,
                timestamp_ms: 1,
                key: Some(b"bad key"),
                header: Some(b"2;X"),
                header_count: 1,
                payload: Some(&payload),
            },
            reason: "the 'tw' header has format \"2\"",
        };
        for quarantine in &replicas {
            quarantine.put(&poison);
        }
        let mut tail = Tail::assigned(&place.options, &place.topic, StartAt::Earliest);
        tail.until_records(2);
        for copy in tail.records() {
            assert_eq!(copy.key, Some(Bytes::from_static(b"tidewire.changes/3/17").to_vec()));
            assert_eq!(copy.payload.as_ref().unwrap().len(), QUARANTINE_VALUE_BYTES_MAX);
        }
        for quarantine in &replicas {
            while quarantine.written() == 0 {
                std::thread::yield_now();
            }
            assert_eq!(quarantine.lost(), 0);
        }
    }
}

#[test]
fn a_poison_record_that_finds_the_queue_full_is_counted() {
    let quarantine = Quarantine::start(&KafkaOptions::new("127.0.0.1:1"), "q").unwrap();
    let record = LogRecord {
        partition: Partition(0),
        offset: Offset(0),
        leader_epoch: LeaderEpoch::UNKNOWN,
        timestamp_ms: -1,
        key: None,
        header: None,
        header_count: 0,
        payload: None,
    };
    for _ in 0..1500 {
        quarantine.put(&PoisonRecord { topic: "t", record, reason: "no key" });
    }
    assert_eq!((quarantine.written(), quarantine.lost()), (0, 500));
    assert!(quarantine.last_error().is_some());
}
