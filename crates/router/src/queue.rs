//! What one connection has still to be sent, once it can't take what its view holds.
//!
//! A queue exists only while a write would block, while the stream has not been handed over yet, and
//! while a connection closes. It holds shared frames (one allocation for all connections of a view) and
//! a few of its own.

use std::collections::VecDeque;
use std::sync::Arc;

/// Most bytes gathered for one write.
const GATHER_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    chunks: VecDeque<Arc<[u8]>>,
    /// Bytes of the first chunk that are written already.
    head: usize,
    bytes: usize,
    /// True if the first chunk is the rest of one frame whose beginning is written already.
    rest_first: bool,
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
            self.chunks.pop_front();
        }
    }

    /// Drops all but the frame that is partly written, so that a close frame may follow. A first chunk of
    /// several frames is kept up to the end of the one that was begun, which `boundary` finds.
    pub(crate) fn keep_begun(&mut self, boundary: impl Fn(&[u8], usize) -> usize) {
        let begun = self.rest_first || self.head > 0;
        let first = self.chunks.pop_front().filter(|_| begun);
        self.chunks.clear();
        self.bytes = 0;
        let head = std::mem::take(&mut self.head);
        let rest_first = std::mem::take(&mut self.rest_first);
        if let Some(first) = first {
            let end = if rest_first { first.len() } else { boundary(&first, head) };
            self.push_rest(first.get(head..end).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(chunks: &[&str]) -> SendQueue {
        let mut queue = SendQueue::default();
        for chunk in chunks {
            queue.push(Arc::from(chunk.as_bytes()));
        }
        queue
    }

    #[test]
    fn gathers_and_advances_over_chunks() {
        let mut queue = queue(&["abc", "de", "f"]);
        let mut scratch = Vec::new();
        assert_eq!(queue.gather(&mut scratch), b"abcdef");
        queue.advance(4);
        assert_eq!(queue.gather(&mut scratch), b"ef");
        assert_eq!(queue.bytes(), 2);
        queue.advance(2);
        assert!(queue.is_empty());
    }

    #[test]
    fn keeps_only_the_frame_that_was_begun() {
        let none = |_: &[u8], _| unreachable!("no frame was begun");
        let mut whole = queue(&["abc", "de"]);
        whole.keep_begun(none);
        assert_eq!(whole.bytes(), 0);

        let mut rest = SendQueue::default();
        rest.push_rest(b"xyz");
        rest.push(Arc::from(&b"more"[..]));
        rest.advance(1);
        rest.keep_begun(none);
        assert_eq!(rest.gather(&mut Vec::new()), b"yz");

        let mut begun = queue(&["aabbcc", "more"]);
        begun.advance(3);
        begun.keep_begun(|_, at| at.div_ceil(2) * 2);
        assert_eq!(begun.gather(&mut Vec::new()), b"b");
    }
}
