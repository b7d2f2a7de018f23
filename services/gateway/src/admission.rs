//! Decides whether a request may become a socket: everything that can be refused is refused here, before
//! anything is registered.

use std::sync::Arc;

use tidewire_auth::{Ticket, TokenError, bearer, decode_grant, unix_now};
use tidewire_http::{RequestKind, SocketRequest};
use tidewire_rights::Principal;
use tidewire_script::Script;
use tidewire_telemetry::metrics::{RefusalReason, StoreOperation, TokenOutcome};
use tidewire_wire::definition::{ALERT_TYPE, Definition, EventSet, TypeSelector};
use tidewire_wire::error::Refusal;
use tidewire_wire::request::{
    ALERT_PREFIX, PathToken, Protocol, RawKeys, SocketPath, SocketQuery, Subprotocols, Token,
    parse_path, parse_query, resolve_keys, subprotocols,
};
use tracing::info;

use crate::caps::{Full, Place};
use crate::plane::PlaneKind;
use crate::shared::Shared;

/// Seconds after which a refused client may try again.
const RETRY_AFTER: u32 = 2;

/// A refusal and its metric label.
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) reason: RefusalReason,
}

impl Refused {
    fn new(reason: RefusalReason, refusal: Refusal) -> Self {
        Self { refusal, reason }
    }
}

/// The label of a refusal that a parser made.
impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let reason = match refusal.status {
            401 => RefusalReason::Token,
            403 => RefusalReason::Forbidden,
            404 => RefusalReason::Unknown,
            429 | 503 => RefusalReason::NotReady,
            _ => RefusalReason::BadRequest,
        };
        Self { refusal, reason }
    }
}

/// What was admitted.
pub(crate) struct Admitted {
    pub(crate) principal: Arc<Principal>,
    /// `None`: the socket begins without a subscription (`tidewire.v1`).
    pub(crate) definition: Option<Arc<Definition>>,
    /// The script whose alerts it is for, as it was judged.
    pub(crate) script: Option<Arc<Script>>,
    pub(crate) query: SocketQuery,
    pub(crate) speaks_v1: bool,
    pub(crate) echo: Option<Protocol>,
    pub(crate) place: Place,
}

impl Admitted {
    /// Where its socket will live.
    pub(crate) const fn plane(&self) -> PlaneKind {
        match self.script {
            Some(_) => PlaneKind::Alerts,
            None => PlaneKind::Objects,
        }
    }
}

/// Judges one request.
pub(crate) async fn admit(shared: &Shared, request: &SocketRequest) -> Result<Admitted, Refused> {
    if shared.health.is_draining() {
        let refusal = Refusal::unavailable("this replica is draining", RETRY_AFTER);
        return Err(Refused::new(RefusalReason::Draining, refusal));
    }
    if !shared.health.is_ready() {
        let refusal = Refusal::unavailable("this replica is not ready yet", RETRY_AFTER);
        return Err(Refused::new(RefusalReason::NotReady, refusal));
    }
    let path = parse_path(&request.path)?;
    let query = parse_query(&request.query)?;
    if let RequestKind::Neither { missing } = request.kind {
        let refusal = Refusal::upgrade_required(format!(
            "neither a WebSocket handshake nor an event stream: {missing}"
        ));
        return Err(Refused::new(RefusalReason::Upgrade, refusal));
    }
    check_origin(shared, request)?;
    let offered = subprotocols(request.subprotocols.iter().map(String::as_str))?;
    let (target, path_token) = match path {
        SocketPath::Objects { object_type, events, keys, token } => {
            (Target::Objects(object_type, events, keys), token)
        }
        SocketPath::AlertScript { code, token } => (Target::Alerts(code), token),
        SocketPath::V1 => (Target::Nothing, PathToken::Elsewhere),
    };
    let has_subscription = !matches!(target, Target::Nothing);
    let speaks_v1 = !has_subscription || offered.echo == Some(Protocol::TidewireV1);
    check_v1(speaks_v1, has_subscription, request, &offered, &query)?;
    if query.filter.is_some() {
        return Err(Refusal::bad_request("this version has no filters yet").into());
    }
    if matches!(target, Target::Alerts(_)) {
        check_alerts(shared, &query)?;
    }
    let principal = authenticate(shared, request, &query, &offered, path_token).await?;
    let (definition, script) = match target {
        Target::Objects(object_type, events, keys) => {
            let objects = define(shared, &principal, &object_type, events, &keys, &query)?;
            (Some(objects), None)
        }
        Target::Alerts(code) => {
            let (alerts, script) = define_alerts(shared, &principal, &code).await?;
            (Some(alerts), Some(script))
        }
        Target::Nothing => (None, None),
    };
    let place = shared.caps.enter(&principal).map_err(|full| match full {
        Full::Tenant => Refused::new(
            RefusalReason::TenantLimit,
            Refusal::too_many("the tenant has too many connections", RETRY_AFTER),
        ),
        Full::Principal => Refused::new(
            RefusalReason::PrincipalLimit,
            Refusal::too_many("the user has too many connections", RETRY_AFTER),
        ),
    })?;
    let definition = definition.map(Arc::new);
    Ok(Admitted { principal, definition, script, query, speaks_v1, echo: offered.echo, place })
}

