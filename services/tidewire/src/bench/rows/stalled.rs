//! Sockets that do not read: what they take from the others, and how much waits for them.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bench::gateway::Shape;
use crate::bench::process::send_queues;
use crate::bench::protocol::Ask;
use crate::bench::publish::small_body;
use crate::bench::report::{Goal, Row};
use crate::bench::side::{Served, path};
use crate::bench::{Bench, paired};

/// One in so many stalls.
const EVERY: usize = 100;
/// Events at a time: what is on its way to one socket stays well below the bound of a queue.
const EVENTS: usize = 100;
/// Such parts in a round, each awaited: together enough that a socket that does not read is found too slow.
const PARTS: usize = 10;
/// Sockets of the memory row; half of them stall.
const MEMORY_SOCKETS: usize = 400;
/// Events of a step of the memory row.
const STEP: usize = 20;
const STEPS: usize = 60;
const CLOSE: Duration = Duration::from_millis(100);

pub(super) fn throughput(bench: &mut Bench) -> Result<Vec<Row>> {
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
    Ok(vec![Row::new("stalled", what, Goal::at_least(0.95, 0.98, "x"), ratio, note)])
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
