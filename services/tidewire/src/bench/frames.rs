//! Counts the messages in what a server sends, without keeping them.

/// Counts text frames of a WebSocket, or events of an event stream.
#[derive(Debug, Default)]
pub(super) struct Counter {
    event_stream: bool,
    /// A frame's header as far as it has come.
    header: Vec<u8>,
    /// Payload bytes of the current frame that are still to come.
    payload: u64,
    pings: usize,
    last: u8,
}

impl Counter {
    pub(super) fn new(event_stream: bool) -> Self {
        Self { event_stream, ..Self::default() }
    }

    /// Pings since the last call.
    pub(super) fn take_pings(&mut self) -> usize {
        std::mem::take(&mut self.pings)
    }

    /// Takes bytes; how many text frames began (or events ended) in them.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> u64 {
        if self.event_stream {
            return self.events(bytes);
        }
        let mut frames = 0;
        loop {
            let skip = bytes.len().min(usize::try_from(self.payload).unwrap_or(usize::MAX));
            self.payload -= skip as u64;
            bytes = bytes.get(skip..).unwrap_or_default();
            let Some((&byte, rest)) = bytes.split_first() else { return frames };
            self.header.push(byte);
            bytes = rest;
            if let Some(length) = length(&self.header) {
                match self.header.first() {
                    Some(0x81) => frames += 1,
                    Some(0x89) => self.pings += 1,
                    _ => {}
                }
                self.payload = length;
                self.header.clear();
            }
        }
    }

    /// An event ends with an empty line. The sizes of chunks lie between lines that end with `\r\n`.
    fn events(&mut self, bytes: &[u8]) -> u64 {
        let mut events = 0;
        for &byte in bytes {
            if byte == b'\n' && self.last == b'\n' {
                events += 1;
            }
            self.last = byte;
        }
        events
    }
}

/// The payload length that a whole header tells (RFC 6455, section 5.2; servers do not mask).
fn length(header: &[u8]) -> Option<u64> {
    match header {
        [_, 126, a, b] => Some(u64::from(u16::from_be_bytes([*a, *b]))),
        [_, 127, a, b, c, d, e, f, g, h] => {
            Some(u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
        }
        [_, 126 | 127, ..] | [_] | [] => None,
        [_, short, ..] => Some(u64::from(*short)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_however_the_bytes_are_cut() {
        let mut bytes = vec![0x81, 3, b'a', b'b', b'c', 0x89, 0, 0x81, 126, 1, 0];
        bytes.extend([b'x'; 256]);
        bytes.extend([0x81, 0]);
        for cut in 1..bytes.len() {
            let mut counter = Counter::new(false);
            let frames: u64 = bytes.chunks(cut).map(|chunk| counter.feed(chunk)).sum();
            assert_eq!((frames, counter.take_pings()), (3, 1), "{cut}");
        }
    }

    #[test]
    fn counts_events() {
        let mut counter = Counter::new(true);
        assert_eq!(counter.feed(b"c\r\ndata: {}\n"), 0);
        assert_eq!(counter.feed(b"\n\r\nc\r\ndata: {}\n\n\r\n"), 2);
    }
}
