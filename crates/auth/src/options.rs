//! The section `auth` of the configuration.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;
use tidewire_rights::{RoleMap, one_or_many};

use crate::mint::{DEV_AUDIENCE, DEV_ISSUER};

/// Most bytes of a token, by default.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Clocks of issuer and service may differ by no more than this.
pub const LEEWAY_SECONDS_MAX: u32 = 30;
const LEEWAY_SECONDS: u32 = 10;
const VERIFIED_TOKENS_MAX: usize = 65_536;

/// The section `auth` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthOptions {
    /// Who may issue tokens.
    pub issuers: Vec<IssuerOptions>,
    /// The tenant of a deployment of one tenant: taken where a token names none; a token that names
    /// another is refused.
    pub tenant: Option<String>,
    /// By how many seconds clocks may differ: 0 to [`LEEWAY_SECONDS_MAX`].
    pub leeway_seconds: u32,
    /// Which roles carry which duty.
    pub roles: RoleMap,
    /// Names of the claims.
    pub claims: ClaimNames,
    /// What tokens lack.
    pub mapping: Vec<MappingEntry>,
    /// Most bytes of a token; a longer one is malformed.
    pub token_bytes_max: usize,
    /// How many verified tokens are remembered.
    pub verified_tokens_max: usize,
    /// Whether the development secret is accepted: `dev`, or all listeners on loopback. Not a setting:
    /// the service sets it.
    #[serde(skip)]
    pub development_secret_allowed: bool,
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            tenant: None,
            leeway_seconds: LEEWAY_SECONDS,
            roles: RoleMap::default(),
            claims: ClaimNames::default(),
            mapping: Vec::new(),
            token_bytes_max: TOKEN_BYTES_MAX,
            verified_tokens_max: VERIFIED_TOKENS_MAX,
            development_secret_allowed: false,
        }
    }
}

impl AuthOptions {
    /// What `tidewire dev` uses: the development issuer with the secret of this file.
    #[must_use]
    pub fn development(secret_file: &Path) -> Self {
        Self {
            issuers: vec![IssuerOptions {
                issuer: DEV_ISSUER.to_owned(),
                audiences: vec![DEV_AUDIENCE.to_owned()],
                key: KeySource::Hs256SecretFile(secret_file.to_owned()),
                tenants: Vec::new(),
            }],
            roles: RoleMap::development(),
            development_secret_allowed: true,
            ..Self::default()
        }
    }
}

/// One issuer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerOptions {
    /// The exact value of `iss`.
    pub issuer: String,
    /// One of these must be in `aud`.
    #[serde(deserialize_with = "one_or_many")]
    pub audiences: Vec<String>,
    /// Where its keys are. Fixes the algorithm.
    pub key: KeySource,
    /// The tenants that it may speak for; empty: any.
    #[serde(default, deserialize_with = "one_or_many")]
    pub tenants: Vec<String>,
}

/// Where an issuer's keys are, and so the algorithm: HS256 for a secret, RS256 for the others.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// HS256: a file with one line, the shared secret.
    Hs256SecretFile(PathBuf),
    /// RS256: one public key in PEM.
    PemFile(PathBuf),
    /// RS256: the issuer's key set, fetched and refreshed.
    #[serde(rename_all = "snake_case")]
    Jwks {
        /// `https://`; `http://` only for loopback, or with `allow_http`.
        url: String,
        /// PEM file with the certificates to trust instead of the public ones.
        #[serde(default)]
        ca_file: Option<PathBuf>,
        /// Accepts `http://` to another host. Whoever can change what comes over that wire can sign.
        #[serde(default)]
        allow_http: bool,
    },
}

/// Names of the claims: the whole name of a top-level claim, or a dotted path
/// (`realm_access.roles`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClaimNames {
    /// The tenant: text or integer.
    pub tenant: String,
    /// The user's key: an integer, or its digits as text.
    pub user: String,
    /// The roles: an array, or one text with spaces or commas.
    pub roles: String,
    /// The business units, as the roles.
    pub business_units: String,
    /// The client that asked for the token; the mapping looks at it.
    pub authorized_party: String,
    /// The token's own id.
    pub token_id: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            tenant: "tenant".to_owned(),
            user: "user".to_owned(),
            roles: "roles".to_owned(),
            business_units: "business_units".to_owned(),
            authorized_party: "azp".to_owned(),
            token_id: "jti".to_owned(),
        }
    }
}

/// What a token of this issuer for this `sub` or `azp` lacks. A claim of the token goes before; an
/// entry for `sub` goes before one for `azp`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MappingEntry {
    /// The issuer, as configured.
    pub issuer: String,
    /// Matches this subject; exactly one of `sub` and `azp` is set.
    pub sub: Option<String>,
    /// Matches this client.
    pub azp: Option<String>,
    /// The tenant.
    pub tenant: Option<String>,
    /// The user's key.
    pub user: Option<u64>,
    /// The roles.
    #[serde(deserialize_with = "one_or_many")]
    pub roles: Vec<String>,
    /// The business units.
    #[serde(deserialize_with = "one_or_many")]
    pub business_units: Vec<String>,
}

/// Something wrong in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{key}: {problem}")]
pub struct AuthProblem {
    /// The setting: `auth.issuers[0].audiences`.
    pub key: String,
    /// What is wrong and what to do. No secret in it.
    pub problem: String,
}

impl AuthProblem {
    pub(crate) fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }
}
