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
use tidewire_event::RecordError;
use tidewire_log::{GapReason, LogEvent, LogReader};
use tidewire_router::{
    ConnectionId, Detached, Poison, Routed, Router, RouterStats, ShardIndex, Subscription,
};
use tidewire_runtime::Tasks;
use tidewire_sockets::{Command, Leavers, Shards};
use tidewire_telemetry::GatewayMetrics;
use tidewire_telemetry::metrics::{GapReason as GapLabel, PoisonReason};
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::health::Health;
use crate::options::PoisonSink;

/// Commands that may wait for the router.
const COMMANDS_MAX: usize = 65_536;
/// Commands taken in a turn.
const COMMANDS_PER_TURN: usize = 1024;
/// Log events taken in a turn.
const EVENTS_PER_TURN: usize = 512;
/// How long the thread sleeps at most.
const SLEEP_MAX: Duration = Duration::from_millis(500);
/// Between two looks at the lag.
const LAG_INTERVAL: Duration = Duration::from_secs(2);
const WAKE: Token = Token(0);

/// What the router is told besides the log.
enum RouterCommand {
    Subscribe(ShardIndex, ConnectionId, Box<Subscription>, oneshot::Sender<()>),
    Unsubscribe(ShardIndex, Detached),
    Stop,
}

/// Reaches the router from any thread.
#[derive(Clone)]
pub(crate) struct RouterHandle {
    sender: Sender<RouterCommand>,
    wake: Arc<Wake>,
    stats: Arc<Mutex<RouterStatus>>,
}

/// What metrics want to know.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RouterStatus {
    pub(crate) stats: RouterStats,
    pub(crate) subscriptions: usize,
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
    /// Registers a subscription; true once it is applied: everything routed from then on reaches the
    /// connection. False if the router has no room or has ended.
    pub(crate) async fn subscribe(
        &self,
        shard: ShardIndex,
        id: ConnectionId,
        subscription: Subscription,
    ) -> bool {
        let (reply, applied) = oneshot::channel();
        let command = RouterCommand::Subscribe(shard, id, Box::new(subscription), reply);
        if self.sender.try_send(command).is_err() {
            return false;
        }
        self.wake.call();
        applied.await.is_ok()
    }

    pub(crate) fn stop(&self) {
        // A queue that is full is being emptied.
        let _ = self.sender.send(RouterCommand::Stop);
        self.wake.call();
    }

    pub(crate) fn status(&self) -> RouterStatus {
        *self.stats.lock()
    }
}

impl Leavers for RouterHandle {
    fn left(&self, shard: ShardIndex, detached: Detached) -> Result<(), Detached> {
        match self.sender.try_send(RouterCommand::Unsubscribe(shard, detached)) {
            Ok(()) => {
                self.wake.call();
                Ok(())
            }
            Err(TrySendError::Full(RouterCommand::Unsubscribe(_, detached))) => Err(detached),
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
            stopped: false,
        };
        let wake = Arc::clone(&thread.seat.wake);
        thread.parts.reader.on_ready(Arc::new(move || wake.call()));
        tasks.spawn_thread("router", move || thread.run())?;
        Ok(())
    }
}

struct RouterThread {
    seat: RouterSeat,
    parts: RouterParts,
    replies: Vec<oneshot::Sender<()>>,
    lag_at: Instant,
    stopped: bool,
}

impl RouterThread {
    fn run(&mut self) {
        let mut events = Events::with_capacity(8);
        while !self.stopped {
            if let Err(e) = self.seat.poll.poll(&mut events, Some(SLEEP_MAX))
                && e.kind() != ErrorKind::Interrupted
            {
                error!(error = %e, "the router's poll failed");
                return;
            }
            loop {
                self.seat.wake.signalled.store(false, Ordering::SeqCst);
                let done = self.commands() + self.records();
                self.deliver();
                if done == 0 || self.stopped {
                    break;
                }
            }
            if !self.parts.health.is_assigned() && self.parts.reader.is_assigned() {
                self.parts.health.set_assigned();
                info!("all partitions are assigned");
            }
            self.show_lag(Instant::now());
            *self.seat.stats.lock() = RouterStatus {
                stats: self.parts.router.stats(),
                subscriptions: self.parts.router.subscriptions(),
            };
        }
    }

    fn show_lag(&mut self, now: Instant) {
        if now < self.lag_at {
            return;
        }
        self.lag_at = now + LAG_INTERVAL;
        for (partition, lag) in self.parts.reader.lag() {
            self.parts.metrics.kafka_lag_records.set(partition.0, lag);
        }
    }

    fn commands(&mut self) -> usize {
        for done in 0..COMMANDS_PER_TURN {
            match self.seat.receiver.try_recv() {
                Ok(RouterCommand::Subscribe(shard, id, subscription, reply)) => {
                    self.parts.router.subscribe(shard, id, *subscription);
                    self.replies.push(reply);
                }
                Ok(RouterCommand::Unsubscribe(shard, detached)) => {
                    self.parts.router.unsubscribe(shard, &detached.definition);
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
        let RouterParts { router, reader, poison, health, metrics, .. } = &mut self.parts;
        reader.drain(EVENTS_PER_TURN, &mut |event| {
            note(&event, health, metrics);
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
        for reply in self.replies.drain(..) {
            // Whoever asked may have gone; its guard undoes the registration.
            let _ = reply.send(());
        }
    }
}

/// Says what is not a record, in log and metrics.
fn note(event: &LogEvent<'_>, health: &Health, metrics: &GatewayMetrics) {
    match event {
        LogEvent::Topic(id) => info!(id, "the topic is known"),
        LogEvent::Record(_) | LogEvent::EndOfPartition { .. } => {}
        LogEvent::Assigned { partition, next } => {
            info!(partition = partition.0, offset = next.0, "a partition is read");
        }
        LogEvent::Gap { partition, next, reason } => {
            metrics.gaps.inc(gap_label(*reason));
            warn!(
                partition = partition.0,
                offset = next.0,
                reason = reason.as_str(),
                "records may be missing"
            );
        }
        LogEvent::Recreated => {
            metrics.gaps.inc(GapLabel::Recreated);
            warn!("the topic was created anew: it is read from the beginning");
        }
        LogEvent::Fault(text) => {
            health.set_kafka_fault(true);
            warn!(error = text, "kafka is away; sockets stay open");
        }
        LogEvent::Recovered => {
            health.set_kafka_fault(false);
            info!("kafka is back");
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
