//! Fault runs: real brokers, Redis, capture and gateways are killed, frozen, flushed and cut off by a seeded
//! plan, while the checker (`tidewire check`) produces, listens, and judges in the end what was owed and what
//! came.
//!
//! `cargo test` runs the small one (test binaries run one after the other, so that it has the machine for
//! itself). `make faults` runs the long one; `make faults SIZE=ci` the small one alone. Both take their figures from the environment where
//! it has them: `TIDEWIRE_FAULTS_SEED`, `_EVENTS`, `_RATE`, `_SOCKETS`, `_KILLS`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

mod bed;
mod dice;
mod journal;
mod lanes;
mod plan;
mod rolling;
mod run;
mod summary;
mod topics;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use plan::Size;

/// The number that the environment has for this, or the other one.
fn figure(name: &str, otherwise: u64) -> u64 {
    match std::env::var(format!("TIDEWIRE_FAULTS_{name}")) {
        Ok(text) => {
            text.parse().unwrap_or_else(|_| panic!("TIDEWIRE_FAULTS_{name}={text}: no number"))
        }
        Err(_) => otherwise,
    }
}

/// The runs of this binary take the whole machine, one after the other.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(size: Size) {
    let _alone = alone();
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let seed = figure("SEED", clock());
    let size = Size {
        events: figure("EVENTS", size.events),
        rate: figure("RATE", size.rate),
        sockets: figure("SOCKETS", size.sockets),
        kills: usize::try_from(figure("KILLS", size.kills as u64)).unwrap(),
        ..size
    };
    let Some(summary) = run::run(&size, seed) else { return };
    println!("{}", summary.page());
    assert!(summary.findings.is_empty(), "the fault run with seed {seed} failed, see above");
}

#[test]
fn the_small_run_loses_nothing() {
    run(Size {
        name: "ci",
        events: 50_000,
        rate: 280,
        sockets: 200,
        kills: 32,
        outage: Duration::ZERO,
    });
}

#[test]
#[ignore = "takes half an hour: make faults"]
fn the_long_run_loses_nothing() {
    run(Size {
        name: "long",
        events: 1_000_000,
        rate: 600,
        sockets: 200,
        kills: 400,
        outage: Duration::from_secs(60),
    });
}

#[test]
fn a_rolling_restart_loses_nothing() {
    let _alone = alone();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(rolling::run());
}
