//! A stage that copies, and what tests need around it: an input, an output, and the proof that each input
//! gave one output.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tidewire_kafka::{BeginAt, EmbeddedBroker, KafkaOptions, Stage, StageOptions, StartAt};
use tidewire_log::{Batch, LogStage, NewRecord, StageError, StageEvent};
use tidewire_testkit::kafka::Kafka;

use crate::harness::{Cluster, DEADLINE, Tail};

/// An input topic and an output topic on some broker, and a group of their own.
pub(crate) struct Shop {
    pub(crate) kafka: KafkaOptions,
    pub(crate) options: StageOptions,
    pub(crate) producer: BaseProducer,
    outputs: i32,
    _embedded: Option<EmbeddedBroker>,
}

impl Shop {
    fn new(
        kafka: KafkaOptions,
        input: &str,
        output: &str,
        embedded: Option<EmbeddedBroker>,
    ) -> Self {
        let mut options = StageOptions::new(input, input, output);
        options.begin = BeginAt::Earliest;
        options.session_timeout = std::time::Duration::from_secs(6);
        let producer =
            ClientConfig::new().set("bootstrap.servers", &kafka.brokers).create().unwrap();
        Self { kafka, options, producer, outputs: 2, _embedded: embedded }
    }

    /// On this broker, with so many partitions of input.
    pub(crate) async fn on(kafka: &Kafka, prefix: &str, partitions: i32) -> Self {
        let (input, output) = (kafka.topic(prefix), kafka.topic("output"));
        let cluster = Cluster::of(kafka);
        cluster.create(&input, partitions, &[]).await;
        cluster.create(&output, 2, &[]).await;
        Self::new(KafkaOptions::new(kafka.bootstrap()), &input, &output, None)
    }

    /// On the broker that all tests share, if it can be had.
    pub(crate) async fn shared(prefix: &str, partitions: i32) -> Option<Self> {
        Some(Self::on(Kafka::shared()?, prefix, partitions).await)
    }

    /// On the embedded broker.
    pub(crate) fn embedded(prefix: &str, partitions: i32) -> Self {
        let broker = EmbeddedBroker::start().unwrap();
        broker.create_topic(prefix, partitions).unwrap();
        broker.create_topic("output", 2).unwrap();
        Self::new(broker.options(), prefix, "output", Some(broker))
    }

    /// One on every kind of broker.
    pub(crate) async fn all(prefix: &str, partitions: i32) -> Vec<Self> {
        let mut shops = vec![Self::embedded(prefix, partitions)];
        shops.extend(Self::shared(prefix, partitions).await);
        shops
    }

    pub(crate) fn stage(&self) -> Copier {
        self.stage_with(self.options.clone())
    }

    pub(crate) fn stage_with(&self, options: StageOptions) -> Copier {
        let stage = Stage::start(&self.kafka, options).unwrap();
        Copier { stage, events: Vec::new(), copied: 0 }
    }

    /// Writes to a partition of the input.
    pub(crate) fn write(&self, partition: i32, texts: impl IntoIterator<Item = String>) {
        for text in texts {
            let record = BaseRecord::to(&self.options.input).key("k").payload(&text);
            self.producer.send(record.partition(partition)).ok().unwrap();
        }
        self.producer.flush(DEADLINE).unwrap();
    }

    /// What the group has committed for a partition of the input.
    pub(crate) fn committed(&self, partition: i32) -> Offset {
        let group = format!("{}.{}", self.kafka.group_prefix, self.options.group);
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.kafka.brokers)
            .set("group.id", group)
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.options.input, partition);
        let list = consumer.committed_offsets(list, DEADLINE).unwrap();
        list.elements()[0].offset()
    }

    /// How often each text stands in the output, once nothing in it is open any more.
    pub(crate) fn output(&self) -> BTreeMap<String, usize> {
        let output = &self.options.output;
        let ask = |isolation: &str| {
            let consumer: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", &self.kafka.brokers)
                .set("isolation.level", isolation)
                .create()
                .unwrap();
            let high = |p| consumer.fetch_watermarks(output, p, DEADLINE).unwrap().1;
            (0..self.outputs).map(high).collect::<Vec<_>>()
        };
        let deadline = Instant::now() + DEADLINE;
        let mut ends = ask("read_committed");
        while ends != ask("read_uncommitted") {
            assert!(Instant::now() < deadline, "a transaction stays open");
            ends = ask("read_committed");
        }
        let mut tail = Tail::assigned(&self.kafka, output, StartAt::Earliest);
        let read = |tail: &Tail, partition: i32, end: i64| {
            tail.events.iter().any(|event| match event {
                crate::harness::Event::End(p, next) => *p == partition && *next >= end,
                _ => false,
            })
        };
        tail.until(|tail| (0..).zip(&ends).all(|(p, end)| read(tail, p, *end)));
        let mut counts = BTreeMap::new();
        for text in tail.texts() {
            *counts.entry(text).or_default() += 1;
        }
        counts
    }

    /// Asserts that each of these, and nothing else, stands once in the output.
    #[track_caller]
    pub(crate) fn assert_once(&self, texts: impl IntoIterator<Item = String>) {
        let output = self.output();
        let mut owed: BTreeMap<String, usize> = texts.into_iter().map(|text| (text, 1)).collect();
        let total = owed.len();
        let mut wrong = Vec::new();
        for (text, count) in output {
            if owed.remove(&text) != Some(count) {
                wrong.push(format!("{text}: {count} times"));
            }
        }
        assert!(
            wrong.is_empty() && owed.is_empty(),
            "of {total} lost {}: {:?}; too many {}: {:?}",
            owed.len(),
            owed.keys().take(9).collect::<Vec<_>>(),
            wrong.len(),
            wrong.iter().take(9).collect::<Vec<_>>(),
        );
    }
}

