//! `POST /api/v1/tickets`: a one-time ticket for a bearer token, so that browsers need not put the token
//! into a URL.

use std::sync::Arc;

use serde_json::json;
use tidewire_auth::{Ticket, TokenError, bearer, encode_grant};
use tidewire_http::{ApiRequest, Method, Reply, Site, StatusCode};
use tidewire_telemetry::metrics::StoreOperation;
use tidewire_wire::error::Refusal;
use tracing::warn;

use crate::admission::verify;
use crate::refused::reply;
use crate::shared::{Shared, unix_ms};

const PATH: &str = "/api/v1/tickets";

pub(crate) fn site(shared: &Arc<Shared>) -> Site {
    let shared = Arc::clone(shared);
    Site::new().cors_route(Method::POST, PATH, move |request: ApiRequest| {
        let shared = Arc::clone(&shared);
        let token = bearer(request.header("authorization")).unwrap_or_default().to_owned();
        async move {
            match issue(&shared, &token).await {
                Ok(reply) => reply,
                Err(refusal) => {
                    let body = refusal.body(unix_ms(), "POST", PATH).to_json();
                    reply(&refusal, body)
                }
            }
        }
    })
}

async fn issue(shared: &Shared, token: &str) -> Result<Reply, Refusal> {
    let principal = verify(shared, token).await.map_err(|error| match error {
        TokenError::KeysUnavailable => Refusal::unavailable(error.message(), 2),
        _ => Refusal::unauthorized(error.message()),
    })?;
    let unavailable = || Refusal::unavailable("tickets cannot be kept at the moment", 2);
    let store = shared.store.as_ref().ok_or_else(unavailable)?;
    let ticket = Ticket::new().map_err(|e| {
        warn!(error = %e, "no ticket could be made");
        Refusal::internal("no ticket could be made")
    })?;
    let ttl = shared.options.ticket_ttl;
    store.put(ticket.hash, encode_grant(&principal), ttl).await.map_err(|_| {
        shared.metrics.store_errors.inc(StoreOperation::TicketIssue);
        unavailable()
    })?;
    let body = json!({"ticket": ticket.text.expose(), "expiresIn": ttl.as_secs()});
    Ok(Reply::json(StatusCode::OK, body.to_string()).header("cache-control", "no-store"))
}
