//! From a change to the record that a reader finds, on the embedded broker and on Apache Kafka.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use support::tenant;
use tidewire_capture::{CaptureOptions, Intake};
use tidewire_event::Tenant;
use tidewire_fleet::Fleet;
use tidewire_kafka::{
    CleanupPolicy, EmbeddedBroker, ExpectedTopic, KafkaOptions, Reader, StartAt, Writer,
    ensure_topics,
};
use tidewire_log::{LogEvent, LogReader, LogWriter, NewRecord};
use tidewire_model::Model;
use tidewire_runtime::Clock;
use tidewire_telemetry::{CaptureMetrics, Registry};
use tokio::sync::Notify;

/// Long enough for a slow machine; a test that passes never waits for it.
const LIMIT: Duration = Duration::from_secs(60);
const CHANGES: usize = 300;
const PARTITIONS: i32 = 4;

/// Writes through `intake` and answers what must be read: ids with their records.
async fn write(intake: &Intake, tenant: &Tenant) -> Vec<(String, NewRecord)> {
    // Of now: a broker's retention goes by the records' own times.
    let start_ms = i64::try_from(Clock::system().unix_ms()).expect("small") - CHANGES as i64;
    let mut fleet = Fleet::new(1, start_ms, tenant);
    let mut expected = Vec::new();
    for n in 0..CHANGES {
        let body = Bytes::from(
            fleet.next(start_ms + i64::try_from(n).expect("small")).to_json().to_string(),
        );
        let change = intake.read(body.clone()).map_err(|(failure, _)| failure).expect("sound");
        let record = tidewire_capture::record::record(tenant, &change);
        let room = intake.try_room(body.len()).expect("room");
        let id = intake.write(tenant, change, room).await.expect("kafka acknowledges");
        expected.push((id.to_string(), record));
    }
    expected
}

async fn read(options: &KafkaOptions, topic: &str) -> Vec<(String, NewRecord)> {
    let mut reader = Reader::start(options, topic, StartAt::Earliest).expect("a reader");
    let ready = Arc::new(Notify::new());
    let wake = Arc::clone(&ready);
    reader.on_ready(Arc::new(move || wake.notify_one()));
    let mut found = Vec::new();
    let deadline = Instant::now() + LIMIT;
    while found.len() < CHANGES {
        assert!(Instant::now() < deadline, "{} of {CHANGES} records", found.len());
        let handed = reader.drain(1_000, &mut |event| {
            if let LogEvent::Record(record) = event {
                let bytes = |part: Option<&[u8]>| part.map(Bytes::copy_from_slice);
                assert_eq!(record.header_count, 1);
                let new = NewRecord {
                    key: bytes(record.key).expect("a key"),
                    header: bytes(record.header),
                    timestamp_ms: Some(record.timestamp_ms),
                    payload: bytes(record.payload),
                };
                found.push((format!("{}-{}", record.partition, record.offset), new));
            }
        });
        if handed == 0 {
            // The reader is woken; the limit is for a broken one.
            let _ = tokio::time::timeout(Duration::from_secs(1), ready.notified()).await;
        }
    }
    found
}

async fn round_trip(options: KafkaOptions, broker: Option<&EmbeddedBroker>, topic: &str) {
    let expected_topic = ExpectedTopic {
        name: topic.to_owned(),
        partitions: PARTITIONS,
        cleanup: CleanupPolicy::Delete,
        retention: None,
    };
    ensure_topics(&options, broker, &[expected_topic]).await.expect("a topic");
    let writer: Arc<dyn LogWriter> = Arc::new(Writer::start(&options, topic).expect("a writer"));
    let metrics = CaptureMetrics::register(&Registry::new()).expect("first");
    let model = Arc::new(Model::vms());
    let clock = Clock::system();
    let intake = Intake::new(writer, model, &CaptureOptions::default(), metrics, clock);
    let mut written = write(&intake, &tenant()).await;
    let mut found = read(&options, topic).await;
    let partitions: std::collections::BTreeSet<&str> =
        written.iter().filter_map(|(id, _)| id.split('-').next()).collect();
    assert!(partitions.len() > 1, "several partitions are used");
    written.sort_by(|one, other| one.0.cmp(&other.0));
    found.sort_by(|one, other| one.0.cmp(&other.0));
    for ((id, written), (found_id, found)) in written.iter().zip(&found) {
        assert_eq!(id, found_id);
        assert_eq!(written.key, found.key, "{id}");
        assert_eq!(written.header, found.header, "{id}");
        assert_eq!(written.timestamp_ms, found.timestamp_ms, "{id}");
        assert_eq!(written.payload, found.payload, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_is_read_back_from_the_embedded_broker() {
    let broker = EmbeddedBroker::start().expect("a broker");
    round_trip(broker.options(), Some(&broker), "changes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_is_read_back_from_apache_kafka() {
    let kafka = tokio::task::spawn_blocking(tidewire_testkit::kafka::Kafka::shared);
    let Some(kafka) = kafka.await.expect("started") else {
        eprintln!("SKIPPED: capture against Apache Kafka");
        return;
    };
    round_trip(KafkaOptions::new(kafka.bootstrap()), None, &kafka.topic("capture")).await;
}
