//! Every socket has its own key, and changes come in random order.

use anyhow::Result;
use rand::seq::SliceRandom as _;

use super::fan_out::bytes_of;
use super::us;
use crate::bench::gateway::Shape;
use crate::bench::protocol::Ask;
use crate::bench::publish::{Publisher, small_body};
use crate::bench::report::{Goal, Row};
use crate::bench::side::{Floor, Served, path};
use crate::bench::{Bench, paired};

pub(super) fn measure(bench: &mut Bench) -> Result<Vec<Row>> {
    let count = bench.many;
    let shape = Shape::default();
    let mut ours = Served::start(&mut bench.space, &shape)?;
    let mut floor = Floor::start(bench.cores)?;
    let topic = bench.space.topic(1)?;
    let mut floor_publisher = Publisher::start(&bench.space, &topic)?;
    floor.floor.ask(&Ask::Subscribe {
        brokers: bench.space.broker.bootstrap().to_owned(),
        topic,
        partitions: 1,
        fetch_wait_ms: u64::try_from(shape.fetch_wait.as_millis()).unwrap_or(1),
    })?;
    ours.connect(count, (1..=count).map(|key| path(&key.to_string())).collect())?;
    floor.connect(count)?;
    let body = small_body();
    let warm = ours.updates(1, 77 % count as u64, &body, 1)?;
    let bytes = bytes_of(warm.bytes);
    ours.print_threads("connected")?;
    let shuffled = || {
        let mut keys: Vec<u64> = (1..=count as u64).collect();
        keys.shuffle(&mut rand::rng());
        keys
    };
    let (ratio, a, b) = paired(
        bench.rounds,
        || {
            let keys = shuffled();
            let record = |key| ours.publisher.record("Voyage", key, &body);
            let records = keys.into_iter().map(record).collect();
            Ok(ours.fan_out(records, count as u64)?.cpu_per_frame())
        },
        || {
            let keys = shuffled();
            let record = |key| floor_publisher.record("Voyage", key, &body);
            let records = keys.into_iter().map(record).collect();
            let ask = Ask::Consume { records: count as u64, bytes: Some(bytes) };
            let measured =
                floor.measure(&ask, count as u64, || floor_publisher.publish(records))?;
            Ok(measured.cpu_per_frame())
        },
    )?;
    if bench.threads {
        ours.print_threads("own-keys")?;
    }
    let what = format!(
        "{count} sockets, each its own key: CPU per delivery, against bare poll + raw send"
    );
    let note = format!("{} a delivery, raw {}", us(a.median), us(b.median));
    Ok(vec![Row::new("own-keys", what, Goal::at_most(1.5, 1.25, "x"), ratio, note)])
}
