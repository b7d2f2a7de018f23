//! What one socket was told, over all its connections, in the order in which it came.
//!
//! A frame is reduced to 40 bytes as it comes: whose, which record, which object, and a hash of its bytes.

use std::collections::HashMap;

use crate::frame::{Frame, Message, read_documented, read_v1};
use crate::{FrameId, Object, Operation, Stamp, Subscription};

/// Malformed frames beyond this are counted only.
const MALFORMED_MAX: usize = 20;
/// So much of a malformed frame is kept.
const MALFORMED_CHARS_MAX: usize = 300;

/// How a client speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Documented frames, nothing kept over a reconnect.
    Plain,
    /// Documented frames and a named session.
    Session,
    /// `tidewire.v1`.
    V1,
    /// Server-Sent Events.
    Sse,
}

impl Mode {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Session => "session",
            Self::V1 => "v1",
            Self::Sse => "sse",
        }
    }
}

/// The number of a cursor: how many came before it on this socket, over all connections.
pub type CursorNumber = u32;

/// Where a subscription asks to start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// Now.
    Now,
    /// Where its named session stands; the first frame says what became of that.
    Session,
    /// At a cursor that it was given.
    Cursor(CursorNumber),
}

/// What a frame says to the client itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A change.
    Event {
        /// Which record.
        id: FrameId,
    },
    /// The documented error shape: a session's state, a gap, a refusal.
    Notice {
        /// Its status.
        status: u16,
        /// Its message.
        message: String,
    },
    /// The subscription is accepted.
    Subscribed {
        /// Which one.
        sub: String,
        /// Where it starts, and the number to name that by.
        cursor: Option<(CursorNumber, String)>,
    },
    /// Where these subscriptions can go on.
    Cursor {
        /// Which ones.
        subs: Vec<String>,
        /// The number to name it by.
        number: CursorNumber,
        /// The cursor.
        cursor: String,
    },
    /// Changes may be missing.
    Gap {
        /// Of which subscription.
        sub: String,
    },
    /// The server goes.
    GoAway {
        /// When to come back.
        retry_ms: u64,
    },
    /// A refusal in `tidewire.v1`.
    Refused {
        /// Of which subscription, if of one.
        sub: Option<String>,
        /// Its status.
        status: u16,
        /// Its message.
        message: String,
    },
    /// Nothing that a client needs to act on.
    Other,
    /// A frame that no documentation describes.
    Malformed(String),
}

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry {
    Connected {
        at: Stamp,
        replica: u16,
        expires: Option<Stamp>,
    },
    Starts {
        sub: u16,
        start: Start,
    },
    Subscribed {
        at: Stamp,
        sub: u16,
    },
    Notice {
        at: Stamp,
        status: u16,
    },
    Event(Seen),
    /// `subs` is a place in [`Transcript::cursor_subs`].
    Cursor {
        number: CursorNumber,
        subs: u32,
    },
    Gap {
        at: Stamp,
        sub: u16,
    },
    SnapshotEnd {
        sub: u16,
    },
    Token {
        expires: Option<Stamp>,
    },
    Closed {
        at: Stamp,
        code: Option<u16>,
    },
    Left {
        at: Stamp,
    },
}

/// A message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Stamp,
    pub(crate) id: FrameId,
    pub(crate) hash: u64,
    /// A place in [`Transcript::objects`].
    pub(crate) object: u32,
    pub(crate) sub: u16,
    pub(crate) operation: Operation,
    pub(crate) in_snapshot: bool,
}

/// The record of one socket.
#[derive(Debug)]
pub struct Transcript {
    pub(crate) name: String,
    pub(crate) mode: Mode,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) objects: Vec<Object>,
    pub(crate) cursor_subs: Vec<Vec<u16>>,
    /// (subscription, definition number, base of links): each combination that came, once.
    pub(crate) definitions: Vec<(u16, u64, String)>,
    /// Malformed frames, and frames of subscriptions that do not exist.
    pub(crate) malformed: Vec<String>,
    pub(crate) malformed_count: u64,
    pub(crate) conflated: u64,
    object_numbers: HashMap<Object, u32>,
    cursors: CursorNumber,
}

impl Transcript {
    /// Of a socket with these subscriptions; all but `tidewire.v1` have exactly one.
    #[must_use]
    pub fn new(name: &str, mode: Mode, subscriptions: Vec<Subscription>) -> Self {
        Self {
            name: name.to_owned(),
            mode,
            subscriptions,
            entries: Vec::new(),
            objects: Vec::new(),
            cursor_subs: Vec::new(),
            definitions: Vec::new(),
            malformed: Vec::new(),
            malformed_count: 0,
            conflated: 0,
            object_numbers: HashMap::new(),
            cursors: 0,
        }
    }

    /// Its subscriptions.
    #[must_use]
    pub fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// How it speaks.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The handshake was answered: `onopen`. Its token is good until `expires`.
    pub fn connected(&mut self, at: Stamp, replica: u16, expires: Option<Stamp>) {
        self.entries.push(Entry::Connected { at, replica, expires });
    }

    /// Where a subscription (by its place) asked to start. Comes after [`Self::connected`]; a documented
    /// socket is live from there (but for what its session says), one of `tidewire.v1` from `subscribed`.
    pub fn starts(&mut self, sub: usize, start: Start) {
        let sub = u16::try_from(sub).unwrap_or(u16::MAX);
        self.entries.push(Entry::Starts { sub, start });
    }

