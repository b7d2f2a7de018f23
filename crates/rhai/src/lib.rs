//! Rhai as the language of alert scripts: the only user of the crate `rhai`.
//!
//! [`RhaiEngine`] implements the engine port of `tidewire-script`. A source is the inside of a function;
//! it sees the documented variables and the helpers of `docs/reference/scripts.md`, and nothing else: no
//! I/O, no clock, no randomness, no `eval`, no modules, no printing.
//!
//! The object of an event is not converted. A script holds an object of its own type that knows a place in
//! the shared body; a field is converted when a script first names it, and kept for all other scripts of
//! the event. Objects are read-only, so no script can tell another anything.
//!
//! Invariants: only fields that stand by their name in the source can be read (the getter of a name comes
//! into being when a source that holds it is compiled), so [`Fields`](tidewire_script::Fields) is
//! complete; numbers of an object are decimals, so money is exact and `/` never cuts; null in a
//! calculation gives null, and a comparison with null is false.

mod budget;
mod engine;
mod errors;
mod helpers;
mod limits;
mod named;
mod object;
mod path;
mod setup;
mod value;

pub use engine::{Compiled, Opened, RhaiEngine};
pub use limits::ScriptLimits;
