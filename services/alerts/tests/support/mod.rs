//! The service between a log in memory and a control topic in memory, with real workers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;
use tidewire_alerts::{Alerts, AlertsOptions, AlertsParts, ControlTopic, Input, PoisonSink};
use tidewire_event::{FrameId, LeaderEpoch, NextOffset, Offset, Partition, Tenant};
use tidewire_log::{
    BatchLimits, BoxFuture, LogEvent, LogReader, LogRecord, LogWriter, MemoryLog, NewRecord,
    WriteError,
};
use tidewire_model::Model;
use tidewire_runtime::Clock;
use tidewire_sandbox::{WORKER_ARGUMENT, WorkerOptions};
use tidewire_script::{Script, ScriptRecord};
use tidewire_telemetry::{AlertsMetrics, CommonMetrics, Registry};

pub(crate) const LONG: Duration = Duration::from_secs(30);

/// The control topic: what is written is read.
#[derive(Clone, Default)]
pub(crate) struct Control(Arc<ControlInner>);

#[derive(Default)]
struct ControlInner {
    records: Mutex<Vec<NewRecord>>,
    /// Writes that fail from now on.
    failing: AtomicU64,
    wake: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

impl Control {
    pub(crate) fn put(&self, key: String, value: Option<String>) -> usize {
        let payload = value.map(Bytes::from);
        let record = NewRecord { key: key.into(), header: None, timestamp_ms: None, payload };
        let mut records = self.0.records.lock();
        records.push(record);
        let offset = records.len() - 1;
        drop(records);
        if let Some(wake) = &*self.0.wake.lock() {
            wake();
        }
        offset
    }

    pub(crate) fn fail_writes(&self, count: u64) {
        self.0.failing.store(count, Ordering::SeqCst);
    }

    /// The last value of a key.
    pub(crate) fn last(&self, key: &str) -> Option<String> {
        let records = self.0.records.lock();
        let found = records.iter().rev().find(|record| record.key == key.as_bytes())?;
        found.payload.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    fn reader(&self) -> Box<dyn LogReader> {
        let assigned = VecDeque::from([true]);
        Box::new(ControlReader { control: self.clone(), next: 0, assigned, told_end: None })
    }
}

impl LogWriter for Control {
    fn write(&self, record: NewRecord) -> BoxFuture<Result<FrameId, WriteError>> {
        let left = self.0.failing.load(Ordering::SeqCst);
        if left > 0 {
            self.0.failing.store(left - 1, Ordering::SeqCst);
            return Box::pin(async { Err(WriteError::Unavailable) });
        }
        let key = String::from_utf8_lossy(&record.key).into_owned();
        let value = record.payload.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let offset = Offset(i64::try_from(self.put(key, value)).unwrap());
        Box::pin(async move { Ok(FrameId { partition: Partition(0), offset }) })
    }
}

struct ControlReader {
    control: Control,
    next: usize,
    assigned: VecDeque<bool>,
    told_end: Option<usize>,
}

impl LogReader for ControlReader {
    fn drain(&mut self, max: usize, sink: &mut dyn FnMut(LogEvent<'_>)) -> usize {
        let mut done = 0;
        let partition = Partition(0);
        if self.assigned.pop_front().is_some() {
            sink(LogEvent::Assigned { partition, next: NextOffset(0) });
            done += 1;
        }
        let records = self.control.0.records.lock().clone();
        while let Some(record) = records.get(self.next).filter(|_| done < max) {
            sink(LogEvent::Record(LogRecord {
                partition,
                offset: Offset(i64::try_from(self.next).unwrap()),
                leader_epoch: LeaderEpoch::UNKNOWN,
                timestamp_ms: 0,
                key: Some(&record.key),
                header: None,
                header_count: 0,
                payload: record.payload.as_deref(),
            }));
            self.next += 1;
            done += 1;
        }
        if done < max && self.told_end != Some(self.next) {
            self.told_end = Some(self.next);
            let next = NextOffset(i64::try_from(self.next).unwrap());
            sink(LogEvent::EndOfPartition { partition, next });
            done += 1;
        }
        done
    }

    fn on_ready(&mut self, wake: Arc<dyn Fn() + Send + Sync>) {
        *self.control.0.wake.lock() = Some(wake);
    }

    fn is_assigned(&self) -> bool {
        self.assigned.is_empty()
    }
}

/// Keeps what goes to quarantine.
#[derive(Default)]
pub(crate) struct Poisoned(pub(crate) Mutex<Vec<String>>);

impl PoisonSink for Poisoned {
    fn put(&self, record: &LogRecord<'_>, reason: &str) {
        self.0.lock().push(format!("{}-{}: {reason}", record.partition, record.offset));
    }

