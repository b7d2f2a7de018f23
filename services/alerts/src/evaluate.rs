//! Runs the scripts over changes.
//!
//! In step with the log ([`Evaluator::quick`]) each script has a short time, and the first that needs more
//! ends it for its change, which is late then. A late change ([`Evaluator::whole`]) is evaluated by processes
//! of its own: all scripts for a short time each first, so that those that mean harm do not add up, then
//! each that has not ended. A run has no effect but its result, so it may be begun anew, and a batch that is
//! handed out again is evaluated again, and harms nobody.
//!
//! What fires comes in the order of the changes, and of the scripts' codes within a change.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use tidewire_runtime::Clock;
use tidewire_sandbox::Workers;
use tidewire_script::{Event, Outcome, Script, ScriptError, ScriptErrorKind as Kind};
use tidewire_telemetry::AlertsMetrics;

use crate::change::Change;
use crate::leash::SHORT;
use crate::scripts::Scripts;

/// Before what no process could evaluate is tried again.
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// How a run ended.
type Ran = Result<Outcome, ScriptError>;

/// An alert that is to be written.
#[derive(Debug)]
pub(crate) struct Fired {
    pub(crate) script: Arc<Script>,
    pub(crate) message: String,
}

/// A change whose scripts were run.
#[derive(Debug)]
pub(crate) struct Evaluated {
    pub(crate) change: Change,
    pub(crate) fired: Vec<Fired>,
}

/// No process can run scripts now: it is to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no process can run scripts now")]
pub(crate) struct NoWorkers;

pub(crate) struct Evaluator {
    pub(crate) workers: Workers,
    /// Processes for what takes long.
    pub(crate) slow: Workers,
    /// Changes at a time.
    pub(crate) parallel: usize,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) metrics: AlertsMetrics,
    pub(crate) clock: Clock,
}

impl Evaluator {
    /// What fires over these changes, in their order. `None`: a short time does not tell. A change that
    /// `waits`, or stands behind one of its lane that has `None`, may have `None` without having been tried.
    pub(crate) async fn quick(
        &self,
        changes: Vec<Change>,
        waits: impl Fn(&Change) -> bool,
    ) -> Result<Vec<(Change, Option<Vec<Fired>>)>, NoWorkers> {
        let late = Mutex::new(HashSet::new());
        let evaluate = async |change: Change| {
            let fired = if waits(&change) || late.lock().contains(&change.lane()) {
                None
            } else {
                self.quickly(&change).await?
            };
            if fired.is_none() {
                late.lock().insert(change.lane());
            }
            Ok((change, fired))
        };
        let evaluated = futures_util::stream::iter(changes).map(evaluate);
        evaluated.buffered(self.parallel.max(1)).try_collect().await
    }

    async fn quickly(&self, change: &Change) -> Result<Option<Vec<Fired>>, NoWorkers> {
        if self.scripts.are_long(&change.scripts).contains(&true) {
            return Ok(None);
        }
        let began = self.clock.now();
        let mut ran: Vec<(Arc<Script>, Ran)> = Vec::new();
        for now in self.calls(change) {
            let now = self.enabled(now);
            let evaluated = self.workers.evaluate_up_to_limit(&change.event, &now, SHORT).await;
            let evaluated = evaluated.map_err(|_| NoWorkers)?;
            let (tried, _) = now.split_at(evaluated.results.len().min(now.len()));
            self.metrics.runs.add(tried.len() as u64);
            self.scripts.charge(tried, evaluated.cpu);
            let is_limit = |result: &Ran| result.as_ref().is_err_and(|error| error.kind.is_limit());
            if evaluated.results.iter().any(is_limit) {
                return Ok(None);
            }
            ran.extend(now.into_iter().zip(evaluated.results));
        }
        // Only now: what is late is run again, and its faults are noted then.
        let mut fired = Vec::new();
        for (script, result) in ran {
            fired.extend(self.judge(script, result)?);
        }
        self.note_end(began);
        Ok(Some(fired))
    }

    /// What fires over a change, however long it takes.
    pub(crate) async fn whole(&self, change: &Change) -> Result<Vec<Fired>, NoWorkers> {
        let began = self.clock.now();
        let mut fired = Vec::new();
        for now in self.calls(change) {
            let now = self.enabled(now);
            let results = self.first(&change.event, &now).await?;
            for (script, result) in now.into_iter().zip(results) {
                let result = match result {
                    Some(result) => result,
                    None => self.alone(&change.event, &script).await?,
                };
                fired.extend(self.judge(script, result)?);
            }
        }
        self.note_end(began);
        Ok(fired)
    }

