//! The stage's transactional producer.
//!
//! A transaction is begun and ended within one call, so no poll of the consumer, and no rebalance that it
//! serves, ever meets an open one.
//!
//! Invariant: after an error the transaction is aborted, or the client is thrown away; then the next one
//! makes the cluster end, under the same transactional id, what the former left open. So whatever was
//! committed is known before anything else is written. A client of which the cluster has refused a record is
//! always thrown away: librdkafka goes on with the sequence number behind it, which the cluster takes for a
//! loss, and so each later transaction would fail.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError as RdError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{ClientContext, TopicPartitionList};
use tidewire_event::record::HEADER_NAME;
use tidewire_log::{NewRecord, StageError, WriteError};

use super::options::{CommitStep, StepHook};
use crate::context::Notes;
use crate::writer::classify;

type Client = BaseProducer<TransactionsContext>;

/// For how long no record is sent that is no smaller than one that was too large: each refusal costs a
/// transaction. The topic's limit may be raised meanwhile.
const TOO_LARGE_FOR: Duration = Duration::from_secs(10);
/// How long librdkafka may take beyond a deadline to say that it is over.
const OVERRUN_MAX: Duration = Duration::from_secs(2);
/// Most calls that librdkafka does not return from, and that are left behind with their threads and clients.
const LEFT_BEHIND_MAX: usize = 8;
/// How long a full queue is waited for at a time.
const QUEUE_WAIT: Duration = Duration::from_millis(20);

/// Deliveries are looked at so often: about what the linger of the producer adds anyway.
const DELIVERY_WAIT: Duration = Duration::from_millis(1);

/// Outputs of the current transaction that were not written: their indices and why. No more than outputs.
type Failures = Vec<(usize, RdError)>;

pub(super) struct TransactionsContext {
    notes: Arc<Notes>,
    failures: Mutex<Failures>,
}

impl TransactionsContext {
    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for TransactionsContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.notes.log(level, facility, text);
    }

    fn error(&self, error: RdError, reason: &str) {
        self.notes.error(&error, reason);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}
}

impl ProducerContext for TransactionsContext {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        if let Err((error, _)) = result {
            self.failures().push((index, error.clone()));
        }
    }
}

/// Why a step did not succeed.
enum Failed {
    Kafka(RdError),
    /// The outputs in [`TransactionsContext::failures`] were not written.
    Delivery,
    /// The hook said stop.
    Stopped(CommitStep),
    /// librdkafka does not return: the client is of no use any more.
    Hung,
}

impl From<RdError> for Failed {
    fn from(error: RdError) -> Self {
        Self::Kafka(error)
    }
}

/// Why a transaction was not committed.
enum Refusal {
    /// What the stage's owner is told.
    Stage(StageError),
    /// Several records were too large together; so many bytes.
    Burst { bytes: usize },
}

impl From<StageError> for Refusal {
    fn from(error: StageError) -> Self {
        Self::Stage(error)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage(error) => error.fmt(f),
            Self::Burst { bytes } => write!(f, "{bytes} bytes are too large together"),
        }
    }
}

pub(super) struct Transactions {
    config: ClientConfig,
    topic: String,
    timeout: Duration,
    notes: Arc<Notes>,
    on_step: Option<StepHook>,
    /// Most bytes that are sent before their acknowledgement is waited for. A request that the cluster finds
    /// too large fails with all that it holds; learned from that, so that it never fails for what a
    /// single record alone would not.
    burst_bytes: usize,
    /// The size of the smallest record that was refused alone as too large, and when.
    too_large: Option<(usize, Instant)>,
    /// Held by each call that may be left behind.
    calls: Arc<()>,
    // None until it is needed, and after an error that it cannot be used after.
    client: Option<Arc<Client>>,
}

impl Transactions {
    pub(super) fn new(
        config: ClientConfig,
        topic: String,
        timeout: Duration,
        notes: Arc<Notes>,
        on_step: Option<StepHook>,
    ) -> Self {
        Self {
            config,
            topic,
            timeout,
            notes,
            on_step,
            burst_bytes: usize::MAX,
            too_large: None,
            calls: Arc::default(),
            client: None,
        }
    }

