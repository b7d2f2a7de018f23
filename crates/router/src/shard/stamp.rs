//! Stamps: the frames behind a view's events that tell how far they reach.
//!
//! A stamp is appended to the view's log in the shard's turn, behind every event before the shard's
//! positions, and goes to each socket in that order and mostly in the same write. Sockets of
//! `tidewire.v1` and event streams get cursors; sockets of a named session get pings that carry the
//! number of a mark, whose pong proves what they have received.

use std::collections::VecDeque;
use std::sync::Arc;

use tidewire_event::{Positions, Tenant};
use tidewire_wire::ws;

use super::{Now, ShardCore, words};
use crate::view::{ConnectionId, Framing, OnSlow, Stamps, SubId};

/// Behind events a cursor follows at most so often.
pub(super) const CURSOR_INTERVAL_MS: u64 = 1_000;
/// Without events a cursor follows so often.
const CURSOR_IDLE_MS: u64 = 15_000;
/// Behind events a mark follows at most so often.
pub(super) const MARK_INTERVAL_MS: u64 = 5_000;
/// How often idle views are looked at.
const SWEEP_INTERVAL_MS: u64 = 1_000;
/// A mark whose pong has not come by then proves nothing any more: a later one does.
const MARK_LIFE_MS: u64 = 300_000;
/// Most marks that are remembered.
const MARKS_MAX: usize = 8_192;

/// What a client has proven to have received.
#[derive(Clone, Debug)]
pub struct Proof {
    /// Which connection.
    pub id: ConnectionId,
    /// Everything that its session wanted before these.
    pub positions: Arc<Positions>,
    /// False if nothing was sent since the proof before.
    pub busy: bool,
}

/// What the payload of a ping says of its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    /// Events lie before it.
    Busy = b'b' as isize,
    /// None do.
    Idle = b'i' as isize,
    /// It belongs to one reader.
    Reader = b'r' as isize,
}

#[derive(Debug)]
struct Mark {
    number: u64,
    made_at: u64,
    positions: Arc<Positions>,
}

/// The marks that live sockets were sent.
#[derive(Debug, Default)]
pub(super) struct Marks {
    next: u64,
    made: VecDeque<Mark>,
    sweep_at: u64,
}

impl Marks {
    /// The number of a mark at these positions.
    fn number(&mut self, positions: &Arc<Positions>, now: Now) -> u64 {
        if let Some(last) = self.made.back()
            && Arc::ptr_eq(&last.positions, positions)
        {
            return last.number;
        }
        let old = |mark: &Mark| mark.made_at + MARK_LIFE_MS < now.mono_ms;
        while self.made.len() >= MARKS_MAX || self.made.front().is_some_and(old) {
            self.made.pop_front();
        }
        let number = self.take_number();
        let positions = Arc::clone(positions);
        self.made.push_back(Mark { number, made_at: now.mono_ms, positions });
        number
    }

    fn take_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn find(&self, number: u64) -> Option<&Arc<Positions>> {
        let at = self.made.binary_search_by_key(&number, |mark| mark.number).ok()?;
        self.made.get(at).map(|mark| &mark.positions)
    }
}

fn payload(tag: Tag, number: u64) -> [u8; 9] {
    let mut payload = [tag as u8; 9];
    if let Some(place) = payload.get_mut(1..) {
        place.copy_from_slice(&number.to_be_bytes());
    }
    payload
}

impl ShardCore {
    /// Remembers that a stamp is to follow.
    pub(super) fn note_unstamped(&mut self, index: usize) {
        let Some(view) = self.views.get_mut(index) else { return };
        if !view.unstamped && view.key.stamps() != Stamps::None {
            view.unstamped = true;
            self.unstamped.push(index);
        }
    }

    /// Appends the stamps that are due and answers those who wait for a record. Call it in every turn,
    /// after what the router has sent is applied and before it is flushed.
    pub fn settle(&mut self, now: Now) {
        if !self.positions.is_empty() {
            self.stamp_views(now);
        }
        if !self.awaiting.is_empty() {
            self.answer_awaiting();
        }
        self.fall_back(now);
    }

