//! Reading what lies behind the reader: one stretch of one partition at a time.
//!
//! Whoever replays asks again and again, each time from where the last segment ended. Calls block, so
//! the owner is a thread that has nothing else to do.

use thiserror::Error;
use tidewire_event::{NextOffset, Partition, Position};

use crate::{GapReason, LogRecord, Segment};

/// What a segment of history holds at most, but for its last record.
pub const HISTORY_SEGMENT_BYTES: usize = 256 * 1024;

/// What is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HistoryRequest {
    /// The partition.
    pub partition: Partition,
    /// From where; the log must not contradict its leader epoch.
    pub from: Position,
}

/// What was found.
#[derive(Debug)]
pub enum HistoryAnswer {
    /// The records from there on, about [`HISTORY_SEGMENT_BYTES`] of them or up to the end of the log;
    /// at the end it is empty. It starts where was asked.
    Segment(Segment),
    /// The log cannot be read from there.
    Gap {
        /// Where it can be read on, with no epoch to go by.
        next: NextOffset,
        /// Why.
        reason: GapReason,
    },
}

/// Why there is no answer now.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HistoryError {
    /// The cluster does not answer; a later call may succeed.
    #[error("the log cannot be read now: {0}")]
    Unavailable(String),
}

/// A range of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stretch {
    /// The partition.
    pub partition: Partition,
    /// The first offset of it.
    pub from: NextOffset,
    /// The first offset behind it.
    pub to: NextOffset,
}

/// Reads stretches of the log.
pub trait LogHistory: Send {
    /// Reads from the requested place on. Blocks until there is an answer, up to a timeout of seconds.
    ///
    /// # Errors
    /// [`HistoryError::Unavailable`]; asking again is right.
    fn read(&mut self, request: HistoryRequest) -> Result<HistoryAnswer, HistoryError>;

    /// Forgets what was read ahead, and reads ahead no more until the next request: the topic was created
    /// anew, or nobody waits for history.
    fn reset(&mut self);
}

/// Reads all that is left of a stretch. What is gone is passed over. Blocks.
///
/// # Errors
/// [`HistoryError::Unavailable`]; what came before was handed over.
pub fn read_stretch(
    history: &mut dyn LogHistory,
    stretch: Stretch,
    sink: &mut dyn FnMut(&LogRecord<'_>),
) -> Result<(), HistoryError> {
    let mut at = Position::at(stretch.from);
    while at.next < stretch.to {
        let then = match history.read(HistoryRequest { partition: stretch.partition, from: at })? {
            HistoryAnswer::Segment(segment) => {
                let records = segment.records_from(segment.from());
                records.take_while(|r| r.offset.0 < stretch.to.0).for_each(|r| sink(&r));
                segment.to()
            }
            HistoryAnswer::Gap { next, .. } => Position::at(next),
        };
        if then.next <= at.next {
            break;
        }
        at = then;
    }
    Ok(())
}
