//! Kick, revoke, list and lift: each write is a record of the control topic, which all replicas follow.

use serde::Deserialize;
use serde_json::{Value, json};
use tidewire_auth::unix_now;
use tidewire_event::Tenant;
use tidewire_log::WriteError;
use tidewire_rights::{Action, NOTE_BYTES_MAX, REVOCATIONS_MAX, Revocation, Target, TargetKind};
use tidewire_wire::error::Refusal;
use tidewire_wire::frame::event_time;
use tracing::info;

use super::access::Access;
use super::query::{Query, decode};
use crate::control;
use crate::shared::Shared;

/// For how long a revocation holds that says nothing else: longer than tokens should live.
const REVOCATION_SECONDS: i64 = 24 * 3600;
/// The longest revocation.
const REVOCATION_SECONDS_MAX: i64 = 400 * 24 * 3600;
/// A replica that reads a kick later than this passes it by: who is connected then has come back.
const KICK_SECONDS: i64 = 60;
/// Revocations on a page that names no limit.
const PAGE: usize = 1000;
/// Seconds after which a write that Kafka did not take may be tried again.
const RETRY_AFTER: u32 = 2;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    kind: String,
    id: Option<String>,
    tenant: Option<String>,
    reason: Option<String>,
    seconds: Option<i64>,
}

impl Order {
    fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let order: Self = serde_json::from_slice(body)
            .map_err(|error| Refusal::bad_request(format!("the body: {error}")))?;
        let reason = order.reason.as_deref().unwrap_or_default();
        if reason.len() > NOTE_BYTES_MAX || reason.chars().any(char::is_control) {
            let text = format!("'reason' has up to {NOTE_BYTES_MAX} bytes, no control characters");
            return Err(Refusal::bad_request(text));
        }
        Ok(order)
    }

    fn target(&self, action: Action, access: &Access) -> Result<Target, Refusal> {
        let tenant = access.to_write(self.tenant.as_deref())?;
        target(action, tenant, &self.kind, self.id.as_deref())
    }
}

fn target(action: Action, tenant: Tenant, kind: &str, id: Option<&str>) -> Result<Target, Refusal> {
    let kinds = match action {
        Action::Revoke => "token, principal, tenant or socket",
        Action::Kick => "socket, token, principal or tenant",
    };
    let kind = TargetKind::parse(kind)
        .ok_or_else(|| Refusal::bad_request(format!("'kind' is {kinds}")))?;
    let id = match (kind, id) {
        (_, Some(id)) => id.to_owned(),
        (TargetKind::Tenant, None) => tenant.as_str().to_owned(),
        (_, None) => return Err(Refusal::bad_request("name the 'id'")),
    };
    Target::new(action, tenant, kind, &id).map_err(|error| Refusal::bad_request(error.to_string()))
}

pub(super) async fn kick(shared: &Shared, access: &Access, body: &[u8]) -> Result<Value, Refusal> {
    let order = Order::parse(body)?;
    let target = order.target(Action::Kick, access)?;
    if order.seconds.is_some() {
        return Err(Refusal::bad_request("a kick has no 'seconds': it refuses nobody"));
    }
    if target.kind == TargetKind::Socket
        && let Some(id) = shared.registry.id(&target.id)
        && shared.registry.principal(id, &target.tenant).is_none()
    {
        return Err(Refusal::not_found("no such socket is open here"));
    }
    put(shared, access, order, target, KICK_SECONDS).await
}

pub(super) async fn revoke(
    shared: &Shared,
    access: &Access,
    body: &[u8],
) -> Result<Value, Refusal> {
    let mut order = Order::parse(body)?;
    if order.kind == TargetKind::Socket.as_str() {
        order = by_socket(shared, access, order)?;
    }
    let target = order.target(Action::Revoke, access)?;
    let seconds = order.seconds.unwrap_or(REVOCATION_SECONDS);
    if !(1..=REVOCATION_SECONDS_MAX).contains(&seconds) {
        let text = format!("'seconds' is from 1 to {REVOCATION_SECONDS_MAX}");
        return Err(Refusal::bad_request(text));
    }
    put(shared, access, order, target, seconds).await
}

