//! Lanes: the subscriptions of this shard's connections.
//!
//! A lane is either live, a member of its view that follows the view's log, or a reader, which catches
//! up by itself (`replay.rs`) and joins its view when it stands where the shard stands.

use std::sync::Arc;

use tidewire_event::{Partition, Positions};
use tidewire_fields::FieldMask;
use tidewire_rights::PermissionClass;
use tidewire_wire::definition::{Definition, TypeSelector};
use tidewire_wire::v1::GapReason;

use super::far::is_ahead;
use super::replay::Reader;
use super::words::Word;
use super::{Now, ShardCore, View};
use crate::view::{ConnectionId, OnSlow, Start, SubId, Subscription, ViewKey};

/// What a subscription that has ended leaves behind in the router's table.
#[derive(Clone, Debug)]
pub struct Detached {
    /// Of which connection.
    pub id: ConnectionId,
    /// What it subscribed to.
    pub definition: Arc<Definition>,
}

#[derive(Debug)]
pub(super) struct Lane {
    /// The slot of its connection.
    pub(super) connection: usize,
    pub(super) view: usize,
    /// True while it is a member of its view: neither at first, nor while it catches up.
    pub(super) live: bool,
    /// Its place among the view's members, if it is live.
    member: usize,
    /// How far it has followed the view's log; means nothing while `held`, or to a reader.
    pub(super) position: u64,
    /// True while its connection holds a queue of its own.
    pub(super) held: bool,
    /// Its place in the view's list of held members.
    held_at: usize,
    pub(super) on_slow: OnSlow,
    /// Frames that were merged away since the client was told.
    pub(super) conflated: u64,
    /// Whether a snapshot follows a gap.
    pub(super) wants_snapshot: bool,
    /// What it still has to catch up with; `None` once it is live.
    pub(super) reader: Option<Box<Reader>>,
}

