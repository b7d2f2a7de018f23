//! The writer: idempotent, `acks=all`, each record on the partition where a Java client puts it.
//!
//! [`Writer::write`] hands the record to librdkafka before it returns, so the order of calls is the
//! order in the log, per key. The acknowledgement comes from the client's own polling thread.
//!
//! What can be said of a record that failed is decided by librdkafka's message status: never written
//! is [`WriteError::Unavailable`] (or a refusal), everything else is [`WriteError::Unknown`].

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError as RdError;
use rdkafka::message::{BorrowedMessage, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;
use tidewire_event::record::HEADER_NAME;
use tidewire_event::{FrameId, Offset, Partition};
use tidewire_log::{BoxFuture, LogWriter, NewRecord, WriteError};
use tokio::sync::oneshot;

use crate::context::Notes;
use crate::{KafkaError, KafkaOptions};

type Answer = Result<FrameId, WriteError>;
type Client = ThreadedProducer<WriterContext>;

/// Writes to one topic.
pub struct Writer {
    config: ClientConfig,
    topic: String,
    shared: Arc<Shared>,
    request_timeout: Duration,
    // Replaced when librdkafka declares a client beyond repair.
    client: RwLock<Arc<Client>>,
}

/// What the writer and its clients share.
#[derive(Debug, Default)]
struct Shared {
    notes: Notes,
    queued: AtomicUsize,
}

/// How the writer fares, for metrics and health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterStatus {
    /// Records that wait for their acknowledgement.
    pub queued: usize,
    /// The last error since a record was acknowledged.
    pub last_error: Option<String>,
}

impl Writer {
    /// Makes a writer; it connects by itself, also later when Kafka is away now.
    ///
    /// # Errors
    /// [`KafkaError::Property`] or [`KafkaError::Client`].
    pub fn start(options: &KafkaOptions, topic: &str) -> Result<Self, KafkaError> {
        let config = options.writer_config()?;
        let shared = Arc::new(Shared::default());
        let client = make_client(&config, &shared)?;
        Ok(Self {
            config,
            topic: topic.to_owned(),
            shared,
            request_timeout: options.request_timeout,
            client: RwLock::new(Arc::new(client)),
        })
    }

    /// What is queued and what went wrong last.
    #[must_use]
    pub fn status(&self) -> WriterStatus {
        // librdkafka's own count holds more than records.
        let queued = self.shared.queued.load(Ordering::Relaxed);
        WriterStatus { queued, last_error: self.shared.notes.last_error() }
    }

    /// Asks a broker for the topic: proves that one can be reached. Blocks for up to the request
    /// timeout.
    ///
    /// # Errors
    /// [`KafkaError::Request`].
    pub fn probe(&self) -> Result<(), KafkaError> {
        let what = || format!("asking for topic {}", self.topic);
        let metadata = self
            .client()
            .client()
            .fetch_metadata(Some(&self.topic), self.request_timeout)
            .map_err(|source| KafkaError::Request { what: what(), source })?;
        match metadata.topics().first().and_then(rdkafka::metadata::MetadataTopic::error) {
            None => Ok(()),
            Some(code) => Err(KafkaError::Request {
                what: what(),
                source: RdError::MetadataFetch(code.into()),
            }),
        }
    }

    /// Waits until every record has its answer. Blocks.
    ///
    /// # Errors
    /// [`KafkaError::Request`] if some have none within `timeout`.
    pub fn flush(&self, timeout: Duration) -> Result<(), KafkaError> {
        let flushed = self.client().flush(timeout);
        flushed.map_err(|source| KafkaError::Request { what: "flushing".to_owned(), source })
    }

    fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn enqueue(
        &self,
        client: &Client,
        record: &NewRecord,
    ) -> Result<oneshot::Receiver<Answer>, RdError> {
        let (answer, receiver) = oneshot::channel();
        let mut out: BaseRecord<'_, [u8], [u8], _> =
            BaseRecord::with_opaque_to(&self.topic, Box::new(answer)).key(&record.key);
        if let Some(payload) = &record.payload {
            out = out.payload(payload);
        }
        if let Some(timestamp) = record.timestamp_ms {
            out = out.timestamp(timestamp);
        }
        if let Some(value) = &record.header {
            let header = Header { key: HEADER_NAME, value: Some(value.as_ref()) };
            out = out.headers(OwnedHeaders::new_with_capacity(1).insert(header));
        }
        self.shared.queued.fetch_add(1, Ordering::Relaxed);
        client.send(out).map(|()| receiver).map_err(|(error, _)| {
            self.shared.queued.fetch_sub(1, Ordering::Relaxed);
            error
        })
    }

