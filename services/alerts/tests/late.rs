//! Tenants whose scripts take long: they wait by themselves, and lose nothing by it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "a test fails by panicking; the world serves other tests too"
)]

mod support;

use std::collections::BTreeMap;

use support::{LONG, World, alerts, until};
use tidewire_event::{NextOffset, Partition};
use tidewire_log::{BatchLimits, StageError};

/// Takes some milliseconds, and fires.
const DEAR: &str = "let n = 0; while n < 30000 { n += 1; } true";
const CHANGES: u64 = 60;

/// The changes over which a script fired, in the order of the alerts.
fn fired(world: &World, script: &str) -> Vec<i64> {
    let of_script = alerts(&world.log).into_iter().filter(|(code, ..)| code == script);
    of_script.map(|(_, id, _)| id.split_once('-').unwrap().1.parse().unwrap()).collect()
}

/// Fails unless each change of a script, every second from `first` on, fired once and in order.
fn assert_whole(world: &World, script: &str, first: i64, count: u64) {
    let expected: Vec<i64> = (0..i64::try_from(count).unwrap()).map(|n| first + 2 * n).collect();
    let got = fired(world, script);
    let mut counts = BTreeMap::new();
    got.iter().for_each(|id| *counts.entry(id).or_insert(0) += 1);
    let doubled: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert_eq!(got, expected, "{script}: doubled {doubled:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_waits_for_a_dear_script() {
    let world = World::new(1);
    world.save("acme", 1, "dear", DEAR);
    world.save("other", 1, "theirs", "true");
    for key in 0..CHANGES {
        world.change(0, "acme", key, "1");
        world.change(0, "other", key, "1");
    }
    let running = world.start().await;
    assert!(world.log.drained_within(LONG));
    let scripts: Vec<String> = alerts(&world.log).into_iter().map(|(code, ..)| code).collect();
    let first = scripts.iter().take_while(|script| *script == "theirs").count();
    assert_eq!(first as u64, CHANGES, "theirs went with the batch: {scripts:?}");
    assert_whole(&world, "dear", 0, CHANGES);
    assert_whole(&world, "theirs", 1, CHANGES);
    // It is known to be dear after the first.
    assert_eq!(world.metrics.changes_late.get(), CHANGES);
    until("nothing is late", || world.metrics.late_tenants.get() == 0).await;
    assert_eq!(world.metrics.late_changes.get(), 0);
    running.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_late_is_done_once_whoever_reads_it_and_however_often() {
    let mut world = World::new(2);
    world.batch = BatchLimits { records: 7, ..BatchLimits::default() };
    world.save("acme", 1, "dear", DEAR);
    world.save("other", 1, "theirs", "true");
    world.log.fail_next(StageError::Aborted("a broker went".to_owned()));
    for key in 0..CHANGES {
        world.change(0, "acme", key, "1");
        world.change(0, "other", key, "1");
    }
    let first = world.start().await;
    let second = world.start().await;
    // Each time all partitions are read anew from what was committed.
    for done in [5, 10, 40, 70, 100] {
        let _ = world.log.outputs_within(done, LONG);
        world.log.rebalance();
        world.log.fail_next(StageError::Aborted("a broker went".to_owned()));
    }
    first.drain(LONG).await;
    let third = world.start().await;
    second.drain(LONG).await;
    assert!(world.log.drained_within(LONG));
    assert_whole(&world, "dear", 0, CHANGES);
    assert_whole(&world, "theirs", 1, CHANGES);
    let end = NextOffset(i64::try_from(2 * CHANGES).unwrap());
    assert_eq!(world.log.committed(Partition(0)), Some(end));
    third.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_back_in_step_when_nothing_of_it_waits() {
    let world = World::new(1);
    let dear = format!("if dlpObject.speed > 1 {{ {DEAR} }} else {{ true }}");
    world.save("acme", 1, "sometimes", &dear);
    let running = world.start().await;
    world.change(0, "acme", 1, "2");
    assert!(world.log.drained_within(LONG));
    // The script is known to be dear until a long run of it was short.
    world.change(0, "acme", 2, "1");
    assert!(world.log.drained_within(LONG));
    assert_eq!(world.metrics.changes_late.get(), 2);
    for key in 3..6 {
        world.change(0, "acme", key, "1");
    }
    assert!(world.log.drained_within(LONG));
    assert_eq!((world.metrics.changes_late.get(), alerts(&world.log).len()), (2, 5));
    running.drain(LONG).await;
}