    /// A text frame, or the data of a message of an event stream, as it came.
    pub fn text(&mut self, at: Stamp, raw: &str) -> Told {
        let read = match self.mode {
            Mode::V1 => read_v1(raw),
            Mode::Plain | Mode::Session | Mode::Sse => read_documented(raw),
        };
        match read.and_then(|frame| self.take(at, frame)) {
            Ok(told) => told,
            Err(problem) => {
                self.malformed_count += 1;
                if self.malformed.len() < MALFORMED_MAX {
                    let shown: String = raw.chars().take(MALFORMED_CHARS_MAX).collect();
                    self.malformed.push(format!("{problem}: {shown}"));
                }
                Told::Malformed(problem)
            }
        }
    }

    /// An `id:` block of an event stream: a cursor.
    pub fn stream_cursor(&mut self, cursor: &str) -> Told {
        self.cursor(vec![0], Vec::new(), cursor.to_owned())
    }

    /// The socket showed a new token.
    pub fn token(&mut self, expires: Option<Stamp>) {
        self.entries.push(Entry::Token { expires });
    }

    /// The connection ended; `code` is what the close frame said.
    pub fn closed(&mut self, at: Stamp, code: Option<u16>) {
        self.entries.push(Entry::Closed { at, code });
    }

    /// The client went for good, by its own will: nothing is owed after this.
    pub fn left(&mut self, at: Stamp) {
        self.entries.push(Entry::Left { at });
    }

    fn take(&mut self, at: Stamp, frame: Frame) -> Result<Told, String> {
        Ok(match frame {
            Frame::Message { message, sub, in_snapshot } => {
                let sub = self.place(&sub)?;
                let id = message.id;
                self.message(at, sub, message, in_snapshot);
                Told::Event { id }
            }
            Frame::Notice { status, message } => {
                self.entries.push(Entry::Notice { at, status });
                Told::Notice { status, message }
            }
            Frame::Subscribed { sub, cursor } => {
                let place = self.place(&sub)?;
                self.entries.push(Entry::Subscribed { at, sub: place });
                let number = self.cursors;
                if let Some(cursor) = &cursor {
                    self.cursor(vec![place], Vec::new(), cursor.clone());
                }
                Told::Subscribed { sub, cursor: cursor.map(|cursor| (number, cursor)) }
            }
            Frame::Live { sub, cursor } => match cursor {
                Some(cursor) => self.cursor(vec![self.place(&sub)?], vec![sub], cursor),
                None => Told::Other,
            },
            Frame::Cursor { subs, cursor } => {
                let places: Result<Vec<u16>, String> =
                    subs.iter().map(|sub| self.place(sub)).collect();
                self.cursor(places?, subs, cursor)
            }
            Frame::Gap { sub } => {
                let place = self.place(&sub)?;
                self.entries.push(Entry::Gap { at, sub: place });
                Told::Gap { sub }
            }
            Frame::Conflated { sub, count } => {
                self.place(&sub)?;
                self.conflated += count;
                Told::Other
            }
            Frame::SnapshotEnd { sub, .. } => {
                let sub = self.place(&sub)?;
                self.entries.push(Entry::SnapshotEnd { sub });
                Told::Other
            }
            Frame::GoAway { retry_ms } => Told::GoAway { retry_ms },
            Frame::Error { sub, status, message } => Told::Refused { sub, status, message },
            Frame::Other => Told::Other,
        })
    }

    /// The place of a subscription by its id.
    fn place(&self, id: &str) -> Result<u16, String> {
        let place = match self.mode {
            Mode::V1 => self.subscriptions.iter().position(|sub| sub.id == id),
            Mode::Plain | Mode::Session | Mode::Sse => Some(0),
        };
        let place = place.and_then(|place| u16::try_from(place).ok());
        place.ok_or_else(|| format!("there is no subscription '{id}'"))
    }

    fn cursor(&mut self, places: Vec<u16>, subs: Vec<String>, cursor: String) -> Told {
        let number = self.cursors;
        self.cursors += 1;
        // Mostly all subscriptions of the socket together, or one.
        let known = self.cursor_subs.iter().position(|known| *known == places);
        let at = known.unwrap_or_else(|| {
            self.cursor_subs.push(places);
            self.cursor_subs.len() - 1
        });
        self.entries.push(Entry::Cursor { number, subs: u32::try_from(at).unwrap_or(u32::MAX) });
        Told::Cursor { subs, number, cursor }
    }

    fn message(&mut self, at: Stamp, sub: u16, message: Message, in_snapshot: bool) {
        let Message { id, object, operation, hash, definition, base } = message;
        let known = |(s, d, b): &(u16, u64, String)| *s == sub && *d == definition && *b == base;
        if !self.definitions.iter().any(known) && self.definitions.len() < MALFORMED_MAX {
            self.definitions.push((sub, definition, base));
        }
        let object = match self.object_numbers.get(&object) {
            Some(&number) => number,
            None => {
                let number = u32::try_from(self.objects.len()).unwrap_or(u32::MAX);
                self.objects.push(object.clone());
                self.object_numbers.insert(object, number);
                number
            }
        };
        self.entries.push(Entry::Event(Seen { at, id, hash, object, sub, operation, in_snapshot }));
    }
}
