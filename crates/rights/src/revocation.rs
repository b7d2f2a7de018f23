//! Revocations and kicks: who has lost the right to be connected, and who is to connect anew.
//!
//! Each is a record of the compacted control topic, so that all replicas know it and a replica that
//! starts reads it again. Key: `<tenant>/<revocation|kick>/<kind>/<id>/<at>`, each part percent-encoded;
//! value: JSON; a tombstone takes it back. A revocation closes what it concerns and refuses the tokens
//! from then on; a kick closes and refuses nobody, so it only has to be known for a moment.
//!
//! `at` is a part of the key: one target may have several records, and whoever clears away the record of
//! an old one can never hit a newer one that he has not read yet.
//!
//! Invariants: pure, time comes in as unix seconds; a record reaches one tenant only, the one in its key;
//! what has no `iat` counts as issued before any revocation; a record that cannot be read changes nothing.

mod set;
mod target;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidewire_event::{percent_decode, percent_encode};

pub use set::{Applied, ENDED_MAX, REVOCATIONS_MAX, Revocations, SWEEP_GRACE_SECONDS};
pub use target::{Action, TARGET_ID_BYTES_MAX, Target, TargetError, TargetKind};

use crate::Principal;

/// Most bytes of `by` and of `reason`.
pub const NOTE_BYTES_MAX: usize = 256;
/// The format of the value.
const FORMAT: u64 = 1;

/// One revocation or kick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Whom it concerns, and what happens.
    pub target: Target,
    /// Since when, in unix seconds: tokens issued in this second or earlier are meant.
    pub at: i64,
    /// Until when, in unix seconds: the tokens that it means are over by then.
    pub until: i64,
    /// Who did it.
    pub by: String,
    /// Why, for people.
    pub reason: String,
}

/// Why a record of the control topic cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RevocationError {
    /// The key.
    #[error("the key is not '<tenant>/<revocation or kick>/<kind>/<id>/<at>'")]
    Key,
    /// The target that the key names.
    #[error("the key names no target")]
    Target(#[source] TargetError),
    /// The value.
    #[error("the value is not the JSON of a revocation")]
    Value,
    /// Written by a later version.
    #[error("the value has format {0}, this version reads 1")]
    Format(u64),
    /// Key and value disagree.
    #[error("the value says another {0} than the key")]
    Disagrees(&'static str),
    /// There are [`REVOCATIONS_MAX`] already.
    #[error("there are {REVOCATIONS_MAX} revocations already, and no more are kept")]
    Full,
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u64,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    at: i64,
    #[serde(default)]
    until: i64,
    #[serde(default)]
    by: String,
    #[serde(default)]
    reason: String,
}

impl Revocation {
    /// The key of its record.
    #[must_use]
    pub fn key(&self) -> String {
        let Target { action, tenant, kind, id } = &self.target;
        format!(
            "{}/{}/{}/{}/{}",
            percent_encode(tenant.as_str()),
            action.as_str(),
            kind.as_str(),
            percent_encode(id),
            self.at
        )
    }

    /// The value of its record.
    #[must_use]
    pub fn value(&self) -> String {
        let body = Body {
            v: FORMAT,
            kind: self.target.kind.as_str().to_owned(),
            id: self.target.id.to_string(),
            at: self.at,
            until: self.until,
            by: self.by.clone(),
            reason: self.reason.clone(),
        };
        // Texts and numbers always encode; an unreadable record would only be skipped.
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// Reads a record that has a value. `Ok(None)`: the key is of another kind of record.
    ///
    /// # Errors
    /// [`RevocationError`]: the record is skipped.
    pub fn parse(key: &[u8], value: &[u8]) -> Result<Option<Self>, RevocationError> {
        let Some((target, at)) = parse_key(key)? else { return Ok(None) };
        // The format alone first: a later one may have other members.
        #[derive(Deserialize)]
        struct Format {
            v: u64,
        }
        let Format { v } = serde_json::from_slice(value).map_err(|_| RevocationError::Value)?;
        if v != FORMAT {
            return Err(RevocationError::Format(v));
        }
        let body: Body = serde_json::from_slice(value).map_err(|_| RevocationError::Value)?;
        for (same, what) in [
            (body.kind == target.kind.as_str(), "kind"),
            (body.id == *target.id, "id"),
            (body.at == at, "time"),
        ] {
            if !same {
                return Err(RevocationError::Disagrees(what));
            }
        }
        if body.by.len() > NOTE_BYTES_MAX || body.reason.len() > NOTE_BYTES_MAX {
            return Err(RevocationError::Value);
        }
        let Body { until, by, reason, .. } = body;
        Ok(Some(Self { target, at, until, by, reason }))
    }

    /// Whether its time is over.
    #[must_use]
    pub const fn has_ended(&self, now: i64) -> bool {
        self.until <= now
    }

    /// Whether it means a socket that rests on this principal's token. A kick of one socket means none
    /// here: it is found by its name.
    #[must_use]
    pub fn concerns(&self, principal: &Principal) -> bool {
        let Target { action, tenant, kind, id } = &self.target;
        if *tenant != principal.tenant {
            return false;
        }
        let in_time = match action {
            Action::Revoke => principal.issued_at.is_none_or(|issued| issued <= self.at),
            Action::Kick => true,
        };
        match kind {
            TargetKind::Token => principal.token_id.as_deref() == Some(&**id),
            TargetKind::Principal => *principal.id == **id && in_time,
            TargetKind::Tenant => in_time,
            TargetKind::Socket => false,
        }
    }
}

/// The target and `at` of a key; `None` where the key is of another kind of record.
pub(crate) fn parse_key(key: &[u8]) -> Result<Option<(Target, i64)>, RevocationError> {
    let text = std::str::from_utf8(key).map_err(|_| RevocationError::Key)?;
    let mut parts = text.split('/');
    let (Some(tenant), Some(section)) = (parts.next(), parts.next()) else {
        return Err(RevocationError::Key);
    };
    let Some(action) = Action::parse(section) else { return Ok(None) };
    let (Some(kind), Some(id), Some(at), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(RevocationError::Key);
    };
    let tenant = percent_decode(tenant).map_err(|_| RevocationError::Key)?;
    let id = percent_decode(id).map_err(|_| RevocationError::Key)?;
    let at = at.parse().ok().filter(|number: &i64| number.to_string() == at);
    let at = at.ok_or(RevocationError::Key)?;
    let kind = TargetKind::parse(kind).ok_or(RevocationError::Key)?;
    let target = Target::named(action, &tenant, kind, &id).map_err(RevocationError::Target)?;
    Ok(Some((target, at)))
}
