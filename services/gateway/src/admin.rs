//! The admin API: who is connected, kick, revoke. The same paths on both listeners.
//!
//! On the public listener an administrator (a bearer token with the admin role) acts on his own tenant.
//! On the internal one he may act on any tenant; and where that listener is bound to loopback, whoever
//! reaches it may, without a token: then the `Host` has to be loopback too, so that no page of a browser
//! can come in under another name. Each write leaves an audit line, whatever came of it.

mod access;
pub(crate) mod query;
mod revocations;
mod sessions;

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tidewire_http::{ApiHandler, ApiReply, ApiRequest, Method, Reply, Site, StatusCode};
use tidewire_wire::error::Refusal;
use tidewire_wire::request::redact;

use crate::refused::reply;
use crate::shared::{Shared, unix_ms};

use access::Asked;

pub(crate) use access::Door;

/// Most bytes of a body.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// The admin API for one listener.
pub(crate) fn site(shared: &Arc<Shared>, door: Door) -> Site {
    use Call::{Kick, Lift, List, Revocations, Revoke};
    let mut site = Site::new();
    for (method, path, call) in [
        (Method::GET, "/api/v1/admin/sessions", List),
        (Method::POST, "/api/v1/admin/kicks", Kick),
        (Method::GET, "/api/v1/admin/revocations", Revocations),
        (Method::POST, "/api/v1/admin/revocations", Revoke),
        (Method::DELETE, "/api/v1/admin/revocations/{kind}/{id}", Lift),
    ] {
        let handler = Admin { shared: Arc::clone(shared), door, call };
        site = match door {
            // The pages of allowed origins may administer with the token that they have.
            Door::Public => site.cors_route(method, path, handler),
            Door::Internal => site.route(method, path, handler),
        };
    }
    site
}

#[derive(Clone, Copy)]
enum Call {
    List,
    Kick,
    Revocations,
    Revoke,
    Lift,
}

struct Admin {
    shared: Arc<Shared>,
    door: Door,
    call: Call,
}

impl ApiHandler for Admin {
    fn handle(&self, request: ApiRequest) -> BoxFuture<'static, ApiReply> {
        let (shared, door, call) = (Arc::clone(&self.shared), self.door, self.call);
        async move {
            let method = request.method.to_string();
            let uri = match request.query.as_str() {
                "" => redact(&request.path),
                query => redact(&format!("{}?{query}", request.path)),
            };
            let answer = match answer(&shared, door, call, request).await {
                Ok(body) => Reply::json(StatusCode::OK, body.to_string()),
                Err(refusal) => {
                    let body = refusal.body(unix_ms(), &method, &uri).to_json();
                    reply(&refusal, body)
                }
            };
            // It tells who is connected.
            answer.header("cache-control", "no-store").into()
        }
        .boxed()
    }
}

async fn answer(
    shared: &Arc<Shared>,
    door: Door,
    call: Call,
    request: ApiRequest,
) -> Result<serde_json::Value, Refusal> {
    let access = access::admit(shared, Asked::of(door, &request)).await?;
    match call {
        Call::List => sessions::list(shared, &access, &request.query),
        Call::Revocations => revocations::list(shared, &access, &request.query),
        Call::Kick | Call::Revoke => {
            let body = request.body.collect(BODY_BYTES_MAX).await;
            let body = body.map_err(|error| Refusal::bad_request(error.to_string()))?;
            match call {
                Call::Kick => revocations::kick(shared, &access, &body).await,
                _ => revocations::revoke(shared, &access, &body).await,
            }
        }
        Call::Lift => {
            let (kind, id) = (request.param("kind"), request.param("id"));
            revocations::lift(shared, &access, kind, id, &request.query).await
        }
    }
}
