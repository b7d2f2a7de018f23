use tidewire_event::{LeaderEpoch, Position};
use tidewire_log::{GapReason, HistoryAnswer, HistoryRequest, SegmentBuilder};

use super::*;

const P: Partition = Partition(1);

fn record<'a>(offset: i64, key: &'a str, header: &'a [u8]) -> LogRecord<'a> {
    LogRecord {
        partition: P,
        offset: Offset(offset),
        leader_epoch: LeaderEpoch::UNKNOWN,
        timestamp_ms: 0,
        key: Some(key.as_bytes()),
        header: Some(header),
        header_count: 1,
        payload: Some(b"{}"),
    }
}

fn judge(repeats: &mut Repeats, offset: i64, key: &str, version: &str, change_id: &str) -> bool {
    let header = format!("1;U;{version};full;;{change_id}");
    let parsed = RecordHeader::parse(header.as_bytes()).unwrap();
    repeats.is_repeat(&record(offset, key, header.as_bytes()), &parsed)
}

#[test]
fn a_change_that_stands_in_the_window_before_is_a_repeat() {
    let mut repeats = Repeats::new(100);
    for (offset, key, version, change_id, expected) in [
        (10, "t/A/1", "", "x", false),
        (11, "t/A/2", "", "x", false),
        (12, "t/A/1", "", "x", true),
        // Handed out again, from the beginning.
        (10, "t/A/1", "", "x", false),
        (12, "t/A/1", "", "x", true),
        // Nothing tells these apart.
        (13, "t/A/1", "", "", false),
        (14, "t/A/1", "", "", false),
        (20, "t/A/1", "e:5", "", false),
        (21, "t/A/1", "e:5", "y", true),
        // Older, and never seen.
        (22, "t/A/1", "e:4", "", false),
        (23, "t/A/1", "f:5", "", false),
        (24, "t/A/1", "", "y", true),
        (110, "t/A/1", "", "x", true),
        // The window is over: what stands here is the first again.
        (111, "t/A/1", "", "x", false),
        (112, "t/A/1", "", "x", true),
    ] {
        let is_repeat = judge(&mut repeats, offset, key, version, change_id);
        assert_eq!(is_repeat, expected, "{offset} {key} {version:?} {change_id:?}");
    }
    let mut none = Repeats::new(0);
    assert!(!judge(&mut none, 1, "t/A/1", "", "x") && !judge(&mut none, 2, "t/A/1", "", "x"));
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut repeats = Repeats::new(100);
    // Batches of 1,000, each handed out twice.
    for from in (0..200_000).step_by(1_000) {
        for _ in 0..2 {
            repeats.go_on(P, NextOffset(from));
            for offset in from..from + 999 {
                assert!(!judge(&mut repeats, offset, "t/A/1", "", &offset.to_string()));
            }
            assert!(judge(&mut repeats, from + 999, "t/A/1", "", &(from + 990).to_string()));
        }
        let seen = &repeats.partitions[&P];
        let most = usize::try_from(from.min(100) + 1_000).unwrap();
        assert!(seen.order.len() <= most && seen.first.len() <= most, "{}", seen.order.len());
    }
}

/// A partition whose records each have their own change, in pieces of 10.
struct Log {
    first: i64,
    asked: Vec<i64>,
    answers: u32,
}

impl LogHistory for Log {
    fn read(&mut self, request: HistoryRequest) -> Result<HistoryAnswer, HistoryError> {
        let from = request.from.next;
        self.asked.push(from.0);
        if self.answers == 0 {
            return Err(HistoryError::Unavailable("away".to_owned()));
        }
        self.answers -= 1;
        if from.0 < self.first {
            let next = NextOffset(self.first);
            return Ok(HistoryAnswer::Gap { next, reason: GapReason::Retention });
        }
        let mut builder = SegmentBuilder::new(request.partition, from);
        for offset in from.0..from.0 + 10 {
            let header = format!("1;U;;full;;{offset}");
            // One that cannot be read.
            let header = if offset == 47 { "x".to_owned() } else { header };
            builder.push(&record(offset, "t/A/1", header.as_bytes()));
        }
        Ok(HistoryAnswer::Segment(builder.finish(Position::at(NextOffset(from.0 + 10)))))
    }

    fn reset(&mut self) {}
}

#[test]
fn the_window_of_a_partition_is_read_back() {
    let mut repeats = Repeats::new(40);
    let mut log = Log { first: 25, asked: Vec::new(), answers: 10 };
    assert!(!repeats.knows(P));
    repeats.read_back(&mut log, P, NextOffset(60)).unwrap();
    assert!(repeats.knows(P));
    assert_eq!(log.asked, [20, 25, 35, 45, 55]);
    for (offset, change, expected) in
        [(60, 24, false), (60, 25, true), (60, 47, false), (60, 59, true), (61, 60, false)]
    {
        let is_repeat = judge(&mut repeats, offset, "t/A/1", "", &change.to_string());
        assert_eq!(is_repeat, expected, "{change}");
    }
    repeats.forget(P);
    assert!(!repeats.knows(P));
}

#[test]
fn without_an_answer_it_goes_on() {
    let mut repeats = Repeats::new(40);
    let mut log = Log { first: 0, asked: Vec::new(), answers: 1 };
    assert!(repeats.read_back(&mut log, P, NextOffset(60)).is_err());
    assert!(repeats.knows(P));
    assert!(judge(&mut repeats, 60, "t/A/1", "", "29"));
    assert!(!judge(&mut repeats, 60, "t/A/1", "", "30"));
}
