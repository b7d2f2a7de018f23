//! Follows the control topic: the thread that owns its reader, and the hand that writes to it.
//!
//! Its records are revocations, kicks and alert scripts; what it does not know it passes by, and what cannot
//! be used it counts, logs and skips. The replica is not ready before the topic was read to the end that it
//! had at the start. What was read stays in force while Kafka is away, and also when the topic is created
//! anew: a revocation ends by its own time or by a tombstone, never by a loss.
//!
//! A thread of its own, because closing many sockets waits for the queues of their shards.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use tidewire_auth::unix_now;
use tidewire_event::{FrameId, NextOffset, Partition};
use tidewire_log::{LogEvent, LogReader, LogRecord, LogWriter, NewRecord, WriteError};
use tidewire_telemetry::metrics::ControlOutcome;
use tidewire_wire::error::Refusal;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::shared::Shared;
use crate::{revocations, scripts};

/// Log events taken in a turn.
const EVENTS_PER_TURN: usize = 512;
/// How long the thread sleeps at most.
const SLEEP_MAX: Duration = Duration::from_millis(500);
/// Between two looks for records whose time is over.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Records cleared away at a time.
const SWEEP_MAX: usize = 500;
/// How long a writer waits until its record was read here. It stands in any case.
const READ_BACK_MAX: Duration = Duration::from_secs(2);
/// Seconds after which a write that Kafka did not take may be tried again.
const RETRY_AFTER: u32 = 2;

/// The control topic, as a gateway needs it.
pub struct ControlTopic {
    /// Reads it from its first record on.
    pub reader: Box<dyn LogReader>,
    /// Writes to it.
    pub writer: Arc<dyn LogWriter>,
}

impl fmt::Debug for ControlTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ControlTopic")
    }
}

type Positions = HashMap<Partition, NextOffset>;

/// Writes to the control topic, and knows how far it was read.
pub(crate) struct Control {
    writer: Arc<dyn LogWriter>,
    read: watch::Receiver<Positions>,
    wake: Sender<()>,
    stopped: Arc<AtomicBool>,
}

impl Control {
    /// Writes a record (`None`: a tombstone), and answers once it is durable and, as a rule, in force on
    /// this replica.
    pub(crate) async fn write(&self, key: String, value: Option<String>) -> Result<(), WriteError> {
        let FrameId { partition, offset } = self.writer.write(record(key, value)).await?;
        let mut read = self.read.clone();
        let passed = |read: &Positions| read.get(&partition).is_some_and(|next| next.0 > offset.0);
        let waited = tokio::time::timeout(READ_BACK_MAX, read.wait_for(passed)).await;
        if waited.is_err() {
            warn!(partition = partition.0, offset = offset.0, "a control record was not read yet");
        }
        Ok(())
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Full: it is about to wake.
        let _ = self.wake.try_send(());
    }
}

fn record(key: String, value: Option<String>) -> NewRecord {
    let payload = value.map(Bytes::from);
    NewRecord { key: Bytes::from(key), header: None, timestamp_ms: None, payload }
}

/// The thread before it starts: what all share holds the handle, the thread needs what all share.
pub(crate) struct ControlSeat {
    topic: ControlTopic,
    read: watch::Sender<Positions>,
    woken: Receiver<()>,
    stopped: Arc<AtomicBool>,
}

pub(crate) fn seat(mut topic: ControlTopic) -> (Control, ControlSeat) {
    let (wake, woken) = bounded(1);
    let (sender, read) = watch::channel(Positions::new());
    let stopped = Arc::<AtomicBool>::default();
    let ready = wake.clone();
    topic.reader.on_ready(Arc::new(move || {
        // Full: it is about to wake.
        let _ = ready.try_send(());
    }));
    let writer = Arc::clone(&topic.writer);
    let control = Control { writer, read, wake, stopped: Arc::clone(&stopped) };
    (control, ControlSeat { topic, read: sender, woken, stopped })
}

impl ControlSeat {
    pub(crate) fn start(self, shared: &Arc<Shared>) -> io::Result<()> {
        let mut follower = Follower {
            seat: self,
            shared: Arc::clone(shared),
            behind: HashSet::new(),
            assigned: false,
            sweep_at: Instant::now() + SWEEP_INTERVAL,
        };
        shared.tasks.spawn_thread("control", move || follower.run())?;
        Ok(())
    }
}

