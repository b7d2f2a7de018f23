//! Named sessions: who they belong to, who owns them now, and the port.

use std::fmt::{self, Write as _};
use std::time::Duration;

use tidewire_event::Tenant;

use crate::{BoxFuture, StoreError};

/// How long a session is kept after it was last claimed or written.
pub const SESSION_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Most bytes of a field list.
pub const FIELDS_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of a position.
pub const POSITION_BYTES_MAX: usize = 16 * 1024;
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

/// Names one claim of a session.
///
/// The store gives the number: a later claim of a session has a higher one, also where the store has
/// forgotten the earlier. The claimer draws the nonce at random, so that two claims that were given the
/// same number by a store that lost one of them are still told apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnerToken {
    /// Rises with each claim of the session.
    pub number: u64,
    /// 16 random bytes.
    pub nonce: [u8; 16],
}

impl OwnerToken {
    /// The nonce in 32 hexadecimal digits.
    #[must_use]
    pub fn nonce_hex(&self) -> String {
        nonce_hex(&self.nonce)
    }
}

impl fmt::Debug for OwnerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnerToken({}, {})", self.number, self.nonce_hex())
    }
}

/// A nonce in 32 hexadecimal digits.
#[must_use]
pub fn nonce_hex(nonce: &[u8; 16]) -> String {
    nonce.iter().fold(String::with_capacity(32), |mut text, byte| {
        // Writing into a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a claim found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Names the claim: needed for every write.
    pub owner: OwnerToken,
    /// Its field list, as the client sent it.
    pub fields: Option<String>,
    /// Its position. `None`: it had none, or was not there, and was given the `start` of this claim.
    pub position: Option<String>,
    /// Whether the client is proven to have received everything before the position. Otherwise the position
    /// is where the session started, and whether its client was told so nobody knows.
    pub proven: bool,
}

/// A write of a session by its owner. One that writes nothing asks whether the session is still owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionWrite {
    /// The session.
    pub id: SessionId,
    /// The claim.
    pub owner: OwnerToken,
    /// The field list to store; the inner `None` is no list. The outer one leaves it as it is.
    pub fields: Option<Option<String>>,
    /// The position to store; `None` leaves it as it is.
    pub position: Option<String>,
    /// Of that position: see [`Claimed::proven`].
    pub proven: bool,
    /// Gives the session up, in the same step: nobody owns it from then on, and it is kept for its TTL.
    pub release: bool,
}

impl SessionWrite {
    /// Only asks whether the session is still owned.
    #[must_use]
    pub const fn check(id: SessionId, owner: OwnerToken) -> Self {
        Self { id, owner, fields: None, position: None, proven: false, release: false }
    }

    /// Refuses what is larger than a store takes.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`].
    pub fn check_sizes(&self) -> Result<(), StoreError> {
        let fields = self.fields.as_ref().and_then(Option::as_ref).map_or(0, String::len);
        StoreError::check_size("field list", fields, FIELDS_BYTES_MAX)?;
        check_position(self.position.as_deref().unwrap_or_default())
    }
}

/// Refuses a position that is larger than a store takes.
///
/// # Errors
/// [`StoreError::TooLarge`].
pub fn check_position(position: &str) -> Result<(), StoreError> {
    StoreError::check_size("position", position.len(), POSITION_BYTES_MAX)
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Done: the session is the caller's, and holds what it wrote.
    Held,
    /// The session is still the caller's, but the store had lost it or went back to an earlier claim, and
    /// this write did not hold both field list and position: the caller writes both, else what stands
    /// there is not its own.
    Behind,
    /// Not done: a later claim took the session, or it was released.
    Lost,
    /// Nobody knows whether it was done: the part of the store that holds the session did not answer.
    /// The caller writes again.
    Unknown,
}

/// Keeps named sessions.
///
/// A write is compared with the claim that stands in the store, and done or not in one step:
///
/// | In the store | The write |
/// |---|---|
/// | the same claim | done |
/// | a higher number; the same number and another nonce (also: released) | [`Lost`](WriteOutcome::Lost), nothing changes |
/// | a lower number, of whomever, also released | done, and the session is the writer's again: the store went back to before its claim |
/// | nothing, or nothing that can be read | with a field list: done, the session is put back. Without: nothing is made, so that nobody finds a session without its list; [`Behind`](WriteOutcome::Behind) |
pub trait SessionStore: Send + Sync {
    /// Takes the session: this claim owns it from now on, whoever owned it before. Keeps field list and
    /// position, makes the session where there is none, gives it `start` as its position, unproven, where
    /// it has none, and starts its TTL anew; all in one step. The store does not look into `start`.
    fn claim(
        &self,
        id: SessionId,
        nonce: [u8; 16],
        start: String,
    ) -> BoxFuture<Result<Claimed, StoreError>>;

    /// Writes all of a replica's sessions that need it, and says of each, in the order given, what became
    /// of it. The TTL of those that are owned starts anew. A session may be named once.
    ///
    /// An error means that nothing is known of any of them.
    fn write(&self, writes: Vec<SessionWrite>) -> BoxFuture<Result<Vec<WriteOutcome>, StoreError>>;

    /// Gives a session up, if `owner` still owns it: nobody owns it, and it is kept for its TTL.
    fn release(&self, id: SessionId, owner: OwnerToken) -> BoxFuture<Result<(), StoreError>> {
        let write = SessionWrite { release: true, ..SessionWrite::check(id, owner) };
        let written = self.write(vec![write]);
        Box::pin(async move { written.await.map(drop) })
    }
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
