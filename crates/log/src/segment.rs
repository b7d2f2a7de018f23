//! A stretch of one partition in memory: what a replica keeps of the log and what it reads again.
//!
//! All bytes of a segment lie in one allocation and its index in another, so that thousands of records
//! cost the allocator nothing. A segment says where it starts and where reading goes on behind it; holes
//! (transaction markers, aborted records) lie between its records and at both ends.
//!
//! Invariant: the offsets of a segment's records rise, and lie in `from()..to().next`.

use std::fmt;

use tidewire_event::{LeaderEpoch, NextOffset, Offset, Partition, Position};

use crate::LogRecord;

/// The length of a part that is not there. Kafka's own lengths are of 31 bits.
const NONE: u32 = u32::MAX;

/// One record: where its key, header and payload lie one behind the other, and what is not bytes.
#[derive(Clone, Copy)]
struct Entry {
    offset: i64,
    timestamp_ms: i64,
    start: usize,
    epoch: i32,
    header_count: u32,
    key: u32,
    header: u32,
    payload: u32,
}

/// Records of one partition, in order.
pub struct Segment {
    partition: Partition,
    from: NextOffset,
    to: Position,
    entries: Box<[Entry]>,
    data: Box<[u8]>,
}

impl Segment {
    /// The partition.
    #[must_use]
    pub const fn partition(&self) -> Partition {
        self.partition
    }

    /// Where it starts: what lies between here and the first record is a hole.
    #[must_use]
    pub const fn from(&self) -> NextOffset {
        self.from
    }

    /// Where reading goes on behind it, over the holes at its end.
    #[must_use]
    pub const fn to(&self) -> Position {
        self.to
    }

    /// What it takes in memory: the bytes of its records and its index.
    #[must_use]
    pub fn bytes(&self) -> usize {
        memory(&self.data, &self.entries)
    }

    /// How many records it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if it holds no record; it may pass over holes all the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The records from `next` on.
    pub fn records_from(&self, next: NextOffset) -> impl Iterator<Item = LogRecord<'_>> {
        let first = self.entries.partition_point(|entry| entry.offset < next.0);
        self.entries.iter().skip(first).map(|entry| self.record(entry))
    }

    fn record(&self, entry: &Entry) -> LogRecord<'_> {
        let mut at = entry.start;
        let mut take = |length: u32| {
            if length == NONE {
                return None;
            }
            let from = at;
            at = at.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
            self.data.get(from..at)
        };
        LogRecord {
            partition: self.partition,
            offset: Offset(entry.offset),
            leader_epoch: LeaderEpoch(entry.epoch),
            timestamp_ms: entry.timestamp_ms,
            key: take(entry.key),
            header: take(entry.header),
            header_count: usize::try_from(entry.header_count).unwrap_or(usize::MAX),
            payload: take(entry.payload),
        }
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("partition", &self.partition)
            .field("from", &self.from)
            .field("to", &self.to)
            .field("len", &self.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// Collects the records of a segment. It keeps its memory for the next one.
pub struct SegmentBuilder {
    partition: Partition,
    from: NextOffset,
    entries: Vec<Entry>,
    data: Vec<u8>,
}

impl SegmentBuilder {
    /// Nothing yet, from this place on.
    #[must_use]
    pub const fn new(partition: Partition, from: NextOffset) -> Self {
        Self { partition, from, entries: Vec::new(), data: Vec::new() }
    }

    /// Adds the next record. One that lies before the last, or before the start, is not taken.
    pub fn push(&mut self, record: &LogRecord<'_>) {
        let next = self.entries.last().map_or(self.from.0, |last| last.offset.saturating_add(1));
        debug_assert!(
            record.partition == self.partition && record.offset.0 >= next,
            "a record at {}-{} behind {}-{next}",
            record.partition,
            record.offset,
            self.partition
        );
        if record.offset.0 < next {
            return;
        }
        let start = self.data.len();
        let mut add = |part: Option<&[u8]>| {
            let Some(part) = part else { return NONE };
            let length = u32::try_from(part.len()).unwrap_or(NONE).min(NONE - 1);
            self.data.extend_from_slice(part);
            length
        };
        self.entries.push(Entry {
            offset: record.offset.0,
            timestamp_ms: record.timestamp_ms,
            start,
            epoch: record.leader_epoch.0,
            header_count: u32::try_from(record.header_count).unwrap_or(u32::MAX),
            key: add(record.key),
            header: add(record.header),
            payload: add(record.payload),
        });
    }

    /// What a segment of the records so far would take in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        memory(&self.data, &self.entries)
    }

    /// How many records it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if it holds no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Makes the segment, which ends at `to`. The builder goes on from there, with nothing.
    pub fn finish(&mut self, to: Position) -> Segment {
        debug_assert!(
            self.entries.last().map_or(self.from.0, |last| last.offset + 1) <= to.next.0,
            "a segment of {} that ends before its last record, at {}",
            self.partition,
            to.next
        );
        // Copied, so that the segment has no spare room and the builder keeps its own.
        let segment = Segment {
            partition: self.partition,
            from: self.from,
            to,
            entries: self.entries.as_slice().into(),
            data: self.data.as_slice().into(),
        };
        self.restart(self.partition, to.next);
        segment
    }

    /// Drops what it holds and starts anew elsewhere.
    pub fn restart(&mut self, partition: Partition, from: NextOffset) {
        self.partition = partition;
        self.from = from;
        self.entries.clear();
        self.data.clear();
    }
}

