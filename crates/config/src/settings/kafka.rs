//! Section `kafka`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::seconds;
use crate::reader::Reader;
use crate::secret::Secret;

/// Section `kafka`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Kafka {
    pub brokers: String,
    pub changes_topic: String,
    pub control_topic: String,
    pub alerts_topic: String,
    pub objects_topic: String,
    pub quarantine_topic: String,
    pub group_prefix: String,
    pub create_topics: bool,
    pub partitions: i32,
    pub replication_factor: i32,
    pub start_timeout: Duration,
    pub properties: BTreeMap<String, String>,
    pub secret_properties: BTreeMap<String, Secret>,
}

pub(super) fn kafka(r: &Reader) -> Kafka {
    let mut secret_properties = BTreeMap::new();
    for (name, path) in r.map("kafka.property_files") {
        match Secret::from_file(path.as_ref()) {
            Ok(secret) => {
                secret_properties.insert(name, secret);
            }
            Err(error) => {
                r.problem(&format!("kafka.property_files.{name}"), error.to_string());
            }
        }
    }
    let properties = r.map("kafka.properties");
    for name in properties.keys().filter(|name| is_secret_property(name)) {
        let text = "is a secret: put it into a file and name that in kafka.property_files";
        r.problem(&format!("kafka.properties.{name}"), text);
    }
    let topics = [
        "kafka.changes_topic",
        "kafka.control_topic",
        "kafka.alerts_topic",
        "kafka.objects_topic",
        "kafka.quarantine_topic",
    ];
    let mut named = BTreeSet::new();
    for key in topics {
        let name = r.text(key);
        // Kafka's own rule for topic names.
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.len() > 249 || !name.chars().all(fits) {
            r.problem(key, "is not a topic name: 1 to 249 of A-Z a-z 0-9 . _ -");
        }
        if !named.insert(name) {
            r.problem(key, "is the name of another topic too: each needs its own");
        }
    }
    if r.optional("kafka.group_prefix").is_none() {
        r.problem("kafka.group_prefix", "must not be empty");
    }
    Kafka {
        brokers: r.text("kafka.brokers"),
        changes_topic: r.text("kafka.changes_topic"),
        control_topic: r.text("kafka.control_topic"),
        alerts_topic: r.text("kafka.alerts_topic"),
        objects_topic: r.text("kafka.objects_topic"),
        quarantine_topic: r.text("kafka.quarantine_topic"),
        group_prefix: r.text("kafka.group_prefix"),
        create_topics: r.truth("kafka.create_topics"),
        partitions: r.number("kafka.partitions", 1..=10_000),
        replication_factor: r.number("kafka.replication_factor", 1..=10),
        start_timeout: r.duration("kafka.start_timeout", seconds(1)..=seconds(600)),
        properties,
        secret_properties,
    }
}

/// librdkafka's properties that hold a secret.
fn is_secret_property(name: &str) -> bool {
    let ends = ["password", "secret", "ssl.key.pem", "sasl.oauthbearer.config"];
    ends.iter().any(|end| name.ends_with(end))
}
