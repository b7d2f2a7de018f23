//! Copies of records that cannot be used, in a compacted topic.
//!
//! Every replica that meets a poison record writes it, under the key `topic/partition/offset`, so that
//! compaction folds the copies into one. Nobody waits for it: the queue is bounded, and what could not be
//! written is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError as RdError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use tidewire_log::LogRecord;

use crate::context::Notes;
use crate::{KafkaError, KafkaOptions};

/// Most bytes of a value that are kept; the header `tw-truncated` then tells how many it had.
pub const QUARANTINE_VALUE_BYTES_MAX: usize = 512 * 1024;
/// Most bytes of a key or `tw` header that are kept.
const PART_BYTES_MAX: usize = 32 * 1024;
/// Most copies that wait to be written.
const QUEUE_RECORDS_MAX: &str = "1000";
/// Most KiB of copies that wait to be written.
const QUEUE_KBYTES_MAX: &str = "8192";

/// A record that cannot be used.
#[derive(Clone, Copy, Debug)]
pub struct PoisonRecord<'a> {
    /// The topic it stands in.
    pub topic: &'a str,
    /// The record.
    pub record: LogRecord<'a>,
    /// Why it cannot be used.
    pub reason: &'a str,
}

/// Writes to the quarantine topic.
pub struct Quarantine {
    client: ThreadedProducer<QuarantineContext>,
    topic: String,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    notes: Notes,
    written: AtomicU64,
    lost: AtomicU64,
}

impl Quarantine {
    /// Makes one; it connects by itself.
    ///
    /// # Errors
    /// [`KafkaError::Property`] or [`KafkaError::Client`].
    pub fn start(options: &KafkaOptions, topic: &str) -> Result<Self, KafkaError> {
        let counts = Arc::new(Counts::default());
        let mut config = options.writer_config()?;
        config
            .set("queue.buffering.max.messages", QUEUE_RECORDS_MAX)
            .set("queue.buffering.max.kbytes", QUEUE_KBYTES_MAX);
        let context = QuarantineContext(Arc::clone(&counts));
        let client = ThreadedProducer::from_config_and_context(&config, context)
            .map_err(KafkaError::Client)?;
        Ok(Self { client, topic: topic.to_owned(), counts })
    }

    /// Queues a copy. Never waits; a copy that finds the queue full is lost and counted.
    pub fn put(&self, poison: &PoisonRecord<'_>) {
        let record = &poison.record;
        let key = format!("{}/{}/{}", poison.topic, record.partition, record.offset);
        let payload = record.payload.unwrap_or_default();
        let value = head(payload, QUARANTINE_VALUE_BYTES_MAX);
        let mut headers = OwnedHeaders::new_with_capacity(4)
            .insert(Header { key: "tw-reason", value: Some(poison.reason) });
        if let Some(key) = record.key {
            let value = Some(head(key, PART_BYTES_MAX));
            headers = headers.insert(Header { key: "tw-key", value });
        }
        if let Some(header) = record.header {
            let value = Some(head(header, PART_BYTES_MAX));
            headers = headers.insert(Header { key: "tw-header", value });
        }
        if value.len() < payload.len() {
            let bytes = payload.len().to_string();
            headers = headers.insert(Header { key: "tw-truncated", value: Some(&bytes) });
        }
        // Always a value, even an empty one: without it compaction would drop the copy.
        let copy = BaseRecord::to(&self.topic).key(&key).payload(value).headers(headers);
        if let Err((error, _)) = self.client.send(copy) {
            self.counts.lose(&error);
        }
    }

    /// Copies that stand in the topic.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.counts.written.load(Ordering::Relaxed)
    }

    /// Copies that could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }

    /// Why the last one could not be written.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.counts.notes.last_error()
    }
}

fn head(bytes: &[u8], max: usize) -> &[u8] {
    bytes.get(..max).unwrap_or(bytes)
}

impl Counts {
    fn lose(&self, error: &RdError) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.notes.set_error(error.to_string());
    }
}

struct QuarantineContext(Arc<Counts>);

impl ClientContext for QuarantineContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.0.notes.log(level, facility, text);
    }

    fn error(&self, error: RdError, reason: &str) {
        self.0.notes.error(&error, reason);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}
}

impl ProducerContext for QuarantineContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.0.written.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => self.0.lose(error),
        }
    }
}
