//! Where each partition is read from.
//!
//! Every committed position carries, as its text, the id of the topic that it belongs to: the offsets of a
//! topic that was deleted and created again are void, and are known to be. Behind a blank stands the note of
//! the stage's owner, if there is one.
//!
//! A group *begins* once: the member that has partition 0 resolves all partitions of the topic to numbers
//! and commits them in one transaction; the others wait for that. So a crash before the first record moves
//! nothing, and a partition for which nothing is committed although the group has begun was added since:
//! it is read from 0.

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError as RdError;
use tidewire_event::{LeaderEpoch, NextOffset, Partition, Position};
use tidewire_log::{GapReason, StageError, StartedFrom};

use super::options::BeginAt;
use super::{Stage, commit_to_embedded};

/// Marks the text of a committed position as ours; the topic's id follows, then a blank and the note.
const TEXT_PREFIX: &str = "tw1 ";

/// The partition whose owner begins the group.
const FIRST: Partition = Partition(0);

/// Why a stage cannot start reading yet.
pub(super) enum NotYet {
    /// Something is wrong, and may pass.
    Fault(String),
    /// Another member is to begin the group.
    Waiting,
    /// Something is wrong with a transaction.
    Stage(StageError),
}

impl From<StageError> for NotYet {
    fn from(error: StageError) -> Self {
        Self::Stage(error)
    }
}

/// Where one partition is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// What the group has committed; what lies between here and `at` is passed over.
    pub(super) committed: NextOffset,
    /// Where it is read from.
    pub(super) at: Position,
    pub(super) from: StartedFrom,
    /// What the owner has to know of it.
    pub(super) note: String,
    /// Why records before `at` may be missing.
    pub(super) gap: Option<GapReason>,
}

/// Where all partitions of this instance are read from.
#[derive(Debug)]
pub(super) struct Starts {
    pub(super) topic_id: String,
    pub(super) partitions: BTreeMap<Partition, Start>,
}

/// What the group has committed for a partition, as far as it is worth anything.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    None,
    /// Of another life of the topic.
    Void,
    /// With the owner's note.
    At(Position, StartedFrom, String),
}

impl Stage {
    /// Resolves every partition of this instance to a number.
    pub(super) fn resolve(&mut self) -> Result<Starts, NotYet> {
        let id = self.ask_topic_id()?;
        // Before the positions are asked for: what the instance's former life left open ends by this.
        self.transactions.ready()?;
        let known = self.topic_id.as_ref().is_some_and(|known| *known != id);
        let mut asked: BTreeSet<_> = self.mine.iter().copied().collect();
        asked.insert(FIRST);
        let mut entries = self.ask_committed(&asked, &id)?;
        if !matches!(entries.get(&FIRST), Some(Entry::At(..))) {
            let anew = known || entries.get(&FIRST) == Some(&Entry::Void);
            entries = self.begin(&id, anew)?;
        }
        let mut partitions = BTreeMap::new();
        for partition in self.mine.iter().copied() {
            let first = |from| (Position::at(NextOffset(0)), from, String::new());
            let (at, from, note) = match entries.remove(&partition) {
                Some(Entry::At(at, from, note)) => (at, from, note),
                Some(Entry::Void) => first(StartedFrom::Recreated),
                None | Some(Entry::None) if known => first(StartedFrom::Recreated),
                None | Some(Entry::None) => first(StartedFrom::Added),
            };
            let (low, high) = self.ask_marks(partition)?;
            partitions.insert(partition, judge(at, from, note, low, high));
        }
        // After a reset error that the marks do not explain, the log was cut and has grown again.
        let explained = partitions.values().filter(|start| start.gap.is_some()).count();
        if explained < self.reset_errors {
            for start in partitions.values_mut().filter(|start| start.gap.is_none()) {
                start.gap = Some(GapReason::Truncated);
                start.at.epoch = LeaderEpoch::UNKNOWN;
            }
        }
        // Offsets of one topic under the id of another would skip records.
        if self.ask_topic_id()? != id {
            return Err(NotYet::Fault("the topic is being created anew".to_owned()));
        }
        Ok(Starts { topic_id: id, partitions })
    }

