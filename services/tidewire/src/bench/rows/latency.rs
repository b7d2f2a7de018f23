//! Latency: idle, and of an event for one socket while a broadcast is under way.
//!
//! What a gateway adds is not visible from outside; it is told as the time from publishing to the
//! client's read, less the time that a bare consumer of the same topic needs to get the same records.
//! The client's wake-up and read are so counted against the gateway.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tidewire_kafka::{BareConsumer, KafkaOptions};

use crate::bench::Bench;
use crate::bench::child::Child;
use crate::bench::gateway::Shape;
use crate::bench::protocol::{Ask, wall_ns};
use crate::bench::publish::small_body;
use crate::bench::report::{Goal, Row};
use crate::bench::side::{Served, path};
use crate::bench::statistics::{Spread, percentile};

/// Events of one batch: each batch gives one figure.
const BATCH: usize = 100;
const BATCHES: usize = 7;
/// The embedded broker answers an empty fetch only when its time is over.
const FETCH_WAIT: Duration = Duration::from_millis(1);
const PROBE: u64 = 9_000_001;
const AWAIT_LIMIT_MS: u64 = 10_000;

/// When a bare consumer got each record.
struct Bare(Receiver<u64>);

impl Bare {
    fn start(bench: &Bench, topic: &str) -> Result<Self> {
        let mut options = KafkaOptions::new(bench.space.broker.bootstrap());
        options.fetch_wait = FETCH_WAIT;
        let mut consumer = BareConsumer::start(&options, topic, 1)?;
        let (sender, receiver) = sync_channel(1024);
        std::thread::Builder::new().name("bare".to_owned()).spawn(move || {
            loop {
                let got = consumer.poll(Duration::from_millis(100), |_, _| {});
                let outcome = if got { sender.try_send(wall_ns()) } else { Ok(()) };
                if let Err(std::sync::mpsc::TrySendError::Disconnected(_)) = outcome {
                    return;
                }
            }
        })?;
        Ok(Self(receiver))
    }

    fn next(&self) -> Result<u64> {
        self.0.recv_timeout(Duration::from_secs(10)).context("the bare consumer got nothing")
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

pub(super) fn idle(bench: &mut Bench) -> Result<Vec<Row>> {
    let topic = bench.space.topic(1)?;
    let shape = Shape { fetch_wait: FETCH_WAIT, ..Shape::default() };
    let mut side = Served::on(&mut bench.space, &topic, &shape)?;
    side.connect(1, vec![path("5")])?;
    let bare = Bare::start(bench, &topic)?;
    let (batch, batches) = if bench.quick { (5, 2) } else { (BATCH, BATCHES) };
    let (mut medians, mut tails, mut bare_medians) = (Vec::new(), Vec::new(), Vec::new());
    let body = small_body();
    for number in 0..=batches {
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..batch {
            side.load.ask(&Ask::Mark)?;
            let record = side.publisher.record("Voyage", 5, &body);
            let started = wall_ns();
            side.publisher.publish(vec![record])?;
            let wish = Ask::Await { frames: 1, limit_ms: AWAIT_LIMIT_MS };
            let answer = side.load.ask(&wish)?;
            ours.push(answer.first_ns.saturating_sub(started) as f64 / 1e6);
            floor.push(bare.next()?.saturating_sub(started) as f64 / 1e6);
        }
        if number == 0 {
            continue;
        }
        let (ours, floor) = (sorted(ours), sorted(floor));
        medians.push(percentile(&ours, 0.5) - percentile(&floor, 0.5));
        tails.push(percentile(&ours, 0.99) - percentile(&floor, 0.99));
        bare_medians.push(percentile(&floor, 0.5));
    }
    let bare = Spread::of(bare_medians).median;
    let note = format!("a bare consumer gets it after {bare:.2} ms; {batch} events a batch");
    let what = "added latency, idle, from the record to the client's read";
    Ok(vec![
        Row::new(
            "latency-p50",
            format!("{what}, p50"),
            Goal::at_most(1.0, 0.3, "ms"),
            Spread::of(medians),
            note.clone(),
        ),
        Row::new(
            "latency-p99",
            format!("{what}, p99"),
            Goal::at_most(5.0, 2.0, "ms"),
            Spread::of(tails),
            note,
        ),
    ])
}

pub(super) fn broadcast(bench: &mut Bench) -> Result<Vec<Row>> {
    let count = bench.many;
    let topic = bench.space.topic(1)?;
    let shape = Shape { shards: 1, fetch_wait: FETCH_WAIT, ..Shape::default() };
    let mut side = Served::on(&mut bench.space, &topic, &shape)?;
    side.connect(count, vec![path("5")])?;
    let mut probe = Child::start("load", &[])?;
    let wish = side.wish(1, vec![path(&PROBE.to_string())]);
    probe.ask(&Ask::Connect(wish))?;
    let bare = Bare::start(bench, &topic)?;
    let body = small_body();
    let (mut added, mut during) = (Vec::new(), 0);
    for _ in 0..bench.rounds * 5 {
        side.load.ask(&Ask::Mark)?;
        probe.ask(&Ask::Mark)?;
        let record = side.publisher.record("Voyage", 5, &body);
        side.publisher.publish(vec![record])?;
        let begun = (count / 20).max(1) as u64;
        side.load.ask(&Ask::Await { frames: begun, limit_ms: AWAIT_LIMIT_MS })?;
        bare.next()?;
        let record = side.publisher.record("Voyage", PROBE, &body);
        let started = wall_ns();
        side.publisher.publish(vec![record])?;
        let came = probe.ask(&Ask::Await { frames: 1, limit_ms: AWAIT_LIMIT_MS })?.first_ns;
        let received = bare.next()?;
        let all = Ask::Await { frames: count as u64, limit_ms: AWAIT_LIMIT_MS };
        during += u32::from(side.load.ask(&all)?.last_ns > came);
        let ours = came.saturating_sub(started) as f64;
        added.push((ours - received.saturating_sub(started) as f64) / 1e6);
    }
    let added = sorted(added);
    let tail = percentile(&added, 0.99);
    let note = format!(
        "p50 {:.2} ms; {during} of {} came while the broadcast went on; the bare consumer, on the same \
         busy cores, waits too",
        percentile(&added, 0.5),
        added.len()
    );
    let what =
        format!("added latency of an event for one socket during a broadcast to {count}, p99");
    let goal = Goal::at_most(5.0, 2.0, "ms");
    Ok(vec![Row::new("latency-broadcast", what, goal, super::memory::single(tail), note)])
}
