//! Every way in which a connection ends.

use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use tidewire_router::Framing;
use tidewire_sockets::{Closed, Command, ShardOptions, Stream};
use tidewire_wire::error::CloseCode;

use crate::bed::{Bed, Peer, masked, options, unix_seconds};

/// Bytes of a client, and the code that they are answered with.
#[track_caller]
fn check(bytes: &[u8], expected: u16, why: Closed) {
    let options = ShardOptions { inbound_messages_per_minute: 5, ..options() };
    let mut bed = Bed::new(options, 1 << 20);
    let (mut peer, watch) = bed.connect();
    peer.stream.write_all(bytes).unwrap();
    assert_eq!(peer.close().0, expected, "{bytes:?}");
    assert_eq!(watch.closed(), why);
    drop(peer);
    watch.gone();
    bed.left(1);
    bed.assert_empty();
}

#[test]
fn every_breach_has_its_code() {
    let by_us = Closed::ByUs;
    let with = |first: u8, payload: &[u8]| {
        let mut bytes = masked(1, payload);
        bytes[0] = first;
        bytes
    };
    check(&masked(2, b"xx"), 1003, by_us(CloseCode::BinaryFrame));
    check(&masked(1, &[0xff, 0xfe]), 1007, by_us(CloseCode::BadUtf8));
    check(&masked(1, &[b'x'; 1025]), 1009, by_us(CloseCode::TooBig));
    check(
        &[with(0x01, &[b'x'; 1000]), with(0x00, &[b'x'; 1000]), with(0x80, &[b'x'; 100])].concat(),
        1009,
        by_us(CloseCode::TooBig),
    );
    check(&[0x81, 2, b'h', b'i'], 1002, by_us(CloseCode::ProtocolError));
    check(&with(0xc1, b"hi"), 1002, by_us(CloseCode::ProtocolError));
    check(&with(0x83, b"hi"), 1002, by_us(CloseCode::ProtocolError));
    check(&with(0x80, b"hi"), 1002, by_us(CloseCode::ProtocolError));
    check(&masked(8, b"x"), 1002, by_us(CloseCode::ProtocolError));
    check(&masked(1, b"hi").repeat(6), 4102, by_us(CloseCode::OverLimit));
    // A pong that fits the limit would come first.
    check(
        &masked(10, b"").repeat(100).into_iter().chain(masked(2, b"")).collect::<Vec<_>>(),
        1003,
        by_us(CloseCode::BinaryFrame),
    );
    check(&masked(8, &[3, 232, b'b', b'y', b'e']), 1000, Closed::ByClient(Some(1000)));
    check(&masked(8, &[15, 160]), 4000, Closed::ByClient(Some(4000)));
    check(&masked(8, &[]), 1000, Closed::ByClient(None));
}

#[test]
fn nothing_follows_a_close_frame() {
    for breach in [masked(2, b"x"), masked(8, &[3, 232]), vec![0x81, 1, b'x']] {
        let mut bed = Bed::new(options(), 1 << 20);
        let (mut peer, watch) = bed.connect();
        // One write, and so mostly one read: what stands behind the breach is not answered.
        let rest =
            [masked(9, b"ping"), masked(1, b"tell"), masked(1, b"mask"), masked(2, b"x")].concat();
        peer.stream.write_all(&[breach, rest].concat()).unwrap();
        let _ = watch.closed();
        (0..10).for_each(|_| bed.event(1));
        peer.close();
        assert!(watch.texts.try_recv().is_err(), "a text after the end");
    }
}

#[test]
fn a_half_closed_client_gets_its_answer() {
    for _ in 0..50 {
        let mut bed = Bed::new(options(), 1 << 20);
        let (mut peer, watch) = bed.connect();
        peer.send(8, &[3, 233]);
        peer.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer.close().0, 1001);
        assert_eq!(watch.closed(), Closed::ByClient(Some(1001)));
        watch.gone();
        bed.left(1);
    }
}

#[test]
fn who_goes_without_a_word() {
    let mut bed = Bed::new(options(), 1 << 20);
    let (peer, watch) = bed.connect();
    drop(peer);
    assert_eq!(watch.closed(), Closed::ByClient(None));
    watch.gone();
    bed.left(1);
}

#[test]
fn a_token_that_expires() {
    let mut bed = Bed::new(options(), 1 << 20);
    let until = unix_seconds() + 1;
    let (mut peer, watch) = bed.connect_until(until, &[]);
    let (mut late, _watch) = bed.connect_until(until - 10, &[]);
    assert_eq!(late.close(), (4201, String::from("token-expired")));
    assert_eq!(peer.close(), (4201, String::from("token-expired")));
    assert!(unix_seconds() >= until, "before its time");
    assert_eq!(watch.closed(), Closed::ByUs(CloseCode::TokenExpired));
}

#[test]
fn closed_by_command_with_what_is_owed_first() {
    let mut bed = Bed::new(options(), 1 << 20);
    let (mut peer, _watch) = bed.connect();
    let (mut other, _other) = bed.connect();
    (0..20).for_each(|_| bed.event(1));
    bed.shard().send(Command::Close(tidewire_router::ConnectionId(1), CloseCode::SessionTaken));
    bed.event(1);
    (0..20).for_each(|_| _ = peer.text());
    assert_eq!(peer.close(), (4010, String::from("session-taken")));
    (0..21).for_each(|_| _ = other.text());
}

