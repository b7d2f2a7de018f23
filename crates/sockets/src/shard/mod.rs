//! The loop of one shard.
//!
//! A turn: readiness, commands, timers, those who catch up, writing, the router's word of those who left.
//! Nothing that a turn has begun waits for the next tick: what timers and notices put into queues is
//! written in the same turn, or the poll does not wait.

mod arrival;
mod catch_up;
mod closing;
mod health;
mod inbound;

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::{Events, Poll, Token};
use tidewire_router::{ConnectionId, Detached, Notice, Now, ShardCore, ShardItem};
use tidewire_wire::error::CloseCode;

use self::closing::{Drain, drain_code, hint};
use self::health::TIMERS_MIN;
use self::inbound::Inbound;
use crate::client::{Closed, Reaction};
use crate::handle::{Command, Inbox, Outlets};
use crate::options::ShardOptions;
use crate::socket::Sockets;
use crate::wheel::Wheel;

/// The waker's token; slots never reach it.
pub(crate) const WAKE: Token = Token(usize::MAX);
/// Readiness events taken at a time.
const EVENTS_MAX: usize = 1024;
/// Bytes read at a time.
const READ_BYTES: usize = 16 * 1024;
/// Commands taken in a turn.
const COMMANDS_PER_TURN: usize = 64;
/// Writes in a slice: after it the clock is looked at.
const WRITES_PER_SLICE: usize = 32;
/// How long to sleep at most while the router has no room for the word of those who left, or all leave.
const BUSY_SLEEP: Duration = Duration::from_millis(10);
/// How long a turn may flush before it looks at new events and readiness.
const FLUSH_TIME: Duration = Duration::from_millis(1);

pub(crate) struct Shard {
    poll: Poll,
    core: ShardCore,
    sockets: Sockets,
    options: ShardOptions,
    inbox: Inbox,
    /// What the router has handed over last, as far as it is not applied yet: no other command is taken before.
    batch: std::vec::IntoIter<ShardItem>,
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
            batch: Vec::new().into_iter(),
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

    /// Runs until it is stopped.
    ///
    /// # Errors
    /// The poll failed: its sockets hear nothing any more, and the service ends.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut more = false;
        while !self.stopped {
            let wait = if more { Duration::ZERO } else { self.wait() };
            match self.poll.poll(&mut events, Some(wait)) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => {
                    let text = format!("the shard's poll failed: {e}");
                    return Err(io::Error::new(e.kind(), text));
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
            more |= self.core.take_room();
            self.tell_router();
            more |= !self.read_again.is_empty();
        }
        Ok(())
    }

    fn wait(&self) -> Duration {
        let now = Instant::now();
        let wait = if self.left.is_empty() && self.drain.is_none() {
            self.wheel.next_look(now)
        } else {
            BUSY_SLEEP
        };
        self.replay_in.map_or(wait, |replay_in| wait.min(replay_in))
    }

    /// The clocks, as the core wants them.
    fn clocks(&self, now: Instant) -> Now {
        let mono = now.saturating_duration_since(self.started).as_millis();
        Now { wall_ms: wall_ms(), mono_ms: u64::try_from(mono).unwrap_or(u64::MAX) }
    }

    /// Takes commands; true if there may be more.
    fn commands(&mut self, now: Instant) -> bool {
        self.inbox.signalled.store(false, Ordering::SeqCst);
        for _ in 0..COMMANDS_PER_TURN {
            if !self.routed(now) {
                return true;
            }
            let Ok(command) = self.inbox.receiver.try_recv() else { return false };
            self.command(command, now);
        }
        true
    }

    /// Applies what is left of the last batch; false if there has to be a flush before all of it is applied.
    fn routed(&mut self, now: Instant) -> bool {
        let clocks = self.clocks(now);
        while !self.core.is_backlogged() {
            let Some(item) = self.batch.next() else { return true };
            match &item {
                ShardItem::Event(event) => self.fresh.push(event.time_ms),
                ShardItem::Open(id, ..) => self.await_stream(*id, now),
                _ => {}
            }
            self.core.apply(item, clocks);
        }
        false
    }

    fn command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Batch(items) => {
                self.batch = items.into_iter();
                self.routed(now);
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
            Command::Snapshot(id, snapshot, outcome) => {
                let clocks = self.clocks(now);
                self.core.snapshot(id, snapshot, *outcome, clocks);
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
            // What waits was judged by rights that have gone, and is dropped as that of a slow one is.
            Notice::Slow(slot) | Notice::Judged(slot) => {
                self.close(slot, CloseCode::Slow, None, now);
            }
            Notice::Failed(slot) => self.gone(slot, Closed::ByClient(None)),
            Notice::Drained(slot) => match self.sockets.get(slot) {
                // Its reader sees the end once the sender is dropped.
                Some(socket) if socket.is_event_stream() => {
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
