//! Tokens of the run's tenants.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use tidewire_auth::{MintClaims, Secret, SecretText, TokenMinter, load_secret, unix_now};

use crate::token::DEV_SECRET_FILE;

/// The role that may post changes.
const PRODUCER: &str = "producer";

/// Mints them.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    secret: Arc<Secret>,
    issuer: String,
    audience: String,
}

impl Tokens {
    pub(super) fn new(file: Option<&Path>, issuer: &str, audience: &str) -> anyhow::Result<Self> {
        let path = file.unwrap_or(DEV_SECRET_FILE.as_ref());
        let secret = load_secret(path)
            .with_context(|| format!("no secret in {}: give --secret-file", path.display()))?;
        // Whoever points at nothing must not mint for production by accident.
        if file.is_none() && !secret.is_development() {
            bail!("{} is not a development secret", path.display());
        }
        Ok(Self {
            secret: Arc::new(secret),
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
        })
    }

    /// For somebody who listens, good for so many seconds.
    pub(super) fn listener(
        &self,
        tenant: &str,
        user: u64,
        seconds: u32,
    ) -> anyhow::Result<SecretText> {
        self.mint(tenant, user, &[], i64::from(seconds))
    }

    /// For a producer, good for a day.
    pub(super) fn producer(&self, tenant: &str) -> anyhow::Result<SecretText> {
        self.mint(tenant, 1, &[PRODUCER], 86_400)
    }

    fn mint(
        &self,
        tenant: &str,
        user: u64,
        roles: &[&str],
        ttl: i64,
    ) -> anyhow::Result<SecretText> {
        let mut claims = MintClaims::new(tenant, unix_now());
        claims.user = Some(user);
        claims.roles = roles.iter().map(|role| (*role).to_owned()).collect();
        claims.ttl_seconds = ttl;
        claims.issuer.clone_from(&self.issuer);
        claims.audience.clone_from(&self.audience);
        Ok(SecretText::new(&TokenMinter::mint(&self.secret, &claims)?))
    }
}
