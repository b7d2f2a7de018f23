//! From an admitted request to a live connection: session, field list, registration, and only then the
//! answer.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tidewire_auth::{TokenError, unix_now};
use tidewire_fields::FieldMask;
use tidewire_http::{
    EventSource, RequestKind, SocketAnswer, SocketGate, SocketRequest, Upgraded, UpgradedStream,
};
use tidewire_rights::{PermissionClass, Principal};
use tidewire_router::{ConnectionId, Framing, Subscription};
use tidewire_sockets::{Adoption, Client, Command, EventStreamBody, ShardHandle, Stream};
use tidewire_store::SessionId;
use tidewire_telemetry::metrics::{RefusalReason, SessionOutcome, StoreOperation, TokenOutcome};
use tidewire_wire::error::{Notice, Refusal};
use tidewire_wire::request::redact;
use tidewire_wire::{sse, ws};
use tracing::{debug, warn};

use crate::admission::{Admitted, Refused, admit};
use crate::client::{Counted, DocumentedClient, compile, outcome, refusal, refused};
use crate::refused;
use crate::registry::Opened;
use crate::sessions::Claim;
use crate::shared::{Shared, deliver, unix_ms};

/// Decides about sockets.
pub(crate) struct Gate(pub(crate) Arc<Shared>);

impl SocketGate for Gate {
    fn open(&self, request: SocketRequest) -> BoxFuture<'static, SocketAnswer> {
        let shared = Arc::clone(&self.0);
        async move {
            let started = Instant::now();
            let uri = if request.query.is_empty() {
                redact(&request.path)
            } else {
                redact(&format!("{}?{}", request.path, request.query))
            };
            let answer = match open(&shared, &request, &uri).await {
                Ok(answer) => {
                    shared.metrics.connections_accepted.inc();
                    answer
                }
                Err(Refused { refusal, reason }) => {
                    shared.metrics.connections_refused.inc(reason);
                    debug!(status = refusal.status, uri = %uri, "a socket was refused");
                    refused::answer(&request, &refusal, &uri, &shared.tasks)
                }
            };
            shared.metrics.handshake_seconds.observe(started.elapsed());
            answer
        }
        .boxed()
    }
}

async fn open(
    shared: &Arc<Shared>,
    request: &SocketRequest,
    uri: &str,
) -> Result<SocketAnswer, Refused> {
    let admitted = admit(shared, request).await?;
    let framing = match request.kind {
        RequestKind::EventStream => Framing::EventStream,
        RequestKind::WebSocket | RequestKind::Neither { .. } => Framing::WebSocket,
    };
    let class = shared.rights.permission_class(&admitted.principal);
    let mut greeting = Greeting { framing, bytes: Vec::new() };
    let asked = ask_fields(shared, &admitted, &class)?;
    let session = claim(shared, &admitted, uri, &mut greeting).await;
    if admitted.query.last_event_id.is_some() || request.last_event_id.is_some() {
        // No stream here gives ids to resume from: say so instead of going on in silence.
        greeting.error(&Notice::Gap.body(unix_ms(), uri).to_json());
    }
    let mask = match (&asked, &session) {
        (Some(asked), _) => asked.clone(),
        (None, Some((_, Some(stored)))) => {
            restore(shared, &admitted, &class, stored, uri, &mut greeting)
        }
        (None, _) => None,
    };
    let Some(shard) = shared.shards.least_loaded().cloned() else {
        return Err(Refusal::internal("there is no shard").into());
    };
    let id = shared.new_connection();
    let opened = Opened {
        principal: Arc::clone(&admitted.principal),
        shard: shard.index(),
        mode: match framing {
            Framing::EventStream => "sse",
            _ => "vms",
        },
        session: admitted.query.session.as_deref().map(Box::from),
        address: request.peer,
        since: unix_now(),
        subscriptions: vec![(None, Arc::clone(&admitted.definition))],
    };
    let client = Arc::new(DocumentedClient {
        shared: Arc::clone(shared),
        id,
        definition: Arc::clone(&admitted.definition),
        class: class.clone(),
        expires_at: admitted.principal.expires_at,
        uri: uri.into(),
        has_session: session.is_some(),
        _counted: Counted::new(shard.connections(), shared, admitted.place),
        registered: shared.registry.open(id, opened),
    });
    let subscription = Subscription {
        definition: admitted.definition,
        mask,
        class,
        framing,
        greeting: greeting.bytes,
    };
    let guard = Guard { id, shard: shard.clone(), armed: true };
    if !shared.router.subscribe(shard.index(), id, subscription).await {
        let refusal = Refusal::unavailable("too many registrations wait", 2);
        return Err(Refused { refusal, reason: RefusalReason::NotReady });
    }
    // Only now: a revocation of later finds the socket in the registry, and its shard knows it.
    refuse_revoked(shared, &admitted.principal)?;
    if let Some((claim, _)) = session {
        shared.sessions.hold(id, claim, shard);
        if let Some(asked) = asked {
            shared.sessions.save(id, asked.map(|mask| mask.canonical().to_owned()));
        }
    }
    let echo = admitted.echo.map(|protocol| protocol.as_str().to_owned());
    Ok(match framing {
        Framing::WebSocket => {
            SocketAnswer::Upgrade {
                subprotocol: echo,
                adopt: Box::new(move |upgraded| {
                    // On a failed upgrade the guard undoes the registration.
                    if let Ok(upgraded) = upgraded {
                        guard.adopt(upgraded, client);
                    }
                }),
            }
        }
        Framing::EventStream => SocketAnswer::Stream { body: guard.stream(client) },
    })
}

