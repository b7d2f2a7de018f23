//! `GET /api/v1/admin/sessions`: the sockets that are open on this replica.

use serde_json::{Value, json};
use tidewire_router::ConnectionId;
use tidewire_wire::error::Refusal;
use tidewire_wire::frame::event_time;

use super::access::Access;
use super::query::Query;
use crate::registry::{Opened, Registry, Wanted, shown};
use crate::shared::Shared;

pub(super) fn list(shared: &Shared, access: &Access, query: &str) -> Result<Value, Refusal> {
    let query = Query::parse(query, &["tenant", "principal", "limit", "after"])?;
    let limit = query.limit()?;
    let registry = &shared.registry;
    let after = match query.get("after") {
        None => None,
        Some(name) => Some(registry.id(name).ok_or_else(|| {
            Refusal::bad_request("'after' is not the id of a socket of this replica")
        })?),
    };
    let tenant = access.to_read(query.get("tenant"))?;
    let principal = query.get("principal").map(str::to_owned);
    let page = registry.list(&Wanted { tenant, principal, after, limit });
    let next = (page.total > page.sockets.len())
        .then(|| page.sockets.last().map(|(id, _)| registry.name(*id)));
    let sockets = page.sockets.iter();
    let sockets: Vec<Value> = sockets.map(|(id, socket)| entry(registry, *id, socket)).collect();
    Ok(json!({
        "replica": registry.replica(),
        "total": page.total,
        "sessions": sockets,
        "next": next.flatten(),
    }))
}

fn entry(registry: &Registry, id: ConnectionId, socket: &Opened) -> Value {
    let principal = &socket.principal;
    let subscriptions = socket.subscriptions.iter();
    let subscriptions: Vec<Value> = subscriptions
        .map(|(name, definition)| {
            json!({"id": name.as_deref(), "path": shown(definition), "key": definition.number()})
        })
        .collect();
    json!({
        "id": registry.name(id),
        "tenant": principal.tenant.as_str(),
        "principal": &*principal.id,
        "mode": socket.mode,
        "session": socket.session,
        "subscriptions": subscriptions,
        "since": event_time(socket.since.saturating_mul(1000)).to_string(),
        "address": socket.address.to_string(),
        "tokenId": principal.token_id,
        "tokenExpires": event_time(principal.expires_at.saturating_mul(1000)).to_string(),
    })
}