impl fmt::Debug for SegmentBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentBuilder")
            .field("partition", &self.partition)
            .field("from", &self.from)
            .field("len", &self.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

const fn memory(data: &[u8], entries: &[Entry]) -> usize {
    data.len() + size_of_val(entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A record that owns its bytes, and the hole before it.
    #[derive(Clone, Debug)]
    struct Owned {
        hole: i64,
        timestamp_ms: i64,
        epoch: i32,
        header_count: usize,
        key: Option<Vec<u8>>,
        header: Option<Vec<u8>>,
        payload: Option<Vec<u8>>,
    }

    fn owned() -> impl Strategy<Value = Owned> {
        let part = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
        (0_i64..5, any::<i64>(), -1_i32..9, 0_usize..4, part(), part(), part()).prop_map(
            |(hole, timestamp_ms, epoch, header_count, key, header, payload)| Owned {
                hole,
                timestamp_ms,
                epoch,
                header_count,
                key,
                header,
                payload,
            },
        )
    }

    fn lend<'a>(owned: &'a [Owned], from: i64) -> Vec<LogRecord<'a>> {
        let mut next = from;
        let lend = |one: &'a Owned| {
            let offset = Offset(next + one.hole);
            next = offset.0 + 1;
            LogRecord {
                partition: Partition(3),
                offset,
                leader_epoch: LeaderEpoch(one.epoch),
                timestamp_ms: one.timestamp_ms,
                key: one.key.as_deref(),
                header: one.header.as_deref(),
                header_count: one.header_count,
                payload: one.payload.as_deref(),
            }
        };
        owned.iter().map(lend).collect()
    }

    proptest! {
        #[test]
        fn records_come_back_as_they_went_in(
            first in proptest::collection::vec(owned(), 0..30),
            second in proptest::collection::vec(owned(), 0..30),
            from in 0_i64..1000,
            hole in 0_i64..5,
        ) {
            let mut builder = SegmentBuilder::new(Partition(3), NextOffset(from));
            let mut from = from;
            // The builder is used twice, and holds nothing of the first segment in the second.
            for owned in [&first, &second] {
                let records = lend(owned, from);
                for record in &records {
                    builder.push(record);
                }
                let end = records.last().map_or(from, |last| last.offset.0 + 1) + hole;
                let bytes = builder.bytes();
                prop_assert_eq!(builder.len(), records.len());
                let to = Position { next: NextOffset(end), epoch: LeaderEpoch(4) };
                let segment = builder.finish(to);
                prop_assert!(builder.is_empty());
                prop_assert_eq!(segment.bytes(), bytes);
                prop_assert_eq!((segment.from(), segment.to()), (NextOffset(from), to));
                prop_assert_eq!(segment.len(), records.len());
                for next in from - 1..=end + 1 {
                    let expected: Vec<_> =
                        records.iter().filter(|r| r.offset.0 >= next).copied().collect();
                    let found: Vec<_> = segment.records_from(NextOffset(next)).collect();
                    prop_assert_eq!(found, expected);
                }
                from = end;
            }
        }
    }

    #[test]
    fn a_segment_takes_little_beside_its_bytes() {
        let mut builder = SegmentBuilder::new(Partition(0), NextOffset(0));
        let payload = [7; 1000];
        for offset in 0..100 {
            builder.push(&LogRecord {
                partition: Partition(0),
                offset: Offset(offset),
                leader_epoch: LeaderEpoch::UNKNOWN,
                timestamp_ms: 0,
                key: None,
                header: None,
                header_count: 0,
                payload: Some(&payload),
            });
        }
        let segment = builder.finish(Position::at(NextOffset(100)));
        assert!((100_000..=105_000).contains(&segment.bytes()), "{segment:?}");
    }
}
