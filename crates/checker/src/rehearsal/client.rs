//! Sockets: what they ask for, and what waits on its way to them.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use super::log::Record;
use super::produce::TENANTS;
use crate::{
    CursorNumber, Events, Fields, Keys, Mode, Operation, Stamp, Subscription, Transcript, Types,
};

/// Next offsets in one life of the topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) life: u32,
    pub(super) next: Vec<u64>,
}

/// What waits for a socket.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Message {
        record: Record,
        operation: Operation,
        text: String,
    },
    /// `subscribed`, a notice, a gap, an object of a snapshot.
    Text(String),
    /// A cursor, by its place in the world's list.
    Cursor(usize),
    /// A ping whose pong proves this position.
    Ping(Position),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) replica: usize,
    pub(super) position: Position,
    pub(super) is_registered: bool,
    /// Waits in the gateway.
    pub(super) queue: VecDeque<Item>,
    /// Written, and lost if the link breaks.
    pub(super) wire: VecDeque<Item>,
    pub(super) expires: Option<Stamp>,
    /// What was put into its queue: the second record of a change is dropped by whoever had the first.
    pub(super) fed: HashSet<Record>,
}

/// A client over all its connections.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) transcript: Transcript,
    pub(super) subscription: Subscription,
    pub(super) snapshot: bool,
    pub(super) link: Option<Link>,
    /// What the session store holds.
    pub(super) stored: Option<Position>,
    /// The client does not know yet that its session began anew.
    pub(super) is_untold: bool,
    /// The cursors that it was given: their numbers, and their places in the world's list.
    pub(super) cursors: Vec<(CursorNumber, usize)>,
    /// What was ever put into its queues, on any connection.
    pub(super) fed: HashSet<Record>,
}

impl Socket {
    /// The number of its definition, below 2^53.
    pub(super) fn definition(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.subscription.definition().hash(&mut hasher);
        hasher.finish() >> 11
    }

    pub(super) fn mode(&self) -> Mode {
        self.transcript.mode()
    }
}

/// One socket of each kind that differs.
pub(super) fn sockets() -> Vec<Socket> {
    let [north, south] = TENANTS;
    let of = |tenant: &str, kind: &str, events: &str| {
        let types = if kind == "*" { Types::Any } else { Types::One(kind.into()) };
        Subscription { types, events: Events::of(events), ..Subscription::of_type(tenant, kind) }
    };
    let fields = |sub: Subscription| Subscription {
        fields: Fields::Plain(vec!["speed".into(), "seq".into()]),
        ..sub
    };
    let keyed = |keys: &[u64], sub: Subscription| Subscription {
        keys: Keys::numbers(keys.iter().copied()),
        ..sub
    };
    let alone = |sub| Subscription { only_main_object: true, ..sub };
    let conflating = |sub| Subscription { conflates: true, ..sub };
    let restricted = |sub| {
        let readable: HashSet<Arc<str>> = ["Voyage".into(), "PortCall".into()].into();
        Subscription { readable: Some(readable), ..sub }
    };
    let all: [(Mode, bool, Subscription); 16] = [
        (Mode::Plain, false, of(north, "Voyage", "CUD")),
        (Mode::Plain, false, keyed(&[11, 12], fields(of(south, "PortCall", "U")))),
        (Mode::Session, false, fields(of(north, "Voyage", "CUD"))),
        (Mode::Session, false, of(north, "PortCall", "CUD")),
        (Mode::Session, false, restricted(of(south, "*", "CUD"))),
        (Mode::Session, false, restricted(keyed(&[1, 2], of(south, "Voyage", "U")))),
        (Mode::V1, false, conflating(of(north, "Voyage", "CUD"))),
        (Mode::V1, false, conflating(fields(of(north, "PortCall", "CUD")))),
        (Mode::V1, false, restricted(of(north, "*", "CUD"))),
        (Mode::V1, true, fields(of(south, "PortCall", "CUD"))),
        (Mode::V1, true, alone(conflating(of(south, "Cargo", "CUD")))),
        (Mode::Sse, false, fields(of(north, "Voyage", "CUD"))),
        (Mode::Sse, false, restricted(keyed(&[1, 11, 12], of(south, "*", "U")))),
        (Mode::V1, false, alone(conflating(fields(of(north, "Voyage", "CD"))))),
        (Mode::V1, true, fields(of(north, "PortCall", "CUD"))),
        (Mode::V1, true, of(north, "Cargo", "CUD")),
    ];
    all.into_iter()
        .enumerate()
        .map(|(number, (mode, snapshot, mut subscription))| {
            if mode == Mode::V1 {
                subscription.id = "a".to_owned();
            }
            let name = format!("{number}-{}", mode.name());
            Socket {
                transcript: Transcript::new(&name, mode, vec![subscription.clone()]),
                subscription,
                snapshot,
                link: None,
                stored: None,
                is_untold: false,
                cursors: Vec::new(),
                fed: HashSet::new(),
            }
        })
        .collect()
}
