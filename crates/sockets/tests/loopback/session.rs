//! Sockets of named sessions: their pings carry marks, and a pong proves what was received.

use std::net::TcpStream;
use std::time::Duration;

use tidewire_router::{ConnectionId, Framing};
use tidewire_sockets::ShardOptions;

use crate::bed::{Bed, FIRST, Peer, options};

/// Pings often, and leaves a busy machine time to answer.
fn eager() -> ShardOptions {
    let (ping_interval, pong_timeout) = (Duration::from_millis(1_000), Duration::from_millis(950));
    ShardOptions { ping_interval, pong_timeout, ..options() }
}

fn open(bed: &mut Bed) -> ConnectionId {
    let subscription = bed.subscription(true);
    bed.open(Framing::WebSocket, true, Some(subscription))
}

/// The payload of the next ping; the messages before it are counted.
fn ping(peer: &mut Peer<TcpStream>, read: &mut i64) -> Vec<u8> {
    loop {
        match peer.frame() {
            (9, payload) => return payload,
            (1, _) => *read += 1,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_pong_of_a_mark_proves_what_stands_before_it() {
    let mut bed = Bed::new(options(), 1 << 20);
    let id = open(&mut bed);
    let (mut peer, watch) = bed.join(id);
    let mut read = 0;
    let start = ping(&mut peer, &mut read);
    assert_eq!(read, 0, "the first mark comes at once");
    peer.send(10, &start);
    assert_eq!(watch.proof(), (FIRST, true));
    (0..3).for_each(|_| bed.event(1));
    let mark = ping(&mut peer, &mut read);
    assert!(read > 0 && watch.proofs.is_empty(), "a mark follows what it covers");
    let mut unknown = mark.clone();
    unknown[1] = 7;
    for payload in [&b""[..], b"hello", &mark[1..], &unknown] {
        peer.send(10, payload);
    }
    peer.send(10, &mark);
    assert_eq!(watch.proof(), (FIRST + read, true));
    assert!(watch.proofs.is_empty(), "the last pong alone proved something");
}

#[test]
fn an_idle_ping_proves_as_well() {
    let mut bed = Bed::new(eager(), 1 << 20);
    let id = open(&mut bed);
    let (mut peer, watch) = bed.join(id);
    (0..2).for_each(|_| bed.event(1));
    let mut read = 0;
    // Unless the machine is slow these are pings of the interval alone.
    loop {
        let mark = ping(&mut peer, &mut read);
        peer.send(10, &mark);
        let (next, busy) = watch.proof();
        assert_eq!(next, FIRST + read);
        assert_eq!(busy, mark[0] == b'b');
        if read == 2 && !busy {
            break;
        }
    }
}

#[test]
fn unread_bytes_prove_nothing() {
    let mut bed = Bed::new(eager(), 64 << 20);
    let id = open(&mut bed);
    let (mut peer, watch) = bed.join_narrow(id);
    let mut read = 0;
    let early = ping(&mut peer, &mut read);
    peer.send(10, &early);
    assert_eq!(watch.proof().0, FIRST);
    // It stops reading, yet says that it is there: with a pong to what it has read.
    let (mut fast, _fast) = bed.connect();
    let (mut sent, mut pings) = (0, 0);
    while pings < 2 {
        bed.event(if sent < 300 { 8_000 } else { 1 });
        sent += 1;
        loop {
            let (opcode, payload) = fast.frame();
            if opcode == 1 {
                break;
            }
            fast.send(10, &payload);
            pings += 1;
        }
        peer.send(10, &early);
        assert_eq!(watch.proof().0, FIRST, "of {sent} events");
    }
    // Its own pings of that time stand behind what waited.
    while read < sent {
        let mark = ping(&mut peer, &mut read);
        assert!(read > 0, "a ping ahead of the events");
        peer.send(10, &mark);
        assert_eq!(watch.proof().0, FIRST + read);
    }
}