    /// Commits a position for every partition of the topic, if that is this instance's to do.
    fn begin(&mut self, id: &str, anew: bool) -> Result<BTreeMap<Partition, Entry>, NotYet> {
        if !self.mine.contains(&FIRST) {
            return Err(NotYet::Waiting);
        }
        let from = if anew { StartedFrom::Recreated } else { StartedFrom::Beginning };
        let mut entries = BTreeMap::new();
        for partition in self.ask_partitions()? {
            let at = if anew {
                NextOffset(0)
            } else {
                let (low, high) = self.ask_marks(partition)?;
                match self.options.begin {
                    BeginAt::End => high,
                    BeginAt::Earliest => low,
                }
            };
            entries.insert(partition, Entry::At(Position::at(at), from, String::new()));
        }
        if self.ask_topic_id()? != id {
            return Err(NotYet::Fault("the topic is being created anew".to_owned()));
        }
        let positions = entries.iter().filter_map(|(partition, entry)| match entry {
            Entry::At(at, ..) => Some((*partition, *at, "")),
            _ => None,
        });
        let offsets = offsets(&self.options.input, id, positions)?;
        let Some(membership) = &self.membership else { return Err(NotYet::Waiting) };
        let also = |offsets: &_| commit_to_embedded(&self.consumer, &self.kafka, offsets);
        self.transactions.write(&[], &offsets, membership, also)?;
        Ok(entries)
    }

    fn ask_committed(
        &self,
        partitions: &BTreeSet<Partition>,
        id: &str,
    ) -> Result<BTreeMap<Partition, Entry>, NotYet> {
        let topic = &self.options.input;
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(topic, partition.0);
        }
        let list = self.consumer.committed_offsets(list, self.kafka.request_timeout);
        let list = list.map_err(fault("asking for the committed positions"))?;
        let mut entries = BTreeMap::new();
        for element in list.elements() {
            // A transaction that holds positions of this group may be open: it ends, or is ended.
            element.error().map_err(fault("asking for a committed position"))?;
            let partition = Partition(element.partition());
            let committed = tidewire_topic_id::committed(&list, topic, partition.0);
            let entry = committed.map_or(Entry::None, |committed| {
                let text = String::from_utf8_lossy(&committed.metadata);
                // A position without our text was set by hand, for the topic that is there.
                let ours = text.strip_prefix(TEXT_PREFIX).unwrap_or(id);
                let (of, note) = ours.split_once(' ').unwrap_or((ours, ""));
                if of != id {
                    return Entry::Void;
                }
                let next = NextOffset(committed.next);
                let epoch = LeaderEpoch(committed.leader_epoch);
                Entry::At(Position { next, epoch }, StartedFrom::Committed, note.to_owned())
            });
            entries.insert(partition, entry);
        }
        Ok(entries)
    }

    pub(super) fn ask_topic_id(&self) -> Result<String, NotYet> {
        if let Some(id) = &self.kafka.embedded_id {
            return Ok(id.clone());
        }
        let topic = &self.options.input;
        let timeout = self.kafka.request_timeout;
        match tidewire_topic_id::topic_id(self.consumer.client(), topic, timeout) {
            Ok(Some(id)) => Ok(id),
            Ok(None) => Err(NotYet::Fault(format!("topic {topic} does not exist"))),
            Err(error) => Err(NotYet::Fault(error.to_string())),
        }
    }

    /// The partitions of the input, if the answer is complete.
    fn ask_partitions(&self) -> Result<BTreeSet<Partition>, NotYet> {
        let topic = &self.options.input;
        let metadata = self.consumer.fetch_metadata(Some(topic), self.kafka.request_timeout);
        let metadata = metadata.map_err(fault("asking for the partitions"))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let found: BTreeSet<_> = found
            .filter(|found| found.error().is_none())
            .map(|found| found.partitions().iter().map(|p| Partition(p.id())).collect())
            .unwrap_or_default();
        let complete = found.iter().zip(0..).all(|(partition, id)| partition.0 == id);
        if found.is_empty() || !complete {
            return Err(NotYet::Fault(format!("topic {topic}: not all partitions are told of")));
        }
        Ok(found)
    }

    /// The first offset that is kept and the last stable one.
    pub(super) fn ask_marks(
        &self,
        partition: Partition,
    ) -> Result<(NextOffset, NextOffset), NotYet> {
        let (topic, timeout) = (&self.options.input, self.kafka.request_timeout);
        match self.consumer.fetch_watermarks(topic, partition.0, timeout) {
            Ok((low, high)) if low >= 0 && high >= low => Ok((NextOffset(low), NextOffset(high))),
            Ok((low, high)) => Err(NotYet::Fault(format!(
                "{topic} [{partition}]: strange offsets {low} to {high}"
            ))),
            Err(error) => Err(NotYet::Fault(format!("{topic} [{partition}]: {error}"))),
        }
    }
}

