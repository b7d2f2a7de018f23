//! Which part of the change topic a back-test reads.

use std::time::Duration;

use tidewire_capture::instant;
use tidewire_log::{HistoryAnswer, HistoryError, HistoryRequest, LogHistory, SegmentBuilder};

use crate::token::ttl;

/// A moment, as a person names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// So long before now.
    Ago(Duration),
    /// Milliseconds since the Unix epoch.
    At(i64),
    /// Before everything that the topic keeps.
    Start,
}

impl Moment {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "start" {
            return Ok(Self::Start);
        }
        if let Ok(ago) = ttl(text) {
            return Ok(Self::Ago(ago));
        }
        instant::parse(text).map(Self::At).map_err(|_| {
            format!(
                "{text:?} is neither a duration (24h), nor a time (2026-09-14T13:37:26), nor start"
            )
        })
    }

    /// In milliseconds since the Unix epoch.
    pub(super) fn at(self, now_ms: i64) -> Option<i64> {
        match self {
            Self::Ago(ago) => {
                let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
                Some(now_ms.saturating_sub(ago).max(0))
            }
            Self::At(ms) => Some(ms),
            Self::Start => None,
        }
    }
}

/// A log without what is younger than a moment. The log is in the order of its offsets, not of its times, so
/// it has to be read to its end all the same.
pub(super) struct Until<H> {
    pub(super) log: H,
    /// Milliseconds since the Unix epoch.
    pub(super) until_ms: Option<i64>,
}

impl<H: LogHistory> LogHistory for Until<H> {
    fn read(&mut self, request: HistoryRequest) -> Result<HistoryAnswer, HistoryError> {
        let answer = self.log.read(request)?;
        let (HistoryAnswer::Segment(all), Some(until_ms)) = (&answer, self.until_ms) else {
            return Ok(answer);
        };
        let mut older = SegmentBuilder::new(all.partition(), all.from());
        for record in all.records_from(all.from()) {
            if record.timestamp_ms < until_ms {
                older.push(&record);
            }
        }
        Ok(HistoryAnswer::Segment(older.finish(all.to())))
    }

    fn reset(&mut self) {
        self.log.reset();
    }
}

#[cfg(test)]
mod tests {
    use tidewire_event::{LeaderEpoch, NextOffset, Offset, Partition, Position};
    use tidewire_log::LogRecord;

    use super::*;

    struct Fixed;

    impl LogHistory for Fixed {
        fn read(&mut self, request: HistoryRequest) -> Result<HistoryAnswer, HistoryError> {
            let HistoryRequest { partition, from } = request;
            let mut segment = SegmentBuilder::new(partition, from.next);
            // Not in the order of their times.
            for (offset, timestamp_ms) in [(0, 10), (1, 30), (2, 20), (3, 19)] {
                segment.push(&LogRecord {
                    partition,
                    offset: Offset(offset),
                    leader_epoch: LeaderEpoch(1),
                    timestamp_ms,
                    key: Some(b"k"),
                    header: None,
                    header_count: 0,
                    payload: Some(b"p"),
                });
            }
            Ok(HistoryAnswer::Segment(segment.finish(Position::at(NextOffset(4)))))
        }

        fn reset(&mut self) {}
    }

    #[test]
    fn what_is_younger_is_left_out_and_the_end_stays() {
        let check = |until_ms: Option<i64>, expected: &[i64]| {
            let mut log = Until { log: Fixed, until_ms };
            let from = Position::at(NextOffset(0));
            let answer = log.read(HistoryRequest { partition: Partition(7), from }).unwrap();
            let HistoryAnswer::Segment(segment) = answer else { panic!() };
            let offsets: Vec<i64> =
                segment.records_from(segment.from()).map(|record| record.offset.0).collect();
            assert_eq!((offsets.as_slice(), segment.to().next), (expected, NextOffset(4)));
            assert_eq!(segment.partition(), Partition(7));
        };
        check(None, &[0, 1, 2, 3]);
        check(Some(20), &[0, 3]);
        check(Some(10), &[]);
    }

    #[test]
    fn moments() {
        let check = |text: &str, expected: Option<Option<i64>>| {
            let moment = Moment::parse(text).ok();
            assert_eq!(moment.map(|moment| moment.at(1_789_393_046_000)), expected, "{text:?}");
        };
        check("24h", Some(Some(1_789_306_646_000)));
        check("90s", Some(Some(1_789_392_956_000)));
        check("3650d", Some(Some(1_474_033_046_000)));
        check("2026-09-14T13:37:26", Some(Some(1_789_393_046_000)));
        check("2026-09-14T15:37:26+02:00", Some(Some(1_789_393_046_000)));
        check("start", Some(None));
        for bad in ["", "yesterday", "24", "0s", "2026-09-14", "-1h"] {
            check(bad, None);
        }
    }
}
