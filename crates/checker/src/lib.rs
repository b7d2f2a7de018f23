//! An outside judge of what Tidewire delivered.
//!
//! The producer writes down what was committed ([`Ledger`]), each client what it was told
//! ([`Transcript`]), and [`judge`] holds one against the other: what was owed and did not come, what came
//! and was not owed, what came in the wrong order or with the wrong bytes. Everything here is plain
//! memory: no I/O, no clock (time comes in as a [`Stamp`]), no chance.
//!
//! Invariants: nothing here goes through Tidewire's own code, so that one mistake cannot hide another;
//! frames are reduced to a few bytes as they come, so that long runs fit; the same records give the same
//! verdict. [`rehearsal`] proves the judge: an honest system is clean, and each planted bug is caught.

mod frame;
mod ids;
mod judge;
mod ledger;
mod payload;
pub mod rehearsal;
mod subscription;
mod time;
mod transcript;

pub use ids::{FrameId, Object, Operation, Stamp};
pub use judge::{Finding, FindingKind, Rules, Verdict, judge};
pub use ledger::{Certainty, Change, Ledger};
pub use subscription::{Events, Fields, Keys, Subscription, Types};
pub use transcript::{CursorNumber, Mode, Start, Told, Transcript};
