//! Event streams: the shard's end of an answer that the HTTP server writes.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidewire_router::{Framing, Subscription};
use tidewire_sockets::{Closed, Command, EventStreamBody, ShardOptions};
use tidewire_wire::error::CloseCode;

use crate::bed::{Bed, FIRST, PATIENCE, Watch, at, cursor, options};

struct Body {
    body: EventStreamBody,
    runtime: tokio::runtime::Runtime,
    text: String,
    /// What the last position said, as a next offset.
    next: Option<i64>,
}

impl Body {
    fn open(bed: &mut Bed) -> (Self, Watch) {
        let subscription = bed.subscription(false);
        Self::open_with(bed, subscription)
    }

    fn open_with(bed: &mut Bed, subscription: Subscription) -> (Self, Watch) {
        let id = bed.open(Framing::EventStream, false, Some(subscription));
        let (stream, body) = EventStreamBody::new(id, bed.shard().clone());
        let watch = bed.adopt(id, stream, &[], i64::MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        (Self { body, runtime, text: String::new(), next: None }, watch)
    }

    fn chunk(&mut self) -> Option<Bytes> {
        let next =
            async { tokio::time::timeout(PATIENCE, poll_fn(|cx| self.body.poll_next(cx))).await };
        self.runtime.block_on(next).expect("nothing came")
    }

    /// The next block but for those that only tell the position.
    fn block(&mut self) -> String {
        loop {
            let block = self.any_block();
            match block.strip_prefix("id: ") {
                Some(id) => self.next = Some(cursor(id.trim_end())),
                None => return block,
            }
        }
    }

    /// The next block, which only tells the position.
    fn id(&mut self) -> i64 {
        let block = self.any_block();
        cursor(block.strip_prefix("id: ").unwrap_or_else(|| panic!("{block}")).trim_end())
    }

    fn any_block(&mut self) -> String {
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
    // All that the channel holds.
    for _ in 0..4 {
        let chunk = body.chunk().unwrap();
        body.text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    gate.gate.send(()).unwrap();
    for n in 0..10 {
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

#[test]
fn positions_follow_events_at_most_once_a_second() {
    let mut bed = Bed::new(options(), 1 << 20);
    let began = Instant::now();
    let (mut body, _watch) = Body::open(&mut bed);
    for n in 0..3 {
        bed.event(1);
        assert!(body.block().contains(&format!("\"0-{}\"", FIRST + n)));
        if n == 0 {
            assert_eq!(body.next, Some(FIRST), "at the start");
        }
        assert_eq!(body.id(), FIRST + n + 1);
    }
    assert!(began.elapsed() >= Duration::from_millis(1_990), "{:?}", began.elapsed());
}

#[test]
fn a_drain_says_where_it_left_off_and_when_to_come_back() {
    let mut bed = Bed::new(options(), 1 << 20);
    let (mut body, watch) = Body::open(&mut bed);
    (0..5).for_each(|_| bed.event(1));
    let retry = Duration::from_secs(2);
    bed.shard().send(Command::Restart(tidewire_router::ConnectionId(1), retry));
    (0..5).for_each(|_| assert!(body.block().starts_with("data: ")));
    let last = body.block();
    let hint = last.strip_prefix("retry: ").unwrap().trim_end().parse::<u64>().unwrap();
    assert!((2_000..=4_000).contains(&hint), "{last}");
    assert_eq!(body.next, Some(FIRST + 5), "the position stands before the hint");
    assert!(body.chunk().is_none());
    assert_eq!(watch.closed(), Closed::ByUs(CloseCode::Restart));
}

#[test]
fn a_stream_resumes_where_it_left_off() {
    let mut bed = Bed::with(options(), 1 << 20, 0, 0);
    (0..40).for_each(|_| bed.event(8_000));
    let subscription = Subscription { start: at(FIRST + 2), ..bed.subscription(true) };
    let (mut body, _watch) = Body::open_with(&mut bed, subscription);
    for n in 2..40 {
        assert!(body.block().contains(&format!("\"0-{}\"", FIRST + n)));
    }
    assert_eq!(body.id(), FIRST + 40, "it has caught up");
    bed.event(1);
    assert!(body.block().contains(&format!("\"0-{}\"", FIRST + 40)));
}
