//! The port to a language.
//!
//! An engine compiles a source once and runs it over many events. It is used by one thread, and in the
//! services by a worker process only: whatever a script does to the process, the service goes on.
//!
//! What an implementation promises: a run has no effect but its outcome, and the same script over the
//! same event has the same outcome (nothing of time, randomness or an earlier run reaches a script); it
//! ends by the limits it was made with, but for native calls, which only the process's limits end.

use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Event, Fields, References, ScriptError};

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Whether the script returned true.
    pub fired: bool,
    /// `mapResultsForMessage` as texts, in the order of the names; empty where it did not fire.
    pub results: Vec<(String, String)>,
    /// `mapMessageFromServer["MSG"]`, if it fired and was set.
    pub message: Option<String>,
}

/// A language.
pub trait Engine {
    /// A compiled script.
    type Script;
    /// An event made ready for scripts: what one of them has looked at is converted once for all.
    type Opened;

    /// Compiles a source.
    ///
    /// # Errors
    /// A [`ScriptError`] with its place, of the kinds `compile`, `size`.
    fn compile(&mut self, source: &str) -> Result<Self::Script, ScriptError>;

    /// What a script reads of its objects.
    fn fields<'s>(&self, script: &'s Self::Script) -> &'s Fields;

    /// Bounds the CPU time of each run from here on; `None` is what the engine was made with, and no bound
    /// is longer than that. To be called right before a run, or some runs in a row: an engine need not look at
    /// its clock again for each. One that does not look at all leaves it to the process.
    fn limit_cpu(&mut self, _cpu_max: Option<Duration>) {}

    /// Makes an event ready.
    fn open(&self, event: &Event, references: &Rc<dyn References>) -> Self::Opened;

    /// Runs a script over an event.
    ///
    /// # Errors
    /// A [`ScriptError`], with its place where there is one.
    fn evaluate(
        &self,
        script: &Self::Script,
        opened: &Self::Opened,
    ) -> Result<Outcome, ScriptError>;
}
