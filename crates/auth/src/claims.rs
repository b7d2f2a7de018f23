//! The claims: times, audience, and the principal that they name.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use tidewire_event::Tenant;
use tidewire_rights::{Principal, USER_KEY_MAX};

use crate::mapping::{Mapping, Matched};
use crate::{ClaimNames, TokenError};

/// Most roles, and most business units, of a token.
pub const ROLES_MAX: usize = 256;
/// Most bytes of `sub`, `jti` and `azp`, and of one role: they become parts of keys.
pub const SUBJECT_BYTES_MAX: usize = 256;

type Claims = Map<String, Value>;

/// Checks `exp` and `nbf`; tells `exp`.
pub(crate) fn check_times(claims: &Claims, now_unix: i64, leeway: i64) -> Result<i64, TokenError> {
    let expires_at = claims.get("exp").and_then(numeric_date).ok_or(TokenError::Claims)?;
    let not_before = match claims.get("nbf") {
        None => None,
        Some(value) => Some(numeric_date(value).ok_or(TokenError::Claims)?),
    };
    if now_unix >= expires_at.saturating_add(leeway) {
        return Err(TokenError::Expired);
    }
    if not_before.is_some_and(|at| now_unix.saturating_add(leeway) < at) {
        return Err(TokenError::NotYetValid);
    }
    Ok(expires_at)
}

/// Checks that one of the audiences is meant.
pub(crate) fn check_audience(claims: &Claims, audiences: &[String]) -> Result<(), TokenError> {
    let accepted = |name: &str| audiences.iter().any(|audience| audience == name);
    let named = match claims.get("aud") {
        Some(Value::String(name)) => accepted(name),
        Some(Value::Array(names)) => {
            let mut named = false;
            for name in names {
                named |= accepted(name.as_str().ok_or(TokenError::Claims)?);
            }
            named
        }
        _ => return Err(TokenError::Claims),
    };
    if named { Ok(()) } else { Err(TokenError::Audience) }
}

/// Seconds since 1970 (RFC 7519, 2): an integer; a fraction is dropped, an exponent is refused.
fn numeric_date(value: &Value) -> Option<i64> {
    let Value::Number(number) = value else { return None };
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
    let plain = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    whole.parse().ok().filter(|seconds| plain && *seconds >= 0)
}

/// What turns claims into a principal.
pub(crate) struct PrincipalRules {
    pub(crate) names: ClaimNames,
    pub(crate) mapping: Mapping,
    pub(crate) tenant: Option<Tenant>,
}

impl PrincipalRules {
    /// The principal of a token whose signature, times and audience are good.
    pub(crate) fn principal(
        &self,
        claims: &Claims,
        issuer: &str,
        issuer_tenants: &BTreeSet<Tenant>,
        expires_at: i64,
    ) -> Result<Principal, TokenError> {
        let names = &self.names;
        let subject = text_claim(claims, "sub")?;
        let party = text_claim(claims, &names.authorized_party)?;
        let mapped = self.mapping.matching(issuer, subject.as_deref(), party.as_deref());

        let tenant = self.tenant(claims, &mapped)?;
        if !issuer_tenants.is_empty() && !issuer_tenants.contains(&tenant) {
            return Err(TokenError::Tenant);
        }
        let user_key = match claim(claims, &names.user) {
            Some(value) => Some(user_key(value)?),
            None => mapped.first(|entry| entry.user),
        };
        if user_key.is_none() && subject.is_none() {
            return Err(TokenError::Claims);
        }
        let list = |name: &str, mapped: Option<Vec<String>>| match claim(claims, name) {
            Some(value) => names_of(value),
            None => Ok(mapped.unwrap_or_default()),
        };
        let some = |names: &Vec<String>| (!names.is_empty()).then(|| names.clone());
        let roles = list(&names.roles, mapped.first(|entry| some(&entry.roles)))?;
        let units = list(&names.business_units, mapped.first(|entry| some(&entry.units)))?;
        Ok(Principal {
            tenant,
            id: Principal::id_of(user_key, issuer, subject.as_deref().unwrap_or_default()),
            user_key,
            roles: Principal::sorted(roles),
            business_units: Principal::sorted(units),
            expires_at,
            // Only revocations look at it: what is no date is as good as absent.
            issued_at: claims.get("iat").and_then(numeric_date),
            token_id: text_claim(claims, &names.token_id)?,
        })
    }

    fn tenant(&self, claims: &Claims, mapped: &Matched<'_>) -> Result<Tenant, TokenError> {
        let named = match claim(claims, &self.names.tenant) {
            Some(value) => {
                let text = plain_text(value).ok_or(TokenError::Claims)?;
                Some(Tenant::new(&text).map_err(|_| TokenError::Claims)?)
            }
            None => mapped.first(|entry| entry.tenant.clone()),
        };
        match (named, &self.tenant) {
            (Some(named), Some(only)) if named != *only => Err(TokenError::Tenant),
            (Some(named), _) => Ok(named),
            (None, Some(only)) => Ok(only.clone()),
            (None, None) => Err(TokenError::Tenant),
        }
    }
}

/// A claim by its whole name, else by a dotted path; null is absent. The whole name comes first because
/// some issuers name claims by a URL, dots and all.
fn claim<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    let walk = || {
        let mut parts = name.split('.');
        let first = claims.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    };
    claims.get(name).or_else(walk).filter(|value| !value.is_null())
}

fn text_claim(claims: &Claims, name: &str) -> Result<Option<String>, TokenError> {
    match claim(claims, name) {
        None => Ok(None),
        Some(Value::String(text)) if is_name(text) => Ok(Some(text.clone())),
        Some(_) => Err(TokenError::Claims),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= SUBJECT_BYTES_MAX && !text.chars().any(char::is_control)
}

/// Text, or an integer as its digits: some systems name tenants and roles by number.
fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => number.as_u64().map(|number| number.to_string()),
        _ => None,
    }
}

fn user_key(value: &Value) -> Result<u64, TokenError> {
    let text = plain_text(value).ok_or(TokenError::Claims)?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|key| digits && *key <= USER_KEY_MAX).ok_or(TokenError::Claims)
}

fn names_of(value: &Value) -> Result<Vec<String>, TokenError> {
    let names: Vec<String> = match value {
        Value::String(text) => {
            text.split([' ', ',']).filter(|name| !name.is_empty()).map(str::to_owned).collect()
        }
        Value::Array(values) => values
            .iter()
            .map(|value| plain_text(value).ok_or(TokenError::Claims))
            .collect::<Result<_, _>>()?,
        _ => return Err(TokenError::Claims),
    };
    if names.len() > ROLES_MAX || !names.iter().all(|name| is_name(name)) {
        return Err(TokenError::Claims);
    }
    Ok(names)
}
