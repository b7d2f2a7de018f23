//! A reader that remembers, and what tests need of a cluster.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use tidewire_event::Partition;
use tidewire_kafka::{EmbeddedBroker, KafkaOptions, Reader, StartAt, Writer};
use tidewire_log::{GapReason, LogEvent, LogReader, LogRecord, LogWriter, NewRecord};
use tidewire_testkit::kafka::Kafka;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Topic(String),
    Record(Record),
    End(i32, i64),
    Assigned(i32, i64),
    Gap(i32, i64, GapReason),
    Recreated,
    Fault,
    Recovered,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) header: Option<Vec<u8>>,
    pub(crate) header_count: usize,
    pub(crate) payload: Option<Vec<u8>>,
}

impl Record {
    pub(crate) fn own(record: &LogRecord<'_>) -> Self {
        Self {
            partition: record.partition.0,
            offset: record.offset.0,
            leader_epoch: record.leader_epoch.0,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            header: record.header.map(<[u8]>::to_vec),
            header_count: record.header_count,
            payload: record.payload.map(<[u8]>::to_vec),
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.payload.clone().unwrap()).unwrap()
    }
}

/// Drains a reader whenever it is woken, and keeps what it got.
pub(crate) struct Tail {
    pub(crate) reader: Reader,
    pub(crate) events: Vec<Event>,
    woken: Receiver<()>,
}

impl Tail {
    pub(crate) fn start(options: &KafkaOptions, topic: &str, at: StartAt) -> Self {
        let mut reader = Reader::start(options, topic, at).unwrap();
        let (wake, woken) = sync_channel(1);
        reader.on_ready(Arc::new(move || {
            let _ = wake.try_send(());
        }));
        Self { reader, events: Vec::new(), woken }
    }

    /// Starts one and waits until it is assigned.
    pub(crate) fn assigned(options: &KafkaOptions, topic: &str, at: StartAt) -> Self {
        let mut tail = Self::start(options, topic, at);
        tail.until(|tail| tail.reader.is_assigned());
        tail
    }

    pub(crate) fn drain(&mut self, max: usize) -> usize {
        let events = &mut self.events;
        self.reader.drain(max, &mut |event| events.push(own(&event)))
    }

    /// Drains until `done`, sleeping on nothing but wake-ups.
    #[track_caller]
    pub(crate) fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            while self.drain(100) > 0 {}
            if done(self) {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(self.woken.recv_timeout(left).is_ok(), "in vain: {:#?}", self.short());
        }
    }

    #[track_caller]
    pub(crate) fn until_event(&mut self, event: &Event) {
        self.until(|tail| tail.events.contains(event));
    }

    #[track_caller]
    pub(crate) fn until_records(&mut self, count: usize) {
        self.until(|tail| tail.records().count() >= count);
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.events.iter().filter_map(|event| match event {
            Event::Record(record) => Some(record),
            _ => None,
        })
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.records().map(Record::text).collect()
    }

    fn short(&self) -> Vec<String> {
        let show = |event: &Event| match event {
            Event::Record(r) => format!("record {}-{}", r.partition, r.offset),
            other => format!("{other:?}"),
        };
        self.events.iter().rev().take(20).map(show).collect()
    }
}

fn own(event: &LogEvent<'_>) -> Event {
    match event {
        LogEvent::Topic(id) => Event::Topic((*id).to_owned()),
        LogEvent::Record(record) => Event::Record(Record::own(record)),
        LogEvent::EndOfPartition { partition, next } => Event::End(partition.0, next.0),
        LogEvent::Assigned { partition, next } => Event::Assigned(partition.0, next.0),
        LogEvent::Gap { partition, next, reason } => Event::Gap(partition.0, next.0, *reason),
        LogEvent::Recreated => Event::Recreated,
        LogEvent::Fault(text) => {
            assert!(!text.is_empty());
            Event::Fault
        }
        LogEvent::Recovered => Event::Recovered,
    }
}

pub(crate) fn record(key: &str, payload: &str) -> NewRecord {
    NewRecord {
        key: Bytes::copy_from_slice(key.as_bytes()),
        header: None,
        timestamp_ms: None,
        payload: Some(Bytes::copy_from_slice(payload.as_bytes())),
    }
}

pub(crate) async fn write(writer: &Writer, key: &str, payload: &str) -> (i32, i64) {
    let id = writer.write(record(key, payload)).await.unwrap();
    let Partition(partition) = id.partition;
    (partition, id.offset.0)
}

/// The admin's view of a real cluster.
pub(crate) struct Cluster {
    pub(crate) admin: AdminClient<DefaultClientContext>,
    pub(crate) options: AdminOptions,
}

impl Cluster {
    pub(crate) fn of(kafka: &Kafka) -> Self {
        let admin =
            ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create().unwrap();
        let options = AdminOptions::new()
            .operation_timeout(Some(Duration::from_secs(20)))
            .request_timeout(Some(Duration::from_secs(20)));
        Self { admin, options }
    }

    pub(crate) async fn create_replicated(&self, topic: &str, partitions: i32, replication: i32) {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(replication));
        self.make(new).await;
    }

    pub(crate) async fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        self.make(new).await;
    }

    async fn make(&self, new: NewTopic<'_>) {
        let results = self.admin.create_topics([&new], &self.options).await.unwrap();
        results[0].as_ref().unwrap();
        // A broker hears of it a moment after the controller has answered.
        let deadline = Instant::now() + DEADLINE;
        let known = || {
            let metadata = self.admin.inner().fetch_metadata(None, DEADLINE).unwrap();
            metadata.topics().iter().any(|topic| topic.name() == new.name)
        };
        while !known() {
            assert!(Instant::now() < deadline, "topic {} does not appear", new.name);
        }
    }

    pub(crate) fn high(&self, topic: &str, partition: i32) -> i64 {
        self.admin.inner().fetch_watermarks(topic, partition, DEADLINE).unwrap().1
    }
}

/// One topic on each kind of broker.
pub(crate) struct Place {
    pub(crate) options: KafkaOptions,
    pub(crate) topic: String,
    _embedded: Option<EmbeddedBroker>,
}

/// Every broker that can be had, each with a new topic of so many partitions.
pub(crate) async fn places(prefix: &str, partitions: i32) -> Vec<Place> {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic(prefix, partitions).unwrap();
    let options = broker.options();
    let mut places = vec![Place { options, topic: prefix.to_owned(), _embedded: Some(broker) }];
    if let Some(kafka) = Kafka::shared() {
        let topic = kafka.topic(prefix);
        Cluster::of(kafka).create(&topic, partitions, &[]).await;
        let options = KafkaOptions::new(kafka.bootstrap());
        places.push(Place { options, topic, _embedded: None });
    }
    places
}
