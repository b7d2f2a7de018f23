//! Connections of a shard: from the registration to the last byte.
//!
//! A connection is opened by the router's word, adopted once its stream is handed over, and gone when
//! the owner removes it. In between its lanes either follow their views' logs, or all of them share a
//! queue of its own.

use std::sync::Arc;

use tidewire_event::{FrameId, Positions};

use super::words::Word;
use super::{Now, ShardCore, ShardStats};
use crate::queue::SendQueue;
use crate::view::{ConnectionId, Framing, Opening, Subscription};

/// What the owner has to act upon. The slot may have been reused by the time the owner looks: never act
/// upon a slot that was removed after the notice was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The connection could not be sent what it is owed; said once. It gets no further frames: close it.
    Slow(usize),
    /// The sink failed: the stream is dead.
    Failed(usize),
    /// A closing connection has been sent everything; said once.
    Drained(usize),
    /// It has other rights now, and frames wait for it that were judged by the old ones: close it, to
    /// resume.
    Judged(usize),
}

/// What becomes of the frames that wait when a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// They are sent before the closing bytes, and with them, where the framing has any, the cursors that
    /// cover them.
    Pending,
    /// Only a frame that is partly written is sent to its end.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) framing: Framing,
    pub(super) proves: bool,
    pub(super) closing: bool,
    pub(super) lanes: Vec<usize>,
    pub(super) pending: Option<Box<Pending>>,
    /// Records whose passing the client waits for.
    pub(super) awaits: Vec<FrameId>,
}

/// A queue of its own, and why it has one.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) queue: SendQueue,
    /// True while the sink takes nothing: not adopted yet, or it would block.
    pub(super) waiting: bool,
    /// True while it stands in the list of queues to write.
    listed: bool,
    /// True once the bound was passed; until the end of the turn its subscriptions are given events still.
    over: bool,
    /// True once nothing more is put in, so that what is owed has no hole.
    pub(super) slow: bool,
    /// True once a closing connection was sent everything.
    pub(super) drained: bool,
}

impl Connection {
    fn queued_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |p| p.queue.bytes())
    }

    /// Puts whole frames into the queue with `put`, unless the connection is too slow already. Beyond the
    /// bound it is put on the list of those that [`ShardCore::fall_back`] sees to.
    pub(super) fn push(
        &mut self,
        slot: usize,
        bytes_max: usize,
        (stats, over): (&mut ShardStats, &mut Vec<usize>),
        put: impl FnOnce(&mut SendQueue),
    ) {
        let Some(pending) = self.pending.as_mut().filter(|p| !p.slow) else { return };
        let before = pending.queue.bytes();
        put(&mut pending.queue);
        // Merging may have made it shorter.
        stats.queued_bytes = stats.queued_bytes + pending.queue.bytes() - before;
        if pending.queue.bytes() > bytes_max && !std::mem::replace(&mut pending.over, true) {
            over.push(slot);
        }
    }
}

impl ShardCore {
    /// Takes a connection on; its frames wait until it is adopted.
    pub(super) fn open(
        &mut self,
        id: ConnectionId,
        opening: Opening,
        subscription: Option<Box<Subscription>>,
        registered: &Arc<Positions>,
        now: Now,
    ) {
        let Opening { framing, proves, greeting } = opening;
        let slot = self.connections.insert(Connection {
            id,
            framing,
            proves,
            closing: false,
            lanes: Vec::new(),
            pending: None,
            awaits: Vec::new(),
        });
        let former = self.by_id.insert(id, slot);
        debug_assert!(former.is_none(), "the number of a connection is given once");
        self.hold(slot, true, &[], false);
        self.enqueue(slot, Arc::from(greeting));
        if let Some(subscription) = subscription {
            self.add_lane(slot, *subscription, registered, now);
        }
    }

    /// Puts whole frames into a connection's own queue.
    pub(super) fn enqueue(&mut self, slot: usize, frames: Arc<[u8]>) {
        let bytes_max = self.settings.limits.queue_bytes_max;
        if let Some(connection) = self.connections.get_mut(slot) {
            let told = (&mut self.stats, &mut self.over);
            connection.push(slot, bytes_max, told, |queue| queue.push(frames));
        }
    }

