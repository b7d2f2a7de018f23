//! Writing, in slices.

use std::sync::Arc;

use super::{Notice, ShardCore};

/// A view with at most so many members goes before those with more.
pub(super) const SMALL_VIEW_MEMBERS: usize = 64;
/// Most buffers that wait for the next view.
const POOL_MAX: usize = 64;
/// A buffer that grew beyond this is given back.
const POOL_BUFFER_BYTES_MAX: usize = 4096;

/// What became of the bytes that a sink was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// All were taken.
    All,
    /// So many were taken, perhaps all, and the next would block.
    Partial(usize),
    /// The stream is dead.
    Failed,
}

/// Where a shard writes: the sockets of its owner.
pub trait Sink {
    /// Writes to the stream of a slot without waiting.
    fn write(&mut self, slot: usize, bytes: &[u8]) -> Written;
}

/// Keeps a buffer for the next view, unless it is large or there are enough.
pub(super) fn recycle(pool: &mut Vec<Vec<u8>>, buffer: Vec<u8>) {
    let capacity = buffer.capacity();
    if capacity > 0 && capacity <= POOL_BUFFER_BYTES_MAX && pool.len() < POOL_MAX {
        pool.push(buffer);
    }
}

impl ShardCore {
    /// Writes what waits, at most about `writes_max` writes; true if more is left. Own queues and views
    /// with few members go first; a quarter of the slice is left for those with many.
    pub fn flush(&mut self, writes_max: usize, sink: &mut impl Sink) -> bool {
        let mut left = writes_max - writes_max / 4;
        while left > 0 {
            if let Some(slot) = self.next_ready() {
                self.flush_queue(slot, &mut left, sink);
            } else if let Some(index) = self.dirty_small.pop_front() {
                // It may have grown, or another view may have its number by now.
                if self.views.get(index).is_some_and(|v| v.members.len() > SMALL_VIEW_MEMBERS) {
                    self.dirty_large.push_back(index);
                } else if !self.flush_view(index, &mut left, sink) {
                    self.dirty_small.push_front(index);
                }
            } else {
                break;
            }
        }
        left += writes_max / 4;
        while left > 0 {
            let Some(index) = self.dirty_large.pop_front() else { break };
            if !self.flush_view(index, &mut left, sink) {
                self.dirty_large.push_back(index);
            }
        }
        !(self.ready.is_empty() && self.dirty_small.is_empty() && self.dirty_large.is_empty())
    }

    /// Sends one frame (a control frame, an error) ahead of what the views have. A closing connection gets
    /// none: nothing may follow its last bytes.
    pub fn send(&mut self, slot: usize, frame: &[u8], sink: &mut impl Sink) {
        let Some(connection) = self.connections.get(slot).filter(|c| !c.closing) else { return };
        if connection.pending.is_some() {
            self.enqueue(slot, Arc::from(frame));
            return;
        }
        let outcome = self.write(slot, frame, sink);
        if let Written::Partial(n) = outcome {
            self.hold(slot, true, frame.get(n..).unwrap_or_default(), n > 0);
        }
    }

    /// Flushes a view; true once it is through.
    fn flush_view(&mut self, index: usize, left: &mut usize, sink: &mut impl Sink) -> bool {
        while *left > 0 {
            let Some(view) = self.views.get_mut(index).filter(|v| v.dirty) else { return true };
            let before = view.log_bytes();
            let next = view.next_member();
            if next.is_none() {
                view.dirty = false;
                recycle(&mut self.pool, view.take_buffer());
            }
            let freed = before - view.log_bytes();
            self.stats.backlog_bytes -= freed;
            if freed > 0 && std::mem::take(&mut view.is_long) {
                // If it is long still, that is seen with the next event.
                self.long_views -= 1;
            }
            let Some(index_of_lane) = next else { return true };
            let end = view.end();
            let Some(lane) = self.lanes.get_mut(index_of_lane) else { continue };
            if lane.held || lane.position == end {
                continue;
            }
            let slot = lane.connection;
            let frames = view.from(lane.position);
            *left -= 1;
            let outcome = sink.write(slot, frames);
            match outcome {
                Written::All => {
                    self.stats.bytes += frames.len() as u64;
                    lane.position = end;
                }
                Written::Partial(n) => {
                    self.stats.bytes += n as u64;
                    let boundary = view.key.framing.frame_end(frames, n);
                    let rest: Vec<u8> = frames.get(n..boundary).unwrap_or_default().to_vec();
                    // What lies behind the begun frame follows from the log, in `hold`.
                    lane.position += boundary as u64;
                    self.hold(slot, true, &rest, n < boundary);
                }
                Written::Failed => {
                    lane.position = end;
                    self.notices.push(Notice::Failed(slot));
                }
            }
        }
        false
    }

    /// Writes a connection's own queue.
    fn flush_queue(&mut self, slot: usize, left: &mut usize, sink: &mut impl Sink) {
        let mut scratch = std::mem::take(&mut self.scratch);
        while let Some(connection) = self.connections.get_mut(slot) {
            let Some(pending) = connection.pending.as_mut().filter(|p| !p.waiting) else { break };
            if pending.queue.is_empty() {
                if connection.closing {
                    pending.drained = true;
                    self.notices.push(Notice::Drained(slot));
                    break;
                }
                // One that was slow was not given all: it never follows the logs again.
                if pending.slow {
                    break;
                }
                if self.say_conflated(slot) {
                    continue;
                }
                self.note_room(slot);
                self.release(slot);
                break;
            }
            if *left == 0 {
                self.list(slot);
                break;
            }
            *left -= 1;
            let bytes = pending.queue.gather(&mut scratch);
            let total = bytes.len();
            let outcome = sink.write(slot, bytes);
            let taken = match outcome {
                Written::All => total,
                Written::Partial(n) => n,
                Written::Failed => {
                    pending.waiting = true;
                    self.notices.push(Notice::Failed(slot));
                    break;
                }
            };
            pending.queue.advance(taken);
            // A sink that took all may still hold back some of it (TLS): what follows waits.
            pending.waiting = outcome != Written::All;
            self.stats.queued_bytes -= taken;
            self.stats.bytes += taken as u64;
        }
        self.scratch = scratch;
    }

    /// All that waited is written: if somebody catches up here, it can go on.
    fn note_room(&mut self, slot: usize) {
        let reads = |lane: &usize| self.lanes.get(*lane).is_some_and(|l| l.reader.is_some());
        let connection = self.connections.get(slot);
        self.replay.has_room |= connection.is_some_and(|c| c.lanes.iter().any(reads));
    }

    fn write(&mut self, slot: usize, bytes: &[u8], sink: &mut impl Sink) -> Written {
        let outcome = sink.write(slot, bytes);
        match outcome {
            Written::All => self.stats.bytes += bytes.len() as u64,
            Written::Partial(n) => self.stats.bytes += n as u64,
            Written::Failed => self.notices.push(Notice::Failed(slot)),
        }
        outcome
    }
}
