//! What a reader tells of an undisturbed cluster and of a topic that changes under it.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::admin::NewPartitions;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tidewire_kafka::{EmbeddedBroker, KafkaOptions, Reader, StartAt, Writer};
use tidewire_log::{GapReason, LogReader, LogWriter, NewRecord};
use tidewire_testkit::kafka::Kafka;

use crate::harness::{Cluster, DEADLINE, Event, Tail, places, record, write};

#[tokio::test]
async fn a_record_arrives_as_it_was_written() {
    for place in places("round-trip", 3).await {
        let writer = Writer::start(&place.options, &place.topic).unwrap();
        write(&writer, "before", "not seen").await;
        let mut tail = Tail::assigned(&place.options, &place.topic, StartAt::End);
        // Not long ago: what is older than the topic's retention is gone within a moment.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = i64::try_from(now.as_millis()).unwrap();
        let rows = [
            (Some("1;U;;none"), Some(now - 3_600_000), Some("{\"new\":1.10}")),
            (Some("1;D;;none"), Some(now - 7), None),
            (None, None, Some("")),
        ];
        for (header, timestamp_ms, payload) in rows {
            let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
            let id = writer
                .write(NewRecord {
                    key: bytes("acme/PortCall/7"),
                    header: header.map(bytes),
                    timestamp_ms,
                    payload: payload.map(bytes),
                })
                .await
                .unwrap();
            let seen = tail.records().count();
            tail.until_records(seen + 1);
            let got = tail.records().last().unwrap();
            assert_eq!((got.partition, got.offset), (id.partition.0, id.offset.0));
            assert_eq!(got.key.as_deref(), Some(b"acme/PortCall/7".as_slice()));
            assert_eq!(got.header.as_deref(), header.map(str::as_bytes));
            assert_eq!(got.header_count, usize::from(header.is_some()));
            assert_eq!(got.payload.as_deref(), payload.map(str::as_bytes));
            match timestamp_ms {
                Some(timestamp) => assert_eq!(got.timestamp_ms, timestamp),
                None => assert!(got.timestamp_ms >= now),
            }
        }
        assert!(tail.records().all(|record| record.key.as_deref() != Some(b"before")));
        assert!(writer.probe().is_ok());
        assert_eq!(writer.status().queued, 0);
    }
}

#[tokio::test]
async fn records_of_one_key_keep_the_order_of_the_calls() {
    for place in places("order", 6).await {
        let writer = Writer::start(&place.options, &place.topic).unwrap();
        let mut answers = Vec::new();
        for number in 0..4000 {
            answers
                .push(writer.write(record(&format!("key-{}", number % 37), &number.to_string())));
        }
        for answer in answers {
            answer.await.unwrap();
        }
        let mut tail = Tail::assigned(&place.options, &place.topic, StartAt::Earliest);
        tail.until_records(4000);
        let mut last: HashMap<_, i32> = HashMap::new();
        for record in tail.records() {
            let number = record.text().parse().unwrap();
            if let Some(before) = last.insert(record.key.clone(), number) {
                assert!(before < number, "{before} before {number}");
            }
        }
        assert_eq!((tail.records().count(), last.len()), (4000, 37));
    }
}

#[tokio::test]
async fn a_reader_is_drained_no_further_than_it_is_asked() {
    let place = places("max", 1).await.remove(0);
    let writer = Writer::start(&place.options, &place.topic).unwrap();
    for number in 0..10 {
        write(&writer, "k", &number.to_string()).await;
    }
    let mut tail = Tail::start(&place.options, &place.topic, StartAt::Earliest);
    while tail.records().count() < 10 {
        let before = tail.events.len();
        let handed = tail.drain(3);
        assert!(handed <= 3);
        assert_eq!(tail.events.len(), before + handed);
    }
    assert!(matches!(tail.events[0], Event::Topic(_)));
    assert_eq!(tail.events[1], Event::Assigned(0, 0));
}