impl ShardCore {
    /// Adds a subscription to a connection; `registered` are the router's positions of its registration.
    pub(super) fn add_lane(
        &mut self,
        slot: usize,
        subscription: Subscription,
        registered: &Arc<Positions>,
        now: Now,
    ) {
        self.take_positions(registered);
        let Some(connection) = self.connections.get(slot) else { return };
        let Subscription { definition, mask, class, sub, start, snapshot, on_slow } = subscription;
        let (framing, proves) = (connection.framing, connection.proves);
        let view = self.view(ViewKey { definition, mask, class, framing, proves, sub });
        let lane = self.lanes.insert(Lane {
            connection: slot,
            view,
            live: false,
            member: 0,
            position: 0,
            held: false,
            held_at: 0,
            on_slow,
            conflated: 0,
            wants_snapshot: snapshot,
            reader: None,
        });
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.lanes.push(lane);
        }
        if let Some(view) = self.views.get_mut(view).filter(|view| view.stamped_at == 0) {
            // Who comes first is told where it stands by other words.
            view.stamped_at = now.mono_ms.max(1);
        }
        match start {
            Start::Now => {
                self.say(lane, &Word::Subscribed(registered), now);
                self.join(lane);
                self.say(lane, &Word::Live(registered, 0), now);
                if proves {
                    // At once: before its pong nobody knows that the client was told of the start.
                    let mark = self.mark_at(registered, now);
                    self.give(slot, Arc::from(mark));
                }
            }
            Start::Gap(reason) => {
                self.say(lane, &Word::Subscribed(registered), now);
                self.start_after_gap(lane, reason, registered, now);
            }
            Start::Snapshot => {
                self.say(lane, &Word::Subscribed(registered), now);
                self.read(lane, (**registered).clone());
                self.want_snapshot(lane);
            }
            Start::At(from) => self.resume(lane, &from, registered, now),
        }
    }

    fn resume(&mut self, lane: usize, from: &Positions, registered: &Arc<Positions>, now: Now) {
        self.say(lane, &Word::Subscribed(from), now);
        match self.doubts(from) {
            Err(reason) => self.start_after_gap(lane, reason, registered, now),
            Ok(unchecked) => {
                self.read(lane, from.clone());
                if let Some(reader) = self.lanes.get_mut(lane).and_then(|l| l.reader.as_mut()) {
                    reader.unchecked = unchecked;
                }
            }
        }
    }

    /// Partitions of which it is not known here whether the log holds what positions speak of.
    ///
    /// # Errors
    /// It is known that it does not.
    pub(super) fn doubts(&self, from: &Positions) -> Result<Vec<Partition>, GapReason> {
        if from.topic() != self.positions.topic() {
            return Err(GapReason::Recreated);
        }
        let mut unchecked = Vec::new();
        for (partition, position) in from.iter().filter(|(_, position)| position.next.0 > 0) {
            let end = self.positions.get(partition);
            match self.settings.window.confirms(partition, position) {
                Some(false) => return Err(GapReason::Truncated),
                Some(true) if !is_ahead(position, end) => {}
                _ if end == Some(position) => {}
                _ => unchecked.push(partition),
            }
        }
        Ok(unchecked)
    }

    /// Tells a gap, then goes on from the positions: at once, or behind a snapshot that is asked for.
    fn start_after_gap(&mut self, lane: usize, reason: GapReason, at: &Arc<Positions>, now: Now) {
        self.say(lane, &Word::Gap(reason), now);
        if self.lanes.get(lane).is_some_and(|l| l.wants_snapshot) {
            self.read(lane, (**at).clone());
            self.want_snapshot(lane);
        } else {
            self.join(lane);
            self.say(lane, &Word::Live(at, 0), now);
        }
    }

    /// Makes a live lane a reader again that waits for a snapshot.
    pub(super) fn wait_for_snapshot(&mut self, lane: usize) {
        self.stop_following(lane);
        self.want_snapshot(lane);
    }

    /// Makes a live lane a reader again that goes on where it is.
    pub(super) fn read_again(&mut self, lane: usize, now: Now) {
        self.stop_following(lane);
        if let Some(reader) = self.lanes.get_mut(lane).and_then(|l| l.reader.as_mut()) {
            reader.fell_back_at = Some(now.mono_ms);
        }
    }

    fn stop_following(&mut self, lane: usize) {
        let Some(slot) = self.lanes.get(lane).map(|l| l.connection) else { return };
        self.hold_tails(slot);
        // First, so that the view stays.
        let at = self.positions.clone();
        self.read(lane, at);
        self.leave(lane);
    }

    /// The lane of a connection with this name.
    pub(super) fn lane(&self, slot: usize, sub: Option<&str>) -> Option<usize> {
        let connection = self.connections.get(slot)?;
        let named = |lane: &&usize| {
            let view = self.lanes.get(**lane).and_then(|l| self.views.get(l.view));
            view.is_some_and(|view| view.key.sub.as_deref() == sub)
        };
        connection.lanes.iter().find(named).copied()
    }

    /// Ends a subscription; its client is told.
    pub(super) fn unsubscribe(&mut self, id: ConnectionId, sub: &SubId, now: Now) {
        let lane = self.slot(id).and_then(|slot| self.lane(slot, Some(sub)));
        let Some(lane) = lane else { return };
        if let Some(slot) = self.lanes.get(lane).map(|l| l.connection) {
            self.hold_tails(slot);
        }
        self.say(lane, &Word::Unsubscribed, now);
        self.end_lane(lane);
    }

    /// Puts a new field list in force: what waits already keeps the old one.
    pub fn set_mask(&mut self, slot: usize, sub: Option<&str>, mask: Option<FieldMask>) {
        if let Some(lane) = self.lane(slot, sub) {
            self.move_lane(lane, |key| key.mask = mask);
        }
    }

    /// Judges a connection by other rights from here on. False if frames wait that were judged by the old
    /// ones: then nothing was done, and the connection has to be closed, to resume later.
    pub(super) fn set_class(&mut self, slot: usize, class: &PermissionClass, now: Now) -> bool {
        let Some(connection) = self.connections.get(slot) else { return true };
        let lanes = connection.lanes.clone();
        let tail = |lane: &usize| {
            let lane = self.lanes.get(*lane).filter(|l| l.live);
            let view = lane.and_then(|l| Some((l, self.views.get(l.view)?)));
            view.is_some_and(|(l, view)| l.position != view.end())
        };
        if connection.pending.is_some() || lanes.iter().any(tail) {
            return false;
        }
        for lane in lanes {
            let Some(view) = self.lanes.get(lane).and_then(|l| self.views.get(l.view)) else {
                continue;
            };
            if view.key.class == *class {
                continue;
            }
            // Who may subscribe to a script is not for the types alone to say: whoever renewed the rights
            // has seen to it.
            if let TypeSelector::One(one) = &view.key.definition.types
                && view.key.definition.alert_script().is_none()
                && !class.may_read(one.as_str())
            {
                self.say(lane, &Word::Forbidden(one.clone()), now);
                self.end_lane(lane);
                continue;
            }
            self.move_lane(lane, |key| key.class = class.clone());
            if let Some(reader) = self.reader(lane) {
                let next = reader.next.clone();
                self.gap_reader(lane, GapReason::Rights, next, now);
                continue;
            }
            self.say(lane, &Word::Gap(GapReason::Rights), now);
            if self.lanes.get(lane).is_some_and(|l| l.wants_snapshot) {
                self.wait_for_snapshot(lane);
            }
        }
        true
    }

    /// Moves a lane to another view.
    fn move_lane(&mut self, lane: usize, change: impl FnOnce(&mut ViewKey)) {
        let Some(known) = self.lanes.get(lane) else { return };
        let (slot, view) = (known.connection, known.view);
        let Some(mut key) = self.views.get(view).map(|v| v.key.clone()) else { return };
        change(&mut key);
        let new = self.view(key);
        if new == view {
            return;
        }
        self.hold_tails(slot);
        let reader = self.lanes.get_mut(lane).and_then(|l| l.reader.take());
        match reader {
            Some(reader) => {
                self.unread(lane, view);
                self.drop_unused(view);
                if let Some(lane) = self.lanes.get_mut(lane) {
                    lane.view = new;
                }
                self.read_on(lane, reader);
            }
            None => {
                self.leave(lane);
                if let Some(lane) = self.lanes.get_mut(lane) {
                    lane.view = new;
                }
                self.join(lane);
            }
        }
    }

    /// Makes a lane live, from the end of its view's log.
    pub(super) fn join(&mut self, index: usize) {
        let Some(lane) = self.lanes.get_mut(index) else { return };
        let Some(view) = self.views.get_mut(lane.view) else { return };
        lane.live = true;
        lane.member = view.members.len();
        lane.position = view.end();
        view.members.push(index);
        let connection = self.connections.get(lane.connection);
        if connection.is_some_and(|c| c.pending.is_some()) {
            self.enlist(index);
        }
    }

    /// Takes a live lane out of its view; the view stays if others use it.
    fn leave(&mut self, index: usize) {
        self.unlist(index);
        let Some(lane) = self.lanes.get_mut(index) else { return };
        lane.live = false;
        let (member, at) = (lane.member, lane.view);
        let Some(view) = self.views.get_mut(at) else { return };
        let lanes = &mut self.lanes;
        view.remove_member(member, |moved, place| {
            if let Some(moved) = lanes.get_mut(moved) {
                moved.member = place;
            }
        });
        self.drop_unused(at);
    }

    /// Forgets a lane; the router is to be told.
    pub(super) fn end_lane(&mut self, index: usize) {
        let Some(lane) = self.lanes.get(index) else { return };
        let (slot, at, reads) = (lane.connection, lane.view, lane.reader.is_some());
        let definition = self.views.get(at).map(|view| Arc::clone(&view.key.definition));
        if reads {
            self.unread(index, at);
            self.drop_unused(at);
        } else {
            self.leave(index);
        }
        self.lanes.remove(index);
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.lanes.retain(|lane| *lane != index);
        if let Some(pending) = &mut connection.pending {
            pending.queue.keep_in_place(index);
        }
        if let Some(definition) = definition {
            self.detached.push(Detached { id: connection.id, definition });
        }
    }

    fn drop_unused(&mut self, index: usize) {
        let used = |view: &View| !view.members.is_empty() || view.readers > 0;
        if self.views.get(index).is_some_and(|view| !used(view)) {
            self.drop_view(index);
        }
    }

    /// Puts a live lane on its view's list of those that are pushed to.
    pub(super) fn enlist(&mut self, index: usize) {
        let Some(lane) = self.lanes.get_mut(index) else { return };
        let Some(view) = self.views.get_mut(lane.view) else { return };
        if !lane.held {
            lane.held = true;
            lane.held_at = view.queued.len();
            view.queued.push(index);
        }
    }

    /// Takes a lane off that list.
    pub(super) fn unlist(&mut self, index: usize) {
        let Some(lane) = self.lanes.get_mut(index).filter(|l| l.held) else { return };
        lane.held = false;
        let at = lane.held_at;
        let Some(view) = self.views.get_mut(lane.view) else { return };
        view.queued.swap_remove(at);
        if let Some(&moved) = view.queued.get(at)
            && let Some(moved) = self.lanes.get_mut(moved)
        {
            moved.held_at = at;
        }
    }
}
