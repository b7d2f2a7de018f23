//! A log to back-test over: a topic of the test's own on the shared broker, and who writes to it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidewire_auth::unix_now;
use tidewire_testkit::kafka::Kafka;
use tidewire_testkit::service::binary;

use super::log::create_topic;

/// How long a request to Kafka may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Fires over every change, and takes next to no time.
pub(crate) const ALWAYS: &str = "mapResultsForMessage[\"?1\"] = dlpObject.daysTotal; true";
/// The same, but each run takes some milliseconds of CPU.
pub(crate) const SLOW: &str = "let i = 0; while i < 20000 { i += 1; } mapResultsForMessage[\"?1\"] = dlpObject.daysTotal; true";

/// Milliseconds since the Unix epoch, so many minutes ago.
pub(crate) fn ago_ms(minutes: i64) -> i64 {
    (unix_now() - minutes * 60) * 1000
}

/// What a command has said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// What `--json` printed, a match a line.
    pub(crate) fn matches(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The ids of it.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.matches().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// A topic of changes, one of control records, and a folder to run in.
pub(crate) struct Bed {
    pub(crate) brokers: String,
    pub(crate) topic: String,
    pub(crate) control: String,
    pub(crate) folder: TempDir,
}

impl Bed {
    /// `None`, and a loud word, where there is no Kafka.
    pub(crate) fn start(partitions: i32) -> Option<Self> {
        Some(Self::on(Kafka::shared()?, partitions))
    }

    /// The same on a broker of its own.
    pub(crate) fn on(kafka: &Kafka, partitions: i32) -> Self {
        let (brokers, topic, control) =
            (kafka.bootstrap(), kafka.topic("backtest"), kafka.topic("backtest-control"));
        create_topic(&brokers, &topic, partitions, "delete");
        create_topic(&brokers, &control, 1, "compact");
        Self { brokers, topic, control, folder: tempfile::tempdir().unwrap() }
    }

    /// Writes a script over updates of voyages to a file.
    pub(crate) fn script(&self, body: &str) -> PathBuf {
        self.script_with(&json!({"scriptBody": body}))
    }

    /// The same, with these members.
    pub(crate) fn script_with(&self, members: &Value) -> PathBuf {
        let mut record = json!({
            "code": "c", "name": "n", "messageType": "String", "alertScriptMessage": "speed ?1",
            "triggers": [{"objectType": "Voyage", "eventType": "U"}], "scriptBody": ALWAYS,
        });
        for (name, value) in members.as_object().unwrap() {
            record[name] = value.clone();
        }
        let path = self.folder.path().join("script.json");
        std::fs::write(&path, record.to_string()).unwrap();
        path
    }

    /// The arguments that every call has.
    pub(crate) fn arguments(&self, file: &Path) -> Vec<String> {
        let mut all = vec!["script".to_owned(), "backtest".to_owned(), file.display().to_string()];
        for (name, value) in [
            ("kafka.brokers", &self.brokers),
            ("kafka.changes_topic", &self.topic),
            ("kafka.control_topic", &self.control),
        ] {
            all.extend(["--set".to_owned(), format!("{name}={value}")]);
        }
        all
    }

    /// Runs a back-test; `--json` is among the arguments.
    pub(crate) fn run(&self, file: &Path, more: &[&str]) -> Said {
        let mut arguments = self.arguments(file);
        arguments.push("--json".to_owned());
        arguments.extend(more.iter().map(|&one| one.to_owned()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.tidewire(&arguments)
    }

    /// The same, which has to go well.
    pub(crate) fn done(&self, file: &Path, more: &[&str]) -> Said {
        let said = self.run(file, more);
        assert_eq!(said.code, 0, "{more:?}: {}", said.err);
        said
    }

    /// Runs the command line in the bed's folder.
    pub(crate) fn tidewire(&self, arguments: &[&str]) -> Said {
        let output = Command::new(binary("tidewire").unwrap())
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .output()
            .unwrap();
        let Output { status, stdout, stderr } = output;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
    }

    /// A producer; one that writes in transactions has a name.
    pub(crate) fn producer(&self, transactional_id: Option<&str>) -> FutureProducer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("linger.ms", "5");
        if let Some(id) = transactional_id {
            config.set("transactional.id", format!("{}-{id}", self.topic));
        }
        let producer: FutureProducer = config.create().unwrap();
        if transactional_id.is_some() {
            producer.init_transactions(PATIENCE).unwrap();
        }
        producer
    }

    /// Writes updates of voyages.
    pub(crate) async fn put(&self, producer: &FutureProducer, change: Put<'_>) -> String {
        let Put { tenant, partition, speed, time_ms, bytes } = change;
        let key = format!("{tenant}/Voyage/1");
        let more = "x".repeat(bytes);
        let body = format!(
            "{{\"new\":{{\"key\":1,\"daysTotal\":{speed},\"comments\":\"{more}\"}},\"old\":null}}"
        );
        let header = Header { key: "tw", value: Some("1;U;;none") };
        let record = FutureRecord::to(&self.topic)
            .key(&key)
            .payload(&body)
            .partition(partition)
            .timestamp(time_ms)
            .headers(OwnedHeaders::new().insert(header));
        let written = producer.send(record, PATIENCE).await.map_err(|(error, _)| error).unwrap();
        format!("{}-{}", written.partition, written.offset)
    }

    /// Writes many updates at once, so that their order in the partition is that of the numbers; `speed` is the number.
    pub(crate) async fn put_many(&self, put: Put<'_>, count: u64) {
        let producer = self.producer(None);
        let puts = (0..count).map(|speed| self.put(&producer, Put { speed, ..put }));
        futures_util::future::join_all(puts).await;
    }
}

/// A change to write.
#[derive(Clone, Copy)]
pub(crate) struct Put<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) partition: i32,
    pub(crate) speed: u64,
    pub(crate) time_ms: i64,
    /// How long its comments are.
    pub(crate) bytes: usize,
}
