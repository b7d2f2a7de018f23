//! Readers: lanes that catch up, fed in passes (docs/adr/0009).
//!
//! A *pass* scans, for each partition, from the lowest position of the readers that have room up to the
//! shard's own, once for all of them. It takes as many turns as it needs; in the turn in which it ends it
//! has reached the shard's position in every partition, and whoever followed it to the end joins its
//! view. What lies before the window is asked of the owner, one segment at a time for each partition.
//!
//! Invariants: a reader's next offset in a partition is behind every frame that it was given and ahead of
//! none that it was not; no pass goes beyond the shard's position; a reader is given frames only while
//! little waits for its socket; a reader that is left out keeps its offset; none is given a record of a
//! partition before it is known that the log still holds what its position speaks of.

use std::sync::Arc;

use hashbrown::HashMap;
use tidewire_event::{LeaderEpoch, NextOffset, Partition, Position, Positions, Tenant};
use tidewire_log::{GapReason as LogGap, Segment};
use tidewire_wire::v1::GapReason;

use super::far::Far;
use super::snapshot::{Feed, SnapshotId};
use super::throttle::{Bucket, is_spent};
use super::words::{Word, push_gap, word_of};
use super::{Now, ShardCore};
use crate::decode::{Decoded, decode};
use crate::event::RoutedEvent;
use crate::interest::InterestTable;
use crate::matching::{Role, RouteTable, owners_of};
use crate::recent::Recent;
use crate::view::{EventKind, Framing};
use crate::window::Found;

use super::stamp::{CURSOR_INTERVAL_MS, MARK_INTERVAL_MS};

/// A reader for whose socket more waits is left out until that is written.
const READER_BYTES: usize = 64 * 1024;
/// A scan stops when one view has so many bytes of frames.
const CHUNK_BYTES: usize = 64 * 1024;
/// The same for all views together.
const CHUNKS_BYTES: usize = 4 * 1024 * 1024;
/// A turn scans at least so many records, and never fewer than twice what was applied since the last.
const RECORDS_PER_TURN: usize = 4_096;
/// With more than [`FEW_READERS`] passes begin at most so often: whoever comes in between is served by the
/// next one.
const COLLECT_MS: u64 = 50;
/// So few readers are not waited for.
const FEW_READERS: usize = 64;

/// What a reader is doing.
#[derive(Debug)]
pub(super) enum Stage {
    /// It reads from its position.
    Reading,
    /// It waits for its snapshot.
    Waiting(SnapshotId),
    /// It is given its snapshot.
    Feeding(Feed),
}

/// A lane that catches up.
#[derive(Debug)]
pub(super) struct Reader {
    /// Where it stands. A partition that it does not name did not exist: it is read from 0.
    pub(super) next: Positions,
    /// Partitions of which it is not known yet whether the log holds what the position speaks of: it may
    /// lie ahead of what was read here, or behind all of that.
    pub(super) unchecked: Vec<Partition>,
    pub(super) replayed: u64,
    pub(super) stage: Stage,
    /// When it was given its last cursor or mark.
    stamped_at: u64,
    /// The last mark that it was given.
    pub(super) mark: Option<(u64, Arc<Positions>)>,
    /// When it ceased to be live, if it did so because its socket's queue was full.
    pub(super) fell_back_at: Option<u64>,
}

impl Reader {
    fn at_positions(next: Positions) -> Self {
        let (unchecked, stage) = (Vec::new(), Stage::Reading);
        Self { next, unchecked, replayed: 0, stage, stamped_at: 0, mark: None, fell_back_at: None }
    }

    /// Whether it reads the log; else its snapshot is not through.
    pub(super) const fn is_reading(&self) -> bool {
        matches!(self.stage, Stage::Reading)
    }

    pub(super) fn at(&self, partition: Partition) -> Position {
        self.next.get(partition).unwrap_or(Position::at(NextOffset(0)))
    }

    pub(super) fn next(&self, partition: Partition) -> NextOffset {
        self.at(partition).next
    }

