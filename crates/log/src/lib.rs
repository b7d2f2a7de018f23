//! The port to the log: what services need of Kafka, without Kafka.
//!
//! `tidewire-kafka` implements it against a cluster (the embedded broker included); tests implement it
//! with vectors. Reading is pull-driven by one owner (the router's thread), so that a full channel
//! behind the router simply stops the pulling. Writing answers once the record is durable. What lies
//! behind the reader is read in [`Segment`]s through [`LogHistory`], by an owner that may block. A service
//! that makes records out of records is a [`LogStage`].

mod history;
mod memory;
mod segment;
mod stage;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;
use tidewire_event::{FrameId, LeaderEpoch, NextOffset, Offset, Partition};

pub use history::{
    HISTORY_SEGMENT_BYTES, HistoryAnswer, HistoryError, HistoryRequest, LogHistory, Stretch,
    read_stretch,
};
pub use memory::{MemoryHistory, MemoryLog, MemoryStage};
pub use segment::{Segment, SegmentBuilder};
pub use stage::{
    Batch, BatchLimits, LogStage, Mark, NOTE_BYTES_MAX, StageError, StageEvent, StartedFrom,
};

/// A boxed future, so that ports are object-safe.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// One record as the reader lends it: borrowed, never detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRecord<'a> {
    /// Where it stands.
    pub partition: Partition,
    /// Its offset.
    pub offset: Offset,
    /// The epoch of the leader that wrote it.
    pub leader_epoch: LeaderEpoch,
    /// Milliseconds since the Unix epoch; the event time. Kafka says -1 where there is none.
    pub timestamp_ms: i64,
    /// The record key.
    pub key: Option<&'a [u8]>,
    /// The value of the first `tw` header.
    pub header: Option<&'a [u8]>,
    /// How many `tw` headers there are.
    pub header_count: usize,
    /// The value; `None` is a tombstone.
    pub payload: Option<&'a [u8]>,
}

/// What a reader tells its owner, in order per partition.
#[derive(Debug)]
pub enum LogEvent<'a> {
    /// The id of the topic that is read: before the first `Assigned`, and right after each `Recreated`.
    Topic(&'a str),
    /// A committed record.
    Record(LogRecord<'a>),
    /// The end of the partition (the last stable offset) is reached: the position moves to `next`, over
    /// whatever holes lie before it.
    EndOfPartition {
        /// The partition.
        partition: Partition,
        /// The next offset to read.
        next: NextOffset,
    },
    /// A partition is read from `next` on: at start, or because it is new (then from 0).
    Assigned {
        /// The partition.
        partition: Partition,
        /// The next offset to read.
        next: NextOffset,
    },
    /// Records of the partition may be missing: it is read from `next` on.
    Gap {
        /// The partition.
        partition: Partition,
        /// Where reading goes on.
        next: NextOffset,
        /// Why.
        reason: GapReason,
    },
    /// The topic was deleted and created again: every position is void, all partitions are read from 0.
    Recreated,
    /// A passing fault (a broker away, say); reading goes on by itself.
    Fault(&'a str),
    /// The fault has passed.
    Recovered,
}

/// Why records may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// Retention removed what was to be read next.
    Retention,
    /// The leader's log contradicts the position.
    Truncated,
    /// The topic was created anew.
    Recreated,
}

impl GapReason {
    /// The word on the wire and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Truncated => "truncated",
            Self::Recreated => "recreated",
        }
    }
}

/// Reads the change topic: all partitions, assigned by hand.
pub trait LogReader: Send {
    /// Hands every event that is there now to `sink`, at most `max` of them, without waiting. Returns
    /// how many it handed over.
    fn drain(&mut self, max: usize, sink: &mut dyn FnMut(LogEvent<'_>)) -> usize;

    /// Sets what is called, from any thread, when `drain` may have something after it had nothing. It
    /// must return at once.
    fn on_ready(&mut self, wake: Arc<dyn Fn() + Send + Sync>);

    /// How many records lie between the position and the end of each partition, as far as it is known; a
    /// few seconds old.
    fn lag(&self) -> Vec<(Partition, i64)> {
        Vec::new()
    }

    /// True once every partition has been assigned a number, and has been read up to where its log ended
    /// at the start: the reader is ready to serve.
    fn is_assigned(&self) -> bool;
}

/// One record to be written.
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// The record key; decides the partition.
    pub key: Bytes,
    /// The value of the `tw` header, if there is one.
    pub header: Option<Bytes>,
    /// The event time, in milliseconds since the Unix epoch; `None` is the producer's now.
    pub timestamp_ms: Option<i64>,
    /// The value.
    pub payload: Option<Bytes>,
}

/// Why a record was not written, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// The local queue is full: nothing was sent, try again after a moment.
    #[error("the queue to kafka is full")]
    QueueFull,
    /// Kafka cannot be reached and nothing was sent.
    #[error("kafka is not available")]
    Unavailable,
    /// Sent, but no answer came in time: the record may or may not stand in the log.
    #[error("kafka did not acknowledge in time, the outcome is unknown")]
    Unknown,
    /// The record is larger than the topic or the producer takes.
    #[error("the record is too large for the topic")]
    TooLarge,
    /// Kafka refused it for good (authorization, unknown topic, ...).
    #[error("kafka refused the record: {0}")]
    Refused(String),
}

/// Writes records to one topic: idempotent, `acks=all`.
pub trait LogWriter: Send + Sync {
    /// Hands the record over at once (the order of calls is the order in the log, per key) and answers
    /// once it is durable. Dropping the future does not take the record back.
    fn write(&self, record: NewRecord) -> BoxFuture<Result<FrameId, WriteError>>;
}