    /// The scripts of a change, as they go into calls of a worker. How many go into one is decided anew
    /// for each.
    fn calls<'a>(&self, change: &'a Change) -> impl Iterator<Item = &'a [Arc<Script>]> {
        let mut rest = change.scripts.as_slice();
        std::iter::from_fn(move || {
            let count = self.scripts.per_call(&change.tenant).min(rest.len());
            let (now, later) = rest.split_at(count);
            rest = later;
            (!now.is_empty()).then_some(now)
        })
    }

    /// One may have been disabled since the change was read.
    fn enabled(&self, scripts: &[Arc<Script>]) -> Vec<Arc<Script>> {
        scripts.iter().filter(|script| self.scripts.is_enabled(script)).cloned().collect()
    }

    fn note_end(&self, began: Instant) {
        self.metrics.changes.inc();
        self.metrics.evaluation_seconds.observe(self.clock.now().duration_since(began));
    }

    /// What each script comes to in a short run. `None`: a short run does not tell.
    async fn first(
        &self,
        event: &Event,
        scripts: &[Arc<Script>],
    ) -> Result<Vec<Option<Ran>>, NoWorkers> {
        let are_long = self.scripts.are_long(scripts);
        let short = scripts.iter().zip(&are_long).filter(|(_, is_long)| !**is_long);
        let short: Vec<Arc<Script>> = short.map(|(script, _)| Arc::clone(script)).collect();
        let evaluated = self.slow.evaluate_within(event, &short, SHORT).await;
        let evaluated = evaluated.map_err(|_| NoWorkers)?;
        self.metrics.runs.add(short.len() as u64);
        self.scripts.charge(&short, evaluated.cpu);
        let mut results = evaluated.results.into_iter();
        let of = |is_long: bool| if is_long { None } else { results.next() };
        let tells = |result: &Ran| !result.as_ref().is_err_and(|e| e.kind == Kind::Deadline);
        Ok(are_long.into_iter().map(of).map(|result| result.filter(tells)).collect())
    }

    /// What a script comes to whose run may take long: with the whole deadline, if it may have that.
    async fn alone(&self, event: &Event, script: &Arc<Script>) -> Result<Ran, NoWorkers> {
        // Over another change it may have been disabled meanwhile.
        if !self.scripts.is_enabled(script) {
            return Ok(Ok(Outcome::default()));
        }
        let may_be_long = self.scripts.may_be_long(script);
        let one = std::slice::from_ref(script);
        let evaluated = if may_be_long {
            self.slow.evaluate(event, one).await
        } else {
            // Once more: something on the machine may have held up the first.
            self.slow.evaluate_within(event, one, SHORT).await
        };
        let evaluated = evaluated.map_err(|_| NoWorkers)?;
        self.metrics.runs.inc();
        self.scripts.charge(one, evaluated.cpu);
        let result = evaluated.results.into_iter().next().ok_or(NoWorkers)?;
        match result {
            Ok(outcome) => {
                if may_be_long {
                    self.scripts.note_end(script, evaluated.cpu);
                }
                Ok(Ok(outcome))
            }
            Err(mut error) => {
                if !may_be_long && error.kind == Kind::Deadline {
                    error.reason = format!(
                        "it had not ended after {} ms of CPU, and too many runs of the tenant's scripts \
                         had reached a limit for longer ones to be tried",
                        SHORT.as_millis()
                    );
                }
                Ok(Err(error))
            }
        }
    }

    /// The alert, if it fired and has a message.
    fn judge(&self, script: Arc<Script>, result: Ran) -> Result<Option<Fired>, NoWorkers> {
        let error = match message(&script, result) {
            Ok(message) => {
                self.scripts.note(&script, None);
                return Ok(message.map(|message| Fired { script, message }));
            }
            Err(error) => error,
        };
        self.scripts.note(&script, Some(&error));
        if error.kind == Kind::Unavailable { Err(NoWorkers) } else { Ok(None) }
    }
}

/// The message of a run, if it fired. One without a message is a fault of the script.
pub(crate) fn message(
    script: &Script,
    result: Result<Outcome, ScriptError>,
) -> Result<Option<String>, ScriptError> {
    let outcome = result?;
    if !outcome.fired {
        return Ok(None);
    }
    let wrong =
        |error: tidewire_script::MessageError| ScriptError::new(Kind::Message, error.to_string());
    script.message(&outcome).map(Some).map_err(wrong)
}
