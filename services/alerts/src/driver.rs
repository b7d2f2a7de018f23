//! The thread that owns the stage: batch in, alerts and positions out, in one transaction.
//!
//! Invariants: nothing is read before the control topic was; a batch is committed with what fired over
//! every change of it, or not at all; when told to stop, the batch at hand is finished.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidewire_event::{Partition, RecordHeader, RecordKey};
use tidewire_log::{Batch, GapReason, LogHistory, LogRecord, LogStage, StageError, StageEvent};
use tidewire_model::Model;
use tidewire_runtime::Shutdown;
use tidewire_telemetry::AlertsMetrics;
use tidewire_telemetry::metrics::{BatchOutcome, GapReason as GapLabel};
use tokio::runtime::Handle;
use tracing::{error, info, warn};

use crate::change::{Change, Poison};
use crate::evaluate::{Evaluator, NoWorkers};
use crate::health::{Health, Part};
use crate::outputs::{Outputs, refused};
use crate::repeats::Repeats;
use crate::scripts::Scripts;

/// How long a poll waits: how soon a replica that has nothing to do sees that it is to stop.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// Between two looks at the lag.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Before a batch that no process could evaluate is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Where records go that cannot be used.
pub trait PoisonSink: Send + Sync {
    /// Takes a copy. Never waits.
    fn put(&self, record: &LogRecord<'_>, reason: &str);

    /// How many copies were lost.
    fn lost(&self) -> u64;
}

pub(crate) struct Driver {
    pub(crate) stage: Box<dyn LogStage>,
    /// What lies before the stage's positions.
    pub(crate) history: Box<dyn LogHistory>,
    pub(crate) repeats: Repeats,
    pub(crate) evaluator: Evaluator,
    pub(crate) model: Arc<Model>,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) poison: Arc<dyn PoisonSink>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: AlertsMetrics,
    pub(crate) stop: Shutdown,
    pub(crate) runtime: Handle,
    pub(crate) mine: BTreeSet<Partition>,
    pub(crate) look_at: Instant,
}

impl Driver {
    /// Until told to stop.
    pub(crate) fn run(mut self) -> Result<(), StageError> {
        let mut was_revoked = false;
        while !self.stop.is_cancelled() {
            let event = self.stage.poll(POLL_WAIT)?;
            let is_revoked = matches!(event, StageEvent::Revoked { .. });
            if is_revoked && !was_revoked {
                self.metrics.rebalances.inc();
            }
            was_revoked = is_revoked;
            match event {
                StageEvent::Batch(batch) => self.batch(&batch)?,
                other => self.note(other),
            }
            if Instant::now() >= self.look_at {
                self.look_at = Instant::now() + LOOK_INTERVAL;
                for (partition, lag) in self.stage.lag() {
                    self.metrics.lag_records.set(partition.0, lag);
                }
            }
        }
        info!("the last batch is done, leaving the group");
        Ok(())
    }

    fn batch(&mut self, batch: &Batch) -> Result<(), StageError> {
        self.read_back(batch);
        let changes: Vec<Change> =
            batch.records().filter_map(|record| self.wanted(&record)).collect();
        self.metrics.records.add(batch.len() as u64);
        let fired = match self.runtime.block_on(self.evaluator.run(&changes)) {
            Ok(fired) => fired,
            Err(NoWorkers) => {
                self.metrics.batches.inc(BatchOutcome::Unavailable);
                self.health.set_fault(Part::Workers, true);
                error!("no process can run scripts; the changes are tried again");
                let stop = self.stop.clone();
                let wait =
                    async move { tokio::time::timeout(RETRY_INTERVAL, stop.cancelled()).await };
                // Either way: on.
                let _ = self.runtime.block_on(wait);
                return Ok(());
            }
        };
        self.health.set_fault(Part::Workers, false);
        // Known, since a batch was handed out.
        let topic_id = self.stage.topic_id().unwrap_or_default().to_owned();
        let outputs = Outputs::new(&topic_id, &changes, fired);
        self.commit(batch, outputs)
    }