    /// Serves what the client has to say.
    pub(super) fn serve(&self) {
        if let Some(client) = &self.client {
            client.poll(Duration::ZERO);
        }
    }

    /// Makes the client, if there is none, and ends what its former life left open.
    pub(super) fn ready(&mut self) -> Result<(), StageError> {
        if self.client.is_some() {
            return Ok(());
        }
        let context =
            TransactionsContext { notes: Arc::clone(&self.notes), failures: Mutex::default() };
        let client: Client = BaseProducer::from_config_and_context(&self.config, context)
            .map_err(|error| StageError::Fatal(error.to_string()))?;
        client.init_transactions(self.timeout).map_err(|error| judge(&error))?;
        self.client = Some(Arc::new(client));
        Ok(())
    }

    /// Writes all outputs and the offsets, or nothing. `before_commit` is the last that may object.
    pub(super) fn write(
        &mut self,
        outputs: &[NewRecord],
        offsets: &TopicPartitionList,
        group: &Arc<ConsumerGroupMetadata>,
        before_commit: impl Fn(&TopicPartitionList) -> Result<(), RdError>,
    ) -> Result<(), StageError> {
        loop {
            if let Some(output) = self.known_too_large(outputs) {
                return Err(StageError::Refused { output, reason: WriteError::TooLarge });
            }
            match self.try_to_write(outputs, offsets, group, &before_commit) {
                Ok(()) => return Ok(()),
                Err(Refusal::Stage(error)) => {
                    self.note_refused(&error, outputs);
                    return Err(error);
                }
                Err(Refusal::Burst { bytes }) => {
                    self.burst_bytes = (bytes / 2).max(1);
                    tracing::info!(
                        topic = self.topic,
                        burst_bytes = self.burst_bytes,
                        "records were refused together as too large, sending fewer at a time"
                    );
                }
            }
        }
    }

    /// The first output that is no smaller than one that was too large lately.
    fn known_too_large(&mut self, outputs: &[NewRecord]) -> Option<usize> {
        let (bytes, at) = self.too_large?;
        if at.elapsed() >= TOO_LARGE_FOR {
            self.too_large = None;
            return None;
        }
        outputs.iter().position(|output| size(output) >= bytes)
    }

    fn note_refused(&mut self, error: &StageError, outputs: &[NewRecord]) {
        let StageError::Refused { output, reason: WriteError::TooLarge } = error else { return };
        let Some(refused) = outputs.get(*output).map(size) else { return };
        let bytes = self.too_large.map_or(refused, |(bytes, _)| bytes.min(refused));
        self.too_large = Some((bytes, Instant::now()));
    }

    fn try_to_write(
        &mut self,
        outputs: &[NewRecord],
        offsets: &TopicPartitionList,
        group: &Arc<ConsumerGroupMetadata>,
        before_commit: &impl Fn(&TopicPartitionList) -> Result<(), RdError>,
    ) -> Result<(), Refusal> {
        self.ready()?;
        let deadline = Instant::now() + self.timeout;
        let Some(client) = &self.client else {
            return Err(StageError::Aborted("there is no producer".to_owned()).into());
        };
        client.context().failures().clear();
        let done = self
            .steps(client, outputs, offsets, group, deadline)
            .and_then(|()| Ok(before_commit(offsets)?))
            .and_then(|()| self.finish(client, deadline));
        let failed = match done {
            Ok(()) => return Ok(()),
            Err(failed) => failed,
        };
        let is_spoilt = matches!(failed, Failed::Delivery);
        let error = match failed {
            Failed::Stopped(step) => {
                return Err(StageError::Fatal(format!("stopped at step {step:?}")).into());
            }
            Failed::Hung => {
                self.client = None;
                return Err(self.hung().into());
            }
            Failed::Kafka(error) => judge(&error).into(),
            Failed::Delivery => judge_delivery(&client.context().failures(), outputs),
        };
        let abort = || client.abort_transaction(self.timeout);
        if let Err(abort_error) = retry(Instant::now() + self.timeout, abort) {
            tracing::info!(topic = self.topic, %error, %abort_error,
                "a transaction was neither committed nor aborted, making a new producer");
            self.client = None;
        }
        if is_spoilt {
            self.client = None;
        }
        Err(error)
    }

