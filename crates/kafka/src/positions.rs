//! Where the reader stands in each partition, and what a reset error means.
//!
//! rdkafka does not say in which partition librdkafka gave up ("offset out of range"). So every
//! partition's marks are asked for, and [`judge`] tells which stopped: a position outside the marks. If
//! that explains fewer partitions than there were errors, the log was cut and has grown past a position
//! since; which one cannot be told, so every partition that has not moved is declared a gap. Better a
//! gap too many than silence.
//!
//! Invariant: a position never goes back, but through [`Positions::set`].

use tidewire_event::{NextOffset, Offset, Partition};
use tidewire_log::GapReason;

/// What the cluster said of a partition, and where the reader stood when it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) partition: Partition,
    /// The reader's position when it asked.
    pub(crate) asked: NextOffset,
    /// The first offset that is kept.
    pub(crate) low: NextOffset,
    /// The last stable offset.
    pub(crate) high: NextOffset,
}

/// The next offset to hand over, by partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Positions(Vec<Option<NextOffset>>);

impl Positions {
    pub(crate) fn get(&self, partition: Partition) -> Option<NextOffset> {
        self.0.get(usize::try_from(partition.0).ok()?).copied().flatten()
    }

    pub(crate) fn set(&mut self, partition: Partition, next: NextOffset) {
        let Ok(index) = usize::try_from(partition.0) else { return };
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        if let Some(slot) = self.0.get_mut(index) {
            *slot = Some(next);
        }
    }

    /// Moves past a record that is handed over. False if it was handed over before, or if its
    /// partition is not read.
    pub(crate) fn pass(&mut self, partition: Partition, offset: Offset) -> bool {
        let slot = usize::try_from(partition.0).ok().and_then(|index| self.0.get_mut(index));
        match slot {
            Some(Some(next)) if offset.0 >= next.0 => {
                *next = offset.next();
                true
            }
            _ => false,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Partition, NextOffset)> + '_ {
        (0_i32..).zip(&self.0).filter_map(|(p, next)| next.map(|next| (Partition(p), next)))
    }
}

/// The gaps to declare after `errors` reset errors: partition, where to go on, why.
pub(crate) fn judge(
    positions: &Positions,
    marks: &[Mark],
    errors: usize,
) -> Vec<(Partition, NextOffset, GapReason)> {
    // A partition that has moved since it was asked about is being read, so it did not stop.
    let still: Vec<_> =
        marks.iter().filter(|mark| positions.get(mark.partition) == Some(mark.asked)).collect();
    let mut gaps: Vec<_> = still
        .iter()
        .filter_map(|mark| {
            if mark.asked < mark.low {
                Some((mark.partition, mark.low, GapReason::Retention))
            } else if mark.asked > mark.high {
                Some((mark.partition, mark.high, GapReason::Truncated))
            } else {
                None
            }
        })
        .collect();
    if gaps.len() < errors {
        let inside = still.iter().filter(|m| m.asked >= m.low && m.asked <= m.high);
        gaps.extend(inside.map(|mark| (mark.partition, mark.asked, GapReason::Truncated)));
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(next: &[i64]) -> Positions {
        let mut positions = Positions::default();
        for (partition, next) in (0..).zip(next) {
            positions.set(Partition(partition), NextOffset(*next));
        }
        positions
    }

    #[test]
    fn a_record_is_handed_over_once() {
        let mut positions = positions(&[5]);
        let mut check = |partition, offset, expected| {
            assert_eq!(positions.pass(Partition(partition), Offset(offset)), expected);
        };
        check(0, 4, false);
        check(0, 5, true);
        check(0, 5, false);
        check(0, 9, true);
        check(0, 8, false);
        check(1, 0, false);
        check(-1, 0, false);
        assert_eq!(positions.get(Partition(0)), Some(NextOffset(10)));
    }

    #[test]
    fn a_reset_error_becomes_the_right_gaps() {
        use GapReason::{Retention, Truncated};
        // Each mark: asked, low, high.
        let check =
            |now: &[i64], marks: &[(i64, i64, i64)], errors, expected: &[(i32, i64, GapReason)]| {
                let marks: Vec<_> = (0..)
                    .zip(marks)
                    .map(|(p, (asked, low, high))| Mark {
                        partition: Partition(p),
                        asked: NextOffset(*asked),
                        low: NextOffset(*low),
                        high: NextOffset(*high),
                    })
                    .collect();
                let expected: Vec<_> =
                    expected.iter().map(|(p, n, r)| (Partition(*p), NextOffset(*n), *r)).collect();
                assert_eq!(judge(&positions(now), &marks, errors), expected, "{now:?} {marks:?}");
            };
        check(&[3], &[(3, 7, 9)], 1, &[(0, 7, Retention)]);
        check(&[3], &[(3, 0, 2)], 1, &[(0, 2, Truncated)]);
        // It moved since: it is not the one that stopped.
        check(&[5, 3], &[(4, 5, 9), (3, 7, 9)], 1, &[(1, 7, Retention)]);
        check(&[12, 3], &[(8, 0, 9), (3, 7, 9)], 1, &[(1, 7, Retention)]);
        // Cut and grown past the position: nobody is outside, so all that stand still are declared.
        check(&[3, 4], &[(3, 0, 9), (4, 0, 9)], 1, &[(0, 3, Truncated), (1, 4, Truncated)]);
        check(&[3, 5], &[(3, 0, 9), (4, 0, 9)], 1, &[(0, 3, Truncated)]);
        // Two errors, one explained.
        check(&[3, 4], &[(3, 5, 9), (4, 0, 9)], 2, &[(0, 5, Retention), (1, 4, Truncated)]);
        // At either end is inside.
        check(&[7, 9], &[(7, 7, 9), (9, 7, 9)], 0, &[]);
    }
}
