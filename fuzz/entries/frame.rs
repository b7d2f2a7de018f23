//! Bytes of a WebSocket client: what they say does not depend on how they are cut into reads.

use std::ops::ControlFlow;

use tidewire_wire::ws::{Decoder, Limits, Message};

pub(crate) fn run(data: &[u8]) {
    let Some(([a, b], bytes)) = data.split_first_chunk() else { return };
    let whole = read(bytes, &mut std::iter::repeat(bytes.len().max(1)));
    let cuts = [usize::from(a % 7) + 1, usize::from(b % 31) + 1];
    let cut = read(bytes, &mut cuts.into_iter().cycle());
    assert!(whole == cut, "{whole:?} in one piece, {cut:?} in pieces of {cuts:?}");
}

/// The messages, and the code of the error that ended them.
fn read(bytes: &[u8], lengths: &mut dyn Iterator<Item = usize>) -> (Vec<String>, Option<u16>) {
    let limits = Limits { frame_bytes_max: 512, message_bytes_max: 1024 };
    let mut decoder = Decoder::default();
    let mut messages = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = lengths.next().unwrap_or(1).min(rest.len());
        let (piece, tail) = rest.split_at(length);
        rest = tail;
        let fed = decoder.feed(&mut piece.to_vec(), &limits, &mut |message: Message<'_>| {
            messages.push(format!("{message:?}"));
            ControlFlow::Continue(())
        });
        if let Err(e) = fed {
            return (messages, Some(e.code()));
        }
    }
    (messages, None)
}
