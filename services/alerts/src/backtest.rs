//! When a script would have fired: a script over a range of the change topic, through the same workers,
//! the same reading of records and the same rendering of messages as in the service. Nothing is written.
//!
//! It blocks, so it is for a thread of its own (`spawn_blocking`). It is bounded in records, matches and
//! time, and the caller may stop it at each look at its progress.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tidewire_event::{FrameId, NextOffset, ObjectKey, ObjectType, Operation, Position};
use tidewire_log::{
    HistoryAnswer, HistoryError, HistoryRequest, LogHistory, LogRecord, Segment, Stretch,
};
use tidewire_model::Model;
use tidewire_sandbox::Workers;
use tidewire_script::{Script, ScriptError, ScriptErrorKind as Kind};
use tokio::runtime::Handle;

use crate::change::Change;
use crate::evaluate::message;
use crate::options::REPEAT_WINDOW;
use crate::repeats::Repeats;

/// Faults that a report holds; all are counted.
const FAULTS_SHOWN_MAX: usize = 100;
/// Between two tries while Kafka does not answer.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// How far a back-test goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BacktestLimits {
    /// Most records that are read, of all tenants.
    pub records_max: u64,
    /// Most matches that are found.
    pub matches_max: usize,
    /// How long it may take.
    pub time_max: Duration,
    /// How long Kafka may be away before it is given up.
    pub silence_max: Duration,
    /// As `alerts.repeat_window`.
    pub repeat_window: u32,
}

impl Default for BacktestLimits {
    fn default() -> Self {
        Self {
            records_max: 1_000_000,
            matches_max: 1_000,
            time_max: Duration::from_secs(300),
            silence_max: Duration::from_secs(30),
            repeat_window: REPEAT_WINDOW,
        }
    }
}

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Offsets of the range that are behind; holes count too.
    pub done: u64,
    /// Offsets of the whole range.
    pub total: u64,
    /// Records that were read.
    pub records: u64,
    /// Changes over which the script was run.
    pub runs: u64,
    /// How often it would have fired.
    pub matches: u64,
}

/// One time that it would have fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The change: the `id` that the alert's message would have had.
    pub id: FrameId,
    /// The time of the change, in milliseconds since the Unix epoch; -1 where the record has none.
    pub time_ms: i64,
    /// The type of the changed object.
    pub object_type: ObjectType,
    /// Its key.
    pub key: ObjectKey,
    /// What happened to it.
    pub operation: Operation,
    /// The message.
    pub message: String,
}

/// A run that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The change.
    pub id: FrameId,
    /// What went wrong.
    pub error: ScriptError,
}

/// Why it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The whole range was read.
    Complete,
    /// [`BacktestLimits::records_max`].
    Records,
    /// [`BacktestLimits::matches_max`].
    Matches,
    /// [`BacktestLimits::time_max`].
    Time,
    /// The caller said stop.
    Stopped,
    /// Kafka did not answer for [`BacktestLimits::silence_max`], or until the time was over.
    Unanswered(HistoryError),
}

/// What a back-test found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// When it would have fired, in the order of time.
    pub matches: Vec<Match>,
    /// The first runs that went wrong. In the service so many in a row disable a script; here they do not.
    pub faults: Vec<Fault>,
    /// How many went wrong.
    pub faults_total: u64,
    /// Records of the tenant that cannot be used.
    pub poison: u64,
    /// Changes that were published again: the script is run over the first record of each alone, as far as
    /// that lies in the range.
    pub repeated: u64,
    /// Offsets that retention took while it ran: nobody knows what was there.
    pub missing: u64,
    /// How far it came.
    pub progress: Progress,
    /// Why it ended.
    pub ended: Ended,
}

/// Why there is no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BacktestError {
    /// No process can run scripts.
    #[error("no process can run scripts")]
    Workers,
}

/// What a back-test needs of its surroundings.
pub struct Backtest<'a> {
    /// The script. Only changes of its tenant are looked at.
    pub script: Arc<Script>,
    /// The data model.
    pub model: &'a Model,
    /// The processes that run scripts.
    pub workers: &'a Workers,
    /// Where they are waited for.
    pub runtime: &'a Handle,
    /// How far it goes.
    pub limits: BacktestLimits,
    /// Changes before this moment (milliseconds since the Unix epoch) are passed over, also where the
    /// cluster could not find their offset.
    pub since_ms: Option<i64>,
}

impl Backtest<'_> {
    /// Runs the script over the ranges. `look` is told of the progress after each run of the script, after
    /// each piece of the log (about 256 KiB), while Kafka does not answer, and at the end, and may break.
    ///
    /// # Errors
    /// [`BacktestError`].
    pub fn run(
        &self,
        stretches: &[Stretch],
        history: &mut dyn LogHistory,
        look: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Report, BacktestError> {
        let total = stretches.iter().map(|s| distance(s.from, s.to)).sum();
        let report = Report {
            matches: Vec::new(),
            faults: Vec::new(),
            faults_total: 0,
            poison: 0,
            repeated: 0,
            missing: 0,
            progress: Progress { total, ..Progress::default() },
            ended: Ended::Complete,
        };
        let until = Instant::now() + self.limits.time_max;
        let repeats = Repeats::new(self.limits.repeat_window);
        let mut walk = Walk { test: self, history, look, until, repeats, report };
        for stretch in stretches {
            if let ControlFlow::Break(ended) = walk.over_stretch(*stretch)? {
                walk.report.ended = ended;
                break;
            }
        }
        // Told for the last time; there is nothing left to stop.
        let _ = walk.look();
        let mut report = walk.report;
        report.matches.sort_by_key(|one| (one.time_ms, one.id.partition, one.id.offset));
        Ok(report)
    }
}

