//! `/ws/rest/DLPAlertScript`: the registry of alert scripts, on the public listener.
//!
//! Each tenant has its own. An author or administrator sees all of them, anybody else those that he may
//! subscribe to; what he may not see is as unknown as what does not exist. Authors alone write. Each write
//! leaves an audit line, whatever came of it.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tidewire_auth::{TokenError, bearer};
use tidewire_http::{
    ApiBody, ApiHandler, ApiReply, ApiRequest, BodyError, Method, Reply, Site, StatusCode,
};
use tidewire_rights::{Duty, PermissionClass, Principal};
use tidewire_script::{Found, RECORD_BYTES_MAX, ScriptRecord, judge};
use tidewire_wire::error::Refusal;
use tidewire_wire::request::redact;
use tracing::info;

use super::save;
use super::shown::shown;
use crate::admin::query::{Query, decode};
use crate::admission::{no_alerts, verify};
use crate::refused::reply;
use crate::shared::{Shared, unix_ms};

const PATH: &str = "/ws/rest/DLPAlertScript";
/// A page ends with the script that makes it so long.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Seconds after which a refused client may try again.
const RETRY_AFTER: u32 = 2;

/// The API for the public listener.
pub(crate) fn site(shared: &Arc<Shared>) -> Site {
    use Call::{Create, Delete, Get, List, Replace};
    let one = format!("{PATH}/{{id}}");
    let mut site = Site::new();
    for (method, path, call) in [
        (Method::GET, PATH, List),
        (Method::POST, PATH, Create),
        (Method::GET, one.as_str(), Get),
        (Method::PUT, one.as_str(), Replace),
        (Method::DELETE, one.as_str(), Delete),
    ] {
        site = site.cors_route(method, path, Api { shared: Arc::clone(shared), call });
    }
    site
}

#[derive(Clone, Copy)]
enum Call {
    List,
    Get,
    Create,
    Replace,
    Delete,
}

struct Api {
    shared: Arc<Shared>,
    call: Call,
}

impl ApiHandler for Api {
    fn handle(&self, request: ApiRequest) -> BoxFuture<'static, ApiReply> {
        let (shared, call) = (Arc::clone(&self.shared), self.call);
        async move {
            let method = request.method.to_string();
            let uri = match request.query.as_str() {
                "" => redact(&request.path),
                query => redact(&format!("{}?{query}", request.path)),
            };
            let answer = match answer(&shared, call, request).await {
                Ok(body) => Reply::json(StatusCode::OK, body.to_string()),
                Err(refusal) => {
                    let body = refusal.body(unix_ms(), &method, &uri).to_json();
                    reply(&refusal, body)
                }
            };
            answer.header("cache-control", "no-store").into()
        }
        .boxed()
    }
}

async fn answer(shared: &Arc<Shared>, call: Call, request: ApiRequest) -> Result<Value, Refusal> {
    if shared.planes.alerts.is_none() {
        return Err(no_alerts());
    }
    if !shared.health.is_control_read() {
        return Err(Refusal::unavailable("this replica is not ready yet", RETRY_AFTER));
    }
    // The body is read by none but its reader: it is no thing to hold while something else is waited for.
    let token = request.header("authorization").map(str::to_owned);
    let id = decode(request.param("id"))
        .ok_or_else(|| Refusal::bad_request("code or key is not percent-encoded UTF-8"))?;
    let ApiRequest { query, body, peer, .. } = request;
    let asker = Asker::of(shared, token.as_deref(), peer).await?;
    match call {
        Call::List => list(shared, &asker, &query).await,
        Call::Get => Ok(shown(shared, &found(shared, &asker, &id).await?).into()),
        Call::Create => {
            asker.writes(shared)?;
            let record = record(shared, body).await?;
            save::create(shared, &asker, record).await
        }
        Call::Replace => {
            asker.writes(shared)?;
            let former = found(shared, &asker, &id).await?;
            let record = record(shared, body).await?;
            save::replace(shared, &asker, &former.script, record).await
        }
        Call::Delete => {
            asker.writes(shared)?;
            let former = found(shared, &asker, &id).await?;
            save::delete(shared, &asker, &former.script).await
        }
    }
}

