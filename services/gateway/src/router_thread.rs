//! The thread that owns the log reader and the router.
//!
//! It sleeps in one poll that Kafka and registrations both wake; then it takes commands and records in
//! turns, carries what was routed to the shards, and only then answers the registrations. A shard whose
//! queue is full makes it wait, and so stops the reading: never a drop.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use mio::{Events, Poll, Token, Waker};
use parking_lot::Mutex;
use tidewire_event::{Positions, RecordError};
use tidewire_fields::FieldMask;
use tidewire_log::{GapReason, LogEvent, LogReader};
use tidewire_rights::PermissionClass;
use tidewire_router::{
    ConnectionId, Detached, Opening, Poison, Routed, Router, RouterStats, ShardIndex, SubId,
    Subscription,
};
use tidewire_runtime::Tasks;
use tidewire_sockets::{Command, Leavers, Shards};
use tidewire_telemetry::GatewayMetrics;
use tidewire_telemetry::metrics::{GapReason as GapLabel, PoisonReason};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::health::{Health, PlaneHealth};
use crate::options::PoisonSink;
use crate::plane::PlaneKind;

/// Commands that may wait for the router.
const COMMANDS_MAX: usize = 65_536;
/// Commands taken in a turn.
const COMMANDS_PER_TURN: usize = 1024;
/// Log events taken in a turn.
const EVENTS_PER_TURN: usize = 512;
/// How long the thread sleeps at most.
const SLEEP_MAX: Duration = Duration::from_millis(250);
/// Between two ticks to the shards: what is said of idle partitions is at most so old.
const TICK_INTERVAL: Duration = Duration::from_millis(250);
/// Between two looks at the lag.
const LAG_INTERVAL: Duration = Duration::from_secs(2);
const WAKE: Token = Token(0);

/// What the router is told besides the log.
enum RouterCommand {
    Open(
        ShardIndex,
        ConnectionId,
        Opening,
        Option<Box<Subscription>>,
        oneshot::Sender<Arc<Positions>>,
    ),
    Subscribe(ShardIndex, ConnectionId, Box<Subscription>),
    Unsubscribe(ShardIndex, ConnectionId, SubId),
    SetMask(ShardIndex, ConnectionId, SubId, Option<FieldMask>),
    SetClass(ShardIndex, ConnectionId, PermissionClass),
    Detach(ShardIndex, Detached),
    Stop,
}

/// Reaches the router from any thread.
#[derive(Clone)]
pub(crate) struct RouterHandle {
    sender: Sender<RouterCommand>,
    wake: Arc<Wake>,
    stats: Arc<Mutex<RouterStatus>>,
}

/// What metrics and new sessions want to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouterStatus {
    pub(crate) stats: RouterStats,
    pub(crate) subscriptions: usize,
    /// Where the router stood a moment ago; `None` before it has read anything.
    pub(crate) positions: Option<Arc<Positions>>,
}

struct Wake {
    waker: Waker,
    signalled: AtomicBool,
}

impl Wake {
    fn call(&self) {
        if !self.signalled.swap(true, Ordering::SeqCst) {
            // A poll that has gone with its thread has nobody to wake.
            let _ = self.waker.wake();
        }
    }
}

impl RouterHandle {
    /// Registers a connection and the subscription that it comes with. Once it is applied everything
    /// routed from then on reaches the connection, and it is told where the router stood. `None` if the
    /// router has no room or has ended.
    pub(crate) async fn open(
        &self,
        shard: ShardIndex,
        id: ConnectionId,
        opening: Opening,
        subscription: Option<Subscription>,
    ) -> Option<Arc<Positions>> {
        let (reply, applied) = oneshot::channel();
        let subscription = subscription.map(Box::new);
        self.offer(RouterCommand::Open(shard, id, opening, subscription, reply)).then_some(())?;
        applied.await.ok()
    }

    /// Registers one more subscription of a connection; false if there is no room.
    pub(crate) fn subscribe(
        &self,
        shard: ShardIndex,
        id: ConnectionId,
        subscription: Subscription,
    ) -> bool {
        self.offer(RouterCommand::Subscribe(shard, id, Box::new(subscription)))
    }

    /// Ends a subscription of a connection, behind its registration; false if there is no room.
    pub(crate) fn unsubscribe(&self, shard: ShardIndex, id: ConnectionId, sub: SubId) -> bool {
        self.offer(RouterCommand::Unsubscribe(shard, id, sub))
    }

    /// Changes the field list of a subscription, behind its registration; false if there is no room.
    pub(crate) fn set_mask(
        &self,
        shard: ShardIndex,
        id: ConnectionId,
        sub: SubId,
        mask: Option<FieldMask>,
    ) -> bool {
        self.offer(RouterCommand::SetMask(shard, id, sub, mask))
    }

