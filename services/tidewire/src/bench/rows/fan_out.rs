//! CPU per send at low rate and in bursts, and the time to the last socket.

use anyhow::Result;

use super::us;
use crate::bench::gateway::Shape;
use crate::bench::publish::small_body;
use crate::bench::report::{Goal, Row};
use crate::bench::side::{Floor, Served, path};
use crate::bench::{Bench, paired};

/// Frames pending per socket in a burst.
const BURST: usize = 10;
/// The object that all sockets watch.
const KEY: u64 = 5;

pub(super) fn measure(bench: &mut Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (count, single, burst) in
        [(bench.few, "fan-out-1k", "burst-1k"), (bench.many, "fan-out-10k", "burst-10k")]
    {
        let mut ours = Served::start(&mut bench.space, &Shape::default())?;
        let mut floor = Floor::start(bench.cores)?;
        ours.connect(count, vec![path("5")])?;
        floor.connect(count)?;
        let body = small_body();
        let warm = ours.updates(1, KEY, &body, count)?;
        ours.print_threads("connected").map(drop)?;
        let bytes = bytes_of(warm.bytes / warm.frames);
        // Short measurements are repeated within a round.
        let events = (2 * bench.many / count).clamp(1, 10);
        let sends = |floor: &mut Floor, frames| -> Result<(f64, f64)> {
            let (mut cpu, mut time) = (0.0, 0.0);
            for _ in 0..events {
                let one = floor.send(bytes, frames, count)?;
                cpu += one.cpu_per_frame();
                time += one.spread_ns;
            }
            Ok((cpu / events as f64, time / events as f64))
        };
        let mut times = (Vec::new(), Vec::new());
        let (ratio, a, b) = paired(
            bench.rounds,
            || {
                let measured = ours.single_updates(events, KEY, &body, count)?;
                times.0.push(measured.spread_ns / events as f64);
                Ok(measured.cpu_per_frame())
            },
            || {
                let (cpu, time) = sends(&mut floor, 1)?;
                times.1.push(time);
                Ok(cpu)
            },
        )?;
        if bench.threads {
            ours.print_threads(single)?;
        }
        let note = format!("{} a send, raw {}; {bytes} B frames", us(a.median), us(b.median));
        let what = format!("CPU per send, {count} sockets, against raw send");
        rows.push(Row::new(single, what, Goal::at_most(1.25, 1.10, "x"), ratio, note));
        if count == bench.many {
            rows.push(time_to_last(count, times));
        }
        let (ratio, a, b) = paired(
            bench.rounds,
            || {
                let mut cpu = 0.0;
                for _ in 0..events {
                    cpu += ours.updates(BURST, KEY, &body, count)?.cpu_per_frame();
                }
                Ok(cpu / events as f64)
            },
            || Ok(sends(&mut floor, BURST)?.0),
        )?;
        if bench.threads {
            ours.print_threads(burst)?;
        }
        let note = format!("{} a frame, raw {}", us(a.median), us(b.median));
        let what = format!(
            "CPU per frame, {BURST} pending, {count} sockets, against raw {BURST} per write"
        );
        rows.push(Row::new(burst, what, Goal::at_most(1.25, 1.10, "x"), ratio, note));
    }
    Ok(rows)
}

fn time_to_last(count: usize, (ours, floor): (Vec<f64>, Vec<f64>)) -> Row {
    use crate::bench::statistics::Spread;
    // The first round of each warmed up.
    let ratios = ours.iter().zip(&floor).skip(1).map(|(a, b)| a / b.max(1.0)).collect();
    let ms = |times: &[f64]| Spread::of(times.to_vec()).median / 1e6;
    let note =
        format!("{:.1} ms from the first socket to the last, raw {:.1} ms", ms(&ours), ms(&floor));
    let what =
        format!("time to the last of {count} sockets, against raw sends from as many threads");
    Row::new("last", what, Goal::at_most(1.5, 1.2, "x"), Spread::of(ratios), note)
}

/// A frame's size as a whole number of bytes.
pub(super) fn bytes_of(mean: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the size of a frame"
    )]
    let bytes = mean.round() as usize;
    bytes
}
