//! How workers are started, and what they may use.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The hidden argument that makes a service's binary a worker.
pub const WORKER_ARGUMENT: &str = "script-worker";

/// How workers are started, and what they may use.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The binary; by default the one that runs.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// How many processes.
    pub workers: usize,
    /// Most calls that wait for a free process; one more is refused.
    pub waiting_max: usize,
    /// CPU time after which a run of a script is stopped. The engine's own limit should lie below it, and
    /// what is promised above it: the parent looks in steps, and may have to wait for a core.
    pub cpu_max: Duration,
    /// Time on the clock of one run: for a process that sleeps or is stopped. Much more than `cpu_max`, so
    /// that a busy machine kills nobody.
    pub wall_max: Duration,
    /// Bytes of memory of one run, above what the process has at rest.
    pub memory_max: u64,
    /// Bytes of memory of the compiled scripts; a process that has more is started anew.
    pub scripts_memory_max: u64,
    /// How long a process may take until it is ready.
    pub start_max: Duration,
    /// Whether other processes go first where the machine is busy.
    pub yields: bool,
}

impl WorkerOptions {
    /// So many processes of the binary that runs, with limits that stop a script within 100 ms of CPU and
    /// 32 MiB.
    ///
    /// # Errors
    /// If the system does not tell which binary that is.
    pub fn of_this_binary(workers: usize) -> std::io::Result<Self> {
        Ok(Self::of(std::env::current_exe()?, vec![WORKER_ARGUMENT.into()], workers))
    }

    /// So many processes of another binary.
    #[must_use]
    pub const fn of(program: PathBuf, arguments: Vec<OsString>, workers: usize) -> Self {
        Self {
            program,
            arguments,
            workers,
            waiting_max: 1024,
            cpu_max: Duration::from_millis(85),
            wall_max: Duration::from_secs(2),
            memory_max: 32 * 1024 * 1024,
            scripts_memory_max: 128 * 1024 * 1024,
            start_max: Duration::from_secs(10),
            yields: false,
        }
    }
}
