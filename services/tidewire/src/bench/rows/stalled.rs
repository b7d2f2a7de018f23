//! Sockets that do not read: what they take from the others, in throughput and in latency, and how much waits
//! for them.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::bench::gateway::Shape;
use crate::bench::process::send_queues;
use crate::bench::protocol::{Ask, wall_ns};
use crate::bench::publish::small_body;
use crate::bench::report::{Goal, Row};
use crate::bench::side::{AWAIT_LIMIT_MS, Served, path};
use crate::bench::statistics::Spread;
use crate::bench::{Bench, paired};

/// One in so many stalls.
const EVERY: usize = 100;
/// Events at a time: what is on its way to one socket stays well below the bound of a queue.
const EVENTS: usize = 100;
/// Such parts in a round, each awaited: together enough that a socket that does not read is found too slow.
const PARTS: usize = 10;
/// Sockets of the latency row, and events of a round, one after the other.
const LATENCY_SOCKETS: usize = 5_000;
const LATENCY_EVENTS: usize = 30;
/// Parts before them: what a socket that does not read has then fills the kernel's buffers, and the rest waits
/// in its queue, which is not yet full after the events that are measured.
const FILL_PARTS: usize = 5;
/// The kernel takes so much before a write blocks.
const BLOCKED_BYTES: u64 = 16 * 1024;
/// The embedded broker answers an empty fetch only when its time is over.
const FETCH_WAIT: Duration = Duration::from_millis(1);
/// Sockets of the memory row; half of them stall.
const MEMORY_SOCKETS: usize = 400;
/// Events of a step of the memory row.
const STEP: usize = 20;
const STEPS: usize = 60;
const CLOSE: Duration = Duration::from_millis(100);

/// Both rows that compare with and without: throughput, and latency.
pub(super) fn throughput(bench: &mut Bench) -> Result<Vec<Row>> {
    Ok(vec![frames_a_second(bench)?, latency(bench)?])
}

fn frames_a_second(bench: &mut Bench) -> Result<Row> {
    let (count, events) = if bench.quick { (100, 20) } else { (bench.few, EVENTS) };
    let mut with = Served::start(&mut bench.space, &Shape::default())?;
    let mut without = Served::start(&mut bench.space, &Shape::default())?;
    let body = small_body();
    let rate = |side: &mut Served, stalled: bool| -> Result<f64> {
        side.connect(count, vec![path("5")])?;
        let silent =
            if stalled { side.load.ask(&Ask::Stall { every: EVERY })?.ports.len() } else { 0 };
        let started = Instant::now();
        for _ in 0..PARTS {
            let record = |_| side.publisher.record("Voyage", 5, &body);
            let records = (0..events).map(record).collect();
            side.fan_out(records, ((count - silent) * events) as u64)?;
        }
        let seconds = started.elapsed().as_secs_f64();
        side.load.ask(&Ask::CloseAll)?;
        sleep(CLOSE);
        Ok(((count - silent) * events * PARTS) as f64 / seconds)
    };
    let (ratio, a, b) =
        paired(bench.rounds, || rate(&mut with, true), || rate(&mut without, false))?;
    let note = format!("{:.0} frames a second, without {:.0}", a.median, b.median);
    let what = format!("throughput of the rest, 1 in {EVERY} of {count} sockets stalled");
    Ok(Row::new("stalled", what, Goal::at_least(0.95, 0.98, "x"), ratio, note))
}