fn fault(what: &str) -> impl FnOnce(RdError) -> NotYet + '_ {
    move |error| NotYet::Fault(format!("{what}: {error}"))
}

/// The positions as they are committed, each with a note.
pub(super) fn offsets<'a>(
    topic: &str,
    id: &str,
    positions: impl Iterator<Item = (Partition, Position, &'a str)>,
) -> Result<TopicPartitionList, StageError> {
    let mut list = TopicPartitionList::new();
    for (partition, at, note) in positions {
        let (next, epoch) = (at.next.0, at.epoch.0);
        tidewire_topic_id::add_partition(&mut list, topic, partition.0, next, epoch)
            .map_err(|code| StageError::Aborted(format!("offset {next}: {code}")))?;
        if let Some(mut element) = list.find_partition(topic, partition.0) {
            let blank = if note.is_empty() { "" } else { " " };
            element.set_metadata(format!("{TEXT_PREFIX}{id}{blank}{note}"));
        }
    }
    Ok(list)
}

/// Where a partition is read from, given what is kept of it.
fn judge(
    at: Position,
    from: StartedFrom,
    note: String,
    low: NextOffset,
    high: NextOffset,
) -> Start {
    let committed = at.next;
    let (at, gap) = if committed < low {
        (Position::at(low), Some(GapReason::Retention))
    } else if committed > high {
        (Position::at(high), Some(GapReason::Truncated))
    } else {
        (at, None)
    };
    // What was cut off is not passed over.
    Start { committed: committed.min(at.next), at, from, note, gap }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_outside_the_log_is_a_gap() {
        let check = |committed, low, high, at, expected: Option<GapReason>| {
            let start = judge(
                Position { next: NextOffset(committed), epoch: LeaderEpoch(3) },
                StartedFrom::Committed,
                String::new(),
                NextOffset(low),
                NextOffset(high),
            );
            assert_eq!((start.at.next.0, start.gap), (at, expected), "{committed} {low} {high}");
            assert_eq!(start.at.epoch.0, if expected.is_some() { -1 } else { 3 });
            assert_eq!(start.committed.0, committed.min(at));
        };
        check(5, 0, 9, 5, None);
        check(5, 5, 5, 5, None);
        check(4, 5, 9, 5, Some(GapReason::Retention));
        check(0, 5, 5, 5, Some(GapReason::Retention));
        check(10, 5, 9, 9, Some(GapReason::Truncated));
    }

    #[test]
    fn committed_positions_carry_the_topics_id() {
        let at = Position { next: NextOffset(7), epoch: LeaderEpoch(2) };
        let positions = [(Partition(3), at, ""), (Partition(4), at, "a note")];
        let list = offsets("t", "an-id", positions.into_iter()).ok().unwrap();
        let committed = tidewire_topic_id::committed(&list, "t", 3).unwrap();
        assert_eq!((committed.next, committed.leader_epoch), (7, 2));
        assert_eq!(committed.metadata, b"tw1 an-id");
        let committed = tidewire_topic_id::committed(&list, "t", 4).unwrap();
        assert_eq!(committed.metadata, b"tw1 an-id a note");
        assert_eq!(tidewire_topic_id::committed(&list, "t", 5), None);
    }
}
