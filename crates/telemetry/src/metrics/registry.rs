//! The registry: what `/metrics` shows.

use prometheus::core::Collector;
use thiserror::Error;

/// The content type of [`Registry::encode`].
pub const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of a process. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Registry(prometheus::Registry);

/// Why a metric could not be registered or shown: an error in our own declarations, such as a name that is
/// registered twice.
#[derive(Debug, Error)]
#[error("metrics are not declared properly")]
pub struct MetricsError(#[from] prometheus::Error);

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what Prometheus' own clients show of a process (`process_cpu_seconds_total`,
    /// `process_resident_memory_bytes`, `process_open_fds`, ...); Linux only, elsewhere nothing.
    ///
    /// # Errors
    /// It was added already.
    pub fn add_process(&self) -> Result<(), MetricsError> {
        #[cfg(target_os = "linux")]
        self.0.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(())
    }

    pub(super) fn add<C: Collector + Clone + 'static>(
        &self,
        metric: &C,
    ) -> Result<(), MetricsError> {
        Ok(self.0.register(Box::new(metric.clone()))?)
    }

    /// Everything registered, in the Prometheus text format ([`METRICS_CONTENT_TYPE`]).
    ///
    /// # Errors
    /// A metric that the format cannot carry.
    pub fn encode(&self) -> Result<String, MetricsError> {
        Ok(prometheus::TextEncoder::new().encode_to_string(&self.0.gather())?)
    }
}
