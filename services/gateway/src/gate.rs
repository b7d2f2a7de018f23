//! From an admitted request to a live connection: session, field list, registration, and only then the
//! answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tidewire_auth::{TokenError, unix_now};
use tidewire_event::{Cursor, Positions, encode_cursor};
use tidewire_fields::FieldMask;
use tidewire_http::{
    EventSource, RequestKind, SocketAnswer, SocketGate, SocketRequest, Upgraded, UpgradedStream,
};
use tidewire_rights::{PermissionClass, Principal};
use tidewire_router::{ConnectionId, Framing, OnSlow, Opening, Start, SubId, Subscription};
use tidewire_sockets::{Adoption, Client, Command, EventStreamBody, ShardHandle, Stream};
use tidewire_store::{Claimed, SessionId};
use tidewire_telemetry::metrics::{RefusalReason, SessionOutcome, StoreOperation, TokenOutcome};
use tidewire_wire::definition::Definition;
use tidewire_wire::error::{Notice, Refusal};
use tidewire_wire::request::redact;
use tracing::{debug, warn};

use crate::admission::{Admitted, Refused, admit, no_alerts};
use crate::client::{Counted, DocumentedClient, compile, outcome, refusal, refused};
use crate::greeting::Greeting;
use crate::plane::Home;
use crate::refused;
use crate::registry::Opened;
use crate::sessions::{Claim, Sessions};
use crate::shared::{Shared, deliver, unix_ms};
use crate::v1::{PATH_SUBSCRIPTION, Rights, V1Client, V1Handle, first_subscriptions, start_at};

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
        _ if admitted.speaks_v1 => Framing::V1,
        RequestKind::WebSocket | RequestKind::Neither { .. } => Framing::WebSocket,
    };
    let kind = admitted.plane();
    let Some(plane) = shared.planes.get(kind) else { return Err(no_alerts().into()) };
    let Some(shard) = plane.shards.least_loaded().cloned() else {
        return Err(Refusal::internal("there is no shard").into());
    };
    let class = shared.rights.permission_class(&admitted.principal);
    let id = shared.new_connection();
    let mut greeting = Greeting { framing, bytes: Vec::new() };
    if framing == Framing::V1 {
        greeting.welcome(&shared.registry.name(id), shared.options.sockets.ping_interval);
    }
    let asked = ask_fields(shared, &admitted, &class)?;
    let cursor = start_at_cursor(shared, &admitted, request)?;
    let mut session = claim(shared, &admitted, uri, &mut greeting, cursor.is_some()).await;
    let mask = match (&asked, session.as_ref().and_then(|session| session.claim.fields.as_ref())) {
        (Some(asked), _) => asked.clone(),
        (None, Some(stored)) => restore(shared, &admitted, &class, stored, uri, &mut greeting),
        (None, None) => None,
    };
    let resumed = session.as_mut().and_then(|session| session.resumed.take());
    let start = cursor.or_else(|| resumed.clone().map(Start::At)).unwrap_or_default();
    let sub = (framing == Framing::V1).then(|| SubId::from(PATH_SUBSCRIPTION));
    let subscription = admitted.definition.as_ref().map(|definition| Subscription {
        definition: Arc::clone(definition),
        mask: mask.clone(),
        class: class.clone(),
        sub: sub.clone(),
        start,
        snapshot: false,
        on_slow: OnSlow::Disconnect,
    });
    let opening = Opening {
        framing,
        proves: framing == Framing::WebSocket && session.is_some(),
        greeting: greeting.bytes,
    };
    let principal = Arc::clone(&admitted.principal);
    let echo = admitted.echo.map(|protocol| protocol.as_str().to_owned());
    let proven = session.as_ref().map(|session| session.claim.proven);
    let script = admitted.script.clone();
    let home = Home { plane: kind, shard: shard.index() };
    let place = (home, &shard);
    let rights = class.clone();
    let client = client(shared, id, place, admitted, (framing, proven), class, request, uri);
    let sessions = shared.sessions.clone();
    let guard = Guard { id, shard: shard.clone(), sessions, armed: true };
    let Some(positions) = plane.router.open(shard.index(), id, opening, subscription).await else {
        let refusal = Refusal::unavailable("too many registrations wait", 2);
        return Err(Refused { refusal, reason: RefusalReason::NotReady });
    };
    // Only now: a revocation of later finds the socket in the registry, and its shard knows it.
    refuse_revoked(shared, &principal)?;
    if let Some(script) = &script {
        let still = shared.scripts.look_again(shared, &principal, &rights, script).await?;
        if let Some(disabled) = still.filter(|_| framing == Framing::V1) {
            deliver(&shard, Command::Tell(id, disabled));
        }
    }
    if let Some(Session { mut claim, .. }) = session {
        // Nothing proves what an event stream has received.
        if framing == Framing::WebSocket {
            claim.positions = Some(resumed.unwrap_or(positions));
        }
        shared.sessions.hold(id, claim, shard);
        if let Some(asked) = asked {
            shared.sessions.save(id, asked.map(|mask| mask.canonical().to_owned()));
        }
    }
    Ok(match framing {
        Framing::WebSocket | Framing::V1 => {
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

/// Whoever understands the socket's messages.
#[expect(clippy::too_many_arguments, reason = "what a socket is made of, each of its own type")]
fn client(
    shared: &Arc<Shared>,
    id: ConnectionId,
    (home, shard): (Home, &ShardHandle),
    admitted: Admitted,
    (framing, proven): (Framing, Option<bool>),
    class: PermissionClass,
    request: &SocketRequest,
    uri: &str,
) -> Arc<dyn Client> {
    let Admitted { principal, definition, query, place, .. } = admitted;
    let sub = (framing == Framing::V1).then(|| SubId::from(PATH_SUBSCRIPTION));
    let opened = Opened {
        principal: Arc::clone(&principal),
        home,
        mode: match framing {
            Framing::EventStream => "sse",
            Framing::V1 => "tidewire.v1",
            Framing::WebSocket => "vms",
        },
        session: query.session.as_deref().map(Box::from),
        address: request.peer,
        since: unix_now(),
        subscriptions: definition.iter().map(|d| (sub.clone(), Arc::clone(d))).collect(),
    };
    let counted = Counted::new(shard.connections(), shared, place);
    let registered = shared.registry.open(id, opened);
    let expires_at = principal.expires_at;
    match definition {
        Some(definition) if framing != Framing::V1 => Arc::new(DocumentedClient {
            shared: Arc::clone(shared),
            id,
            definition,
            class,
            expires_at,
            uri: uri.into(),
            session: proven.map(AtomicBool::new),
            _counted: counted,
            registered,
        }),
        definition => Arc::new(V1Handle(Arc::new(V1Client {
            shared: Arc::clone(shared),
            id,
            plane: home.plane,
            shard: shard.clone(),
            rights: Mutex::new(Rights { principal, class }),
            expires_at: AtomicI64::new(expires_at),
            warned: AtomicBool::new(false),
            subscriptions: Mutex::new(first_subscriptions(definition.as_ref())),
            _counted: counted,
            registered,
        }))),
    }
}

/// Where a stream starts whose client names the cursor that it has; `None`: it names none.
fn start_at_cursor(
    shared: &Shared,
    admitted: &Admitted,
    request: &SocketRequest,
) -> Result<Option<Start>, Refused> {
    // A query is written by the page, and stays the same when the browser connects again by itself: what
    // the browser says is newer.
    let header = request.last_event_id.as_ref().filter(|id| !id.is_empty());
    let Some(cursor) = header.or(admitted.query.last_event_id.as_ref()) else { return Ok(None) };
    if request.kind == RequestKind::WebSocket && !admitted.speaks_v1 {
        let text = "lastEventId is for event streams and tidewire.v1; here a session resumes";
        return Err(Refusal::bad_request(text).into());
    }
    Ok(Some(start_at(shared, &admitted.principal.tenant, cursor)?))
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
    let (Some(text), Some(definition)) = (&admitted.query.fields, &admitted.definition) else {
        return Ok(None);
    };
    match compile(text, shared, definition, class) {
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

/// A claimed session.
struct Session {
    claim: Claim,
    /// Where it goes on; `None`: it starts now.
    resumed: Option<Arc<Positions>>,
}

/// Claims the named session and greets the client with what it got.
async fn claim(
    shared: &Shared,
    admitted: &Admitted,
    uri: &str,
    greeting: &mut Greeting,
    has_cursor: bool,
) -> Option<Session> {
    let name = admitted.query.session.clone()?;
    let definition = admitted.definition.as_ref()?;
    let mut session = try_claim(shared, admitted, definition, name).await;
    if greeting.framing != Framing::WebSocket
        && let Some(session) = &mut session
    {
        // Nothing proves what it has received but the cursor that its client names.
        session.resumed = None;
    }
    let (notice, label) = match &session {
        Some(session) if has_cursor || session.resumed.is_some() && session.claim.proven => {
            (Notice::SessionResumed, SessionOutcome::Resumed)
        }
        Some(_) => (Notice::SessionStarts, SessionOutcome::Started),
        None => (Notice::SessionNotAvailable, SessionOutcome::Unavailable),
    };
    shared.metrics.sessions.inc(label);
    greeting.session(&notice.body(unix_ms(), uri).to_json());
    session
}

async fn try_claim(
    shared: &Shared,
    admitted: &Admitted,
    definition: &Definition,
    name: String,
) -> Option<Session> {
    let store = shared.store.as_ref()?;
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).ok()?;
    let tenant = &admitted.principal.tenant;
    let id = SessionId {
        tenant: tenant.clone(),
        principal: admitted.principal.id.to_string(),
        name,
        definition: definition.canonical(),
    };
    // A new session can be resumed from its first moment: should this replica die before it has written
    // anything, its client is sent what came a moment before it connected, too.
    let plane = shared.planes.get(admitted.plane())?;
    let start = plane.router.status().positions;
    let key = &shared.options.cursor_key;
    let start = start.map(|positions| encode_cursor(key, tenant, &positions)).unwrap_or_default();
    match store.claim(id.clone(), nonce, start).await {
        Ok(claimed) => {
            let cursor = claimed.position.as_deref().map(|text| Cursor::decode(text, key));
            if let Some(Err(error)) = &cursor {
                warn!(error = %error, "a session's position cannot be read: it starts now");
            }
            let cursor = cursor.and_then(Result::ok).filter(|cursor| cursor.tenant == *tenant);
            let resumed = cursor.map(|cursor| Arc::new(cursor.positions));
            let Claimed { owner, fields, proven, .. } = claimed;
            let proven = proven && resumed.is_some();
            let claim = Claim { id, owner, fields, positions: None, proven };
            Some(Session { claim, resumed })
        }
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
    let definition = admitted.definition.as_ref()?;
    match compile(stored, shared, definition, class) {
        Ok(mask) => mask,
        Err(error) => {
            shared.metrics.field_lists.inc(refused(&error));
            greeting.error(&refusal(&error).body(unix_ms(), "GET", uri).to_json());
            None
        }
    }
}

/// Undoes a registration whose stream never comes, and gives its session up.
struct Guard {
    id: ConnectionId,
    shard: ShardHandle,
    sessions: Sessions,
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
            self.sessions.release(self.id);
        }
    }
}

struct Body(EventStreamBody);

impl EventSource for Body {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.0.poll_next(cx)
    }
}
