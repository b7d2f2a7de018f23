//! The log: partitions of records and holes, with a beginning that retention moves.

use std::collections::HashMap;

use crate::{Certainty, Change, FrameId, Stamp};

/// A record's data; the change as it will be written down.
pub(super) type Record = usize;

/// One life of the topic.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) life: u32,
    partitions: Vec<Partition>,
    /// All changes ever sent; records point here.
    pub(super) changes: Vec<Change>,
    /// The first record of a change that was published again, by the second.
    pub(super) twins: HashMap<Record, Record>,
}

#[derive(Debug, Default)]
struct Partition {
    slots: Vec<Option<Record>>,
    start: u64,
}

impl Log {
    pub(super) fn new(partitions: usize) -> Self {
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        Self { life: 0, partitions, ..Self::default() }
    }

    pub(super) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    pub(super) fn add_partition(&mut self) {
        self.partitions.push(Partition::default());
    }

    /// All records are gone and offsets begin anew.
    pub(super) fn recreate(&mut self) {
        self.life += 1;
        self.partitions.iter_mut().for_each(|partition| *partition = Partition::default());
    }

    /// The offset behind the last one.
    pub(super) fn end(&self, partition: usize) -> u64 {
        self.partitions.get(partition).map_or(0, |p| p.slots.len() as u64)
    }

    pub(super) fn ends(&self) -> Vec<u64> {
        (0..self.partitions()).map(|partition| self.end(partition)).collect()
    }

    /// The first offset that is kept.
    pub(super) fn start(&self, partition: usize) -> u64 {
        self.partitions.get(partition).map_or(0, |p| p.start)
    }

    pub(super) fn forget_before(&mut self, partition: usize, start: u64) {
        if let Some(partition) = self.partitions.get_mut(partition) {
            partition.start = partition.start.max(start.min(partition.slots.len() as u64));
        }
    }

    /// A transaction's marker, or a record that it aborted.
    pub(super) fn append_hole(&mut self, partition: usize) {
        if let Some(partition) = self.partitions.get_mut(partition) {
            partition.slots.push(None);
        }
    }

    /// Appends a change and gives it its id; it is acknowledged later.
    pub(super) fn append(&mut self, partition: usize, mut change: Change, began: Stamp) -> Record {
        let record = self.changes.len();
        if let Some(id) = FrameId::new(partition as u64, self.end(partition)) {
            change.id = id;
        }
        change.life = self.life;
        change.began = began;
        change.certainty = Certainty::Once;
        self.changes.push(change);
        if let Some(partition) = self.partitions.get_mut(partition) {
            partition.slots.push(Some(record));
        }
        record
    }

    /// Appends a change twice: the answer to the first was lost. The producer knows the second only.
    pub(super) fn append_twice(
        &mut self,
        partition: usize,
        change: Change,
        began: Stamp,
    ) -> Record {
        let first = self.append(partition, change.clone(), began);
        let second = self.append(partition, change, began);
        for record in [first, second] {
            if let Some(change) = self.changes.get_mut(record) {
                change.certainty = Certainty::PerhapsTwice;
            }
        }
        self.twins.insert(second, first);
        second
    }

    /// The record at an offset, if there is one.
    pub(super) fn read(&self, partition: usize, offset: u64) -> Option<Record> {
        let partition = self.partitions.get(partition)?;
        let offset = usize::try_from(offset).ok()?;
        partition.slots.get(offset).copied().flatten()
    }

    pub(super) fn change(&self, record: Record) -> Option<&Change> {
        self.changes.get(record)
    }
}
