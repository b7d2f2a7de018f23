//! Writing in slices: fairness, the bound of a queue, and logs that are freed while events come.

use std::collections::HashMap;

use tidewire_log::GapReason;
use tidewire_model::Model;
use tidewire_router::{
    ConnectionId, Framing, Keep, Notice, Router, ShardCore, ShardItem, Sink, Written,
};

use crate::harness::{
    NOW, TIME_MS, assert_core_empty, definition, opening, settings, subscription,
};

/// A router in front of one core.
struct Bench {
    model: Model,
    router: Router,
    core: ShardCore,
    offset: i64,
    next_id: u64,
}

/// Counts the writes, and blocks the slots that it is told to.
#[derive(Default)]
struct Counter {
    order: Vec<usize>,
    bytes: HashMap<usize, Vec<u8>>,
    takes: HashMap<usize, usize>,
}

impl Sink for Counter {
    fn write(&mut self, slot: usize, bytes: &[u8]) -> Written {
        self.order.push(slot);
        let takes = self.takes.get(&slot).copied().unwrap_or(usize::MAX).min(bytes.len());
        self.bytes.entry(slot).or_default().extend_from_slice(&bytes[..takes]);
        if takes < bytes.len() { Written::Partial(takes) } else { Written::All }
    }
}

impl Bench {
    fn new(queue_bytes_max: usize) -> Self {
        let model = Model::vms();
        let settings = settings(model.clone(), queue_bytes_max);
        let router = Router::new(settings.model.clone(), 1, settings.window.clone());
        Self { model, router, core: ShardCore::new(settings), offset: 100_000, next_id: 0 }
    }

    fn come(&mut self, text: &str, framing: Framing) -> usize {
        let sub = subscription(definition(&self.model, text));
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        self.router.open(0, id, opening(framing), Some(sub));
        self.apply();
        self.core.adopt(id).unwrap()
    }

    /// Takes a connection away.
    fn remove(&mut self, slot: usize) {
        self.core.remove(slot);
        self.left();
    }

    fn left(&mut self) {
        for detached in self.core.take_detached() {
            self.router.detach(0, &detached.definition);
        }
    }

    fn event(&mut self, key: &str) {
        self.router.handle(&tidewire_log::LogEvent::Record(tidewire_log::LogRecord {
            partition: tidewire_event::Partition(0),
            offset: tidewire_event::Offset(self.offset),
            leader_epoch: tidewire_event::LeaderEpoch(0),
            timestamp_ms: TIME_MS,
            key: Some(key.as_bytes()),
            header: Some(b"1;U;;none"),
            header_count: 1,
            payload: Some(b"{}"),
        }));
        self.offset += 1;
        self.apply();
    }

    fn apply(&mut self) {
        for item in self.router.take_batch(0) {
            self.core.apply(item, NOW);
        }
    }
}

#[test]
fn one_event_overtakes_a_broadcast() {
    const SLICE: usize = 32;
    let mut bench = Bench::new(1 << 20);
    let mut sink = Counter::default();
    for _ in 0..10_000 {
        bench.come("acme Voyage * *", Framing::WebSocket);
    }
    let small = bench.come("acme Cargo * 7", Framing::WebSocket);
    while bench.core.flush(SLICE, &mut sink) {}
    bench.event("acme/Voyage/5");
    assert!(bench.core.flush(SLICE, &mut sink));
    let begun = sink.order.len();
    assert!((1..=SLICE).contains(&begun), "{begun} writes in a slice of {SLICE}");
    bench.event("acme/Cargo/7");
    assert!(bench.core.flush(SLICE, &mut sink));
    let at = sink.order[begun..].iter().position(|slot| *slot == small);
    assert_eq!(at, Some(0), "the small view goes first");
    while bench.core.flush(SLICE, &mut sink) {}
    assert_eq!(sink.order.len(), 10_001);
}

