//! Resident memory: per idle connection, after a fan-out, after many have come and gone.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::bench::gateway::Shape;
use crate::bench::protocol::Ask;
use crate::bench::publish::small_body;
use crate::bench::report::{Goal, Row};
use crate::bench::side::{Served, path};
use crate::bench::statistics::Spread;

/// How long after a fan-out the memory is looked at again.
const AFTER_FAN_OUT: Duration = Duration::from_secs(10);
/// How long after connecting or closing.
const SETTLE: Duration = Duration::from_secs(1);
/// How often all sockets come and go.
const CYCLES: usize = 10;

/// One figure, without a spread.
pub(super) fn single(value: f64) -> Spread {
    Spread { lower: value, median: value, upper: value, samples: 1 }
}

/// A gateway that has had a socket, and its memory then.
pub(super) fn warmed(bench: &mut Bench, shape: &Shape) -> Result<(Served, f64)> {
    let mut side = Served::start(&mut bench.space, shape)?;
    side.connect(1, vec![path("1")])?;
    side.updates(1, 1, &small_body(), 1)?;
    side.load.ask(&Ask::CloseAll)?;
    sleep(SETTLE);
    let bytes = side.gateway.child.resident_bytes()? as f64;
    Ok((side, bytes))
}

pub(super) fn idle(bench: &mut Bench) -> Result<Vec<Row>> {
    let count = bench.many;
    let after = if bench.quick { SETTLE } else { AFTER_FAN_OUT };
    let (mut shared, shared_base) = warmed(bench, &Shape::default())?;
    let (mut own, own_base) = warmed(bench, &Shape::default())?;
    shared.connect(count, vec![path("5")])?;
    own.connect(count, (1..=count).map(|key| path(&key.to_string())).collect())?;
    sleep(SETTLE);
    let per_socket = |side: &Served, base: f64| -> Result<f64> {
        Ok((side.gateway.child.resident_bytes()? as f64 - base) / count as f64 / 1024.0)
    };
    let before = (per_socket(&shared, shared_base)?, per_socket(&own, own_base)?);
    let body = small_body();
    shared.updates(1, 5, &body, count)?;
    let records =
        (1..=count as u64).map(|key| own.publisher.record("Voyage", key, &body)).collect();
    own.fan_out(records, count as u64)?;
    sleep(after);
    let then = (per_socket(&shared, shared_base)?, per_socket(&own, own_base)?);
    let each = Goal::at_most(4.0, 2.0, "KiB");
    let grown = Goal::at_most(1.10, 1.05, "x");
    let what = |kind| format!("resident memory per idle connection, {count} connections, {kind}");
    let later = |kind| format!("the same {} s after a fan-out, {kind}", after.as_secs());
    Ok(vec![
        Row::new("memory-one-key", what("one key for all"), each, single(before.0), ""),
        Row::new(
            "memory-one-key-after",
            later("one key for all"),
            grown,
            single(then.0 / before.0.max(0.01)),
            format!("{:.2} KiB", then.0),
        ),
        Row::new("memory-own-keys", what("each its own key"), each, single(before.1), ""),
        Row::new(
            "memory-own-keys-after",
            later("each its own key"),
            grown,
            single(then.1 / before.1.max(0.01)),
            format!("{:.2} KiB", then.1),
        ),
    ])
}

pub(super) fn churn(bench: &mut Bench) -> Result<Vec<Row>> {
    let count = bench.many;
    let (mut side, fresh) = warmed(bench, &Shape::default())?;
    let paths: Vec<String> = (1..=count).map(|key| path(&key.to_string())).collect();
    let mut after = Vec::new();
    for _ in 0..CYCLES {
        side.connect(count, paths.clone())?;
        side.load.ask(&Ask::CloseAll)?;
        sleep(SETTLE);
        after.push(side.gateway.child.resident_bytes()? as f64);
    }
    let (first, last) =
        (after.first().copied().unwrap_or(1.0), after.last().copied().unwrap_or(1.0));
    let mib = |bytes: f64| bytes / 1024.0 / 1024.0;
    let note = format!(
        "fresh {:.1} MiB, after the first cycle {:.1} MiB, after the last {:.1} MiB",
        mib(fresh),
        mib(first),
        mib(last)
    );
    let goal = Goal::at_most(1.10, 1.03, "x");
    let what = format!("resident memory after {CYCLES} x ({count} connect, close)");
    Ok(vec![
        Row::new(
            "churn",
            format!("{what}, against after the first"),
            goal,
            single(last / first),
            note,
        ),
        Row::new("churn-fresh", format!("{what}, against fresh"), goal, single(last / fresh), ""),
    ])
}