#[tokio::test]
async fn the_end_lies_behind_markers_and_aborted_records() {
    let Some(kafka) = Kafka::shared() else { return };
    let (cluster, topic) = (Cluster::of(kafka), kafka.topic("markers"));
    cluster.create(&topic, 1, &[]).await;
    let options = KafkaOptions::new(kafka.bootstrap());
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("transactional.id", &topic)
        .create()
        .unwrap();
    producer.init_transactions(DEADLINE).unwrap();
    let send = |payloads: &[&str]| {
        producer.begin_transaction().unwrap();
        for payload in payloads {
            producer.send(BaseRecord::to(&topic).key("k").payload(*payload)).ok().unwrap();
        }
        producer.flush(DEADLINE).unwrap();
    };
    let mut tail = Tail::assigned(&options, &topic, StartAt::End);
    send(&["a", "b", "c"]);
    producer.commit_transaction(DEADLINE).unwrap();
    send(&["x", "y"]);
    producer.abort_transaction(DEADLINE).unwrap();
    // Offsets: 0 1 2 and a marker, 4 5 and a marker: the end is 7.
    tail.until_event(&Event::End(0, 7));
    assert_eq!(cluster.high(&topic, 0), 7);
    assert_eq!(tail.texts(), ["a", "b", "c"]);

    // A reader that starts at the end while a transaction is open starts before its records.
    send(&["d"]);
    let mut late = Tail::assigned(&options, &topic, StartAt::End);
    let id = Event::Topic(late.reader.topic_id().unwrap().to_owned());
    assert_eq!(late.events, [id, Event::Assigned(0, 7)]);
    producer.commit_transaction(DEADLINE).unwrap();
    late.until_event(&Event::End(0, 9));
    assert_eq!(late.texts(), ["d"]);
    tail.until_event(&Event::End(0, 9));
    assert_eq!(tail.texts(), ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_partition_added_live_is_read_from_its_first_record() {
    let Some(kafka) = Kafka::shared() else { return };
    let (cluster, topic) = (Cluster::of(kafka), kafka.topic("grows"));
    cluster.create(&topic, 1, &[]).await;
    let options = KafkaOptions::new(kafka.bootstrap());
    let mut tail = Tail::assigned(&options, &topic, StartAt::End);
    let grown = NewPartitions::new(&topic, 2);
    cluster.admin.create_partitions(&[grown], &cluster.options).await.unwrap();
    // A producer that hears of one partition only would drop the record.
    let partitions = || {
        let metadata = cluster.admin.inner().fetch_metadata(Some(&topic), DEADLINE).unwrap();
        metadata.topics()[0].partitions().len()
    };
    let deadline = std::time::Instant::now() + DEADLINE;
    while partitions() < 2 {
        assert!(std::time::Instant::now() < deadline, "the partition does not appear");
    }
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create().unwrap();
    let first = BaseRecord::to(&topic).partition(1).key("k").payload("first");
    producer.send(first).ok().unwrap();
    producer.flush(DEADLINE).unwrap();
    assert_eq!(cluster.high(&topic, 1), 1, "the record is written");
    tail.until_records(1);
    assert!(tail.events.contains(&Event::Assigned(1, 0)));
    assert_eq!(tail.texts(), ["first"]);
    let gap = |event: &Event| matches!(event, Event::Gap(..) | Event::Recreated);
    assert!(!tail.events.iter().any(gap));
}

#[tokio::test]
async fn a_topic_created_again_is_told_and_read_from_its_start() {
    let Some(kafka) = Kafka::shared() else { return };
    let (cluster, topic) = (Cluster::of(kafka), kafka.topic("again"));
    cluster.create(&topic, 2, &[]).await;
    let options = KafkaOptions::new(kafka.bootstrap());
    let mut tail = Tail::assigned(&options, &topic, StartAt::End);
    let id = tail.reader.topic_id().unwrap().to_owned();
    let writer = Writer::start(&options, &topic).unwrap();
    for number in 0..5 {
        write(&writer, "k", &format!("old {number}")).await;
    }
    tail.until_records(5);
    drop(writer);
    cluster.admin.delete_topics(&[&topic], &cluster.options).await.unwrap();
    // Long enough that the old position lies in the middle of the new topic.
    cluster.create(&topic, 1, &[]).await;
    let writer = Writer::start(&options, &topic).unwrap();
    for number in 0..9 {
        write(&writer, "k", &format!("new {number}")).await;
    }
    tail.until_event(&Event::Recreated);
    let at = tail.events.iter().position(|event| *event == Event::Recreated).unwrap();
    // The old position may have met the same end before.
    tail.until(|tail| tail.events[at..].contains(&Event::End(0, 9)));
    let after: Vec<_> = tail.events[at + 1..].iter().collect();
    assert_eq!(after[0], &Event::Topic(tail.reader.topic_id().unwrap().to_owned()));
    assert_eq!(after[1], &Event::Assigned(0, 0));
    let texts: Vec<_> = after
        .iter()
        .filter_map(|event| match event {
            Event::Record(record) => Some(record.text()),
            _ => None,
        })
        .collect();
    assert_eq!(texts, (0..9).map(|n| format!("new {n}")).collect::<Vec<_>>());
    assert_ne!(tail.reader.topic_id(), Some(id.as_str()));
}

#[tokio::test]
async fn retention_that_overtakes_the_position_is_a_gap() {
    let Some(kafka) = Kafka::shared() else { return };
    let (cluster, topic) = (Cluster::of(kafka), kafka.topic("retention"));
    cluster.create(&topic, 2, &[]).await;
    let mut options = KafkaOptions::new(kafka.bootstrap());
    let writer = Writer::start(&options, &topic).unwrap();
    let large = "x".repeat(100_000);
    let mut partition = 0;
    for _ in 0..60 {
        partition = write(&writer, "k", &large).await.0;
    }
    // Next to no reading ahead, so that the position stays behind.
    for name in ["queued.min.messages", "queued.max.messages.kbytes"] {
        options.properties.insert(name.to_owned(), "1".to_owned());
    }
    options.properties.insert("fetch.message.max.bytes".to_owned(), "1000".to_owned());
    let mut tail = Tail::assigned(&options, &topic, StartAt::Earliest);
    while tail.records().count() == 0 {
        tail.drain(1);
    }
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset(&topic, partition, rdkafka::Offset::Offset(50)).unwrap();
    cluster.admin.delete_records(&list, &cluster.options).await.unwrap();

    tail.until_event(&Event::End(partition, 60));
    let gap = Event::Gap(partition, 50, GapReason::Retention);
    assert!(tail.events.contains(&gap));
    let gaps = tail.events.iter().filter(|event| matches!(event, Event::Gap(..))).count();
    assert_eq!(gaps, 1, "the other partition lost nothing");
    let offsets: Vec<_> = tail.records().map(|record| record.offset).collect();
    assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(offsets.ends_with(&[50, 51, 52, 53, 54, 55, 56, 57, 58, 59]));
    assert!(offsets.len() < 60);
}

#[tokio::test]
async fn a_reader_waits_for_its_topic() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.topic("late");
    let options = KafkaOptions::new(kafka.bootstrap());
    let mut tail = Tail::start(&options, &topic, StartAt::End);
    tail.until_event(&Event::Fault);
    assert!(!tail.reader.is_assigned());
    Cluster::of(kafka).create(&topic, 1, &[]).await;
    tail.until(|tail| tail.reader.is_assigned());
    tail.until_event(&Event::Recovered);
}

#[tokio::test]
async fn a_compacted_topic_is_read_to_its_end_and_followed() {
    let Some(kafka) = Kafka::shared() else { return };
    let (cluster, topic) = (Cluster::of(kafka), kafka.topic("control"));
    cluster.create(&topic, 1, &[("cleanup.policy", "compact")]).await;
    let options = KafkaOptions::new(kafka.bootstrap());
    let start = || Tail::start(&options, &topic, StartAt::Back { records: u64::MAX });
    let mut empty = start();
    empty.until(|tail| tail.reader.is_assigned());
    assert_eq!(empty.records().count(), 0);

    let writer = Writer::start(&options, &topic).unwrap();
    let put = async |key: &'static str, value: Option<&'static str>| {
        let payload = value.map(|value| Bytes::from_static(value.as_bytes()));
        let key = Bytes::from_static(key.as_bytes());
        let record = NewRecord { key, header: None, timestamp_ms: None, payload };
        writer.write(record).await.unwrap();
    };
    put("rule/1", Some("a")).await;
    put("rule/2", Some("b")).await;
    put("rule/1", None).await;
    let mut tail = start();
    tail.until(|tail| tail.reader.is_assigned());
    put("rule/2", Some("c")).await;
    for tail in [&mut empty, &mut tail] {
        tail.until_records(4);
        let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
        let mut state = HashMap::new();
        for record in tail.records() {
            let key = text(record.key.as_ref().unwrap());
            match &record.payload {
                Some(value) => state.insert(key, text(value)),
                None => state.remove(&key),
            };
        }
        assert_eq!(state, HashMap::from([("rule/2".to_owned(), "c".to_owned())]));
    }
}

#[tokio::test]
async fn a_reader_that_starts_back_is_ready_once_it_has_caught_up() {
    for place in places("back", 2).await {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &place.options.brokers).create().unwrap();
        let write = |partition, count| {
            for _ in 0..count {
                let record = BaseRecord::to(&place.topic).partition(partition).key("k").payload("");
                producer.send(record).ok().unwrap();
            }
            producer.flush(DEADLINE).unwrap();
        };
        write(0, 1);
        write(1, 50);
        let start = |records| Tail::start(&place.options, &place.topic, StartAt::Back { records });

        let mut tail = start(20);
        while !tail.reader.is_assigned() {
            tail.drain(1);
        }
        assert_eq!(tail.records().count(), 21, "when it is ready");
        for start in [Event::Assigned(0, 0), Event::Assigned(1, 30)] {
            assert!(tail.events.contains(&start), "{start:?}");
        }
        write(1, 1);
        tail.until_records(22);

        for (records, expected) in [(0, 0), (u64::MAX, 52)] {
            let mut tail = start(records);
            tail.until(|tail| tail.reader.is_assigned());
            assert_eq!(tail.records().count(), expected, "{records} back");
        }
    }
}

#[test]
fn every_start_of_the_embedded_broker_has_its_own_topic_id() {
    let id = || {
        let broker = EmbeddedBroker::start().unwrap();
        broker.create_topic("t", 1).unwrap();
        let tail = Tail::assigned(&broker.options(), "t", StartAt::End);
        tail.reader.topic_id().unwrap().to_owned()
    };
    assert_ne!(id(), id());
}

#[test]
fn a_property_that_delivery_rests_on_is_refused() {
    let mut options = KafkaOptions::new("127.0.0.1:1");
    options.request_timeout = Duration::from_millis(100);
    options.properties.insert("isolation.level".to_owned(), "read_uncommitted".to_owned());
    let error = Reader::start(&options, "t", StartAt::End).err().unwrap();
    assert!(error.to_string().contains("kafka.properties.isolation.level"), "{error}");
}
