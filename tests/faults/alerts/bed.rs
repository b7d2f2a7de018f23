//! What the runs of the alerts service share: a broker, topics, a producer that notes what is owed, and a
//! reader of the alerts that are committed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use tidewire_testkit::kafka::Kafka;
use tidewire_testkit::service::Service;
use tokio::task::JoinSet;

use crate::topics::Topics;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
pub(crate) const PARTITIONS: i32 = 4;
const ALERT_PARTITIONS: i32 = 3;
const OBJECTS: u64 = 50;
/// Records that may wait for their acknowledgement.
const UNANSWERED_MAX: usize = 200;

/// Code and change of an alert.
pub(crate) type Alert = (String, String);

/// Brokers with Tidewire's topics.
pub(crate) struct Bed {
    pub(crate) kafka: Kafka,
    pub(crate) topics: Topics,
}

impl Bed {
    /// One broker. `None`, and a loud word, where there is no Kafka.
    pub(crate) fn start() -> Option<Self> {
        Self::of(1)
    }

    /// So many brokers, 1 or 3; each topic has a replica on every one.
    pub(crate) fn of(brokers: usize) -> Option<Self> {
        let kafka = Kafka::start(brokers).expect("the brokers start")?;
        let topics = Topics::new(&kafka.bootstrap(), i32::try_from(brokers).unwrap());
        topics.create("changes", PARTITIONS, "delete");
        topics.create("alerts", ALERT_PARTITIONS, "delete");
        topics.create("control", 1, "compact");
        topics.create("quarantine", 1, "compact");
        Some(Self { kafka, topics })
    }

    /// A replica, not started yet.
    pub(crate) fn replica(&self, own: &[(&str, &str)]) -> Service {
        let bootstrap = self.kafka.bootstrap();
        let common = [
            ("kafka.brokers", bootstrap.as_str()),
            ("kafka.changes_topic", "changes"),
            ("kafka.control_topic", "control"),
            ("kafka.alerts_topic", "alerts"),
            ("kafka.quarantine_topic", "quarantine"),
            ("alerts.start", "earliest"),
            ("alerts.session_timeout", "6s"),
            ("log.level", "info"),
        ];
        let variable = |name: &str| format!("TIDEWIRE__{}", name.replace('.', "__").to_uppercase());
        let settings = common.iter().chain(own);
        let environment: Vec<_> =
            settings.map(|(name, value)| (variable(name), (*value).to_owned())).collect();
        Service::prepare("alerts", &environment).unwrap()
    }

    pub(crate) fn producer(&self) -> FutureProducer {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.kafka.bootstrap())
            .set("partitioner", "murmur2_random")
            .set("enable.idempotence", "true")
            .set("reconnect.backoff.max.ms", "500")
            // As the services have it: a broker that hangs is given up by this.
            .set("socket.timeout.ms", "8000")
            .set("linger.ms", "2")
            .set_log_level(RDKafkaLogLevel::Critical);
        config.create().unwrap()
    }

    /// Saves a script over updates of voyages, as the registry does.
    pub(crate) async fn save(&self, tenant: &str, code: &str, body: &str) {
        let record = json!({
            "code": code, "name": code, "description": "",
            "triggers": [{"objectType": "Voyage", "eventType": "U"}],
            "scriptBody": body, "messageSubject": "", "messageType": "String",
            "buildMessageInScript": false, "alertScriptMessage": "fired", "language": "rhai",
        });
        let value =
            json!({"v": 1, "version": 1, "author": "test", "changedAt": 0, "record": record});
        let (key, value) = (format!("{tenant}/script/{code}"), value.to_string());
        let record = FutureRecord::to("control").key(&key).payload(&value);
        self.producer().send(record, PATIENCE).await.unwrap();
    }
}

/// Writes changes until told to stop, as fast as `pause` lets it.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    task: JoinSet<Vec<(String, u64)>>,
}

