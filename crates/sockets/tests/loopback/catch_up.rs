//! Subscriptions that resume, over real sockets: through the window, through the desk of history, over a
//! gap, behind a snapshot.

use std::net::TcpStream;
use std::sync::atomic::Ordering;

use tidewire_router::{ConnectionId, Framing, Start, Subscription};
use tidewire_sockets::Command;
use tidewire_wire::error::Refusal;
use tidewire_wire::v1::GapReason;

use crate::bed::{Bed, FIRST, Peer, Watch, at, cursor, member, offset, options};

/// A bed whose window keeps no more than the last few changes.
fn without_window() -> Bed {
    Bed::with(options(), 1 << 20, 0, 0)
}

fn open(bed: &mut Bed, subscription: Subscription) -> (ConnectionId, Peer<TcpStream>, Watch) {
    let id = bed.open(Framing::V1, false, None);
    let (mut peer, watch) = bed.join(id);
    bed.subscribe(id, Subscription { sub: Some("a".into()), ..subscription });
    assert_eq!(member(&peer.told("subscribed"), "id"), "a");
    (id, peer, watch)
}

/// Reads up to the next message that is neither event nor cursor; the events' offsets are collected.
fn follow(peer: &mut Peer<TcpStream>, seen: &mut Vec<i64>) -> String {
    loop {
        let last = seen.last().map_or(FIRST, |last| last + 1);
        let text = peer.but_cursors(|next| assert_eq!(next, last, "it claims what was sent"));
        if member(&text, "type") != "event" {
            return text;
        }
        seen.push(offset(&text));
    }
}

/// Reads until the subscription is live.
fn check_live(peer: &mut Peer<TcpStream>, from: i64, to: i64) {
    let mut seen = Vec::new();
    let live = follow(peer, &mut seen);
    assert!(seen.iter().copied().eq(from..to), "{seen:?}");
    assert_eq!(member(&live, "type"), "live", "{live}");
    assert_eq!(member(&live, "replayed"), (to - from).to_string());
    assert_eq!(cursor(member(&live, "cursor")), to);
}

#[test]
fn what_the_window_lost_comes_from_the_desk_of_history() {
    // A desk without room is asked again.
    for (refusals, asked) in [(0, [0, 4, 8, 12]), (2, [0, 0, 0, 4])] {
        let mut bed = without_window();
        bed.desk.refusals.store(refusals, Ordering::SeqCst);
        (0..40).for_each(|_| bed.event(8_000));
        let start = at(FIRST);
        let subscription = Subscription { start, ..bed.subscription(true) };
        let (_, mut peer, _watch) = open(&mut bed, subscription);
        check_live(&mut peer, FIRST, FIRST + 40);
        let of = |n: &i64| FIRST + n;
        assert!(bed.desk.asked.lock().unwrap().starts_with(&asked.each_ref().map(of)));
        bed.event(1);
        assert_eq!(offset(&peer.told("event")), FIRST + 40);
    }
}

#[test]
fn a_record_is_reached_behind_its_replay() {
    let mut bed = without_window();
    bed.desk.refusals.store(1, Ordering::SeqCst);
    (0..40).for_each(|_| bed.event(8_000));
    let subscription = Subscription { start: at(FIRST), ..bed.subscription(true) };
    let (_, mut peer, _watch) = open(&mut bed, subscription);
    peer.send(1, format!("await {}", FIRST + 39).as_bytes());
    let mut seen = Vec::new();
    let words = [follow(&mut peer, &mut seen), follow(&mut peer, &mut seen)];
    assert!(seen.iter().copied().eq(FIRST..FIRST + 40), "{seen:?}");
    assert!(words.iter().any(|word| member(word, "type") == "reached"), "{words:?}");
}

#[test]
fn a_session_proves_what_it_was_replayed() {
    let mut bed = without_window();
    (0..40).for_each(|_| bed.event(8_000));
    let subscription = Subscription { start: at(FIRST + 10), ..bed.subscription(true) };
    let id = bed.open(Framing::WebSocket, true, Some(subscription));
    let (mut peer, watch) = bed.join(id);
    for n in 10..40 {
        assert_eq!(offset(&peer.text()), FIRST + n);
    }
    let (opcode, mark) = peer.frame();
    assert_eq!(opcode, 9, "a mark behind the last of them");
    peer.send(10, &mark);
    assert_eq!(watch.proof(), (FIRST + 40, true));
}

#[test]
fn what_nobody_has_any_more_is_a_gap() {
    let mut bed = without_window();
    (0..40).for_each(|_| bed.event(8_000));
    bed.desk.forget_before(FIRST + 10);
    let subscription = Subscription { start: at(FIRST + 3), ..bed.subscription(true) };
    let (_, mut peer, watch) = open(&mut bed, subscription);
    let gap = peer.told("gap");
    assert_eq!([member(&gap, "sub"), member(&gap, "reason")], ["a", "retention"]);
    check_live(&mut peer, FIRST + 10, FIRST + 40);
    assert!(watch.wanted.is_empty(), "it asked for no snapshot");
}

