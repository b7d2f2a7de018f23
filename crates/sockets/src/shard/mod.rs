//! The loop of one shard.
//!
//! A turn: readiness, commands, timers, writing, the router's word of those who left. Nothing that a turn
//! has begun waits for the next tick: what timers and notices put into queues is written in the same turn,
//! or the poll does not wait.

mod closing;
mod inbound;

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::{Events, Interest, Poll, Token};
use tidewire_router::{
    ConnectionId, Detached, Framing, HistoryOutcome, HistoryReply, Notice, Now, ShardCore,
    ShardItem, Want,
};
use tidewire_wire::error::CloseCode;
use tracing::error;

use self::closing::{Drain, drain_code, hint};
use self::inbound::Inbound;
use crate::client::{Closed, Reaction};
use crate::handle::{Adoption, Command, Inbox, Outlets};
use crate::options::ShardOptions;
use crate::socket::{Health, Phase, Socket, Sockets};
use crate::wheel::{Entry, TICK, Wheel};

/// The waker's token; slots never reach it.
pub(crate) const WAKE: Token = Token(usize::MAX);
/// Readiness events taken at a time.
const EVENTS_MAX: usize = 1024;
/// Bytes read at a time.
const READ_BYTES: usize = 16 * 1024;
/// Up to so many timers nobody looks whose they are.
const TIMERS_MIN: usize = 4096;
/// Commands taken in a turn.
const COMMANDS_PER_TURN: usize = 64;
/// Writes in a slice: after it the clock is looked at.
const WRITES_PER_SLICE: usize = 32;
/// How long a turn may flush before it looks at new events and readiness.
const FLUSH_TIME: Duration = Duration::from_millis(1);

pub(crate) struct Shard {
    poll: Poll,
    core: ShardCore,
    sockets: Sockets,
    options: ShardOptions,
    inbox: Inbox,
    outlets: Outlets,
    wheel: Wheel,
    /// With more timers than this, those of connections that have gone are dropped.
    timers_max: usize,
    read_again: Vec<usize>,
    /// Subscriptions that have ended, until the router has room for the word.
    left: Vec<Detached>,
    /// Connections that were closed before their stream came.
    closed_early: HashMap<ConnectionId, CloseCode>,
    /// Attached connections, and until when their streams are waited for, in order.
    awaited: VecDeque<(Instant, ConnectionId)>,
    /// Event times of what was routed since the last flush.
    fresh: Vec<i64>,
    drain: Option<Drain>,
    /// The retry hint of a drain, from its beginning to the end.
    draining: Option<Duration>,
    stats_at: Instant,
    buffer: Vec<u8>,
    /// When the clock of the core began.
    started: Instant,
    /// After so long those who catch up want another turn.
    replay_in: Option<Duration>,
    stopped: bool,
}