/// Who asks, and from where.
pub(super) struct Asker {
    pub(super) principal: Arc<Principal>,
    pub(super) address: IpAddr,
    class: PermissionClass,
}

impl Asker {
    async fn of(
        shared: &Shared,
        authorization: Option<&str>,
        address: IpAddr,
    ) -> Result<Self, Refusal> {
        let Some(token) = bearer(authorization) else {
            return Err(Refusal::unauthorized(TokenError::Missing.message()));
        };
        let principal = verify(shared, token).await.map_err(|error| match error {
            TokenError::KeysUnavailable => Refusal::unavailable(error.message(), RETRY_AFTER),
            _ => Refusal::unauthorized(error.message()),
        })?;
        let class = shared.rights.permission_class(&principal);
        Ok(Self { principal, address, class })
    }

    fn has(&self, shared: &Shared, duty: Duty) -> bool {
        shared.verifier.roles().may(duty, &self.principal)
    }

    fn writes(&self, shared: &Shared) -> Result<(), Refusal> {
        let judged = judge::of_author(shared.verifier.roles(), &self.principal);
        if judged.is_ok() {
            return judged;
        }
        info!(target: "audit", tenant = %self.principal.tenant, by = &*self.principal.id,
            address = %self.address, "a write of alert scripts was refused: not a script author");
        judged
    }

    /// Whether he may see a script.
    ///
    /// # Errors
    /// It cannot be told now.
    async fn sees(&self, shared: &Shared, found: &Found) -> Result<bool, Refusal> {
        if self.has(shared, Duty::ScriptAuthor) || self.has(shared, Duty::Admin) {
            return Ok(true);
        }
        let (principal, class) = (&self.principal, &self.class);
        let judged = shared.scripts.may_subscribe(shared, principal, class, &found.script).await;
        match judged {
            Ok(()) => Ok(true),
            Err(refusal) if refusal.status == 403 => Ok(false),
            Err(other) => Err(other),
        }
    }
}

/// The script that the path names by its code or its key.
async fn found(shared: &Shared, asker: &Asker, id: &str) -> Result<Found, Refusal> {
    let tenant = &asker.principal.tenant;
    let found = {
        let registry = shared.scripts.registry.read();
        let by_number = || registry.by_number(tenant, id.parse().ok()?);
        registry.get(tenant, id).or_else(by_number)
    };
    match found {
        Some(found) if asker.sees(shared, &found).await? => Ok(found),
        _ => Err(Refusal::not_found("no alert script has this code or key")),
    }
}

async fn list(shared: &Shared, asker: &Asker, query: &str) -> Result<Value, Refusal> {
    let query = Query::parse(query, &["limit", "after"])?;
    let limit = query.limit()?;
    let all: Vec<Found> =
        shared.scripts.registry.read().of_tenant(&asker.principal.tenant).collect();
    let after = query.get("after");
    let mut page: Vec<Value> = Vec::new();
    let (mut bytes, mut last, mut next) = (0, None, None);
    for found in all.iter().filter(|found| after.is_none_or(|after| found.script.code() > after)) {
        if !asker.sees(shared, found).await? {
            continue;
        }
        if page.len() == limit || bytes >= PAGE_BYTES {
            next = last;
            break;
        }
        let record = &found.script.record;
        bytes += record.body.len() + record.template.len() + record.description.len();
        last = Some(found.script.code());
        page.push(shown(shared, found).into());
    }
    Ok(json!({"scripts": page, "next": next}))
}

/// The record in the body.
async fn record(shared: &Shared, body: ApiBody) -> Result<ScriptRecord, Refusal> {
    let body = body.collect(RECORD_BYTES_MAX).await.map_err(|error| match error {
        BodyError::TooLong { .. } => Refusal::too_large(error.to_string()),
        BodyError::Stalled => Refusal::timeout(error.to_string()),
        BodyError::Broken => Refusal::bad_request(error.to_string()),
    })?;
    let record = ScriptRecord::parse(&body);
    let record = record.map_err(|error| Refusal::bad_request(error.to_string()))?;
    record.check_types(&shared.model).map_err(|error| Refusal::bad_request(error.to_string()))?;
    Ok(record)
}