    fn lost(&self) -> u64 {
        0
    }
}

/// Everything around the service.
pub(crate) struct World {
    pub(crate) log: MemoryLog,
    pub(crate) control: Control,
    pub(crate) poison: Arc<Poisoned>,
    pub(crate) registry: Registry,
    pub(crate) metrics: AlertsMetrics,
    common: CommonMetrics,
    pub(crate) options: AlertsOptions,
    pub(crate) batch: BatchLimits,
}

impl World {
    pub(crate) fn new(partitions: usize) -> Self {
        let registry = Registry::new();
        let program = env!("CARGO_BIN_EXE_alerts").into();
        let workers = WorkerOptions::of(program, vec![WORKER_ARGUMENT.into()], 2);
        Self {
            log: MemoryLog::new(partitions),
            control: Control::default(),
            poison: Arc::default(),
            metrics: AlertsMetrics::register(&registry).unwrap(),
            common: CommonMetrics::register(&registry).unwrap(),
            registry,
            options: AlertsOptions::new(workers),
            batch: BatchLimits::default(),
        }
    }

    /// Starts an instance, and waits until it is ready.
    pub(crate) async fn start(&self) -> Alerts {
        let (log, batch) = (self.log.clone(), self.batch);
        let parts = AlertsParts {
            options: self.options.clone(),
            model: Arc::new(Model::vms()),
            control: ControlTopic {
                reader: self.control.reader(),
                writer: Arc::new(self.control.clone()),
            },
            input: Box::new(move || {
                let (stage, history) = (Box::new(log.stage(batch)), Box::new(log.history()));
                Ok(Input { stage, history })
            }),
            poison: Arc::clone(&self.poison) as Arc<dyn PoisonSink>,
            metrics: self.metrics.clone(),
            common: self.common.clone(),
            clock: Clock::system(),
        };
        let alerts = Alerts::start(parts).await.unwrap();
        until("it is ready", || alerts.is_ready()).await;
        alerts
    }

    /// Saves a script over updates of voyages; gives its key.
    pub(crate) fn save(&self, tenant: &str, version: u64, code: &str, body: &str) -> Script {
        self.save_as(tenant, version, json!({"code": code, "scriptBody": body}))
    }

    pub(crate) fn save_as(&self, tenant: &str, version: u64, with: serde_json::Value) -> Script {
        let script = script(tenant, version, with);
        self.control.put(script.key(), Some(script.value()));
        script
    }

    /// An update of a voyage.
    pub(crate) fn change(&self, partition: i32, tenant: &str, key: u64, speed: &str) {
        let body = format!("{{\"new\":{{\"key\":{key},\"speed\":{speed}}},\"old\":null}}");
        self.write(partition, &format!("{tenant}/Voyage/{key}"), "1;U;;none;;;42;test", &body);
    }

    pub(crate) fn write(&self, partition: i32, key: &str, header: &str, body: &str) {
        let record = NewRecord {
            key: Bytes::from(key.to_owned()),
            header: Some(Bytes::from(header.to_owned())),
            timestamp_ms: Some(1_000),
            payload: Some(Bytes::from(body.to_owned())),
        };
        self.log.write(Partition(partition), record).unwrap();
    }
}

/// A script over updates of voyages, with these members beside or instead.
pub(crate) fn script(tenant: &str, version: u64, with: serde_json::Value) -> Script {
    let mut record = json!({
        "code": "c", "name": "a name", "triggers": [{"objectType": "Voyage", "eventType": "U"}],
        "scriptBody": "true", "messageSubject": "a subject", "messageType": "String",
        "alertScriptMessage": "fired",
    });
    for (name, value) in with.as_object().unwrap() {
        record[name] = value.clone();
    }
    let record = ScriptRecord::parse(record.to_string().as_bytes()).unwrap();
    Script::new(Tenant::new(tenant).unwrap(), version, "author", 0, record)
}

/// Code, change and message of each alert, in the order of the output.
pub(crate) fn alerts(log: &MemoryLog) -> Vec<(String, String, String)> {
    log.outputs().iter().map(alert).collect()
}

pub(crate) fn alert(record: &NewRecord) -> (String, String, String) {
    let value: serde_json::Value =
        serde_json::from_slice(record.payload.as_ref().unwrap()).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (
        text(&value["alert"]["scriptCode"]),
        text(&value["change"]["id"]),
        text(&value["alert"]["message"]),
    )
}

pub(crate) async fn until(what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
