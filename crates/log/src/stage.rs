//! A stage between two topics: it reads one as a member of a consumer group, and writes what it makes of
//! the records to another, together with the group's offsets, in one transaction.
//!
//! One thread owns a stage. It calls [`LogStage::poll`] again and again; when that gives a [`Batch`], it
//! works out the outputs and calls [`LogStage::commit`]. Then the next poll. Both calls block.
//!
//! What that promises: every record of the input that is committed there is in exactly one batch whose
//! commit took effect, whatever ends or hangs at whatever moment, and whichever instances share the
//! partitions. A batch may be *handed out* more than once; its outputs are *written* once. The exceptions
//! are told before the records behind them: [`StageEvent::Gap`], [`StageEvent::Recreated`], and a
//! partition that starts where nobody had committed ([`StartedFrom`]).
//!
//! So whatever the owner does besides its outputs (metrics, state, requests to others) must bear to be
//! done again.

use std::time::Duration;

use thiserror::Error;
use tidewire_event::{NextOffset, Partition, Position};

use crate::{GapReason, LogRecord, NewRecord, Segment, WriteError};

/// How much a batch holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Records; at least one is taken.
    pub records: usize,
    /// Bytes of the records and their index, but for the last record.
    pub bytes: usize,
    /// How long records may trickle in. A batch that holds a record ends as soon as no other is there.
    pub time: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { records: 1000, bytes: 1024 * 1024, time: Duration::from_millis(100) }
    }
}

/// Records that are handed out together, and the positions that their commit moves the group to.
///
/// It may hold no record at all: then positions move over holes. It is committed all the same.
#[derive(Debug)]
pub struct Batch {
    serial: u64,
    segments: Vec<Segment>,
}

impl Batch {
    /// For implementations: the batch of this number. Numbers rise within one stage.
    #[must_use]
    pub const fn new(serial: u64, segments: Vec<Segment>) -> Self {
        Self { serial, segments }
    }

    /// For implementations: the number.
    #[must_use]
    pub const fn serial(&self) -> u64 {
        self.serial
    }

    /// What it holds of each partition; no partition comes twice.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// All records: in the order of the log within a partition, one partition behind the other.
    pub fn records(&self) -> impl Iterator<Item = LogRecord<'_>> {
        self.segments.iter().flat_map(|segment| segment.records_from(segment.from()))
    }

    /// How many records it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.segments.iter().map(Segment::len).sum()
    }

    /// True if it holds no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.iter().all(Segment::is_empty)
    }
}

/// Most bytes of a [`Mark`]'s note. Kafka takes 4,096 with a position (`offset.metadata.max.bytes`), and the
/// topic's id goes along.
pub const NOTE_BYTES_MAX: usize = 3_000;

/// Where a commit moves the group to in a partition, in place of the batch's end: its owner is not done with
/// everything before that. Whoever reads the partition next begins there, and is told the note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The partition; the batch need not hold anything of it.
    pub partition: Partition,
    /// The position. A stage that goes on reading is not moved by it.
    pub at: Position,
    /// What the owner has to know to go on from there; at most [`NOTE_BYTES_MAX`].
    pub note: String,
}

/// Why a partition is read from where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StartedFrom {
    /// The group had committed this position.
    Committed,
    /// The group is new, or the cluster has forgotten it: the place that the options name.
    Beginning,
    /// The partition was added to the topic after the group had begun: from 0.
    Added,
    /// The topic was created anew: from 0. A [`StageEvent::Recreated`] came before.
    Recreated,
}

impl StartedFrom {
    /// The word in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Beginning => "beginning",
            Self::Added => "added",
            Self::Recreated => "recreated",
        }
    }
}

