//! Tokens and key sets: from the text that a client sends to the [`Principal`] that it speaks for.
//!
//! [`Verifier`] checks JWTs: RS256 with keys from a JWKS URL or a PEM file, HS256 with a secret file.
//! [`Ticket`]s stand in for a token once; [`TokenMinter`] makes tokens for development. Time comes in
//! from outside as unix seconds.
//!
//! Invariants: the algorithm belongs to the configured key and is never taken from the token; nothing
//! in a token makes this crate open a connection but to the configured key set, at most once in
//! [`FETCH_INTERVAL_SECONDS`]; neither a token nor a secret is kept in the clear, or shown by `Debug`,
//! an error or a log line.

mod bearer;
mod cache;
mod claims;
mod error;
mod jwt;
mod key_set;
mod key_source;
mod mapping;
mod mint;
mod options;
mod secret;
mod ticket;
mod verifier;

pub use bearer::bearer;
pub use claims::{ROLES_MAX, SUBJECT_BYTES_MAX};
pub use error::TokenError;
pub use key_set::KEYS_MAX;
pub use key_source::{
    FETCH_INTERVAL_SECONDS, FETCH_TIMEOUT, KEY_SET_BYTES_MAX, REFRESH_INTERVAL, RETRY_INTERVAL,
};
pub use mint::{DEV_AUDIENCE, DEV_ISSUER, MintClaims, TokenMinter};
pub use options::{
    AuthOptions, AuthProblem, ClaimNames, IssuerOptions, KeySource, LEEWAY_SECONDS_MAX,
    MappingEntry, TOKEN_BYTES_MAX,
};
pub use secret::{
    DEV_SECRET_MARKER, SECRET_BYTES_MIN, Secret, SecretError, SecretText, dev_secret, load_secret,
};
pub use ticket::{GrantError, TICKET_PREFIX, Ticket, decode_grant, encode_grant};
pub use tidewire_rights::Principal;
pub use verifier::{Verifier, VerifierStats, unix_now};