    fn steps(
        &self,
        client: &Arc<Client>,
        outputs: &[NewRecord],
        offsets: &TopicPartitionList,
        group: &Arc<ConsumerGroupMetadata>,
        deadline: Instant,
    ) -> Result<(), Failed> {
        client.begin_transaction()?;
        self.step(CommitStep::Begun)?;
        let mut burst = 0;
        for (index, output) in outputs.iter().enumerate() {
            let size = size(output);
            if burst > 0 && burst + size > self.burst_bytes {
                acknowledged(client, deadline)?;
                burst = 0;
            }
            self.produce(client, index, output, deadline)?;
            burst += size;
        }
        acknowledged(client, deadline)?;
        self.step(CommitStep::Produced)?;
        self.send_offsets(client, offsets, group, deadline)?;
        self.step(CommitStep::OffsetsSent)
    }

    /// Puts the offsets into the transaction. A thread of its own calls librdkafka (2.12.1), which waits without
    /// end there if the group's coordinator goes at the wrong moment: at least until that broker is back.
    /// What is left behind so is fenced by the next client, and ends with the call.
    fn send_offsets(
        &self,
        client: &Arc<Client>,
        offsets: &TopicPartitionList,
        group: &Arc<ConsumerGroupMetadata>,
        deadline: Instant,
    ) -> Result<(), Failed> {
        let (sender, sent) = std::sync::mpsc::sync_channel(1);
        let (client, offsets, group) = (Arc::clone(client), offsets.clone(), Arc::clone(group));
        let call = Arc::clone(&self.calls);
        let work = move || {
            let send = || client.send_offsets_to_transaction(&offsets, &group, left(deadline));
            // Nobody waits any more if it took too long.
            let _ = sender.send(retry(deadline, send));
            drop((client, call));
        };
        let thread = std::thread::Builder::new().name("send-offsets".to_owned());
        thread.spawn(work).map_err(|_| Failed::Hung)?;
        match sent.recv_timeout(left(deadline) + OVERRUN_MAX) {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(Failed::Hung),
        }
    }

    /// What the stage's owner is told of a call that does not return.
    fn hung(&self) -> StageError {
        let left_behind = Arc::strong_count(&self.calls) - 1;
        tracing::warn!(
            topic = self.topic,
            left_behind,
            "librdkafka does not return from a transaction, making a new producer"
        );
        let text = "the offsets were not taken in time".to_owned();
        if left_behind > LEFT_BEHIND_MAX {
            StageError::Fatal(text)
        } else {
            StageError::Aborted(text)
        }
    }

    fn finish(&self, client: &Client, deadline: Instant) -> Result<(), Failed> {
        retry(deadline, || client.commit_transaction(left(deadline)))?;
        self.step(CommitStep::Committed)
    }

    fn step(&self, step: CommitStep) -> Result<(), Failed> {
        match self.on_step.as_ref().map(|hook| hook(step)) {
            Some(ControlFlow::Break(())) => Err(Failed::Stopped(step)),
            _ => Ok(()),
        }
    }

