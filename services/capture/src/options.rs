//! The section `capture` of the configuration, as the library needs it.

use std::time::Duration;

/// What bounds the interface for producers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureOptions {
    /// Most bytes of one change (`capture.change_max_bytes`).
    pub change_bytes_max: usize,
    /// Most lines of a bulk (`capture.bulk_lines_max`).
    pub bulk_lines_max: u64,
    /// Most bytes of a bulk (`capture.bulk_bytes_max`).
    pub bulk_bytes_max: u64,
    /// Most changes sent to Kafka and not yet acknowledged (`capture.in_flight_max`).
    pub in_flight_max: usize,
    /// How long the answer to an idempotency key is remembered (`capture.idempotency_ttl`).
    pub idempotency_ttl: Duration,
    /// How many answers are remembered for a tenant (`capture.idempotency_max`), about 300 bytes each.
    pub idempotency_max: usize,
}

impl From<&tidewire_config::Capture> for CaptureOptions {
    fn from(section: &tidewire_config::Capture) -> Self {
        Self {
            change_bytes_max: section.change_max_bytes,
            bulk_lines_max: section.bulk_lines_max,
            bulk_bytes_max: section.bulk_bytes_max,
            in_flight_max: section.in_flight_max,
            idempotency_ttl: section.idempotency_ttl,
            idempotency_max: section.idempotency_max,
        }
    }
}

impl Default for CaptureOptions {
    /// The defaults of the configuration.
    fn default() -> Self {
        Self {
            change_bytes_max: 512 * 1024,
            bulk_lines_max: 10_000,
            bulk_bytes_max: 16 * 1024 * 1024,
            in_flight_max: 10_000,
            idempotency_ttl: Duration::from_secs(24 * 60 * 60),
            idempotency_max: 100_000,
        }
    }
}