impl Shard {
    pub(crate) fn new(
        poll: Poll,
        core: ShardCore,
        options: ShardOptions,
        inbox: Inbox,
        outlets: Outlets,
    ) -> Self {
        let now = Instant::now();
        Self {
            poll,
            core,
            sockets: Sockets::default(),
            options,
            inbox,
            outlets,
            wheel: Wheel::new(now),
            timers_max: TIMERS_MIN,
            read_again: Vec::new(),
            left: Vec::new(),
            closed_early: HashMap::new(),
            awaited: VecDeque::new(),
            fresh: Vec::new(),
            drain: None,
            draining: None,
            stats_at: now,
            buffer: vec![0; READ_BYTES],
            started: now,
            replay_in: None,
            stopped: false,
        }
    }

    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut more = false;
        while !self.stopped {
            let wait = if more { Duration::ZERO } else { self.wait() };
            match self.poll.poll(&mut events, Some(wait)) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => {
                    error!(error = %e, shard = self.outlets.index, "the shard's poll failed");
                    return;
                }
            }
            let now = Instant::now();
            for slot in std::mem::take(&mut self.read_again) {
                self.read(slot, now);
            }
            for event in &events {
                let slot = event.token().0;
                if event.is_readable() || event.is_read_closed() {
                    self.read(slot, now);
                }
                if event.is_writable() {
                    self.writable(slot);
                }
            }
            more = self.commands(now);
            self.timers(Instant::now());
            self.catch_up(now);
            more |= self.flush(now);
            self.tell_router();
            more |= !self.read_again.is_empty();
        }
    }

    fn wait(&self) -> Duration {
        let now = Instant::now();
        let wait = if self.left.is_empty() && self.drain.is_none() {
            self.wheel.next_look(now)
        } else {
            Duration::from_millis(10)
        };
        self.replay_in.map_or(wait, |replay_in| wait.min(replay_in))
    }

    /// The clocks, as the core wants them.
    fn clocks(&self, now: Instant) -> Now {
        let mono = now.saturating_duration_since(self.started).as_millis();
        Now { wall_ms: wall_ms(), mono_ms: u64::try_from(mono).unwrap_or(u64::MAX) }
    }

    /// Feeds those who catch up, puts cursors and marks behind what was routed, and carries out what the
    /// core wants.
    fn catch_up(&mut self, now: Instant) {
        let clocks = self.clocks(now);
        self.replay_in = self.core.replay(clocks).map(Duration::from_millis);
        self.core.settle(clocks);
        for want in self.core.take_wants() {
            match want {
                Want::History { topic, request } => {
                    if !self.outlets.ports.history.ask(self.outlets.index, &topic, request) {
                        let outcome = HistoryOutcome::Unavailable;
                        self.core.history(&HistoryReply { topic, request, outcome }, clocks);
                    }
                }
                Want::Snapshot { id, sub, definition } => {
                    let socket = self.core.slot(id).and_then(|slot| self.sockets.get(slot));
                    if let Some(socket) = socket {
                        socket.client.on_snapshot_wanted(sub.as_ref(), &definition);
                    }
                }
            }
        }
        for proof in self.core.take_proofs() {
            let socket = self.core.slot(proof.id).and_then(|slot| self.sockets.get(slot));
            if let Some(socket) = socket {
                socket.client.on_proof(&proof.positions, proof.busy);
            }
        }
    }

    /// Takes commands; true if there may be more.
    fn commands(&mut self, now: Instant) -> bool {
        self.inbox.signalled.store(false, Ordering::SeqCst);
        for _ in 0..COMMANDS_PER_TURN {
            if self.core.is_backlogged() {
                return true;
            }
            let Ok(command) = self.inbox.receiver.try_recv() else { return false };
            self.command(command, now);
        }
        true
    }

    fn command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Batch(items) => {
                let clocks = self.clocks(now);
                for item in items {
                    match &item {
                        ShardItem::Event(event) => self.fresh.push(event.time_ms),
                        ShardItem::Open(id, ..) => self.await_stream(*id, now),
                        _ => {}
                    }
                    self.core.apply(item, clocks);
                }
            }
            Command::Adopt(adoption) => self.adopt(*adoption, now),
            Command::Abort(id) => self.abort(id),
            Command::Writable(id) => {
                if let Some(slot) = self.core.slot(id) {
                    self.core.writable(slot);
                }
            }
            Command::Close(id, code) => {
                if let Some(slot) = self.core.slot(id) {
                    self.close(slot, code, None, now);
                }
            }
            Command::Restart(id, retry) => {
                if let Some(slot) = self.core.slot(id) {
                    let code = drain_code(self.core.framing(slot));
                    self.close(slot, code, Some(hint(id, retry)), now);
                }
            }
            Command::History(reply) => {
                let clocks = self.clocks(now);
                self.core.history(&reply, clocks);
            }
            Command::Snapshot(id, sub, outcome) => {
                let clocks = self.clocks(now);
                self.core.snapshot(id, sub.as_deref(), *outcome, clocks);
            }
            Command::Tell(id, json) => {
                if let Some(slot) = self.core.slot(id) {
                    self.react(slot, Inbound::React(Reaction::Tell(json)), now);
                }
            }
            Command::Drain { window, retry } => {
                let slots: Vec<_> = self.sockets.iter().map(|(slot, s)| (slot, s.id)).collect();
                let total = slots.len();
                self.draining = Some(retry);
                self.drain = Some(Drain { slots, total, started: now, window, retry });
            }
            Command::Stop => self.stopped = true,
        }
    }

    /// Whoever attached a connection hands its stream over or says that it never comes; should that word
    /// overtake the connection, or be lost, it is forgotten after the time that a silent client is given.
    fn await_stream(&mut self, id: ConnectionId, now: Instant) {
        let patience = self.options.ping_interval + self.options.pong_timeout;
        self.awaited.push_back((now + patience, id));
    }

    fn forget_awaited(&mut self, now: Instant) {
        while let Some(&(until, id)) = self.awaited.front() {
            let slot = self.core.slot(id).filter(|slot| self.sockets.get(*slot).is_none());
            // One that has its stream, or has gone, is no longer waited for.
            if slot.is_some() && until > now {
                return;
            }
            self.awaited.pop_front();
            if let Some(slot) = slot {
                self.closed_early.remove(&id);
                self.forget(slot);
            }
        }
    }

    fn adopt(&mut self, adoption: Adoption, now: Instant) {
        let Adoption { id, stream, early, client, permit } = adoption;
        let mut socket = Socket::new(id, stream, client, permit, &self.options, now);
        let Some(slot) = self.core.slot(id) else {
            // Aborted before its stream came.
            socket.tell_closed(Closed::Aborted);
            return;
        };
        let closed_early = self.closed_early.remove(&id);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Some(tcp) = socket.stream.tcp()
            && let Err(e) = self.poll.registry().register(tcp, Token(slot), interest)
        {
            error!(error = %e, connection_id = id.0, "a socket cannot be watched");
            socket.tell_closed(Closed::Aborted);
            self.forget(slot);
            return;
        }
        if let Some(code) = closed_early {
            socket.phase = Phase::Closing;
            socket.health_at = now + self.options.linger;
            socket.tell_closed(Closed::ByUs(code));
        }
        let closing = socket.phase == Phase::Closing;
        let next = socket.health_at;
        self.sockets.insert(slot, socket);
        self.set_timer(slot, next, now);
        self.core.adopt(id);
        if let Some(retry) = self.draining.filter(|_| !closing) {
            let code = drain_code(self.core.framing(slot));
            self.close(slot, code, Some(hint(id, retry)), now);
        }
        if !early.is_empty() {
            let mut early = Vec::from(early);
            self.input(slot, &mut early, now);
        }
        // A TLS session may hold bytes that the socket will never announce.
        self.read(slot, now);
    }

    fn abort(&mut self, id: ConnectionId) {
        let Some(slot) = self.core.slot(id) else { return };
        self.closed_early.remove(&id);
        if self.sockets.get(slot).is_some() {
            self.gone(slot, Closed::ByClient(None));
        } else {
            self.forget(slot);
        }
    }

    fn writable(&mut self, slot: usize) {
        let Some(socket) = self.sockets.get(slot) else { return };
        // It was full and has room again: its client reads, though the answer to a ping may be far behind.
        socket.heard = true;
        let finishing = socket.finishing && !socket.finished;
        match socket.stream.flush() {
            Ok(true) if finishing => self.finish(slot),
            Ok(true) => self.core.writable(slot),
            Ok(false) => {}
            Err(_) => self.gone(slot, Closed::ByClient(None)),
        }
    }

    /// Writes for a while; true if more is left.
    fn flush(&mut self, now: Instant) -> bool {
        // At least one slice, however long the rest of the turn took: else a flood of input or of events
        // would keep everybody's frames back.
        let until = Instant::now() + FLUSH_TIME;
        let mut more;
        loop {
            more = self.core.flush(WRITES_PER_SLICE, &mut self.sockets);
            for notice in self.core.take_notices() {
                self.notice(notice, now);
                // It may have left a close frame to write.
                more = true;
            }
            if !more || Instant::now() >= until {
                break;
            }
        }
        if !self.fresh.is_empty() {
            let wall = wall_ms();
            for time_ms in self.fresh.drain(..) {
                self.outlets.ports.observer.delivered(wall.saturating_sub(time_ms));
            }
        }
        for event in self.core.take_broken() {
            self.outlets.ports.observer.broken(&event);
        }
        more
    }

    fn notice(&mut self, notice: Notice, now: Instant) {
        match notice {
            Notice::Slow(slot) => self.close(slot, CloseCode::Slow, None, now),
            Notice::Judged(slot) => self.close(slot, CloseCode::Slow, None, now),
            Notice::Failed(slot) => self.gone(slot, Closed::ByClient(None)),
            Notice::Drained(slot) => match self.sockets.get(slot) {
                // Its reader sees the end once the sender is dropped.
                Some(socket) if socket.framing() == Framing::EventStream => {
                    self.gone(slot, Closed::ByClient(None));
                }
                // The client answers and closes; the linger timer ends it if it does not.
                Some(socket) => {
                    socket.finishing = true;
                    self.finish(slot);
                }
                None => self.forget(slot),
            },
        }
    }

    fn set_timer(&mut self, slot: usize, at: Instant, now: Instant) {
        let Some(socket) = self.sockets.get(slot) else { return };
        let mut at = at;
        if socket.phase == Phase::Open {
            let left = socket.client.expires_at().saturating_mul(1000).saturating_sub(wall_ms());
            let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
            at = at.min(now.checked_add(left).unwrap_or(at));
            let wanted = socket.client.wants_time_at().saturating_mul(1000);
            let left = u64::try_from(wanted.saturating_sub(wall_ms())).unwrap_or(0);
            at = at.min(now.checked_add(Duration::from_millis(left)).unwrap_or(at));
        }
        self.wheel.set(at, Entry { slot, connection: socket.id.0 });
        if self.wheel.len() > self.timers_max {
            self.drop_timers();
        }
    }

    /// Drops the timers of connections that have gone: they would stay until they are due, and a crowd
    /// that comes and goes may leave more than ever are connected.
    fn drop_timers(&mut self) {
        let sockets = &mut self.sockets;
        self.wheel.retain(|e| sockets.get(e.slot).is_some_and(|s| s.id.0 == e.connection));
        self.timers_max = (2 * self.wheel.len()).max(TIMERS_MIN);
    }

    fn timers(&mut self, now: Instant) {
        for entry in self.wheel.due(now) {
            let Some(socket) = self.sockets.get(entry.slot) else { continue };
            if socket.id.0 == entry.connection {
                self.check(entry.slot, now);
            }
        }
        self.forget_awaited(now);
        self.drain_some(now);
        if now >= self.stats_at {
            self.stats_at = now + TICK;
            if self.inbox.room_untold.swap(false, Ordering::SeqCst) {
                self.try_event_streams();
            }
            let mut stats =
                self.outlets.stats.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *stats = self.core.stats();
        }
    }

    /// Tries every event stream: somewhere there is room, and the queue had none for the word of it.
    fn try_event_streams(&mut self) {
        for (slot, socket) in self.sockets.iter() {
            if socket.framing() == Framing::EventStream {
                self.core.writable(slot);
            }
        }
    }

    fn check(&mut self, slot: usize, now: Instant) {
        let Some(socket) = self.sockets.get(slot) else { return };
        if socket.phase == Phase::Closing {
            // An earlier timer of the same socket may fire before its linger is over.
            let at = socket.health_at;
            if now >= at {
                self.gone(slot, Closed::ByClient(None));
            } else {
                self.set_timer(slot, at, now);
            }
            return;
        }
        if wall_ms() >= socket.client.expires_at().saturating_mul(1000) {
            self.close(slot, CloseCode::TokenExpired, None, now);
            return;
        }
        if wall_ms() >= socket.client.wants_time_at().saturating_mul(1000) {
            let reaction = socket.client.on_time(wall_ms());
            self.react(slot, Inbound::React(reaction), now);
        }
        let clocks = self.clocks(now);
        let Some(socket) = self.sockets.get(slot) else { return };
        let framing = socket.framing();
        match socket.check(&self.options, now) {
            Health::Silent => {
                self.gone(slot, Closed::Silent);
                return;
            }
            Health::Ping => {
                let mut frame = Vec::new();
                match framing {
                    Framing::WebSocket | Framing::V1 => {
                        let proof = self.core.keep_alive(slot, clocks);
                        tidewire_wire::ws::push_ping(&mut frame, &proof);
                    }
                    Framing::EventStream => tidewire_wire::sse::push_keep_alive(&mut frame),
                }
                self.core.send(slot, &frame, &mut self.sockets);
            }
            Health::Fine => {}
        }
        if let Some(at) = self.sockets.get(slot).map(|s| s.health_at) {
            self.set_timer(slot, at, now);
        }
    }

    fn tell_router(&mut self) {
        self.left.append(&mut self.core.take_detached());
        while let Some(detached) = self.left.pop() {
            if let Err(back) = self.outlets.ports.leavers.left(self.outlets.index, detached) {
                self.left.push(back);
                return;
            }
        }
    }
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
