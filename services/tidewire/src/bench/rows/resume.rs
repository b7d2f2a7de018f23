//! Sockets that come back: what a replay costs, what one that catches up holds, and how often the log is
//! read for many at once.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use tidewire_log::NewRecord;

use super::memory::single;
use crate::bench::clients::{Clients, Resumed};
use crate::bench::gateway::Shape;
use crate::bench::protocol::Ask;
use crate::bench::publish::{body as body_of, small_body};
use crate::bench::report::{Goal, Row};
use crate::bench::side::{Served, path};
use crate::bench::statistics::Spread;
use crate::bench::{Bench, paired};

/// The object that all clients watch.
const KEY: u64 = 5;
/// Nobody but one socket watches this one; an event of it tells that all before it were read.
const LAST: u64 = 6;
/// Events that a client has missed: the embedded broker keeps 5 MiB of a partition.
const EVENTS: usize = 5_000;
/// Live, so many come at a time: what waits for one socket stays below the bound of a queue.
const PART: usize = 100;
/// Events that each of many clients has missed, in all partitions together.
const STORM_EVENTS: usize = 120;
const STORM_PARTITIONS: i32 = 12;
/// Events that a client has missed which does not read: more than sockets' buffers hold.
const STALLED_EVENTS: usize = 2_000;
/// How long a gateway may take to read what was written.
const READ: Duration = Duration::from_millis(200);
/// Shards tell their counts once a second.
const COUNTED: Duration = Duration::from_millis(2_500);
/// How long stalled clients are fed before memory is looked at.
const FED: Duration = Duration::from_secs(2);
/// The smallest window: a segment of each partition stays, beside the one that grows.
const SMALL_WINDOW: u64 = 64 * 1024;
/// Records that nobody watches, for each partition, and their size: more than a small window holds.
const PADDING_RECORDS: usize = 64;
const PADDING_BYTES: usize = 4096;
/// Their keys, from here on.
const PADDING_KEYS: u64 = 1_000_000;

const READERS: &str = "tidewire_readers";
const WINDOW_PASSES: &str = "tidewire_window_passes_total";
const KAFKA_READS: &str = "tidewire_history_reads_total";

/// A gateway, its clients, and a cursor from before what they have missed.
struct Missed {
    side: Served,
    clients: Clients,
    cursor: String,
    keys: Vec<u64>,
}

impl Missed {
    /// The keys take turns in the events.
    fn start(
        bench: &mut Bench,
        shape: &Shape,
        partitions: i32,
        (keys, events): (&[u64], usize),
    ) -> Result<Self> {
        let topic = bench.space.topic(partitions)?;
        let mut side = Served::on(&mut bench.space, &topic, shape)?;
        side.connect(1, vec![path(&LAST.to_string())])?;
        let mut clients = Clients::start()?;
        let cursor = clients.cursor(&side, keys)?;
        let body = small_body();
        let missed = keys.iter().cycle().take(events);
        let records: Vec<NewRecord> =
            missed.map(|key| side.publisher.record("Voyage", *key, &body)).collect();
        side.publisher.publish(records)?;
        if shape.window_bytes_max.is_some() {
            let count = PADDING_RECORDS * usize::try_from(partitions)?;
            let (keys, body) =
                (PADDING_KEYS..PADDING_KEYS + count as u64, body_of(PADDING_BYTES, 1));
            let padding = keys.map(|key| side.publisher.record("Voyage", key, &body)).collect();
            side.publisher.publish(padding)?;
        }
        side.updates(1, LAST, &body, 1)?;
        // That was one partition; the others are as quick.
        sleep(READ);
        Ok(Self { side, clients, cursor, keys: keys.to_vec() })
    }

    fn resume(&mut self, count: usize, events: usize) -> Result<Resumed> {
        self.clients.connect(&self.side, count)?;
        let owed = (self.cursor.as_str(), count, events);
        let resumed = self.clients.resume(&self.side, &self.keys, owed)?;
        self.clients.close()?;
        Ok(resumed)
    }
}