    fn stamp_views(&mut self, now: Now) {
        let mut unstamped = std::mem::take(&mut self.unstamped);
        unstamped.retain(|&index| {
            // Another view may have its number by now; then it is on the list by itself.
            let Some(view) = self.views.get(index).filter(|v| v.unstamped) else { return false };
            let interval = match view.key.stamps() {
                Stamps::Marks => MARK_INTERVAL_MS,
                Stamps::Cursors | Stamps::None => CURSOR_INTERVAL_MS,
            };
            let is_due = now.mono_ms >= view.stamped_at + interval;
            if is_due {
                self.stamp_view(index, now);
            }
            !is_due
        });
        self.unstamped.append(&mut unstamped);
        if now.mono_ms < self.marks.sweep_at {
            return;
        }
        self.marks.sweep_at = now.mono_ms + SWEEP_INTERVAL_MS;
        let idle: Vec<usize> = self
            .views
            .iter()
            .filter(|(_, view)| view.key.stamps() == Stamps::Cursors)
            .filter(|(_, view)| now.mono_ms >= view.stamped_at + CURSOR_IDLE_MS)
            .map(|(index, _)| index)
            .collect();
        for index in idle {
            self.stamp_view(index, now);
        }
    }

    fn stamp_view(&mut self, index: usize, now: Now) {
        let Some(view) = self.views.get_mut(index) else { return };
        view.unstamped = false;
        view.stamped_at = now.mono_ms;
        if view.members.is_empty() {
            return;
        }
        let key = view.key.clone();
        let mut frame = Vec::new();
        match key.stamps() {
            Stamps::None => return,
            Stamps::Marks => {
                let positions = self.share_positions();
                let number = self.marks.number(&positions, now);
                ws::push_ping(&mut frame, &payload(Tag::Busy, number));
            }
            Stamps::Cursors => {
                let positions = self.share_positions();
                let cursor = self.cursor_text(&key.definition.tenant, &positions);
                let subs: Vec<&str> = key.sub.as_deref().into_iter().collect();
                words::push_cursor(&mut frame, key.framing, &subs, &cursor);
            }
        }
        let Some(view) = self.views.get_mut(index) else { return };
        let start = view.log_bytes();
        view.append(&mut self.pool, |log| log.extend_from_slice(&frame));
        self.appended(index, start, 0, None);
    }

    /// The payload of a keep-alive ping, to be sent at once: where it can prove something it does.
    pub fn keep_alive(&mut self, slot: usize, now: Now) -> Vec<u8> {
        let Some(connection) = self.connections.get(slot).filter(|c| c.proves && !c.closing) else {
            return Vec::new();
        };
        let queued = connection.pending.is_some();
        let Some(lane) = connection.lanes.first().and_then(|lane| self.lanes.get(*lane)) else {
            return Vec::new();
        };
        if !lane.live {
            return Vec::new();
        }
        let end = self.views.get(lane.view).map(crate::view::View::end);
        // A ping goes behind a queue, but ahead of what stands in the log alone.
        if (!queued && end != Some(lane.position)) || self.positions.is_empty() {
            return Vec::new();
        }
        let positions = self.share_positions();
        payload(Tag::Idle, self.marks.number(&positions, now)).to_vec()
    }

    /// A mark behind what a reader was given.
    pub(super) fn reader_mark(&mut self, lane: usize) -> Option<Vec<u8>> {
        let number = self.marks.take_number();
        let reader = self.lanes.get_mut(lane)?.reader.as_mut()?;
        reader.mark = Some((number, Arc::new(reader.next.clone())));
        let mut frame = Vec::new();
        ws::push_ping(&mut frame, &payload(Tag::Reader, number));
        Some(frame)
    }

    /// A mark behind all that a lane was given which has just become live.
    pub(super) fn live_mark(&mut self, now: Now) -> Vec<u8> {
        let positions = self.share_positions();
        self.mark_at(&positions, now)
    }

    /// A mark that proves these positions.
    pub(super) fn mark_at(&mut self, positions: &Arc<Positions>, now: Now) -> Vec<u8> {
        let mut frame = Vec::new();
        ws::push_ping(&mut frame, &payload(Tag::Busy, self.marks.number(positions, now)));
        frame
    }

