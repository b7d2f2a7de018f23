//! The service on a log in memory, with real workers (the built binary).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

mod support;

use std::time::Duration;

use serde_json::json;
use support::{LONG, World, alert, alerts, until};
use tidewire_log::{BatchLimits, StageError, WriteError};
use tidewire_script::{Script, ScriptErrorKind as Kind, ScriptState};
use tidewire_telemetry::metrics::{
    BatchOutcome, ControlOutcome, DisableReason, PoisonReason, ScriptFault,
};

const DRAIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_come_once_each_in_the_order_of_the_log() {
    let mut world = World::new(2);
    world.batch = BatchLimits { records: 7, ..BatchLimits::default() };
    let body = r#"mapResultsForMessage["?1"] = dlpObject.speed; dlpObject.speed > 10"#;
    world.save_as(
        "acme",
        1,
        json!({"code": "fast", "scriptBody": body,
        "alertScriptMessage": "speed ?1"}),
    );
    world.save("acme", 1, "always", "true");
    world.save("other", 1, "theirs", "true");
    for number in 0..50 {
        world.change(number % 2, "acme", 1, &number.to_string());
    }
    world.write(0, "acme/PortCall/1", "1;U;;none", r#"{"new":{"key":1}}"#);
    let running = world.start().await;
    assert!(world.log.drained_within(LONG));
    let got = alerts(&world.log);
    for partition in 0..2 {
        let of = |code: &str| -> Vec<(String, String)> {
            let mine = got
                .iter()
                .filter(|(c, id, _)| c == code && id.starts_with(&format!("{partition}-")));
            mine.map(|(_, id, message)| (id.clone(), message.clone())).collect()
        };
        let always: Vec<_> =
            (0..25).map(|n| (format!("{partition}-{n}"), "fired".to_owned())).collect();
        assert_eq!(of("always"), always);
        let speed = |n: i32| n * 2 + partition;
        let fast: Vec<_> = (0..25)
            .filter(|n| speed(*n) > 10)
            .map(|n| (format!("{partition}-{n}"), format!("speed {}", speed(n))))
            .collect();
        assert_eq!(of("fast"), fast);
    }
    assert!(got.iter().all(|(code, ..)| code != "theirs"));
    let count = got.len() as u64;
    until("all are counted", || world.metrics.fired.get() == count).await;
    assert_eq!(world.metrics.records.get(), 51);
    assert_eq!(world.metrics.changes.get(), 50);
    let record = &world.log.outputs()[0];
    assert_eq!(record.timestamp_ms, Some(1_000));
    let header = String::from_utf8_lossy(record.header.as_ref().unwrap()).into_owned();
    assert!(
        header.starts_with("1;U;;none;;memory%3A") && header.ends_with(";42;alerts"),
        "{header}"
    );
    assert!(running.drain(DRAIN).await.is_empty() && running.failed().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_committed_is_done_again_and_shows_once() {
    let world = World::new(1);
    world.save("acme", 1, "always", "true");
    world.log.fail_next(StageError::Aborted("a broker went".to_owned()));
    world.log.fail_next(StageError::Fenced("another has it".to_owned()));
    for key in 0..20 {
        world.change(0, "acme", key, "1");
    }
    let running = world.start().await;
    assert!(world.log.drained_within(LONG));
    assert_eq!(world.log.outputs().len(), 20);
    assert_eq!(world.metrics.batches.get(BatchOutcome::Aborted), 1);
    assert_eq!(world.metrics.batches.get(BatchOutcome::Fenced), 1);
    until("all are counted", || world.metrics.fired.get() == 20).await;
    // Two instances share the partitions of a log; a rebalance changes nothing of what is owed.
    let second = world.start().await;
    for key in 0..200 {
        world.change(0, "acme", key, "1");
        if key == 100 {
            world.log.rebalance();
        }
    }
    assert!(world.log.drained_within(LONG));
    assert_eq!(world.log.outputs().len(), 220);
    running.drain(DRAIN).await;
    world.change(0, "acme", 1, "1");
    assert!(world.log.drained_within(LONG));
    assert_eq!(world.log.outputs().len(), 221);
    second.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_published_again_fires_once_whoever_reads_it() {
    let mut world = World::new(1);
    world.batch = BatchLimits { records: 3, ..BatchLimits::default() };
    world.save("acme", 1, "always", "true");
    let publish = |key: u64, version: &str, change_id: &str| {
        let header = format!("1;U;{version};none;;{change_id}");
        let body = format!("{{\"new\":{{\"key\":{key}}}}}");
        world.write(0, &format!("acme/Voyage/{key}"), &header, &body);
    };
    publish(1, "", "a");
    publish(1, "", "a");
    publish(2, "", "a");
    publish(1, "e:7", "b");
    publish(1, "e:7", "");
    // Nothing tells these apart.
    publish(3, "", "");
    publish(3, "", "");
    world.log.fail_next(StageError::Aborted("a broker went".to_owned()));
    let running = world.start().await;
    assert!(world.log.drained_within(LONG));
    let fired = || alerts(&world.log).into_iter().map(|(_, id, _)| id).collect::<Vec<_>>();
    assert_eq!(fired(), ["0-0", "0-2", "0-3", "0-5", "0-6"]);
    until("two are counted", || world.metrics.changes_repeated.get() >= 2).await;
    running.drain(DRAIN).await;
    // The next owner reads back what it has not seen.
    publish(1, "", "a");
    publish(1, "e:7", "c");
    publish(2, "", "d");
    let next = world.start().await;
    assert!(world.log.drained_within(LONG));
    assert_eq!(fired(), ["0-0", "0-2", "0-3", "0-5", "0-6", "0-9"]);
    assert_eq!(world.metrics.read_back_failed.get(), 0);
    next.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_written_is_mended_or_left_out() {
    let world = World::new(1);
    world.save("acme", 1, "a", "true");
    world.save("acme", 1, "b", "true");
    let too_large = |output| StageError::Refused { output, reason: WriteError::TooLarge };
    // The first goes without images; then it is too large even so, and the second takes its place.
    world.log.fail_next(too_large(0));
    world.log.fail_next(too_large(0));
    world.log.fail_next(too_large(0));
    world.change(0, "acme", 5, "1");
    let running = world.start().await;
    assert!(world.log.drained_within(LONG));
    let outputs = world.log.outputs();
    assert_eq!(outputs.len(), 1);
    let (code, id, _) = alert(&outputs[0]);
    assert_eq!((code.as_str(), id.as_str()), ("b", "0-0"));
    let text = String::from_utf8_lossy(outputs[0].payload.as_ref().unwrap()).into_owned();
    assert!(text.contains(r#""new":null"#), "{text}");
    assert_eq!(world.metrics.images_left_out.get(), 2);
    assert_eq!(world.metrics.script_faults.get(ScriptFault::Size), 1);
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_goes_to_quarantine_and_the_rest_moves_on() {
    let world = World::new(1);
    world.save("acme", 1, "always", "true");
    world.write(0, "acme/Voyage", "1;U;;none", "{}");
    world.write(0, "acme/Voyage/1", "9;U;;none", "{}");
    world.write(0, "acme/Voyage/1", "1;U;;none", "{");
    // Nobody wants it, so nobody opens it.
    world.write(0, "acme/PortCall/1", "1;U;;none", "{");
    world.change(0, "acme", 1, "1");
    let running = world.start().await;
    assert!(world.log.drained_within(LONG));
    assert_eq!(alerts(&world.log).len(), 1);
    let poison = world.poison.0.lock().clone();
    assert_eq!(poison.len(), 3, "{poison:?}");
    for (part, at) in [(PoisonReason::Key, 0), (PoisonReason::Header, 1), (PoisonReason::Body, 2)] {
        assert_eq!(world.metrics.records_poison.get(part), 1);
        assert!(poison[at].starts_with(&format!("0-{at}: ")), "{poison:?}");
    }
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_fails_again_and_again_is_disabled_and_its_neighbours_are_not() {
    let world = World::new(1);
    let bad = world.save("acme", 1, "bad", "loop {}");
    world.save("acme", 1, "no-message", r#"true"#);
    let silent = world.save_as(
        "acme",
        1,
        json!({"code": "silent", "scriptBody":
        "let n = \"?3\"; true", "alertScriptMessage": "?3"}),
    );
    world.save("acme", 1, "good", "true");
    world.control.fail_writes(1);
    let running = world.start().await;
    for key in 0..30 {
        world.change(0, "acme", key, "1");
    }
    assert!(world.log.drained_within(LONG));
    let got = alerts(&world.log);
    for good in ["good", "no-message"] {
        assert_eq!(got.iter().filter(|(code, ..)| code == good).count(), 30, "{good}");
    }
    assert_eq!(got.len(), 60);
    assert_eq!(world.metrics.disables.get(DisableReason::Faults), 2);
    // As many changes as there are workers are under way when the fifth fault is seen.
    let count = world.metrics.script_faults.get(ScriptFault::Message);
    assert!((5..=6).contains(&count), "{count}");
    for (script, kinds) in
        [(&bad, &[Kind::Deadline, Kind::Operations][..]), (&silent, &[Kind::Message])]
    {
        let key = ScriptState::key_of(&script.tenant, script.code());
        until("the state is written", || world.control.last(&key).is_some()).await;
        let value = world.control.last(&key).unwrap();
        let state = ScriptState::parse(key.as_bytes(), value.as_bytes()).unwrap().unwrap();
        assert_eq!(state.version, 1);
        assert!(kinds.contains(&state.disabled.error.kind), "{state:?}");
        assert!(running.script(&script.tenant, script.code()).unwrap().disabled.is_some());
        assert!(running.last_error(&script.tenant, script.code()).is_some());
    }
    until("all are written", || world.metrics.states_unwritten.get() == 0).await;
    assert_eq!(world.metrics.scripts_disabled.get(), 2);
    // Another replica knows from the control topic.
    running.drain(DRAIN).await;
    let second = world.start().await;
    assert!(second.script(&bad.tenant, "bad").unwrap().disabled.is_some());
    // A new version starts anew.
    world.save("acme", 2, "bad", "true");
    until("it is in force", || {
        second.script(&bad.tenant, "bad").is_some_and(|found| found.disabled.is_none())
    })
    .await;
    world.change(0, "acme", 99, "1");
    assert!(world.log.drained_within(LONG));
    assert_eq!(alerts(&world.log).len(), 63);
    second.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_over_its_quota_loses_its_dearest_script_and_others_lose_nothing() {
    let mut world = World::new(1);
    world.options.cpu_per_second = Duration::from_millis(1);
    world.options.cpu_burst = Duration::from_millis(100);
    // Dear, and never at fault.
    let dear = world.save("acme", 1, "dear", "let n = 0; while n < 150000 { n += 1; } true");
    world.save("acme", 1, "cheap", "true");
    world.save("other", 1, "theirs", "true");
    let running = world.start().await;
    for key in 0..60 {
        world.change(0, "acme", key, "1");
        world.change(0, "other", key, "1");
    }
    assert!(world.log.drained_within(LONG));
    let got = alerts(&world.log);
    let count = |code: &str| got.iter().filter(|(c, ..)| c == code).count();
    assert_eq!((count("cheap"), count("theirs")), (60, 60));
    assert!(count("dear") < 60, "{}", count("dear"));
    assert_eq!(world.metrics.disables.get(DisableReason::Quota), 1);
    let found = running.script(&dear.tenant, "dear").unwrap();
    assert!(found.disabled.unwrap().error.reason.contains("alerts.cpu_per_second"));
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_topic_is_followed_and_what_is_bad_in_it_is_skipped() {
    let world = World::new(1);
    world.control.put("acme/script/broken".to_owned(), Some("{".to_owned()));
    world.control.put("acme/revocation/x".to_owned(), Some("{}".to_owned()));
    let script = world.save("acme", 1, "a", "true");
    let running = world.start().await;
    assert_eq!(world.metrics.control_records.get(ControlOutcome::Bad), 1);
    assert_eq!(world.metrics.control_records.get(ControlOutcome::Other), 1);
    assert_eq!(world.metrics.scripts.get(), 1);
    world.control.put(Script::key_of(&script.tenant, "a"), None);
    until("it is gone", || running.script(&script.tenant, "a").is_none()).await;
    world.change(0, "acme", 1, "1");
    assert!(world.log.drained_within(LONG));
    assert!(world.log.outputs().is_empty());
    let text = world.registry.encode().unwrap();
    assert!(text.contains("tidewire_alerts_partitions 1"), "{text}");
    running.drain(DRAIN).await;
}
