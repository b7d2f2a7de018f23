//! Connections of a shard: from the registration to the last byte.
//!
//! A connection is attached by the router's word, adopted once its stream is handed over, and gone when
//! the owner removes it. In between it either follows its view's log or drains a queue of its own.

use std::sync::Arc;

use tidewire_fields::FieldMask;
use tidewire_wire::definition::Definition;

use super::{ShardCore, ShardStats};
use crate::queue::SendQueue;
use crate::view::{ConnectionId, Framing, Subscription};

/// What the owner has to act upon. The slot may have been reused by the time the owner looks: never act
/// upon a slot that was removed after the notice was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// More waits for the connection than its bound; said once. It gets no further frames: close it.
    Slow(usize),
    /// The sink failed: the stream is dead.
    Failed(usize),
    /// A closing connection has been sent everything; said once.
    Drained(usize),
}

/// What becomes of the frames that wait when a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// They are sent before the closing bytes.
    Pending,
    /// Only a frame that is partly written is sent to its end.
    Nothing,
}

/// What a connection leaves behind in the router's table.
#[derive(Debug)]
pub struct Detached {
    /// Which connection.
    pub id: ConnectionId,
    /// What it subscribed to.
    pub definition: Arc<Definition>,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    /// `None` once it is closing.
    pub(super) view: Option<usize>,
    /// Its place among the view's members.
    member: usize,
    /// How far it has followed the view's log.
    pub(super) position: u64,
    pub(super) pending: Option<Box<Pending>>,
}

/// A queue of its own, and why it has one.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) queue: SendQueue,
    /// True while the sink takes nothing: not adopted yet, or it would block.
    pub(super) waiting: bool,
    /// True while it stands in the list of queues to write.
    listed: bool,
    /// Its place in the view's list of queued members.
    queued_at: usize,
    /// True once the bound was passed: nothing more is put in, so that what is owed has no hole.
    pub(super) slow: bool,
    /// True once a closing connection was sent everything.
    pub(super) drained: bool,
}

impl Connection {
    pub(super) fn queued_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |p| p.queue.bytes())
    }

    /// Puts whole frames into the queue, unless the connection is too slow already.
    pub(super) fn push(
        &mut self,
        slot: usize,
        frames: Arc<[u8]>,
        bytes_max: usize,
        (stats, notices): (&mut ShardStats, &mut Vec<Notice>),
    ) {
        let Some(pending) = self.pending.as_mut().filter(|p| !p.slow) else { return };
        stats.queued_bytes += frames.len();
        pending.queue.push(frames);
        if pending.queue.bytes() > bytes_max {
            pending.slow = true;
            notices.push(Notice::Slow(slot));
        }
    }
}

impl ShardCore {
    /// Takes a connection on; its frames wait until it is adopted.
    pub(super) fn attach(&mut self, id: ConnectionId, subscription: &Subscription) {
        let connection = Connection { id, view: None, member: 0, position: 0, pending: None };
        let slot = self.connections.insert(connection);
        let former = self.by_id.insert(id, slot);
        debug_assert!(former.is_none(), "the number of a connection is given once");
        let view = self.view(subscription);
        self.join(slot, view);
        self.hold(slot, true);
        self.enqueue(slot, Arc::from(&*subscription.greeting));
    }

