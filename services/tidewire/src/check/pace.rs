//! The run's clock, and how its sockets do.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tidewire_checker::Stamp;

/// Microseconds since the run began, the same for producer and clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch(Instant);

impl Watch {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> Stamp {
        stamp_of(self.0.elapsed())
    }
}

/// A duration in the unit of stamps.
pub(super) fn stamp_of(duration: Duration) -> Stamp {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// How many sockets are live, and when the last message came.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    live: AtomicUsize,
    last: AtomicU64,
}

impl Gauge {
    pub(super) fn connected(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    pub(super) fn last_message(&self) -> Stamp {
        self.last.load(Ordering::Relaxed)
    }

    pub(super) fn came(&self, at: Stamp) {
        self.last.fetch_max(at, Ordering::Relaxed);
    }

    /// Counts a socket as live while the answer is kept.
    pub(super) fn live(&self) -> Live<'_> {
        self.live.fetch_add(1, Ordering::Relaxed);
        Live(self)
    }
}

/// See [`Gauge::live`].
#[derive(Debug)]
pub(super) struct Live<'a>(&'a Gauge);

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::Relaxed);
    }
}
