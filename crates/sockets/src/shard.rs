//! The loop of one shard.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::{Events, Interest, Poll, Token};
use tidewire_router::{ConnectionId, Detached, Framing, Keep, Notice, ShardCore, ShardItem};
use tidewire_wire::error::CloseCode;
use tidewire_wire::ws::Message;
use tracing::{debug, error};

use crate::client::{Closed, Reaction};
use crate::handle::{Adoption, Command, Inbox, Outlets};
use crate::options::ShardOptions;
use crate::socket::{Health, Phase, Socket, Sockets};
use crate::stream::ReadOutcome;
use crate::wheel::{Entry, TICK, Wheel};

/// The waker's token; slots never reach it.
pub(crate) const WAKE: Token = Token(usize::MAX);
/// Readiness events taken at a time.
const EVENTS_MAX: usize = 1024;
/// Bytes read at a time.
const READ_BYTES: usize = 16 * 1024;
/// Reads from one socket in a turn; the rest waits for the next one.
const READS_PER_TURN: usize = 8;
/// Commands taken in a turn.
const COMMANDS_PER_TURN: usize = 64;
/// Writes in a slice: after it the clock is looked at.
const WRITES_PER_SLICE: usize = 32;
/// How long a turn may flush before it looks at new events and readiness.
const FLUSH_TIME: Duration = Duration::from_millis(1);

/// What a client's bytes led to.
enum Inbound {
    React(Reaction),
    Pong(Vec<u8>),
    Close(Option<u16>),
    Refuse(CloseCode),
}

struct Drain {
    slots: Vec<(usize, ConnectionId)>,
    total: usize,
    started: Instant,
    window: Duration,
    retry: Duration,
}

