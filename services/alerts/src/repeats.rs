//! Changes that stand in the log again: their producer died, or lost an answer, and published them once more.
//! No script runs over such a record.
//!
//! A change is told by its change id, or else by the version of its object. Whether a record is a repeat
//! follows from the log alone: it is one if the same change stands in the [window](Repeats::new) of records
//! before it in its partition (a change keeps its key, and so its partition). So a batch that is handed out
//! again is judged as before, and so is a partition that comes from another replica, whose window is then
//! read back.
//!
//! An older version behind a newer one is no repeat: that change happened, and no script has seen it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher as _, Hash, RandomState};

use tidewire_event::{NextOffset, Offset, Partition, RecordHeader};
use tidewire_log::{HistoryError, LogHistory, LogRecord, Stretch, read_stretch};

/// Which changes stand in the log, partition by partition.
pub(crate) struct Repeats {
    window: i64,
    hasher: RandomState,
    partitions: BTreeMap<Partition, Seen>,
}

/// Where changes stood first, by keyed 64-bit hashes: that a new one meets one of 10,000 by chance has a
/// probability below 2^-50.
#[derive(Default)]
struct Seen {
    first: HashMap<u64, i64>,
    /// Offset and hash, oldest first.
    order: VecDeque<(i64, u64)>,
}

impl Repeats {
    /// Knows of no partition yet. `window`: offsets of a partition in which a repeat is known; 0: none is.
    pub(crate) fn new(window: u32) -> Self {
        let window = i64::from(window);
        Self { window, hasher: RandomState::new(), partitions: BTreeMap::new() }
    }

    /// Whether what stands before a partition's position is known.
    pub(crate) fn knows(&self, partition: Partition) -> bool {
        self.window == 0 || self.partitions.contains_key(&partition)
    }

    /// The partition is read by others, or from elsewhere.
    pub(crate) fn forget(&mut self, partition: Partition) {
        self.partitions.remove(&partition);
    }

    /// Nothing before `next` is asked about from now on: what stands more than the window before it is
    /// forgotten. Between two calls everything is remembered, since a batch may be handed out again.
    pub(crate) fn go_on(&mut self, partition: Partition, next: NextOffset) {
        if let Some(seen) = self.partitions.get_mut(&partition) {
            seen.forget_before(next.0.saturating_sub(self.window));
        }
    }

    /// Reads back what stands before `next`. Blocks.
    ///
    /// # Errors
    /// Kafka does not answer; what was found so far counts, and the partition is known from now on.
    pub(crate) fn read_back(
        &mut self,
        history: &mut dyn LogHistory,
        partition: Partition,
        next: NextOffset,
    ) -> Result<(), HistoryError> {
        self.partitions.insert(partition, Seen::default());
        let from = NextOffset(next.0.saturating_sub(self.window).max(0));
        let stretch = Stretch { partition, from, to: next };
        read_stretch(history, stretch, &mut |record| self.note(record))
    }

    fn note(&mut self, record: &LogRecord<'_>) {
        // Poison was no change.
        if let Ok(header) = RecordHeader::of_record(record.header, record.payload.is_some()) {
            self.is_repeat(record, &header);
        }
    }

    /// Whether a record is a repeat; remembers it.
    pub(crate) fn is_repeat(&mut self, record: &LogRecord<'_>, header: &RecordHeader<'_>) -> bool {
        if self.window == 0 {
            return false;
        }
        let change_id = header.change_id.as_deref();
        let version = header.version.as_ref().map(|version| (&version.epoch, version.number));
        let by_id = change_id.map(|id| self.hash(&(record.key, id)));
        let by_version = version.map(|version| self.hash(&(record.key, version)));
        let (offset, window) = (record.offset, self.window);
        let seen = self.partitions.entry(record.partition).or_default();
        // Both are to be remembered.
        let repeats = [by_id, by_version]
            .map(|hash| hash.is_some_and(|hash| seen.stood_before(hash, offset, window)));
        repeats.contains(&true)
    }

    fn hash(&self, what: &impl Hash) -> u64 {
        self.hasher.hash_one(what)
    }
}

impl Seen {
    /// Whether it stands in the window before this offset; else it stands here.
    fn stood_before(&mut self, hash: u64, offset: Offset, window: i64) -> bool {
        let offset = offset.0;
        let first = self.first.get(&hash).copied();
        if first.is_some_and(|first| first < offset && first >= offset - window) {
            return true;
        }
        if first != Some(offset) {
            self.first.insert(hash, offset);
            self.order.push_back((offset, hash));
        }
        false
    }

    fn forget_before(&mut self, offset: i64) {
        while let Some((first, hash)) = self.order.front().copied().filter(|(at, _)| *at < offset) {
            self.order.pop_front();
            if self.first.get(&hash) == Some(&first) {
                self.first.remove(&hash);
            }
        }
    }
}

#[cfg(test)]
mod tests;
