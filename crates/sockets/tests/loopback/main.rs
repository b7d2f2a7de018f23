//! Shards over real loopback TCP, without HTTP: connections are attached and handed over by hand.
//!
//! Nothing sleeps and nothing is timed: a test waits for bytes, or for the word that something happened,
//! and gives up after a long while.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

mod bed;
mod catch_up;
mod closing;
mod events;
mod frames;
mod session;
mod slow;
mod tls;
mod v1;
