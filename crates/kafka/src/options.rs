//! How to reach the cluster, as plain data, and the librdkafka settings that follow from it.
//!
//! Any librdkafka property may be passed through, except those that the delivery rules rest on: naming
//! one of them is an error, since a value that is silently replaced helps nobody.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use thiserror::Error;

/// Properties that are not for configuration, and why.
const FIXED: [(&str, &str); 17] = [
    ("bootstrap.servers", "it is kafka.brokers"),
    ("client.id", "it is kafka.client_id"),
    ("group.id", "it follows from kafka.group_prefix"),
    ("acks", "a change is acknowledged by all in-sync replicas"),
    ("request.required.acks", "a change is acknowledged by all in-sync replicas"),
    ("enable.idempotence", "a retry must not write twice or out of order"),
    ("partitioner", "every producer must put an object on the same partition"),
    ("isolation.level", "records of aborted transactions are never shown"),
    ("enable.partition.eof", "positions move over transaction markers by it"),
    ("auto.offset.reset", "a lost position is a declared gap, never a silent reset"),
    (
        "enable.auto.commit",
        "offsets are committed with what was made of the records, or not at all",
    ),
    ("enable.auto.offset.store", "no offset is stored"),
    ("group.protocol", "the stages' hand-over of partitions is made for the classic one"),
    ("partition.assignment.strategy", "partitions are handed over all at once"),
    ("group.instance.id", "it is the service's own name for the instance"),
    ("transactional.id", "it follows from the group and the instance"),
    ("transaction.timeout.ms", "a transaction left open holds back its readers only so long"),
];

