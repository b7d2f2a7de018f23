//! Router and shard core from outside: what goes in as records and registrations, and what bytes a sink
//! gets. Nothing here has threads, clocks or sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

mod alerts;
mod harness;
mod interest;
mod oracle;
mod poison;
mod positions;
mod simulation;
mod slices;