impl Load {
    /// `speed` of the changed object counts up from 0.
    pub(crate) fn start(producer: FutureProducer, tenant: &'static str, pause: Duration) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut answers = JoinSet::new();
            let mut written = Vec::new();
            let mut number = 0;
            while !stopped.load(Ordering::SeqCst) {
                answers.spawn(write(producer.clone(), tenant, number));
                number += 1;
                while answers.len() >= UNANSWERED_MAX {
                    written.push(answers.join_next().await.unwrap().unwrap());
                }
                tokio::time::sleep(pause).await;
            }
            written.extend(answers.join_all().await);
            written
        });
        Self { stop, task }
    }

    /// The id and the number of every change.
    pub(crate) async fn stop(mut self) -> Vec<(String, u64)> {
        self.stop.store(true, Ordering::SeqCst);
        self.task.join_next().await.unwrap().unwrap()
    }
}

/// Writes one change; gives its id.
pub(crate) async fn write(producer: FutureProducer, tenant: &str, number: u64) -> (String, u64) {
    let object = number % OBJECTS + 1;
    let key = format!("{tenant}/Voyage/{object}");
    let body = format!("{{\"new\":{{\"key\":{object},\"speed\":{number}}},\"old\":null}}");
    let header = Header { key: "tw", value: Some("1;U;;none") };
    let record = FutureRecord::to("changes")
        .key(&key)
        .payload(&body)
        .headers(OwnedHeaders::new().insert(header));
    let written = producer.send(record, PATIENCE).await.map_err(|(error, _)| error).unwrap();
    (format!("{}-{}", written.partition, written.offset), number)
}

/// A reader of a topic from the first record on.
fn reader(bed: &Bed, topic: &str, partitions: i32, isolation: &str) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bed.kafka.bootstrap())
        .set("group.id", "judge")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("reconnect.backoff.max.ms", "500")
        .set("socket.timeout.ms", "8000")
        .set("fetch.wait.max.ms", "5")
        .set("isolation.level", isolation)
        .set_log_level(RDKafkaLogLevel::Critical);
    let consumer: BaseConsumer = config.create().unwrap();
    let mut from = TopicPartitionList::new();
    for partition in 0..partitions {
        from.add_partition_offset(topic, partition, rdkafka::Offset::Beginning).unwrap();
    }
    consumer.assign(&from).unwrap();
    consumer
}

/// The next record; none while brokers are away. librdkafka goes on by itself after any error but the loss of
/// its place.
fn next(consumer: &BaseConsumer) -> Option<BorrowedMessage<'_>> {
    match consumer.poll(Duration::from_millis(100))? {
        Ok(message) => Some(message),
        Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset)) => {
            panic!("records were lost under a reader")
        }
        Err(_) => None,
    }
}

/// All changes that stand in the log, with their ids and numbers: what is owed follows from that, not from what
/// a producer was told while brokers failed.
pub(crate) fn changes(bed: &Bed) -> Vec<(String, u64)> {
    let consumer = reader(bed, "changes", PARTITIONS, "read_committed");
    let high = |partition| consumer.fetch_watermarks("changes", partition, PATIENCE).unwrap().1;
    let count: i64 = (0..PARTITIONS).map(high).sum();
    let (until, mut found) = (Instant::now() + PATIENCE, Vec::new());
    while i64::try_from(found.len()).unwrap() < count {
        assert!(Instant::now() < until, "{} of {count} changes", found.len());
        let Some(message) = next(&consumer) else { continue };
        let body: Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
        let id = format!("{}-{}", message.partition(), message.offset());
        found.push((id, body["new"]["speed"].as_u64().unwrap()));
    }
    found
}

/// Reads the alerts, each with how often it came.
pub(crate) struct Alerts {
    seen: Arc<Seen>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    alerts: Mutex<HashMap<Alert, u32>>,
    count: AtomicU64,
    grew: Condvar,
    stop: AtomicBool,
}