    /// Changes the rights of a connection, behind all its registrations; false if there is no room.
    pub(crate) fn set_class(
        &self,
        shard: ShardIndex,
        id: ConnectionId,
        class: PermissionClass,
    ) -> bool {
        self.offer(RouterCommand::SetClass(shard, id, class))
    }

    fn offer(&self, command: RouterCommand) -> bool {
        let sent = self.sender.try_send(command).is_ok();
        self.wake.call();
        sent
    }

    pub(crate) fn stop(&self) {
        // A queue that is full is being emptied.
        let _ = self.sender.send(RouterCommand::Stop);
        self.wake.call();
    }

    pub(crate) fn status(&self) -> RouterStatus {
        self.stats.lock().clone()
    }
}

impl Leavers for RouterHandle {
    fn left(&self, shard: ShardIndex, detached: Detached) -> Result<(), Detached> {
        match self.sender.try_send(RouterCommand::Detach(shard, detached)) {
            Ok(()) => {
                self.wake.call();
                Ok(())
            }
            Err(TrySendError::Full(RouterCommand::Detach(_, detached))) => Err(detached),
            // The router has ended: nobody counts any more.
            Err(_) => Ok(()),
        }
    }
}

/// The router before its thread starts: shards need the handle, the thread needs the shards.
pub(crate) struct RouterSeat {
    poll: Poll,
    receiver: Receiver<RouterCommand>,
    wake: Arc<Wake>,
    stats: Arc<Mutex<RouterStatus>>,
}

pub(crate) fn seat() -> io::Result<(RouterHandle, RouterSeat)> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKE)?;
    let wake = Arc::new(Wake { waker, signalled: AtomicBool::new(false) });
    let (sender, receiver) = bounded(COMMANDS_MAX);
    let stats = Arc::<Mutex<RouterStatus>>::default();
    let handle = RouterHandle { sender, wake: Arc::clone(&wake), stats: Arc::clone(&stats) };
    Ok((handle, RouterSeat { poll, receiver, wake, stats }))
}

/// What the thread works with.
pub(crate) struct RouterParts {
    pub(crate) kind: PlaneKind,
    pub(crate) router: Router,
    pub(crate) reader: Box<dyn LogReader>,
    pub(crate) shards: Shards,
    pub(crate) poison: Arc<dyn PoisonSink>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: GatewayMetrics,
}

impl RouterSeat {
    pub(crate) fn start(self, parts: RouterParts, tasks: &Tasks) -> io::Result<()> {
        let mut thread = RouterThread {
            seat: self,
            parts,
            replies: Vec::new(),
            lag_at: Instant::now(),
            tick_at: Instant::now(),
            stopped: false,
        };
        let name = thread.parts.kind.threads().router;
        let wake = Arc::clone(&thread.seat.wake);
        thread.parts.reader.on_ready(Arc::new(move || wake.call()));
        tasks.spawn_fallible_thread(name, move || thread.run())?;
        Ok(())
    }
}

struct RouterThread {
    seat: RouterSeat,
    parts: RouterParts,
    replies: Vec<(oneshot::Sender<Arc<Positions>>, Arc<Positions>)>,
    lag_at: Instant,
    tick_at: Instant,
    stopped: bool,
}

