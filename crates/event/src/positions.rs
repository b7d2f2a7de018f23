//! Where reading goes on: a next offset in every partition of one life of the topic.

use std::sync::Arc;

use crate::{FrameId, NextOffset, Partition};

/// The id of one life of a topic, as the cluster gives it: a topic created anew has another one.
pub type TopicId = Arc<str>;

/// The leader epoch of what was read last (KIP-101); [`LeaderEpoch::UNKNOWN`] where nobody told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(pub i32);

impl LeaderEpoch {
    /// Kafka's own word for "not known".
    pub const UNKNOWN: Self = Self(-1);
}

/// Where reading goes on in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The next offset: all before it is behind the reader.
    pub next: NextOffset,
    /// The leader epoch of the last record before it.
    pub epoch: LeaderEpoch,
}

impl Position {
    /// A position of which no epoch is known.
    #[must_use]
    pub const fn at(next: NextOffset) -> Self {
        Self { next, epoch: LeaderEpoch::UNKNOWN }
    }
}

/// A position in every partition that was known when it was made, also in those at 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Positions {
    topic: TopicId,
    partitions: Vec<Option<Position>>,
}

impl Positions {
    /// Most partitions of a topic.
    pub const PARTITIONS_MAX: usize = 4096;

    /// No partition yet, of this life of the topic.
    #[must_use]
    pub const fn new(topic: TopicId) -> Self {
        Self { topic, partitions: Vec::new() }
    }

    /// Which life of the topic the offsets belong to.
    #[must_use]
    pub const fn topic(&self) -> &TopicId {
        &self.topic
    }

    /// The position in a partition; `None` if it is not known.
    #[must_use]
    pub fn get(&self, partition: Partition) -> Option<Position> {
        self.partitions.get(usize::try_from(partition.0).ok()?).copied().flatten()
    }

    /// Sets a position, forwards or backwards. A partition outside `0..PARTITIONS_MAX` is not taken.
    pub fn set(&mut self, partition: Partition, position: Position) {
        let Some(index) = index(partition) else { return };
        if self.partitions.len() <= index {
            self.partitions.resize(index + 1, None);
        }
        if let Some(slot) = self.partitions.get_mut(index) {
            *slot = Some(position);
        }
    }

    /// Moves a position forwards; one that would go back stays.
    pub fn advance(&mut self, partition: Partition, position: Position) {
        if self.get(partition).is_none_or(|known| known.next < position.next) {
            self.set(partition, position);
        }
    }

    /// Moves every position forwards to those of `other`, of the same life of the topic.
    pub fn advance_all(&mut self, other: &Self) {
        for (partition, position) in other.iter() {
            self.advance(partition, position);
        }
    }

    /// True if the record lies before its partition's position.
    #[must_use]
    pub fn covers(&self, id: FrameId) -> bool {
        self.get(id.partition).is_some_and(|position| id.offset.0 < position.next.0)
    }

    /// The known partitions, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Partition, Position)> + '_ {
        (0_i32..).zip(&self.partitions).filter_map(|(p, at)| at.map(|at| (Partition(p), at)))
    }

    /// True if no partition is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

fn index(partition: Partition) -> Option<usize> {
    usize::try_from(partition.0).ok().filter(|index| *index < Positions::PARTITIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Offset;

    #[test]
    fn a_position_covers_what_lies_before_it() {
        let mut positions = Positions::new("t".into());
        assert!(positions.is_empty());
        positions.set(Partition(2), Position::at(NextOffset(5)));
        let covers = |positions: &Positions, partition, offset| {
            positions.covers(FrameId { partition: Partition(partition), offset: Offset(offset) })
        };
        assert!(covers(&positions, 2, 4));
        assert!(!covers(&positions, 2, 5));
        assert!(!covers(&positions, 1, 0));
        positions.advance(Partition(2), Position::at(NextOffset(3)));
        assert_eq!(positions.get(Partition(2)), Some(Position::at(NextOffset(5))));
        positions.set(Partition(-1), Position::at(NextOffset(1)));
        positions.set(Partition(4096), Position::at(NextOffset(1)));
        assert_eq!(positions.iter().count(), 1);
        let mut other = Positions::new("t".into());
        other.advance_all(&positions);
        assert_eq!(other, positions);
    }
}
