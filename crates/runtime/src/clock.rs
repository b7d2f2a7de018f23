//! Time, handed in from outside, so that a test can move it by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where time comes from: monotonic for durations, wall for time stamps. Cheap to clone; clones of a
/// manual clock move together.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<Manual>),
}

#[derive(Debug)]
struct Manual {
    started: Instant,
    started_unix_ms: u64,
    advanced_us: AtomicU64,
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still at `unix_ms` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual(unix_ms: u64) -> Self {
        Self(Source::Manual(Arc::new(Manual {
            started: Instant::now(),
            started_unix_ms: unix_ms,
            advanced_us: AtomicU64::new(0),
        })))
    }

    /// Monotonic now: for durations, deadlines and rates. Never goes back, whatever the wall clock does.
    #[must_use]
    pub fn now(&self) -> Instant {
        match &self.0 {
            Source::System => Instant::now(),
            Source::Manual(manual) => manual.started + manual.advanced(),
        }
    }

    /// Milliseconds since the Unix epoch: for time stamps and for `exp`. 0 when the machine's clock
    /// stands before the epoch.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        match &self.0 {
            Source::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            Source::Manual(manual) => manual
                .started_unix_ms
                .saturating_add(u64::try_from(manual.advanced().as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// Moves a manual clock on, by whole microseconds. The system clock stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(manual) = &self.0 {
            let by_us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
            manual.advanced_us.fetch_add(by_us, Ordering::SeqCst);
        }
    }
}

impl Manual {
    fn advanced(&self) -> Duration {
        Duration::from_micros(self.advanced_us.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_until_it_is_moved() {
        let clock = Clock::manual(1_000);
        let start = clock.now();
        assert_eq!((clock.unix_ms(), clock.now()), (1_000, start));
        clock.clone().advance(Duration::from_millis(2_500));
        assert_eq!(clock.unix_ms(), 3_500);
        assert_eq!(clock.now() - start, Duration::from_millis(2_500));
    }

    #[test]
    fn the_system_clock_is_after_2020_and_cannot_be_moved() {
        let clock = Clock::system();
        assert!(clock.unix_ms() > 1_577_836_800_000);
        let before = clock.unix_ms();
        clock.advance(Duration::from_secs(86_400));
        assert!(clock.unix_ms() - before < 86_400_000);
        let first = clock.now();
        assert!(clock.now() >= first);
    }
}
