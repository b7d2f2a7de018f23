//! Instances of a stage end, hang, come and go: each input gives one output.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::Offset;
use tidewire_kafka::{CommitStep, StageOptions};
use tidewire_log::{LogStage, StageError, StageEvent};
use tidewire_testkit::kafka::Kafka;

use crate::harness::DEADLINE;
use crate::shop::{Copier, Crew, Shop, copies};

/// Ends the commit number `at` (from 0) at this step.
fn break_at(options: &mut StageOptions, step: CommitStep, at: usize) {
    let seen = AtomicUsize::new(0);
    options.on_step = Some(Arc::new(move |now| {
        if now == step && seen.fetch_add(1, Ordering::SeqCst) == at {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }));
}

/// Copies with an instance that ends like this, until it does.
fn run_until_end(shop: &Shop, mut options: StageOptions, step: Option<CommitStep>, at: usize) {
    if let Some(step) = step {
        // The first two transactions of a group may be its beginning.
        break_at(&mut options, step, at + 1);
    }
    let mut copier = shop.stage_with(options);
    let deadline = Instant::now() + DEADLINE;
    let mut batches = 0;
    loop {
        assert!(Instant::now() < deadline, "it does not end: {:?}", copier.events);
        let batch = match copier.stage.poll(Duration::from_millis(200)) {
            Ok(StageEvent::Batch(batch)) => batch,
            Ok(event) => {
                copier.events.push(event);
                continue;
            }
            Err(StageError::Fatal(_)) => return,
            Err(error) => panic!("{error}"),
        };
        batches += 1;
        if step.is_none() && batches > at {
            // Processed, not produced.
            return;
        }
        match copier.stage.commit(&batch, &copies(&batch)) {
            Ok(()) => {}
            Err(StageError::Fatal(_)) => return,
            Err(error) if error.is_transient() => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn each_input_gives_one_output_over_thirty_abrupt_ends() {
    let Some(mut shop) = Shop::shared("thirty", 3).await else { return };
    // Many small batches; what is left open ends soon.
    shop.options.batch.records = 7;
    shop.options.transaction_timeout = Duration::from_secs(1);
    let steps = [
        None,
        Some(CommitStep::Begun),
        Some(CommitStep::Produced),
        Some(CommitStep::OffsetsSent),
        Some(CommitStep::Committed),
    ];
    let mut owed = Vec::new();
    for round in 0..30_usize {
        for partition in 0..3 {
            let texts: Vec<_> = (0..20).map(|n| format!("{round}/{partition}/{n}")).collect();
            shop.write(partition, texts.clone());
            owed.extend(texts);
        }
        let mut options = shop.options.clone();
        if round >= 15 {
            // Comes back under its own name: it waits for no timeout.
            options.instance = Some("only".to_owned());
        }
        run_until_end(&shop, options, steps[round % steps.len()], round % 4);
    }
    let mut last = shop.options.clone();
    last.instance = Some("only".to_owned());
    let mut copier = shop.stage_with(last);
    let at_end = |copier: &Copier| {
        let ended = |event: &StageEvent| match event {
            StageEvent::EndOfPartition { partition, next } if next.0 >= 600 => Some(*partition),
            _ => None,
        };
        let ended: std::collections::BTreeSet<_> = copier.events.iter().filter_map(ended).collect();
        ended.len() == 3
    };
    copier.until(at_end);
    assert_eq!(owed.len(), 1800);
    shop.assert_once(owed);
}

#[tokio::test]
async fn instances_share_the_partitions_while_records_flow() {
    for mut shop in Shop::all("shared", 4).await {
        shop.options.batch.records = 20;
        let crew = Crew { shop: Arc::new(shop), copied: Arc::default() };
        let mut written = 0;
        let mut owed = Vec::new();
        let mut write = || {
            let texts: Vec<_> = (written..written + 10).map(|n| n.to_string()).collect();
            crew.shop.write((written / 10) % 4, texts.clone());
            owed.extend(texts);
            written += 10;
        };
        let flags = [0, 1, 2].map(|_| Arc::new(AtomicBool::new(true)));
        let first = crew.hire(0, &flags[0]);
        crew.until(|crew| crew.copied(0) > 100, &mut write);
        let second = crew.hire(1, &flags[1]);
        crew.until(|crew| crew.copied(1) > 100, &mut write);
        let before = crew.copied(0);
        crew.until(|crew| crew.copied(0) > before, &mut write);
        // One goes, another comes.
        flags[0].store(false, Ordering::SeqCst);
        first.join().unwrap();
        let third = crew.hire(2, &flags[2]);
        crew.until(|crew| crew.copied(2) > 100, &mut write);
        let total = usize::try_from(written).unwrap();
        crew.until(
            |crew| (0..3).map(|n| crew.copied(n)).sum::<usize>() >= total,
            || {
                std::thread::yield_now();
            },
        );
        for flag in &flags {
            flag.store(false, Ordering::SeqCst);
        }
        second.join().unwrap();
        third.join().unwrap();
        if crew.shop.kafka.embedded_id.is_none() {
            crew.shop.assert_once(owed);
        } else {
            // The embedded broker shows what was aborted.
            let output = crew.shop.output();
            assert!(owed.iter().all(|text| output.contains_key(text)));
        }
    }
}

#[tokio::test]
async fn an_instance_that_hung_is_fenced_and_its_batch_is_handed_out_to_another() {
    let Some(mut shop) = Shop::shared("hung", 2).await else { return };
    // The group takes it for hung after as long as it can be.
    shop.options.batch_time_max = shop.options.session_timeout;
    shop.write(0, (0..10).map(|n| format!("a-{n}")));
    shop.write(1, (0..10).map(|n| format!("b-{n}")));
    let mut hung = shop.stage();
    let mut batch = hung.batch();
    while batch.len() < 20 {
        hung.stage.commit(&batch, &copies(&batch)).unwrap();
        batch = hung.batch();
        if batch.len() == 20 || hung.copied + batch.len() >= 10 {
            break;
        }
    }
    let mut other = shop.stage();
    let owed = || (0..10).flat_map(|n| [format!("a-{n}"), format!("b-{n}")]);
    let deadline = Instant::now() + DEADLINE;
    while shop.output().len() < 20 {
        other.turn().unwrap();
        assert!(Instant::now() < deadline, "{:?}", other.events);
    }
    // It wakes with its batch in its hands.
    let late = hung.stage.commit(&batch, &copies(&batch));
    assert!(matches!(late, Err(StageError::Fenced(_))), "{late:?}");
    let stale = hung.stage.commit(&batch, &copies(&batch));
    assert_eq!(stale, Err(StageError::Stale));
    shop.assert_once(owed());
    // It joins again.
    let deadline = Instant::now() + DEADLINE;
    let lost = |event: &StageEvent| matches!(event, StageEvent::Revoked { lost: true, .. });
    let back = |hung: &Copier| {
        let lost = hung.events.iter().position(lost);
        lost.is_some_and(|at| {
            hung.events[at..].iter().any(|event| matches!(event, StageEvent::Assigned { .. }))
        })
    };
    while !back(&hung) {
        for copier in [&mut hung, &mut other] {
            match copier.turn() {
                Ok(()) => {}
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
        assert!(Instant::now() < deadline, "{:?}", hung.events);
    }
    shop.assert_once(owed());
}

#[tokio::test]
async fn a_broker_that_hangs_in_mid_commit_neither_loses_nor_doubles() {
    let Some(kafka) = Kafka::start(1).unwrap() else { return };
    let mut shop = Shop::on(&kafka, "frozen", 1).await;
    shop.options.transaction_timeout = Duration::from_secs(2);
    shop.kafka.request_timeout = Duration::from_secs(1);
    let kafka = Arc::new(Mutex::new(kafka));
    let mut owed = 0;
    for step in [CommitStep::Begun, CommitStep::Produced, CommitStep::OffsetsSent] {
        let texts: Vec<_> = (0..10).map(|n| format!("{step:?}-{n}")).collect();
        shop.write(0, texts.clone());
        let mut options = shop.options.clone();
        let (freezer, armed) = (Arc::clone(&kafka), Arc::new(AtomicBool::new(false)));
        let trigger = Arc::clone(&armed);
        options.on_step = Some(Arc::new(move |now| {
            if now == step && trigger.swap(false, Ordering::SeqCst) {
                freezer.lock().unwrap().freeze(0).unwrap();
            }
            ControlFlow::Continue(())
        }));
        let mut copier = shop.stage_with(options);
        let batch = copier.batch();
        armed.store(true, Ordering::SeqCst);
        let halted = copier.stage.commit(&batch, &copies(&batch));
        assert!(matches!(halted, Err(StageError::Aborted(_))), "{step:?}: {halted:?}");
        kafka.lock().unwrap().thaw(0).unwrap();
        // The last word may have reached the broker before it froze: then nothing is handed out again.
        owed += 10;
        let deadline = Instant::now() + DEADLINE;
        while shop.committed(0) != Offset::Offset(owed) {
            match copier.turn() {
                Ok(()) => {}
                Err(error) => assert!(error.is_transient(), "{step:?}: {error}"),
            }
            assert!(Instant::now() < deadline, "{step:?}: {:?}", copier.events);
        }
    }
    let steps = [CommitStep::Begun, CommitStep::Produced, CommitStep::OffsetsSent];
    shop.assert_once(steps.iter().flat_map(|s| (0..10).map(move |n| format!("{s:?}-{n}"))));
}