    /// Finds out what stands before the records of partitions that are new here; of the others, forgets what
    /// stands too far before.
    fn read_back(&mut self, batch: &Batch) {
        let mut is_read = false;
        for segment in batch.segments() {
            let (partition, next) = (segment.partition(), segment.from());
            if self.repeats.knows(partition) {
                self.repeats.go_on(partition, next);
                continue;
            }
            is_read = true;
            if let Err(error) = self.repeats.read_back(&mut *self.history, partition, next) {
                self.metrics.read_back_failed.inc();
                warn!(partition = partition.0, %error,
                    "what stands before the position is not known: changes published again may fire again");
            }
        }
        if is_read {
            self.history.reset();
        }
    }

    /// The change, if a script wants it. Poison is counted and goes to quarantine, a repeat is counted.
    fn wanted(&mut self, record: &LogRecord<'_>) -> Option<Change> {
        let Self { scripts, repeats, metrics, .. } = self;
        let triggered = |key: &RecordKey<'_>, header: &RecordHeader<'_>| {
            if repeats.is_repeat(record, header) {
                metrics.changes_repeated.inc();
                return Vec::new();
            }
            scripts.triggered(&key.tenant, key.object_type, header.operation)
        };
        match Change::of(record, &self.model, triggered) {
            Ok(change) => change,
            Err(Poison { part, reason }) => {
                self.metrics.records_poison.inc(part);
                warn!(
                    partition = record.partition.0,
                    offset = record.offset.0,
                    reason,
                    "a record cannot be used and goes to quarantine"
                );
                self.poison.put(record, &reason);
                None
            }
        }
    }

    fn commit(&mut self, batch: &Batch, mut outputs: Outputs<'_>) -> Result<(), StageError> {
        loop {
            let began = Instant::now();
            let done = self.stage.commit(batch, outputs.records());
            self.metrics.commit_seconds.observe(began.elapsed());
            let error = match done {
                Ok(()) => {
                    self.metrics.batches.inc(BatchOutcome::Committed);
                    self.metrics.fired.add(outputs.records().len() as u64);
                    return Ok(());
                }
                Err(error) => error,
            };
            if let Some((output, reason)) = refused(&error) {
                outputs.mend(output, reason, &self.scripts, &self.metrics);
                continue;
            }
            return match error {
                StageError::Aborted(reason) => {
                    self.metrics.batches.inc(BatchOutcome::Aborted);
                    warn!(reason, "a transaction was aborted; the changes come again");
                    Ok(())
                }
                StageError::Fenced(reason) => {
                    self.metrics.batches.inc(BatchOutcome::Fenced);
                    info!(reason, "the group has gone on; the changes come again to their owner");
                    Ok(())
                }
                other => Err(other),
            };
        }
    }

    fn note(&mut self, event: StageEvent) {
        match event {
            StageEvent::Idle | StageEvent::EndOfPartition { .. } | StageEvent::Batch(_) => {}
            StageEvent::Assigned { partition, next, from } => {
                self.mine.insert(partition);
                self.repeats.forget(partition);
                let (partition, offset, from) = (partition.0, next.0, from.as_str());
                info!(partition, offset, from, "a partition is this replica's");
            }
            StageEvent::Revoked { partition, lost } => {
                self.mine.remove(&partition);
                self.repeats.forget(partition);
                self.metrics.lag_records.clear();
                info!(partition = partition.0, lost, "a partition is another's");
            }
            StageEvent::Gap { partition, next, reason } => {
                self.metrics.gaps.inc(gap_label(reason));
                let (partition, offset, reason) = (partition.0, next.0, reason.as_str());
                error!(
                    partition,
                    offset, reason, "changes are missing: no script was run over them"
                );
            }
            StageEvent::Recreated => {
                self.metrics.gaps.inc(GapLabel::Recreated);
                warn!("the change topic was created anew and is read from its beginning");
            }
            StageEvent::Fault(text) => {
                self.health.set_fault(Part::Stage, true);
                warn!(error = text, "changes cannot be read");
            }
            StageEvent::Recovered => {
                self.health.set_fault(Part::Stage, false);
                info!("changes can be read again");
            }
        }
        self.metrics.partitions.set(i64::try_from(self.mine.len()).unwrap_or(i64::MAX));
    }
}

const fn gap_label(reason: GapReason) -> GapLabel {
    match reason {
        GapReason::Retention => GapLabel::Retention,
        GapReason::Truncated => GapLabel::Truncated,
        GapReason::Recreated => GapLabel::Recreated,
    }
}
