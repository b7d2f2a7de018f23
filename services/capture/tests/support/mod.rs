//! A log that does what a test tells it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    reason = "each test file uses its part of it"
)]

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tidewire_capture::{CaptureOptions, Intake};
use tidewire_event::{FrameId, Offset, Partition, Tenant};
use tidewire_log::{BoxFuture, LogWriter, NewRecord, WriteError};
use tidewire_model::Model;
use tidewire_runtime::Clock;
use tidewire_telemetry::{CaptureMetrics, Registry};
use tokio::sync::{oneshot, watch};

/// 2026-09-14T13:37:26Z.
pub const NOW_MS: u64 = 1_789_393_046_000;

type Answer = Result<FrameId, WriteError>;

/// Records what is written, as `0-<index>`, and answers as told.
pub struct FakeLog {
    state: Mutex<State>,
    count: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    records: Vec<NewRecord>,
    /// (text in the key, error): the next write of such a key fails so.
    failures: VecDeque<(String, WriteError)>,
    held: bool,
    waiting: Vec<(usize, oneshot::Sender<Answer>)>,
}

impl FakeLog {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), count: watch::Sender::new(0) })
    }

    /// The next write whose key ends so fails.
    pub fn fail_next(&self, key_end: &str, error: WriteError) {
        self.state.lock().failures.push_back((key_end.to_owned(), error));
    }

    /// From now on writes wait for [`FakeLog::answer`].
    pub fn hold(&self) {
        self.state.lock().held = true;
    }

    /// Answers the write with this index.
    pub fn answer(&self, index: usize, error: Option<WriteError>) {
        let mut state = self.state.lock();
        let at = state.waiting.iter().position(|(other, _)| *other == index).expect("it waits");
        let (_, sender) = state.waiting.remove(at);
        let _ = sender.send(error.map_or_else(|| Ok(frame(index)), Err));
    }

    /// Waits until so many writes were begun.
    pub async fn until(&self, count: usize) {
        self.count.subscribe().wait_for(|begun| *begun >= count).await.expect("the log is there");
    }

    pub fn records(&self) -> Vec<NewRecord> {
        self.state.lock().records.clone()
    }

    /// The keys written, without the tenant.
    pub fn keys(&self) -> Vec<String> {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let keys = self.records().into_iter().map(|record| text(&record.key));
        keys.map(|key| key.split_once('/').expect("a tenant").1.to_owned()).collect()
    }
}

fn frame(index: usize) -> FrameId {
    let offset = i64::try_from(index).expect("small");
    FrameId { partition: Partition(0), offset: Offset(offset) }
}

impl LogWriter for FakeLog {
    fn write(&self, record: NewRecord) -> BoxFuture<Answer> {
        let mut state = self.state.lock();
        let index = state.records.len();
        let key = String::from_utf8_lossy(&record.key).into_owned();
        state.records.push(record);
        self.count.send_replace(index + 1);
        if let Some(at) = state.failures.iter().position(|(end, _)| key.ends_with(end.as_str())) {
            let (_, error) = state.failures.remove(at).expect("found");
            return Box::pin(std::future::ready(Err(error)));
        }
        if !state.held {
            return Box::pin(std::future::ready(Ok(frame(index))));
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.push((index, sender));
        Box::pin(async move { receiver.await.unwrap_or(Err(WriteError::Unknown)) })
    }
}

pub struct Bench {
    pub log: Arc<FakeLog>,
    pub intake: Intake,
    pub metrics: CaptureMetrics,
    pub clock: Clock,
}

pub fn bench(options: &CaptureOptions) -> Bench {
    let (log, clock) = (FakeLog::new(), Clock::manual(NOW_MS));
    let metrics = CaptureMetrics::register(&Registry::new()).expect("first");
    let model = Arc::new(Model::vms());
    let writer = Arc::clone(&log) as Arc<dyn LogWriter>;
    let intake = Intake::new(writer, model, options, metrics.clone(), clock.clone());
    Bench { log, intake, metrics, clock }
}

pub fn tenant() -> Tenant {
    Tenant::new("demo").expect("a tenant")
}

/// An update of a vessel, with further members.
pub fn vessel(key: u64, more: &str) -> String {
    format!(r#"{{"objectType":"Vessel","key":{key},"operation":"U","new":{{"key":{key}}}{more}}}"#)
}
