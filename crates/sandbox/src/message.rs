//! What parent and worker say to each other. Both are the same binary, so there are no versions.

use serde::{Deserialize, Serialize};
use tidewire_script::{Fields, Outcome, ScriptError};

/// The number that a worker knows a source by; given by the parent, new for each process.
pub(crate) type Slot = u32;

/// From the parent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The first: what the worker may use. Answered with [`Reply::Ready`].
    Limits { memory_max: u64, scripts_memory_max: u64, cpu_seconds_max: u64, yields: bool },
    /// Compile a source, and tell what it reads. Answered with one [`Reply::Compiled`].
    Compile { slot: Slot, source: String },
    /// Run scripts over the event whose body follows the header. Answered with some [`Reply::Ran`].
    Run {
        object_type: String,
        operation: char,
        changed_by: Option<u64>,
        /// Sources that this worker does not have yet.
        load: Vec<(Slot, String)>,
        scripts: Vec<Slot>,
        /// Answer each script at once: one before has ended a worker.
        is_careful: bool,
        /// CPU time of each run in nanoseconds, where it is less than what the engine gives.
        cpu_max_nanos: Option<u64>,
        /// Answer no script behind one that reaches a limit.
        ends_at_limit: bool,
    },
}

/// From the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Ready,
    Compiled {
        result: Result<Fields, ScriptError>,
        state: State,
    },
    /// Results of the scripts in their order, as many as are there now; `is_last` ends the request. A
    /// script that did not fire is nothing, which is what most of them are.
    Ran {
        results: Vec<Option<Result<Outcome, ScriptError>>>,
        is_last: bool,
        state: State,
    },
}

/// How the worker is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// CPU time of the process since its start, in nanoseconds.
    pub(crate) cpu_nanos: u64,
    /// It holds more than it should, and is to be started anew.
    pub(crate) is_full: bool,
}
