//! Whom a revocation or kick is about.

use std::sync::Arc;

use thiserror::Error;
use tidewire_event::{IdError, Tenant};

/// Most bytes of the id of a target: the name of a principal holds an issuer and a subject.
pub const TARGET_ID_BYTES_MAX: usize = 1024;

/// What happens to those who are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Their sockets are closed and their tokens refused.
    Revoke,
    /// Their sockets are closed, and may come back.
    Kick,
}

impl Action {
    /// The word in the key.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoke => "revocation",
            Self::Kick => "kick",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Revoke, Self::Kick].into_iter().find(|action| action.as_str() == text)
    }
}

/// By what they are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TargetKind {
    /// A token, by its `jti`.
    Token,
    /// A principal, by [`crate::Principal::id`]; of its tokens those that were issued before.
    Principal,
    /// The whole tenant; of its tokens those that were issued before.
    Tenant,
    /// One open socket, by its name; only for a kick.
    Socket,
}

impl TargetKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Token, Self::Principal, Self::Tenant, Self::Socket];

    /// The word in key, value and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Principal => "principal",
            Self::Tenant => "tenant",
            Self::Socket => "socket",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Why there is no such target.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TargetError {
    /// The tenant's name.
    #[error(transparent)]
    Tenant(#[from] IdError),
    /// The id.
    #[error("an id has 1 to {TARGET_ID_BYTES_MAX} bytes and no control characters")]
    Id,
    /// A tenant is named by itself.
    #[error("the id of a tenant is its name")]
    OtherTenant,
    /// A socket rests on a token: that is what can be revoked.
    #[error("a socket can be kicked, not revoked: revoke its token or its principal")]
    Socket,
}

/// Whom a revocation or kick is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// What happens to them.
    pub action: Action,
    /// The tenant: nobody of another one is ever meant.
    pub tenant: Tenant,
    /// By what they are named.
    pub kind: TargetKind,
    /// Their name.
    pub id: Arc<str>,
}

impl Target {
    /// Makes one.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn new(
        action: Action,
        tenant: Tenant,
        kind: TargetKind,
        id: &str,
    ) -> Result<Self, TargetError> {
        if id.is_empty() || id.len() > TARGET_ID_BYTES_MAX || id.chars().any(char::is_control) {
            return Err(TargetError::Id);
        }
        if kind == TargetKind::Tenant && id != tenant.as_str() {
            return Err(TargetError::OtherTenant);
        }
        if kind == TargetKind::Socket && action == Action::Revoke {
            return Err(TargetError::Socket);
        }
        Ok(Self { action, tenant, kind, id: Arc::from(id) })
    }

    pub(super) fn named(
        action: Action,
        tenant: &str,
        kind: TargetKind,
        id: &str,
    ) -> Result<Self, TargetError> {
        Self::new(action, Tenant::new(tenant)?, kind, id)
    }
}
