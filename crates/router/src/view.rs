//! Views: what many connections have in common.
//!
//! A view is a distinct (definition, field list, permission class, framing, name on the connection). It keeps an append-only log
//! of encoded frames and the list of its connections; a connection holds a position in that log, so a
//! burst is one contiguous write.
//!
//! The log is walked in circles over the members. A circle remembers where the log ended when it
//! began: once it is through, every member has passed that point, and what lies before it is freed. So
//! the log stays short even if events come faster than circles end, and even if members leave all the
//! time: a circle is never begun anew.
//!
//! Invariants: a position lies on the boundary of a frame; a member that would block holds its own queue,
//! and its position means nothing; `base <= circle_end <= end`; of the members, those before `cursor`
//! have passed `circle_end`, and so have those from `circle` on, which came after the circle began.

use std::sync::Arc;

use tidewire_event::Positions;
use tidewire_fields::FieldMask;
use tidewire_rights::PermissionClass;
use tidewire_wire::definition::Definition;
use tidewire_wire::{sse, v1, ws};

/// The number of a connection, unique in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// How frames are put on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// A WebSocket text message each.
    WebSocket,
    /// A `data:` block of a Server-Sent Events stream each.
    EventStream,
    /// A WebSocket text message of `tidewire.v1` each.
    V1,
}

impl Framing {
    /// The word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::EventStream => "sse",
            Self::V1 => "tidewire.v1",
        }
    }

    /// Where the frame ends of which the byte at `at` is not the first; `at` itself on a boundary.
    /// `bytes` begins with a frame.
    pub(crate) fn frame_end(self, bytes: &[u8], at: usize) -> usize {
        let mut end = 0;
        while end < at {
            let rest = bytes.get(end..).unwrap_or_default();
            let frame = match self {
                Self::WebSocket | Self::V1 => web_socket_frame(rest),
                Self::EventStream => rest.windows(2).position(|w| w == b"\n\n").map(|n| n + 2),
            };
            end += frame.unwrap_or(rest.len()).max(1);
        }
        end.min(bytes.len())
    }

    /// Appends one event with its framing; `body` is open JSON text without line breaks.
    pub(crate) fn push_event(self, out: &mut Vec<u8>, kind: EventKind, body: &[u8], suffix: &[u8]) {
        match self {
            Self::WebSocket => {
                ws::encode_text_header(out, body.len() + suffix.len());
                out.extend_from_slice(body);
                out.extend_from_slice(suffix);
            }
            Self::EventStream => sse::push_message(out, &[body, suffix]),
            Self::V1 => {
                let prefix = kind.prefix();
                let body = v1::frames::body_members(body);
                ws::encode_text_header(out, prefix.len() + body.len() + suffix.len());
                out.extend_from_slice(prefix);
                out.extend_from_slice(body);
                out.extend_from_slice(suffix);
            }
        }
    }
}

/// What an event's body is sent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// A change.
    Change,
    /// An object of a snapshot (`tidewire.v1`).
    Snapshot,
}

impl EventKind {
    const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Change => v1::frames::EVENT_PREFIX,
            Self::Snapshot => v1::frames::SNAPSHOT_PREFIX,
        }
    }
}

/// The length of the unmasked frame that `bytes` begins with (RFC 6455, section 5.2).
fn web_socket_frame(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [_, 126, a, b, ..] => Some(4 + usize::from(u16::from_be_bytes([*a, *b]))),
        [_, 127, a, b, c, d, e, f, g, h, ..] => {
            let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            usize::try_from(length).ok().map(|n| n + 10)
        }
        [_, short, ..] => Some(2 + usize::from(*short)),
        _ => None,
    }
}

/// What a client calls its subscription (`tidewire.v1`).
pub type SubId = Arc<str>;

/// What a connection is, whatever it subscribes to.
#[derive(Clone, Debug)]
pub struct Opening {
    /// How frames are put on its stream.
    pub framing: Framing,
    /// True if its client's pongs prove what it has received: it belongs to a named session.
    pub proves: bool,
    /// Frames that come before all others, framed already.
    pub greeting: Vec<u8>,
}

/// What becomes of a subscription whose frames cannot be written as fast as they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnSlow {
    /// The connection is closed, to resume later.
    #[default]
    Disconnect,
    /// Waiting frames of one object are merged.
    Conflate,
}

/// Where a subscription starts.
#[derive(Clone, Debug, Default)]
pub enum Start {
    /// At the router's positions of its registration.
    #[default]
    Now,
    /// At these: it reads what it missed first.
    At(Arc<Positions>),
    /// At the router's positions, after a gap: what it asked for cannot be had.
    Gap(v1::GapReason),
    /// Where the snapshot ends that is asked for: see [`crate::Want::Snapshot`].
    Snapshot,
}

/// What a connection subscribes to.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Which changes.
    pub definition: Arc<Definition>,
    /// Which fields; `None` is the message with the reference.
    pub mask: Option<FieldMask>,
    /// What its principal may read.
    pub class: PermissionClass,
    /// Its name on the connection: in `tidewire.v1` always, elsewhere never.
    pub sub: Option<SubId>,
    /// Where it starts.
    pub start: Start,
    /// Whether a snapshot follows a gap.
    pub snapshot: bool,
    /// What becomes of it if its client is slow.
    pub on_slow: OnSlow,
}

