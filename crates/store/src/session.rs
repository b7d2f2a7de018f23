//! Named sessions: who they belong to, who owns them now, and the port.

use std::fmt;
use std::time::Duration;

use tidewire_event::Tenant;

use crate::{BoxFuture, StoreError};

/// How long a session is kept after it was last claimed, written, checked or released.
pub const SESSION_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Most bytes of a field list.
pub const FIELDS_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of a session's key, which holds its definition.
pub const SESSION_KEY_BYTES_MAX: usize = 16 * 1024;

/// What a session belongs to. The same name of another principal, or on another definition, is another
/// session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    /// The tenant.
    pub tenant: Tenant,
    /// Who the token names.
    pub principal: String,
    /// The name that the client chose.
    pub name: String,
    /// The canonical text of the definition: path and options, without the field list.
    pub definition: String,
}

impl SessionId {
    /// The key in the store: `{<bytes>:<tenant>}:session:<bytes>:<principal>...`. Every part follows its
    /// length in bytes, so no two ids share a key whatever their parts hold. The first braces hold the
    /// tenant: in a cluster all keys of a tenant lie in one slot.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] above [`SESSION_KEY_BYTES_MAX`].
    pub fn key(&self) -> Result<String, StoreError> {
        let tenant = self.tenant.as_str();
        let (principal, name, definition) = (&self.principal, &self.name, &self.definition);
        let key = format!(
            "{{{}:{tenant}}}:session:{}:{principal}:{}:{name}:{}:{definition}",
            tenant.len(),
            principal.len(),
            name.len(),
            definition.len()
        );
        StoreError::check_size("session key", key.len(), SESSION_KEY_BYTES_MAX)?;
        Ok(key)
    }
}

/// Names one claim of a session. The claimer draws it at random; two claims never share one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnerToken([u8; 16]);

impl OwnerToken {
    /// From 16 random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for OwnerToken {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for OwnerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnerToken({self})")
    }
}

/// What a claim found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The session was there, and could be read: it goes on. Otherwise it starts now.
    pub existed: bool,
    /// Its field list, as the client sent it.
    pub fields: Option<String>,
}

/// What became of a write that only the owner may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Written: the session is still the caller's.
    Held,
    /// Not written: another claim took the session, or it was released.
    Lost,
}

/// Keeps named sessions.
///
/// A session that the store has lost (evicted, flushed, expired, unreadable) is nobody else's: its owner
/// goes on owning it, and the next [`save_fields`](Self::save_fields) puts it back.
pub trait SessionStore: Send + Sync {
    /// Takes the session: `owner` owns it from now on, whoever owned it before. Keeps its field list,
    /// makes it where there is none, and starts its TTL anew; all in one step.
    fn claim(&self, id: SessionId, owner: OwnerToken) -> BoxFuture<Result<Claimed, StoreError>>;

    /// Stores the field list (`None`: none), if `owner` still owns the session.
    fn save_fields(
        &self,
        id: SessionId,
        owner: OwnerToken,
        fields: Option<String>,
    ) -> BoxFuture<Result<WriteOutcome, StoreError>>;

    /// Says of each session, in the order given, whether no other claim (or release) stands against
    /// `owner`, and starts the TTL of those anew. Meant to be called for all sessions of a replica at
    /// once, every few seconds.
    fn still_owned(
        &self,
        sessions: Vec<(SessionId, OwnerToken)>,
    ) -> BoxFuture<Result<Vec<bool>, StoreError>>;

    /// Gives the session up, if `owner` still owns it: nobody owns it, and it is kept for its TTL.
    fn release(&self, id: SessionId, owner: OwnerToken) -> BoxFuture<Result<(), StoreError>>;
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn id(tenant: &str, principal: &str, name: &str, definition: &str) -> SessionId {
        SessionId {
            tenant: Tenant::new(tenant).unwrap(),
            principal: principal.into(),
            name: name.into(),
            definition: definition.into(),
        }
    }

    #[test]
    fn the_key_is_stable() {
        let key = id("acme", "ola", "main", "Voyage/CUD/*").key().unwrap();
        assert_eq!(key, "{4:acme}:session:3:ola:4:main:12:Voyage/CUD/*");
    }

    #[test]
    fn ids_that_read_alike_do_not_collide() {
        let ids = [
            id("a:b", "c", "d", "e"),
            id("a", "b:c", "d", "e"),
            id("a", "b", "c:d", "e"),
            id("a", "b", "c", "d:e"),
            id("a", "b:1:c", "d", "e"),
            id("a", "b", "1:c:d", "e"),
            id("a}", "b", "c", "d"),
            id("a", "}b", "c", "d"),
            id("a}:session:1:b", "b", "c", "d"),
            id("a", "", "bcd", ""),
            id("a", "bcd", "", ""),
        ];
        let keys: HashMap<_, _> = ids.iter().map(|id| (id.key().unwrap(), id)).collect();
        assert_eq!(keys.len(), ids.len());
    }

    #[test]
    fn an_endless_definition_is_refused() {
        let long = "x".repeat(SESSION_KEY_BYTES_MAX);
        assert!(matches!(id("a", "b", "c", &long).key(), Err(StoreError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn equal_keys_mean_equal_ids(
            a in ("[a:1{}]{1,4}", "[a:1{}]{0,4}", "[a:1{}]{0,4}", "[a:1{}]{0,4}"),
            b in ("[a:1{}]{1,4}", "[a:1{}]{0,4}", "[a:1{}]{0,4}", "[a:1{}]{0,4}"),
        ) {
            let (a, b) = (id(&a.0, &a.1, &a.2, &a.3), id(&b.0, &b.1, &b.2, &b.3));
            prop_assert_eq!(a.key() == b.key(), a == b);
        }
    }
}
