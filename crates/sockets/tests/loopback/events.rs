//! Event streams: the shard's end of an answer that the HTTP server writes.

use std::future::poll_fn;

use bytes::Bytes;
use tidewire_router::Framing;
use tidewire_sockets::{Closed, Command, EventStreamBody, ShardOptions};
use tidewire_wire::error::CloseCode;

use crate::bed::{Bed, PATIENCE, Watch, options};

struct Body {
    body: EventStreamBody,
    runtime: tokio::runtime::Runtime,
    text: String,
}

impl Body {
    fn open(bed: &mut Bed) -> (Self, Watch) {
        let id = bed.attach(Framing::EventStream, false);
        let (stream, body) = EventStreamBody::new(id, bed.shard().clone());
        let watch = bed.adopt(id, stream, &[], i64::MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        (Self { body, runtime, text: String::new() }, watch)
    }

    fn chunk(&mut self) -> Option<Bytes> {
        let next =
            async { tokio::time::timeout(PATIENCE, poll_fn(|cx| self.body.poll_next(cx))).await };
        self.runtime.block_on(next).expect("nothing came")
    }

    /// The next block.
    fn block(&mut self) -> String {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                return self.text.drain(..end + 2).collect();
            }
            let chunk = self.chunk().expect("the end in the middle of a block");
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[test]
fn a_full_channel_resumes() {
    let mut bed = Bed::new(options(), 1 << 20);
    let (mut body, watch) = Body::open(&mut bed);
    for round in 0..20 {
        (0..100).for_each(|_| bed.event(1));
        for n in 0..100 {
            let block = body.block();
            assert!(block.starts_with(&format!(r#"data: {{"id":"0-{}""#, 1_000 + round * 100 + n)));
        }
    }
    bed.shard().send(Command::Close(tidewire_router::ConnectionId(1), CloseCode::Drain));
    assert_eq!(body.block(), "retry: 1\n\n");
    assert!(body.chunk().is_none());
    assert_eq!(watch.closed(), Closed::ByUs(CloseCode::Drain));
    watch.gone();
    bed.left(1);
    bed.assert_empty();
}

#[test]
fn word_of_room_that_finds_no_room_is_made_good() {
    let mut bed = Bed::new(ShardOptions { commands_max: 2, ..options() }, 1 << 20);
    let (mut body, _watch) = Body::open(&mut bed);
    let (mut peer, gate) = bed.connect();
    // One by one: each event is a chunk of its own, as the other client's frame shows.
    for _ in 0..8 {
        bed.event(1);
        peer.text();
    }
    // The shard waits, and its queue is full.
    peer.send(1, b"wait");
    assert_eq!(gate.text(), "wait");
    bed.event(1);
    bed.event(1);
    assert!(bed.shard().is_full());
    for n in 0..4 {
        assert!(body.block().contains(&format!("\"0-{}\"", 1_000 + n)));
    }
    gate.gate.send(()).unwrap();
    for n in 4..10 {
        assert!(body.block().contains(&format!("\"0-{}\"", 1_000 + n)));
    }
}

#[test]
fn a_reader_that_goes_is_forgotten() {
    let mut bed = Bed::new(options(), 1 << 20);
    let (body, watch) = Body::open(&mut bed);
    let (full, full_watch) = Body::open(&mut bed);
    (0..50).for_each(|_| bed.event(1));
    drop(body);
    drop(full);
    for watch in [watch, full_watch] {
        assert_eq!(watch.closed(), Closed::ByClient(None));
        watch.gone();
    }
    bed.left(2);
    bed.assert_empty();
}