    fn produce(
        &self,
        client: &Client,
        index: usize,
        output: &NewRecord,
        deadline: Instant,
    ) -> Result<(), Failed> {
        let mut record: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(&self.topic, index).key(&output.key);
        if let Some(payload) = &output.payload {
            record = record.payload(payload);
        }
        if let Some(timestamp) = output.timestamp_ms {
            record = record.timestamp(timestamp);
        }
        if let Some(value) = &output.header {
            let header = Header { key: HEADER_NAME, value: Some(value.as_ref()) };
            record = record.headers(OwnedHeaders::new_with_capacity(1).insert(header));
        }
        loop {
            match client.send(record) {
                Ok(()) => return Ok(()),
                Err((RdError::MessageProduction(Code::QueueFull), back))
                    if Instant::now() < deadline =>
                {
                    client.poll(QUEUE_WAIT);
                    record = back;
                }
                Err((error, _)) => {
                    client.context().failures().push((index, error));
                    return Err(Failed::Delivery);
                }
            }
        }
    }
}

/// Waits until all that was sent is acknowledged or refused. Not by `flush`: that of rdkafka waits a tenth of a
/// second at a time, also where the acknowledgement has come, and so did each alert.
fn acknowledged(client: &Client, deadline: Instant) -> Result<(), Failed> {
    while client.in_flight_count() > 0 {
        if Instant::now() >= deadline {
            return Err(RdError::Flush(Code::OperationTimedOut).into());
        }
        client.poll(DELIVERY_WAIT);
    }
    if client.context().failures().is_empty() { Ok(()) } else { Err(Failed::Delivery) }
}

/// Bytes of a record, but for what Kafka adds.
fn size(record: &NewRecord) -> usize {
    let len = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    record.key.len() + len(&record.header) + len(&record.payload)
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Calls again while the error says so.
fn retry(deadline: Instant, call: impl Fn() -> Result<(), RdError>) -> Result<(), RdError> {
    loop {
        let error = match call() {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let again = match &error {
            RdError::Transaction(error) => error.is_retriable() && !error.is_fatal(),
            RdError::Flush(Code::OperationTimedOut) => true,
            _ => false,
        };
        if !again || Instant::now() >= deadline {
            return Err(error);
        }
    }
}

/// What an error of the producer means to the stage's owner.
fn judge(error: &RdError) -> StageError {
    let code = match error {
        RdError::Transaction(error) => error.code(),
        other => other.rdkafka_error_code().unwrap_or(Code::Unknown),
    };
    judge_code(code, error.to_string())
}

fn judge_code(code: Code, text: String) -> StageError {
    match code {
        Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::FencedInstanceId
        | Code::RebalanceInProgress
        | Code::StaleMemberEpoch => StageError::Fenced(text),
        Code::TransactionalIdAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::InvalidTransactionTimeout
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature => StageError::Fatal(text),
        _ => StageError::Aborted(text),
    }
}

/// What outputs that were not written mean. Only what is wrong with the record itself is its owner's to
/// mend: a request is refused as a whole, so of several records that are too large nobody knows which are.
fn judge_delivery(failures: &[(usize, RdError)], outputs: &[NewRecord]) -> Refusal {
    let size = |index: usize| outputs.get(index).map_or(0, size);
    let reason = |error: &RdError| match (error, classify(error, true)) {
        (_, WriteError::TooLarge) => Some(WriteError::TooLarge),
        (
            RdError::MessageProduction(
                Code::InvalidRecord | Code::InvalidMessage | Code::InvalidTimestamp,
            ),
            refused,
        ) => Some(refused),
        _ => None,
    };
    let refused = failures.iter().filter_map(|(index, error)| Some((*index, reason(error)?)));
    let refused: Vec<(usize, WriteError)> = refused.collect();
    if refused.iter().filter(|(_, reason)| *reason == WriteError::TooLarge).count() > 1 {
        return Refusal::Burst { bytes: refused.iter().map(|(index, _)| size(*index)).sum() };
    }
    if let Some((output, reason)) = refused.into_iter().max_by_key(|(index, _)| size(*index)) {
        return StageError::Refused { output, reason }.into();
    }
    let error = match failures.first() {
        Some((_, RdError::MessageProduction(code))) => judge_code(*code, code.to_string()),
        Some((_, error)) => StageError::Aborted(error.to_string()),
        None => StageError::Aborted("not every output was written".to_owned()),
    };
    error.into()
}
