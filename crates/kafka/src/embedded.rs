//! The embedded broker: librdkafka's mock cluster, which lives in this process.

use std::fmt::Write as _;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError::MockCluster as MockClusterError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer};
use rdkafka::types::RDKafkaErrorCode;

use crate::{KafkaError, KafkaOptions};

/// A broker inside this process, for `dev` and quick tests. Other processes may connect to it.
///
/// It is no Kafka and never meant for production: it keeps 5 MiB or 100,000 batches per partition and
/// then forgets the oldest without a word; it keeps them in memory, and ends with its owner; it creates
/// no topic through the admin API (use [`EmbeddedBroker::create_topic`]), describes none, tells no topic
/// id and looks up no offset by time; it knows neither access rights nor retention nor compaction; what a
/// transaction has written shows at once, also when it is aborted.
pub struct EmbeddedBroker {
    // Writes nothing: librdkafka hangs the mock cluster on a client, and this one can cross threads.
    client: BaseProducer,
    bootstrap: String,
    id: String,
}

impl EmbeddedBroker {
    /// Starts one on a free loopback port.
    ///
    /// # Errors
    /// [`KafkaError::Client`].
    pub fn start() -> Result<Self, KafkaError> {
        let client: BaseProducer = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            // Nobody polls this client, so it must have nothing to say.
            .set_log_level(RDKafkaLogLevel::Emerg)
            .create()
            .map_err(KafkaError::Client)?;
        let mut broker = Self { client, bootstrap: String::new(), id: random_id() };
        let bootstrap = broker.faults()?.bootstrap_servers();
        broker.bootstrap = bootstrap;
        Ok(broker)
    }

    /// The value for `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Options for clients of this broker.
    #[must_use]
    pub fn options(&self) -> KafkaOptions {
        let mut options = KafkaOptions::new(&self.bootstrap);
        options.embedded_id = Some(self.id.clone());
        // The mock holds an empty fetch for the whole time even when a record arrives.
        options.fetch_wait = std::time::Duration::from_millis(5);
        options
    }

    /// Creates a topic. Doing it twice is an error.
    ///
    /// # Errors
    /// [`KafkaError::Request`].
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), KafkaError> {
        self.faults()?.create_topic(name, partitions, 1).map_err(|source| KafkaError::Request {
            what: format!("creating topic {name}"),
            source,
        })
    }

    /// The mock cluster itself, for tests that inject faults.
    ///
    /// # Errors
    /// [`KafkaError::Client`].
    pub fn faults(&self) -> Result<MockCluster<'_, DefaultProducerContext>, KafkaError> {
        let cluster = self.client.client().mock_cluster();
        cluster.ok_or_else(|| KafkaError::Client(MockClusterError(RDKafkaErrorCode::Fail)))
    }
}

fn random_id() -> String {
    format!("embedded-{}", random_name())
}

/// 16 hexadecimal digits that another start does not repeat.
pub(crate) fn random_name() -> String {
    use std::hash::{BuildHasher, Hasher};
    let mut id = String::new();
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map_or(0, |d| u64::from(d.subsec_nanos()) ^ d.as_secs());
    let _ = write!(id, "{:016x}", random ^ nanos.rotate_left(32));
    id
}