/// The time in which an event has reached 99 of 100 of the sockets that read.
fn latency(bench: &mut Bench) -> Result<Row> {
    let (count, events) = if bench.quick { (200, 3) } else { (LATENCY_SOCKETS, LATENCY_EVENTS) };
    let shape = Shape { fetch_wait: FETCH_WAIT, ..Shape::default() };
    let mut with = Served::start(&mut bench.space, &shape)?;
    let mut without = Served::start(&mut bench.space, &shape)?;
    let body = small_body();
    let tail = |side: &mut Served, stalled: bool| -> Result<f64> {
        side.connect(count, vec![path("5")])?;
        let ports =
            if stalled { side.load.ask(&Ask::Stall { every: EVERY })?.ports } else { Vec::new() };
        let readers = count - ports.len();
        for _ in 0..FILL_PARTS {
            let records = (0..EVENTS).map(|_| side.publisher.record("Voyage", 5, &body)).collect();
            side.fan_out(records, (readers * EVENTS) as u64)?;
        }
        all_blocked(side, &ports)?;
        let mut tails = Vec::new();
        for _ in 0..events {
            side.load.ask(&Ask::Mark)?;
            let record = side.publisher.record("Voyage", 5, &body);
            let started = wall_ns();
            side.publisher.publish(vec![record])?;
            let most = Ask::Await { frames: (readers * 99 / 100) as u64, limit_ms: AWAIT_LIMIT_MS };
            tails.push(side.load.ask(&most)?.last_ns.saturating_sub(started) as f64);
            let all = Ask::Await { frames: readers as u64, limit_ms: AWAIT_LIMIT_MS };
            side.load.ask(&all)?;
        }
        all_blocked(side, &ports)?;
        side.load.ask(&Ask::CloseAll)?;
        sleep(CLOSE);
        Ok(Spread::of(tails).median)
    };
    let (ratio, a, b) =
        paired(bench.rounds, || tail(&mut with, true), || tail(&mut without, false))?;
    let note = format!("{:.2} ms, without {:.2} ms", a.median / 1e6, b.median / 1e6);
    let what = format!(
        "time until an event has reached 99 of 100 of the rest, 1 in {EVERY} of {count} sockets stalled"
    );
    let goal = Goal::at_most(1.10, 1.0, "x");
    Ok(Row::new("stalled-latency", what, goal, ratio, note))
}

/// Every stalled socket is open, and writes to it block.
fn all_blocked(side: &Served, ports: &[u16]) -> Result<()> {
    let port = side.gateway.address.rsplit(':').next().and_then(|p| p.parse().ok()).unwrap_or(0);
    let queues = send_queues(port, ports)?;
    let blocked = queues.iter().filter(|bytes| **bytes >= BLOCKED_BYTES).count();
    let stalled = ports.len();
    ensure!(blocked == stalled, "of {stalled} stalled sockets {blocked} block: {queues:?}");
    Ok(())
}

pub(super) fn memory(bench: &mut Bench) -> Result<Vec<Row>> {
    let count = if bench.quick { 20 } else { MEMORY_SOCKETS };
    let mut side = Served::start(&mut bench.space, &Shape::default())?;
    // Every stalled socket has a definition of its own: what waits is not shared.
    side.connect(count, (0..count).map(|i| path(&format!("5,{}", 100_000 + i))).collect())?;
    let body = small_body();
    side.updates(STEP, 5, &body, count)?;
    sleep(CLOSE);
    let base = side.gateway.child.resident_bytes()? as f64;
    let ports = side.load.ask(&Ask::Stall { every: 2 })?.ports;
    let stalled = ports.len();
    let port = side.gateway.address.rsplit(':').next().and_then(|p| p.parse().ok()).unwrap_or(0);
    let (mut most, mut user, mut kernel) = (0.0, 0.0, 0.0);
    for _ in 0..STEPS {
        let records: Vec<_> =
            (0..STEP).map(|_| side.publisher.record("Voyage", 5, &body)).collect();
        side.fan_out(records, (STEP * (count - stalled)) as u64)?;
        sleep(CLOSE / 5);
        let queues = send_queues(port, &ports)?;
        if queues.len() < stalled {
            break;
        }
        let in_kernel = queues.iter().sum::<u64>() as f64 / stalled as f64 / 1024.0;
        let in_user =
            (side.gateway.child.resident_bytes()? as f64 - base) / stalled as f64 / 1024.0;
        if in_kernel + in_user > most {
            (most, user, kernel) = (in_kernel + in_user, in_user, in_kernel);
        }
    }
    let note = format!("{user:.0} KiB in the process, {kernel:.0} KiB in the kernel's send queue");
    let what = format!("most memory per stalled socket, {stalled} stalled, before they are closed");
    let goal = Goal::at_most(320.0, 128.0, "KiB");
    Ok(vec![Row::new("stalled-memory", what, goal, super::memory::single(most), note)])
}
