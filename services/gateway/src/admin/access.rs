//! Who may administer, and which tenants.

use std::net::IpAddr;

use tidewire_auth::{Principal, TokenError, bearer};
use tidewire_event::Tenant;
use tidewire_http::ApiRequest;
use tidewire_rights::{Duty, NOTE_BYTES_MAX};
use tidewire_wire::error::Refusal;
use tracing::info;

use crate::admission::verify;
use crate::shared::Shared;

/// Seconds after which a refused client may try again.
const RETRY_AFTER: u32 = 2;

/// By which listener a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Public,
    Internal,
}

/// What is looked at to tell who asks.
pub(super) struct Asked {
    door: Door,
    address: IpAddr,
    host: Option<String>,
    authorization: Option<String>,
}

impl Asked {
    pub(super) fn of(door: Door, request: &ApiRequest) -> Self {
        let header = |name: &str| request.header(name).map(str::to_owned);
        Self {
            door,
            address: request.peer,
            host: header("host"),
            authorization: header("authorization"),
        }
    }
}

/// An administrator, and how far he reaches.
#[derive(Clone, Debug)]
pub(super) struct Access {
    /// Who, for records and audit lines.
    pub(super) by: String,
    /// From where.
    pub(super) address: IpAddr,
    /// The tenant of his token.
    own: Option<Tenant>,
    /// Whether he may act on others as well.
    all: bool,
}

/// Judges who asks.
pub(super) async fn admit(shared: &Shared, asked: Asked) -> Result<Access, Refusal> {
    let Asked { door, address, host, authorization } = asked;
    let Some(token) = bearer(authorization.as_deref()) else {
        let open = door == Door::Internal && shared.options.internal_on_loopback;
        if open && host.as_deref().is_some_and(is_loopback) {
            return Ok(Access { by: "operator".to_owned(), address, own: None, all: true });
        }
        return Err(Refusal::unauthorized(TokenError::Missing.message()));
    };
    let principal = verify(shared, token).await.map_err(|error| match error {
        TokenError::KeysUnavailable => Refusal::unavailable(error.message(), RETRY_AFTER),
        _ => Refusal::unauthorized(error.message()),
    })?;
    let by = name(&principal);
    if !shared.verifier.roles().may(Duty::Admin, &principal) {
        info!(target: "audit", by, %address, "the admin API was refused: not an administrator");
        let text = "administrators only: no role of the token is among auth.roles.admin";
        return Err(Refusal::forbidden(text));
    }
    let own = Some(principal.tenant.clone());
    Ok(Access { by, address, own, all: door == Door::Internal })
}

impl Access {
    /// The tenant to look at; `None` is all of them.
    pub(super) fn to_read(&self, wanted: Option<&str>) -> Result<Option<Tenant>, Refusal> {
        match wanted {
            None if self.all => Ok(None),
            None => Ok(self.own.clone()),
            Some(wanted) => self.reach(wanted).map(Some),
        }
    }

    /// The tenant to act on.
    pub(super) fn to_write(&self, wanted: Option<&str>) -> Result<Tenant, Refusal> {
        match (wanted, &self.own) {
            (Some(wanted), _) => self.reach(wanted),
            (None, Some(own)) => Ok(own.clone()),
            (None, None) => Err(Refusal::bad_request("name the 'tenant'")),
        }
    }

    fn reach(&self, wanted: &str) -> Result<Tenant, Refusal> {
        let tenant = Tenant::new(wanted);
        let tenant = tenant.map_err(|error| Refusal::bad_request(format!("'tenant': {error}")))?;
        if self.all || self.own.as_ref() == Some(&tenant) {
            return Ok(tenant);
        }
        Err(Refusal::forbidden("an administrator acts on his own tenant only"))
    }
}

/// `tenant/principal`, cut to what a record takes.
fn name(principal: &Principal) -> String {
    let mut name = format!("{}/{}", principal.tenant, principal.id);
    while name.len() > NOTE_BYTES_MAX {
        name.pop();
    }
    name
}

/// Whether the `Host` header names this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = name.parse().ok();
    name.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts() {
        for host in
            ["localhost", "LocalHost:8081", "127.0.0.1", "127.0.0.1:1", "[::1]:8081", "[::1]"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["", ":8081", "example.com", "localhost.example.com:80", "10.0.0.1:8081", "[::]"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn tenants_within_reach() {
        let tenant = |name: &str| Tenant::new(name).unwrap();
        let access = |own: Option<&str>, all| Access {
            by: String::new(),
            address: IpAddr::from([127, 0, 0, 1]),
            own: own.map(tenant),
            all,
        };
        let check = |own, all, wanted: Option<&str>, read: Result<Option<&str>, u16>, write| {
            let access = access(own, all);
            let got = access.to_read(wanted).map_err(|refusal| refusal.status);
            assert_eq!(got, read.map(|name| name.map(tenant)), "{own:?} {all} {wanted:?}");
            let got = access.to_write(wanted).map_err(|refusal| refusal.status);
            let write: Result<&str, u16> = write;
            assert_eq!(got, write.map(tenant), "{own:?} {all} {wanted:?}");
        };
        check(Some("acme"), false, None, Ok(Some("acme")), Ok("acme"));
        check(Some("acme"), false, Some("acme"), Ok(Some("acme")), Ok("acme"));
        check(Some("acme"), false, Some("beta"), Err(403), Err(403));
        check(Some("acme"), false, Some(""), Err(400), Err(400));
        check(Some("acme"), true, None, Ok(None), Ok("acme"));
        check(Some("acme"), true, Some("beta"), Ok(Some("beta")), Ok("beta"));
        check(None, true, None, Ok(None), Err(400));
        check(None, true, Some("beta"), Ok(Some("beta")), Ok("beta"));
    }
}
