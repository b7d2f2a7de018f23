//! `GET /ws/rest/{objectType}/{key}`: the target of `self` links.

use std::sync::Arc;

use tidewire_http::{ApiRequest, Method, Reply, Site, StatusCode};
use tidewire_router::SelfLinks;
use tidewire_wire::error::Refusal;
use tidewire_wire::request::redact;

use crate::shared::unix_ms;

/// Answers 307 to the host that serves the objects, where that is another one; else 404, until there is a
/// projection to answer from. The tenant is not known here (no token is needed to be sent elsewhere), so
/// the default base counts.
pub(crate) fn site(links: &Arc<SelfLinks>, public_url: &str) -> Site {
    let (links, public_url) = (Arc::clone(links), public_url.to_owned());
    Site::new().route(Method::GET, "/ws/rest/{type}/{key}", move |request: ApiRequest| {
        let answer = answer(&links, &public_url, &request);
        async move { answer }
    })
}

fn answer(links: &SelfLinks, public_url: &str, request: &ApiRequest) -> Reply {
    let base = links.default_base();
    if base == public_url {
        let refusal = Refusal::not_found(
            "objects are not served here; the setting model.self_base_url names who serves them",
        );
        let body = refusal.body(unix_ms(), "GET", &redact(&request.path)).to_json();
        return Reply::json(StatusCode::NOT_FOUND, body);
    }
    let (object_type, key) = (request.param("type"), request.param("key"));
    let location = format!("{base}/ws/rest/{object_type}/{key}");
    Reply::empty(StatusCode::TEMPORARY_REDIRECT).header("location", location)
}
