//! Brings what workers and quarantine count into the metrics, once a second.

use std::sync::Arc;
use std::time::Duration;

use tidewire_runtime::Shutdown;
use tidewire_sandbox::{Stats, Workers};
use tidewire_telemetry::metrics::WorkerEnd;
use tidewire_telemetry::{AlertsMetrics, CommonMetrics};

use crate::driver::PoisonSink;
use crate::health::Health;

/// How often.
const INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Collector {
    /// All pools.
    pub(crate) workers: [Workers; 2],
    pub(crate) poison: Arc<dyn PoisonSink>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: AlertsMetrics,
    pub(crate) common: CommonMetrics,
}

impl Collector {
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let (mut seen, mut lost) = (Stats::default(), 0);
        loop {
            self.collect(&mut seen, &mut lost);
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    fn collect(&self, seen: &mut Stats, lost: &mut u64) {
        let now = self.workers.iter().map(Workers::stats).fold(Stats::default(), Stats::plus);
        for (end, before, count) in [
            (WorkerEnd::Deadline, seen.stopped, now.stopped),
            (WorkerEnd::Memory, seen.out_of_memory, now.out_of_memory),
            (WorkerEnd::Crash, seen.crashed, now.crashed),
            (WorkerEnd::Replaced, seen.replaced, now.replaced),
            (WorkerEnd::StartFailed, seen.start_failures, now.start_failures),
        ] {
            self.metrics.worker_ends.add(end, count.saturating_sub(before));
        }
        *seen = now;
        let lost_now = self.poison.lost();
        self.metrics.quarantine_failed.add(lost_now.saturating_sub(*lost));
        *lost = lost_now;
        self.common.ready.set(i64::from(self.health.is_ready()));
        self.common.draining.set(i64::from(self.health.is_draining()));
        self.common.kafka_available.set(i64::from(self.health.is_kafka_available()));
    }
}