pub(super) fn cost(bench: &mut Bench) -> Result<Vec<Row>> {
    let events = if bench.quick { 100 } else { EVENTS };
    let mut rows = Vec::new();
    let from_kafka = Shape { window_bytes_max: Some(SMALL_WINDOW), ..Shape::default() };
    for (name, whence, shape, goal) in [
        ("resume-window", "the window", Shape::default(), Goal::at_most(1.25, 1.0, "x")),
        ("resume-kafka", "Kafka", from_kafka, Goal::at_most(2.0, 1.5, "x")),
    ] {
        let mut missed = Missed::start(bench, &shape, 1, (&[KEY], events))?;
        let mut live = Served::start(&mut bench.space, &Shape::default())?;
        live.connect(1, vec![path(&KEY.to_string())])?;
        let body = small_body();
        missed.side.print_threads("started")?;
        let mut times = Vec::new();
        let (ratio, a, b) = paired(
            bench.rounds,
            || {
                let resumed = missed.resume(1, events)?;
                times.push(resumed.took.as_secs_f64() * 1e3);
                Ok(resumed.cpu_ns / events as f64)
            },
            || {
                let mut cpu_ns = 0.0;
                for _ in 0..events / PART {
                    cpu_ns += live.updates(PART, KEY, &body, 1)?.cpu_ns;
                }
                Ok(cpu_ns / events as f64)
            },
        )?;
        if bench.threads {
            missed.side.print_threads(name)?;
        }
        let note = format!(
            "{:.2} ms per 1,000 events, live {:.2} ms; caught up with {events} events in {:.0} ms",
            a.median / 1e3,
            b.median / 1e3,
            Spread::of(times).median
        );
        let what = format!("CPU of a replay from {whence}, against the same events live");
        rows.push(Row::new(name, what, goal, ratio, note));
    }
    Ok(rows)
}

pub(super) fn memory(bench: &mut Bench) -> Result<Vec<Row>> {
    let count = bench.few;
    let mut missed = Missed::start(bench, &Shape::default(), 1, (&[KEY], STALLED_EVENTS))?;
    missed.resume(1, STALLED_EVENTS)?;
    missed.clients.connect(&missed.side, count)?;
    missed.clients.load.ask(&Ask::Stall { every: 1 })?;
    sleep(FED);
    let base = missed.side.gateway.child.resident_bytes()? as f64;
    missed.clients.subscribe(&missed.keys, &missed.cursor)?;
    sleep(FED);
    let readers = missed.side.gateway.metrics()?.get(READERS)?;
    let each = (missed.side.gateway.child.resident_bytes()? as f64 - base) / count as f64 / 1024.0;
    let what = format!(
        "memory per socket that catches up and does not read, {count} sockets, {STALLED_EVENTS} events \
         owed to each"
    );
    let goal = Goal::at_most(96.0, 32.0, "KiB");
    let note = format!("beyond an idle connection; {readers:.0} were still catching up then");
    Ok(vec![Row::new("reader-memory", what, goal, single(each), note)])
}

/// One gateway for each: how much more often is the log read for a hundred times as many?
pub(super) fn storm(bench: &mut Bench) -> Result<Vec<Row>> {
    let from_kafka = Shape { window_bytes_max: Some(SMALL_WINDOW), ..Shape::default() };
    let keys: Vec<u64> = (1_000..1_060).collect();
    let counts = if bench.quick { [5, 10, 20] } else { [100, 1_000, 10_000] };
    let mut rows = Vec::new();
    for (name, whence, shape) in
        [("storm-window", "the window", Shape::default()), ("storm-kafka", "Kafka", from_kafka)]
    {
        let (mut figures, mut reads) = (Vec::new(), Vec::new());
        for count in counts {
            let mut missed = Missed::start(bench, &shape, STORM_PARTITIONS, (&keys, STORM_EVENTS))?;
            let side = &missed.side;
            let before = side.gateway.metrics()?;
            let resumed = missed.resume(count, STORM_EVENTS)?;
            sleep(COUNTED);
            let after = missed.side.gateway.metrics()?;
            let more = |name| -> Result<f64> { Ok(after.get(name)? - before.get(name)?) };
            let (passes, kafka) = (more(WINDOW_PASSES)?, more(KAFKA_READS)?);
            reads.push(if name == "storm-kafka" { kafka } else { passes });
            figures.push(format!(
                "{count}: {passes:.0} passes over the window, {kafka:.0} reads of Kafka, {} ms, {:.0} us of \
                 CPU each",
                resumed.took.as_millis(),
                resumed.cpu_ns / 1e3 / count as f64
            ));
        }
        let [few, .., many] = reads.as_slice() else { continue };
        let what = format!(
            "how often the log is read for {} that resume at once from {whence}, against {}; \
             {STORM_EVENTS} events each, {STORM_PARTITIONS} partitions",
            counts[2], counts[0]
        );
        let goal = Goal::at_most(10.0, 3.0, "x");
        rows.push(Row::new(name, what, goal, single(many / few.max(1.0)), figures.join("; ")));
    }
    Ok(rows)
}
