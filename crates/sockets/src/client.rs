//! What a shard asks of whoever understands the clients' messages.

use std::sync::Arc;

use tidewire_event::{FrameId, Positions, TopicId};
use tidewire_fields::FieldMask;
use tidewire_log::HistoryRequest;
use tidewire_router::{RoutedEvent, ShardIndex, SnapshotId, SubId};
use tidewire_wire::definition::Definition;
use tidewire_wire::error::CloseCode;

/// The meaning of one connection: what its messages ask for, and what its end means. Called on the
/// shard's thread: it must not block.
pub trait Client: Send + Sync {
    /// A text message came. `now_ms` is the wall clock.
    fn on_text(&self, text: &str, now_ms: i64) -> Reaction;

    /// When the client's token expires, in seconds since the Unix epoch.
    fn expires_at(&self) -> i64;

    /// The connection is closing or gone; called once.
    fn on_closed(&self, why: Closed);

    /// The client has proven to have received everything before these positions; `busy` if something was
    /// sent since the proof before.
    fn on_proof(&self, _positions: &Arc<Positions>, _busy: bool) {}

    /// A subscription waits for a snapshot: [`crate::Command::Snapshot`] answers, whatever comes of it.
    fn on_snapshot_wanted(&self, _snapshot: SnapshotId, _definition: &Arc<Definition>) {}

    /// When [`Client::on_time`] wants to be called, in seconds since the Unix epoch.
    fn wants_time_at(&self) -> i64 {
        i64::MAX
    }

    /// The time has come. From here on [`Client::wants_time_at`] says another one, or never: it is asked
    /// again at once.
    fn on_time(&self, _now_ms: i64) -> Reaction {
        Reaction::Ignore
    }
}

/// What a message leads to.
#[derive(Debug)]
pub enum Reaction {
    /// Nothing.
    Ignore,
    /// A new field list is in force from here on; `None` is the message with the reference. The name is
    /// that of the subscription, where it has one.
    SetMask(Option<SubId>, Option<FieldMask>),
    /// The client is told when a record has passed its subscriptions.
    Await(FrameId),
    /// The client is closed.
    Close(CloseCode),
    /// The client is told this (JSON), and nothing else happens. Event streams cannot be told.
    Tell(Vec<u8>),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The client closed it, or its stream broke, with the code that it gave.
    ByClient(Option<u16>),
    /// It was closed from here.
    ByUs(CloseCode),
    /// Nothing came after a ping.
    Silent,
    /// It never came: the upgrade failed.
    Aborted,
}

/// Where a shard asks for records that are not in memory. It must not block.
pub trait HistoryDesk: Send + Sync {
    /// Takes a request, to be answered by [`crate::Command::History`]; false if there is no room for it.
    fn ask(&self, shard: ShardIndex, topic: &TopicId, request: HistoryRequest) -> bool;
}

/// Told what a shard sees of events.
pub trait Observer: Send + Sync {
    /// An event of this age, in milliseconds from its event time to now (negative where clocks differ),
    /// has been offered to the sockets of a shard.
    fn delivered(&self, age_ms: i64);

    /// A field list needed the body of this event, and it is broken: those sockets were told a gap.
    fn broken(&self, event: &RoutedEvent);
}
