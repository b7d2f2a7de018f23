//! Reading what the window does not hold: one request at a time for each partition, shared by all
//! readers in the stretch (docs/adr/0009). Also the check that the log still holds what a position speaks
//! of.

use std::sync::Arc;

use tidewire_event::{LeaderEpoch, NextOffset, Partition, Position, Positions, TopicId};
use tidewire_log::{GapReason as LogGap, HistoryRequest, Segment};

use super::replay::Reader;
use super::words::word_of;
use super::{Now, ShardCore, Want};
use crate::recent::Recent;

/// How long after a failure Kafka is asked again.
const RETRY_MS: u64 = 500;

/// What a history thread answered.
#[derive(Clone, Debug)]
pub struct HistoryReply {
    /// The life of the topic that was asked about.
    pub topic: TopicId,
    /// What was asked.
    pub request: HistoryRequest,
    /// What came of it.
    pub outcome: HistoryOutcome,
}

/// What came of a request for history.
#[derive(Clone, Debug)]
pub enum HistoryOutcome {
    /// Records from there on.
    Segment(Arc<Segment>),
    /// They are gone.
    Gap {
        /// Where reading may go on.
        next: NextOffset,
        /// Why.
        reason: LogGap,
    },
    /// Kafka is away; ask again later.
    Unavailable,
}

/// Reading behind the window, in one partition.
#[derive(Debug, Default)]
pub(super) struct Far {
    /// Where the scan through Kafka has come to.
    at: i64,
    /// What is on its way.
    asked: bool,
    /// What is on its way was asked before a gap: it is not for anybody any more.
    void: bool,
    not_before: u64,
    recent: Recent,
    /// What came and is not scanned to its end yet.
    segment: Option<Arc<Segment>>,
}

impl Far {
    /// The scan goes on from there. What it looks at once more has not been published again.
    fn go_to(&mut self, next: NextOffset) {
        if next.0 < self.at {
            self.recent.clear();
        }
        self.at = next.0;
    }
}

impl ShardCore {
    /// Begins anew behind a gap that everybody is told.
    pub(super) fn forget_history(&mut self, reason: LogGap) {
        self.replay.far.retain(|_, far| {
            // What comes of another life of the topic is known by its id.
            let asked = far.asked && reason != LogGap::Recreated;
            *far = Far { asked, void: asked, ..Far::default() };
            asked
        });
    }

    /// Asks for what lies before the window, and about what lies ahead of the shard.
    pub(super) fn ask_history(&mut self, ready: &[usize], now: Now) {
        let partitions: Vec<(Partition, Position)> = self.positions.iter().collect();
        for (partition, end) in partitions {
            let far = self.replay.far.get(&partition);
            let is_busy =
                |far: &Far| far.asked || far.segment.is_some() || now.mono_ms < far.not_before;
            if far.is_some_and(is_busy) {
                continue;
            }
            let start = self.settings.window.start(partition).unwrap_or(end.next).min(end.next);
            let scanned_to = far.map_or(0, |far| far.at);
            let behind = || {
                let readers = ready.iter().filter_map(|lane| self.reader(*lane));
                readers
                    .filter(|r| {
                        let is_before = r.next(partition) < start && r.is_fed(partition, end);
                        is_before || !r.is_checked(partition)
                    })
                    .map(|r| r.at(partition))
            };
            // On with the scan while somebody follows it, else from the lowest.
            let ahead = behind().filter(|at| at.next.0 >= scanned_to).min_by_key(|at| at.next);
            let from = ahead.or_else(|| behind().min_by_key(|at| at.next));
            let Some(from) = from else { continue };
            let far = self.replay.far.entry(partition).or_default();
            far.go_to(from.next);
            far.asked = true;
            let request = HistoryRequest { partition, from };
            self.wants.push(Want::History { topic: self.positions.topic().clone(), request });
        }
    }

    /// Takes what was asked of Kafka. Every [`Want::History`] has to be answered, once.
    pub fn history(&mut self, reply: &HistoryReply, now: Now) {
        if reply.topic != *self.positions.topic() {
            return;
        }
        let HistoryRequest { partition, from } = reply.request;
        let Some(far) = self.replay.far.get_mut(&partition) else { return };
        far.asked = false;
        if std::mem::take(&mut far.void) {
            return;
        }
        match &reply.outcome {
            HistoryOutcome::Unavailable => far.not_before = now.mono_ms + RETRY_MS,
            HistoryOutcome::Gap { next, reason } => {
                far.go_to(*next);
                self.gap_behind(partition, from, *next, *reason, now);
            }
            HistoryOutcome::Segment(segment) => {
                for lane in &self.replay.readers {
                    let reader = self.lanes.get_mut(*lane).and_then(|lane| lane.reader.as_mut());
                    if let Some(reader) = reader.filter(|reader| reader.at(partition) == from) {
                        reader.confirm(partition, &self.positions);
                    }
                }
                // Scanned in this turn's `replay`: by then what waits may have been written.
                far.segment = Some(Arc::clone(segment));
                self.replay.has_room = true;
            }
        }
    }