    /// Sends frames behind all that the connection was given so far.
    pub(super) fn tell(&mut self, slot: usize, frames: &[u8]) {
        if frames.is_empty() || self.connections.get(slot).is_none_or(|c| c.closing) {
            return;
        }
        self.hold(slot, false, &[], false);
        self.enqueue(slot, Arc::from(frames));
        self.list(slot);
    }

    /// Says that more is owed to a connection than it may have; its queue takes nothing from here on.
    pub(super) fn too_slow(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if let Some(pending) = connection.pending.as_mut().filter(|p| !p.slow) {
            pending.slow = true;
            self.notices.push(Notice::Slow(slot));
        }
    }

    /// Lets those go back to reading whose queue has grown beyond its bound: what they are owed from here on
    /// they are given as fast as they take it. Who is not live again within the grace is too slow
    /// ([`ShardCore::end_of_grace`]); so is at once who has no live subscription that could go back.
    pub(super) fn fall_back(&mut self, now: Now) {
        let limits = self.settings.limits;
        for slot in std::mem::take(&mut self.over) {
            let Some(connection) = self.connections.get_mut(slot) else { continue };
            let Some(pending) = connection.pending.as_mut().filter(|p| p.over && !p.slow) else {
                continue;
            };
            pending.over = false;
            let bytes = pending.queue.bytes();
            let lanes = connection.lanes.clone();
            let is_live = |lane: &usize| self.lanes.get(*lane).is_some_and(|l| l.live);
            let live: Vec<usize> = lanes.into_iter().filter(is_live).collect();
            if limits.slow_grace_ms == 0 || live.is_empty() && bytes > 2 * limits.queue_bytes_max {
                self.too_slow(slot);
                continue;
            }
            for lane in live {
                self.stats.fell_back += 1;
                self.read_again(lane, now);
            }
        }
    }

    /// The stream has come: what has waited may be written.
    pub fn adopt(&mut self, id: ConnectionId) -> Option<usize> {
        let slot = self.slot(id)?;
        self.writable(slot);
        Some(slot)
    }

    /// The stream takes bytes again.
    pub fn writable(&mut self, slot: usize) {
        let pending = self.connections.get_mut(slot).and_then(|c| c.pending.as_mut());
        if let Some(pending) = pending.filter(|p| !p.drained) {
            pending.waiting = false;
            self.list(slot);
        }
    }

    /// Puts a queue that may be written on the list of those to write.
    pub(super) fn list(&mut self, slot: usize) {
        let pending = self.connections.get_mut(slot).and_then(|c| c.pending.as_mut());
        if let Some(pending) = pending.filter(|p| !p.waiting && !p.listed) {
            pending.listed = true;
            self.ready.push_back(slot);
        }
    }

    /// Lets a connection go: its lanes end at once, it gets what [`Keep`] says and then `last`, and a
    /// [`Notice::Drained`] follows. Pending frames beyond the bound of a queue are not kept. False if it
    /// is closing already.
    pub fn close(&mut self, slot: usize, keep: Keep, last: &[u8], _now: Now) -> bool {
        let Some(connection) = self.connections.get(slot).filter(|c| !c.closing) else {
            return false;
        };
        let (framing, lanes) = (connection.framing, connection.lanes.clone());
        self.hold(slot, false, &[], false);
        if keep == Keep::Pending {
            // Behind the frames that they cover.
            self.say_cursors(slot);
        }
        for lane in lanes {
            self.end_lane(lane);
        }
        let Some(connection) = self.connections.get_mut(slot) else { return false };
        connection.closing = true;
        connection.awaits = Vec::new();
        let Some(pending) = connection.pending.as_mut() else { return false };
        // Nothing but what is pushed here follows, so the bound has done its duty.
        pending.slow = true;
        let before = pending.queue.bytes();
        if keep == Keep::Nothing {
            pending.queue.keep_begun(|bytes, at| framing.frame_end(bytes, at));
        }
        pending.queue.push(Arc::from(last));
        self.stats.queued_bytes += pending.queue.bytes();
        self.stats.queued_bytes -= before;
        self.list(slot);
        true
    }

    /// Forgets a connection whose stream is gone.
    pub fn remove(&mut self, slot: usize) {
        let Some(connection) = self.connections.get(slot) else { return };
        for lane in connection.lanes.clone() {
            self.end_lane(lane);
        }
        let connection = self.connections.remove(slot);
        self.stats.queued_bytes -= connection.queued_bytes();
        self.by_id.remove(&connection.id);
        self.notices.retain(|n| {
            !matches!(n, Notice::Slow(s) | Notice::Failed(s) | Notice::Drained(s) | Notice::Judged(s)
                if *s == slot)
        });
        if connection.pending.is_some_and(|p| p.listed) {
            self.ready.retain(|s| *s != slot);
        }
    }

