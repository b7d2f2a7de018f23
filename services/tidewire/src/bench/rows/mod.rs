//! The rows of the table, in groups that share what they set up.

mod against;
mod fan_out;
mod handshake;
mod ingest;
mod latency;
mod memory;
mod neighbours;
mod own_keys;
mod resume;
mod scripts;
mod sessions;
mod stalled;
mod streams;
mod views;

use anyhow::Result;

use super::Bench;
use super::report::Row;

/// Measures the rows of one group.
type Measure = fn(&mut Bench) -> Result<Vec<Row>>;

/// All groups by name, in the order of the table.
pub(super) fn groups() -> Vec<(&'static str, Measure)> {
    vec![
        ("fan-out", fan_out::measure),
        ("own-keys", own_keys::measure),
        ("definitions", views::definitions),
        ("field-lists", views::field_lists),
        ("one-field-list", views::one_field_list),
        ("memory", memory::idle),
        ("churn", memory::churn),
        ("handshake", handshake::measure),
        ("ingest", ingest::measure),
        ("latency", latency::idle),
        ("latency-broadcast", latency::broadcast),
        ("stalled", stalled::throughput),
        ("stalled-memory", stalled::memory),
        ("tls", streams::tls),
        ("sse", streams::event_streams),
        ("sessions", sessions::memory),
        ("resume", resume::cost),
        ("reader-memory", resume::memory),
        ("storm", resume::storm),
        ("scripts", scripts::engine),
        ("scripts-service", scripts::service),
        ("scripts-neighbours", neighbours::measure),
        ("against", against::measure),
        ("not-yet", not_yet),
    ]
}

fn not_yet(_: &mut Bench) -> Result<Vec<Row>> {
    let why = "not yet: sockets take no filters in this version";
    Ok(vec![Row::without("filter", "filter evaluation per distinct filter per event", why)])
}

/// Nanoseconds as microseconds, for people.
fn us(ns: f64) -> String {
    format!("{:.2} us", ns / 1e3)
}