/// A back-test under way.
struct Walk<'a> {
    test: &'a Backtest<'a>,
    history: &'a mut dyn LogHistory,
    look: &'a mut dyn FnMut(&Progress) -> ControlFlow<()>,
    until: Instant,
    repeats: Repeats,
    report: Report,
}

impl Walk<'_> {
    fn look(&mut self) -> ControlFlow<()> {
        (self.look)(&self.report.progress)
    }

    fn over_stretch(&mut self, stretch: Stretch) -> Result<ControlFlow<Ended>, BacktestError> {
        let mut at = Position::at(stretch.from);
        while at.next < stretch.to {
            if Instant::now() >= self.until {
                return Ok(ControlFlow::Break(Ended::Time));
            }
            let request = HistoryRequest { partition: stretch.partition, from: at };
            let answer = match self.ask(request) {
                ControlFlow::Continue(answer) => answer,
                ControlFlow::Break(ended) => return Ok(ControlFlow::Break(ended)),
            };
            let done = self.report.progress.done;
            let next = match answer {
                HistoryAnswer::Segment(segment) => {
                    let over = self.over(&segment, stretch.to)?;
                    if over.is_break() {
                        return Ok(over);
                    }
                    segment.to()
                }
                HistoryAnswer::Gap { next, .. } => {
                    // Cut off: what is left of the range is not there.
                    let next = if next < at.next { stretch.to } else { next };
                    self.report.missing += distance(at.next, next.min(stretch.to));
                    Position::at(next)
                }
            };
            // At the end of the log nothing more comes: what the range promised is a hole.
            let next = if next.next <= at.next { Position::at(stretch.to) } else { next };
            self.report.progress.done = done + distance(at.next, next.next.min(stretch.to));
            at = next;
            if self.look().is_break() {
                return Ok(ControlFlow::Break(Ended::Stopped));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Asks until there is an answer, or no more time for one.
    fn ask(&mut self, request: HistoryRequest) -> ControlFlow<Ended, HistoryAnswer> {
        let until = self.until.min(Instant::now() + self.test.limits.silence_max);
        loop {
            match self.history.read(request) {
                Ok(answer) => return ControlFlow::Continue(answer),
                Err(_) if self.look().is_break() => return ControlFlow::Break(Ended::Stopped),
                Err(error) if Instant::now() >= until => {
                    return ControlFlow::Break(Ended::Unanswered(error));
                }
                Err(_) => std::thread::sleep(RETRY_INTERVAL),
            }
        }
    }

    fn over(
        &mut self,
        segment: &Segment,
        end: NextOffset,
    ) -> Result<ControlFlow<Ended>, BacktestError> {
        let done = self.report.progress.done;
        for record in segment.records_from(segment.from()) {
            if record.offset.0 >= end.0 {
                break;
            }
            if self.report.progress.records >= self.test.limits.records_max {
                return Ok(ControlFlow::Break(Ended::Records));
            }
            self.report.progress.records += 1;
            self.report.progress.done = done + distance(segment.from(), record.offset.next());
            let Some(change) = self.wanted(&record) else { continue };
            if Instant::now() >= self.until {
                return Ok(ControlFlow::Break(Ended::Time));
            }
            self.evaluate(change)?;
            if self.report.matches.len() >= self.test.limits.matches_max {
                return Ok(ControlFlow::Break(Ended::Matches));
            }
            // A piece of the log may hold a thousand runs, and a run may take its 70 ms.
            if self.look().is_break() {
                return Ok(ControlFlow::Break(Ended::Stopped));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn wanted(&mut self, record: &LogRecord<'_>) -> Option<Change> {
        let Self { test, repeats, report, .. } = self;
        if test.since_ms.is_some_and(|since| record.timestamp_ms < since) {
            return None;
        }
        let mut is_ours = false;
        let change = Change::of(record, test.model, |key, header| {
            is_ours = key.tenant == test.script.tenant.as_str()
                && test.script.record.is_triggered_by(key.object_type, header.operation);
            repeats.go_on(record.partition, NextOffset(record.offset.0));
            let is_repeat = is_ours && repeats.is_repeat(record, header);
            report.repeated += u64::from(is_repeat);
            if is_ours && !is_repeat { vec![Arc::clone(&test.script)] } else { Vec::new() }
        });
        // Whose a record is that cannot be read so far is not known.
        report.poison += u64::from(is_ours && change.is_err());
        change.ok().flatten()
    }

    fn evaluate(&mut self, change: Change) -> Result<(), BacktestError> {
        let Self { test, report, .. } = self;
        let evaluated =
            test.runtime.block_on(test.workers.evaluate(&change.event, &change.scripts));
        let results = evaluated.map_err(|_| BacktestError::Workers)?.results;
        report.progress.runs += 1;
        for result in results {
            match message(&test.script, result) {
                Ok(None) => {}
                Ok(Some(message)) => {
                    report.progress.matches += 1;
                    report.matches.push(Match {
                        id: change.id,
                        time_ms: change.time_ms,
                        object_type: change.event.object_type.clone(),
                        key: change.key.clone(),
                        operation: change.event.operation,
                        message,
                    });
                }
                Err(error) if error.kind == Kind::Unavailable => {
                    return Err(BacktestError::Workers);
                }
                Err(error) => {
                    report.faults_total += 1;
                    if report.faults.len() < FAULTS_SHOWN_MAX {
                        report.faults.push(Fault { id: change.id, error });
                    }
                }
            }
        }
        Ok(())
    }
}

fn distance(from: NextOffset, to: NextOffset) -> u64 {
    u64::try_from(to.0 - from.0).unwrap_or(0)
}
