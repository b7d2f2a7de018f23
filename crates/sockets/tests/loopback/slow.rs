//! A client that does not read, beside one that does.

use std::net::TcpStream;
use std::time::Duration;

use socket2::SockRef;
use tidewire_router::Framing;
use tidewire_sockets::{Closed, ShardOptions, Stream};
use tidewire_wire::error::CloseCode;

use crate::bed::{Bed, Peer, options};

/// Pings often, and leaves a busy machine time to answer.
fn eager() -> ShardOptions {
    let (ping_interval, pong_timeout) = (Duration::from_millis(1_000), Duration::from_millis(950));
    ShardOptions { ping_interval, pong_timeout, ..options() }
}

/// The next message of a client that answers pings.
fn lively(peer: &mut Peer<TcpStream>) {
    loop {
        match peer.frame() {
            (9, payload) => peer.send(10, &payload),
            _ => return,
        }
    }
}

#[test]
fn a_slow_reader_is_closed_on_the_boundary_of_a_frame() {
    let mut bed = Bed::new(options(), 64 * 1024);
    let mut open = |masked: bool| {
        let id = bed.attach(Framing::WebSocket, masked);
        let (ours, theirs) = bed.pair();
        SockRef::from(&theirs).set_send_buffer_size(32 * 1024).unwrap();
        let watch = bed.adopt(id, Stream::plain(theirs), &[], i64::MAX);
        (Peer::new(ours), watch)
    };
    let (mut slow, slow_watch) = open(true);
    let (mut fast, fast_watch) = open(true);
    let mut sent = 0;
    // The fast one reads each event before the next: the slow one's buffers fill, then its queue.
    let why = loop {
        bed.event(8_000);
        assert!(fast.text().contains(&format!("0-{}", 1_000 + sent)));
        sent += 1;
        if bed.shard().stats().connections == 2
            && let Some(why) = slow_watch.closed_already()
        {
            break why;
        }
        assert!(sent < 20_000, "a client that reads nothing is never too slow");
    };
    assert_eq!(why, Closed::ByUs(CloseCode::Slow));
    let mut received = 0;
    let reason = loop {
        let (opcode, payload) = slow.frame();
        if opcode == 8 {
            break payload;
        }
        assert!(payload.starts_with(format!("{{\"id\":\"0-{}\"", 1_000 + received).as_bytes()));
        received += 1;
    };
    assert_eq!(reason, [&4101_u16.to_be_bytes()[..], b"slow"].concat());
    slow.end();
    assert!(received < sent, "{received} of {sent}");
    drop(slow);
    slow_watch.gone();
    // The other one goes on.
    bed.event(1);
    assert!(fast.text().contains(&format!("0-{}", 1_000 + sent)));
    assert!(fast_watch.closed_already().is_none());
    drop(fast);
    fast_watch.gone();
    bed.left(2);
    bed.assert_empty();
}

#[test]
fn a_reader_that_pauses_gets_all() {
    let mut bed = Bed::new(options(), 64 << 20);
    let id = bed.attach(Framing::WebSocket, true);
    let (ours, theirs) = bed.pair();
    SockRef::from(&theirs).set_send_buffer_size(16 * 1024).unwrap();
    let watch = bed.adopt(id, Stream::plain(theirs), &[], i64::MAX);
    let mut peer = Peer::new(ours);
    for round in 0..5 {
        (0..300).for_each(|_| bed.event(8_000));
        for n in 0..300 {
            assert!(peer.text().contains(&format!("\"0-{}\"", 1_000 + round * 300 + n)));
        }
    }
    drop(peer);
    watch.gone();
    bed.assert_empty();
}

/// The answer to a ping is as far away as the end of the queue before it.
#[test]
fn who_reads_slowly_but_steadily_is_not_silent() {
    let mut bed = Bed::new(eager(), 64 << 20);
    let id = bed.attach(Framing::WebSocket, true);
    let (mut slow, watch) = bed.join_narrow(id);
    let (mut fast, _fast) = bed.connect();
    for _ in 0..200 {
        bed.event(8_000);
        lively(&mut fast);
    }
    // It answers none of them.
    let mut pings = 0;
    while pings < 3 {
        bed.event(8_000);
        lively(&mut fast);
        pings += usize::from(slow.frame().0 == 9);
        assert!(watch.closed_already().is_none(), "after {pings} pings");
    }
}

#[test]
fn who_reads_nothing_and_answers_nothing_is_silent() {
    let mut bed = Bed::new(eager(), 64 << 20);
    let id = bed.attach(Framing::WebSocket, true);
    let (slow, watch) = bed.join_narrow(id);
    (0..200).for_each(|_| bed.event(8_000));
    assert_eq!(watch.closed(), Closed::Silent);
    watch.gone();
    drop(slow);
    bed.left(1);
    bed.assert_empty();
}
