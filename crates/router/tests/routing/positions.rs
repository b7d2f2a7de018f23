//! Positions over holes, ends, gaps and a topic that was created anew.

use std::sync::Arc;

use tidewire_event::{LeaderEpoch, NextOffset, Offset, Partition, Position, Positions};
use tidewire_log::{GapReason, HistoryRequest, LogEvent, LogRecord, SegmentBuilder};
use tidewire_model::Model;
use tidewire_router::{HistoryOutcome, HistoryReply, Now, Routed, Start, Subscription, Want};

use crate::harness::{NOW, Record, Replica, TIME_MS, definition, subscription};

fn record(partition: i32, offset: i64) -> LogEvent<'static> {
    record_of(partition, offset, 3, b"1;U;;none;;change-1")
}

fn record_of(partition: i32, offset: i64, epoch: i32, header: &'static [u8]) -> LogEvent<'static> {
    LogEvent::Record(LogRecord {
        partition: Partition(partition),
        offset: Offset(offset),
        leader_epoch: LeaderEpoch(epoch),
        timestamp_ms: TIME_MS,
        key: Some(b"acme/Voyage/5"),
        header: Some(header),
        header_count: 1,
        payload: Some(b"{}"),
    })
}

#[test]
fn positions_follow_the_log() {
    let mut replica = Replica::new(Model::vms(), 2);
    let ids = [replica.subscribe(0, "acme Voyage * *"), replica.subscribe(1, "acme Cargo * *")];
    let next = |partition: i32, next: i64| (Partition(partition), NextOffset(next));
    let reason = GapReason::Retention;
    let steps: Vec<(LogEvent<'_>, &[(i32, i64)])> = vec![
        (LogEvent::Assigned { partition: next(0, 10).0, next: next(0, 10).1 }, &[(0, 10)]),
        (LogEvent::Assigned { partition: next(1, 0).0, next: next(1, 0).1 }, &[(0, 10), (1, 0)]),
        (record(0, 10), &[(0, 11), (1, 0)]),
        // A hole is never a loss; a repeated change moves the position, too.
        (record(0, 17), &[(0, 18), (1, 0)]),
        (record(1, 3), &[(0, 18), (1, 4)]),
        // Markers at the end.
        (
            LogEvent::EndOfPartition { partition: Partition(0), next: NextOffset(21) },
            &[(0, 21), (1, 4)],
        ),
        (LogEvent::Fault("away"), &[(0, 21), (1, 4)]),
        (LogEvent::Recovered, &[(0, 21), (1, 4)]),
        (
            LogEvent::Gap { partition: Partition(1), next: NextOffset(90), reason },
            &[(0, 21), (1, 90)],
        ),
        (LogEvent::Recreated, &[]),
        (record(2, 0), &[(2, 1)]),
    ];
    for (event, expected) in steps {
        replica.router.handle(&event);
        let positions: Vec<(i32, i64)> =
            replica.router.positions().iter().map(|(p, at)| (p.0, at.next.0)).collect();
        assert_eq!(positions, expected, "{event:?}");
        replica.carry();
    }
    let [voyages, others] = ids.map(|id| replica.messages(id));
    let words: Vec<&str> = voyages
        .iter()
        .map(|m| if m.contains(r#""message":"gap""#) { "gap" } else { "event" })
        .collect();
    // The change was known until the topic was created anew.
    assert_eq!(words, ["event", "gap", "gap", "event"]);
    assert_eq!(others.len(), 2, "a gap is everybody's");
    assert_eq!(replica.router.stats().repeated, 2);
}

#[test]
fn a_gap_is_only_for_those_who_were_there() {
    let mut replica = Replica::new(Model::vms(), 1);
    let before = replica.subscribe(0, "acme Voyage * *");
    replica.router.handle(&LogEvent::Recreated);
    let sub = definition(&replica.model, "acme Voyage * *");
    let after = replica.register(0, subscription(sub));
    replica.carry();
    replica.adopt(after);
    assert_eq!((replica.messages(before).len(), replica.messages(after).len()), (1, 0));
}

#[test]
fn batches_wait_until_they_are_taken() {
    let mut replica = Replica::new(Model::vms(), 3);
    replica.subscribe(0, "acme Voyage * *");
    replica.subscribe(2, "acme Voyage * *");
    let voyage = Record::new("acme/Voyage/5", "1;U;;none", "{}");
    assert!(matches!(replica.route(&voyage).0, Routed::To(2)));
    assert!(matches!(replica.route(&voyage).0, Routed::To(2)));
    assert_eq!(replica.router.gathered(), 4);
    let lengths: Vec<usize> = (0..4).map(|n| replica.router.take_batch(n).len()).collect();
    assert_eq!(lengths, [2, 0, 2, 0]);
    assert_eq!(replica.router.gathered(), 0);
    assert_eq!(replica.router.stats().routed, 2);
}

/// What the shard asks Kafka for in its next turn.
fn asked(replica: &mut Replica, mono_ms: u64) -> Option<HistoryRequest> {
    let core = &mut replica.shards[0].0;
    core.replay(Now { mono_ms, ..NOW });
    match &core.take_wants()[..] {
        [] => None,
        [Want::History { request, .. }] => Some(*request),
        wants => panic!("{wants:?}"),
    }
}

fn answer(replica: &mut Replica, request: HistoryRequest, outcome: HistoryOutcome) {
    let topic = Arc::clone(replica.router.positions().topic());
    replica.shards[0].0.history(&HistoryReply { topic, request, outcome }, NOW);
}

/// What a client is told whose cursor of epoch 4 lies ahead of this replica and is confirmed by Kafka,
/// before records up to it come, written under `epoch`.
fn resumed_ahead(epoch: i32) -> (Vec<String>, Option<HistoryRequest>) {
    let mut replica = Replica::new(Model::vms(), 1);
    replica.router.handle(&record(0, 0));
    let ahead = Position { next: NextOffset(3), epoch: LeaderEpoch(4) };
    let mut cursor = Positions::new(Arc::clone(replica.router.positions().topic()));
    cursor.set(Partition(0), ahead);
    let sub = subscription(definition(&replica.model, "acme Voyage * *"));
    let id = replica.register(0, Subscription { start: Start::At(Arc::new(cursor)), ..sub });
    replica.carry();
    replica.adopt(id);

    let request = asked(&mut replica, NOW.mono_ms).expect("it is ahead: Kafka has to tell");
    assert_eq!(request, HistoryRequest { partition: Partition(0), from: ahead });
    let segment = SegmentBuilder::new(Partition(0), ahead.next).finish(ahead);
    answer(&mut replica, request, HistoryOutcome::Segment(Arc::new(segment)));
    assert_eq!(asked(&mut replica, NOW.mono_ms + 1_000), None, "confirmed, and still ahead");

    for offset in 1..3 {
        replica.router.handle(&record_of(0, offset, epoch, b"1;U;;none"));
    }
    replica.carry();
    let request = asked(&mut replica, NOW.mono_ms + 2_000);
    if let Some(request) = request {
        let (next, reason) = (NextOffset(1), GapReason::Truncated);
        answer(&mut replica, request, HistoryOutcome::Gap { next, reason });
        asked(&mut replica, NOW.mono_ms + 3_000);
    }
    replica.carry();
    (replica.messages(id), request)
}

#[test]
fn a_log_cut_below_a_confirmed_position_is_told() {
    let (messages, request) = resumed_ahead(4);
    assert_eq!((messages.len(), request), (0, None), "it has all of that: {messages:?}");
    let (messages, request) = resumed_ahead(5);
    assert_eq!(request.map(|request| request.from.epoch), Some(LeaderEpoch(4)));
    let [gap, first, second] = &messages[..] else { panic!("{messages:?}") };
    assert!(gap.contains(r#""message":"gap""#), "{gap}");
    assert!(first.contains(r#""id":"0-1""#) && second.contains(r#""id":"0-2""#), "{messages:?}");
}