    pub(super) fn is_checked(&self, partition: Partition) -> bool {
        !self.unchecked.contains(&partition)
    }
}

/// All readers of a shard.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) readers: Vec<usize>,
    interest: InterestTable,
    routes: RouteTable,
    /// How many events were applied since the last turn.
    pub(super) applied: usize,
    /// Where the pass through the window has come to; empty between passes.
    pass: HashMap<Partition, NextOffset>,
    is_passing: bool,
    next_pass_at: u64,
    /// True once the queue of a reader's connection has been written since the last turn.
    pub(super) has_room: bool,
    recent: Recent,
    /// How many snapshots were asked for.
    pub(super) snapshots: u64,
    pub(super) far: HashMap<Partition, Far>,
    pub(super) tenants: HashMap<Tenant, Bucket>,
}

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

impl Replay {
    pub(super) fn new(interest: InterestTable) -> Self {
        Self {
            readers: Vec::new(),
            interest,
            routes: RouteTable::default(),
            applied: 0,
            pass: HashMap::new(),
            is_passing: false,
            next_pass_at: 0,
            has_room: false,
            recent: Recent::default(),
            snapshots: 0,
            far: HashMap::new(),
            tenants: HashMap::new(),
        }
    }
}

impl ShardCore {
    /// Makes a lane that is no member of its view a reader.
    pub(super) fn read(&mut self, lane: usize, next: Positions) {
        self.read_on(lane, Box::new(Reader::at_positions(next)));
    }

    /// The same with what it has done so far.
    pub(super) fn read_on(&mut self, index: usize, reader: Box<Reader>) {
        let Some(lane) = self.lanes.get_mut(index) else { return };
        lane.reader = Some(reader);
        // Cursors follow what waits, which may not move behind them any more.
        if let Some(connection) = self.connections.get_mut(lane.connection)
            && let Some(pending) = &mut connection.pending
        {
            pending.queue.keep_in_place(index);
        }
        self.replay.readers.push(index);
        let at = lane.view;
        let Some(view) = self.views.get_mut(at) else { return };
        view.readers += 1;
        if view.readers == 1 {
            self.replay.routes.add(at, &view.key.definition);
            self.replay.interest.add(0, &view.key.definition);
        }
    }

    /// Takes a lane off the list of readers.
    pub(super) fn unread(&mut self, lane: usize, view: usize) {
        if let Some(at) = self.replay.readers.iter().position(|reader| *reader == lane) {
            self.replay.readers.swap_remove(at);
        }
        self.unread_view(view);
    }

    fn unread_view(&mut self, index: usize) {
        let Some(view) = self.views.get_mut(index) else { return };
        view.readers -= 1;
        if view.readers == 0 {
            self.replay.routes.remove(index, &view.key.definition);
            self.replay.interest.remove(0, &view.key.definition);
        }
    }

    /// Lets readers catch up for a turn. Returns after how many milliseconds it wants to be called again;
    /// `None`: when something has happened.
    pub fn replay(&mut self, now: Now) -> Option<u64> {
        let applied = std::mem::take(&mut self.replay.applied);
        if self.replay.readers.is_empty() {
            self.replay.is_passing = false;
            return None;
        }
        self.refill(now);
        self.end_of_grace(now);
        self.feed_snapshots(now);
        let ready: Vec<usize> =
            self.replay.readers.iter().copied().filter(|lane| self.has_room(*lane)).collect();
        if self.scan_far(now) {
            return Some(0);
        }
        self.ask_history(&ready, now);
        if !self.replay.is_passing {
            if now.mono_ms < self.replay.next_pass_at {
                return self.next_turn();
            }
            if !self.begin_pass(&ready, now) {
                self.join_readers(now);
                return self.next_turn();
            }
        }
        let mut budget = RECORDS_PER_TURN.max(2 * applied);
        let partitions: Vec<(Partition, Position)> = self.positions.iter().collect();
        for (partition, end) in partitions {
            while let Some(&at) = self.replay.pass.get(&partition).filter(|at| **at < end.next) {
                if budget == 0 {
                    return Some(0);
                }
                let window = Arc::clone(&self.settings.window);
                let Found::Segment(segment) = window.find(partition, at, self.generation) else {
                    // It has grown old meanwhile: who needs it reads it from Kafka.
                    self.replay.pass.remove(&partition);
                    break;
                };
                let mut recent = std::mem::take(&mut self.replay.recent);
                let scanned = self.scan(&segment, at, end, &mut recent, now);
                self.replay.recent = recent;
                budget = budget.saturating_sub(scanned.looked.max(1));
                self.replay.pass.insert(partition, scanned.next);
                if scanned.is_cut {
                    return Some(0);
                }
            }
        }
        self.replay.is_passing = false;
        self.join_readers(now);
        self.next_turn()
    }

