//! The compact form of a JWT (RFC 7515, 7.1): three parts of base64url without padding.
//!
//! The header is not signed for anybody yet when it is read: of all it can hold, `alg` is compared with
//! the configured one, `kid` is looked up, `crit` refuses the token, and the rest (`jku`, `jwk`, `x5u`,
//! `x5c`, ...) is never looked at.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::TokenError;

/// Most bytes of a key id.
pub(crate) const KID_BYTES_MAX: usize = 256;

pub(crate) struct Jwt<'a> {
    /// What the signature covers.
    pub(crate) signed: &'a str,
    pub(crate) signature: &'a str,
    pub(crate) algorithm: String,
    pub(crate) kid: Option<String>,
    pub(crate) claims: Map<String, Value>,
}

impl<'a> Jwt<'a> {
    /// Takes the token apart; nothing is verified yet.
    pub(crate) fn parse(token: &'a str) -> Result<Self, TokenError> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        let signed = token.get(..header.len() + 1 + claims.len()).ok_or(TokenError::Malformed)?;
        let mut header = object(header)?;
        if header.contains_key("crit") {
            return Err(TokenError::Malformed);
        }
        let Some(Value::String(algorithm)) = header.remove("alg") else {
            return Err(TokenError::Malformed);
        };
        let kid = match header.remove("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= KID_BYTES_MAX => Some(kid),
            Some(_) => return Err(TokenError::Malformed),
        };
        Ok(Self { signed, signature, algorithm, kid, claims: object(claims)? })
    }
}

fn object(part: &str) -> Result<Map<String, Value>, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}
