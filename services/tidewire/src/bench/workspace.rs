//! What one run of the bench owns: a folder, an embedded broker, tokens, a certificate.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::json;
use tidewire_auth::{DEV_AUDIENCE, MintClaims, Secret, TokenMinter, dev_secret, unix_now};
use tidewire_kafka::EmbeddedBroker;

use super::tls;

/// The tenant of all that is measured.
pub(super) const TENANT: &str = "bench";
/// The issuer of RS256 tokens.
pub(super) const RSA_ISSUER: &str = "https://bench.example.com";

/// Dropped at the end, with all its files.
pub(super) struct Workspace {
    pub(super) broker: EmbeddedBroker,
    folder: PathBuf,
    secret: Secret,
    rsa: jsonwebtoken::EncodingKey,
    topics: u32,
}

impl Workspace {
    pub(super) fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("tidewire-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let secret = dev_secret(&folder.join("secret"))?;
        tls::certificate(&folder)?;
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256)?;
        fs::write(folder.join("rsa.pem"), pair.public_key_pem())?;
        let rsa = jsonwebtoken::EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes())?;
        let broker = EmbeddedBroker::start()?;
        Ok(Self { broker, folder, secret, rsa, topics: 0 })
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A new topic, so that what is measured reads nothing else.
    pub(super) fn topic(&mut self, partitions: i32) -> Result<String> {
        self.topics += 1;
        let name = format!("bench.{}", self.topics);
        self.broker.create_topic(&name, partitions)?;
        Ok(name)
    }

    /// An HS256 token that no gateway has seen.
    pub(super) fn token(&self) -> Result<String> {
        let mut claims = MintClaims::new(TENANT, unix_now());
        claims.user = Some(7);
        claims.ttl_seconds = 24 * 3600;
        Ok(TokenMinter::mint(&self.secret, &claims)?)
    }

    /// An RS256 token of 2048 bits; each number makes another one.
    pub(super) fn rsa_token(&self, number: u64) -> Result<String> {
        let now = unix_now();
        let claims = json!({
            "iss": RSA_ISSUER, "aud": DEV_AUDIENCE, "sub": "7", "user": 7, "tenant": TENANT,
            "iat": now, "exp": now + 24 * 3600, "jti": number.to_string(), "roles": [],
        });
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
        Ok(jsonwebtoken::encode(&header, &claims, &self.rsa)?)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // What stays behind lies in the folder for such things.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
