//! A client's end.

use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use tidewire_event::{Cursor, Partition};
use tidewire_wire::ws::client::push_masked;

use super::{PATIENCE, cursor_key};

/// A client's end.
pub(crate) struct Peer<S> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
}

impl<S: Read + Write> Peer<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    fn fill(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(n) => {
                self.buffer.extend_from_slice(&bytes[..n]);
                true
            }
            Err(e) => panic!("nothing came: {e}"),
        }
    }

    /// The next frame: opcode and payload.
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some((length, head)) = frame_length(&self.buffer)
                && self.buffer.len() >= head + length
            {
                let frame: Vec<u8> = self.buffer.drain(..head + length).collect();
                assert_eq!(frame[0] & 0xf0, 0x80, "a whole frame");
                return (frame[0] & 0x0f, frame[head..].to_vec());
            }
            assert!(self.fill(), "the end, and {} bytes of a torn frame", self.buffer.len());
        }
    }

    /// The next message.
    pub(crate) fn text(&mut self) -> String {
        let (opcode, payload) = self.frame();
        assert_eq!(opcode, 1, "{payload:?}");
        String::from_utf8(payload).unwrap()
    }

    /// The next message of `tidewire.v1`, which is of this kind.
    pub(crate) fn told(&mut self, kind: &str) -> String {
        let text = self.text();
        assert_eq!(member(&text, "type"), kind, "{text}");
        text
    }

    /// The next message but cursors, which come from time to time.
    pub(crate) fn but_cursors(&mut self, mut check: impl FnMut(i64)) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if member(&text, "type") != "cursor" {
                return text;
            }
            assert!(Instant::now() < until, "nothing but cursors");
            check(cursor(member(&text, "cursor")));
        }
    }

    /// The next frame closes: code and reason. Nothing follows but a clean end.
    pub(crate) fn close(&mut self) -> (u16, String) {
        let (opcode, payload) = self.frame();
        assert_eq!(opcode, 8, "{:?}", String::from_utf8_lossy(&payload));
        self.end();
        let code = u16::from_be_bytes([payload[0], payload[1]]);
        (code, String::from_utf8(payload[2..].to_vec()).unwrap())
    }

    pub(crate) fn end(&mut self) {
        assert!(self.buffer.is_empty(), "bytes after the end: {:?}", self.buffer);
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => {}
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => panic!("no goodbye: {e}"),
            other => panic!("{other:?} instead of the end"),
        }
    }

    /// Sends one masked frame.
    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.stream.write_all(&masked(opcode, payload)).unwrap();
        self.stream.flush().unwrap();
    }
}

fn frame_length(bytes: &[u8]) -> Option<(usize, usize)> {
    Some(match bytes {
        [_, 126, a, b, ..] => (usize::from(u16::from_be_bytes([*a, *b])), 4),
        [_, 126 | 127, ..] | [] | [_] => return None,
        [_, short, ..] => (usize::from(*short), 2),
    })
}

pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    push_masked(&mut frame, true, opcode, [1, 2, 3, 4], payload);
    frame
}

/// The value of a member of a JSON text, up to the comma or brace behind it.
pub(crate) fn member<'a>(text: &'a str, name: &str) -> &'a str {
    let name = format!("\"{name}\":");
    let at = text.find(&name).unwrap_or_else(|| panic!("no {name} in {text}")) + name.len();
    text[at..].split([',', '}']).next().unwrap().trim_matches('"')
}

/// The offset of an event, in partition 0.
pub(crate) fn offset(text: &str) -> i64 {
    let id = member(text, "id");
    id.strip_prefix("0-").and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{id} in {text}"))
}

/// Where a cursor stands in partition 0.
pub(crate) fn cursor(text: &str) -> i64 {
    let cursor = Cursor::decode(text, &cursor_key()).unwrap();
    assert_eq!(cursor.tenant.as_str(), "acme");
    cursor.positions.get(Partition(0)).unwrap().next.0
}
