//! The hidden side of the binary: a process that runs scripts.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use tidewire_rhai::{RhaiEngine, ScriptLimits};
use tidewire_sandbox::{WORKER_ARGUMENT, worker_main};

/// Runs scripts until the parent closes the pipe, if the arguments (without the program's name) say that
/// this process is a worker. To be called before anything else is done.
pub fn script_worker(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if arguments.next()? != WORKER_ARGUMENT {
        return None;
    }
    let cpu_ms = arguments.next().and_then(|text| text.to_str()?.parse().ok());
    let mut limits = ScriptLimits::default();
    if let Some(cpu_ms) = cpu_ms {
        limits.cpu_max = Duration::from_millis(cpu_ms);
    }
    Some(worker_main(|clock| RhaiEngine::new(limits, clock)))
}
