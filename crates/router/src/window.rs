//! The hot window: the tail of the log that a replica keeps in memory, so that who comes back after a
//! moment is served without Kafka.
//!
//! Per partition it holds segments that follow one another without a seam, holes in the offsets
//! included; the last one is open. All partitions share one bound in bytes, and the oldest segment goes
//! first, whichever partition it belongs to. One thread appends (the router's); shards read.
//!
//! Invariant: of the offsets from a partition's `start` to its `end`, the window holds every record that
//! there is. When records may be missing or the log was cut it begins anew and counts a generation: a
//! shard that has not heard of that yet reads nothing of what follows as if it were of before.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidewire_event::{LeaderEpoch, NextOffset, Partition, Position};
use tidewire_log::{LogRecord, Segment, SegmentBuilder};

/// A segment is closed when it has so many bytes.
const SEGMENT_BYTES: usize = 64 * 1024;
/// So many changes of leader are remembered for each partition.
const EPOCHS_MAX: usize = 64;

/// What the window has at an offset.
#[derive(Debug)]
pub enum Found {
    /// A segment that holds it, or the hole that it lies in.
    Segment(Arc<Segment>),
    /// It lies before what is kept: here that begins.
    Before(NextOffset),
    /// It lies at the end, or behind it.
    End,
}

#[derive(Debug)]
struct Tail {
    start: NextOffset,
    closed: VecDeque<Arc<Segment>>,
    open: SegmentBuilder,
    end: Position,
    /// Each leader epoch that was seen, with the first offset in it.
    epochs: VecDeque<(LeaderEpoch, NextOffset)>,
}

#[derive(Debug, Default)]
struct Tails {
    tails: Vec<Option<Tail>>,
    /// The partitions of closed segments, oldest first.
    order: VecDeque<Partition>,
    closed_bytes: usize,
    /// How many gaps there were.
    generation: u64,
}

/// The window of a replica.
#[derive(Debug)]
pub struct Window {
    bytes_max: usize,
    tails: Mutex<Tails>,
}

impl Tail {
    fn at(position: Position, partition: Partition) -> Self {
        Self {
            start: position.next,
            closed: VecDeque::new(),
            open: SegmentBuilder::new(partition, position.next),
            end: position,
            epochs: VecDeque::new(),
        }
    }

    fn note_epoch(&mut self, epoch: LeaderEpoch, at: NextOffset) {
        if epoch != LeaderEpoch::UNKNOWN && self.epochs.back().is_none_or(|(last, _)| *last < epoch)
        {
            if self.epochs.len() == EPOCHS_MAX {
                self.epochs.pop_front();
            }
            self.epochs.push_back((epoch, at));
        }
    }
}

impl Tails {
    fn get(&mut self, partition: Partition) -> Option<&mut Tail> {
        self.tails.get_mut(usize::try_from(partition.0).ok()?)?.as_mut()
    }

    /// Closes the open segment of a partition.
    fn close(&mut self, partition: Partition) {
        let Some(tail) = self.get(partition) else { return };
        let next = SegmentBuilder::new(partition, tail.end.next);
        let segment = std::mem::replace(&mut tail.open, next).finish(tail.end);
        let bytes = segment.bytes();
        tail.closed.push_back(Arc::new(segment));
        self.closed_bytes += bytes;
        self.order.push_back(partition);
    }

    fn evict(&mut self, bytes_max: usize) {
        while self.closed_bytes > bytes_max {
            let Some(partition) = self.order.pop_front() else { return };
            let Some(tail) = self.get(partition) else { continue };
            let Some(oldest) = tail.closed.pop_front() else { continue };
            tail.start = oldest.to().next;
            self.closed_bytes -= oldest.bytes();
        }
    }

    /// Forgets all of a partition and begins anew.
    fn reset(&mut self, partition: Partition, position: Position) {
        let Ok(index) = usize::try_from(partition.0) else { return };
        self.order.retain(|p| *p != partition);
        if self.tails.len() <= index {
            self.tails.resize_with(index + 1, || None);
        }
        if let Some(place) = self.tails.get_mut(index) {
            let former = place.replace(Tail::at(position, partition));
            let closed = former.map_or(0, |t| t.closed.iter().map(|s| s.bytes()).sum());
            self.closed_bytes -= closed;
        }
    }
}

