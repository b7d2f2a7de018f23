//! The gateway: consumes the change topic and routes to the sockets that it holds.
//!
//! [`Gateway::start`] puts a replica together from ports (a log reader, a store, a verifier); [`wiring`]
//! alone knows the real adapters. The way of a change: `router_thread` (log -> shards), then
//! `tidewire-sockets` (shards -> sockets). The way of a client: `gate` (handshake -> registration ->
//! 101), then `client` (its messages).

mod admin;
mod admission;
mod caps;
mod client;
mod collect;
mod control;
mod gate;
mod gateway;
mod greeting;
mod health;
mod history;
mod objects;
mod options;
mod plane;
mod refused;
mod registry;
mod revocations;
mod router_thread;
mod scripts;
mod sessions;
mod shared;
mod snapshots;
mod tickets;
mod v1;
pub mod wiring;
pub mod worker;

pub use control::ControlTopic;
pub use gateway::{Gateway, StartError};
pub use options::{GatewayOptions, GatewayParts, PoisonSink};
pub use plane::TopicParts;
pub use snapshots::HistoryFactory;