struct Follower {
    seat: ControlSeat,
    shared: Arc<Shared>,
    /// Partitions whose end was not reached since they were assigned.
    behind: HashSet<Partition>,
    assigned: bool,
    sweep_at: Instant,
}

impl Follower {
    fn run(&mut self) {
        while !self.seat.stopped.load(Ordering::SeqCst) {
            if self.turn() == 0 {
                // A timeout is as good as a wake.
                let _ = self.seat.woken.recv_timeout(SLEEP_MAX);
            }
            if !self.shared.health.is_control_read() && self.is_read() {
                self.shared.health.set_control_read();
                let kept = self.shared.verifier.revocations().read().len();
                let scripts = self.shared.scripts.len();
                info!(revocations = kept, scripts, "the control topic was read");
                self.sweep_at = Instant::now();
            }
            if Instant::now() >= self.sweep_at {
                self.sweep_at = Instant::now() + SWEEP_INTERVAL;
                self.sweep();
            }
        }
    }

    fn is_read(&self) -> bool {
        self.assigned && self.behind.is_empty() && self.seat.topic.reader.is_assigned()
    }

    /// Takes what is there; returns how much.
    fn turn(&mut self) -> usize {
        let Self { seat, shared, behind, assigned, .. } = self;
        let mut passed: Vec<(Partition, NextOffset)> = Vec::new();
        let done = seat.topic.reader.drain(EVENTS_PER_TURN, &mut |event| match event {
            LogEvent::Record(record) => {
                shared.metrics.control_records.inc(apply(shared, &record));
                passed.push((record.partition, record.offset.next()));
            }
            LogEvent::EndOfPartition { partition, next } => {
                behind.remove(&partition);
                passed.push((partition, next));
            }
            LogEvent::Assigned { partition, next } => {
                behind.insert(partition);
                *assigned = true;
                passed.push((partition, next));
            }
            LogEvent::Gap { partition, next, reason } => {
                warn!(
                    partition = partition.0,
                    offset = next.0,
                    reason = reason.as_str(),
                    "records of the control topic may be missing; what was read stays in force"
                );
                passed.push((partition, next));
            }
            LogEvent::Recreated => {
                warn!("the control topic was created anew; what was read stays in force");
            }
            LogEvent::Topic(_) => {}
            LogEvent::Fault(text) => warn!(error = text, "the control topic cannot be read"),
            LogEvent::Recovered => info!("the control topic can be read again"),
        });
        if !passed.is_empty() {
            seat.read.send_modify(|read| read.extend(passed));
            let kept = shared.verifier.revocations().read().len();
            shared.metrics.revocations.set(i64::try_from(kept).unwrap_or(i64::MAX));
            let scripts = shared.scripts.len();
            shared.metrics.scripts.set(i64::try_from(scripts).unwrap_or(i64::MAX));
        }
        done
    }

    /// Forgets what is over, and clears away its records. Every replica does: what one has cleared away,
    /// the others read and need not.
    fn sweep(&self) {
        let over = self.shared.verifier.revocations().write().sweep(unix_now(), SWEEP_MAX);
        for key in over {
            // Not waited for: what was not written is told again at the next sweep.
            drop(self.seat.topic.writer.write(record(key, None)));
        }
    }
}

fn apply(shared: &Shared, record: &LogRecord<'_>) -> ControlOutcome {
    let (key, value) = (record.key.unwrap_or_default(), record.payload);
    let applied = match scripts::apply(shared, key, value) {
        Ok(ControlOutcome::Other) => {
            revocations::apply(shared, key, value).map_err(|error| error.to_string())
        }
        applied => applied.map_err(|error| error.to_string()),
    };
    applied.unwrap_or_else(|error| {
        warn!(
            partition = record.partition.0,
            offset = record.offset.0,
            error,
            "a record of the control topic cannot be used and was skipped"
        );
        ControlOutcome::Bad
    })
}

/// What a client is told whose write came to nothing.
pub(crate) fn refusal(error: &WriteError) -> Refusal {
    match error {
        WriteError::QueueFull | WriteError::Unavailable => Refusal::unavailable(
            "kafka does not take it at the moment: nothing was done",
            RETRY_AFTER,
        ),
        WriteError::Unknown => Refusal::unavailable(
            "kafka did not answer: it may or may not be in force; do it again",
            RETRY_AFTER,
        ),
        WriteError::TooLarge | WriteError::Refused(_) => {
            Refusal::internal("the control topic does not take it: the log says why")
        }
    }
}
