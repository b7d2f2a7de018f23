//! The thread that owns the stage: batch in, alerts and positions out, in one transaction.
//!
//! Invariants: nothing is read before the control topic was; a batch is committed with what fired over
//! every change of it, but for those that are late, or not at all; a late change is committed with what it
//! fired; when told to stop, the batch at hand is finished, and what is late is left to whoever reads next.

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
use crate::evaluate::{Evaluated, Evaluator, NoWorkers, RETRY_INTERVAL};
use crate::health::{Health, Part};
use crate::late::Late;
use crate::outputs::{Outputs, refused};
use crate::repeats::Repeats;
use crate::scripts::Scripts;

/// How long a poll waits: how soon a replica that has nothing to do sees that it is to stop.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// Between two looks at the lag.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a poll waits while changes are late: how soon it is seen that some are done, if nothing comes.
const LATE_WAIT: Duration = Duration::from_millis(20);
/// What is done of late changes goes along with a batch; if none comes for so long, by itself.
const LATE_INTERVAL: Duration = Duration::from_millis(50);
/// How long no batch is read while too much is late: well below what the group thinks of who does not poll.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(60);

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
    pub(crate) evaluator: Arc<Evaluator>,
    pub(crate) late: Late,
    pub(crate) committed_at: Instant,
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
            self.wait_for_room()?;
            let is_late = self.late.waiting().1 > 0 || self.late.has_done();
            let event = self.stage.poll(if is_late { LATE_WAIT } else { POLL_WAIT })?;
            let is_revoked = matches!(event, StageEvent::Revoked { .. });
            if is_revoked && !was_revoked {
                self.metrics.rebalances.inc();
            }
            was_revoked = is_revoked;
            match event {
                StageEvent::Batch(batch) => self.batch(&batch)?,
                other => self.note(other),
            }
            self.commit_late()?;
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
        let Ok(evaluated) = self.evaluate(changes) else {
            self.metrics.batches.inc(BatchOutcome::Unavailable);
            self.health.set_fault(Part::Workers, true);
            error!("no process can run scripts; the changes are tried again");
            let stop = self.stop.clone();
            let wait = async move { tokio::time::timeout(RETRY_INTERVAL, stop.cancelled()).await };
            // Either way: on.
            let _ = self.runtime.block_on(wait);
            return Ok(());
        };
        self.health.set_fault(Part::Workers, false);
        for segment in batch.segments() {
            self.late.advance(segment.partition(), segment.to());
        }
        self.commit(batch, evaluated)
    }

    /// What is to be committed with a batch of these changes: what was late and is done by now, and what is
    /// not late.
    fn evaluate(&mut self, changes: Vec<Change>) -> Result<Vec<Evaluated>, NoWorkers> {
        let Self { evaluator, late, runtime, metrics, .. } = self;
        let quick = runtime.block_on(evaluator.quick(changes, |change| late.waits(change)))?;
        late.look();
        let mut all = late.take_done();
        for (change, fired) in quick {
            let fired = fired.filter(|_| !late.waits(&change));
            if let Some(fired) = fired {
                all.push(Evaluated { change, fired });
                continue;
            }
            metrics.changes_late.inc();
            if let Some(change) = late.put(change) {
                let fired = runtime.block_on(evaluator.whole(&change))?;
                all.push(Evaluated { change, fired });
            }
        }
        Ok(all)
    }

    /// Commits what is done of late changes, if no batch has taken it along lately.
    fn commit_late(&mut self) -> Result<(), StageError> {
        self.late.look();
        self.show_late();
        if !self.late.has_done() || self.committed_at.elapsed() < LATE_INTERVAL {
            return Ok(());
        }
        let Some(batch) = self.stage.empty_batch() else { return Ok(()) };
        let done = self.late.take_done();
        self.commit(&batch, done)
    }

    /// While too much is late, nothing is read.
    fn wait_for_room(&mut self) -> Result<(), StageError> {
        let until = Instant::now() + ROOM_WAIT_MAX;
        while self.late.is_full() && !self.stop.is_cancelled() && Instant::now() < until {
            self.late.wait(POLL_WAIT);
            self.commit_late()?;
        }
        Ok(())
    }

    fn show_late(&self) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let (tenants, changes) = self.late.waiting();
        self.metrics.late_tenants.set(gauge(tenants));
        self.metrics.late_changes.set(gauge(changes));
    }

    /// Finds out what stands before the records of partitions that are new here; of the others, forgets what
    /// stands too far before.
    fn read_back(&mut self, batch: &Batch) {
        let mut is_read = false;
        for segment in batch.segments() {
            let partition = segment.partition();
            let next = self.late.first(partition, segment.from());
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
        if self.late.is_cut(record) {
            self.metrics.gaps.inc(GapLabel::Truncated);
            error!(
                partition = record.partition.0,
                offset = record.offset.0,
                "the log was cut where changes had been evaluated; what stands there now is evaluated"
            );
        }
        let Self { scripts, repeats, metrics, late, .. } = self;
        let triggered = |key: &RecordKey<'_>, header: &RecordHeader<'_>| {
            let is_repeat = repeats.is_repeat(record, header);
            if !late.is_owed(record, &key.tenant) {
                return Vec::new();
            }
            if is_repeat {
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

    fn commit(&mut self, batch: &Batch, evaluated: Vec<Evaluated>) -> Result<(), StageError> {
        // Known, since a batch was handed out.
        let mut outputs = Outputs::new(self.stage.topic_id().unwrap_or_default(), evaluated);
        let marks = self.late.marks();
        loop {
            let began = Instant::now();
            let done = self.stage.commit_at(batch, outputs.records(), &marks);
            self.committed_at = Instant::now();
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
            StageEvent::Reading { partition, next, note } => {
                let (number, offset) = (partition.0, next.0);
                if let Err(error) = self.late.begin(partition, next, &note) {
                    error!(
                        partition = number,
                        offset, error, "changes from here on may fire again"
                    );
                } else if !note.is_empty() {
                    info!(
                        partition = number,
                        offset, note, "tenants are late: what else is done is passed over"
                    );
                }
            }
            StageEvent::Revoked { partition, lost } => {
                self.late.forget(partition);
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
