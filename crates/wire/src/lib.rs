//! What goes over the wire: pushed frames, the WebSocket codec, requests, errors and close codes.
//!
//! Pure: no I/O, no clock, no allocation per connection that waits. Each format that a client sees has
//! a golden fixture in `tests/golden`; the words *documented*, *inferred* and *ours* in the docs of the
//! contract say where each comes from.

pub mod definition;
pub mod error;
pub mod frame;
pub mod json;
mod nearest;
pub mod request;
pub mod sse;
pub mod v1;
pub mod ws;