    /// A pong came: what it proves is told by [`ShardCore::take_proofs`].
    pub fn pong(&mut self, slot: usize, bytes: &[u8]) {
        let Some(connection) = self.connections.get(slot).filter(|c| c.proves && !c.closing) else {
            return;
        };
        let Some((tag, number)) = bytes.split_first() else { return };
        let Ok(number) = <[u8; 8]>::try_from(number).map(u64::from_be_bytes) else { return };
        let positions = if *tag == Tag::Reader as u8 {
            let lane = connection.lanes.first().and_then(|lane| self.lanes.get(*lane));
            let mark = lane.and_then(|l| l.reader.as_ref()).and_then(|r| r.mark.as_ref());
            mark.filter(|(made, _)| *made == number).map(|(_, positions)| positions)
        } else {
            self.marks.find(number)
        };
        if let Some(positions) = positions {
            self.proofs.push(Proof {
                id: connection.id,
                positions: Arc::clone(positions),
                busy: *tag != Tag::Idle as u8,
            });
        }
    }

    /// Puts cursors behind all that a connection was given: one for its live subscriptions, and one for
    /// each that is catching up.
    pub(super) fn say_cursors(&mut self, slot: usize) {
        let Some(connection) = self.connections.get(slot) else { return };
        let slow = connection.pending.as_ref().is_some_and(|p| p.slow);
        if slow || connection.framing == Framing::WebSocket || self.positions.is_empty() {
            return;
        }
        let framing = connection.framing;
        let mut live: Option<(Tenant, Vec<SubId>)> = None;
        let mut cursors: Vec<(Tenant, Vec<SubId>, Positions)> = Vec::new();
        for lane in connection.lanes.iter().filter_map(|lane| self.lanes.get(*lane)) {
            let Some(key) = self.views.get(lane.view).map(|view| &view.key) else { continue };
            let tenant = key.definition.tenant.clone();
            match &lane.reader {
                // They all stand where the shard stands.
                None => live.get_or_insert((tenant, Vec::new())).1.extend(key.sub.clone()),
                // Before the end of its snapshot there is nothing that a cursor could claim.
                Some(reader) if !reader.is_reading() => {}
                Some(reader) => {
                    cursors.push((tenant, key.sub.iter().cloned().collect(), reader.next.clone()));
                }
            }
        }
        if let Some((tenant, subs)) = live {
            cursors.insert(0, (tenant, subs, self.positions.clone()));
        }
        let mut frames = Vec::new();
        for (tenant, subs, at) in cursors {
            let cursor = self.cursor_text(&tenant, &at);
            let subs: Vec<&str> = subs.iter().map(|sub| &**sub).collect();
            words::push_cursor(&mut frames, framing, &subs, &cursor);
        }
        self.give(slot, Arc::from(frames));
    }

    fn answer_awaiting(&mut self) {
        let awaiting = std::mem::take(&mut self.awaiting);
        for id in awaiting {
            let Some(slot) = self.slot(id) else { continue };
            let Some(connection) = self.connections.get_mut(slot) else { continue };
            let mut awaits = std::mem::take(&mut connection.awaits);
            let passed = self.passed(slot);
            awaits.retain(|record| {
                let is_passed = passed.iter().all(|positions| positions.covers(*record));
                if is_passed && !passed.is_empty() {
                    self.say_reached(slot, *record);
                }
                !is_passed || passed.is_empty()
            });
            if !awaits.is_empty()
                && let Some(connection) = self.connections.get_mut(slot)
            {
                connection.awaits = awaits;
                self.awaiting.push(id);
            }
        }
    }

    /// What a connection's subscriptions have passed; nothing while that cannot be said.
    fn passed(&self, slot: usize) -> Vec<Positions> {
        let Some(connection) = self.connections.get(slot) else { return Vec::new() };
        let lanes = || connection.lanes.iter().filter_map(|lane| self.lanes.get(*lane));
        let conflates = lanes().any(|lane| lane.on_slow == OnSlow::Conflate);
        let readers = || lanes().filter_map(|lane| lane.reader.as_ref());
        // Frames of a conflating queue may still move behind what is said now, and a snapshot that is not
        // through may show the record.
        if conflates && connection.pending.is_some() || readers().any(|r| !r.is_reading()) {
            return Vec::new();
        }
        readers().map(|r| r.next.clone()).chain(std::iter::once(self.positions.clone())).collect()
    }
}
