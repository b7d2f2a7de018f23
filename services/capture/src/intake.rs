//! The one way into the log: room for a change, its idempotency, its write, and what is counted of it.
//!
//! Invariants: what waits for Kafka is bounded in changes (`capture.in_flight_max`) and in bytes
//! ([`WAITING_BYTES_MAX`]), and each change holds its share until its outcome is known; a change is handed to the writer within the call of [`Intake::write`], so
//! that the order of calls is the order in the log, per object; each change is counted once.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tidewire_event::{FrameId, Tenant};
use tidewire_log::{BoxFuture, LogWriter, WriteError};
use tidewire_model::Model;
use tidewire_runtime::Clock;
use tidewire_telemetry::CaptureMetrics;
use tidewire_telemetry::metrics::CaptureOutcome;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::change::Object;
use crate::idempotency::Idempotency;
use crate::record::record;
use crate::{CaptureOptions, ChangeRequest, ChangeRules, Failure};

/// Most bytes of changes that wait for Kafka at a time.
pub const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What one change takes of the room beside its own bytes: header, key, and what librdkafka adds.
const OVERHEAD_BYTES: usize = 512;
/// The room is counted in units of this many bytes.
const UNIT_BYTES: usize = 256;

/// The answer to one change.
pub type Outcome = Result<FrameId, Failure>;

/// The way into the log. Cheap to clone.
#[derive(Clone)]
pub struct Intake(Arc<Inner>);

struct Inner {
    writer: Arc<dyn LogWriter>,
    rules: ChangeRules,
    ids: Idempotency,
    places: Arc<Semaphore>,
    room: Arc<Semaphore>,
    room_units: u32,
    metrics: CaptureMetrics,
    clock: Clock,
}

/// The share of the room that one change holds; given back when dropped.
#[derive(Debug)]
pub struct Room {
    _place: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// One change that is with the writer.
struct InFlight {
    metrics: CaptureMetrics,
    since: Instant,
    _room: Room,
}

impl Intake {
    /// A way into `writer`'s topic.
    #[must_use]
    pub fn new(
        writer: Arc<dyn LogWriter>,
        model: Arc<Model>,
        options: &CaptureOptions,
        metrics: CaptureMetrics,
        clock: Clock,
    ) -> Self {
        let rules = ChangeRules { model, change_bytes_max: options.change_bytes_max };
        // One change of the largest size must always fit.
        let bytes = WAITING_BYTES_MAX.max(rules.change_bytes_max.saturating_add(OVERHEAD_BYTES));
        let room_units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        Self(Arc::new(Inner {
            writer,
            rules,
            ids: Idempotency::new(options.idempotency_max, options.idempotency_ttl),
            places: Arc::new(Semaphore::new(
                options.in_flight_max.clamp(1, Semaphore::MAX_PERMITS),
            )),
            room: Arc::new(Semaphore::new(room_units as usize)),
            room_units,
            metrics,
            clock,
        }))
    }

    /// Most bytes of one change.
    #[must_use]
    pub fn change_bytes_max(&self) -> usize {
        self.0.rules.change_bytes_max
    }

    /// Room for a change of `bytes` bytes.
    ///
    /// # Errors
    /// [`Failure::Busy`]: there is none now.
    pub fn try_room(&self, bytes: usize) -> Result<Room, Failure> {
        let place = Arc::clone(&self.0.places).try_acquire_owned().map_err(|_| Failure::Busy)?;
        let room = Arc::clone(&self.0.room).try_acquire_many_owned(self.units(bytes));
        room.map(|bytes| Room { _place: place, _bytes: bytes }).map_err(|_| Failure::Busy)
    }

    /// Waits for room for a change of `bytes` bytes.
    ///
    /// # Errors
    /// [`Failure::Busy`] if the semaphores were closed, which nobody does.
    pub async fn room(&self, bytes: usize) -> Result<Room, Failure> {
        let place = Arc::clone(&self.0.places).acquire_owned().await.map_err(|_| Failure::Busy)?;
        let room = Arc::clone(&self.0.room).acquire_many_owned(self.units(bytes)).await;
        room.map(|bytes| Room { _place: place, _bytes: bytes }).map_err(|_| Failure::Busy)
    }

    fn units(&self, bytes: usize) -> u32 {
        let units = (bytes + OVERHEAD_BYTES).div_ceil(UNIT_BYTES);
        u32::try_from(units).unwrap_or(u32::MAX).min(self.0.room_units)
    }

    /// Reads one change. A refusal is counted.
    ///
    /// # Errors
    /// What is wrong with it, and the object that it would have changed, where that can be told.
    pub fn read(&self, bytes: Bytes) -> Result<ChangeRequest, (Failure, Option<Object>)> {
        let now_ms = i64::try_from(self.0.clock.unix_ms()).unwrap_or(i64::MAX);
        ChangeRequest::parse(bytes, &self.0.rules, now_ms).map_err(|rejected| {
            let failure = Failure::Change(rejected.error);
            self.count(&failure);
            (failure, rejected.object)
        })
    }

    /// Counts a change that fails without being written.
    pub fn count(&self, failure: &Failure) {
        self.0.metrics.changes.inc(failure.class().outcome);
    }

    /// Hands a change to the writer, at once; the future answers once Kafka has. Dropping the future does
    /// not take the change back.
    pub fn write(&self, tenant: &Tenant, change: ChangeRequest, room: Room) -> BoxFuture<Outcome> {
        let inner = Arc::clone(&self.0);
        let metrics = inner.metrics.clone();
        let now = inner.clock.now();
        let lacks_old = change.lacks_old();
        let flight = InFlight { metrics: metrics.clone(), since: now, _room: room };
        metrics.queue_records.inc();
        let start = || {
            if lacks_old {
                metrics.old_image_missing.inc();
            }
            inner.writer.write(record(tenant, &change))
        };
        let Some(id) = change.id.clone() else {
            let write = start();
            return Box::pin(async move {
                let result = write.await;
                flight.landed(&inner, result, false, false)
            });
        };
        let claim = inner.ids.claim(tenant, &id, now, start);
        let tenant = tenant.clone();
        Box::pin(async move {
            let result = claim.write.clone().await;
            if result.is_err() {
                inner.ids.forget(&tenant, &id, &claim);
            }
            flight.landed(&inner, result, true, claim.is_repeat)
        })
    }
}

impl InFlight {
    fn landed(
        self,
        inner: &Inner,
        result: Result<FrameId, WriteError>,
        has_id: bool,
        is_repeat: bool,
    ) -> Outcome {
        let changes = &inner.metrics.changes;
        match result {
            Ok(frame) if is_repeat => {
                changes.inc(CaptureOutcome::Repeated);
                Ok(frame)
            }
            Ok(frame) => {
                changes.inc(CaptureOutcome::Written);
                inner.metrics.write_seconds.observe(inner.clock.now() - self.since);
                Ok(frame)
            }
            Err(error) => {
                if let WriteError::Refused(reason) = &error {
                    tracing::error!(reason, "kafka refused a change for good");
                }
                let failure = Failure::of_write(&error, has_id);
                changes.inc(failure.class().outcome);
                Err(failure)
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.metrics.queue_records.dec();
    }
}
