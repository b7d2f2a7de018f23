//! The script worker that this binary becomes when it is started with the hidden argument.

use std::process::ExitCode;

use tidewire_rhai::{RhaiEngine, ScriptLimits};
use tidewire_sandbox::{WORKER_ARGUMENT, worker_main};

/// Works until the parent closes the pipe, if the process was started as a worker; else `None`. Before
/// anything else: a worker reads no configuration and writes no log.
#[must_use]
pub fn work_if_asked() -> Option<ExitCode> {
    let asked = std::env::args_os().nth(1).is_some_and(|argument| argument == WORKER_ARGUMENT);
    asked.then(|| worker_main(|clock| RhaiEngine::new(ScriptLimits::default(), clock)))
}