/// What a path asks for.
enum Target<'a> {
    Objects(String, EventSet, RawKeys<'a>),
    Alerts(String),
    Nothing,
}

/// What a socket of alerts cannot be asked for, and whether there are any here.
fn check_alerts(shared: &Shared, query: &SocketQuery) -> Result<(), Refusal> {
    if shared.planes.alerts.is_none() {
        return Err(no_alerts());
    }
    if query.only_main_object || !query.live_references {
        let text = "onlyMainObject and liveReferences are for objects: a script decides what fires";
        return Err(Refusal::bad_request(text));
    }
    Ok(())
}

/// The alerts of a script that the caller may subscribe to.
async fn define_alerts(
    shared: &Shared,
    principal: &Principal,
    code: &str,
) -> Result<(Definition, Arc<Script>), Refused> {
    let unknown = || Refusal::not_found("no alert script has this code");
    let tenant = &principal.tenant;
    let script = shared.scripts.get(tenant, code).ok_or_else(unknown)?.script;
    let class = shared.rights.permission_class(principal);
    shared.scripts.may_subscribe(shared, principal, &class, &script).await?;
    let definition = Definition::alerts(tenant.clone(), code).map_err(|_| unknown())?;
    Ok((definition, script))
}

/// Why there are no scripts here at all.
pub(crate) fn no_alerts() -> Refusal {
    Refusal::not_found("alert scripts are not served here; the setting is gateway.alerts")
}

/// What a socket of `tidewire.v1` cannot be asked for in its URL.
fn check_v1(
    speaks_v1: bool,
    has_subscription: bool,
    request: &SocketRequest,
    offered: &Subprotocols,
    query: &SocketQuery,
) -> Result<(), Refusal> {
    if !speaks_v1 {
        return Ok(());
    }
    let text = if request.kind == RequestKind::EventStream {
        "tidewire.v1 is spoken on WebSockets only"
    } else if offered.echo == Some(Protocol::Vms) {
        "this path speaks tidewire.v1; the subprotocol 'vms' is for the documented paths"
    } else if query.session.is_some() {
        "tidewire.v1 has cursors in place of named sessions"
    } else if (query.fields.is_some() || query.last_event_id.is_some()) && !has_subscription {
        "there is no subscription yet that fields or lastEventId could be for"
    } else {
        return Ok(());
    };
    Err(Refusal::bad_request(text))
}

fn check_origin(shared: &Shared, request: &SocketRequest) -> Result<(), Refused> {
    let Some(origin) = &request.origin else { return Ok(()) };
    if shared.options.origins.permits(origin, request.host.as_deref()) {
        return Ok(());
    }
    info!(origin = %origin, "an origin is not allowed; the setting is http.allowed_origins");
    Err(Refused::new(RefusalReason::Origin, Refusal::forbidden("origin not allowed")))
}

/// Type, events and keys as the caller may subscribe to them.
fn define(
    shared: &Shared,
    principal: &Principal,
    object_type: &str,
    events: EventSet,
    raw_keys: &RawKeys<'_>,
    query: &SocketQuery,
) -> Result<Definition, Refused> {
    let model = &shared.model;
    let types = check_type(shared, principal, object_type)?;
    let kind_of = |object_type: &str| model.key_kind(object_type);
    let keys = resolve_keys(raw_keys, &kind_of, &shared.options.all_keys_words)?;
    Ok(Definition {
        tenant: principal.tenant.clone(),
        types,
        events,
        keys,
        only_main_object: query.only_main_object,
        live_references: query.live_references,
    })
}

/// A type that the caller may subscribe to.
pub(crate) fn check_type(
    shared: &Shared,
    principal: &Principal,
    object_type: &str,
) -> Result<TypeSelector, Refusal> {
    let types = TypeSelector::parse(object_type).map_err(|_| unknown_type(shared, object_type))?;
    if let TypeSelector::One(object_type) = &types {
        // Whatever the model says: on the plane of objects nobody has alerts.
        if object_type.as_str() == ALERT_TYPE {
            return Err(Refusal::not_found(format!(
                "alerts have a path of their own: {ALERT_PREFIX}"
            )));
        }
        if !shared.model.is_known(object_type.as_str()) {
            return Err(unknown_type(shared, object_type.as_str()));
        }
        if !shared.rights.may_read(principal, object_type.as_str()) {
            return Err(Refusal::forbidden(format!("type {object_type} is not allowed")));
        }
    }
    Ok(types)
}

