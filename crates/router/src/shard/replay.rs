//! Readers: lanes that catch up, fed in passes (docs/adr/0009).
//!
//! A *pass* scans, for each partition, from the lowest position of the readers that have room up to the
//! shard's own, once for all of them. It takes as many turns as it needs; in the turn in which it ends it
//! has reached the shard's position in every partition, and whoever followed it to the end joins its
//! view. What lies before the window is asked of the owner, one segment at a time for each partition. How a
//! stretch of the log is scanned and handed out stands in `scan`.
//!
//! Invariants: a reader's next offset in a partition is behind every frame that it was given and ahead of
//! none that it was not; no pass goes beyond the shard's position; a reader is given frames only while
//! little waits for its socket; a reader that is left out keeps its offset; none is given a record of a
//! partition before it is known that the log still holds what its position speaks of.

use std::sync::Arc;

use hashbrown::HashMap;
use tidewire_event::{NextOffset, Partition, Position, Positions, Tenant};
use tidewire_log::GapReason as LogGap;
use tidewire_wire::v1::GapReason;

use super::far::{Far, is_ahead};
use super::snapshot::{Feed, SnapshotId};
use super::throttle::{Bucket, is_spent};
use super::words::{Word, word_of};
use super::{Now, ShardCore};
use crate::interest::InterestTable;
use crate::matching::RouteTable;
use crate::recent::Recent;
use crate::view::Framing;
use crate::window::Found;

/// A reader for whose socket more waits is left out until that is written.
const READER_BYTES: usize = 64 * 1024;
/// A turn scans at least so many records, and never fewer than twice what was applied since the last.
const RECORDS_PER_TURN: usize = 4_096;
/// While readers come passes begin at most so often: whoever comes in between is served by the next one. So
/// it is with more than [`FEW_READERS`].
const COLLECT_MS: u64 = 50;
/// So few readers, who have come before the last pass, need not wait for the next one.
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
    /// Partitions of which Kafka said that it does, while the position lies ahead of what was read here: by
    /// the time that the shard is there the log may have been cut.
    pub(super) ahead: Vec<Partition>,
    pub(super) replayed: u64,
    pub(super) stage: Stage,
    /// When it was given its last cursor or mark.
    pub(super) stamped_at: u64,
    /// The last mark that it was given.
    pub(super) mark: Option<(u64, Arc<Positions>)>,
    /// When it ceased to be live, if it did so because its socket's queue was full.
    pub(super) fell_back_at: Option<u64>,
}

impl Reader {
    fn at_positions(next: Positions) -> Self {
        Self {
            next,
            unchecked: Vec::new(),
            ahead: Vec::new(),
            replayed: 0,
            stage: Stage::Reading,
            stamped_at: 0,
            mark: None,
            fell_back_at: None,
        }
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

    /// Whether it may be given what lies between its position and that of the shard.
    pub(super) fn is_fed(&self, partition: Partition, end: Position) -> bool {
        self.is_checked(partition) && !is_ahead(self.at(partition), Some(end))
    }
}

/// All readers of a shard.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) readers: Vec<usize>,
    pub(super) interest: InterestTable,
    pub(super) routes: RouteTable,
    /// How many events were applied since the last turn.
    pub(super) applied: usize,
    /// Where the pass through the window has come to; empty between passes.
    pass: HashMap<Partition, NextOffset>,
    is_passing: bool,
    /// When the next pass begins at the latest.
    next_pass_at: u64,
    /// True if a reader has come since the last pass began.
    has_come: bool,
    /// True once the queue of a reader's connection has been written since the last turn.
    pub(super) has_room: bool,
    recent: Recent,
    /// How many snapshots were asked for.
    pub(super) snapshots: u64,
    pub(super) far: HashMap<Partition, Far>,
    pub(super) tenants: HashMap<Tenant, Bucket>,
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
            has_come: false,
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
        self.replay.has_come = true;
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
        self.check_overtaken();
        let ready: Vec<usize> =
            self.replay.readers.iter().copied().filter(|lane| self.has_room(*lane)).collect();
        if self.scan_far(now) {
            return Some(0);
        }
        self.ask_history(&ready, now);
        if !self.replay.is_passing {
            let collects = self.replay.has_come || self.replay.readers.len() > FEW_READERS;
            let early = self.replay.next_pass_at.saturating_sub(now.mono_ms);
            if collects && early > 0 {
                return self.next_turn().map(|turn| turn.min(early));
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
                .filter(|reader| reader.is_fed(partition, end))
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
        self.replay.has_come = false;
        self.replay.next_pass_at = now.mono_ms + COLLECT_MS;
        self.replay.recent.clear();
        self.stats.window_passes += 1;
        true
    }

    pub(super) fn reader(&self, lane: usize) -> Option<&Reader> {
        self.lanes.get(lane)?.reader.as_deref()
    }

    /// Whether a reader may be given frames now.
    pub(super) fn has_room(&self, index: usize) -> bool {
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

    /// Makes those live who stand exactly where the shard stands.
    fn join_readers(&mut self, now: Now) {
        let stands = |lane: &usize| {
            let Some(reader) = self.reader(*lane) else { return false };
            let mut here = self.positions.iter();
            let mut named = reader.next.iter();
            reader.unchecked.is_empty()
                && here.all(|(p, end)| reader.next(p) == end.next && reader.is_fed(p, end))
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
                reader.ahead.clear();
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
