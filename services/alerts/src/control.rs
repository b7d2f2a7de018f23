//! Follows the control topic: the thread that owns its reader.
//!
//! No script runs before the topic was read to the end that it had at the start. What was read stays in
//! force while Kafka is away, and also when the topic is created anew.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use tidewire_event::Partition;
use tidewire_log::{LogEvent, LogReader, LogRecord, LogWriter};
use tidewire_runtime::{Shutdown, Tasks};
use tidewire_telemetry::AlertsMetrics;
use tidewire_telemetry::metrics::ControlOutcome;
use tracing::{info, warn};

use crate::health::{Health, Part};
use crate::scripts::Scripts;

/// Log events taken in a turn.
const EVENTS_PER_TURN: usize = 512;
/// How long the thread sleeps at most.
const SLEEP_MAX: Duration = Duration::from_millis(250);

/// The control topic, as the service needs it.
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

pub(crate) struct Follower {
    pub(crate) reader: Box<dyn LogReader>,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: AlertsMetrics,
    pub(crate) shutdown: Shutdown,
}

impl Follower {
    pub(crate) fn start(mut self, tasks: &Tasks) -> io::Result<()> {
        let (wake, woken) = bounded(1);
        self.reader.on_ready(Arc::new(move || {
            // Full: it is about to wake.
            let _ = wake.try_send(());
        }));
        tasks.spawn_thread("control", move || self.run(&woken))?;
        Ok(())
    }

    fn run(&mut self, woken: &Receiver<()>) {
        // Partitions whose end was not reached since they were assigned.
        let mut behind: HashSet<Partition> = HashSet::new();
        let mut assigned = false;
        while !self.shutdown.is_cancelled() {
            if self.turn(&mut behind, &mut assigned) == 0 {
                // A timeout is as good as a wake.
                let _ = woken.recv_timeout(SLEEP_MAX);
            }
            let is_read = assigned && behind.is_empty() && self.reader.is_assigned();
            if is_read && self.health.set_control_read() {
                info!(scripts = self.scripts.len(), "the control topic was read");
            }
        }
    }

    /// Takes what is there; returns how much.
    fn turn(&mut self, behind: &mut HashSet<Partition>, assigned: &mut bool) -> usize {
        let Self { reader, scripts, health, metrics, .. } = self;
        reader.drain(EVENTS_PER_TURN, &mut |event| match event {
            LogEvent::Record(record) => metrics.control_records.inc(apply(scripts, &record)),
            LogEvent::EndOfPartition { partition, .. } => {
                behind.remove(&partition);
            }
            LogEvent::Assigned { partition, .. } => {
                behind.insert(partition);
                *assigned = true;
            }
            LogEvent::Gap { partition, next, reason } => warn!(
                partition = partition.0,
                offset = next.0,
                reason = reason.as_str(),
                "records of the control topic may be missing; what was read stays in force"
            ),
            LogEvent::Recreated => {
                warn!("the control topic was created anew; what was read stays in force");
            }
            LogEvent::Topic(_) => {}
            LogEvent::Fault(text) => {
                health.set_fault(Part::Control, true);
                warn!(error = text, "the control topic cannot be read");
            }
            LogEvent::Recovered => {
                health.set_fault(Part::Control, false);
                info!("the control topic can be read again");
            }
        })
    }
}

fn apply(scripts: &Scripts, record: &LogRecord<'_>) -> ControlOutcome {
    match scripts.apply(record.key.unwrap_or_default(), record.payload) {
        Ok(outcome) => outcome,
        Err(error) => {
            warn!(partition = record.partition.0, offset = record.offset.0, %error,
                "a record of the control topic cannot be used and was skipped");
            ControlOutcome::Bad
        }
    }
}
