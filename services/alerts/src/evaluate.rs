//! Runs the scripts over the changes of a batch.
//!
//! As many changes at a time as there are workers; what fired comes in the order of the changes, and of
//! the scripts' codes within a change. A run has no effect but its result, so a batch that is handed out
//! again is evaluated again, and harms nobody. For the same reason a run that takes long may be begun anew:
//! all scripts of a change are run for a short time each first, so that those that mean harm do not add up.

use std::sync::Arc;

use futures_util::stream::{StreamExt as _, TryStreamExt as _};
use tidewire_runtime::Clock;
use tidewire_sandbox::Workers;
use tidewire_script::{Event, Outcome, Script, ScriptError, ScriptErrorKind as Kind};
use tidewire_telemetry::AlertsMetrics;

use crate::change::Change;
use crate::leash::SHORT;
use crate::scripts::Scripts;

/// How a run ended.
type Ran = Result<Outcome, ScriptError>;

/// An alert that is to be written.
#[derive(Debug)]
pub(crate) struct Fired {
    /// The change among those of the batch.
    pub(crate) change: usize,
    pub(crate) script: Arc<Script>,
    pub(crate) message: String,
}

/// No process can run scripts now: the batch is to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no process can run scripts now")]
pub(crate) struct NoWorkers;

pub(crate) struct Evaluator {
    pub(crate) workers: Workers,
    /// Changes at a time.
    pub(crate) parallel: usize,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) metrics: AlertsMetrics,
    pub(crate) clock: Clock,
}

impl Evaluator {
    /// What fires over these changes.
    pub(crate) async fn run(&self, changes: &[Change]) -> Result<Vec<Fired>, NoWorkers> {
        futures_util::stream::iter(changes.iter().enumerate())
            .map(|(index, change)| self.over(index, change))
            .buffered(self.parallel.max(1))
            .try_fold(Vec::new(), |mut all, fired| async move {
                all.extend(fired);
                Ok(all)
            })
            .await
    }

    async fn over(&self, index: usize, change: &Change) -> Result<Vec<Fired>, NoWorkers> {
        let began = self.clock.now();
        let mut fired = Vec::new();
        let mut rest = change.scripts.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.scripts.per_call(&change.tenant).min(rest.len()));
            rest = later;
            // One may have been disabled since the batch was read.
            let enabled = |script: &&Arc<Script>| self.scripts.is_enabled(script);
            let now: Vec<Arc<Script>> = now.iter().filter(enabled).cloned().collect();
            if now.is_empty() {
                continue;
            }
            let results = self.first(&change.event, &now).await?;
            for (script, result) in now.into_iter().zip(results) {
                let result = match result {
                    Some(result) => result,
                    None => self.alone(&change.event, &script).await?,
                };
                if let Some(message) = self.judge(&script, result)? {
                    fired.push(Fired { change: index, script, message });
                }
            }
        }
        self.metrics.changes.inc();
        self.metrics.evaluation_seconds.observe(self.clock.now().duration_since(began));
        Ok(fired)
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
        let evaluated = self.workers.evaluate_within(event, &short, SHORT).await;
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
            self.workers.evaluate(event, one).await
        } else {
            // Once more: something on the machine may have held up the first.
            self.workers.evaluate_within(event, one, SHORT).await
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

    /// The message, if it fired and has one.
    fn judge(
        &self,
        script: &Script,
        result: Result<Outcome, ScriptError>,
    ) -> Result<Option<String>, NoWorkers> {
        let error = match message(script, result) {
            Ok(message) => {
                self.scripts.note(script, None);
                return Ok(message);
            }
            Err(error) => error,
        };
        self.scripts.note(script, Some(&error));
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