    /// Puts a new client in the place of `broken`, unless that was done already.
    fn replace(&self, broken: &Arc<Client>) -> Result<Arc<Client>, KafkaError> {
        let mut current = self.client.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, broken) {
            tracing::warn!(topic = self.topic, "kafka producer is beyond repair, making a new one");
            let old = std::mem::replace(
                &mut *current,
                Arc::new(make_client(&self.config, &self.shared)?),
            );
            // Its end waits for its thread; nobody here should.
            let retire = std::thread::Builder::new().name("kafka-retire".to_owned());
            if let Err(error) = retire.spawn(move || drop(old)) {
                tracing::warn!(%error, "kafka producer could not be retired in a thread of its own");
            }
        }
        Ok(Arc::clone(&current))
    }
}

fn make_client(config: &ClientConfig, shared: &Arc<Shared>) -> Result<Client, KafkaError> {
    let context = WriterContext(Arc::clone(shared));
    ThreadedProducer::from_config_and_context(config, context).map_err(KafkaError::Client)
}

impl LogWriter for Writer {
    fn write(&self, record: NewRecord) -> BoxFuture<Answer> {
        let client = self.client();
        let mut sent = self.enqueue(&client, &record);
        if matches!(sent, Err(RdError::MessageProduction(Code::Fatal))) {
            sent = match self.replace(&client) {
                Ok(client) => self.enqueue(&client, &record),
                Err(error) => {
                    tracing::error!(%error, "kafka producer cannot be made");
                    return Box::pin(std::future::ready(Err(WriteError::Unavailable)));
                }
            };
        }
        match sent {
            Ok(receiver) => {
                Box::pin(async move { receiver.await.unwrap_or(Err(WriteError::Unknown)) })
            }
            Err(error) => Box::pin(std::future::ready(Err(classify(&error, true)))),
        }
    }
}

struct WriterContext(Arc<Shared>);

impl ClientContext for WriterContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.0.notes.log(level, facility, text);
    }

    fn error(&self, error: RdError, reason: &str) {
        self.0.notes.error(&error, reason);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}
}

impl ProducerContext for WriterContext {
    type DeliveryOpaque = Box<oneshot::Sender<Answer>>;

    fn delivery(&self, result: &DeliveryResult<'_>, answer: Self::DeliveryOpaque) {
        self.0.queued.fetch_sub(1, Ordering::Relaxed);
        let outcome = match result {
            Ok(message) => {
                self.0.notes.clear_error();
                Ok(frame_id(message))
            }
            Err((error, message)) => {
                self.0.notes.set_error(error.to_string());
                Err(classify(error, tidewire_topic_id::never_written(message)))
            }
        };
        // Whoever asked may have gone; the record stands all the same.
        let _ = answer.send(outcome);
    }
}

fn frame_id(message: &BorrowedMessage<'_>) -> FrameId {
    FrameId { partition: Partition(message.partition()), offset: Offset(message.offset()) }
}

/// What an error means for the caller. `never_written`: librdkafka is sure that the record is not in
/// the log.
pub(crate) fn classify(error: &RdError, never_written: bool) -> WriteError {
    if !never_written {
        return WriteError::Unknown;
    }
    let code = match error {
        RdError::MessageProduction(code) => *code,
        other => return WriteError::Refused(other.to_string()),
    };
    match code {
        Code::QueueFull => WriteError::QueueFull,
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
            WriteError::TooLarge
        }
        Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownPartition
        | Code::InvalidTopic
        | Code::InvalidRecord
        | Code::InvalidMessage
        | Code::InvalidTimestamp
        | Code::InvalidArgument
        | Code::PolicyViolation
        | Code::UnsupportedVersion
        | Code::UnsupportedForMessageFormat => WriteError::Refused(code.to_string()),
        _ => WriteError::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart() {
        let check = |code, never_written, expected: WriteError| {
            let error = RdError::MessageProduction(code);
            assert_eq!(classify(&error, never_written), expected, "{code}");
        };
        check(Code::QueueFull, true, WriteError::QueueFull);
        check(Code::MessageTimedOut, true, WriteError::Unavailable);
        check(Code::MessageTimedOut, false, WriteError::Unknown);
        check(Code::BrokerTransportFailure, true, WriteError::Unavailable);
        check(Code::BrokerTransportFailure, false, WriteError::Unknown);
        check(Code::NotEnoughReplicas, true, WriteError::Unavailable);
        check(Code::NotEnoughReplicasAfterAppend, false, WriteError::Unknown);
        check(Code::PurgeQueue, true, WriteError::Unavailable);
        check(Code::PurgeInflight, false, WriteError::Unknown);
        check(Code::MessageSizeTooLarge, true, WriteError::TooLarge);
        check(
            Code::TopicAuthorizationFailed,
            true,
            WriteError::Refused(Code::TopicAuthorizationFailed.to_string()),
        );
    }
}
