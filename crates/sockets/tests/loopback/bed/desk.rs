//! Kafka, as far as a shard asks for it: every record that the bed made.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use tidewire_event::{LeaderEpoch, NextOffset, Offset, Partition, Position, TopicId};
use tidewire_log::{GapReason, HistoryRequest, LogRecord, SegmentBuilder};
use tidewire_router::{HistoryOutcome, HistoryReply, ShardIndex};
use tidewire_sockets::{Command, HistoryDesk, ShardHandle};

/// So many records are in one answer.
const RECORDS_PER_SEGMENT: usize = 4;

/// A change of a voyage in the only partition.
#[derive(Clone)]
pub(crate) struct Change {
    pub(crate) offset: i64,
    pub(crate) key: String,
    pub(crate) body: String,
}

impl Change {
    pub(crate) fn record(&self) -> LogRecord<'_> {
        LogRecord {
            partition: Partition(0),
            offset: Offset(self.offset),
            leader_epoch: LeaderEpoch::UNKNOWN,
            timestamp_ms: 0,
            key: Some(self.key.as_bytes()),
            header: Some(b"1;U;;none"),
            header_count: 1,
            payload: Some(self.body.as_bytes()),
        }
    }
}

/// Answers at once, but says so many times that it has no room.
#[derive(Default)]
pub(crate) struct Desk {
    pub(crate) shard: OnceLock<ShardHandle>,
    pub(crate) refusals: AtomicUsize,
    pub(crate) log: Mutex<Vec<Change>>,
    /// What was asked, whether it was answered or not.
    pub(crate) asked: Mutex<Vec<i64>>,
}

impl Desk {
    /// Retention removes what lies before an offset.
    pub(crate) fn forget_before(&self, offset: i64) {
        self.log.lock().unwrap().retain(|change| change.offset >= offset);
    }

    fn outcome(&self, request: HistoryRequest) -> HistoryOutcome {
        let log = self.log.lock().unwrap();
        let first = log.first().map_or(0, |change| change.offset);
        if request.from.next.0 < first {
            return HistoryOutcome::Gap { next: NextOffset(first), reason: GapReason::Retention };
        }
        let mut segment = SegmentBuilder::new(request.partition, request.from.next);
        let mut to = request.from;
        let asked = log.iter().filter(|change| change.offset >= request.from.next.0);
        for change in asked.take(RECORDS_PER_SEGMENT) {
            segment.push(&change.record());
            to = Position::at(NextOffset(change.offset + 1));
        }
        HistoryOutcome::Segment(Arc::new(segment.finish(to)))
    }
}

impl HistoryDesk for Desk {
    fn ask(&self, _: ShardIndex, topic: &TopicId, request: HistoryRequest) -> bool {
        self.asked.lock().unwrap().push(request.from.next.0);
        let refuse = |n: usize| n.checked_sub(1);
        if self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse).is_ok() {
            return false;
        }
        let (topic, outcome) = (Arc::clone(topic), self.outcome(request));
        let reply = Command::History(Box::new(HistoryReply { topic, request, outcome }));
        assert!(self.shard.get().unwrap().try_send(reply), "no room for the answer");
        true
    }
}
