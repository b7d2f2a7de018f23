//! Runs scripts in worker processes, so that nothing that a script does reaches the service.
//!
//! A service re-executes its own binary with a hidden argument; what starts then is [`worker_main`], which
//! holds an engine and speaks with its parent over standard input and output. [`Workers`] is the parent's
//! side: a few such processes, each doing one event at a time.
//!
//! What stops a script, from the inside out: the engine's own limits (operations, sizes, CPU), which cost
//! nothing but the run; the memory limit of the process, which ends it; the parent, which kills a process
//! that has used too much CPU since it last said anything; and a CPU limit of the kernel, for a worker
//! whose parent is gone. Whichever it was, the script that did it gets the error, the process is started
//! anew, and the scripts behind it are run.
//!
//! Invariants: a worker has no environment, no files, no children and no network, only its pipes; it keeps
//! nothing of an event beyond it; a process is used by one call at a time, and one that was left in the
//! middle of a call is never used again; a result belongs to the script at its place, also after a
//! restart.

mod blame;
mod child;
mod frame;
mod message;
mod options;
mod process;
mod source;
mod workers;

pub use child::{cpu_time, worker_main};
pub use options::{WORKER_ARGUMENT, WorkerOptions};
pub use source::Source;
pub use workers::{Evaluated, Stats, Workers, WorkersError};