#[test]
fn a_broadcast_goes_on_under_a_load_of_small_events() {
    let mut bench = Bench::new(1 << 20);
    let mut sink = Counter::default();
    for _ in 0..200 {
        bench.come("acme Voyage * *", Framing::WebSocket);
    }
    for key in 0..64 {
        bench.come(&format!("acme Cargo * {key}"), Framing::WebSocket);
    }
    while bench.core.flush(32, &mut sink) {}
    bench.event("acme/Voyage/5");
    let mut slices = 0;
    while (0..200).any(|slot| !sink.bytes.contains_key(&slot)) {
        for key in 0..64 {
            bench.event(&format!("acme/Cargo/{key}"));
        }
        bench.core.flush(32, &mut sink);
        slices += 1;
        assert!(slices <= 200 / 8 + 1, "a quarter of each slice is the broadcast's");
    }
}

#[test]
fn a_view_that_has_grown_goes_with_the_large_ones() {
    const SLICE: usize = 8;
    let mut bench = Bench::new(1 << 20);
    let mut sink = Counter::default();
    let small = bench.come("acme Cargo * 7", Framing::WebSocket);
    // It begins small and has something to write all the time.
    for _ in 0..300 {
        bench.come("acme Voyage * *", Framing::WebSocket);
        bench.event("acme/Voyage/5");
        bench.core.flush(SLICE, &mut sink);
    }
    bench.event("acme/Cargo/7");
    let begun = sink.order.len();
    while !sink.order[begun..].contains(&small) {
        assert!(bench.core.flush(SLICE, &mut sink));
        assert!(sink.order.len() - begun <= 2 * SLICE, "the large view goes first");
    }
}

#[test]
fn the_bound_of_a_queue() {
    for framing in [Framing::WebSocket, Framing::EventStream] {
        for bound in [1_000, 1_001, 4_096] {
            let mut bench = Bench::new(bound);
            let mut sink = Counter::default();
            let slow = bench.come("acme Voyage * *", framing);
            let fast = bench.come("acme Voyage * *", framing);
            while bench.core.flush(32, &mut sink) {}
            // An event stream was told where it starts.
            sink.bytes.values_mut().for_each(Vec::clear);
            sink.takes.insert(slow, 10);
            bench.event("acme/Voyage/5");
            while bench.core.flush(32, &mut sink) {}
            let frame = sink.bytes[&fast].len();
            assert_eq!(bench.core.stats().queued_bytes, frame - 10);
            let mut noticed = 0;
            for n in 2..200 {
                bench.event("acme/Voyage/5");
                while bench.core.flush(32, &mut sink) {}
                let queued = bench.core.stats().queued_bytes;
                assert!(queued <= bound + frame, "{queued} bytes wait, the bound is {bound}");
                let notices = bench.core.take_notices();
                if !notices.is_empty() {
                    assert_eq!(notices, [Notice::Slow(slow)]);
                    noticed += 1;
                    assert!(n * frame - 10 > bound && (n - 1) * frame - 10 <= bound, "{n} frames");
                }
            }
            assert_eq!(noticed, 1, "said once");
            assert_eq!(sink.bytes[&fast].len(), 199 * frame, "the other one has all");
            // It is closed on the boundary of a frame.
            assert!(bench.core.close(slow, Keep::Nothing, b"THE END", NOW));
            bench.left();
            sink.takes.clear();
            bench.core.writable(slow);
            while bench.core.flush(32, &mut sink) {}
            let sent = &sink.bytes[&slow];
            assert_eq!(sent.len(), frame + 7);
            assert!(sent.ends_with(b"THE END"));
            assert_eq!(bench.core.take_notices(), [Notice::Drained(slow)]);
            bench.core.writable(slow);
            bench.core.flush(32, &mut sink);
            assert_eq!(bench.core.take_notices(), [], "said once");
            bench.core.remove(slow);
            assert!(bench.core.take_detached().is_empty(), "it was detached when it was closed");
            bench.remove(fast);
            assert_core_empty(&bench.core);
        }
    }
}

