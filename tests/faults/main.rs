//! Fault runs: real brokers, Redis, capture and gateways are killed, frozen, flushed and cut off by a seeded
//! plan, while the checker (`tidewire check`) produces, listens, and judges in the end what was owed and what
//! came.
//!
//! `cargo test` runs the small one (test binaries run one after the other, so that it has the machine for
//! itself). `make faults` runs the long one; `make faults SIZE=ci` the small one alone. Both take their figures
//! from the environment where it has them: `TIDEWIRE_FAULTS_SEED`, `_EVENTS`, `_RATE`, `_SOCKETS`, `_KILLS`.
//! `make faults SIZE=storm` drops 10,000 sockets at once instead of the 1,000 of the tests; `_SOCKETS` there too.
//! `make faults SIZE=alerts` strikes more brokers under the service of alerts than the tests do; `_KILLS` there too.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

mod alerts;
mod bed;
mod dice;
mod journal;
mod lanes;
mod plan;
mod rolling;
mod run;
mod stalled;
mod storm;
mod summary;
mod topics;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use plan::Size;
use storm::Source;

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

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let _alone = alone();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(work)
}

#[test]
fn a_rolling_restart_loses_nothing() {
    block_on(rolling::run());
}

#[test]
fn alerts_are_neither_lost_nor_doubled_by_kills() {
    block_on(alerts::killed());
}

#[test]
fn alerts_are_neither_lost_nor_doubled_when_partitions_move() {
    block_on(alerts::shared());
}

#[test]
fn alerts_are_neither_lost_nor_doubled_when_brokers_fail() {
    block_on(alerts::brokers(4));
}

#[test]
#[ignore = "some ten minutes: make faults SIZE=alerts"]
fn alerts_are_neither_lost_nor_doubled_when_brokers_fail_for_long() {
    block_on(alerts::brokers(60));
}

#[test]
fn scripts_that_mean_harm_are_stopped_and_their_neighbours_alert() {
    block_on(alerts::hostile());
}

#[test]
fn sockets_that_do_not_read_harm_nobody() {
    block_on(stalled::run());
}

#[test]
fn a_storm_from_the_window_loses_nothing() {
    block_on(storm::run(1_000, Source::Window));
}

#[test]
fn a_storm_from_kafka_loses_nothing() {
    block_on(storm::run(1_000, Source::Kafka));
}

/// Of `make faults SIZE=storm`.
fn large() -> usize {
    usize::try_from(figure("SOCKETS", 10_000)).unwrap()
}

#[test]
#[ignore = "ten thousand sockets: make faults SIZE=storm"]
fn a_large_storm_from_the_window_loses_nothing() {
    block_on(storm::run(large(), Source::Window));
}

#[test]
#[ignore = "ten thousand sockets: make faults SIZE=storm"]
fn a_large_storm_from_kafka_loses_nothing() {
    block_on(storm::run(large(), Source::Kafka));
}