    /// Puts whole frames into a connection's own queue.
    pub(super) fn enqueue(&mut self, slot: usize, frames: Arc<[u8]>) {
        let bytes_max = self.settings.limits.queue_bytes_max;
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.push(slot, frames, bytes_max, (&mut self.stats, &mut self.notices));
        }
    }

    /// Says that more is owed to a connection than it may have; its queue takes nothing from here on.
    pub(super) fn too_slow(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if let Some(pending) = connection.pending.as_mut().filter(|p| !p.slow) {
            pending.slow = true;
            self.notices.push(Notice::Slow(slot));
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
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if let Some(pending) = connection.pending.as_mut().filter(|p| !p.drained) {
            pending.waiting = false;
            if !pending.listed {
                pending.listed = true;
                self.ready.push_back(slot);
            }
        }
    }

    /// Puts a new field list in force: what waits already keeps the old one.
    pub fn set_mask(&mut self, slot: usize, mask: Option<FieldMask>) {
        let Some(view) = self.connections.get(slot).and_then(|c| c.view) else { return };
        let Some(old) = self.views.get(view) else { return };
        let subscription = Subscription {
            definition: Arc::clone(&old.key.definition),
            mask,
            class: old.key.class.clone(),
            framing: old.key.framing,
            greeting: Vec::new(),
        };
        let new = self.view(&subscription);
        if new == view {
            return;
        }
        if !self.keep_pending(slot) {
            self.hold(slot, false);
            self.too_slow(slot);
        }
        let holds = self.leave(slot);
        self.join(slot, new);
        if holds {
            self.enlist(slot, new);
        }
    }

    /// Lets a connection go: it leaves its view at once, gets what [`Keep`] says and then `last`, and a
    /// [`Notice::Drained`] follows. Pending frames beyond the bound of a queue are not kept. `None` if it
    /// is closing already.
    pub fn close(&mut self, slot: usize, keep: Keep, last: &[u8]) -> Option<Detached> {
        let connection = self.connections.get(slot)?;
        let (id, view) = (connection.id, connection.view?);
        let key = &self.views.get(view)?.key;
        let (definition, framing) = (Arc::clone(&key.definition), key.framing);
        if keep == Keep::Pending {
            self.keep_pending(slot);
        }
        self.leave(slot);
        self.hold(slot, false);
        let connection = self.connections.get_mut(slot)?;
        let pending = connection.pending.as_mut()?;
        // Nothing but what is pushed here follows, so the bound has done its duty.
        pending.slow = true;
        let before = pending.queue.bytes();
        if keep == Keep::Nothing {
            pending.queue.keep_begun(|bytes, at| framing.frame_end(bytes, at));
        }
        pending.queue.push(Arc::from(last));
        self.stats.queued_bytes += pending.queue.bytes();
        self.stats.queued_bytes -= before;
        if !pending.waiting && !pending.listed {
            pending.listed = true;
            self.ready.push_back(slot);
        }
        Some(Detached { id, definition })
    }

    /// Forgets a connection whose stream is gone.
    pub fn remove(&mut self, slot: usize) -> Option<Detached> {
        let connection = self.connections.get(slot)?;
        let (id, view) = (connection.id, connection.view);
        let definition =
            view.and_then(|v| self.views.get(v)).map(|v| Arc::clone(&v.key.definition));
        self.leave(slot);
        let connection = self.connections.remove(slot);
        self.stats.queued_bytes -= connection.queued_bytes();
        self.by_id.remove(&id);
        self.notices.retain(|n| {
            !matches!(n, Notice::Slow(s) | Notice::Failed(s) | Notice::Drained(s) if *s == slot)
        });
        if connection.pending.is_some_and(|p| p.listed) {
            self.ready.retain(|s| *s != slot);
        }
        definition.map(|definition| Detached { id, definition })
    }

    fn join(&mut self, slot: usize, view: usize) {
        let (Some(v), Some(connection)) =
            (self.views.get_mut(view), self.connections.get_mut(slot))
        else {
            return;
        };
        connection.view = Some(view);
        connection.member = v.members.len();
        connection.position = v.end();
        v.members.push(slot);
    }

    /// Leaves the view, if it has one still; true if the connection holds a queue.
    fn leave(&mut self, slot: usize) -> bool {
        let Some(connection) = self.connections.get(slot) else { return false };
        let Some(index) = connection.view else { return connection.pending.is_some() };
        let (member, holds) = (connection.member, connection.pending.is_some());
        if holds {
            self.unlist(slot, index);
        }
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.view = None;
        }
        let Some(view) = self.views.get_mut(index) else { return holds };
        let connections = &mut self.connections;
        view.remove_member(member, |moved, place| {
            if let Some(moved) = connections.get_mut(moved) {
                moved.member = place;
            }
        });
        if view.members.is_empty() {
            self.drop_view(index);
        }
        holds
    }

    /// Moves what the view's log has for a connection into a queue of its own; false if that is more than
    /// a queue may hold.
    fn keep_pending(&mut self, slot: usize) -> bool {
        let Some(connection) = self.connections.get(slot) else { return true };
        if connection.pending.is_some() {
            return true;
        }
        let view = connection.view.and_then(|v| self.views.get(v));
        let frames = view.map_or(&[][..], |v| v.from(connection.position));
        if frames.is_empty() {
            return true;
        }
        if frames.len() > self.settings.limits.queue_bytes_max {
            return false;
        }
        let frames: Arc<[u8]> = Arc::from(frames);
        self.hold(slot, false);
        self.enqueue(slot, frames);
        self.writable(slot);
        true
    }

    /// Gives a connection a queue of its own, if it has none.
    pub(super) fn hold(&mut self, slot: usize, waiting: bool) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.pending.is_some() {
            return;
        }
        let queue = SendQueue::default();
        connection.pending = Some(Box::new(Pending {
            queue,
            waiting,
            listed: false,
            queued_at: 0,
            slow: false,
            drained: false,
        }));
        if let Some(view) = connection.view {
            self.enlist(slot, view);
        }
    }

    /// How a connection's frames are put on the wire; `None` once it is closing.
    #[must_use]
    pub fn framing(&self, slot: usize) -> Option<Framing> {
        let connection = self.connections.get(slot)?;
        self.views.get(connection.view?).map(|view| view.key.framing)
    }

    fn enlist(&mut self, slot: usize, view: usize) {
        let (Some(view), Some(connection)) =
            (self.views.get_mut(view), self.connections.get_mut(slot))
        else {
            return;
        };
        if let Some(pending) = &mut connection.pending {
            pending.queued_at = view.queued.len();
            view.queued.push(slot);
        }
    }

    fn unlist(&mut self, slot: usize, view: usize) {
        let Some(view) = self.views.get_mut(view) else { return };
        let at = self.connections.get(slot).and_then(|c| c.pending.as_ref()).map(|p| p.queued_at);
        let Some(at) = at.filter(|at| view.queued.get(*at) == Some(&slot)) else { return };
        view.queued.swap_remove(at);
        if let Some(&moved) = view.queued.get(at)
            && let Some(pending) = self.connections.get_mut(moved).and_then(|c| c.pending.as_mut())
        {
            pending.queued_at = at;
        }
    }

    /// Takes the empty queue of a connection away: it follows its view's log again.
    pub(super) fn release(&mut self, slot: usize) {
        let Some(index) = self.connections.get(slot).and_then(|c| c.view) else { return };
        self.unlist(slot, index);
        let end = self.views.get(index).map_or(0, super::View::end);
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.pending = None;
            connection.position = end;
        }
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
