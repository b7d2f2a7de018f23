//! One stretch of the log, read once for all readers that stand in it: its frames are encoded for each of
//! their views, and each reader is given those behind its position.

use std::sync::Arc;

use hashbrown::HashMap;
use tidewire_event::{LeaderEpoch, NextOffset, Partition, Position};
use tidewire_log::Segment;
use tidewire_wire::v1::GapReason;

use super::stamp::{CURSOR_INTERVAL_MS, MARK_INTERVAL_MS};
use super::throttle::is_spent;
use super::words::{Word, push_gap};
use super::{Now, ShardCore};
use crate::decode::{Decoded, decode};
use crate::event::RoutedEvent;
use crate::matching::{Role, owners_of};
use crate::recent::Recent;
use crate::view::{EventKind, Framing};

/// A scan stops when one view has so many bytes of frames.
const CHUNK_BYTES: usize = 64 * 1024;
/// The same for all views together.
const CHUNKS_BYTES: usize = 4 * 1024 * 1024;

/// How far a scan came.
pub(super) struct Scanned {
    pub(super) next: NextOffset,
    /// How many records it looked at.
    pub(super) looked: usize,
    /// True if it stopped because enough waits to be written: it goes on where it stopped once that is.
    pub(super) is_cut: bool,
}

/// Of each message: the offset of its record, and where it starts.
type Starts = Vec<(i64, usize)>;

/// Frames of one view in a stretch of the log.
#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    starts: Starts,
}

impl ShardCore {
    /// Scans a stretch of a segment, up to `end` at most, and gives its frames to the readers that stand in
    /// it.
    pub(super) fn scan(
        &mut self,
        segment: &Segment,
        from: NextOffset,
        end: Position,
        recent: &mut Recent,
        now: Now,
    ) -> Scanned {
        let partition = segment.partition();
        let mut to = if segment.to().next <= end.next { segment.to() } else { end };
        self.check_readers(segment);
        let stands_in = |lane: &usize| {
            let reader = self.reader(*lane).filter(|reader| reader.is_fed(partition, end));
            let next = reader.map(|reader| reader.next(partition));
            next.is_some_and(|next| next >= from && next < to.next) && self.has_room(*lane)
        };
        let readers: Vec<usize> = self.replay.readers.iter().copied().filter(stands_in).collect();
        if readers.is_empty() {
            return Scanned { next: to.next, looked: 0, is_cut: false };
        }
        let mut chunks: HashMap<usize, Chunk> = HashMap::new();
        for lane in &readers {
            if let Some(lane) = self.lanes.get(*lane) {
                chunks.entry(lane.view).or_default();
            }
        }
        let chunk_bytes = CHUNK_BYTES.min(self.settings.limits.queue_bytes_max / 4);
        let (mut looked, mut longest, mut epoch) = (0, 0, LeaderEpoch::UNKNOWN);
        let (mut total, mut is_cut) = (0, false);
        for record in segment.records_from(from) {
            if record.offset.0 >= to.next.0 {
                break;
            }
            if longest >= chunk_bytes.max(1) || total >= CHUNKS_BYTES {
                to = Position { next: NextOffset(record.offset.0), epoch };
                is_cut = true;
                break;
            }
            (looked, epoch) = (looked + 1, record.leader_epoch);
            // What is poison went to quarantine when it came first.
            if let Ok(Decoded::Event(event, _)) = decode(&self.replay.interest, recent, &record) {
                let (one, all) = self.replay_event(&Arc::new(*event), &mut chunks, now);
                (longest, total) = (longest.max(one), total + all);
            }
        }
        // What was read ends there under its own leader, also where the shard has read another's.
        if !is_cut && segment.to().next > end.next && looked > 0 {
            to.epoch = epoch;
        }
        self.stats.replay_records += looked as u64;
        self.hand_out(partition, to, &readers, chunks, now);
        Scanned { next: to.next, looked, is_cut }
    }

