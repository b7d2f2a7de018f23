//! Section `auth`: the flat keys are one issuer, the first of all issuers.

use std::path::PathBuf;
use std::time::Duration;

use super::seconds;
use super::url::is_http_url;
use crate::reader::{Reader, Row};

/// The URL itself is not shown: some key servers want a secret in it.
const NOT_A_URL: &str = "is not a URL that starts with http:// or https://";
const ISSUER_KEYS: &[&str] =
    &["issuer", "audiences", "jwks_url", "ca_file", "hs256_secret_file", "pem_file", "tenants"];
const MAPPING_KEYS: &[&str] =
    &["issuer", "azp", "sub", "tenant", "user", "roles", "business_units"];

/// Section `auth`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Auth {
    /// All issuers: the one of the flat keys first, if it is set.
    pub issuers: Vec<Issuer>,
    pub tenant: Option<String>,
    pub mapping: Vec<Mapping>,
    pub leeway: Duration,
    pub path_token: bool,
    pub token_cache_max: usize,
    pub ticket_ttl: Duration,
    pub claims: Claims,
    pub roles: Roles,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// HS256: a shared secret in a file.
    Hs256SecretFile(PathBuf),
    /// RS256: a key set behind a URL, with the authorities to trust for it.
    Jwks {
        /// The URL.
        url: String,
        /// A PEM file; `None`: the public authorities.
        ca_file: Option<PathBuf>,
    },
    /// RS256: a public key in a PEM file.
    PemFile(PathBuf),
}

/// One issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Issuer {
    pub issuer: String,
    pub audiences: Vec<String>,
    pub key: KeySource,
    pub tenants: Vec<String>,
}

/// What the tokens of some client or person lack.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Mapping {
    pub issuer: String,
    pub azp: Option<String>,
    pub sub: Option<String>,
    pub tenant: Option<String>,
    pub user: Option<u64>,
    pub roles: Vec<String>,
    pub business_units: Vec<String>,
}

/// Names of claims.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Claims {
    pub tenant: String,
    pub user: String,
    pub roles: String,
    pub business_units: String,
    pub token_id: String,
}

/// Which roles give which right.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Roles {
    pub producer: Vec<String>,
    pub admin: Vec<String>,
    pub script_author: Vec<String>,
}

pub(super) fn auth(r: &Reader) -> Auth {
    let mut issuers = Vec::new();
    let (issuer, audience) = (r.optional("auth.issuer"), r.optional("auth.audience"));
    let (secret, jwks) = (r.file("auth.hs256_secret_file"), r.optional("auth.jwks_url"));
    let key = match (secret, jwks) {
        (Some(_), Some(_)) => {
            r.problem(
                "auth.jwks_url",
                "stands beside auth.hs256_secret_file: one issuer has one kind of key",
            );
            None
        }
        (Some(file), None) => Some(KeySource::Hs256SecretFile(file)),
        (None, Some(url)) => {
            if !is_http_url(&url) {
                r.problem("auth.jwks_url", NOT_A_URL);
            }
            Some(KeySource::Jwks { url, ca_file: None })
        }
        (None, None) => None,
    };
    match (issuer, key) {
        (Some(issuer), Some(key)) => {
            if audience.is_none() {
                r.problem("auth.audience", "is required: what tokens name as 'aud'");
            }
            let audiences = audience.into_iter().collect();
            issuers.push(Issuer { issuer, audiences, key, tenants: Vec::new() });
        }
        (None, Some(_)) => r.problem("auth.issuer", "is required: what tokens name as 'iss'"),
        // The development issuer's secret is made by `tidewire dev`.
        (_, None) => {}
    }
    issuers.extend(r.rows("auth.issuers", ISSUER_KEYS).iter().filter_map(issuer_of));
    Auth {
        issuers,
        tenant: r.optional("auth.tenant"),
        mapping: r.rows("auth.mapping", MAPPING_KEYS).iter().filter_map(mapping_of).collect(),
        leeway: r.duration("auth.leeway", seconds(0)..=seconds(30)),
        path_token: r.truth("auth.path_token"),
        token_cache_max: r.number("auth.token_cache_max", 1..=10_000_000),
        ticket_ttl: r.duration("auth.ticket_ttl", seconds(1)..=seconds(600)),
        claims: Claims {
            tenant: r.text("auth.claims.tenant"),
            user: r.text("auth.claims.user"),
            roles: r.text("auth.claims.roles"),
            business_units: r.text("auth.claims.business_units"),
            token_id: r.text("auth.claims.token_id"),
        },
        roles: Roles {
            producer: r.list("auth.roles.producer"),
            admin: r.list("auth.roles.admin"),
            script_author: r.list("auth.roles.script_author"),
        },
    }
}

fn issuer_of(row: &Row<'_>) -> Option<Issuer> {
    let issuer = row.text("issuer");
    let audiences = row.list("audiences");
    if issuer.is_none() {
        row.problem("issuer", "is required: what tokens name as 'iss'");
    }
    if audiences.is_empty() {
        row.problem("audiences", "is required: what tokens name as 'aud'");
    }
    let ca_file = row.file("ca_file");
    let jwks_url = row.text("jwks_url");
    if jwks_url.as_deref().is_some_and(|url| !is_http_url(url)) {
        row.problem("jwks_url", NOT_A_URL);
    }
    let keys = [
        row.file("hs256_secret_file").map(KeySource::Hs256SecretFile),
        jwks_url.map(|url| KeySource::Jwks { url, ca_file }),
        row.file("pem_file").map(KeySource::PemFile),
    ];
    let mut keys: Vec<KeySource> = keys.into_iter().flatten().collect();
    if keys.len() != 1 {
        row.problem("", "needs exactly one of jwks_url, pem_file and hs256_secret_file");
        return None;
    }
    Some(Issuer { issuer: issuer?, audiences, key: keys.pop()?, tenants: row.list("tenants") })
}

fn mapping_of(row: &Row<'_>) -> Option<Mapping> {
    let issuer = row.text("issuer");
    if issuer.is_none() {
        row.problem("issuer", "is required");
    }
    let (azp, sub) = (row.text("azp"), row.text("sub"));
    if azp.is_some() == sub.is_some() {
        row.problem("", "needs exactly one of azp and sub");
    }
    let user = row.text("user").and_then(|text| {
        let user = text.parse().ok();
        if user.is_none() {
            row.problem("user", "is the key of a user: a whole number");
        }
        user
    });
    Some(Mapping {
        issuer: issuer?,
        azp,
        sub,
        tenant: row.text("tenant"),
        user,
        roles: row.list("roles"),
        business_units: row.list("business_units"),
    })
}