#[test]
fn a_burst_that_no_queue_may_hold_is_not_copied() {
    let mut bench = Bench::new(1_000);
    let mut sink = Counter::default();
    let slow: Vec<usize> =
        (0..50).map(|_| bench.come("acme Voyage * *", Framing::WebSocket)).collect();
    while bench.core.flush(32, &mut sink) {}
    slow.iter().for_each(|slot| _ = sink.takes.insert(*slot, 10));
    for _ in 0..100 {
        bench.event("acme/Voyage/5");
    }
    while bench.core.flush(32, &mut sink) {}
    assert!(bench.core.stats().queued_bytes <= 50 * 1_300);
    let mut notices = bench.core.take_notices();
    notices.sort_by_key(|n| format!("{n:?}").len());
    assert_eq!(notices.len(), 50);
    assert!(notices.iter().all(|n| matches!(n, Notice::Slow(_))));
}

#[test]
fn a_closing_connection_gets_no_more_frames_and_its_slot_is_clean() {
    let mut bench = Bench::new(1 << 20);
    let mut sink = Counter::default();
    let leaving = bench.come("acme Voyage * *", Framing::WebSocket);
    let staying = bench.come("acme Voyage * *", Framing::WebSocket);
    while bench.core.flush(32, &mut sink) {}
    assert!(bench.core.close(leaving, Keep::Pending, b"BYE", NOW));
    bench.left();
    assert!(!bench.core.close(leaving, Keep::Pending, b"AGAIN", NOW));
    bench.event("acme/Voyage/5");
    bench.core.send(leaving, b"pong", &mut sink);
    while bench.core.flush(32, &mut sink) {}
    assert_eq!(sink.bytes[&leaving], b"BYE");
    bench.core.remove(leaving);
    assert!(bench.core.take_detached().is_empty());
    // Another one in the same slot, of another tenant.
    sink.bytes.clear();
    let other = bench.come("other Cargo * *", Framing::WebSocket);
    assert_eq!(other, leaving, "the slot is used again");
    bench.event("acme/Voyage/5");
    while bench.core.flush(32, &mut sink) {}
    assert!(!sink.bytes.contains_key(&other), "a frame of another tenant");
    assert!(!sink.bytes[&staying].is_empty());
}

#[test]
fn a_sink_that_takes_all_and_blocks_is_waited_for() {
    struct HoldsBack(Vec<u8>, bool);
    impl Sink for HoldsBack {
        fn write(&mut self, _: usize, bytes: &[u8]) -> Written {
            assert!(!self.1, "written to while it blocks");
            self.0.extend_from_slice(bytes);
            self.1 = true;
            Written::Partial(bytes.len())
        }
    }
    let mut bench = Bench::new(1 << 20);
    let mut sink = HoldsBack(Vec::new(), false);
    let slot = bench.come("acme Voyage * *", Framing::WebSocket);
    bench.core.flush(32, &mut sink);
    bench.event("acme/Voyage/5");
    while bench.core.flush(32, &mut sink) {}
    bench.event("acme/Voyage/5");
    while bench.core.flush(32, &mut sink) {}
    bench.core.close(slot, Keep::Pending, b"BYE", NOW);
    while bench.core.flush(32, &mut sink) {}
    assert_eq!(bench.core.take_notices(), []);
    sink.1 = false;
    bench.core.writable(slot);
    while bench.core.flush(32, &mut sink) {}
    assert!(sink.0.ends_with(b"BYE"));
    assert_eq!(bench.core.take_notices(), [], "the stream still holds the last bytes back");
    sink.1 = false;
    bench.core.writable(slot);
    while bench.core.flush(32, &mut sink) {}
    assert_eq!(bench.core.take_notices(), [Notice::Drained(slot)]);
}

