//! Fan-out, against an earlier build: two gateways, everything else the same.

use anyhow::Result;

use super::us;
use crate::bench::gateway::Shape;
use crate::bench::publish::small_body;
use crate::bench::report::{Goal, Row};
use crate::bench::side::{Measured, Served, path};
use crate::bench::{Bench, paired};

const KEY: u64 = 5;
/// Frames pending per socket in a burst.
const BURST: usize = 10;
/// Most that a version may add.
const GOAL: Goal = Goal::at_most(1.02, 1.0, "x");

/// One measurement of one gateway.
type Measure = fn(&mut Served, usize, usize) -> Result<Measured>;

pub(super) fn measure(bench: &mut Bench) -> Result<Vec<Row>> {
    let Some(program) = bench.against.clone() else { return Ok(Vec::new()) };
    let earlier = Shape { program: Some(program), ..Shape::default() };
    let mut rows = Vec::new();
    for (count, single, burst) in [
        (bench.few, "against-fan-out-1k", "against-burst-1k"),
        (bench.many, "against-fan-out-10k", "against-burst-10k"),
    ] {
        let mut ours = Served::start(&mut bench.space, &Shape::default())?;
        let mut other = Served::start(&mut bench.space, &earlier)?;
        for side in [&mut ours, &mut other] {
            side.connect(count, vec![path(&KEY.to_string())])?;
        }
        // Short measurements are repeated within a round.
        let events = (2 * bench.many / count).clamp(1, 10);
        let what = format!("CPU per send, {count} sockets, against an earlier build");
        rows.push(compare(
            bench,
            (&mut ours, &mut other),
            (single, what),
            |side, events, count| side.single_updates(events, KEY, &small_body(), count),
            (events, count),
        )?);
        let what =
            format!("CPU per frame, {BURST} pending, {count} sockets, against an earlier build");
        rows.push(compare(
            bench,
            (&mut ours, &mut other),
            (burst, what),
            |side, events, count| {
                let mut sum = side.updates(BURST, KEY, &small_body(), count)?;
                for _ in 1..events {
                    let one = side.updates(BURST, KEY, &small_body(), count)?;
                    sum.cpu_ns += one.cpu_ns;
                    sum.frames += one.frames;
                }
                Ok(sum)
            },
            (events, count),
        )?);
    }
    let count = bench.many;
    let mut ours = Served::start(&mut bench.space, &Shape::default())?;
    let mut other = Served::start(&mut bench.space, &earlier)?;
    for side in [&mut ours, &mut other] {
        side.connect(count, (1..=count).map(|key| path(&key.to_string())).collect())?;
    }
    let what =
        format!("{count} sockets, each its own key: CPU per delivery, against an earlier build");
    let sides = (&mut ours, &mut other);
    rows.push(compare(
        bench,
        sides,
        ("against-own-keys", what),
        |side, _, count| {
            let body = small_body();
            let keys = 1..=count as u64;
            let records = keys.map(|key| side.publisher.record("Voyage", key, &body)).collect();
            side.fan_out(records, count as u64)
        },
        (1, count),
    )?);
    Ok(rows)
}

fn compare(
    bench: &Bench,
    (ours, other): (&mut Served, &mut Served),
    (name, what): (&'static str, String),
    measure: Measure,
    (events, count): (usize, usize),
) -> Result<Row> {
    let (ratio, a, b) = paired(
        bench.rounds,
        || Ok(measure(ours, events, count)?.cpu_per_frame()),
        || Ok(measure(other, events, count)?.cpu_per_frame()),
    )?;
    let note = format!("{}, the earlier {}", us(a.median), us(b.median));
    Ok(Row::new(name, what, GOAL, ratio, note))
}
