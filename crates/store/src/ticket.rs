//! One-time tickets: a ticket stands where a token would, for one connection.

use std::fmt::Write as _;
use std::time::Duration;

use crate::{BoxFuture, StoreError};

/// Most bytes of a grant.
pub const GRANT_BYTES_MAX: usize = 64 * 1024;

/// The key of a ticket in the store. It names no tenant: whoever takes a ticket does not know one before,
/// and the hash of a random ticket collides with nothing.
#[must_use]
pub fn ticket_key(ticket_hash: &[u8; 32]) -> String {
    let mut key = String::from("ticket:");
    for byte in ticket_hash {
        // Writing into a text cannot fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

/// Keeps tickets. It sees only their hash, so that what stands in the store opens nothing.
pub trait TicketStore: Send + Sync {
    /// Stores what the ticket grants (JSON that the store does not look into) for `ttl`.
    fn put(
        &self,
        ticket_hash: [u8; 32],
        grant: String,
        ttl: Duration,
    ) -> BoxFuture<Result<(), StoreError>>;

    /// Takes the grant out, in one step: of any number of calls, on any replica, one gets it.
    fn take(&self, ticket_hash: [u8; 32]) -> BoxFuture<Result<Option<String>, StoreError>>;
}