/// A stage whose outputs are copies.
pub(crate) struct Copier {
    pub(crate) stage: Stage,
    /// What it was told, but for batches and idling.
    pub(crate) events: Vec<StageEvent>,
    /// Records whose commit was confirmed.
    pub(crate) copied: usize,
}

pub(crate) fn copies(batch: &Batch) -> Vec<NewRecord> {
    batch.records().map(|record| copy(record.payload.unwrap())).collect()
}

pub(crate) fn copy(payload: &[u8]) -> NewRecord {
    NewRecord {
        key: Bytes::copy_from_slice(payload),
        header: None,
        // An old one would be out of retention at once.
        timestamp_ms: None,
        payload: Some(Bytes::copy_from_slice(payload)),
    }
}

impl Copier {
    /// One poll; the batch, if it gave one.
    pub(crate) fn poll(&mut self) -> Option<Batch> {
        match self.stage.poll(std::time::Duration::from_millis(200)).unwrap() {
            StageEvent::Batch(batch) => return Some(batch),
            StageEvent::Idle => {}
            event => self.events.push(event),
        }
        None
    }

    /// Polls until there is a batch.
    #[track_caller]
    pub(crate) fn batch(&mut self) -> Batch {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(batch) = self.poll() {
                return batch;
            }
            assert!(Instant::now() < deadline, "no batch: {:?}", self.events);
        }
    }

    /// One poll and, if it gave a batch, its commit.
    pub(crate) fn turn(&mut self) -> Result<(), StageError> {
        let Some(batch) = self.poll() else { return Ok(()) };
        self.stage.commit(&batch, &copies(&batch))?;
        self.copied += batch.len();
        Ok(())
    }

    /// Copies until `done`.
    #[track_caller]
    pub(crate) fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !done(self) {
            self.turn().unwrap();
            assert!(Instant::now() < deadline, "in vain: {} {:?}", self.copied, self.events);
        }
    }

    /// Copies until an event is told.
    #[track_caller]
    pub(crate) fn until_event(&mut self, is: impl Fn(&StageEvent) -> bool) {
        self.until(|copier| copier.events.iter().any(&is));
    }
}

/// Instances on threads of their own, each until it is told to end.
pub(crate) struct Crew {
    pub(crate) shop: Arc<Shop>,
    /// Records that each has copied.
    pub(crate) copied: Arc<Mutex<BTreeMap<usize, usize>>>,
}

impl Crew {
    pub(crate) fn hire(
        &self,
        number: usize,
        go_on: &Arc<AtomicBool>,
    ) -> std::thread::JoinHandle<usize> {
        let (shop, go_on, copied) =
            (Arc::clone(&self.shop), Arc::clone(go_on), Arc::clone(&self.copied));
        let work = move || {
            let mut copier = shop.stage();
            let mut fenced = 0;
            while go_on.load(Ordering::SeqCst) {
                match copier.turn() {
                    Ok(()) => {}
                    Err(error) if error.is_transient() => fenced += 1,
                    Err(error) => panic!("{error}"),
                }
                copied.lock().unwrap().insert(number, copier.copied);
            }
            fenced
        };
        std::thread::Builder::new().name(format!("crew-{number}")).spawn(work).unwrap()
    }

    pub(crate) fn copied(&self, number: usize) -> usize {
        self.copied.lock().unwrap().get(&number).copied().unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn until(&self, done: impl Fn(&Self) -> bool, mut work: impl FnMut()) {
        let deadline = Instant::now() + DEADLINE;
        while !done(self) {
            work();
            assert!(Instant::now() < deadline, "in vain: {:?}", self.copied.lock().unwrap());
        }
    }
}
