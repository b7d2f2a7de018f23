//! Black-box scenarios: the built binaries as processes, real Apache Kafka, real Redis, plain clients.
//!
//! One test binary, because linking takes longer than any test. The tests share one broker, one Redis and,
//! where they need nothing special, one deployment ([`support::World::shared`]), each with a tenant of its
//! own. Its topic has one partition: so "nothing else came" is proven by a later change that must come
//! next, not by waiting.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

mod support;

mod alert_sockets;
mod backtest;
mod backtest_rights;
mod browser;
mod configuration;
mod delivery;
mod dev;
mod drain;
mod far_behind;
mod fields;
mod frames;
mod going_live;
mod large_alerts;
mod links;
mod log_moves;
mod outage;
mod poison;
mod positions;
mod producers;
mod proxy;
mod refusals;
mod resumes;
mod revocation;
mod script_cli;
mod sessions;
mod slow;
mod snapshots;
mod streams;
mod tokens;
mod v1;
mod v1_refusals;