/// What a socket rests on is its token: that is revoked.
fn by_socket(shared: &Shared, access: &Access, order: Order) -> Result<Order, Refusal> {
    let tenant = access.to_write(order.tenant.as_deref())?;
    let registry = &shared.registry;
    let id = order.id.as_deref().and_then(|name| registry.id(name));
    let principal = id.and_then(|id| registry.principal(id, &tenant)).ok_or_else(|| {
        Refusal::not_found("no such socket is open on this replica: ask the one that lists it")
    })?;
    let token = principal.token_id.clone().ok_or_else(|| {
        Refusal::bad_request("the token of this socket has no id: revoke its principal")
    })?;
    Ok(Order { kind: TargetKind::Token.as_str().to_owned(), id: Some(token), ..order })
}

async fn put(
    shared: &Shared,
    access: &Access,
    order: Order,
    target: Target,
    seconds: i64,
) -> Result<Value, Refusal> {
    if shared.verifier.revocations().read().len() >= REVOCATIONS_MAX {
        let text = format!("there are {REVOCATIONS_MAX} revocations already; lift some");
        return Err(Refusal::too_many(text, RETRY_AFTER));
    }
    let at = unix_now();
    let reason = order.reason.unwrap_or_default();
    let revocation = Revocation { target, at, until: at + seconds, by: access.by.clone(), reason };
    let written = shared.control.write(revocation.key(), Some(revocation.value())).await;
    let name = match revocation.target.action {
        Action::Revoke => "revoke",
        Action::Kick => "kick",
    };
    audit(name, access, &revocation, &written);
    written.map_err(|error| control::refusal(&error))?;
    Ok(shown(&revocation))
}

pub(super) fn list(shared: &Shared, access: &Access, query: &str) -> Result<Value, Refusal> {
    let query = Query::parse(query, &["tenant", "limit", "after"])?;
    let number = |name: &str, default: usize| match query.get(name) {
        None => Ok(default),
        Some(text) => {
            text.parse().map_err(|_| Refusal::bad_request(format!("'{name}' is a number from 0")))
        }
    };
    let (limit, after) = (number("limit", PAGE)?.clamp(1, PAGE), number("after", 0)?);
    let tenant = access.to_read(query.get("tenant"))?;
    let found = shared.verifier.revocations().read().in_force(tenant.as_ref(), unix_now());
    let page: Vec<Value> = found.iter().skip(after).take(limit).map(|one| shown(one)).collect();
    let end = after.saturating_add(page.len());
    let next = (end < found.len()).then_some(end);
    Ok(json!({"total": found.len(), "revocations": page, "next": next}))
}

pub(super) async fn lift(
    shared: &Shared,
    access: &Access,
    kind: &str,
    id: &str,
    query: &str,
) -> Result<Value, Refusal> {
    let query = Query::parse(query, &["tenant"])?;
    let tenant = access.to_write(query.get("tenant"))?;
    let id =
        decode(id).ok_or_else(|| Refusal::bad_request("the id is not percent-encoded UTF-8"))?;
    let target = target(Action::Revoke, tenant, kind, Some(&id))?;
    let found = shared.verifier.revocations().read().of_target(&target);
    if found.is_empty() {
        return Err(Refusal::not_found("no such revocation"));
    }
    for revocation in &found {
        let written = shared.control.write(revocation.key(), None).await;
        audit("lift", access, revocation, &written);
        written.map_err(|error| control::refusal(&error))?;
    }
    Ok(json!({"lifted": found.len()}))
}

fn shown(revocation: &Revocation) -> Value {
    let Revocation { target, at, until, by, reason } = revocation;
    let time = |seconds: i64| event_time(seconds.saturating_mul(1000)).to_string();
    json!({
        "tenant": target.tenant.as_str(),
        "kind": target.kind.as_str(),
        "id": &*target.id,
        "at": time(*at),
        "until": time(*until),
        "by": by,
        "reason": reason,
    })
}

/// Who did what, to whom, from where, and what came of it.
fn audit(
    action: &'static str,
    access: &Access,
    revocation: &Revocation,
    written: &Result<(), WriteError>,
) {
    let Revocation { target, until, reason, .. } = revocation;
    let outcome = match written {
        Ok(()) => "done".to_owned(),
        Err(error) => format!("failed: {error}"),
    };
    info!(target: "audit", action, tenant = %target.tenant, kind = target.kind.as_str(),
        id = %target.id, until, reason, by = access.by, address = %access.address, outcome,
        "an administrator acted");
}
