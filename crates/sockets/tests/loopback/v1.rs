//! `tidewire.v1`, as far as a shard speaks it by itself.

use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidewire_router::{ConnectionId, Framing, OnSlow, Start, Subscription};
use tidewire_sockets::{Closed, Command, Stream};
use tidewire_wire::error::CloseCode;

use crate::bed::{Bed, FIRST, Peer, Watch, cursor, member, offset, options, unix_seconds};

fn attach(bed: &mut Bed, subs: &[&str]) -> ConnectionId {
    let id = bed.open(Framing::V1, false, None);
    for sub in subs {
        bed.subscribe(id, bed.named(sub, Start::Now));
    }
    id
}

/// Reads how subscriptions begin.
fn begun(peer: &mut Peer<TcpStream>, subs: &[&str]) {
    for sub in subs {
        for kind in ["subscribed", "live"] {
            let text = peer.told(kind);
            assert_eq!(member(&text, "id"), *sub);
            assert!(cursor(member(&text, "cursor")) >= FIRST);
        }
    }
}

fn open(bed: &mut Bed, subs: &[&str]) -> (ConnectionId, Peer<TcpStream>, Watch) {
    let id = attach(bed, subs);
    let (mut peer, watch) = bed.join(id);
    begun(&mut peer, subs);
    (id, peer, watch)
}

/// The next message but cursors, which may come between.
fn next(peer: &mut Peer<TcpStream>) -> String {
    peer.but_cursors(|_| {})
}

