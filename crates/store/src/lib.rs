//! The store port and its in-memory form.
//!
//! What must survive a reconnect to another replica (named sessions) or be shared between replicas
//! (one-time tickets) stands in a store behind these traits: `tidewire-redis` in production, the
//! [`MemoryStore`] in `tidewire dev` and in fast tests. Both pass the suite in `contract`.
//!
//! Invariants:
//! - The store holds nothing that may not be lost. A store that is away, emptied or behind after a
//!   failover costs a resume or a ticket, never a socket, a payload or a right.
//! - Whoever claims a session last owns it. Every later write is compare-and-set on the number and nonce
//!   of the claim, so that a replica which hung and woke cannot change a session that another one took,
//!   and a store that forgot a claim in a failover gives the session back to whom it belongs.
//! - Everything has a TTL.

mod book;
#[cfg(any(test, feature = "contract-tests"))]
pub mod contract;
mod error;
mod expiring;
mod memory;
mod session;
mod state;
mod status;
mod ticket;

use std::future::Future;
use std::pin::Pin;

pub use book::{
    BUSY_WRITE_MS, BookWrite, CHECK_MS, RELEASE_MS_MAX, RELEASES_MAX, SessionBook, WHOLE_WRITE_MS,
};
pub use error::StoreError;
pub use memory::{Clock, MemoryLimits, MemoryStore};
pub use session::{
    Claimed, FIELDS_BYTES_MAX, OwnerToken, POSITION_BYTES_MAX, SESSION_KEY_BYTES_MAX, SESSION_TTL,
    SessionId, SessionStore, SessionWrite, WriteOutcome, check_position, nonce_hex,
};
pub use state::SessionState;
pub use status::{StoreHealth, StoreStatus};
pub use ticket::{GRANT_BYTES_MAX, TicketStore, ticket_key};

/// A boxed future, so that the port is object-safe.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// All that a service wants of its store, as one object: `Arc<dyn Store>`.
pub trait Store: SessionStore + TicketStore + StoreStatus {}

impl<S: SessionStore + TicketStore + StoreStatus> Store for S {}