pub(crate) struct Shard {
    poll: Poll,
    core: ShardCore,
    sockets: Sockets,
    options: ShardOptions,
    inbox: Inbox,
    outlets: Outlets,
    wheel: Wheel,
    read_again: Vec<usize>,
    /// Subscriptions that have ended, until the router has room for the word.
    left: Vec<Detached>,
    /// Event times of what was routed since the last flush.
    fresh: Vec<i64>,
    drain: Option<Drain>,
    /// True from the beginning of a drain to the end.
    draining: bool,
    stats_at: Instant,
    buffer: Vec<u8>,
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
            read_again: Vec::new(),
            left: Vec::new(),
            fresh: Vec::new(),
            drain: None,
            draining: false,
            stats_at: now,
            buffer: vec![0; READ_BYTES],
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
            more |= self.flush(now);
            self.timers(Instant::now());
            self.tell_router();
            more |= !self.read_again.is_empty();
        }
    }

    fn wait(&self) -> Duration {
        let now = Instant::now();
        if self.left.is_empty() && self.drain.is_none() {
            self.wheel.next_look(now)
        } else {
            Duration::from_millis(10)
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
                let wall = wall_ms();
                for item in items {
                    if let ShardItem::Event(event) = &item {
                        self.fresh.push(event.time_ms);
                    }
                    self.core.apply(item, wall);
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
            Command::Drain { window, retry } => {
                let slots: Vec<_> = self.sockets.iter().map(|(slot, s)| (slot, s.id)).collect();
                let total = slots.len();
                self.draining = true;
                self.drain = Some(Drain { slots, total, started: now, window, retry });
            }
            Command::Stop => self.stopped = true,
        }
    }

    fn adopt(&mut self, adoption: Adoption, now: Instant) {
        let Adoption { id, stream, early, client, permit } = adoption;
        let mut socket = Socket::new(id, stream, client, permit, &self.options, now);
        let Some(slot) = self.core.slot(id) else {
            // Closed before its stream came.
            socket.tell_closed(Closed::Aborted);
            return;
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Some(tcp) = socket.stream.tcp()
            && let Err(e) = self.poll.registry().register(tcp, Token(slot), interest)
        {
            error!(error = %e, connection_id = id.0, "a socket cannot be watched");
            socket.tell_closed(Closed::Aborted);
            self.forget(slot);
            return;
        }
        let next = socket.health_at;
        self.sockets.insert(slot, socket);
        self.set_timer(slot, next, now);
        self.core.adopt(id);
        if self.draining {
            self.close(slot, CloseCode::Restart, Some(Duration::ZERO), now);
            return;
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
        if self.sockets.get(slot).is_some() {
            self.gone(slot, Closed::ByClient(None));
        } else {
            self.forget(slot);
        }
    }

    fn writable(&mut self, slot: usize) {
        let Some(socket) = self.sockets.get(slot) else { return };
        match socket.stream.flush() {
            Ok(true) => self.core.writable(slot),
            Ok(false) => {}
            Err(_) => self.gone(slot, Closed::ByClient(None)),
        }
    }

    fn read(&mut self, slot: usize, now: Instant) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut turns = READS_PER_TURN;
        while let Some(socket) = self.sockets.get(slot) {
            if turns == 0 {
                self.read_again.push(slot);
                break;
            }
            turns -= 1;
            match socket.stream.read(&mut buffer) {
                ReadOutcome::Bytes(n) => {
                    if let Some(bytes) = buffer.get_mut(..n) {
                        self.input(slot, bytes, now);
                    }
                }
                ReadOutcome::Blocked => break,
                ReadOutcome::Ended => {
                    self.gone(slot, Closed::ByClient(None));
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    fn input(&mut self, slot: usize, bytes: &mut [u8], now: Instant) {
        let Some(socket) = self.sockets.get(slot) else { return };
        socket.heard = true;
        if socket.phase != Phase::Open {
            return;
        }
        let mut inbound = Vec::new();
        let mut decoder = std::mem::take(&mut socket.decoder);
        let per_minute = self.options.inbound_messages_per_minute;
        let fed = decoder.feed(bytes, &self.options.limits, &mut |message| {
            let counts = matches!(message, Message::Text(_) | Message::Ping(_));
            if counts && !socket.may_speak(per_minute, now) {
                inbound.push(Inbound::Refuse(CloseCode::OverLimit));
                return ControlFlow::Break(());
            }
            match message {
                Message::Text(text) => {
                    inbound.push(Inbound::React(socket.client.on_text(text, wall_ms())));
                }
                Message::Binary => inbound.push(Inbound::Refuse(CloseCode::BinaryFrame)),
                Message::Ping(payload) => inbound.push(Inbound::Pong(payload.to_vec())),
                Message::Pong(_) => {}
                Message::Close { code, .. } => inbound.push(Inbound::Close(code)),
            }
            ControlFlow::Continue(())
        });
        socket.decoder = decoder;
        if let Err(e) = fed {
            debug!(error = %e, connection_id = socket.id.0, "a client broke the protocol");
            inbound.push(Inbound::Refuse(CloseCode::from(e)));
        }
        for what in inbound {
            self.react(slot, what, now);
        }
    }

    fn react(&mut self, slot: usize, what: Inbound, now: Instant) {
        let mut frame = Vec::new();
        match what {
            Inbound::React(Reaction::Ignore) => {}
            Inbound::React(Reaction::SetMask(mask)) => self.core.set_mask(slot, mask),
            Inbound::React(Reaction::Tell(json)) => {
                tidewire_wire::ws::push_text(&mut frame, &json);
                self.core.send(slot, &frame, &mut self.sockets);
            }
            Inbound::Pong(payload) => {
                tidewire_wire::ws::push_pong(&mut frame, &payload);
                self.core.send(slot, &frame, &mut self.sockets);
            }
            Inbound::Close(code) => {
                // RFC 6455, section 5.5.1: the answer echoes the code.
                tidewire_wire::ws::push_close(&mut frame, code.unwrap_or(1000), "");
                self.begin_close(slot, Closed::ByClient(code), Keep::Nothing, &frame, now);
            }
            Inbound::Refuse(code) => self.close(slot, code, None, now),
        }
    }

    /// Closes a connection with a code; `retry` is the hint of a drain.
    fn close(&mut self, slot: usize, code: CloseCode, retry: Option<Duration>, now: Instant) {
        let Some(socket) = self.sockets.get(slot) else {
            self.forget(slot);
            return;
        };
        let mut last = Vec::new();
        match (socket.framing(), retry) {
            (Framing::WebSocket, Some(retry)) => {
                let reason = format!("retry in {} ms", retry.as_millis());
                tidewire_wire::ws::push_close(&mut last, code.number(), &reason);
            }
            (Framing::WebSocket, None) => {
                tidewire_wire::ws::push_close(&mut last, code.number(), code.name());
            }
            (Framing::EventStream, retry) => {
                let retry = retry.map_or(0, |r| u64::try_from(r.as_millis()).unwrap_or(0));
                tidewire_wire::sse::push_retry(&mut last, retry.max(1));
            }
        }
        let keep = match code {
            CloseCode::Slow | CloseCode::Revoked | CloseCode::Forbidden => Keep::Nothing,
            _ => Keep::Pending,
        };
        self.begin_close(slot, Closed::ByUs(code), keep, &last, now);
    }

    fn begin_close(&mut self, slot: usize, why: Closed, keep: Keep, last: &[u8], now: Instant) {
        let Some(socket) = self.sockets.get(slot) else { return };
        if socket.phase == Phase::Closing {
            return;
        }
        socket.phase = Phase::Closing;
        socket.tell_closed(why);
        let at = now + self.options.linger;
        socket.health_at = at;
        if let Some(detached) = self.core.close(slot, keep, last) {
            self.left.push(detached);
        }
        self.set_timer(slot, at, now);
    }

    /// The stream is gone: forgets all of the connection.
    fn gone(&mut self, slot: usize, why: Closed) {
        if let Some(mut socket) = self.sockets.remove(slot) {
            socket.tell_closed(why);
            if let Some(tcp) = socket.stream.tcp() {
                // It is closed with the drop below; that ends the watch as well.
                let _ = self.poll.registry().deregister(tcp);
            }
        }
        self.forget(slot);
    }

    fn forget(&mut self, slot: usize) {
        if let Some(detached) = self.core.remove(slot) {
            self.left.push(detached);
        }
    }

    /// Writes for a while; true if more is left.
    fn flush(&mut self, now: Instant) -> bool {
        let until = now + FLUSH_TIME;
        let mut more = true;
        while more && Instant::now() < until {
            more = self.core.flush(WRITES_PER_SLICE, &mut self.sockets);
            for notice in self.core.take_notices() {
                self.notice(notice, now);
            }
        }
        if !self.fresh.is_empty() {
            let wall = wall_ms();
            for time_ms in self.fresh.drain(..) {
                self.outlets.observer.delivered(wall.saturating_sub(time_ms));
            }
        }
        more
    }

    fn notice(&mut self, notice: Notice, now: Instant) {
        match notice {
            Notice::Slow(slot) => self.close(slot, CloseCode::Slow, None, now),
            Notice::Failed(slot) => self.gone(slot, Closed::ByClient(None)),
            Notice::Drained(slot) => match self.sockets.get(slot) {
                // Its reader sees the end once the sender is dropped.
                Some(socket) if socket.framing() == Framing::EventStream => {
                    self.gone(slot, Closed::ByClient(None));
                }
                // The client answers and closes; the linger timer ends it if it does not.
                Some(socket) => socket.stream.finish(),
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
        }
        self.wheel.set(at, Entry { slot, connection: socket.id.0 });
    }

    fn timers(&mut self, now: Instant) {
        for entry in self.wheel.due(now) {
            let Some(socket) = self.sockets.get(entry.slot) else { continue };
            if socket.id.0 == entry.connection {
                self.check(entry.slot, now);
            }
        }
        self.drain_some(now);
        if now >= self.stats_at {
            self.stats_at = now + TICK;
            let mut stats =
                self.outlets.stats.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *stats = self.core.stats();
        }
    }

    fn check(&mut self, slot: usize, now: Instant) {
        let Some(socket) = self.sockets.get(slot) else { return };
        if socket.phase == Phase::Closing {
            // An earlier timer of the same socket may fire before its linger is over.
            if now >= socket.health_at {
                self.gone(slot, Closed::ByClient(None));
            }
            return;
        }
        if wall_ms() >= socket.client.expires_at().saturating_mul(1000) {
            self.close(slot, CloseCode::TokenExpired, None, now);
            return;
        }
        let framing = socket.framing();
        match socket.check(&self.options, now) {
            Health::Silent => {
                self.gone(slot, Closed::Silent);
                return;
            }
            Health::Ping => {
                let mut frame = Vec::new();
                match framing {
                    Framing::WebSocket => tidewire_wire::ws::push_ping(&mut frame, b""),
                    Framing::EventStream => tidewire_wire::sse::push_keep_alive(&mut frame),
                }
                self.core.send(slot, &frame, &mut self.sockets);
                // In case the word of room in an event stream was lost.
                if framing == Framing::EventStream {
                    self.core.writable(slot);
                }
            }
            Health::Fine => {}
        }
        if let Some(at) = self.sockets.get(slot).map(|s| s.health_at) {
            self.set_timer(slot, at, now);
        }
    }

    /// Closes as many as are due by now, evenly over the window.
    fn drain_some(&mut self, now: Instant) {
        let Some(mut drain) = self.drain.take() else { return };
        let passed = now.saturating_duration_since(drain.started);
        let part = if drain.window.is_zero() {
            1.0
        } else {
            (passed.as_secs_f64() / drain.window.as_secs_f64()).min(1.0)
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a count of sockets"
        )]
        let keep = drain.total - (drain.total as f64 * part).ceil() as usize;
        while drain.slots.len() > keep {
            let Some((slot, id)) = drain.slots.pop() else { break };
            let retry = drain.retry.mul_f64((drain.slots.len() % 997) as f64 / 997.0);
            if self.sockets.get(slot).is_some_and(|s| s.id == id) {
                self.close(slot, CloseCode::Restart, Some(retry), now);
            }
        }
        if !drain.slots.is_empty() {
            self.drain = Some(drain);
        }
    }

    fn tell_router(&mut self) {
        while let Some(detached) = self.left.pop() {
            if let Err(back) = self.outlets.leavers.left(self.outlets.index, detached) {
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
