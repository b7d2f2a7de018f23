//! TLS against plain, and event streams against WebSockets.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::memory::{single, warmed};
use super::us;
use crate::bench::gateway::Shape;
use crate::bench::protocol::Ask;
use crate::bench::publish::small_body;
use crate::bench::report::{Goal, Row};
use crate::bench::side::{Served, path};
use crate::bench::statistics::Spread;
use crate::bench::{Bench, paired};

const SETTLE: Duration = Duration::from_secs(1);
/// Events of a round.
const EVENTS: usize = 5;

pub(super) fn tls(bench: &mut Bench) -> Result<Vec<Row>> {
    let count = bench.some;
    let shape = Shape { tls: true, ..Shape::default() };
    let (mut ours, base) = warmed(bench, &shape)?;
    ours.connect(count, vec![path("5")])?;
    let (memory, ratio, note) = compare(bench, ours, base)?;
    let what = format!("TLS: memory per connection, {count} connections");
    let cpu = format!("TLS: CPU per send, {count} sockets, against plain");
    Ok(vec![
        Row::new("tls-memory", what, Goal::at_most(16.0, 10.0, "KiB"), memory, ""),
        Row::new("tls-cpu", cpu, Goal::at_most(1.5, 1.25, "x"), ratio, note),
    ])
}

pub(super) fn event_streams(bench: &mut Bench) -> Result<Vec<Row>> {
    let count = bench.some;
    let (mut ours, base) = warmed(bench, &Shape::default())?;
    let mut wish = ours.wish(count, vec![path("5")]);
    wish.event_stream = true;
    ours.load.ask(&Ask::Connect(wish))?;
    let (memory, ratio, note) = compare(bench, ours, base)?;
    let what = format!("SSE: memory per stream, {count} streams");
    let cpu = format!("SSE: CPU per send, {count} streams, against WebSocket");
    Ok(vec![
        Row::new("sse-memory", what, Goal::at_most(20.0, 14.0, "KiB"), memory, ""),
        Row::new("sse-cpu", cpu, Goal::at_most(2.0, 1.5, "x"), ratio, note),
    ])
}

fn compare(bench: &mut Bench, mut ours: Served, base: f64) -> Result<(Spread, Spread, String)> {
    let count = bench.some;
    sleep(SETTLE);
    let bytes = ours.gateway.child.resident_bytes()? as f64 - base;
    let memory = single(bytes / count as f64 / 1024.0);
    let mut plain = Served::start(&mut bench.space, &Shape::default())?;
    plain.connect(count, vec![path("5")])?;
    ours.print_threads("connected")?;
    let body = small_body();
    let (ratio, a, b) = paired(
        bench.rounds,
        || Ok(ours.single_updates(EVENTS, 5, &body, count)?.cpu_per_frame()),
        || Ok(plain.single_updates(EVENTS, 5, &body, count)?.cpu_per_frame()),
    )?;
    if bench.threads {
        ours.print_threads("ours")?;
    }
    Ok((memory, ratio, format!("{} a send, base {}", us(a.median), us(b.median))))
}
