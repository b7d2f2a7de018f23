//! The log as a producer or an operator sees it: a plain client of Kafka that knows nothing of Tidewire.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, FromClientConfig};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};

/// 2026-09-14T13:37:26Z, the event time of most records of the tests.
pub(crate) const TIME_MS: i64 = 1_789_393_046_000;
pub(crate) const TIME: &str = "2026-09-14T13:37:26";

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("partitioner", "murmur2_random");
    config
}

fn block<T>(work: impl Future<Output = T> + Send) -> T
where
    T: Send,
{
    // A runtime of its own: this is called from tests that are in one and from those that are not.
    std::thread::scope(|scope| {
        let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        scope.spawn(move || run().block_on(work)).join().unwrap()
    })
}

pub(crate) fn create_topic(bootstrap: &str, name: &str, partitions: i32, cleanup: &str) {
    create_topic_with(bootstrap, name, partitions, &[("cleanup.policy", cleanup)]);
}

pub(crate) fn create_topic_with(
    bootstrap: &str,
    name: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) {
    let admin = AdminClient::<DefaultClientContext>::from_config(&config(bootstrap)).unwrap();
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1))
        // The event times of the tests lie in the past.
        .set("retention.ms", "-1");
    let topic = settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
    let made = block(admin.create_topics([&topic], &AdminOptions::new())).unwrap();
    made.into_iter().for_each(|result| {
        result.unwrap();
    });
    until_partitions(&admin, name, usize::try_from(partitions).unwrap());
}

/// A broker hears of a topic or partition a moment after the controller has answered.
fn until_partitions(admin: &AdminClient<DefaultClientContext>, name: &str, wanted: usize) {
    let limit = Duration::from_secs(20);
    let until = Instant::now() + limit;
    let known = || {
        let metadata = admin.inner().fetch_metadata(Some(name), limit).unwrap();
        metadata.topics().first().map_or(0, |topic| topic.partitions().len())
    };
    while known() < wanted {
        assert!(Instant::now() < until, "{wanted} partitions of {name}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn add_partitions(bootstrap: &str, name: &str, total: usize) {
    let admin = AdminClient::<DefaultClientContext>::from_config(&config(bootstrap)).unwrap();
    let more = NewPartitions::new(name, total);
    let made = block(admin.create_partitions([&more], &AdminOptions::new())).unwrap();
    made.into_iter().for_each(|result| {
        result.unwrap();
    });
    until_partitions(&admin, name, total);
}

/// Deletes the topic and creates it again, with one partition: the same name, another life.
pub(crate) fn create_anew(bootstrap: &str, name: &str) {
    let admin = AdminClient::<DefaultClientContext>::from_config(&config(bootstrap)).unwrap();
    let gone = block(admin.delete_topics(&[name], &AdminOptions::new())).unwrap();
    gone.into_iter().for_each(|result| {
        result.unwrap();
    });
    let until = Instant::now() + Duration::from_secs(20);
    let topic = NewTopic::new(name, 1, TopicReplication::Fixed(1)).set("retention.ms", "-1");
    // The name is free once the brokers have dropped what it stood for.
    while block(admin.create_topics([&topic], &AdminOptions::new())).unwrap()[0].is_err() {
        assert!(Instant::now() < until, "{name} can be created again");
        std::thread::sleep(Duration::from_millis(50));
    }
    until_partitions(&admin, name, 1);
}

/// The offset behind the last record of partition 0.
pub(crate) fn end(bootstrap: &str, name: &str) -> i64 {
    let consumer: BaseConsumer = config(bootstrap).create().unwrap();
    consumer.fetch_watermarks(name, 0, Duration::from_secs(20)).unwrap().1
}

/// Deletes all that stands in partition 0, as retention does. The next offset stays.
pub(crate) fn cut_off(bootstrap: &str, name: &str) {
    let admin = AdminClient::<DefaultClientContext>::from_config(&config(bootstrap)).unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(name, 0, Offset::End).unwrap();
    let cut = block(admin.delete_records(&offsets, &AdminOptions::new())).unwrap();
    cut.elements().iter().for_each(|element| element.error().unwrap());
}

/// A record to write; what is `None` is left out.
#[derive(Clone, Copy, Default)]
pub(crate) struct Record<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) headers: &'a [&'a str],
    pub(crate) body: Option<&'a [u8]>,
    pub(crate) partition: Option<i32>,
}

/// Writes records.
pub(crate) struct Producer {
    client: FutureProducer,
    topic: String,
}

impl Producer {
    pub(crate) fn new(bootstrap: &str, topic: &str) -> Self {
        let mut config = config(bootstrap);
        config.set("linger.ms", "0");
        Self { client: config.create().unwrap(), topic: topic.to_owned() }
    }

    /// Writes a record; gives its id, `partition-offset`.
    pub(crate) async fn put(&self, record: Record<'_>) -> String {
        let mut headers = OwnedHeaders::new();
        for header in record.headers {
            headers = headers.insert(Header { key: "tw", value: Some(*header) });
        }
        let mut out = FutureRecord::<[u8], [u8]>::to(&self.topic).timestamp(TIME_MS);
        out.key = record.key;
        out.payload = record.body;
        out.partition = record.partition;
        if !record.headers.is_empty() {
            out = out.headers(headers);
        }
        let written = self.client.send(out, Duration::from_secs(20)).await;
        let written = written.map_err(|(error, _)| error).unwrap();
        format!("{}-{}", written.partition, written.offset)
    }

    /// Writes a sound record.
    pub(crate) async fn sound(&self, key: &str, header: &str, body: &str) -> String {
        let (key, body) = (Some(key.as_bytes()), Some(body.as_bytes()));
        self.put(Record { key, headers: &[header], body, partition: None }).await
    }
}

/// A record that was read.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) partition: i32,
    pub(crate) key: String,
    pub(crate) body: Vec<u8>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }
}

/// Reads a topic from its beginning until `enough` records have come.
pub(crate) fn read_all(bootstrap: &str, topic: &str, partitions: i32, enough: usize) -> Vec<Seen> {
    let mut config = config(bootstrap);
    config.set("group.id", "tests").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let mut seen = Vec::new();
    while seen.len() < enough {
        assert!(Instant::now() < until, "{} of {enough} records in {topic}", seen.len());
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let text =
            |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        seen.push(Seen {
            partition: message.partition(),
            key: text(message.key()),
            body: message.payload().unwrap_or_default().to_vec(),
            headers: headers.map(|h| (h.key.to_owned(), text(h.value))).collect(),
        });
    }
    seen
}
