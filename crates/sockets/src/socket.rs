//! One socket, as its shard knows it.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidewire_router::{ConnectionId, Sink, Written};
use tidewire_wire::ws::Decoder;

use crate::client::{Client, Closed};
use crate::options::ShardOptions;
use crate::stream::{SharedBytes, Stream};

/// How far a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Frames go both ways.
    Open,
    /// The last frames are on their way; what comes in is read and ignored.
    Closing,
}

pub(crate) struct Socket {
    pub(crate) id: ConnectionId,
    pub(crate) stream: Stream,
    pub(crate) decoder: Decoder,
    pub(crate) client: Arc<dyn Client>,
    pub(crate) phase: Phase,
    /// When to look at its health next.
    pub(crate) health_at: Instant,
    /// True between a ping and the look at what came of it.
    pinged: bool,
    /// True if anything came since the ping, or the client made room for more.
    pub(crate) heard: bool,
    /// True once the client has ended its half of a stream that closes.
    pub(crate) ended: bool,
    /// True once all is written: our half is to end.
    pub(crate) finishing: bool,
    /// True once our half has ended.
    pub(crate) finished: bool,
    minute: (Instant, u32),
    told: bool,
    _permit: Box<dyn Any + Send>,
}

/// What a look at a socket's health asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Fine,
    Ping,
    Silent,
}

impl Socket {
    pub(crate) fn new(
        id: ConnectionId,
        stream: Stream,
        client: Arc<dyn Client>,
        permit: Box<dyn Any + Send>,
        options: &ShardOptions,
        now: Instant,
    ) -> Self {
        Self {
            id,
            stream,
            decoder: Decoder::default(),
            client,
            phase: Phase::Open,
            health_at: now + spread(id, options.ping_interval),
            pinged: false,
            heard: false,
            ended: false,
            finishing: false,
            finished: false,
            minute: (now, 0),
            told: false,
            _permit: permit,
        }
    }

    pub(crate) const fn is_event_stream(&self) -> bool {
        matches!(self.stream, Stream::Events(_))
    }

    /// Looks at the socket's health and says when to look again.
    pub(crate) fn check(&mut self, options: &ShardOptions, now: Instant) -> Health {
        if now < self.health_at {
            return Health::Fine;
        }
        if self.is_event_stream() {
            self.health_at = now + options.ping_interval;
            return Health::Ping;
        }
        if !self.pinged {
            self.pinged = true;
            self.heard = false;
            self.health_at = now + options.pong_timeout;
            return Health::Ping;
        }
        if !self.heard {
            return Health::Silent;
        }
        self.pinged = false;
        self.health_at = now + options.ping_interval.saturating_sub(options.pong_timeout);
        Health::Fine
    }

    /// Counts a message in; false if the client has sent too many.
    pub(crate) fn may_speak(&mut self, per_minute: u32, now: Instant) -> bool {
        let (since, count) = &mut self.minute;
        if now.saturating_duration_since(*since) >= Duration::from_secs(60) {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= per_minute
    }

    /// Tells the client of its end, once.
    pub(crate) fn tell_closed(&mut self, why: Closed) {
        if !self.told {
            self.told = true;
            self.client.on_closed(why);
        }
    }
}

/// A point in the interval that depends on the connection's number alone, so that sockets which came
/// together are not pinged together (Fibonacci hashing: neighbours land far apart).
pub(crate) fn spread(id: ConnectionId, interval: Duration) -> Duration {
    let hash = id.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let part = u32::try_from(hash).unwrap_or(u32::MAX);
    interval.mul_f64(f64::from(part) / f64::from(u32::MAX))
}

/// The sockets of a shard, by the slots of its core.
#[derive(Default)]
pub(crate) struct Sockets {
    slots: Vec<Option<Socket>>,
    shared: SharedBytes,
}

impl Sockets {
    pub(crate) fn insert(&mut self, slot: usize, socket: Socket) {
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(socket);
        }
    }

    pub(crate) fn get(&mut self, slot: usize) -> Option<&mut Socket> {
        self.slots.get_mut(slot)?.as_mut()
    }

    pub(crate) fn remove(&mut self, slot: usize) -> Option<Socket> {
        self.slots.get_mut(slot)?.take()
    }

    /// The slots in use.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Socket)> {
        self.slots.iter().enumerate().filter_map(|(slot, s)| Some((slot, s.as_ref()?)))
    }
}

impl Sink for Sockets {
    fn write(&mut self, slot: usize, bytes: &[u8]) -> Written {
        match self.slots.get_mut(slot) {
            Some(Some(socket)) => socket.stream.write(bytes, &mut self.shared),
            // Attached, and its stream not here yet: the core asks only for what is adopted.
            _ => Written::Failed,
        }
    }
}
