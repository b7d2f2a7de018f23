//! What operators see of a running service: log lines ([`log`]) and metrics ([`metrics`]).
//!
//! Invariants: a log line is one line, of bounded length, without control characters and without a token;
//! every metric stands in one static table, from which the reference page is generated, and each of its
//! labels takes its values from a closed set.

pub mod log;
pub mod metrics;

pub use log::{LogError, LogFormat, init};
pub use metrics::{
    AlertsMetrics, CaptureMetrics, CommonMetrics, GatewayMetrics, METRICS_CONTENT_TYPE,
    MetricsError, Registry,
};