/// Events come faster than a circle over 200 members ends, and somebody leaves all the time.
#[test]
fn logs_are_freed_under_a_load_that_never_stops() {
    let mut bench = Bench::new(1 << 20);
    let mut sink = Counter::default();
    let mut members: Vec<usize> =
        (0..200).map(|_| bench.come("acme Voyage * *", Framing::WebSocket)).collect();
    while bench.core.flush(32, &mut sink) {}
    bench.event("acme/Voyage/5");
    let frame = bench.core.stats().backlog_bytes;
    let mut most = 0;
    for round in 0..2_000 {
        bench.event("acme/Voyage/5");
        assert!(bench.core.flush(64, &mut sink), "a circle is never through in one slice");
        let gone = members.swap_remove(round * 31 % members.len());
        bench.remove(gone);
        members.push(bench.come("acme Voyage * *", Framing::WebSocket));
        most = most.max(bench.core.stats().backlog_bytes);
    }
    // A circle takes 200 / (a write for each member) = 4 slices; its frames and those of the one before.
    assert!(most <= frame * 16, "{} frames stood in the log", most / frame);
    while bench.core.flush(64, &mut sink) {}
    assert_eq!(bench.core.stats().backlog_bytes, 0);
}

#[test]
fn backlog_is_said_and_ends() {
    let mut bench = Bench::new(1 << 20);
    let mut sink = Counter::default();
    let slot = bench.come("acme Voyage * *", Framing::WebSocket);
    bench.core.flush(32, &mut sink);
    let mut events = 0;
    while !bench.core.is_backlogged() {
        bench.event("acme/Voyage/5");
        events += 1;
    }
    // A quarter of what a queue may hold.
    assert!(bench.core.stats().backlog_bytes > 1 << 18);
    while bench.core.flush(32, &mut sink) {}
    assert!(!bench.core.is_backlogged());
    assert_eq!(sink.order.len(), 1, "a burst is one write");
    assert_eq!(crate::harness::frames(&sink.bytes[&slot]).len(), events);
    let positions = bench.router.share();
    bench.core.apply(ShardItem::Gap(GapReason::Retention, positions), NOW);
    bench.remove(slot);
    assert_core_empty(&bench.core);
}

/// However many events come in one turn: who takes what it is given is not too slow for that.
#[test]
fn a_burst_in_one_turn_closes_nobody_who_reads() {
    let mut bench = Bench::new(64 * 1024);
    let mut sink = Counter::default();
    let (reads, blocks) = (
        bench.come("acme Voyage * *", Framing::WebSocket),
        bench.come("acme Voyage * *", Framing::WebSocket),
    );
    while bench.core.flush(32, &mut sink) {}
    // Its stream is full just when the burst begins.
    sink.takes.insert(blocks, 0);
    let mut events = 0;
    for _ in 0..1_000 {
        bench.event("acme/Voyage/5");
        events += 1;
        while bench.core.is_backlogged() {
            bench.core.flush(32, &mut sink);
            if sink.takes.remove(&blocks).is_some() {
                // What was moved into its queue is less than that may hold; then it reads on.
                assert_eq!(bench.core.take_notices(), []);
            }
            bench.core.writable(blocks);
        }
    }
    while bench.core.flush(32, &mut sink) {}
    assert_eq!(bench.core.take_notices(), []);
    for slot in [reads, blocks] {
        assert_eq!(crate::harness::frames(&sink.bytes[&slot]).len(), events);
    }
}

/// The last live member of a view reads again while its log has something.
#[test]
fn the_log_of_a_view_without_members_is_freed() {
    let mut bench = Bench::new(1 << 20);
    let mut sink = Counter::default();
    let mut sub = subscription(definition(&bench.model, "acme Voyage * *"));
    sub.snapshot = true;
    let id = ConnectionId(7);
    bench.router.open(0, id, opening(Framing::WebSocket), Some(sub));
    bench.apply();
    let slot = bench.core.adopt(id).unwrap();
    while bench.core.flush(32, &mut sink) {}
    bench.event("acme/Voyage/5");
    let positions = bench.router.share();
    bench.core.apply(ShardItem::Gap(GapReason::Retention, positions), NOW);
    while bench.core.flush(32, &mut sink) {}
    assert_eq!(bench.core.stats().readers, 1);
    assert_eq!(bench.core.stats().backlog_bytes, 0);
    bench.remove(slot);
    assert_core_empty(&bench.core);
}