/// What can go wrong with Kafka outside reading and writing.
#[derive(Debug, Error)]
pub enum KafkaError {
    /// A property that cannot be used; the text names it.
    #[error("kafka.properties.{name}: {reason}")]
    Property {
        /// The librdkafka name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A client could not be made.
    #[error("the kafka client cannot be made")]
    Client(#[source] rdkafka::error::KafkaError),
    /// A request to the cluster failed.
    #[error("kafka: {what} failed")]
    Request {
        /// What was asked.
        what: String,
        /// Why it failed.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// The cluster has no topic of this name, or it does not show it to this user.
    #[error("there is no topic {0}")]
    NoTopic(String),
    /// A thread could not be started.
    #[error("a thread for kafka cannot be started")]
    Thread(#[source] std::io::Error),
}

/// How to reach the cluster. Secret values do not show in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaOptions {
    /// `host:port,...` of some brokers.
    pub brokers: String,
    /// Any librdkafka property by its own name, such as `sasl.mechanism`.
    pub properties: BTreeMap<String, String>,
    /// What the brokers' logs and quotas see.
    pub client_id: String,
    /// The start of every group id. The gateway's group is never joined, but librdkafka wants a name.
    pub group_prefix: String,
    /// How often the topic's partitions and id are looked at.
    pub metadata_refresh: Duration,
    /// How long one request to the cluster may take.
    pub request_timeout: Duration,
    /// How long a record may wait for its acknowledgement before the writer gives it up.
    pub delivery_timeout: Duration,
    /// How long the writer waits for more records before it sends a batch.
    pub linger: Duration,
    /// How long a broker may hold a fetch for which it has nothing.
    pub fetch_wait: Duration,
    /// Set by [`crate::EmbeddedBroker::options`]: stands for the topic id, which the embedded broker
    /// cannot tell. New with every start, so that cursors of an earlier run do not pass for valid.
    pub embedded_id: Option<String>,
}

impl KafkaOptions {
    /// The defaults for these brokers.
    #[must_use]
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            properties: BTreeMap::new(),
            client_id: "tidewire".to_owned(),
            group_prefix: "tidewire".to_owned(),
            metadata_refresh: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            delivery_timeout: Duration::from_secs(10),
            linger: Duration::from_millis(2),
            fetch_wait: Duration::from_millis(500),
            embedded_id: None,
        }
    }

    /// Looks at every property and says all that is wrong with them.
    #[must_use]
    pub fn problems(&self) -> Vec<KafkaError> {
        let problem = |(name, value): (&String, &String)| {
            let reason = match FIXED.iter().find(|(fixed, _)| fixed == name) {
                Some((_, reason)) => format!("cannot be set: {reason}"),
                None => ClientConfig::new()
                    .set(name, value)
                    .create_native_config()
                    .err()
                    .map(|error| describe(&error, name, value))?,
            };
            Some(KafkaError::Property { name: name.clone(), reason })
        };
        self.properties.iter().filter_map(problem).collect()
    }

    fn base(&self) -> Result<ClientConfig, KafkaError> {
        if let Some(problem) = self.problems().into_iter().next() {
            return Err(problem);
        }
        let mut config = ClientConfig::new();
        config
            .set("socket.keepalive.enable", "true")
            // A broker that hangs is noticed by this, well within 10 s.
            .set("socket.timeout.ms", "8000")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "2000");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.brokers).set("client.id", &self.client_id);
        Ok(config)
    }

    /// For looking at topics.
    pub(crate) fn admin_config(&self) -> Result<ClientConfig, KafkaError> {
        self.base()
    }

    /// For reading by manual assignment.
    pub(crate) fn reader_config(&self) -> Result<ClientConfig, KafkaError> {
        let mut config = self.base()?;
        let fetch_wait = self.fetch_wait.as_millis().to_string();
        let refresh = self.metadata_refresh.as_millis().max(100).to_string();
        for (name, value) in [
            ("fetch.wait.max.ms", fetch_wait.as_str()),
            ("topic.metadata.refresh.interval.ms", &refresh),
            // The most that waits between librdkafka and a router that has stopped to poll.
            ("queued.max.messages.kbytes", "16384"),
            // For the lag of each partition.
            ("statistics.interval.ms", "5000"),
            ("fetch.error.backoff.ms", "100"),
            ("fetch.queue.backoff.ms", "5"),
        ] {
            if !self.properties.contains_key(name) {
                config.set(name, value);
            }
        }
        config
            .set("group.id", format!("{}.reader", self.group_prefix))
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("allow.auto.create.topics", "false");
        Ok(config)
    }

    /// For reading stretches of one partition.
    pub(crate) fn history_config(&self) -> Result<ClientConfig, KafkaError> {
        let mut config = self.reader_config()?;
        // Either name is the same property.
        config.remove("fetch.message.max.bytes");
        let segment = tidewire_log::HISTORY_SEGMENT_BYTES.to_string();
        config
            // The end of the log is told by an empty fetch, which somebody waits for.
            .set("fetch.wait.max.ms", "5")
            .set("max.partition.fetch.bytes", segment)
            // The segment that is being read and the next.
            .set("queued.max.messages.kbytes", "512")
            .set("statistics.interval.ms", "0");
        Ok(config)
    }

    /// For reading as a member of a group.
    pub(crate) fn member_config(&self, group_id: &str) -> Result<ClientConfig, KafkaError> {
        let mut config = self.reader_config()?;
        config.set("group.id", group_id).set("partition.assignment.strategy", "range");
        Ok(config)
    }

    /// For writing in transactions, each within `timeout`.
    pub(crate) fn transactions_config(
        &self,
        transactional_id: &str,
        timeout: Duration,
    ) -> Result<ClientConfig, KafkaError> {
        let mut config = self.writer_config()?;
        // Either name is the same property.
        config.remove("message.timeout.ms");
        let milliseconds = timeout.as_millis().max(1).to_string();
        config
            .set("transactional.id", transactional_id)
            .set("transaction.timeout.ms", &milliseconds)
            // librdkafka wants them to be no longer than the transaction.
            .set("delivery.timeout.ms", &milliseconds)
            .set("socket.timeout.ms", &milliseconds);
        Ok(config)
    }

    /// For writing.
    pub(crate) fn writer_config(&self) -> Result<ClientConfig, KafkaError> {
        let mut config = self.base()?;
        let linger = self.linger.as_millis().to_string();
        let delivery = self.delivery_timeout.as_millis().max(1).to_string();
        for (name, value) in [("linger.ms", linger.as_str()), ("delivery.timeout.ms", &delivery)] {
            if !self.properties.contains_key(name) {
                config.set(name, value);
            }
        }
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random");
        Ok(config)
    }
}