    /// Scans what came from Kafka; true if there is more to scan once what it gave is written.
    pub(super) fn scan_far(&mut self, now: Now) -> bool {
        let mut is_cut = false;
        for (partition, end) in self.positions.iter().collect::<Vec<_>>() {
            let Some(far) = self.replay.far.get_mut(&partition) else { continue };
            let Some(segment) = far.segment.take() else { continue };
            let (mut recent, mut next) = (std::mem::take(&mut far.recent), NextOffset(far.at));
            let mut held = None;
            while held.is_none() && next < segment.to().next && next < end.next {
                let scanned = self.scan(&segment, next, end, &mut recent, now);
                next = scanned.next;
                held = scanned.is_cut.then(|| Arc::clone(&segment));
            }
            is_cut |= held.is_some();
            if let Some(far) = self.replay.far.get_mut(&partition) {
                (far.recent, far.at, far.segment) = (recent, next.0, held);
            }
        }
        is_cut
    }

    /// Declares a gap to the readers whose records are gone.
    fn gap_behind(
        &mut self,
        partition: Partition,
        asked: Position,
        next: NextOffset,
        reason: LogGap,
        now: Now,
    ) {
        for lane in self.replay.readers.clone() {
            let reader = self.lanes.get_mut(lane).and_then(|lane| lane.reader.as_mut());
            // One that waits for its snapshot, or is given it, goes on from where that was taken.
            let Some(reader) = reader.filter(|reader| reader.is_reading()) else { continue };
            let at = reader.at(partition);
            let is_known = at.epoch != LeaderEpoch::UNKNOWN;
            let is_gone = match reason {
                LogGap::Retention => at.next < next,
                LogGap::Truncated | LogGap::Recreated => {
                    at == asked || is_known && at.epoch == asked.epoch && at.next >= asked.next
                }
            };
            if is_gone {
                let mut moved = reader.next.clone();
                moved.set(partition, Position::at(next));
                reader.unchecked.retain(|unchecked| *unchecked != partition);
                self.gap_reader(lane, word_of(reason), moved, now);
            }
        }
    }

    /// Checks positions against the records of a segment: one is sound if the record before it is of its
    /// epoch. What the segment cannot tell is asked of Kafka.
    pub(super) fn check_readers(&mut self, segment: &Segment) {
        let partition = segment.partition();
        for index in &self.replay.readers {
            let reader = self.lanes.get_mut(*index).and_then(|lane| lane.reader.as_mut());
            let Some(reader) = reader.filter(|r| !r.is_checked(partition)) else { continue };
            let at = reader.at(partition);
            if at.next <= segment.from() || segment.to().next < at.next {
                continue;
            }
            let before = segment.records_from(segment.from());
            let before = before.take_while(|record| record.offset.0 < at.next.0).last();
            if before.is_some_and(|record| record.leader_epoch <= at.epoch)
                || at.epoch == LeaderEpoch::UNKNOWN
            {
                reader.confirm(partition, &self.positions);
            }
        }
    }

    /// Looks once more at positions that were confirmed while they lay ahead, where the shard has come to
    /// them: what it has read on the way may be another leader's. Then Kafka is asked where the two part.
    pub(super) fn check_overtaken(&mut self) {
        let (positions, window) = (&self.positions, &self.settings.window);
        for index in &self.replay.readers {
            let reader = self.lanes.get_mut(*index).and_then(|lane| lane.reader.as_mut());
            let Some(reader) = reader.filter(|reader| !reader.ahead.is_empty()) else { continue };
            let mut ahead = std::mem::take(&mut reader.ahead);
            ahead.retain(|&partition| {
                let at = reader.at(partition);
                let is_ahead = is_ahead(at, positions.get(partition));
                if !is_ahead && window.confirms(partition, at) != Some(true) {
                    reader.unchecked.push(partition);
                }
                is_ahead
            });
            reader.ahead = ahead;
        }
    }
}

impl Reader {
    /// The log holds what its position speaks of.
    fn confirm(&mut self, partition: Partition, positions: &Positions) {
        self.unchecked.retain(|unchecked| *unchecked != partition);
        if is_ahead(self.at(partition), positions.get(partition)) {
            self.ahead.push(partition);
        }
    }
}

/// Whether a position lies ahead of where a shard stands: behind it in the log, or under a later leader than
/// that of all that the shard has read. In the second case that leader has cut some of it, and the shard is
/// about to hear so.
pub(super) fn is_ahead(at: Position, end: Option<Position>) -> bool {
    let has_older = |end: Position| end.epoch != LeaderEpoch::UNKNOWN && end.epoch < at.epoch;
    end.is_none_or(|end| at.next > end.next || has_older(end))
}

#[cfg(test)]
mod tests {
    use tidewire_event::RecordHeader;

    use super::*;
    use crate::recent::Judgement;

    #[test]
    fn what_is_looked_at_once_more_is_no_repeat() {
        let mut far = Far::default();
        let header = RecordHeader::parse(b"1;U;;none;;change-1").unwrap();
        far.go_to(NextOffset(10));
        assert_eq!(far.recent.judge(b"acme/Voyage/1", &header), Judgement::Fresh);
        far.go_to(NextOffset(20));
        assert_eq!(far.recent.judge(b"acme/Voyage/1", &header), Judgement::Repeated);
        // The log was cut below: a gap sends the scan back, over records that it has passed for others.
        far.go_to(NextOffset(9));
        assert_eq!(far.recent.judge(b"acme/Voyage/1", &header), Judgement::Fresh);
    }
}
