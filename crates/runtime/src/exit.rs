//! The exit codes that scripts and supervisors see.

use std::process::{ExitCode, Termination};

/// How a process ends. `main` returns it, so that destructors run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Stopped as asked.
    Clean = 0,
    /// Could not start: a port taken, a topic missing, Kafka not reached in time.
    StartFailed = 1,
    /// Bad usage or bad configuration (`EX_USAGE` of sysexits.h). Starting again will not help.
    Usage = 64,
    /// Ended by a failure of its own, such as a task that panicked (`EX_SOFTWARE` of sysexits.h).
    Failed = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_that_scripts_rely_on() {
        for (exit, code) in
            [(Exit::Clean, 0), (Exit::StartFailed, 1), (Exit::Usage, 64), (Exit::Failed, 70)]
        {
            assert_eq!(exit as u8, code);
            assert_eq!(exit.report(), ExitCode::from(code));
        }
    }
}
