//! Topics as an operator handles them: created with the replicas that a cluster allows, and seen to be in sync.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, FromClientConfig as _};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Looks in a row that must find all in sync: a broker that has just come back may still tell of before.
const LOOKS: u32 = 3;

/// An operator of a cluster.
pub(crate) struct Topics {
    admin: AdminClient<DefaultClientContext>,
    config: ClientConfig,
    replicas: i32,
}

impl Topics {
    pub(crate) fn new(bootstrap: &str, replicas: i32) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("reconnect.backoff.max.ms", "500");
        // Brokers that are killed are what these tests are about.
        config.set_log_level(rdkafka::config::RDKafkaLogLevel::Critical);
        let admin = AdminClient::from_config(&config).unwrap();
        Self { admin, config, replicas }
    }

    /// Creates a topic and waits until all its replicas are in sync.
    pub(crate) fn create(&self, name: &str, partitions: i32, cleanup: &str) {
        let in_sync = if self.replicas == 3 { "2" } else { "1" };
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(self.replicas))
            .set("cleanup.policy", cleanup)
            .set("min.insync.replicas", in_sync)
            // Event times may lie in the past.
            .set("retention.ms", "-1");
        let made = block(self.admin.create_topics([&topic], &AdminOptions::new())).unwrap();
        made.into_iter().for_each(|result| {
            result.unwrap();
        });
        assert!(self.in_sync_within(name, partitions, TIMEOUT), "{name} has its replicas");
    }

    /// Writes what stands in the topic to a file, a record a line: partition, offset, key and `tw` header.
    pub(crate) fn dump(&self, name: &str, partitions: i32, file: &Path) {
        let mut config = self.config.clone();
        config.set("group.id", "faults").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().unwrap();
        let (mut from, mut left) = (TopicPartitionList::new(), 0);
        for partition in 0..partitions {
            from.add_partition_offset(name, partition, Offset::Beginning).unwrap();
            let (low, high) = consumer.fetch_watermarks(name, partition, TIMEOUT).unwrap();
            left += high - low;
        }
        consumer.assign(&from).unwrap();
        let mut out = BufWriter::new(File::create(file).unwrap());
        while left > 0 {
            let message = consumer.poll(TIMEOUT).expect("the next record in time").unwrap();
            let text = |bytes: Option<&[u8]>| {
                String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
            };
            let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
            let header = headers.map(|header| text(header.value)).collect::<Vec<_>>().join(" ");
            let (partition, offset) = (message.partition(), message.offset());
            writeln!(out, "{partition}\t{offset}\t{}\t{header}", text(message.key())).unwrap();
            left -= 1;
        }
        out.flush().unwrap();
    }

    /// Waits until every replica of the topic is in sync and every partition has a leader.
    pub(crate) fn in_sync_within(&self, name: &str, partitions: i32, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut looks = 0;
        while looks < LOOKS {
            if Instant::now() > until {
                return false;
            }
            looks = if self.in_sync(name, partitions) { looks + 1 } else { 0 };
            std::thread::sleep(LOOK_INTERVAL);
        }
        true
    }

    /// The id of the broker that leads a partition, once one does.
    pub(crate) fn leader_within(&self, name: &str, partition: i32, limit: Duration) -> i32 {
        let until = Instant::now() + limit;
        loop {
            let metadata = self.admin.inner().fetch_metadata(Some(name), TIMEOUT);
            let leader = metadata.ok().and_then(|metadata| {
                let found = metadata.topics().first()?;
                found.partitions().iter().find(|p| p.id() == partition).map(|p| p.leader())
            });
            match leader.filter(|leader| *leader >= 0) {
                Some(leader) => return leader,
                None => assert!(Instant::now() < until, "{name} {partition} has no leader"),
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    fn in_sync(&self, name: &str, partitions: i32) -> bool {
        let Ok(metadata) = self.admin.inner().fetch_metadata(Some(name), TIMEOUT) else {
            return false;
        };
        let Some(topic) = metadata.topics().first() else { return false };
        let sound = |isr: &[i32], leader: i32| {
            leader >= 0 && i32::try_from(isr.len()).unwrap() == self.replicas
        };
        topic.error().is_none()
            && i32::try_from(topic.partitions().len()).unwrap() == partitions
            && topic.partitions().iter().all(|p| p.error().is_none() && sound(p.isr(), p.leader()))
    }
}

fn block<T: Send>(work: impl Future<Output = T> + Send) -> T {
    // A runtime of its own: this is called from tests that are in one and from those that are not.
    std::thread::scope(|scope| {
        let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        scope.spawn(move || run().block_on(work)).join().unwrap()
    })
}
