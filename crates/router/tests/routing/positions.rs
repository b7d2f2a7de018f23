//! Positions over holes, ends, gaps and a topic that was created anew.

use tidewire_event::{LeaderEpoch, NextOffset, Offset, Partition};
use tidewire_log::{GapReason, LogEvent, LogRecord};
use tidewire_model::Model;
use tidewire_router::Routed;

use crate::harness::{Record, Replica, TIME_MS};

fn record(partition: i32, offset: i64) -> LogEvent<'static> {
    LogEvent::Record(LogRecord {
        partition: Partition(partition),
        offset: Offset(offset),
        leader_epoch: LeaderEpoch(3),
        timestamp_ms: TIME_MS,
        key: Some(b"acme/Voyage/5"),
        header: Some(b"1;U;;none;;change-1"),
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
    let sub = crate::harness::definition(&replica.model, "acme Voyage * *");
    let after = replica.register(0, crate::harness::subscription(sub));
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
