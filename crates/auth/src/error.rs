//! Why a token is refused, and what the client is told.

use thiserror::Error;

/// Why a token is refused. The text is for the client: it holds nothing of the token or of the
/// configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("{}", self.message())]
pub enum TokenError {
    /// No token.
    Missing,
    /// Not a JWT in the compact form, too long, or a header that cannot be used.
    Malformed,
    /// `exp` has passed.
    Expired,
    /// `nbf` lies ahead.
    NotYetValid,
    /// Wrong signature, wrong algorithm, or signed with a key that the issuer does not publish.
    Signature,
    /// An issuer that is not configured.
    Issuer,
    /// Meant for somebody else.
    Audience,
    /// No tenant is known, or one that the issuer may not speak for.
    Tenant,
    /// A claim that is needed is missing, or a claim is malformed.
    Claims,
    /// It was revoked, by its id, its principal or its tenant.
    Revoked,
    /// The issuer's keys cannot be fetched: nobody knows whether the token is good.
    KeysUnavailable,
}

impl TokenError {
    /// All of them, for metrics that want each label from the start.
    pub const ALL: [Self; 11] = [
        Self::Missing,
        Self::Malformed,
        Self::Expired,
        Self::NotYetValid,
        Self::Signature,
        Self::Issuer,
        Self::Audience,
        Self::Tenant,
        Self::Claims,
        Self::Revoked,
        Self::KeysUnavailable,
    ];

    /// The sentence for the client: `Token expired.`
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Missing => "Token missing.",
            Self::Malformed => "Token malformed.",
            Self::Expired => "Token expired.",
            Self::NotYetValid => "Token not valid yet.",
            Self::Signature => "Token signature not accepted.",
            Self::Issuer => "Token issuer not accepted.",
            Self::Audience => "Token audience not accepted.",
            Self::Tenant => "Token names no tenant that its issuer may speak for.",
            Self::Claims => "Token lacks a required claim or holds a malformed one.",
            Self::Revoked => "Token revoked.",
            Self::KeysUnavailable => "Token cannot be checked at the moment.",
        }
    }

    /// The HTTP status: 401, or 503 where the client should try again.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::KeysUnavailable => 503,
            _ => 401,
        }
    }

    /// The label in metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Tenant => "tenant",
            Self::Claims => "claims",
            Self::Revoked => "revoked",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }
}