/// What makes two subscriptions one view.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ViewKey {
    pub(crate) definition: Arc<Definition>,
    pub(crate) mask: Option<FieldMask>,
    pub(crate) class: PermissionClass,
    pub(crate) framing: Framing,
    pub(crate) proves: bool,
    pub(crate) sub: Option<SubId>,
}

impl ViewKey {
    /// What stands behind the events of the view, and how often: see `shard/stamp.rs`.
    pub(crate) const fn stamps(&self) -> Stamps {
        match (self.framing, self.proves) {
            (Framing::WebSocket, false) => Stamps::None,
            (Framing::WebSocket, true) => Stamps::Marks,
            (Framing::EventStream | Framing::V1, _) => Stamps::Cursors,
        }
    }
}

/// What tells the clients of a view, or us, how far they have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamps {
    None,
    /// Pings, whose pongs prove what was received.
    Marks,
    /// Cursors.
    Cursors,
}

#[derive(Debug)]
pub(crate) struct View {
    pub(crate) key: ViewKey,
    /// The encoder's slot for (field list, permission class).
    pub(crate) encoder: usize,
    /// What closes every message of this definition.
    pub(crate) suffix: Arc<[u8]>,
    /// Encoded frames from `base` on.
    log: Vec<u8>,
    base: u64,
    /// Its live subscriptions, by their lanes, in no order.
    pub(crate) members: Vec<usize>,
    /// Those of them whose connection holds a queue of its own.
    pub(crate) queued: Vec<usize>,
    /// Members before it have been looked at in this circle.
    cursor: usize,
    /// How many members the circle goes over.
    circle: usize,
    /// Where the log ended when the circle began.
    circle_end: u64,
    /// True while it stands in the shard's list of views to flush.
    pub(crate) dirty: bool,
    /// The last event that was matched, so that one event is taken once.
    pub(crate) stamp: u64,
    /// How many of its subscriptions are catching up: they are no members.
    pub(crate) readers: usize,
    /// When the last mark or cursor was appended, in milliseconds of the owner's clock.
    pub(crate) stamped_at: u64,
    /// True while events wait for the mark or cursor behind them.
    pub(crate) unstamped: bool,
    /// True while the log is so long that the shard counts it.
    pub(crate) is_long: bool,
}

impl View {
    pub(crate) const fn new(key: ViewKey, encoder: usize, suffix: Arc<[u8]>) -> Self {
        Self {
            key,
            encoder,
            suffix,
            log: Vec::new(),
            base: 0,
            members: Vec::new(),
            queued: Vec::new(),
            cursor: 0,
            circle: 0,
            circle_end: 0,
            dirty: false,
            stamp: 0,
            readers: 0,
            stamped_at: 0,
            unstamped: false,
            is_long: false,
        }
    }

    /// Where the log ends.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.log.len() as u64
    }

    /// How many bytes the log holds.
    pub(crate) const fn log_bytes(&self) -> usize {
        self.log.len()
    }

    /// The frames from a position on.
    pub(crate) fn from(&self, position: u64) -> &[u8] {
        let start = usize::try_from(position.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.log.get(start..).unwrap_or_default()
    }

    /// What stands in the log from an index on.
    pub(crate) fn tail(&self, start: usize) -> &[u8] {
        self.log.get(start..).unwrap_or_default()
    }

    /// Appends frames through `write`, into a buffer from the pool if the view has none.
    pub(crate) fn append(&mut self, pool: &mut Vec<Vec<u8>>, write: impl FnOnce(&mut Vec<u8>)) {
        if self.log.capacity() == 0
            && let Some(buffer) = pool.pop()
        {
            self.log = buffer;
        }
        write(&mut self.log);
    }

    /// The member to look at next, or `None` once all have got everything. Call it only while `dirty`.
    pub(crate) fn next_member(&mut self) -> Option<usize> {
        if self.cursor >= self.circle.min(self.members.len()) {
            let through = usize::try_from(self.circle_end - self.base).unwrap_or(0);
            self.log.drain(..through.min(self.log.len()));
            self.base = self.circle_end;
            self.cursor = 0;
            self.circle = 0;
            if self.base == self.end() || self.members.is_empty() {
                return None;
            }
            self.circle = self.members.len();
            self.circle_end = self.end();
        }
        let member = self.members.get(self.cursor).copied();
        self.cursor += 1;
        member
    }

    /// Takes the buffer of a view that is through, for the pool.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        self.base = self.end();
        self.circle_end = self.base;
        self.cursor = 0;
        self.circle = 0;
        let mut buffer = std::mem::take(&mut self.log);
        buffer.clear();
        buffer
    }

    /// Removes the member at `index`; `moved` is told of each member that stands at another place now.
    pub(crate) fn remove_member(&mut self, index: usize, mut moved: impl FnMut(usize, usize)) {
        let mut hole = index;
        // The last member, which may not have been looked at yet, must not land among those that have.
        if index < self.cursor {
            self.cursor -= 1;
            hole = self.cursor;
            self.members.swap(index, hole);
            if index != hole
                && let Some(&passed) = self.members.get(index)
            {
                moved(passed, index);
            }
        }
        self.members.swap_remove(hole);
        if let Some(&last) = self.members.get(hole) {
            moved(last, hole);
        }
    }
}
