//! Brings what router and shards count into the metrics, when somebody looks.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidewire_event::{LeaderEpoch, RecordKey};
use tidewire_log::LogRecord;
use tidewire_router::{RoutedEvent, RouterStats, ShardStats};
use tidewire_sockets::Observer;
use tidewire_telemetry::GatewayMetrics;
use tidewire_telemetry::metrics::{DropReason, Framing, GapReason, PoisonReason};
use tracing::warn;

use crate::options::PoisonSink;
use crate::shared::Shared;

/// What was brought over at the last look: the metrics' counters grow by the difference.
#[derive(Debug, Default)]
struct Seen {
    router: RouterStats,
    alerts: RouterStats,
    shards: ShardStats,
    history_reads: u64,
    lost: u64,
}

/// Brings the counts over.
pub(crate) struct Collector {
    shared: Arc<Shared>,
    seen: Mutex<Seen>,
}

impl Collector {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), seen: Mutex::default() }
    }

    pub(crate) fn collect(&self) {
        let (shared, metrics) = (&self.shared, &self.shared.metrics);
        let mut total = ShardStats::default();
        for shard in shared.planes.all().flat_map(|plane| plane.shards.handles()) {
            total += shard.stats();
        }
        let status = shared.planes.objects.router.status();
        let alerts = shared.planes.alerts.as_ref().map(|plane| plane.router.status());
        let alerts = alerts.unwrap_or_default();
        let planes = || shared.planes.all();
        let seen = &mut *self.seen.lock();
        let grown = |seen: &mut u64, now: u64| now.saturating_sub(std::mem::replace(seen, now));
        let before = &mut seen.shards;
        for (framing, before, now) in [
            (Framing::Documented, &mut before.web_socket_messages, total.web_socket_messages),
            (Framing::V1, &mut before.v1_messages, total.v1_messages),
            (Framing::Sse, &mut before.event_stream_messages, total.event_stream_messages),
        ] {
            metrics.messages_sent.add(framing, grown(before, now));
        }
        for (metric, before, now) in [
            (&metrics.bytes_sent, &mut before.bytes, total.bytes),
            (&metrics.window_passes, &mut before.window_passes, total.window_passes),
            (&metrics.replay_records, &mut before.replay_records, total.replay_records),
            (&metrics.replay_messages, &mut before.replay_messages, total.replay_messages),
            (&metrics.caught_up, &mut before.caught_up, total.caught_up),
            (&metrics.subscription_gaps, &mut before.gaps, total.gaps),
            (&metrics.conflated, &mut before.conflated, total.conflated),
            (&metrics.fell_back, &mut before.fell_back, total.fell_back),
            (
                &metrics.alerts_without_images,
                &mut before.alerts_without_images,
                total.alerts_without_images,
            ),
            (
                &metrics.history_reads,
                &mut seen.history_reads,
                planes().map(|plane| plane.history.reads()).sum(),
            ),
        ] {
            metric.add(grown(before, now));
        }
        metrics.events_received.add(grown(&mut seen.router.received, status.stats.received));
        metrics.events_routed.add(grown(&mut seen.router.routed, status.stats.routed));
        metrics
            .events_dropped
            .add(DropReason::Duplicate, grown(&mut seen.router.repeated, status.stats.repeated));
        metrics
            .events_dropped
            .add(DropReason::Duplicate, grown(&mut seen.alerts.repeated, alerts.stats.repeated));
        metrics.alerts_received.add(grown(&mut seen.alerts.received, alerts.stats.received));
        metrics.alerts_routed.add(grown(&mut seen.alerts.routed, alerts.stats.routed));
        metrics
            .events_dropped
            .add(DropReason::Stale, grown(&mut seen.router.stale, status.stats.stale));
        metrics.quarantine_failed.add(grown(&mut seen.lost, shared.planes.objects.poison.lost()));
        metrics.readers.set(gauge(total.readers));
        metrics.window_bytes.set(gauge(planes().map(|plane| plane.window.bytes()).sum()));
        metrics.views.set(gauge(total.views));
        metrics.send_queue_bytes.set(gauge(total.queued_bytes));
        metrics.subscriptions.set(gauge(status.subscriptions + alerts.subscriptions));
        let available = shared.store.as_ref().is_some_and(|store| store.available());
        metrics.store_available.set(i64::from(available));
        let common = &shared.common;
        common.ready.set(i64::from(shared.health.is_ready()));
        common.draining.set(i64::from(shared.health.is_draining()));
        common.kafka_available.set(i64::from(shared.health.is_kafka_available()));
    }
}

fn gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Observes what shards see of events.
pub(crate) struct Watcher {
    pub(crate) metrics: GatewayMetrics,
    pub(crate) poison: Arc<dyn PoisonSink>,
}

impl Observer for Watcher {
    fn delivered(&self, age_ms: i64) {
        let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(0));
        self.metrics.kafka_to_socket_seconds.observe(age);
    }

    fn broken(&self, event: &RoutedEvent) {
        let reason = match (event.body(), event.alert()) {
            (Err(error), _) => error.to_string(),
            (Ok(_), Some(Err(fault))) => fault.to_string(),
            (Ok(_), _) => "the body lacks the new image".to_owned(),
        };
        let id = event.id;
        warn!(partition = id.partition.0, offset = id.offset.0, error = %reason,
            "a record's body cannot be used; who needs it is told a gap");
        self.metrics.records_poison.inc(PoisonReason::Body);
        self.metrics.gaps.inc(GapReason::Poison);
        let route = &event.route;
        let (tenant, object_type) = (route.tenant.as_str(), route.object_type.as_str());
        let key = RecordKey::format(tenant, object_type, &event.key.to_string());
        let record = LogRecord {
            partition: id.partition,
            offset: id.offset,
            leader_epoch: LeaderEpoch::UNKNOWN,
            timestamp_ms: event.time_ms,
            key: Some(key.as_bytes()),
            header: None,
            header_count: 0,
            payload: event.payload().map(|payload| &payload[..]),
        };
        self.poison.put(&record, &reason);
    }
}
