//! Routing and fan-out without I/O: the core that a seeded simulator can drive.
//!
//! Two state machines, each with one owner thread in production:
//!
//! - [`Router`] takes records and registrations in one order and decides which shards get what. It knows
//!   the interest of the whole replica (route -> set of shards) and the position in each partition.
//! - [`ShardCore`] takes what the router hands it, in order, and knows views, connections and what each
//!   connection has still to be sent. Whoever owns the sockets gives it a [`Sink`] to write into.
//!
//! Invariants: a registration is applied between two records, so everything routed after it reaches its
//! shard behind its [`ShardItem::Attach`]; a connection sees the frames of its view in the order of
//! the log of each partition; an event is encoded once per (field list, permission class), never per
//! connection; nothing here waits, sleeps, reads a clock or touches a socket.

mod alert;
mod conflate;
mod decode;
mod encode;
mod event;
mod fold;
mod interest;
mod links;
mod matching;
mod queue;
mod recent;
mod router;
mod shard;
mod view;
mod window;

pub use alert::{Alert, AlertFault};
pub use decode::SOURCE_CAPTURE;
pub use event::{OwnerRef, RoutedEvent, TypeRoute};
pub use fold::{Fold, FoldTooLarge};
pub use interest::InterestTable;
pub use links::SelfLinks;
pub use router::{Poison, Routed, Router, RouterStats, ShardItem};
pub use shard::{
    Detached, HistoryOutcome, HistoryReply, Keep, Notice, Now, Proof, ShardCore, ShardLimits,
    ShardSettings, ShardStats, Sink, Snapshot, SnapshotId, Want, Written,
};
pub use view::{ConnectionId, Framing, OnSlow, Opening, Start, SubId, Subscription};
pub use window::{Found, Window};

/// The number of a shard of this replica, from 0.
pub type ShardIndex = u16;
/// Most shards a replica may have: a set of shards is a `u64`.
pub const SHARDS_MAX: usize = 64;