/// What a stage tells its owner.
#[derive(Debug)]
pub enum StageEvent {
    /// Nothing came in the time given.
    Idle,
    /// Records to process and commit.
    Batch(Batch),
    /// The partition is this instance's from now on.
    Assigned {
        /// The partition.
        partition: Partition,
        /// The next offset to read.
        next: NextOffset,
        /// Why there.
        from: StartedFrom,
    },
    /// The partition is read from here on: at first, behind [`Self::Assigned`], and again after a batch was
    /// given up or failed. What was not committed is handed out again.
    Reading {
        /// The partition.
        partition: Partition,
        /// The next offset to read.
        next: NextOffset,
        /// Of the [`Mark`] that was committed last; empty if none was.
        note: String,
    },
    /// The partition is this instance's no more; what was handed out of it and is not committed will be
    /// handed out by its next owner.
    Revoked {
        /// The partition.
        partition: Partition,
        /// True if the group took it because it had not heard of this instance for too long.
        lost: bool,
    },
    /// The end of the partition (the last stable offset) is reached.
    EndOfPartition {
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
    /// The topic was deleted and created again: all committed positions are void, all partitions are read
    /// from 0. Told by each instance that sees it.
    Recreated,
    /// A passing fault (a broker away, say); the stage goes on by itself.
    Fault(String),
    /// The fault has passed.
    Recovered,
}

/// Why a batch was not committed, or a stage cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StageError {
    /// Nothing of it shows, or (where an answer was lost) all of it: polling goes on from the positions
    /// that the group has committed, and hands the batch out again if it was not written.
    #[error("the batch was not committed: {0}")]
    Aborted(String),
    /// The group has gone on without this instance: its partitions are, or will be, another's. Polling
    /// joins it again; the batch is handed out by whoever owns its partitions then.
    #[error("the group has gone on without this instance: {0}")]
    Fenced(String),
    /// One of the outputs cannot be written, now or later. Nothing was written, and the batch may be
    /// committed again with other outputs.
    #[error("output {output} cannot be written: {reason}")]
    Refused {
        /// Its index among the outputs.
        output: usize,
        /// Why.
        #[source]
        reason: WriteError,
    },
    /// The batch is not the last one that was handed out, or is committed already: a bug of the owner.
    #[error("the batch is not the one that was handed out last")]
    Stale,
    /// The stage is of no use any more (no right to the group or the transactional id, say). What was
    /// committed stands.
    #[error("the stage cannot go on: {0}")]
    Fatal(String),
}

impl StageError {
    /// True if polling on is the right answer.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Aborted(_) | Self::Fenced(_))
    }
}

/// Consumes, and produces in the same transaction.
pub trait LogStage: Send {
    /// Waits up to `wait` for the next event. A batch that was handed out before and is not committed is
    /// given up: its records are handed out again.
    ///
    /// It is to be called at least every few seconds, also while there is nothing to do, or the group
    /// takes the partitions for abandoned.
    ///
    /// # Errors
    /// [`StageError::Fatal`]. All else is told by [`StageEvent::Fault`].
    fn poll(&mut self, wait: Duration) -> Result<StageEvent, StageError>;

    /// Hands out a batch of nothing, for a commit of outputs between two batches. `None`: nothing may be
    /// committed now; poll on.
    fn empty_batch(&mut self) -> Option<Batch>;

    /// Writes the outputs and moves the group past the batch, but in the partitions that have a mark to
    /// that: both or neither. Blocks until it is durable. At most one mark for each partition, and none for
    /// one that is not this instance's.
    ///
    /// # Errors
    /// [`StageError`]: after `Aborted` and `Fenced` poll on; after `Refused` commit the batch with other
    /// outputs, or poll on to have it again; after `Fatal` end.
    fn commit_at(
        &mut self,
        batch: &Batch,
        outputs: &[NewRecord],
        marks: &[Mark],
    ) -> Result<(), StageError>;

    /// [`Self::commit_at`] without marks.
    ///
    /// # Errors
    /// The same.
    fn commit(&mut self, batch: &Batch, outputs: &[NewRecord]) -> Result<(), StageError> {
        self.commit_at(batch, outputs, &[])
    }

    /// The id of the input topic as it is read: what tells its records from those of a topic of the same
    /// name that is gone. Known once a batch was handed out.
    fn topic_id(&self) -> Option<&str>;

    /// How many records lie between the position and the end of each partition that is this instance's,
    /// as far as it is known; a few seconds old.
    fn lag(&self) -> Vec<(Partition, i64)> {
        Vec::new()
    }
}
