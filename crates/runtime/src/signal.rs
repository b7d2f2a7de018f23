//! Signals that ask a process to end.

use std::fmt;
use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// A signal that asks the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: what supervisors send.
    Term,
    /// SIGINT: Ctrl-C.
    Int,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Term => "SIGTERM",
            Self::Int => "SIGINT",
        })
    }
}

/// The two signals, caught from [`Signals::install`] on: one that arrives before [`Signals::wait`] is
/// called is not lost, and the process no longer dies of them. A second signal while a service drains is
/// the wish to hurry: wait again.
#[derive(Debug)]
pub struct Signals {
    term: Stream,
    int: Stream,
}

impl Signals {
    /// Catches SIGTERM and SIGINT. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn install() -> io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// The next signal.
    pub async fn wait(&mut self) -> Signal {
        tokio::select! {
            _ = self.term.recv() => Signal::Term,
            _ = self.int.recv() => Signal::Int,
        }
    }
}

/// Waits for one SIGTERM or SIGINT, caught from the first poll on.
///
/// # Errors
/// What the operating system says.
pub async fn wait_for_signal() -> io::Result<Signal> {
    Ok(Signals::install()?.wait().await)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn send(name: &str) {
        let pid = std::process::id().to_string();
        let status = Command::new("kill").args([name, &pid]).status().expect("kill is there");
        assert!(status.success());
    }

    #[tokio::test]
    async fn both_signals_are_caught_and_none_is_lost() {
        let mut signals = Signals::install().expect("signals");
        send("-TERM");
        assert_eq!(signals.wait().await, Signal::Term);
        send("-INT");
        assert_eq!(signals.wait().await, Signal::Int);
    }
}