/// Refuses a token that was revoked while its socket was being registered.
fn refuse_revoked(shared: &Shared, principal: &Principal) -> Result<(), Refused> {
    if shared.verifier.is_revoked(principal, unix_now()) {
        shared.common.tokens.inc(TokenOutcome::Revoked);
        return Err(Refusal::unauthorized(TokenError::Revoked.message()).into());
    }
    Ok(())
}

/// The field list of `?fields=`: the outer `None` is no wish, the inner one `{}`.
fn ask_fields(
    shared: &Shared,
    admitted: &Admitted,
    class: &PermissionClass,
) -> Result<Option<Option<FieldMask>>, Refused> {
    let Some(text) = &admitted.query.fields else { return Ok(None) };
    match compile(text, &shared.model, &admitted.definition, class) {
        Ok(mask) => {
            shared.metrics.field_lists.inc(outcome(mask.as_ref()));
            Ok(Some(mask))
        }
        Err(error) => {
            shared.metrics.field_lists.inc(refused(&error));
            Err(refusal(&error).into())
        }
    }
}

/// Claims the named session and greets the client with what it got.
async fn claim(
    shared: &Shared,
    admitted: &Admitted,
    uri: &str,
    greeting: &mut Greeting,
) -> Option<(Claim, Option<String>)> {
    let name = admitted.query.session.clone()?;
    let outcome = try_claim(shared, admitted, name).await;
    let (notice, label) = match &outcome {
        // The field list is kept; the position is not yet, so changes may have been missed.
        Some(_) => (Notice::SessionStarts, SessionOutcome::Started),
        None => (Notice::SessionNotAvailable, SessionOutcome::Unavailable),
    };
    shared.metrics.sessions.inc(label);
    greeting.session(&notice.body(unix_ms(), uri).to_json());
    outcome
}

async fn try_claim(
    shared: &Shared,
    admitted: &Admitted,
    name: String,
) -> Option<(Claim, Option<String>)> {
    let store = shared.store.as_ref()?;
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).ok()?;
    let id = SessionId {
        tenant: admitted.principal.tenant.clone(),
        principal: admitted.principal.id.to_string(),
        name,
        definition: admitted.definition.canonical(),
    };
    match store.claim(id.clone(), nonce, String::new()).await {
        Ok(claimed) => Some((Claim { id, owner: claimed.owner }, claimed.fields)),
        Err(e) => {
            shared.metrics.store_errors.inc(StoreOperation::SessionClaim);
            warn!(error = %e, "a session could not be claimed");
            None
        }
    }
}

/// Puts the stored field list in force again, as the rights of now allow it.
fn restore(
    shared: &Shared,
    admitted: &Admitted,
    class: &PermissionClass,
    stored: &str,
    uri: &str,
    greeting: &mut Greeting,
) -> Option<FieldMask> {
    match compile(stored, &shared.model, &admitted.definition, class) {
        Ok(mask) => mask,
        Err(error) => {
            shared.metrics.field_lists.inc(refused(&error));
            greeting.error(&refusal(&error).body(unix_ms(), "GET", uri).to_json());
            None
        }
    }
}

/// The frames that come before all others.
struct Greeting {
    framing: Framing,
    bytes: Vec<u8>,
}

impl Greeting {
    fn session(&mut self, body: &[u8]) {
        self.push("session", body);
    }

    fn error(&mut self, body: &[u8]) {
        self.push("error", body);
    }

    fn push(&mut self, event: &str, body: &[u8]) {
        match self.framing {
            Framing::WebSocket => ws::push_text(&mut self.bytes, body),
            Framing::EventStream => sse::push_event(&mut self.bytes, event, &[body]),
        }
    }
}

/// Undoes a registration whose stream never comes.
struct Guard {
    id: ConnectionId,
    shard: ShardHandle,
    armed: bool,
}

impl Guard {
    fn adopt(mut self, upgraded: Upgraded, client: Arc<dyn Client>) {
        let stream = match upgraded.stream {
            UpgradedStream::Plain(stream) => Stream::plain(stream),
            UpgradedStream::Tls(stream, session) => Stream::tls(stream, session),
        };
        let permit = Box::new(upgraded.permit);
        self.hand_over(Adoption { id: self.id, stream, early: upgraded.early, client, permit });
    }

    fn stream(mut self, client: Arc<dyn Client>) -> Box<dyn EventSource> {
        let (stream, body) = EventStreamBody::new(self.id, self.shard.clone());
        // The HTTP server keeps the connection's place under its caps.
        let permit = Box::new(());
        self.hand_over(Adoption { id: self.id, stream, early: Bytes::new(), client, permit });
        Box::new(Body(body))
    }

    fn hand_over(&mut self, adoption: Adoption) {
        self.armed = false;
        deliver(&self.shard, Command::Adopt(Box::new(adoption)));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.armed {
            deliver(&self.shard, Command::Abort(self.id));
        }
    }
}

struct Body(EventStreamBody);

impl EventSource for Body {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.0.poll_next(cx)
    }
}
