//! Tickets: 256 random bits that stand for a token once, and the grants that they buy.
//!
//! The store keeps hash -> grant, so that neither the store nor who reads it can use a ticket, and any
//! replica can redeem one. The token itself is never stored.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tidewire_event::Tenant;
use tidewire_rights::Principal;

use crate::secret::random;
use crate::{SecretError, SecretText};

/// What a ticket starts with; no JWT does.
pub const TICKET_PREFIX: &str = "tkt_";
const TICKET_BYTES: usize = 32;
/// 32 bytes in base64url without padding.
const TICKET_CHARS: usize = 43;
const GRANT_FORMAT: u8 = 1;

/// A new ticket.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// What the client gets, once.
    pub text: SecretText,
    /// What the store gets: SHA-256 of the text.
    pub hash: [u8; 32],
}

impl Ticket {
    /// Makes one.
    ///
    /// # Errors
    /// [`SecretError::Random`].
    pub fn new() -> Result<Self, SecretError> {
        let bytes = random::<TICKET_BYTES>()?;
        let text = format!("{TICKET_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        Ok(Self { hash: Self::hash_of(&text), text: SecretText::new(&text) })
    }

    /// The hash by which the store knows the ticket.
    #[must_use]
    pub fn hash_of(text: &str) -> [u8; 32] {
        Sha256::digest(text.as_bytes()).into()
    }

    /// Whether this text has the form of a ticket: then it is one, and never a token.
    #[must_use]
    pub fn is_ticket(text: &str) -> bool {
        text.strip_prefix(TICKET_PREFIX).is_some_and(|rest| {
            rest.len() == TICKET_CHARS
                && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        })
    }
}

/// Why a stored grant cannot be used.
#[derive(Debug, Error)]
pub enum GrantError {
    /// Not the JSON of a grant.
    #[error("a grant is not readable")]
    Json(#[source] serde_json::Error),
    /// Written by a later version.
    #[error("a grant has format {0}, this version reads 1")]
    Format(u8),
    /// No tenant.
    #[error("a grant names no valid tenant")]
    Tenant,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Grant {
    v: u8,
    tenant: String,
    id: String,
    user_key: Option<u64>,
    roles: Vec<String>,
    business_units: Vec<String>,
    expires_at: i64,
    /// Absent in grants of older versions.
    #[serde(default)]
    issued_at: Option<i64>,
    token_id: Option<String>,
}

/// The principal as JSON, for the store.
#[must_use]
pub fn encode_grant(principal: &Principal) -> String {
    let grant = Grant {
        v: GRANT_FORMAT,
        tenant: principal.tenant.as_str().to_owned(),
        id: principal.id.to_string(),
        user_key: principal.user_key,
        roles: principal.roles.clone(),
        business_units: principal.business_units.clone(),
        expires_at: principal.expires_at,
        issued_at: principal.issued_at,
        token_id: principal.token_id.clone(),
    };
    // Texts and numbers always encode; an unreadable grant would only be refused.
    serde_json::to_string(&grant).unwrap_or_default()
}

/// The principal of a stored grant. Whoever redeems a ticket still looks at `expires_at`.
///
/// # Errors
/// [`GrantError`].
pub fn decode_grant(json: &str) -> Result<Principal, GrantError> {
    let grant: Grant = serde_json::from_str(json).map_err(GrantError::Json)?;
    if grant.v != GRANT_FORMAT {
        return Err(GrantError::Format(grant.v));
    }
    Ok(Principal {
        tenant: Tenant::new(&grant.tenant).map_err(|_| GrantError::Tenant)?,
        id: Arc::from(grant.id),
        user_key: grant.user_key,
        roles: Principal::sorted(grant.roles),
        business_units: Principal::sorted(grant.business_units),
        expires_at: grant.expires_at,
        issued_at: grant.issued_at,
        token_id: grant.token_id,
    })
}