    /// Gives a connection a queue of its own, if it has none: first `rest`, what is left of the frame that
    /// was begun (or a whole frame), then what its views' logs have for its lanes, as far as the bound of
    /// a queue goes.
    pub(super) fn hold(&mut self, slot: usize, waiting: bool, rest: &[u8], begun: bool) {
        let Some(connection) = self.connections.get_mut(slot).filter(|c| c.pending.is_none())
        else {
            return;
        };
        let mut queue = SendQueue::default();
        if begun {
            queue.push_rest(rest);
        } else {
            queue.push(Arc::from(rest));
        }
        self.stats.queued_bytes += rest.len();
        connection.pending = Some(Box::new(Pending {
            queue,
            waiting,
            listed: false,
            over: false,
            slow: false,
            drained: false,
        }));
        let bytes_max = self.settings.limits.queue_bytes_max;
        for at in 0.. {
            let Some(connection) = self.connections.get(slot) else { return };
            let Some(&lane) = connection.lanes.get(at) else { return };
            let room = bytes_max.saturating_sub(connection.queued_bytes());
            let live = self.lanes.get(lane).filter(|l| l.live);
            let Some((view, position)) = live.map(|l| (l.view, l.position)) else { continue };
            let tail = self.views.get(view).map_or(&[][..], |v| v.from(position));
            // What no queue may hold is not copied either.
            if tail.len() <= room {
                let tail = Arc::from(tail);
                self.enqueue(slot, tail);
            } else {
                self.too_slow(slot);
            }
            self.enlist(lane);
        }
    }

    /// Moves what the logs have for a connection into a queue of its own, if there is something.
    pub(super) fn hold_tails(&mut self, slot: usize) {
        let Some(connection) = self.connections.get(slot) else { return };
        let behind = |lane: &usize| {
            let lane = self.lanes.get(*lane).filter(|l| l.live);
            let view = lane.and_then(|l| Some((l, self.views.get(l.view)?)));
            view.is_some_and(|(lane, view)| lane.position != view.end())
        };
        if connection.pending.is_none() && connection.lanes.iter().any(behind) {
            self.hold(slot, false, &[], false);
            self.list(slot);
        }
    }

    /// How a connection's frames are put on the wire; `None` once it is closing.
    #[must_use]
    pub fn framing(&self, slot: usize) -> Option<Framing> {
        self.connections.get(slot).filter(|c| !c.closing).map(|c| c.framing)
    }

    /// Takes the empty queue of a connection away: its lanes follow their views' logs again.
    pub(super) fn release(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.pending = None;
        for at in 0.. {
            let lane = self.connections.get(slot).and_then(|c| c.lanes.get(at)).copied();
            let Some(lane) = lane else { return };
            self.unlist(lane);
            if let Some(lane) = self.lanes.get_mut(lane) {
                lane.position = self.views.get(lane.view).map_or(0, super::View::end);
            }
        }
    }

    /// Says how many frames were merged away, now that nothing waits; false if there is nothing to say.
    pub(super) fn say_conflated(&mut self, slot: usize) -> bool {
        let Some(connection) = self.connections.get(slot).filter(|c| !c.closing) else {
            return false;
        };
        let mut said = false;
        for lane in connection.lanes.clone() {
            let count = self.lanes.get_mut(lane).map_or(0, |l| std::mem::take(&mut l.conflated));
            if count > 0 {
                said = true;
                self.say(lane, &Word::Conflated(count), Now::default());
            }
        }
        said
    }

    /// Tells the client once a record has passed all its subscriptions.
    pub fn await_record(&mut self, slot: usize, id: FrameId) {
        let Some(connection) = self.connections.get_mut(slot).filter(|c| !c.closing) else {
            return;
        };
        connection.awaits.push(id);
        self.awaiting.push(connection.id);
    }

    /// Takes the next connection whose own queue may be written.
    pub(super) fn next_ready(&mut self) -> Option<usize> {
        let slot = self.ready.pop_front()?;
        if let Some(pending) = self.connections.get_mut(slot).and_then(|c| c.pending.as_mut()) {
            pending.listed = false;
        }
        Some(slot)
    }
}
