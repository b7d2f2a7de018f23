//! Tokens for development: `tidewire token`, `tidewire dev` and tests.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::json;

use crate::secret::random_hex;
use crate::{Secret, SecretError};

/// The issuer of development tokens.
pub const DEV_ISSUER: &str = "tidewire-dev";
/// The audience of development tokens.
pub const DEV_AUDIENCE: &str = "tidewire";
const HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;

/// What a development token says.
#[derive(Clone, Debug)]
pub struct MintClaims {
    /// The tenant.
    pub tenant: String,
    /// The user's key.
    pub user: Option<u64>,
    /// The roles.
    pub roles: Vec<String>,
    /// When it is issued, in unix seconds.
    pub issued_at: i64,
    /// For how long it is good.
    pub ttl_seconds: i64,
    /// The issuer; [`DEV_ISSUER`] unless a test wants another.
    pub issuer: String,
    /// The audience; [`DEV_AUDIENCE`] unless a test wants another.
    pub audience: String,
}

impl MintClaims {
    /// Claims for the development issuer: an hour, no user, no roles.
    #[must_use]
    pub fn new(tenant: &str, issued_at: i64) -> Self {
        Self {
            tenant: tenant.to_owned(),
            user: None,
            roles: Vec::new(),
            issued_at,
            ttl_seconds: 3600,
            issuer: DEV_ISSUER.to_owned(),
            audience: DEV_AUDIENCE.to_owned(),
        }
    }
}

/// Makes development tokens.
#[derive(Clone, Copy, Debug)]
pub struct TokenMinter;

impl TokenMinter {
    /// Signs a token with HS256. The subject is the user's key, or `tidewire` without one.
    ///
    /// # Errors
    /// [`SecretError::Random`]: no random bytes for the token's own id.
    pub fn mint(secret: &Secret, claims: &MintClaims) -> Result<String, SecretError> {
        let subject = claims.user.map_or_else(|| "tidewire".to_owned(), |key| key.to_string());
        let mut body = json!({
            "iss": claims.issuer,
            "aud": claims.audience,
            "sub": subject,
            "iat": claims.issued_at,
            "exp": claims.issued_at.saturating_add(claims.ttl_seconds),
            "jti": random_hex::<8>()?,
            "tenant": claims.tenant,
            "roles": claims.roles,
        });
        if let (Some(user), Some(members)) = (claims.user, body.as_object_mut()) {
            members.insert("user".to_owned(), user.into());
        }
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", part(HEADER), part(&body.to_string()));
        let key = EncodingKey::from_secret(secret.key());
        match crypto::sign(signed.as_bytes(), &key, Algorithm::HS256) {
            Ok(signature) => Ok(format!("{signed}.{signature}")),
            Err(_) => unreachable!("HMAC signs with a key of any length"),
        }
    }
}