impl Window {
    /// An empty window that keeps at most about `bytes_max` bytes of keys, headers and bodies.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        let tails =
            Tails { tails: Vec::new(), order: VecDeque::new(), closed_bytes: 0, generation: 0 };
        Self { bytes_max, tails: Mutex::new(tails) }
    }

    fn lock(&self) -> MutexGuard<'_, Tails> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a record.
    pub(crate) fn append(&self, record: &LogRecord<'_>) {
        let mut tails = self.lock();
        let next = record.offset.next();
        let position = Position { next, epoch: record.leader_epoch };
        if tails.get(record.partition).is_none() {
            tails.reset(record.partition, Position::at(NextOffset(record.offset.0)));
        }
        let Some(tail) = tails.get(record.partition) else { return };
        tail.open.push(record);
        tail.note_epoch(record.leader_epoch, NextOffset(record.offset.0));
        tail.end = position;
        if tail.open.bytes() >= SEGMENT_BYTES {
            tails.close(record.partition);
            tails.evict(self.bytes_max);
        }
    }

    /// The end of a partition moves over a hole.
    pub(crate) fn pass(&self, partition: Partition, next: NextOffset) {
        let mut tails = self.lock();
        match tails.get(partition) {
            Some(tail) if tail.end.next <= next => tail.end.next = next,
            Some(_) => {}
            None => tails.reset(partition, Position::at(next)),
        }
    }

    /// Records of a partition may be missing: the window begins anew there.
    pub(crate) fn reset(&self, partition: Partition, next: NextOffset) {
        let mut tails = self.lock();
        tails.generation += 1;
        tails.reset(partition, Position::at(next));
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let mut tails = self.lock();
        *tails = Tails { generation: tails.generation + 1, ..Tails::default() };
    }

    /// How many gaps there were.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// What stands at an offset, for one who has heard of so many gaps.
    #[must_use]
    pub fn find(&self, partition: Partition, at: NextOffset, generation: u64) -> Found {
        let mut tails = self.lock();
        if tails.generation != generation {
            return Found::End;
        }
        let Some(tail) = tails.get(partition) else { return Found::Before(NextOffset(i64::MAX)) };
        if at < tail.start {
            return Found::Before(tail.start);
        }
        if at >= tail.end.next {
            return Found::End;
        }
        if tail.closed.back().is_none_or(|last| last.to().next <= at) {
            tails.close(partition);
        }
        let Some(tail) = tails.get(partition) else { return Found::End };
        let index = tail.closed.partition_point(|segment| segment.to().next <= at);
        tail.closed.get(index).map_or(Found::End, |segment| Found::Segment(Arc::clone(segment)))
    }

    /// Where the kept part of a partition begins; `None` if nothing is known of it.
    #[must_use]
    pub fn start(&self, partition: Partition) -> Option<NextOffset> {
        self.lock().get(partition).map(|tail| tail.start)
    }

    /// Whether the leaders' history, as far as it was seen here, holds a position: the record before it
    /// is of its epoch. `Some(false)`: a later leader wrote what stands there now (KIP-101: what the
    /// position speaks of was cut off). `None`: what stands before it was not seen.
    #[must_use]
    pub fn confirms(&self, partition: Partition, position: Position) -> Option<bool> {
        if position.epoch == LeaderEpoch::UNKNOWN {
            return Some(true);
        }
        let mut tails = self.lock();
        let tail = tails.get(partition)?;
        let before = tail.epochs.iter().rev().find(|(_, begins)| *begins < position.next);
        before.map(|(epoch, _)| *epoch <= position.epoch)
    }

    /// Bytes that are kept, those of open segments included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let tails = self.lock();
        let open: usize = tails.tails.iter().flatten().map(|tail| tail.open.bytes()).sum();
        tails.closed_bytes + open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_event::Offset;

    fn append(window: &Window, partition: i32, offset: i64, epoch: i32, bytes: usize) {
        window.append(&LogRecord {
            partition: Partition(partition),
            offset: Offset(offset),
            timestamp_ms: 7,
            leader_epoch: LeaderEpoch(epoch),
            key: Some(b"k"),
            header: None,
            header_count: 0,
            payload: Some(&vec![b'x'; bytes]),
        });
    }

    /// The offsets that a reader gets from `at` on, following the segments.
    fn read(window: &Window, partition: i32, at: i64) -> Result<Vec<i64>, i64> {
        let (mut at, mut offsets) = (NextOffset(at), Vec::new());
        loop {
            match window.find(Partition(partition), at, window.generation()) {
                Found::Segment(segment) => {
                    assert!(segment.from() <= at && at < segment.to().next);
                    offsets.extend(segment.records_from(at).map(|r| r.offset.0));
                    at = segment.to().next;
                }
                Found::Before(start) => return Err(start.0),
                Found::End => return Ok(offsets),
            }
        }
    }

    #[test]
    fn holds_the_tail_of_each_partition() {
        let window = Window::new(1 << 20);
        window.pass(Partition(0), NextOffset(5));
        assert_eq!(read(&window, 0, 4), Err(5));
        assert_eq!(read(&window, 0, 5), Ok(vec![]));
        append(&window, 0, 5, 1, 10);
        append(&window, 0, 8, 1, 10);
        assert_eq!(read(&window, 0, 5), Ok(vec![5, 8]));
        append(&window, 0, 9, 1, 10);
        assert_eq!(read(&window, 0, 6), Ok(vec![8, 9]));
        window.pass(Partition(0), NextOffset(12));
        append(&window, 0, 12, 1, 10);
        assert_eq!(read(&window, 0, 10), Ok(vec![12]));
        assert_eq!(read(&window, 0, 13), Ok(vec![]));
        append(&window, 3, 100, 1, 10);
        assert_eq!(read(&window, 3, 100), Ok(vec![100]));
        assert_eq!(read(&window, 3, 99), Err(100));
        assert_eq!(read(&window, 1, 0), Err(i64::MAX), "nothing is known of it");
        window.reset(Partition(0), NextOffset(20));
        assert_eq!(read(&window, 0, 13), Err(20));
        let heard = window.generation();
        window.clear();
        assert_eq!(window.bytes(), 0);
        append(&window, 0, 0, 1, 10);
        assert!(matches!(window.find(Partition(0), NextOffset(0), heard), Found::End));
        assert_eq!(read(&window, 0, 0), Ok(vec![0]));
    }

    #[test]
    fn is_bounded_and_loses_the_oldest_first() {
        let window = Window::new(4 * SEGMENT_BYTES);
        append(&window, 1, 0, 1, SEGMENT_BYTES);
        for offset in 0..100 {
            append(&window, 0, offset, 1, SEGMENT_BYTES / 4);
        }
        assert!(window.bytes() <= 5 * SEGMENT_BYTES + SEGMENT_BYTES / 2, "{}", window.bytes());
        let start = window.start(Partition(0)).unwrap().0;
        assert!((80..=90).contains(&start), "{start}");
        assert_eq!(read(&window, 0, start), Ok((start..100).collect()));
        assert_eq!(read(&window, 0, start - 1), Err(start));
        assert_eq!(window.start(Partition(1)), Some(NextOffset(1)), "the quiet one's was older");
    }

    #[test]
    fn a_leader_that_cut_the_log_is_noticed() {
        let window = Window::new(1 << 20);
        for (offset, epoch) in [(10, 3), (11, 3), (12, 5), (13, 5), (14, 6)] {
            append(&window, 0, offset, epoch, 1);
        }
        let check = |next, epoch, expected| {
            let position = Position { next: NextOffset(next), epoch: LeaderEpoch(epoch) };
            assert_eq!(window.confirms(Partition(0), position), expected, "{next} {epoch}");
        };
        check(10, 3, None);
        check(11, 3, Some(true));
        check(11, 2, Some(false));
        check(12, 3, Some(true));
        check(13, 3, Some(false));
        check(13, 4, Some(false));
        check(14, 5, Some(true));
        check(15, 5, Some(false));
        check(15, 6, Some(true));
        check(99, 6, Some(true));
        check(9, -1, Some(true));
        let elsewhere = Position { next: NextOffset(1), epoch: LeaderEpoch(0) };
        assert_eq!(window.confirms(Partition(7), elsewhere), None);
    }
}