/// A drain: what is owed, the cursors that cover it, when to come back, the close.
fn check_drained(peer: &mut Peer<TcpStream>, events: usize, covered: i64) {
    let mut before = String::new();
    let mut seen = 0;
    let goaway = loop {
        let text = peer.text();
        match member(&text, "type") {
            "event" => seen += 1,
            "goaway" => break text,
            "cursor" => {}
            _ => panic!("{text}"),
        }
        before = text;
    };
    assert_eq!(seen, events);
    assert_eq!(member(&before, "type"), "cursor", "{before}");
    assert!(before.contains(r#""subs":["a","b"]"#), "{before}");
    assert_eq!(cursor(member(&before, "cursor")), covered);
    let retry: u64 = member(&goaway, "retryMs").parse().unwrap();
    assert!((5_000..=10_000).contains(&retry), "{goaway}");
    assert_eq!(peer.close(), (4200, String::from("drain")));
}

#[test]
fn a_drain_says_where_it_left_off_and_when_to_come_back() {
    let mut bed = Bed::new(options(), 1 << 20);
    let (one, mut alone, alone_watch) = open(&mut bed, &["a", "b"]);
    let (_, mut peer, watch) = open(&mut bed, &["a", "b"]);
    let late = attach(&mut bed, &["a", "b"]);
    bed.event(1);
    let retry = Duration::from_secs(5);
    bed.shard().send(Command::Restart(one, retry));
    check_drained(&mut alone, 2, FIRST + 1);
    assert_eq!(alone_watch.closed(), Closed::ByUs(CloseCode::Drain));
    bed.event(1);
    bed.shard().send(Command::Drain { window: Duration::ZERO, retry });
    check_drained(&mut peer, 4, FIRST + 2);
    assert_eq!(watch.closed(), Closed::ByUs(CloseCode::Drain));
    // Its stream comes when all are leaving.
    let (mut peer, watch) = bed.join(late);
    begun(&mut peer, &["a", "b"]);
    check_drained(&mut peer, 4, FIRST + 2);
    assert_eq!(watch.closed(), Closed::ByUs(CloseCode::Drain));
    bed.left(6);
}

#[test]
fn every_other_close_has_its_code() {
    let mut bed = Bed::new(options(), 1 << 20);
    let (_, mut peer, watch) = open(&mut bed, &["a"]);
    peer.send(1, b"forbid");
    assert_eq!(peer.close(), (4003, String::from("forbidden")), "and no word more");
    assert_eq!(watch.closed(), Closed::ByUs(CloseCode::Forbidden));
    let (id, mut peer, watch) = open(&mut bed, &["a"]);
    bed.event(1);
    bed.shard().send(Command::Close(id, CloseCode::Unavailable));
    assert_eq!(offset(&peer.told("event")), FIRST);
    let mut covered = 0;
    let reason = loop {
        match peer.frame() {
            (1, text) => {
                let text = String::from_utf8(text).unwrap();
                covered = cursor(member(&text, "cursor"));
            }
            (_, reason) => break reason,
        }
    };
    assert_eq!(covered, FIRST + 1, "the cursor stands before the close");
    assert_eq!(reason, [&4103_u16.to_be_bytes()[..], b"unavailable"].concat());
    assert_eq!(watch.closed(), Closed::ByUs(CloseCode::Unavailable));
}

#[test]
fn the_client_is_called_when_it_wants_and_closed_when_its_token_ends() {
    let mut bed = Bed::new(options(), 1 << 20);
    let id = attach(&mut bed, &["a"]);
    let (ours, theirs) = bed.pair();
    let time = unix_seconds() + 1;
    let watch = bed.adopt_with(id, Stream::plain(theirs), &[], time + 1, |side| {
        side.time_at.store(time, Ordering::SeqCst);
    });
    let mut peer = Peer::new(ours);
    begun(&mut peer, &["a"]);
    assert_eq!(peer.text(), r#"{"time":true}"#, "once");
    assert!(unix_seconds() >= time, "before its time");
    assert_eq!(cursor(member(&peer.told("cursor"), "cursor")), FIRST);
    assert_eq!(peer.close(), (4201, String::from("token-expired")));
    assert_eq!(watch.closed(), Closed::ByUs(CloseCode::TokenExpired));
}

#[test]
fn a_client_can_be_told_things() {
    let mut bed = Bed::new(options(), 1 << 20);
    let id = attach(&mut bed, &[]);
    let tell = |text: &str| bed.shard().send(Command::Tell(id, text.as_bytes().to_vec()));
    tell(r#"{"n":1}"#);
    let (mut peer, _watch) = bed.join(id);
    tell(r#"{"n":2}"#);
    assert_eq!([peer.text(), peer.text()], [r#"{"n":1}"#, r#"{"n":2}"#]);
    bed.shard().send(Command::Close(id, CloseCode::Unavailable));
    tell(r#"{"n":3}"#);
    assert_eq!(peer.close().0, 4103, "nobody is told anything behind a close");
}

#[test]
fn a_record_that_has_passed_is_told() {
    let mut bed = Bed::new(options(), 1 << 20);
    let (_, mut peer, watch) = open(&mut bed, &["a"]);
    peer.send(1, format!("await {}", FIRST + 1).as_bytes());
    watch.text();
    (0..3).for_each(|_| bed.event(1));
    let texts: Vec<String> = (0..4).map(|_| next(&mut peer)).collect();
    let of = |text: &str| texts.iter().position(|t| t.contains(text)).unwrap();
    let reached = of(r#""type":"reached""#);
    assert_eq!(member(&texts[reached], "id"), format!("0-{}", FIRST + 1));
    assert!(reached > of(&format!(r#""id":"0-{}","#, FIRST + 1)), "{texts:?}");
    // One that has passed already.
    peer.send(1, format!("await {FIRST}").as_bytes());
    assert_eq!(member(&next(&mut peer), "id"), format!("0-{FIRST}"));
}

#[test]
fn a_field_list_is_one_subscription_s() {
    let mut bed = Bed::new(options(), 1 << 20);
    let (_, mut peer, watch) = open(&mut bed, &["a", "b"]);
    peer.send(1, b"mask b");
    assert_eq!(watch.text(), "mask b");
    bed.event(3);
    let texts = [next(&mut peer), next(&mut peer)];
    for text in texts {
        assert_eq!(text.contains(r#""xxx""#), text.contains(r#""sub":"b""#), "{text}");
    }
}

/// A cursor claims no more than what stands before it: of each of three voyages the last change that it
/// covers, or a later one.
fn check_covered(seen: &[i64], next: i64) {
    for last in (next - 3..next).filter(|last| *last >= FIRST) {
        let covers = |offset: &i64| *offset >= last && (*offset - last) % 3 == 0;
        assert!(seen.iter().any(covers), "{next} behind {seen:?}");
    }
}

#[test]
fn a_blocked_socket_is_sent_the_last_of_each_object() {
    const SENT: i64 = 300;
    let mut bed = Bed::new(options(), 1 << 20);
    let id = bed.open(Framing::V1, false, None);
    let on_slow = OnSlow::Conflate;
    let subscription = bed.subscription(true);
    let sub = Some("a".into());
    bed.subscribe(id, Subscription { sub, on_slow, ..subscription });
    let (mut peer, watch) = bed.join_narrow(id);
    begun(&mut peer, &["a"]);
    let (mut fast, _fast) = bed.connect();
    // 2.4 MB, far over the bound of its queue; they are of three voyages.
    for n in 0..SENT {
        bed.change(n.cast_unsigned() % 3, 8_000);
        assert_eq!(offset(&fast.text()), FIRST + n);
    }
    // While it was flooded it may have caught up in between.
    let (mut seen, mut merged) = (Vec::new(), 0);
    while seen.len() + merged < 300 {
        let text = peer.text();
        match member(&text, "type") {
            "event" => seen.push(offset(&text)),
            "cursor" => check_covered(&seen, cursor(member(&text, "cursor"))),
            "conflated" => merged += member(&text, "n").parse::<usize>().unwrap(),
            _ => panic!("{text}"),
        }
    }
    assert_eq!(seen.len() + merged, 300, "each was sent or merged");
    assert!(seen.is_sorted(), "{seen:?}");
    assert!(seen.ends_with(&[FIRST + SENT - 3, FIRST + SENT - 2, FIRST + SENT - 1]), "{seen:?}");
    assert!(merged > 100, "{merged}");
    // It has caught up, and the next cursor covers all.
    bed.change(0, 1);
    assert_eq!(offset(&next(&mut peer)), FIRST + SENT);
    assert_eq!(cursor(member(&peer.told("cursor"), "cursor")), FIRST + SENT + 1);
    assert!(watch.closed_already().is_none());
}
