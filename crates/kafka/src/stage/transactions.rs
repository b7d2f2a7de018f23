//! The stage's transactional producer.
//!
//! A transaction is begun and ended within one call, so no poll of the consumer, and no rebalance that it
//! serves, ever meets an open one.
//!
//! Invariant: after an error the transaction is aborted, or the client is thrown away; then the next one
//! makes the cluster end, under the same transactional id, what the former left open. So whatever was
//! committed is known before anything else is written.

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
}

impl From<RdError> for Failed {
    fn from(error: RdError) -> Self {
        Self::Kafka(error)
    }
}

pub(super) struct Transactions {
    config: ClientConfig,
    topic: String,
    timeout: Duration,
    notes: Arc<Notes>,
    on_step: Option<StepHook>,
    // None until it is needed, and after an error that it cannot be used after.
    client: Option<Client>,
}

impl Transactions {
    pub(super) fn new(
        config: ClientConfig,
        topic: String,
        timeout: Duration,
        notes: Arc<Notes>,
        on_step: Option<StepHook>,
    ) -> Self {
        Self { config, topic, timeout, notes, on_step, client: None }
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
        self.client = Some(client);
        Ok(())
    }

    /// Writes all outputs and the offsets, or nothing. `before_commit` is the last that may object.
    pub(super) fn write(
        &mut self,
        outputs: &[NewRecord],
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
        before_commit: impl FnOnce(&TopicPartitionList) -> Result<(), RdError>,
    ) -> Result<(), StageError> {
        self.ready()?;
        let deadline = Instant::now() + self.timeout;
        let Some(client) = &self.client else {
            return Err(StageError::Aborted("there is no producer".to_owned()));
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
        let error = match failed {
            Failed::Stopped(step) => {
                return Err(StageError::Fatal(format!("stopped at step {step:?}")));
            }
            Failed::Kafka(error) => judge(&error),
            Failed::Delivery => judge_delivery(&client.context().failures(), outputs),
        };
        let abort = || client.abort_transaction(self.timeout);
        if let Err(abort_error) = retry(Instant::now() + self.timeout, abort) {
            tracing::info!(topic = self.topic, %error, %abort_error,
                "a transaction was neither committed nor aborted, making a new producer");
            self.client = None;
        }
        Err(error)
    }

    fn steps(
        &self,
        client: &Client,
        outputs: &[NewRecord],
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
        deadline: Instant,
    ) -> Result<(), Failed> {
        client.begin_transaction()?;
        self.step(CommitStep::Begun)?;
        for (index, output) in outputs.iter().enumerate() {
            self.produce(client, index, output, deadline)?;
        }
        await_deliveries(client, deadline)?;
        if !client.context().failures().is_empty() {
            return Err(Failed::Delivery);
        }
        self.step(CommitStep::Produced)?;
        retry(deadline, || client.send_offsets_to_transaction(offsets, group, left(deadline)))?;
        self.step(CommitStep::OffsetsSent)
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

/// Waits until all outputs are acknowledged or refused. Not `flush`: that of rdkafka waits a tenth of a second
/// at a time, also where the acknowledgement has come, and so did each alert.
fn await_deliveries(client: &Client, deadline: Instant) -> Result<(), RdError> {
    while client.in_flight_count() > 0 {
        if Instant::now() >= deadline {
            return Err(RdError::Flush(Code::OperationTimedOut));
        }
        client.poll(DELIVERY_WAIT);
    }
    Ok(())
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
/// mend. A batch is refused as a whole, so of the records that are too large the largest is named.
fn judge_delivery(failures: &[(usize, RdError)], outputs: &[NewRecord]) -> StageError {
    let size = |index: usize| {
        let record = outputs.get(index)?;
        Some(record.key.len() + record.payload.as_ref().map_or(0, bytes::Bytes::len))
    };
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
    if let Some((output, reason)) = refused.max_by_key(|(index, _)| size(*index)) {
        return StageError::Refused { output, reason };
    }
    match failures.first() {
        Some((_, RdError::MessageProduction(code))) => judge_code(*code, code.to_string()),
        Some((_, error)) => StageError::Aborted(error.to_string()),
        None => StageError::Aborted("not every output was written".to_owned()),
    }
}