    /// After how long readers are to be looked at again, also if nothing happens: a socket may have been
    /// written to, Kafka come back, an allowance grown.
    fn next_turn(&self) -> Option<u64> {
        let feeds = |lane: &usize| {
            let lane = self.lanes.get(*lane);
            let reader = lane.and_then(|l| Some((l, l.reader.as_ref()?)));
            reader.is_some_and(|(lane, reader)| {
                matches!(reader.stage, Stage::Feeding(_))
                    && self.takes_frames(lane.connection, lane.view)
            })
        };
        let readers = &self.replay.readers;
        (!readers.is_empty()).then(|| if readers.iter().any(feeds) { 0 } else { COLLECT_MS })
    }

    /// Begins a pass if a reader with room is behind, inside the window.
    fn begin_pass(&mut self, ready: &[usize], now: Now) -> bool {
        let mut pass = HashMap::new();
        for (partition, end) in self.positions.iter() {
            let Some(start) = self.settings.window.start(partition) else { continue };
            let positions = ready.iter().filter_map(|lane| self.reader(*lane));
            let behind = positions
                .filter(|reader| reader.is_checked(partition))
                .map(|reader| reader.next(partition))
                .filter(|next| *next >= start && *next < end.next);
            if let Some(lowest) = behind.min() {
                pass.insert(partition, lowest);
            }
        }
        if pass.is_empty() {
            return false;
        }
        // Who is at the end of a partition already follows it to where it ends when the pass does.
        for (partition, end) in self.positions.iter() {
            pass.entry(partition).or_insert(end.next);
        }
        self.replay.pass = pass;
        self.replay.is_passing = true;
        let is_few = self.replay.readers.len() <= FEW_READERS;
        self.replay.next_pass_at = now.mono_ms + if is_few { 0 } else { COLLECT_MS };
        self.replay.recent.clear();
        self.stats.window_passes += 1;
        true
    }

    pub(super) fn reader(&self, lane: usize) -> Option<&Reader> {
        self.lanes.get(lane)?.reader.as_deref()
    }

    /// Whether a reader may be given frames now.
    fn has_room(&self, index: usize) -> bool {
        let Some(lane) = self.lanes.get(index) else { return false };
        let Some(reader) = lane.reader.as_ref() else { return false };
        reader.is_reading() && self.takes_frames(lane.connection, lane.view)
    }

    /// Whether the socket of a reader, and its tenant, take more.
    pub(super) fn takes_frames(&self, slot: usize, view: usize) -> bool {
        let Some(connection) = self.connections.get(slot).filter(|c| !c.closing) else {
            return false;
        };
        let room = connection
            .pending
            .as_ref()
            .is_none_or(|p| !p.waiting && !p.slow && p.queue.bytes() <= self.reader_bytes());
        room && !is_spent(&self.replay.tenants, &self.views, view)
    }

    /// More never waits for a reader than a small part of what may wait for a live socket.
    fn reader_bytes(&self) -> usize {
        READER_BYTES.min(self.settings.limits.queue_bytes_max / 4)
    }

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
            let reader = self.reader(*lane).filter(|reader| reader.is_checked(partition));
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

