//! What one connection has still to be sent, once it can't take what its view holds.
//!
//! A queue exists only while a write would block, while the stream has not been handed over yet, and
//! while a connection closes. It holds shared frames (one allocation for all connections of a view) and
//! a few of its own.
//!
//! Frames that a newer one of the same object may replace are indexed (`conflate`), so that they can be
//! taken out again: an empty chunk marks the place until it leaves the queue. The first chunk is never
//! such a place, and a frame that is partly written is never taken out. A queue that nothing of this
//! kind was put into has no index.

use std::collections::VecDeque;
use std::sync::Arc;

use tidewire_event::{ObjectKey, ObjectType, Operation};

use crate::conflate::{Event, ObjectRef, Plan, WaitingEvents};

/// Most bytes gathered for one write.
const GATHER_BYTES_MAX: usize = 64 * 1024;
/// So many empty places are never worth the work of closing them.
const EMPTY_PLACES_MIN: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    chunks: VecDeque<Arc<[u8]>>,
    /// Bytes of the first chunk that are written already.
    head: usize,
    bytes: usize,
    /// True if the first chunk is the rest of one frame whose beginning is written already.
    rest_first: bool,
    /// Only once a frame that can be merged was put in.
    merging: Option<Box<Merging>>,
}

#[derive(Debug)]
struct Merging {
    events: WaitingEvents,
    /// How many chunks are empty.
    empty: usize,
}

impl SendQueue {
    /// Bytes that wait.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Appends whole frames.
    pub(crate) fn push(&mut self, frames: Arc<[u8]>) {
        if !frames.is_empty() {
            self.bytes += frames.len();
            self.chunks.push_back(frames);
            if let Some(merging) = &mut self.merging {
                merging.events.push(None);
            }
        }
    }

    /// Appends the rest of a frame that is partly written. Only for an empty queue.
    pub(crate) fn push_rest(&mut self, rest: &[u8]) {
        debug_assert!(self.chunks.is_empty(), "the rest of a frame goes first");
        if !rest.is_empty() {
            self.rest_first = true;
            self.push(Arc::from(rest));
        }
    }

    /// What to write next: the first chunk alone if it is large, else as many as fit into `scratch`.
    pub(crate) fn gather<'a>(&'a self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let first = self.chunks.front().map(|c| c.get(self.head..).unwrap_or_default());
        let first = first.unwrap_or_default();
        if self.chunks.len() <= 1 || first.len() >= GATHER_BYTES_MAX {
            return first;
        }
        scratch.clear();
        scratch.extend_from_slice(first);
        for chunk in self.chunks.iter().skip(1) {
            if scratch.len() + chunk.len() > GATHER_BYTES_MAX {
                break;
            }
            scratch.extend_from_slice(chunk);
        }
        scratch
    }

    /// Takes `n` written bytes off.
    pub(crate) fn advance(&mut self, mut n: usize) {
        debug_assert!(n <= self.bytes, "more written than there was");
        self.bytes = self.bytes.saturating_sub(n);
        while let Some(first) = self.chunks.front() {
            let left = first.len() - self.head;
            if n < left {
                self.head += n;
                return;
            }
            n -= left;
            self.head = 0;
            self.rest_first = false;
            self.pop_front();
        }
        self.merging = None;
    }

    fn pop_front(&mut self) {
        let chunk = self.chunks.pop_front();
        if let Some(merging) = &mut self.merging {
            merging.events.pop_front();
            merging.empty -= usize::from(chunk.is_some_and(|c| c.is_empty()));
        }
    }

    /// Drops all but the frame that is partly written, so that a close frame may follow. A first chunk of
    /// several frames is kept up to the end of the one that was begun, which `boundary` finds.
    pub(crate) fn keep_begun(&mut self, boundary: impl Fn(&[u8], usize) -> usize) {
        let begun = self.begun();
        let first = self.chunks.pop_front().filter(|_| begun);
        self.chunks.clear();
        self.merging = None;
        self.bytes = 0;
        let head = std::mem::take(&mut self.head);
        let rest_first = std::mem::take(&mut self.rest_first);
        if let Some(first) = first {
            let end = if rest_first { first.len() } else { boundary(&first, head) };
            self.push_rest(first.get(head..end).unwrap_or_default());
        }
    }

    /// True if a frame of the first chunk is partly written, or may be.
    const fn begun(&self) -> bool {
        self.rest_first || self.head > 0
    }
}

impl SendQueue {
    /// What becomes of a new frame of an object: it depends on the last one of the same lane and object
    /// that waits.
    pub(crate) fn plan(
        &self,
        lane: usize,
        object_type: &ObjectType,
        key: &ObjectKey,
        operation: Operation,
    ) -> Plan {
        let object = ObjectRef { lane, object_type, key };
        let older = self.merging.as_ref().and_then(|m| m.events.operation(object, self.begun()));
        older.map_or(Plan::Append, |older| Plan::of(older, operation))
    }

    /// Appends one frame that can be taken out again.
    pub(crate) fn push_event(
        &mut self,
        lane: usize,
        object_type: ObjectType,
        key: ObjectKey,
        operation: Operation,
        frame: Arc<[u8]>,
    ) {
        if frame.is_empty() {
            return;
        }
        let merging = self.merging.get_or_insert_with(|| {
            Box::new(Merging { events: WaitingEvents::behind(self.chunks.len()), empty: 0 })
        });
        merging.events.push(Some(Event { lane, object_type, key, operation }));
        self.bytes += frame.len();
        self.chunks.push_back(frame);
    }

    /// Takes the last waiting frame of an object out; how many bytes that was.
    pub(crate) fn take_out(
        &mut self,
        lane: usize,
        object_type: &ObjectType,
        key: &ObjectKey,
    ) -> usize {
        let begun = self.begun();
        let events = self.merging.as_mut().map(|m| &mut m.events);
        let object = ObjectRef { lane, object_type, key };
        let Some(at) = events.and_then(|events| events.take(object, begun)) else { return 0 };
        let bytes = self.empty(at);
        self.close_up();
        bytes
    }

    /// Nothing is merged any more with the frames of a subscription that wait: it has ended and its lane may be
    /// given anew, what follows says that they have been sent, or it is a gap. Looks at the whole queue.
    pub(crate) fn keep_in_place(&mut self, lane: usize) {
        if let Some(merging) = &mut self.merging {
            merging.events.forget_lane(lane);
        }
    }

    /// Leaves an empty place; how many bytes stood there.
    fn empty(&mut self, at: usize) -> usize {
        let bytes = self.chunks.get_mut(at).map(std::mem::take).map_or(0, |chunk| chunk.len());
        self.bytes -= bytes;
        if let Some(merging) = &mut self.merging {
            merging.empty += 1;
        }
        bytes
    }

    /// Lets empty places go: at both ends always, between them once they are the most.
    fn close_up(&mut self) {
        while self.chunks.front().is_some_and(|c| c.is_empty()) {
            self.pop_front();
        }
        let Some(merging) = &mut self.merging else { return };
        while self.chunks.back().is_some_and(|c| c.is_empty()) {
            self.chunks.pop_back();
            merging.events.pop_back();
            merging.empty -= 1;
        }
        if self.chunks.is_empty() {
            self.merging = None;
        } else if merging.empty > EMPTY_PLACES_MIN && merging.empty > self.chunks.len() / 2 {
            merging.empty = 0;
            let chunks = std::mem::take(&mut self.chunks);
            for (chunk, event) in chunks.into_iter().zip(merging.events.take_all()) {
                if !chunk.is_empty() {
                    self.chunks.push_back(chunk);
                    merging.events.push(event);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
