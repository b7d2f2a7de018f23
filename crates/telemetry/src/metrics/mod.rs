//! Metrics in the Prometheus text format.
//!
//! Each subsystem has a struct of handles, declared in `table.rs` together with names, types and help: a
//! handle that exists is registered, documented and shown from the start (a labelled counter shows 0 for
//! every value of its label). Incrementing is one atomic addition.

mod family;
mod labels;
mod reference;
mod registry;
mod table;

pub use family::{
    Counter, CounterBy, Gauge, GaugeByPartition, INFO_LABELS, Info, Kind, MetricDef,
    SECONDS_BUCKETS, Seconds,
};
pub use labels::{
    BatchOutcome, CaptureOutcome, CloseCode, ControlOutcome, DisableReason, DropReason,
    FieldListOutcome, Framing, GapReason, Label, PoisonReason, RefusalReason, ScriptFault,
    SessionOutcome, SessionWriteOutcome, StoreOperation, TokenOutcome, WorkerEnd,
};
pub use reference::reference;
pub use registry::{METRICS_CONTENT_TYPE, MetricsError, Registry};
pub use table::{AlertsMetrics, CaptureMetrics, CommonMetrics, GatewayMetrics, all};

#[cfg(test)]
mod tests;
