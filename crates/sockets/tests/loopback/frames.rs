//! What goes both ways while a connection is open.

use std::time::Duration;

use tidewire_sockets::{Closed, ShardOptions};

use crate::bed::{Bed, masked, options};

#[test]
fn events_arrive_in_order_and_texts_are_heard() {
    let mut bed = Bed::new(options(), 1 << 20);
    let (mut peer, watch) = bed.connect();
    (0..100).for_each(|_| bed.event(10));
    for offset in 1_000..1_100 {
        let text = peer.text();
        assert!(text.starts_with(&format!(r#"{{"id":"0-{offset}","#)), "{text}");
        assert!(text.contains(r#""dataloyObject":5,"#));
    }
    peer.send(1, b"hello");
    assert_eq!(watch.text(), "hello");
    peer.send(1, b"tell");
    assert_eq!(peer.text(), r#"{"told":true}"#);
    peer.send(1, b"mask");
    assert_eq!([watch.text(), watch.text()], ["tell", "mask"]);
    bed.event(3);
    let text = peer.text();
    assert!(text.contains(r#""dataloyObject":{"key":5,"self":"#) && text.contains(r#""xxx""#));
    peer.send(1, b"reset");
    assert_eq!(watch.text(), "reset");
    bed.event(3);
    assert!(peer.text().contains(r#""dataloyObject":5,"#));
    peer.send(9, b"are you there");
    assert_eq!(peer.frame(), (10, b"are you there".to_vec()));
}

#[test]
fn what_was_read_before_the_hand_over_counts() {
    let mut bed = Bed::new(options(), 1 << 20);
    let early = [masked(1, b"first"), masked(1, b"second")[..5].to_vec()].concat();
    let (mut peer, watch) = bed.connect_until(i64::MAX, &early);
    std::io::Write::write_all(&mut peer.stream, &masked(1, b"second")[5..]).unwrap();
    assert_eq!([watch.text(), watch.text()], ["first", "second"]);
}

#[test]
fn frames_wait_for_a_stream_that_comes_late() {
    let mut bed = Bed::new(options(), 1 << 20);
    let id = bed.attach(tidewire_router::Framing::WebSocket, false);
    (0..10).for_each(|_| bed.event(1));
    let (ours, theirs) = bed.pair();
    let _watch = bed.adopt(id, tidewire_sockets::Stream::plain(theirs), &[], i64::MAX);
    let mut peer = crate::bed::Peer::new(ours);
    bed.event(1);
    for offset in 1_000..1_011 {
        assert!(peer.text().contains(&format!("\"0-{offset}\"")));
    }
}

#[test]
fn more_input_than_a_turn_reads() {
    let options = ShardOptions { inbound_messages_per_minute: u32::MAX, ..options() };
    let mut bed = Bed::new(options, 1 << 20);
    let (mut peer, watch) = bed.connect();
    let message = masked(1, &[b'y'; 900]);
    // Far beyond the bytes of a turn.
    let flood = message.repeat(1_000);
    std::io::Write::write_all(&mut peer.stream, &flood).unwrap();
    (0..1_000).for_each(|_| assert_eq!(watch.text().len(), 900));
    bed.event(1);
    assert!(peer.text().contains("0-1000"));
}

#[test]
fn who_answers_pings_stays() {
    let ping_interval = Duration::from_millis(700);
    let options =
        ShardOptions { ping_interval, pong_timeout: Duration::from_millis(650), ..options() };
    let mut bed = Bed::new(options, 1 << 20);
    let (mut peer, watch) = bed.connect();
    for _ in 0..4 {
        let (opcode, payload) = peer.frame();
        assert_eq!(opcode, 9);
        peer.send(10, &payload);
    }
    bed.event(1);
    while peer.frame().0 == 9 {
        peer.send(10, b"");
    }
    // Silent from here on: the next pings go unanswered.
    while watch_is_open(&mut peer) {}
    assert_eq!(watch.closed(), Closed::Silent);
    watch.gone();
    bed.left(1);
    bed.assert_empty();
}

/// True if a ping came, false at the end of the stream.
fn watch_is_open(peer: &mut crate::bed::Peer<std::net::TcpStream>) -> bool {
    let mut bytes = [0; 2];
    match std::io::Read::read(&mut peer.stream, &mut bytes).unwrap() {
        0 => false,
        n => {
            assert_eq!(&bytes[..n], [0x89, 0]);
            true
        }
    }
}
