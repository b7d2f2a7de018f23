//! Reading events that nobody here wants.

use anyhow::Result;
use tidewire_log::NewRecord;

use super::us;
use crate::bench::gateway::Shape;
use crate::bench::protocol::Ask;
use crate::bench::publish::{Publisher, body};
use crate::bench::report::{Goal, Row};
use crate::bench::side::{Floor, Served, path};
use crate::bench::{Bench, paired};

/// The one object that a socket watches; an event of it tells that all before it were read.
const WATCHED: u64 = 5;
/// Records at a time: the embedded broker keeps 5 MiB.
const RECORDS: u64 = 5_000;
/// Such parts in a round.
const PARTS: u64 = 4;

pub(super) fn measure(bench: &mut Bench) -> Result<Vec<Row>> {
    let records = if bench.quick { 200 } else { RECORDS };
    let shape = Shape::default();
    let mut ours = Served::start(&mut bench.space, &shape)?;
    ours.connect(1, vec![path(&WATCHED.to_string())])?;
    ours.print_threads("connected")?;
    let topic = bench.space.topic(1)?;
    let mut floor_publisher = Publisher::start(&bench.space, &topic)?;
    let mut floor = Floor::start(bench.cores)?;
    floor.floor.ask(&Ask::Subscribe {
        brokers: bench.space.broker.bootstrap().to_owned(),
        topic,
        partitions: 1,
        fetch_wait_ms: u64::try_from(shape.fetch_wait.as_millis()).unwrap_or(1),
    })?;
    let body = body(500, 1);
    let size = body.len();
    let part = |publisher: &mut Publisher| -> Vec<NewRecord> {
        let unwanted = 1_000..1_000 + records;
        unwanted.chain([WATCHED]).map(|key| publisher.record("Voyage", key, &body)).collect()
    };
    let (ratio, a, b) = paired(
        bench.rounds,
        || {
            let mut cpu_ns = 0.0;
            for _ in 0..PARTS {
                let records = part(&mut ours.publisher);
                cpu_ns += ours.fan_out(records, 1)?.cpu_ns;
            }
            Ok(cpu_ns / (records * PARTS) as f64)
        },
        || {
            let mut cpu_ns = 0.0;
            for _ in 0..PARTS {
                let part = part(&mut floor_publisher);
                let ask = Ask::Consume { records: records + 1, bytes: None };
                let measured = floor.measure(&ask, 0, || floor_publisher.publish(part))?;
                cpu_ns += measured.cpu_ns;
            }
            Ok(cpu_ns / (records * PARTS) as f64)
        },
    )?;
    if bench.threads {
        ours.print_threads("ingest")?;
    }
    let what = format!("ingest of {size} B events that nobody here wants, against a bare poll");
    let note = format!("{} an event, bare poll {}", us(a.median), us(b.median));
    Ok(vec![Row::new("ingest", what, Goal::at_most(2.0, 1.5, "x"), ratio, note)])
}
