//! Scripts that mean harm, beside scripts of their own tenant and of others.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "a test fails by panicking; the world serves other tests too"
)]

mod support;

use std::time::Instant;

use support::{LONG, World, alerts, until};
use tidewire_telemetry::metrics::{DisableReason, ScriptFault};

const HOSTILE: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_loop_are_disabled_at_once_and_sound_ones_are_not() {
    let world = World::new(1);
    // Dear, and never at fault; that is known once it has run.
    let dear = world.save("acme", 1, "dear", "let n = 0; while n < 40000 { n += 1; } true");
    let cheap = world.save("acme", 1, "cheap", "true");
    world.save("other", 1, "theirs", "true");
    let running = world.start().await;
    world.change(0, "acme", 1, "1");
    assert!(world.log.drained_within(LONG));
    for n in 0..HOSTILE {
        world.save("acme", 1, &format!("loop-{n}"), &format!("let x = {n}; loop {{ x += 1; }}"));
    }
    let all = i64::try_from(HOSTILE).unwrap() + 3;
    until("all are read", || world.metrics.scripts.get() == all).await;
    let began = Instant::now();
    for key in 0..20 {
        world.change(0, "acme", key, "1");
        world.change(0, "other", key, "1");
    }
    assert!(world.log.drained_within(LONG));
    println!("took {:?}", began.elapsed());
    let got = alerts(&world.log);
    let count = |code: &str| got.iter().filter(|(c, ..)| c == code).count();
    assert_eq!((count("dear"), count("cheap"), count("theirs")), (21, 21, 20));
    assert_eq!(world.metrics.disables.get(DisableReason::Faults), HOSTILE as u64);
    assert_eq!(world.metrics.disables.get(DisableReason::Quota), 0);
    for sound in [&dear, &cheap] {
        let found = running.script(&sound.tenant, sound.code()).unwrap();
        assert!(found.disabled.is_none(), "{found:?}");
    }
    // Six are run to their limit; the others fail once, or twice where two changes are under way.
    let faults = world.metrics.script_faults.get(ScriptFault::Deadline)
        + world.metrics.script_faults.get(ScriptFault::Operations);
    assert!(faults <= 2 * HOSTILE as u64, "{faults}");
    running.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_loops_has_its_five_faults() {
    let world = World::new(1);
    let bad = world.save("acme", 1, "bad", "loop {}");
    world.save("acme", 1, "dear", "let n = 0; while n < 40000 { n += 1; } true");
    let running = world.start().await;
    for key in 0..4 {
        world.change(0, "acme", key, "1");
    }
    assert!(world.log.drained_within(LONG));
    assert!(running.script(&bad.tenant, "bad").unwrap().disabled.is_none());
    for key in 0..4 {
        world.change(0, "acme", key, "1");
    }
    assert!(world.log.drained_within(LONG));
    assert!(running.script(&bad.tenant, "bad").unwrap().disabled.is_some());
    assert_eq!(alerts(&world.log).len(), 8);
    running.drain(LONG).await;
}
