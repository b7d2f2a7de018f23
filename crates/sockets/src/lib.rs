//! The sockets of a replica: shards of operating system threads, each with a mio poll and a slab of
//! connections; no task per socket.
//!
//! A shard owns a [`tidewire_router::ShardCore`] and the streams that belong to its slots. Everything it
//! is told comes through one ordered queue ([`Command`]): what the router has routed, streams that
//! were handed over, closings. Event streams (SSE) stay with the HTTP server; a shard reaches them
//! through a small bounded channel each.
//!
//! Invariants: a stream is touched by its shard's thread alone; a shard never waits but in its poll;
//! every connection has an entry in the timer wheel; no byte follows a close frame.

mod client;
mod event_stream;
mod handle;
mod options;
mod shard;
mod socket;
mod stream;
mod wheel;

pub use client::{Client, Closed, HistoryDesk, Observer, Reaction};
pub use event_stream::EventStreamBody;
pub use handle::{Adoption, Command, Leavers, Ports, ShardHandle, Shards};
pub use options::ShardOptions;
pub use stream::Stream;