impl RouterThread {
    /// Runs until it is stopped.
    ///
    /// # Errors
    /// The poll failed: nothing can be read any more, and the service ends.
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(8);
        while !self.stopped {
            if let Err(e) = self.seat.poll.poll(&mut events, Some(SLEEP_MAX))
                && e.kind() != ErrorKind::Interrupted
            {
                let text = format!("the router's poll failed: {e}");
                return Err(io::Error::new(e.kind(), text));
            }
            loop {
                self.seat.wake.signalled.store(false, Ordering::SeqCst);
                let done = self.commands() + self.records();
                self.tick(Instant::now());
                self.deliver();
                if done == 0 || self.stopped {
                    break;
                }
            }
            let health = self.parts.health.plane(self.parts.kind);
            if !health.is_assigned() && self.parts.reader.is_assigned() {
                health.set_assigned();
                info!(plane = ?self.parts.kind, "all partitions are assigned");
            }
            self.show_lag(Instant::now());
            self.publish();
        }
        Ok(())
    }

    /// Tells the shards, and whoever asks for the status, where the router stands.
    fn tick(&mut self, now: Instant) {
        if now >= self.tick_at {
            self.tick_at = now + TICK_INTERVAL;
            self.parts.router.tick();
            self.publish();
        }
    }

    fn publish(&mut self) {
        let router = &mut self.parts.router;
        let positions = (!router.positions().is_empty()).then(|| router.share());
        *self.seat.stats.lock() = RouterStatus {
            stats: router.stats(),
            subscriptions: router.subscriptions(),
            positions,
        };
    }

    fn show_lag(&mut self, now: Instant) {
        if now < self.lag_at {
            return;
        }
        self.lag_at = now + LAG_INTERVAL;
        let metrics = &self.parts.metrics;
        let shown = match self.parts.kind {
            PlaneKind::Objects => &metrics.kafka_lag_records,
            PlaneKind::Alerts => &metrics.alerts_lag_records,
        };
        for (partition, lag) in self.parts.reader.lag() {
            shown.set(partition.0, lag);
        }
    }

    fn commands(&mut self) -> usize {
        for done in 0..COMMANDS_PER_TURN {
            match self.seat.receiver.try_recv() {
                Ok(RouterCommand::Open(shard, id, opening, subscription, reply)) => {
                    let router = &mut self.parts.router;
                    router.open(shard, id, opening, subscription.map(|s| *s));
                    self.replies.push((reply, router.share()));
                }
                Ok(RouterCommand::Subscribe(shard, id, subscription)) => {
                    self.parts.router.subscribe(shard, id, *subscription);
                }
                Ok(RouterCommand::Unsubscribe(shard, id, sub)) => {
                    self.parts.router.unsubscribe(shard, id, sub);
                }
                Ok(RouterCommand::SetMask(shard, id, sub, mask)) => {
                    self.parts.router.set_mask(shard, id, sub, mask);
                }
                Ok(RouterCommand::SetClass(shard, id, class)) => {
                    self.parts.router.set_class(shard, id, class);
                }
                Ok(RouterCommand::Detach(shard, detached)) => {
                    self.parts.router.detach(shard, &detached.definition);
                }
                Ok(RouterCommand::Stop) => {
                    self.stopped = true;
                    return done;
                }
                Err(_) => return done,
            }
        }
        COMMANDS_PER_TURN
    }

    fn records(&mut self) -> usize {
        let RouterParts { kind, router, reader, poison, health, metrics, .. } = &mut self.parts;
        let (kind, health) = (*kind, health.plane(*kind));
        reader.drain(EVENTS_PER_TURN, &mut |event| {
            note(&event, kind, health, metrics);
            if let Routed::Poison(Poison { id, reason }) = router.handle(&event)
                && let LogEvent::Record(record) = &event
            {
                metrics.records_poison.inc(poison_label(&reason));
                warn!(partition = id.partition.0, offset = id.offset.0, error = %reason,
                    "a record cannot be used");
                poison.put(record, &reason.to_string());
            }
        })
    }

    /// Carries the batches to the shards, then answers the registrations.
    fn deliver(&mut self) {
        for shard in self.parts.shards.handles() {
            let batch = self.parts.router.take_batch(shard.index());
            if !batch.is_empty() {
                shard.send(Command::Batch(batch));
            }
        }
        for (reply, positions) in self.replies.drain(..) {
            // Whoever asked may have gone; its guard undoes the registration.
            let _ = reply.send(positions);
        }
    }
}

/// Says what is not a record, in log and metrics.
fn note(event: &LogEvent<'_>, plane: PlaneKind, health: &PlaneHealth, metrics: &GatewayMetrics) {
    match event {
        LogEvent::Topic(id) => info!(id, ?plane, "the topic is known"),
        LogEvent::Record(_) | LogEvent::EndOfPartition { .. } => {}
        LogEvent::Assigned { partition, next } => {
            info!(?plane, partition = partition.0, offset = next.0, "a partition is read");
        }
        LogEvent::Gap { partition, next, reason } => {
            metrics.gaps.inc(gap_label(*reason));
            warn!(
                ?plane,
                partition = partition.0,
                offset = next.0,
                reason = reason.as_str(),
                "records may be missing"
            );
        }
        LogEvent::Recreated => {
            metrics.gaps.inc(GapLabel::Recreated);
            warn!(?plane, "the topic was created anew: it is read from the beginning");
        }
        LogEvent::Fault(text) => {
            health.set_kafka_fault(true);
            warn!(?plane, error = text, "kafka is away; sockets stay open");
        }
        LogEvent::Recovered => {
            health.set_kafka_fault(false);
            info!(?plane, "kafka is back");
        }
    }
}

const fn gap_label(reason: GapReason) -> GapLabel {
    match reason {
        GapReason::Retention => GapLabel::Retention,
        GapReason::Truncated => GapLabel::Truncated,
        GapReason::Recreated => GapLabel::Recreated,
    }
}

const fn poison_label(reason: &RecordError) -> PoisonReason {
    match reason {
        RecordError::NoKey | RecordError::KeyShape => PoisonReason::Key,
        RecordError::Percent(..) | RecordError::Id(..) => PoisonReason::Key,
        _ => PoisonReason::Header,
    }
}
