//! Named sessions: what they hold beside their sockets.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::memory::{single, warmed};
use crate::bench::Bench;
use crate::bench::gateway::Shape;
use crate::bench::protocol::Ask;
use crate::bench::publish::small_body;
use crate::bench::report::{Goal, Row};
use crate::bench::side::path;

/// Until all claims are made.
const SETTLE: Duration = Duration::from_secs(2);

pub(super) fn memory(bench: &mut Bench) -> Result<Vec<Row>> {
    let count = bench.many;
    let (mut plain, plain_base) = warmed(bench, &Shape::default())?;
    plain.connect(count, vec![path("5")])?;
    let (mut named, named_base) = warmed(bench, &Shape { store: true, ..Shape::default() })?;
    let paths = (0..count).map(|i| format!("{}?session=s{i}", path("5"))).collect();
    let mut wish = named.wish(count, paths);
    wish.sessions = true;
    named.load.ask(&Ask::Connect(wish))?;
    sleep(SETTLE);
    // Each has something to prove.
    named.updates(1, 5, &small_body(), count)?;
    plain.updates(1, 5, &small_body(), count)?;
    sleep(SETTLE);
    let each = |bytes: u64, base: f64| (bytes as f64 - base) / count as f64 / 1024.0;
    let named = each(named.gateway.child.resident_bytes()?, named_base);
    let plain = each(plain.gateway.child.resident_bytes()?, plain_base);
    let what = format!(
        "resident memory per connection with a named session, {count} of one key, one event sent"
    );
    let note = format!(
        "{plain:.2} KiB without a session; what a store keeps of a session lies in this process here"
    );
    Ok(vec![Row::new("session-memory", what, Goal::at_most(6.0, 4.0, "KiB"), single(named), note)])
}