    /// Encodes an event for the views in `chunks`; returns the bytes of the longest chunk that grew, and
    /// by how much all of them did.
    fn replay_event(
        &mut self,
        event: &Arc<RoutedEvent>,
        chunks: &mut HashMap<usize, Chunk>,
        now: Now,
    ) -> (usize, usize) {
        if self.is_silent(event) {
            return (0, 0);
        }
        self.stamp += 1;
        self.encoders.begin();
        let owners = owners_of(event, &self.settings.model);
        let mut matched: Vec<(usize, Role)> = Vec::new();
        self.replay.routes.visit(event, &owners, |view, role| matched.push((view, role)));
        let (mut longest, mut total) = (0, 0);
        for (index, role) in matched {
            let Some(chunk) = chunks.get_mut(&index) else { continue };
            if !self.is_wanted(index, role, event) {
                continue;
            }
            let Some(view) = self.views.get_mut(index) else { continue };
            view.stamp = self.stamp;
            let start = chunk.bytes.len();
            chunk.starts.push((event.id.offset.0, start));
            match self.encoders.body(view.encoder, event, role) {
                Some(body) => {
                    let kind = EventKind::Change;
                    view.key.framing.push_event(&mut chunk.bytes, kind, body, &view.suffix);
                }
                None => push_gap(&mut chunk.bytes, &view.key, GapReason::Unreadable, now),
            }
            longest = longest.max(chunk.bytes.len());
            total += chunk.bytes.len() - start;
        }
        (longest, total)
    }

    /// Gives each reader what lies behind its position, and moves it on.
    fn hand_out(
        &mut self,
        partition: Partition,
        to: Position,
        readers: &[usize],
        chunks: HashMap<usize, Chunk>,
        now: Now,
    ) {
        let share = |(view, chunk): (usize, Chunk)| (view, (Arc::from(chunk.bytes), chunk.starts));
        let chunks: HashMap<usize, (Arc<[u8]>, Starts)> = chunks.into_iter().map(share).collect();
        for &index in readers {
            let Some(lane) = self.lanes.get_mut(index) else { continue };
            let (slot, view) = (lane.connection, lane.view);
            let Some(reader) = lane.reader.as_mut() else { continue };
            let Some((bytes, starts)) = chunks.get(&view) else { continue };
            let next = reader.next(partition);
            // The scan may have stopped before it.
            if next >= to.next {
                continue;
            }
            let first = starts.partition_point(|(offset, _)| *offset < next.0);
            let messages = (starts.len() - first) as u64;
            // Those before it in this round may have used the allowance up: then it has to wait.
            if messages > 0 && is_spent(&self.replay.tenants, &self.views, view) {
                continue;
            }
            reader.next.set(partition, to);
            reader.replayed += messages;
            if messages == 0 {
                continue;
            }
            let frames = match starts.get(first) {
                // The same bytes for all that stand before the first of them.
                Some((_, 0)) | None => Arc::clone(bytes),
                Some((_, start)) => Arc::from(bytes.get(*start..).unwrap_or_default()),
            };
            self.charge(view, frames.len());
            self.count_replayed(view, messages);
            self.give(slot, frames);
            self.stamp_reader(index, now);
        }
    }

    fn count_replayed(&mut self, view: usize, messages: u64) {
        self.stats.replay_messages += messages;
        if let Some(view) = self.views.get(view) {
            self.stats.count(view.key.framing, messages);
        }
    }

    /// Puts frames into the queue of a reader's connection. They were measured already, so the bound of a
    /// live queue does not count here.
    pub(super) fn give(&mut self, slot: usize, frames: Arc<[u8]>) {
        self.hold(slot, false, &[], false);
        let Some(pending) = self.connections.get_mut(slot).and_then(|c| c.pending.as_mut()) else {
            return;
        };
        self.stats.queued_bytes += frames.len();
        pending.queue.push(frames);
        self.list(slot);
    }

    /// Puts a cursor or a mark behind what a reader was given, from time to time.
    fn stamp_reader(&mut self, index: usize, now: Now) {
        let Some(lane) = self.lanes.get_mut(index) else { return };
        let (slot, view) = (lane.connection, lane.view);
        let Some(reader) = lane.reader.as_mut() else { return };
        let Some(key) = self.views.get(view).map(|v| &v.key) else { return };
        let interval = if key.proves && key.framing == Framing::WebSocket {
            MARK_INTERVAL_MS
        } else {
            CURSOR_INTERVAL_MS
        };
        if now.mono_ms < reader.stamped_at + interval {
            return;
        }
        reader.stamped_at = now.mono_ms;
        if key.framing != Framing::WebSocket {
            let next = reader.next.clone();
            self.say(index, &Word::Cursor(&next), now);
        } else if key.proves
            && let Some(frame) = self.reader_mark(index)
        {
            self.give(slot, Arc::from(frame));
        }
    }
}