/// Reads a snapshot of so many objects.
fn check_snapshot(peer: &mut Peer<TcpStream>, objects: usize) {
    let mut keys: Vec<String> =
        (0..objects).map(|_| member(&peer.told("snapshot"), "dataloyObject").to_owned()).collect();
    keys.sort();
    assert!(keys.iter().map(String::as_str).eq(["5", "6", "7"].into_iter().take(objects)));
    let end = peer.told("snapshot");
    assert_eq!(member(&end, "complete"), "true");
    assert_eq!(member(&end, "objects"), objects.to_string());
}

#[test]
fn a_gap_is_bridged_by_a_snapshot() {
    let mut bed = without_window();
    for n in 0..60 {
        bed.change(5 + n % 3, 8_000);
    }
    bed.desk.forget_before(FIRST + 20);
    let start = at(FIRST);
    let subscription = Subscription { start, snapshot: true, ..bed.subscription(false) };
    let (id, mut peer, watch) = open(&mut bed, subscription.clone());
    assert_eq!(member(&peer.told("gap"), "reason"), "retention");
    let wanted = watch.wanted.recv_timeout(crate::bed::PATIENCE).unwrap();
    let snapshot = bed.snapshot();
    bed.change(5, 1);
    bed.shard().send(Command::Snapshot(id, wanted, Box::new(Ok(snapshot))));
    check_snapshot(&mut peer, 3);
    check_live(&mut peer, FIRST + 60, FIRST + 61);

    // None is to be had: it goes on behind the gap.
    let (id, mut peer, watch) = open(&mut bed, subscription);
    peer.told("gap");
    let wanted = watch.wanted.recv_timeout(crate::bed::PATIENCE).unwrap();
    let refusal = Refusal::unavailable("not now", 5);
    bed.shard().send(Command::Snapshot(id, wanted, Box::new(Err(refusal))));
    assert_eq!(member(&peer.told("error"), "sub"), "a");
    check_live(&mut peer, FIRST + 20, FIRST + 61);
}

/// Nobody can be asked for a snapshot before the stream is there.
#[test]
fn a_gap_before_the_stream_comes_is_not_waited_for() {
    let mut bed = Bed::new(options(), 1 << 20);
    let start = Start::Gap(GapReason::Tenant);
    let subscription = Subscription { snapshot: true, ..bed.named("a", start) };
    let id = bed.open(Framing::V1, false, Some(subscription));
    // It is applied by then.
    let (mut other, _other) = bed.connect();
    bed.event(1);
    other.text();
    let (mut peer, _watch) = bed.join(id);
    peer.told("subscribed");
    assert_eq!(member(&peer.told("gap"), "reason"), "tenant");
    assert_eq!(member(&peer.told("error"), "sub"), "a");
    check_live(&mut peer, FIRST, FIRST + 1);
}

#[test]
fn a_snapshot_comes_before_the_changes_behind_it() {
    let mut bed = Bed::new(options(), 1 << 20);
    (0..4).for_each(|n| bed.change(5 + n % 2, 1));
    let start = Start::Snapshot;
    let subscription = Subscription { start, snapshot: true, ..bed.subscription(false) };
    let (id, mut peer, watch) = open(&mut bed, subscription);
    let wanted = watch.wanted.recv_timeout(crate::bed::PATIENCE).unwrap();
    bed.change(5, 1);
    let snapshot = bed.snapshot();
    bed.change(6, 1);
    bed.shard().send(Command::Snapshot(id, wanted, Box::new(Ok(snapshot))));
    check_snapshot(&mut peer, 2);
    check_live(&mut peer, FIRST + 5, FIRST + 6);
}

#[test]
fn a_reader_that_does_not_read_costs_no_more_than_its_bound() {
    let mut bed = Bed::new(options(), 1 << 20);
    // 5 MB to catch up with, 1 MB that may wait.
    (0..600).for_each(|_| bed.event(8_000));
    let id = bed.open(Framing::V1, false, None);
    let mut subscription = bed.named("a", at(FIRST));
    subscription.mask = bed.subscription(true).mask;
    bed.subscribe(id, subscription);
    let (mut peer, watch) = bed.join_narrow(id);
    let (mut fast, _fast) = bed.connect();
    bed.until(|stats| stats.readers == 1 && stats.queued_bytes > 0);
    for n in 0..200 {
        bed.event(1);
        assert_eq!(offset(&fast.text()), FIRST + 600 + n);
    }
    let stats = bed.until(|stats| stats.web_socket_messages >= 200);
    assert!(stats.queued_bytes < 256 * 1024, "{stats:?}");
    assert_eq!(stats.readers, 1, "{stats:?}");
    assert!(watch.closed_already().is_none());
    peer.told("subscribed");
    check_live(&mut peer, FIRST, FIRST + 800);
}