impl Alerts {
    /// Those that are committed.
    pub(crate) fn committed(bed: &Bed) -> Self {
        Self::follow(reader(bed, "alerts", ALERT_PARTITIONS, "read_committed"))
    }

    /// Those too that were written and never committed.
    pub(crate) fn written(bed: &Bed) -> Self {
        Self::follow(reader(bed, "alerts", ALERT_PARTITIONS, "read_uncommitted"))
    }

    fn follow(consumer: BaseConsumer) -> Self {
        let seen = Arc::<Seen>::default();
        let shared = Arc::clone(&seen);
        let named = std::thread::Builder::new().name("alerts-read".to_owned());
        let reader = named
            .spawn(move || {
                while !shared.stop.load(Ordering::SeqCst) {
                    let Some(message) = next(&consumer) else { continue };
                    let alert = alert(message.payload().unwrap());
                    *shared.alerts.lock().unwrap().entry(alert).or_default() += 1;
                    shared.count.fetch_add(1, Ordering::SeqCst);
                    shared.grew.notify_all();
                }
            })
            .unwrap();
        Self { seen, reader: Some(reader) }
    }

    pub(crate) fn count(&self) -> u64 {
        self.seen.count.load(Ordering::SeqCst)
    }

    /// Waits until so many have come, as long as any come: a slow machine takes its time over what a dear
    /// script is behind with.
    pub(crate) fn wait_for(&self, count: u64) {
        let mut alerts = self.seen.alerts.lock().unwrap();
        let (mut came, mut until) = (self.count(), Instant::now() + PATIENCE);
        while came < count {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{came} of {count} alerts came, and then none");
            alerts = self.seen.grew.wait_timeout(alerts, left).unwrap().0;
            if self.count() > came {
                (came, until) = (self.count(), Instant::now() + PATIENCE);
            }
        }
    }

    /// Waits for a second at most until so many have come; whether they have.
    pub(crate) fn wait_a_second_for(&self, count: u64) -> bool {
        let alerts = self.seen.alerts.lock().unwrap();
        let missing = |_: &mut HashMap<Alert, u32>| self.count() < count;
        let waited = self.seen.grew.wait_timeout_while(alerts, Duration::from_secs(1), missing);
        !waited.unwrap().1.timed_out()
    }

    /// Waits until this one has come.
    pub(crate) fn wait_for_alert(&self, alert: &Alert) {
        let until = Instant::now() + PATIENCE;
        let mut alerts = self.seen.alerts.lock().unwrap();
        while !alerts.contains_key(alert) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{alert:?} did not come");
            alerts = self.seen.grew.wait_timeout(alerts, left).unwrap().0;
        }
    }

    /// Holds what came against what is owed: nothing is missing, nothing came twice, nothing else came
    /// but from scripts in `free`.
    pub(crate) fn judge(&self, owed: &[Alert], free: &[&str]) {
        let alerts = self.seen.alerts.lock().unwrap();
        let missing: Vec<_> = owed.iter().filter(|one| !alerts.contains_key(*one)).collect();
        let doubled: Vec<_> = alerts.iter().filter(|(_, count)| **count > 1).collect();
        let others = alerts.keys().filter(|(code, _)| !free.contains(&code.as_str())).count();
        assert!(
            missing.is_empty(),
            "{} of {} lost: {:?}",
            missing.len(),
            owed.len(),
            missing.first()
        );
        assert!(doubled.is_empty(), "{} doubled: {:?}", doubled.len(), doubled.first());
        assert_eq!(others, owed.len(), "nothing came that is not owed");
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn alert(payload: &[u8]) -> Alert {
    let value: Value = serde_json::from_slice(payload).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&value["alert"]["scriptCode"]), text(&value["change"]["id"]))
}

/// Waits until the service says so.
pub(crate) fn until(what: &str, service: &Service, done: impl Fn(&Service) -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done(service) {
        assert!(Instant::now() < until, "{what}:\n{}", service.tail());
        std::thread::sleep(Duration::from_millis(20));
    }
}
