//! Section `auth` and `rights`.

use std::sync::Arc;

use tidewire_auth::{AuthOptions, ClaimNames, IssuerOptions, KeySource, MappingEntry, Verifier};
use tidewire_config::{self as config, RightsDefault, Settings};
use tidewire_rights::{DefaultRight, RightsOptions, RoleMap, TypeRights};

use crate::start::StartError;

/// The options of the verifier. The development secret is taken only where `development` says so.
#[must_use]
pub(crate) fn auth_options(settings: &Settings, development: bool) -> AuthOptions {
    let auth = &settings.auth;
    AuthOptions {
        issuers: auth.issuers.iter().map(issuer).collect(),
        tenant: auth.tenant.clone(),
        leeway_seconds: u32::try_from(auth.leeway.as_secs()).unwrap_or(u32::MAX),
        roles: RoleMap {
            producer: auth.roles.producer.clone(),
            admin: auth.roles.admin.clone(),
            script_author: auth.roles.script_author.clone(),
        },
        claims: ClaimNames {
            tenant: auth.claims.tenant.clone(),
            user: auth.claims.user.clone(),
            roles: auth.claims.roles.clone(),
            business_units: auth.claims.business_units.clone(),
            token_id: auth.claims.token_id.clone(),
            ..ClaimNames::default()
        },
        mapping: auth.mapping.iter().map(mapping).collect(),
        verified_tokens_max: auth.token_cache_max,
        development_secret_allowed: development,
        ..AuthOptions::default()
    }
}

fn issuer(issuer: &config::Issuer) -> IssuerOptions {
    IssuerOptions {
        issuer: issuer.issuer.clone(),
        audiences: issuer.audiences.clone(),
        key: match &issuer.key {
            config::KeySource::Hs256SecretFile(path) => KeySource::Hs256SecretFile(path.clone()),
            config::KeySource::PemFile(path) => KeySource::PemFile(path.clone()),
            config::KeySource::Jwks { url, ca_file } => {
                KeySource::Jwks { url: url.clone(), ca_file: ca_file.clone(), allow_http: false }
            }
        },
        tenants: issuer.tenants.clone(),
    }
}

fn mapping(entry: &config::Mapping) -> MappingEntry {
    MappingEntry {
        issuer: entry.issuer.clone(),
        sub: entry.sub.clone(),
        azp: entry.azp.clone(),
        tenant: entry.tenant.clone(),
        user: entry.user,
        roles: entry.roles.clone(),
        business_units: entry.business_units.clone(),
    }
}

/// The verifier.
///
/// # Errors
/// Every setting that cannot be right.
pub(crate) fn verifier(options: &AuthOptions) -> Result<Arc<Verifier>, StartError> {
    Verifier::new(options).map(Arc::new).map_err(StartError::values)
}

/// Who may read what.
///
/// # Errors
/// Every rule that cannot be right.
pub(crate) fn rights(settings: &Settings) -> Result<Arc<TypeRights>, StartError> {
    let options = RightsOptions {
        default: match settings.rights.default {
            RightsDefault::Deny => DefaultRight::Deny,
            RightsDefault::Open => DefaultRight::Open,
        },
        read: settings.rights.read.clone(),
    };
    TypeRights::new(&options).map(Arc::new).map_err(StartError::values)
}