#[test]
fn a_client_that_never_answers_a_close_is_let_go() {
    let options = ShardOptions { linger: Duration::from_millis(300), ..options() };
    let mut bed = Bed::new(options, 1 << 20);
    let (mut peer, watch) = bed.connect();
    bed.shard().send(Command::Close(tidewire_router::ConnectionId(1), CloseCode::Unavailable));
    assert_eq!(peer.close().0, 4103);
    watch.gone();
    bed.assert_empty();
}

#[test]
fn a_drain_closes_all_with_a_spread_hint() {
    let mut bed = Bed::new(options(), 1 << 20);
    let mut all: Vec<_> = (0..60).map(|_| bed.connect()).collect();
    let waiting = bed.attach(Framing::WebSocket, false);
    let (window, retry) = (Duration::from_millis(400), Duration::from_secs(5));
    bed.event(1);
    bed.shard().send(Command::Drain { window, retry });
    let (ours, theirs) = bed.pair();
    let watch = bed.adopt(waiting, Stream::plain(theirs), &[], i64::MAX);
    all.push((Peer::new(ours), watch));
    let mut hints = Vec::new();
    for (peer, watch) in &mut all {
        assert!(peer.text().contains("0-1000"), "what was owed comes first");
        let (code, reason) = peer.close();
        let hint = reason.strip_prefix("retry in ").and_then(|r| r.strip_suffix(" ms")).unwrap();
        hints.push(hint.parse::<u64>().unwrap());
        assert_eq!(code, 1012);
        assert_eq!(watch.closed(), Closed::ByUs(CloseCode::Restart));
    }
    let (low, high) = (hints.iter().filter(|h| **h < 7_500).count(), hints.len());
    assert!(
        hints.iter().all(|h| (5_000..=10_000).contains(h)) && low > 15 && low < high - 15,
        "{hints:?}"
    );
    let watches: Vec<_> = all.into_iter().map(|(_, watch)| watch).collect();
    watches.iter().for_each(crate::bed::Watch::gone);
    bed.left(61);
    bed.assert_empty();
}

#[test]
fn aborted_or_closed_before_the_stream_came() {
    let mut bed = Bed::new(options(), 1 << 20);
    let aborted = bed.attach(Framing::WebSocket, false);
    bed.shard().send(Command::Abort(aborted));
    bed.left(1);
    let (ours, theirs) = bed.pair();
    let watch = bed.adopt(aborted, Stream::plain(theirs), &[], i64::MAX);
    assert_eq!(watch.closed(), Closed::Aborted);
    watch.gone();
    Peer::new(ours).end();

    let closed = bed.attach(Framing::WebSocket, false);
    bed.event(1);
    bed.shard().send(Command::Close(closed, CloseCode::SessionTaken));
    bed.left(1);
    bed.event(1);
    let (ours, theirs) = bed.pair();
    let watch = bed.adopt(closed, Stream::plain(theirs), &masked(1, b"tell"), i64::MAX);
    let mut peer = Peer::new(ours);
    assert!(peer.text().contains("0-1000"));
    assert_eq!(peer.close(), (4010, String::from("session-taken")));
    assert_eq!(watch.closed(), Closed::ByUs(CloseCode::SessionTaken));
    drop(peer);
    watch.gone();

    let both = bed.attach(Framing::WebSocket, false);
    bed.shard().send(Command::Close(both, CloseCode::SessionTaken));
    bed.shard().send(Command::Abort(both));
    bed.left(1);
    bed.assert_empty();
}

#[test]
fn a_stream_that_never_comes_is_not_waited_for() {
    let short = Duration::from_millis(50);
    let options = ShardOptions { ping_interval: short, pong_timeout: short, ..options() };
    let mut bed = Bed::new(options, 1 << 20);
    // The abort overtakes the connection.
    bed.shard().send(Command::Abort(tidewire_router::ConnectionId(1)));
    bed.attach(Framing::WebSocket, false);
    let closed = bed.attach(Framing::WebSocket, false);
    bed.shard().send(Command::Close(closed, CloseCode::SessionTaken));
    bed.left(2);
    bed.assert_empty();
}

#[test]
fn a_thousand_come_and_go() {
    // The router has no room for word of the first hundred who leave: nobody waits for it.
    let mut bed = Bed::with(options(), 1 << 20, 1 << 20, 100);
    for round in 0..20 {
        let mut all: Vec<_> = (0..50).map(|_| bed.connect()).collect();
        bed.event(10);
        for (n, (peer, _)) in all.iter_mut().enumerate() {
            match (n + round) % 3 {
                0 => peer.send(8, &[3, 232]),
                1 => assert!(peer.text().contains("0-")),
                _ => {}
            }
        }
        let watches: Vec<_> = all.into_iter().map(|(_, watch)| watch).collect();
        for watch in watches {
            let _ = watch.closed();
            watch.gone();
        }
    }
    bed.left(1_000);
    bed.assert_empty();
}
