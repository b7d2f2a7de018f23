//! Named tasks, shutdown, signals, exit codes and time: what every service needs around its work.
//!
//! Invariants: every task and thread has a name and an owner ([`Tasks`]); a task that panics is reported
//! and ends the service, because a process that goes on without one of its parts looks alive and is not;
//! whoever waits for the end waits with a limit and is told who did not make it.

mod clock;
mod exit;
mod shutdown;
mod signal;
mod tasks;

pub use clock::Clock;
pub use exit::Exit;
pub use shutdown::Shutdown;
pub use signal::{Signal, Signals, wait_for_signal};
pub use tasks::Tasks;
