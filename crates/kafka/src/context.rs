//! What librdkafka tells beside records: log lines and errors of the whole client.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use serde::Deserialize;

/// Most bytes of an error's text that are kept.
const TEXT_BYTES_MAX: usize = 512;

/// Notes what a client said last. Shared by the client's callbacks and its owner.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    served: AtomicU64,
    last_error: Mutex<Option<String>>,
    lag: Mutex<Vec<(i32, i64)>>,
}

/// What is read of librdkafka's statistics (STATISTICS.md there): the records between the position and
/// the last stable offset, -1 where it is not known.
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    topics: BTreeMap<String, TopicStatistics>,
}

#[derive(Deserialize)]
struct TopicStatistics {
    #[serde(default)]
    partitions: BTreeMap<i32, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    #[serde(default)]
    consumer_lag: i64,
}

impl Notes {
    /// How many log lines and errors were served. A poll that served one returns as if the queue were
    /// empty, so a drain looks again when this has moved.
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.lock().clone()
    }

    pub(crate) fn set_error(&self, text: String) {
        let mut text = text;
        let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|i| text.is_char_boundary(*i));
        text.truncate(end.unwrap_or(0));
        *self.lock() = Some(text);
    }

    pub(crate) fn clear_error(&self) {
        *self.lock() = None;
    }

    /// The lag of each partition, as the last statistics told it.
    pub(crate) fn lag(&self) -> Vec<(i32, i64)> {
        self.lag.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn statistics(&self, json: &[u8]) {
        self.served.fetch_add(1, Ordering::Relaxed);
        let Ok(statistics) = serde_json::from_slice::<Statistics>(json) else { return };
        let partitions = statistics.topics.into_values().flat_map(|topic| topic.partitions);
        let lag = partitions.map(|(partition, p)| (partition, p.consumer_lag));
        // -1 is librdkafka's own "unassigned" partition.
        let lag = lag.filter(|(partition, lag)| *partition >= 0 && *lag >= 0).collect();
        *self.lag.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = lag;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        // A panic while a text was assigned leaves a text: nothing is broken.
        self.last_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.served.fetch_add(1, Ordering::Relaxed);
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => tracing::warn!(target: "librdkafka", facility, "{text}"),
            RDKafkaLogLevel::Warning => tracing::info!(target: "librdkafka", facility, "{text}"),
            _ => tracing::debug!(target: "librdkafka", facility, "{text}"),
        }
    }

    pub(crate) fn error(&self, error: &KafkaError, reason: &str) {
        self.served.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(target: "librdkafka", %error, "{reason}");
        self.set_error(if reason.is_empty() { error.to_string() } else { reason.to_owned() });
    }
}

/// The context of clients that have nothing to add.
pub(crate) struct Context(pub(crate) std::sync::Arc<Notes>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.0.log(level, facility, text);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.0.statistics(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition comes this way too.
        if matches!(error, KafkaError::Global(rdkafka::types::RDKafkaErrorCode::PartitionEOF)) {
            self.0.served.fetch_add(1, Ordering::Relaxed);
        } else {
            self.0.error(&error, reason);
        }
    }
}

impl ConsumerContext for Context {}
