//! Counts the messages in what a server sends, without keeping them.

use serde_json::Value;

const TEXT: u8 = 1;
const PING: u8 = 9;
/// How an event begins: in `tidewire.v1`, and in the documented mode.
const EVENT_STARTS: [&[u8]; 2] = [br#"{"type":"event""#, br#"{"id":"#];
/// Most bytes kept of a message that is looked at.
const TEXT_BYTES_MAX: usize = 4096;

/// What a server said besides events.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Subscriptions that have caught up.
    pub(super) live: u64,
    /// The last cursor.
    pub(super) cursor: Option<String>,
    /// The first error or gap.
    pub(super) refused: Option<String>,
}

/// Counts text frames of a WebSocket, or events of an event stream.
#[derive(Debug, Default)]
pub(super) struct Counter {
    event_stream: bool,
    /// Whether messages are told apart: then only events count.
    sorting: bool,
    /// The message or ping under way, as far as it is kept.
    text: Vec<u8>,
    opcode: u8,
    said: Option<Said>,
    /// A frame's header as far as it has come.
    header: Vec<u8>,
    /// Payload bytes of the current frame that are still to come.
    payload: u64,
    pings: Vec<Vec<u8>>,
    last: u8,
}

impl Counter {
    pub(super) fn new(event_stream: bool, sorting: bool) -> Self {
        Self { event_stream, sorting, ..Self::default() }
    }

    /// The payloads of pings since the last call.
    pub(super) fn take_pings(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.pings)
    }

    /// What was said since the last call.
    pub(super) fn take_said(&mut self) -> Option<Said> {
        self.said.take()
    }

    /// Takes bytes; how many text frames began (or events ended) in them.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> u64 {
        if self.event_stream {
            return self.events(bytes);
        }
        let mut frames = 0;
        loop {
            let skip = bytes.len().min(usize::try_from(self.payload).unwrap_or(usize::MAX));
            let (payload, rest) = bytes.split_at_checked(skip).unwrap_or((bytes, &[]));
            bytes = rest;
            if skip > 0 {
                frames += self.payload(payload);
            }
            let Some((&byte, rest)) = bytes.split_first() else { return frames };
            self.header.push(byte);
            bytes = rest;
            if let Some(length) = length(&self.header) {
                self.opcode = self.header.first().map_or(0, |first| first & 0xF);
                self.payload = length;
                self.header.clear();
                match self.opcode {
                    TEXT if !self.sorting => frames += 1,
                    PING if length == 0 => self.pings.push(Vec::new()),
                    _ => {}
                }
            }
        }
    }

    /// Takes payload; 1 if an event ended that was looked at.
    fn payload(&mut self, bytes: &[u8]) -> u64 {
        self.payload -= bytes.len() as u64;
        if self.opcode != PING && !self.sorting {
            return 0;
        }
        let room = TEXT_BYTES_MAX.saturating_sub(self.text.len());
        self.text.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        if self.payload > 0 {
            return 0;
        }
        if self.opcode == PING {
            self.pings.push(std::mem::take(&mut self.text));
            return 0;
        }
        let event = EVENT_STARTS.iter().any(|start| self.text.starts_with(start));
        if !event {
            self.listen();
        }
        self.text.clear();
        u64::from(event)
    }

    /// Looks at a message that is no event.
    fn listen(&mut self) {
        let said = self.said.get_or_insert_default();
        let message = serde_json::from_slice(&self.text).unwrap_or(Value::Null);
        let member = |name| message.get(name).and_then(Value::as_str).map(str::to_owned);
        match member("type").as_deref() {
            Some("live") => said.live += 1,
            Some("error" | "gap") if said.refused.is_none() => {
                said.refused = Some(format!("a socket was told {message}"));
            }
            _ => {}
        }
        said.cursor = member("cursor").or(said.cursor.take());
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
        let mut bytes = vec![0x81, 3, b'a', b'b', b'c', 0x89, 0, 0x89, 1, b'p', 0x81, 126, 1, 0];
        bytes.extend([b'x'; 256]);
        bytes.extend([0x81, 0]);
        for cut in 1..bytes.len() {
            let mut counter = Counter::new(false, false);
            let frames: u64 = bytes.chunks(cut).map(|chunk| counter.feed(chunk)).sum();
            let pings = vec![Vec::new(), b"p".to_vec()];
            assert_eq!((frames, counter.take_pings()), (3, pings), "{cut}");
        }
    }

    #[test]
    fn tells_events_from_what_else_is_said() {
        let mut bytes = Vec::new();
        for text in [
            r#"{"type":"subscribed","id":"a","cursor":"AAA"}"#,
            r#"{"type":"event","id":"0-1"}"#,
            r#"{"statusCode":410,"message":"session starts now"}"#,
            r#"{"id":"0-2"}"#,
            r#"{"type":"live","id":"a","cursor":"BBB","replayed":1}"#,
            r#"{"type":"gap","sub":"a","reason":"retention"}"#,
        ] {
            bytes.extend([0x81, u8::try_from(text.len()).unwrap()]);
            bytes.extend_from_slice(text.as_bytes());
            bytes.extend([0x89, 2, b'4', b'2']);
        }
        for cut in 1..bytes.len() {
            let mut counter = Counter::new(false, true);
            let frames: u64 = bytes.chunks(cut).map(|chunk| counter.feed(chunk)).sum();
            let said = counter.take_said().unwrap();
            assert_eq!((frames, said.live, counter.take_pings().len()), (2, 1, 6), "{cut}");
            assert_eq!(said.cursor.as_deref(), Some("BBB"), "{cut}");
            assert!(said.refused.unwrap().contains("retention"), "{cut}");
        }
    }

    #[test]
    fn counts_events() {
        let mut counter = Counter::new(true, false);
        assert_eq!(counter.feed(b"c\r\ndata: {}\n"), 0);
        assert_eq!(counter.feed(b"\n\r\nc\r\ndata: {}\n\n\r\n"), 2);
    }
}
