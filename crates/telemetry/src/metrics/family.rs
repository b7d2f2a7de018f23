//! The kinds of metrics, each with its cheap handle.

use std::marker::PhantomData;
use std::time::Duration;

use prometheus::{HistogramOpts, Opts};

use super::labels::Label;
use super::registry::{MetricsError, Registry};

/// The upper bounds of every duration histogram, in seconds: from a quarter of the idle latency goal to
/// a minute of an outage.
pub const SECONDS_BUCKETS: [f64; 16] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    15.0, 60.0,
];

/// What kind of series a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

impl Kind {
    /// The word of the text format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One row of the static table of metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricDef {
    /// The subsystem that shows it: `common`, `gateway`, `capture`.
    pub subsystem: &'static str,
    /// The full name; its unit comes last (before `_total`).
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// All values of the one label where it comes from a fixed list; empty otherwise.
    pub label_values: Vec<&'static str>,
    /// One sentence.
    pub help: &'static str,
}

/// A handle type: knows its kind and labels, and registers itself.
pub(super) trait Family: Sized {
    const KIND: Kind;
    const LABELS: &'static [&'static str];

    fn label_values() -> Vec<&'static str> {
        Vec::new()
    }

    fn register(registry: &Registry, name: &str, help: &str) -> Result<Self, MetricsError>;
}

/// A counter without labels.
#[derive(Clone, Debug)]
pub struct Counter(prometheus::IntCounter);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.inc_by(count);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

impl Family for Counter {
    const KIND: Kind = Kind::Counter;
    const LABELS: &'static [&'static str] = &[];

    fn register(registry: &Registry, name: &str, help: &str) -> Result<Self, MetricsError> {
        let counter = prometheus::IntCounter::new(name, help)?;
        registry.add(&counter)?;
        Ok(Self(counter))
    }
}

/// A counter with one label; its series exist, and show 0, from the start.
#[derive(Clone, Debug)]
pub struct CounterBy<L> {
    /// One per value of the label, in the order of `L::ALL`.
    series: Vec<prometheus::IntCounter>,
    label: PhantomData<L>,
}

impl<L: Label> CounterBy<L> {
    /// Adds one.
    pub fn inc(&self, label: L) {
        self.add(label, 1);
    }

    /// Adds `count`.
    pub fn add(&self, label: L, count: u64) {
        if let Some(counter) = self.series.get(label.index()) {
            counter.inc_by(count);
        }
    }

    /// The value now.
    #[must_use]
    pub fn get(&self, label: L) -> u64 {
        self.series.get(label.index()).map_or(0, prometheus::IntCounter::get)
    }
}

impl<L: Label> Family for CounterBy<L> {
    const KIND: Kind = Kind::Counter;
    const LABELS: &'static [&'static str] = &[L::NAME];

    fn label_values() -> Vec<&'static str> {
        L::ALL.iter().map(|label| label.as_str()).collect()
    }

    fn register(registry: &Registry, name: &str, help: &str) -> Result<Self, MetricsError> {
        let family = prometheus::IntCounterVec::new(Opts::new(name, help), Self::LABELS)?;
        registry.add(&family)?;
        let series =
            L::ALL.iter().map(|label| family.with_label_values(&[label.as_str()])).collect();
        Ok(Self { series, label: PhantomData })
    }
}

/// A gauge without labels.
#[derive(Clone, Debug)]
pub struct Gauge(prometheus::IntGauge);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: i64) {
        self.0.set(value);
    }

    /// Adds `delta`, which may be negative.
    pub fn add(&self, delta: i64) {
        self.0.add(delta);
    }

    /// Adds one.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// Takes one away.
    pub fn dec(&self) {
        self.0.dec();
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.get()
    }
}

impl Family for Gauge {
    const KIND: Kind = Kind::Gauge;
    const LABELS: &'static [&'static str] = &[];

    fn register(registry: &Registry, name: &str, help: &str) -> Result<Self, MetricsError> {
        let gauge = prometheus::IntGauge::new(name, help)?;
        registry.add(&gauge)?;
        Ok(Self(gauge))
    }
}

/// A gauge per partition: as many series as the topic has partitions, each there once it was set.
#[derive(Clone, Debug)]
pub struct GaugeByPartition(prometheus::IntGaugeVec);

impl GaugeByPartition {
    /// Sets the value of one partition.
    pub fn set(&self, partition: i32, value: i64) {
        self.0.with_label_values(&[&partition.to_string()]).set(value);
    }

    /// Forgets all partitions: the topic was created anew, perhaps with fewer of them.
    pub fn clear(&self) {
        self.0.reset();
    }
}

impl Family for GaugeByPartition {
    const KIND: Kind = Kind::Gauge;
    const LABELS: &'static [&'static str] = &["partition"];

    fn register(registry: &Registry, name: &str, help: &str) -> Result<Self, MetricsError> {
        let family = prometheus::IntGaugeVec::new(Opts::new(name, help), Self::LABELS)?;
        registry.add(&family)?;
        Ok(Self(family))
    }
}

/// A histogram of durations, in seconds, over [`SECONDS_BUCKETS`].
#[derive(Clone, Debug)]
pub struct Seconds(prometheus::Histogram);

impl Seconds {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        self.0.observe(duration.as_secs_f64());
    }

    /// How many have been counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.get_sample_count()
    }
}

impl Family for Seconds {
    const KIND: Kind = Kind::Histogram;
    const LABELS: &'static [&'static str] = &[];

    fn register(registry: &Registry, name: &str, help: &str) -> Result<Self, MetricsError> {
        let options = HistogramOpts::new(name, help).buckets(SECONDS_BUCKETS.to_vec());
        let histogram = prometheus::Histogram::with_opts(options)?;
        registry.add(&histogram)?;
        Ok(Self(histogram))
    }
}

/// The labels of `tidewire_build_info`.
pub const INFO_LABELS: [&str; 2] = ["version", "revision"];

/// A gauge that is always 1 and whose labels are the message.
#[derive(Clone, Debug)]
pub struct Info(prometheus::IntGaugeVec);

impl Info {
    /// Says which build this is: the version and the source revision (`unknown` where it isn't).
    pub fn set(&self, version: &str, revision: &str) {
        self.0.reset();
        self.0.with_label_values(&[version, revision]).set(1);
    }
}

impl Family for Info {
    const KIND: Kind = Kind::Gauge;
    const LABELS: &'static [&'static str] = &INFO_LABELS;

    fn register(registry: &Registry, name: &str, help: &str) -> Result<Self, MetricsError> {
        let family = prometheus::IntGaugeVec::new(Opts::new(name, help), Self::LABELS)?;
        registry.add(&family)?;
        Ok(Self(family))
    }
}
