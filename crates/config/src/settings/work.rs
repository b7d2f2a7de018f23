//! Sections `gateway` and `capture`: the limits and times of the two services.

use std::path::PathBuf;
use std::time::Duration;

use super::seconds;
use crate::reader::Reader;

/// Section `gateway`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Gateway {
    pub shards: u16,
    pub frame_bytes_max: usize,
    pub message_bytes_max: usize,
    pub queue_bytes_max: usize,
    pub slow_grace: Duration,
    pub not_sent_low_water: u32,
    pub ping_interval: Duration,
    pub pong_timeout: Duration,
    pub drain_window: Duration,
    pub drain_retry: Duration,
    pub inbound_messages_per_minute: u32,
    pub cursor_secret_file: Option<PathBuf>,
    pub window_bytes_max: usize,
    pub window_fill_records: u64,
    pub replay_bytes_per_second: usize,
    pub snapshot_objects_max: usize,
    pub snapshot_bytes_max: usize,
    pub subscriptions_per_connection_max: usize,
    pub alerts: bool,
}

/// Section `capture`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Capture {
    pub change_max_bytes: usize,
    pub bulk_lines_max: u64,
    pub bulk_bytes_max: u64,
    pub in_flight_max: usize,
    pub write_timeout: Duration,
    pub idempotency_ttl: Duration,
    pub idempotency_max: usize,
}

pub(super) fn gateway(r: &Reader) -> Gateway {
    let kib = |n: u64| n << 10;
    let low_water = r.size("gateway.not_sent_low_water", kib(1)..=kib(4096));
    Gateway {
        shards: r.number("gateway.shards", 0..=64),
        frame_bytes_max: r.size("gateway.frame_bytes_max", 1024..=kib(16 * 1024)),
        message_bytes_max: r.size("gateway.message_bytes_max", 1024..=kib(16 * 1024)),
        queue_bytes_max: r.size("gateway.queue_bytes_max", kib(4)..=kib(64 * 1024)),
        slow_grace: r.duration("gateway.slow_grace", seconds(0)..=seconds(300)),
        not_sent_low_water: u32::try_from(low_water).unwrap_or(u32::MAX),
        ping_interval: r.duration("gateway.ping_interval", seconds(1)..=seconds(600)),
        pong_timeout: r.duration("gateway.pong_timeout", seconds(1)..=seconds(300)),
        drain_window: r.duration("gateway.drain_window", seconds(0)..=seconds(3600)),
        drain_retry: r.duration("gateway.drain_retry", seconds(0)..=seconds(300)),
        inbound_messages_per_minute: r.number("gateway.inbound_messages_per_minute", 1..=1_000_000),
        cursor_secret_file: r.file("gateway.cursor_secret_file"),
        window_bytes_max: r.size("gateway.window_bytes_max", kib(64)..=kib(64 << 20)),
        window_fill_records: r.number("gateway.window_fill_records", 0..=100_000_000),
        replay_bytes_per_second: r.size("gateway.replay_bytes_per_second", kib(64)..=kib(64 << 20)),
        snapshot_objects_max: r.number("gateway.snapshot_objects_max", 1..=10_000_000),
        snapshot_bytes_max: r.size("gateway.snapshot_bytes_max", kib(64)..=kib(4 << 20)),
        subscriptions_per_connection_max: r
            .number("gateway.subscriptions_per_connection_max", 1..=10_000),
        alerts: r.truth("gateway.alerts"),
    }
}

pub(super) fn capture(r: &Reader) -> Capture {
    let size = |key: &str, max: u64| r.size(key, 1024..=max);
    Capture {
        change_max_bytes: size("capture.change_max_bytes", 64 << 20),
        bulk_lines_max: r.number("capture.bulk_lines_max", 1..=10_000_000),
        bulk_bytes_max: size("capture.bulk_bytes_max", 1 << 32) as u64,
        in_flight_max: r.number("capture.in_flight_max", 1..=1_000_000),
        write_timeout: r
            .duration("capture.write_timeout", Duration::from_millis(100)..=seconds(300)),
        idempotency_ttl: r.duration("capture.idempotency_ttl", seconds(60)..=seconds(7 * 86_400)),
        idempotency_max: r.number("capture.idempotency_max", 1..=100_000_000),
    }
}
