//! What a worker's end says of the script that ran.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use tidewire_script::{ScriptError, ScriptErrorKind as Kind};

/// What Rust says before it gives up on an allocation.
const OUT_OF_MEMORY: &str = "memory allocation of";
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;

/// How a worker ended in the middle of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The parent stopped it: too long without a sign. `cpu` is what it had used by then.
    Stopped { cpu_max: Duration, cpu: Duration },
    /// It ran out of the memory that it may have.
    Memory { memory_max: u64 },
    /// It ended in some other way.
    Crashed { status: Option<ExitStatus> },
}

impl End {
    /// How a process ended that was not stopped.
    pub(crate) fn of(status: Option<ExitStatus>, last_words: &str, memory_max: u64) -> Self {
        if last_words.contains(OUT_OF_MEMORY) {
            return Self::Memory { memory_max };
        }
        Self::Crashed { status }
    }

    /// Whether somebody else may have done it (the kernel, for want of memory on the machine, or a
    /// person): then the script gets another chance.
    pub(crate) fn is_doubtful(&self) -> bool {
        matches!(self, Self::Crashed { .. })
    }

    /// The word for the metric.
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Stopped { .. } => Kind::Deadline,
            Self::Memory { .. } => Kind::Memory,
            Self::Crashed { .. } => Kind::Crash,
        }
    }

    /// The error of the script that was running.
    pub(crate) fn error(&self) -> ScriptError {
        let reason = match self {
            Self::Stopped { cpu_max, .. } => {
                format!("it took more than {} ms of CPU and was stopped", cpu_max.as_millis())
            }
            Self::Memory { memory_max } => {
                format!("it needed more than {} MiB of memory and was stopped", memory_max >> 20)
            }
            Self::Crashed { status } => match status.and_then(|status| status.signal()) {
                Some(SIGXCPU) => "it used too much CPU and was stopped by the system".to_owned(),
                Some(SIGKILL) => "the process that ran it was killed".to_owned(),
                Some(signal) => format!("it ended the process that ran it (signal {signal})"),
                None => "it ended the process that ran it".to_owned(),
            },
        };
        ScriptError::new(self.kind(), reason)
    }
}
