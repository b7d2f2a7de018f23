//! The thread that reads what the hot window does not hold, for shards whose clients catch up.
//!
//! It takes one request after another. Shards that ask for the same place share the segment through a
//! small cache, so the number of reads grows with partitions, not with sockets or shards.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tidewire_event::TopicId;
use tidewire_log::{HistoryAnswer, HistoryRequest, LogHistory};
use tidewire_router::{HistoryOutcome, HistoryReply, ShardIndex};
use tidewire_runtime::{Shutdown, Tasks};
use tidewire_sockets::{Command, HistoryDesk, Shards};
use tracing::warn;

use crate::plane::PlaneKind;

/// Requests that may wait; one for each shard and partition is the most that there can be of most topics.
const REQUESTS_MAX: usize = 4_096;
/// Segments that are kept for other shards.
const CACHED_MAX: usize = 16;
/// For how long: what has no end yet is asked for anew.
const CACHED_FOR: Duration = Duration::from_millis(500);
/// How often the thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(250);

struct Ask {
    shard: ShardIndex,
    topic: TopicId,
    request: HistoryRequest,
}

/// Reaches the thread, and counts what it does.
#[derive(Clone)]
pub(crate) struct HistoryHandle {
    sender: Sender<Ask>,
    reads: Arc<AtomicU64>,
}

impl HistoryHandle {
    /// How many times Kafka was read.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }
}

impl HistoryDesk for HistoryHandle {
    fn ask(&self, shard: ShardIndex, topic: &TopicId, request: HistoryRequest) -> bool {
        self.sender.try_send(Ask { shard, topic: Arc::clone(topic), request }).is_ok()
    }
}

/// The thread before it starts: shards need the handle, the thread needs the shards.
pub(crate) struct HistorySeat {
    receiver: Receiver<Ask>,
    reads: Arc<AtomicU64>,
}

pub(crate) fn seat() -> (HistoryHandle, HistorySeat) {
    let (sender, receiver) = bounded(REQUESTS_MAX);
    let reads = Arc::<AtomicU64>::default();
    (HistoryHandle { sender, reads: Arc::clone(&reads) }, HistorySeat { receiver, reads })
}

impl HistorySeat {
    pub(crate) fn start(
        self,
        plane: PlaneKind,
        log: Box<dyn LogHistory>,
        shards: &Shards,
        tasks: &Tasks,
    ) -> io::Result<()> {
        let shutdown = tasks.shutdown().clone();
        let mut thread = HistoryThread {
            seat: self,
            log,
            shards: shards.clone(),
            topic: "".into(),
            cached: VecDeque::new(),
        };
        tasks.spawn_thread(plane.threads().history, move || thread.run(&shutdown))?;
        Ok(())
    }
}

struct Cached {
    request: HistoryRequest,
    outcome: HistoryOutcome,
    read_at: Instant,
}

impl Cached {
    /// Whether it is what the request asks for: also a segment in whose middle it begins, which a reader
    /// comes to whose socket took only a part of it.
    fn answers(&self, request: HistoryRequest) -> bool {
        match &self.outcome {
            HistoryOutcome::Segment(segment) if self.request.partition == request.partition => {
                let from = request.from.next;
                segment.from() <= from && from < segment.to().next
            }
            _ => self.request == request,
        }
    }
}

struct HistoryThread {
    seat: HistorySeat,
    log: Box<dyn LogHistory>,
    shards: Shards,
    /// Which life of the topic was read last.
    topic: TopicId,
    cached: VecDeque<Cached>,
}

impl HistoryThread {
    fn run(&mut self, shutdown: &Shutdown) {
        while !shutdown.is_cancelled() {
            match self.seat.receiver.recv_timeout(LOOK) {
                Ok(ask) => self.answer(ask),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn answer(&mut self, ask: Ask) {
        let Ask { shard, topic, request } = ask;
        if self.topic != topic {
            self.topic = Arc::clone(&topic);
            self.log.reset();
            self.cached.clear();
        }
        let outcome = self.find(request);
        if let Some(shard) = self.shards.handles().get(usize::from(shard)) {
            shard.send(Command::History(Box::new(HistoryReply { topic, request, outcome })));
        }
    }

    fn find(&mut self, request: HistoryRequest) -> HistoryOutcome {
        self.cached.retain(|cached| cached.read_at.elapsed() < CACHED_FOR);
        if let Some(cached) = self.cached.iter().find(|cached| cached.answers(request)) {
            return cached.outcome.clone();
        }
        self.seat.reads.fetch_add(1, Ordering::Relaxed);
        let outcome = match self.log.read(request) {
            Ok(HistoryAnswer::Segment(segment)) => HistoryOutcome::Segment(Arc::new(segment)),
            Ok(HistoryAnswer::Gap { next, reason }) => HistoryOutcome::Gap { next, reason },
            Err(error) => {
                warn!(error = %error, "clients that catch up wait for kafka");
                return HistoryOutcome::Unavailable;
            }
        };
        if self.cached.len() == CACHED_MAX {
            self.cached.pop_front();
        }
        let read_at = Instant::now();
        self.cached.push_back(Cached { request, outcome: outcome.clone(), read_at });
        outcome
    }
}
