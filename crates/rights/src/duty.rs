//! Duties: what a role may do beyond reading.

use serde::Deserialize;

use crate::{Principal, one_or_many};

/// What a role may do beyond reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Duty {
    /// May post changes of its tenant.
    Producer,
    /// May administer its own tenant.
    Admin,
    /// May write alert scripts of its tenant.
    ScriptAuthor,
}

/// Which roles carry which duty (`auth.roles`). Unset, as it is outside `dev`: nobody has the duty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoleMap {
    /// Roles that may post changes.
    #[serde(deserialize_with = "one_or_many")]
    pub producer: Vec<String>,
    /// Roles that may administer their own tenant.
    #[serde(deserialize_with = "one_or_many")]
    pub admin: Vec<String>,
    /// Roles that may write alert scripts.
    #[serde(deserialize_with = "one_or_many")]
    pub script_author: Vec<String>,
}

impl RoleMap {
    /// What `tidewire dev` uses: each duty is the role of its own name.
    #[must_use]
    pub fn development() -> Self {
        let role = |name: &str| vec![name.to_owned()];
        Self {
            producer: role("producer"),
            admin: role("admin"),
            script_author: role("script-author"),
        }
    }

    /// Whether one of the principal's roles carries the duty.
    #[must_use]
    pub fn may(&self, duty: Duty, principal: &Principal) -> bool {
        let roles = match duty {
            Duty::Producer => &self.producer,
            Duty::Admin => &self.admin,
            Duty::ScriptAuthor => &self.script_author,
        };
        roles.iter().any(|role| principal.has_role(role))
    }

    /// Whether the principal may post changes of its tenant.
    #[must_use]
    pub fn may_produce(&self, principal: &Principal) -> bool {
        self.may(Duty::Producer, principal)
    }
}