    /// Makes those live who stand exactly where the shard stands.
    fn join_readers(&mut self, now: Now) {
        let stands = |lane: &usize| {
            let Some(reader) = self.reader(*lane) else { return false };
            let mut here = self.positions.iter();
            let mut named = reader.next.iter();
            reader.unchecked.is_empty()
                && here.all(|(partition, end)| reader.next(partition) == end.next)
                // A partition that is not known here yet, and where something lies behind the reader.
                && named.all(|(p, at)| at.next.0 == 0 || self.positions.get(p).is_some())
        };
        let joining: Vec<usize> = self
            .replay
            .readers
            .iter()
            .copied()
            .filter(|lane| self.has_room(*lane) && stands(lane))
            .collect();
        if joining.is_empty() {
            return;
        }
        let positions = self.share_positions();
        for &index in &joining {
            let Some(lane) = self.lanes.get_mut(index) else { continue };
            let (slot, view) = (lane.connection, lane.view);
            let Some(reader) = lane.reader.take() else { continue };
            self.unread_view(view);
            self.join(index);
            // Who fell back was not told so either.
            if reader.fell_back_at.is_none() {
                self.stats.caught_up += 1;
                self.say(index, &Word::Live(&positions, reader.replayed), now);
            }
            let proves = self.connections.get(slot).is_some_and(|c| c.proves);
            if proves && self.framing(slot) == Some(Framing::WebSocket) {
                let mark = self.live_mark(now);
                self.give(slot, Arc::from(mark));
            }
        }
        let lanes = &self.lanes;
        self.replay.readers.retain(|lane| lanes.get(*lane).is_some_and(|l| l.reader.is_some()));
    }

    /// Gives those up who fell back and are not live again in time.
    fn end_of_grace(&mut self, now: Now) {
        let over = now.mono_ms.saturating_sub(self.settings.limits.slow_grace_ms);
        let slow = |lane: &usize| {
            let lane = self.lanes.get(*lane)?;
            let since = lane.reader.as_ref()?.fell_back_at?;
            (since <= over).then_some(lane.connection)
        };
        let slow: Vec<usize> = self.replay.readers.iter().filter_map(slow).collect();
        for slot in slow {
            self.too_slow(slot);
        }
    }

    /// The log has a gap for everybody: readers are told, and go on from where it ends.
    pub(super) fn gap_readers(&mut self, reason: LogGap, now: Now) {
        self.replay.pass.clear();
        self.replay.is_passing = false;
        self.forget_history(reason);
        let at = self.positions.clone();
        for lane in self.replay.readers.clone() {
            if let Some(reader) = self.lanes.get_mut(lane).and_then(|l| l.reader.as_mut()) {
                reader.unchecked.clear();
            }
            self.gap_reader(lane, word_of(reason), at.clone(), now);
        }
    }

    /// The topic that was created anew has an id: whoever reads it reads it from its beginning.
    pub(super) fn begin_topic(&mut self) {
        let topic = self.positions.topic();
        for lane in &self.replay.readers {
            let reader = self.lanes.get_mut(*lane).and_then(|lane| lane.reader.as_mut());
            if let Some(reader) = reader.filter(|reader| reader.next.topic() != topic) {
                reader.next = Positions::new(Arc::clone(topic));
            }
        }
    }

    pub(super) fn gap_reader(
        &mut self,
        index: usize,
        reason: GapReason,
        next: Positions,
        now: Now,
    ) {
        let Some(lane) = self.lanes.get_mut(index) else { return };
        let wants_snapshot = lane.wants_snapshot;
        let Some(reader) = lane.reader.as_mut() else { return };
        reader.next = next;
        reader.mark = None;
        reader.stage = Stage::Reading;
        self.say(index, &Word::Gap(reason), now);
        if wants_snapshot {
            self.want_snapshot(index);
        }
    }
}