fn unknown_type(shared: &Shared, object_type: &str) -> Refusal {
    let shown: String = object_type.chars().take(64).collect();
    let nearest = shared.model.nearest_type(object_type);
    let hint = nearest.map(|n| format!("; did you mean {n}?")).unwrap_or_default();
    Refusal::not_found(format!("object type {shown:?} is unknown{hint}"))
}

/// Finds the token and who it speaks for.
async fn authenticate(
    shared: &Shared,
    request: &SocketRequest,
    query: &SocketQuery,
    offered: &Subprotocols,
    path_token: PathToken,
) -> Result<Arc<Principal>, Refused> {
    let tokens = &shared.common.tokens;
    let token = match path_token {
        PathToken::Here(token)
            if Ticket::is_ticket(token.expose()) || shared.options.path_token =>
        {
            Some(token)
        }
        PathToken::Here(_) => {
            tokens.inc(TokenOutcome::Malformed);
            let text = "tokens are not taken from the path here; put '-' there and use a ticket, \
                        the Authorization header or the subprotocol";
            return Err(Refusal::unauthorized(text).into());
        }
        PathToken::Elsewhere => None,
    };
    let token = token
        .or_else(|| bearer(request.authorization.as_deref()).and_then(Token::new))
        .or_else(|| offered.bearer.clone())
        .or_else(|| query.ticket.clone());
    let Some(token) = token else {
        tokens.inc(TokenOutcome::Missing);
        return Err(Refusal::unauthorized(TokenError::Missing.message()).into());
    };
    if Ticket::is_ticket(token.expose()) {
        return redeem(shared, token.expose()).await;
    }
    verify(shared, token.expose()).await.map_err(|error| {
        if error == TokenError::KeysUnavailable {
            let refusal = Refusal::unavailable(error.message(), RETRY_AFTER);
            return Refused::new(RefusalReason::NotReady, refusal);
        }
        Refusal::unauthorized(error.message()).into()
    })
}

/// Verifies a token and counts what came of it.
pub(crate) async fn verify(shared: &Shared, token: &str) -> Result<Arc<Principal>, TokenError> {
    let tokens = &shared.common.tokens;
    let now = unix_now();
    if let Some(principal) = shared.verifier.verify_cached(token, now) {
        tokens.inc(TokenOutcome::Remembered);
        return Ok(principal);
    }
    let outcome = shared.verifier.verify(token, now).await;
    tokens.inc(match &outcome {
        Ok(_) => TokenOutcome::Verified,
        Err(TokenError::Missing) => TokenOutcome::Missing,
        Err(TokenError::Expired | TokenError::NotYetValid) => TokenOutcome::Expired,
        Err(TokenError::Signature) => TokenOutcome::Signature,
        Err(TokenError::Revoked) => TokenOutcome::Revoked,
        Err(TokenError::Issuer | TokenError::Audience | TokenError::Tenant) => TokenOutcome::Issuer,
        Err(TokenError::KeysUnavailable) => TokenOutcome::UnknownKey,
        Err(TokenError::Malformed | TokenError::Claims) => TokenOutcome::Malformed,
    });
    outcome
}

async fn redeem(shared: &Shared, ticket: &str) -> Result<Arc<Principal>, Refused> {
    let Some(store) = &shared.store else {
        return Err(no_tickets());
    };
    let grant = store.take(Ticket::hash_of(ticket)).await.map_err(|_| {
        shared.metrics.store_errors.inc(StoreOperation::TicketRedeem);
        no_tickets()
    })?;
    let principal = grant.and_then(|grant| decode_grant(&grant).ok());
    let principal = principal.filter(|principal| principal.expires_at > unix_now());
    match principal {
        Some(principal) if shared.verifier.is_revoked(&principal, unix_now()) => {
            shared.common.tokens.inc(TokenOutcome::Revoked);
            Err(Refusal::unauthorized(TokenError::Revoked.message()).into())
        }
        Some(principal) => {
            shared.common.tokens.inc(TokenOutcome::Ticket);
            Ok(Arc::new(principal))
        }
        None => {
            shared.common.tokens.inc(TokenOutcome::Expired);
            Err(Refusal::unauthorized("Ticket unknown, used or expired.").into())
        }
    }
}

fn no_tickets() -> Refused {
    let refusal = Refusal::unavailable("tickets cannot be redeemed at the moment", RETRY_AFTER);
    Refused::new(RefusalReason::NotReady, refusal)
}