/// librdkafka's words, without the value where that may be a secret.
fn describe(error: &rdkafka::error::KafkaError, name: &str, value: &str) -> String {
    let text = match error {
        rdkafka::error::KafkaError::ClientConfig(_, reason, ..) => reason.clone(),
        other => other.to_string(),
    };
    if is_secret(name) && !value.is_empty() { text.replace(value, "***") } else { text }
}

/// True for properties whose values are, or may hold, a secret.
fn is_secret(name: &str) -> bool {
    ["password", "secret", "key", "pem", "token", "oauthbearer.config", "jaas", "credential"]
        .iter()
        .any(|part| name.contains(part))
}

impl fmt::Debug for KafkaOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): (&String, &String)| {
            (name.clone(), if is_secret(name) { "***".to_owned() } else { value.clone() })
        };
        let properties: BTreeMap<_, _> = self.properties.iter().map(shown).collect();
        f.debug_struct("KafkaOptions")
            .field("brokers", &self.brokers)
            .field("properties", &properties)
            .field("client_id", &self.client_id)
            .field("group_prefix", &self.group_prefix)
            .field("embedded", &self.embedded_id.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(properties: &[(&str, &str)]) -> KafkaOptions {
        let mut options = KafkaOptions::new("localhost:9092");
        options.properties =
            properties.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        options
    }

    #[test]
    fn every_bad_property_is_named() {
        let check = |name: &str, value: &str, expected: Option<&str>| {
            let problems = with(&[(name, value)]).problems();
            let text = problems.first().map(ToString::to_string).unwrap_or_default();
            match expected {
                None => assert_eq!(text, "", "{name}"),
                Some(part) => {
                    assert!(text.contains(part) && text.contains(name), "{name}: {text}");
                }
            }
        };
        check("compression.type", "lz4", None);
        check("compression.type", "zstd", None);
        check("sasl.mechanism", "SCRAM-SHA-512", None);
        check("security.protocol", "sasl_ssl", None);
        check("linger.ms", "5", None);
        check("no.such.property", "1", Some("No such configuration property"));
        check("compression.type", "brotli", Some("brotli"));
        check("linger.ms", "soon", Some("linger.ms"));
        for (name, _) in FIXED {
            check(name, "x", Some("cannot be set"));
        }
        assert_eq!(
            with(&[("acks", "0"), ("no.such", "1"), ("linger.ms", "1")]).problems().len(),
            2
        );
    }

    #[test]
    fn secrets_do_not_show() {
        let options = with(&[
            ("sasl.password", "hush"),
            ("ssl.key.pem", "hush"),
            ("sasl.oauthbearer.client.secret", "hush"),
            ("sasl.username", "shown"),
        ]);
        let text = format!("{options:?}");
        assert!(!text.contains("hush") && text.contains("shown"), "{text}");
    }

    #[test]
    fn what_delivery_rests_on_is_set() {
        let options = with(&[("linger.ms", "7")]);
        let writer = options.writer_config().unwrap();
        let rows = [
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("partitioner", "murmur2_random"),
            ("linger.ms", "7"),
            ("delivery.timeout.ms", "10000"),
        ];
        for (name, value) in rows {
            assert_eq!(writer.get(name), Some(value), "{name}");
        }
        let reader = options.reader_config().unwrap();
        let rows = [
            ("isolation.level", "read_committed"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "error"),
            ("enable.auto.commit", "false"),
            ("socket.keepalive.enable", "true"),
        ];
        for (name, value) in rows {
            assert_eq!(reader.get(name), Some(value), "{name}");
        }
    }
}
