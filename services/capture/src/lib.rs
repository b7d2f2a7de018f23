//! Capture: takes changes from producers and writes them to the log.
//!
//! `POST /api/v1/changes` (`docs/reference/capture-api.md`) and newline-delimited JSON from a file or
//! standard input become records of `docs/reference/change-event.md`. One change goes this way: [`change`]
//! reads and checks it, [`record`](mod@record) makes the record, [`intake`] finds room for it, recognises a
//! retry ([`idempotency`]) and hands it to the log's writer; [`pipeline`] keeps many in order.
//!
//! Invariants: what is answered with an id is in the log, acknowledged by all in-sync replicas; an image is
//! never altered; a change that may be in the log is never reported as not written.

pub mod api;
pub mod change;
mod error;
pub mod idempotency;
pub mod import;
pub mod instant;
pub mod intake;
pub mod lines;
mod options;
pub mod pipeline;
pub mod record;
mod service;

pub use change::{ChangeRequest, ChangeRules};
pub use error::{ChangeError, Class, Failure};
pub use intake::{Intake, Outcome, Room};
pub use options::CaptureOptions;
pub use service::{Capture, Parts};
