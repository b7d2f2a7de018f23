//! What distinct definitions and field lists cost.

use anyhow::Result;
use bytes::Bytes;

use super::fan_out::bytes_of;
use super::us;
use crate::bench::gateway::Shape;
use crate::bench::publish::{NUMBERS, body, small_body};
use crate::bench::report::{Goal, Row};
use crate::bench::side::{Served, path};
use crate::bench::{Bench, paired};

/// The object that all sockets watch.
const KEY: u64 = 5;
/// The fields beside the numbers that lists choose from: 7 of 16 make 11,440 lists.
const TEXTS: [&str; 2] = ["referenceNo", "comments"];
const FIELDS: usize = NUMBERS.len() + TEXTS.len();
const CHOSEN: u32 = 7;

/// One event to as many definitions as sockets, against one definition.
pub(super) fn definitions(bench: &mut Bench) -> Result<Vec<Row>> {
    let count = bench.many;
    let many = (0..count).map(|i| path(&format!("{KEY},{}", 100_000 + i))).collect();
    let one = vec![path(&format!("{KEY},100000"))];
    let (ratio, note) = compare(bench, many, one, &small_body())?;
    let what = format!("one event to {count} distinct definitions, against one");
    Ok(vec![Row::new("definitions", what, Goal::at_most(1.25, 1.10, "x"), ratio, note)])
}

/// One event to as many field lists as sockets, against one field list.
pub(super) fn field_lists(bench: &mut Bench) -> Result<Vec<Row>> {
    let count = bench.many;
    let lists = (0..1_u32 << FIELDS).filter(|bits| bits.count_ones() == CHOSEN);
    let many: Vec<String> = lists.take(count).map(list).collect();
    let one = many.get(count / 2).cloned().into_iter().collect();
    let (ratio, note) = compare(bench, many, one, &body(700, 10))?;
    let what = format!("one event to {count} distinct field lists, against one");
    Ok(vec![Row::new("field-lists", what, Goal::at_most(1.5, 1.25, "x"), ratio, note)])
}

/// The path with a list of the fields whose bits are set.
fn list(bits: u32) -> String {
    let chosen = NUMBERS.iter().chain(&TEXTS).enumerate().filter(|(i, _)| bits >> i & 1 == 1);
    let members: Vec<_> = chosen.map(|(_, name)| format!("%22{name}%22:%22*%22")).collect();
    format!("{}?fields=%7B{}%7D", path(&KEY.to_string()), members.join(","))
}

fn compare(
    bench: &mut Bench,
    many: Vec<String>,
    one: Vec<String>,
    body: &Bytes,
) -> Result<(crate::bench::statistics::Spread, String)> {
    let count = bench.many;
    let mut ours = Served::start(&mut bench.space, &Shape::default())?;
    let mut base = Served::start(&mut bench.space, &Shape::default())?;
    ours.connect(count, many)?;
    base.connect(count, one)?;
    ours.print_threads("connected")?;
    let mut sizes = (0.0, 0.0);
    let (ratio, a, b) = paired(
        bench.rounds,
        || {
            let measured = ours.updates(1, KEY, body, count)?;
            sizes.0 = measured.bytes / measured.frames;
            Ok(measured.cpu_per_frame())
        },
        || {
            let measured = base.updates(1, KEY, body, count)?;
            sizes.1 = measured.bytes / measured.frames;
            Ok(measured.cpu_per_frame())
        },
    )?;
    if bench.threads {
        ours.print_threads("distinct")?;
    }
    let note = format!(
        "{} a send ({:.0} B), one: {} ({:.0} B)",
        us(a.median),
        sizes.0,
        us(b.median),
        sizes.1
    );
    Ok((ratio, note))
}

/// A field list against none, with frames of the same size: the links of those without are longer.
pub(super) fn one_field_list(bench: &mut Bench) -> Result<Vec<Row>> {
    let count = bench.many;
    let longer = format!("https://vms.example.com/{}", "x".repeat(60));
    let mut with = Served::start(&mut bench.space, &Shape::default())?;
    let shape = Shape { self_base_url: longer, ..Shape::default() };
    let mut without = Served::start(&mut bench.space, &shape)?;
    with.connect(count, vec![format!("{}?fields=%7B%22comments%22:%22*%22%7D", path("5"))])?;
    without.connect(count, vec![path("5")])?;
    let size = |side: &mut Served, body: &Bytes| -> Result<usize> {
        let measured = side.updates(1, KEY, body, count)?;
        Ok(bytes_of(measured.bytes / measured.frames))
    };
    let shortest = size(&mut with, &body(700, 0))?;
    let wanted = size(&mut without, &body(700, 0))?;
    let body = body(700, wanted.saturating_sub(shortest));
    let reached = size(&mut with, &body)?;
    let (ratio, a, b) = paired(
        bench.rounds,
        || Ok(with.single_updates(2, KEY, &body, count)?.cpu_per_frame()),
        || Ok(without.single_updates(2, KEY, &body, count)?.cpu_per_frame()),
    )?;
    let note =
        format!("{} a send ({reached} B), without: {} ({wanted} B)", us(a.median), us(b.median));
    let what = format!("fan-out to {count} with one field list, against none, same frame size");
    Ok(vec![Row::new("one-field-list", what, Goal::at_most(1.05, 1.02, "x"), ratio, note)])
}
