//! The principal: who a verified token speaks for.

use std::sync::Arc;

use tidewire_event::{KEY_NUMBER_MAX, Tenant};

/// The highest key of a user: keys lie below 2^53.
pub const USER_KEY_MAX: u64 = KEY_NUMBER_MAX - 1;

/// Who a verified token speaks for. Holds nothing secret: it may be logged, and stored in a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The one tenant that this principal sees.
    pub tenant: Tenant,
    /// Stable name inside the tenant, for sessions and caps: see [`Principal::id_of`].
    pub id: Arc<str>,
    /// Key of the user's object, where token or mapping tell it.
    pub user_key: Option<u64>,
    /// Names of the roles: sorted, each once.
    pub roles: Vec<String>,
    /// Business units: sorted, each once.
    pub business_units: Vec<String>,
    /// When the token ends, in unix seconds. An open socket ends then.
    pub expires_at: i64,
    /// When the token was issued (`iat`), in unix seconds, where it says so. A revocation of a principal
    /// or tenant means the tokens issued before it; one that does not say counts as issued before.
    pub issued_at: Option<i64>,
    /// The token's own id (`jti`), for revocation.
    pub token_id: Option<String>,
}

impl Principal {
    /// The stable name: `user:<key>`, or `sub:<issuer>|<subject>` where no user key is known. A renewed
    /// token of the same person gives the same name, so that a session is found again.
    #[must_use]
    pub fn id_of(user_key: Option<u64>, issuer: &str, subject: &str) -> Arc<str> {
        match user_key {
            Some(key) => format!("user:{key}").into(),
            None => format!("sub:{issuer}|{subject}").into(),
        }
    }

    /// Sorts names and drops repeats, as [`Principal::roles`] and [`Principal::business_units`] want it.
    #[must_use]
    pub fn sorted(mut names: Vec<String>) -> Vec<String> {
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether the principal has this role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.binary_search_by(|own| own.as_str().cmp(role)).is_ok()
    }
}
