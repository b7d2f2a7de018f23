//! A socket that speaks `tidewire.v1`: several subscriptions, each with its own field list, start and
//! policy.
//!
//! Messages are judged on the shard's thread and answered by it; what changes a subscription goes through
//! the router, in the order in which it came, so that a field list never overtakes the subscription that
//! it is for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::Mutex;
use tidewire_auth::{TokenError, unix_now};
use tidewire_event::{Cursor, Tenant};
use tidewire_fields::FieldMask;
use tidewire_rights::{PermissionClass, Principal};
use tidewire_router::{ConnectionId, OnSlow, SnapshotId, Start, SubId, Subscription};
use tidewire_sockets::{Client, Closed, Command, Reaction, ShardHandle};
use tidewire_wire::definition::Definition;
use tidewire_wire::error::{CloseCode, Refusal};
use tidewire_wire::request::{Token, V1_PATH};
use tidewire_wire::v1::{self, ClientMessage, GapReason, SubscribeRequest, frames};

use crate::admission::{check_type, verify};
use crate::client::{Counted, compile, count_closed, outcome, refusal, refused};
use crate::plane::PlaneKind;
use crate::registry::Registered;
use crate::router_thread::RouterHandle;
use crate::shared::{Shared, deliver, unix_ms};
use crate::snapshots::Snapshots;

/// How long before its token expires a client is told.
const WARNING_SECONDS: i64 = 60;

/// A socket of alerts has the one subscription of its path.
const OF_ONE_SCRIPT: &str =
    "this socket is for the alerts of one script; /ws/v1 is for changes of objects";
/// Ids of changes mean nothing in the topic of alerts.
const NO_CHANGES: &str = "await is for changes of objects, which this socket does not get";

/// What the messages of one socket mean.
pub(crate) struct V1Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: ConnectionId,
    pub(crate) plane: PlaneKind,
    pub(crate) shard: ShardHandle,
    pub(crate) rights: Mutex<Rights>,
    /// In seconds since the Unix epoch.
    pub(crate) expires_at: AtomicI64,
    pub(crate) warned: AtomicBool,
    pub(crate) subscriptions: Mutex<HashMap<SubId, Arc<Definition>>>,
    pub(crate) _counted: Counted,
    pub(crate) registered: Registered,
}

/// Who the client is.
pub(crate) struct Rights {
    pub(crate) principal: Arc<Principal>,
    pub(crate) class: PermissionClass,
}

/// Where a subscription starts that resumes from a cursor.
///
/// # Errors
/// 400: the cursor was not made by this deployment.
pub(crate) fn start_at(shared: &Shared, tenant: &Tenant, cursor: &str) -> Result<Start, Refusal> {
    match Cursor::decode(cursor, &shared.options.cursor_key) {
        Ok(cursor) if cursor.tenant == *tenant => Ok(Start::At(Arc::new(cursor.positions))),
        // Sound, and of no use here.
        Ok(_) => Ok(Start::Gap(GapReason::Tenant)),
        Err(error) => Err(Refusal::bad_request(format!("the cursor cannot be used: {error}"))),
    }
}

fn told(refusal: &Refusal, sub: Option<&str>, now_ms: i64) -> Reaction {
    let mut json = Vec::new();
    frames::push_error(&mut json, sub, &refusal.body(now_ms, "GET", V1_PATH));
    Reaction::Tell(json)
}

fn busy() -> Refusal {
    Refusal::unavailable("too many registrations wait", 2)
}

impl V1Client {
    /// The router of its plane, which is there as long as the replica is.
    fn router(&self) -> Result<&RouterHandle, Refusal> {
        let plane = self.shared.planes.get(self.plane);
        plane.map(|plane| &plane.router).ok_or_else(|| Refusal::internal("there is no such plane"))
    }

    fn subscribe(&self, request: SubscribeRequest) -> Result<(), Refusal> {
        if self.plane == PlaneKind::Alerts {
            return Err(Refusal::bad_request(OF_ONE_SCRIPT));
        }
        let limit = self.shared.options.subscriptions_per_connection_max;
        {
            let subscriptions = self.subscriptions.lock();
            if subscriptions.contains_key(&request.id) {
                let text = format!("subscription '{}' exists already", request.id);
                return Err(Refusal::bad_request(text));
            }
            if subscriptions.len() >= limit {
                let text = format!("a socket has at most {limit} subscriptions");
                return Err(Refusal { retry_after: None, ..Refusal::too_many(text, 0) });
            }
        }
        if request.filter.is_some() {
            return Err(Refusal::bad_request("this version has no filters yet"));
        }
        let rights = self.rights.lock();
        let types = check_type(&self.shared, &rights.principal, &request.object_type)?;
        let model = &self.shared.model;
        let kind_of = |object_type: &str| model.key_kind(object_type);
        let keys = request.keys.resolve(&request.object_type, &kind_of)?;
        let tenant = rights.principal.tenant.clone();
        let definition = Arc::new(request.definition(tenant.clone(), types, keys));
        let mask = match &request.fields {
            Some(text) => self.compile(text, &definition, &rights.class)?,
            None => None,
        };
        let start = match &request.from {
            v1::Start::Now if request.snapshot => Start::Snapshot,
            v1::Start::Now => Start::Now,
            v1::Start::Cursor(cursor) => start_at(&self.shared, &tenant, cursor)?,
        };
        let subscription = Subscription {
            definition: Arc::clone(&definition),
            mask,
            class: rights.class.clone(),
            sub: Some(Arc::clone(&request.id)),
            start,
            snapshot: request.snapshot,
            on_slow: match request.on_slow {
                v1::OnSlow::Disconnect => OnSlow::Disconnect,
                v1::OnSlow::Conflate => OnSlow::Conflate,
            },
        };
        // With the rights locked: a change of rights reaches the shard behind this, or is in it.
        if !self.router()?.subscribe(self.shard.index(), self.id, subscription) {
            return Err(busy());
        }
        drop(rights);
        self.registered.subscribed(&request.id, &definition);
        self.subscriptions.lock().insert(request.id, definition);
        Ok(())
    }

    fn unsubscribe(&self, sub: &SubId) -> Result<(), Refusal> {
        self.definition(sub)?;
        let (shard, sub) = (self.shard.index(), Arc::clone(sub));
        if !self.router()?.unsubscribe(shard, self.id, Arc::clone(&sub)) {
            return Err(busy());
        }
        self.subscriptions.lock().remove(&sub);
        self.registered.unsubscribed(&sub);
        Ok(())
    }

    fn set_fields(&self, sub: &SubId, text: &str) -> Result<(), Refusal> {
        let definition = self.definition(sub)?;
        let rights = self.rights.lock();
        let mask = self.compile(text, &definition, &rights.class)?;
        let set = self.router()?.set_mask(self.shard.index(), self.id, Arc::clone(sub), mask);
        if set { Ok(()) } else { Err(busy()) }
    }

    fn definition(&self, sub: &SubId) -> Result<Arc<Definition>, Refusal> {
        let known = self.subscriptions.lock().get(sub).cloned();
        known.ok_or_else(|| Refusal::not_found(format!("there is no subscription '{sub}'")))
    }

    fn compile(
        &self,
        text: &str,
        definition: &Definition,
        class: &PermissionClass,
    ) -> Result<Option<FieldMask>, Refusal> {
        let metrics = &self.shared.metrics.field_lists;
        match compile(text, &self.shared, definition, class) {
            Ok(mask) => {
                metrics.inc(outcome(mask.as_ref()));
                Ok(mask)
            }
            Err(error) => {
                metrics.inc(refused(&error));
                Err(refusal(&error))
            }
        }
    }

    /// Verifies a new token, which may take a look at a key server, and puts it in force.
    fn renew(self: &Arc<Self>, token: Token) {
        let client = Arc::clone(self);
        self.shared.tasks.spawn_detached("renew-token", async move {
            let mut json = Vec::new();
            match client.take_token(&token).await {
                Ok(expires_at) => frames::push_token_accepted(&mut json, expires_at * 1000),
                Err(refusal) => {
                    let body = refusal.body(unix_ms(), "GET", V1_PATH);
                    frames::push_error(&mut json, None, &body);
                }
            }
            deliver(&client.shard, Command::Tell(client.id, json));
        });
    }

    async fn take_token(&self, token: &Token) -> Result<i64, Refusal> {
        let renewed = verify(&self.shared, token.expose()).await.map_err(|error| match error {
            TokenError::KeysUnavailable => Refusal::unavailable(error.message(), 2),
            error => Refusal::unauthorized(error.message()),
        })?;
        let expires_at = self.put_in_force(&renewed)?;
        // Only now: a script that changes later is held against the new token.
        self.judge_script(&renewed).await?;
        Ok(expires_at)
    }

    fn put_in_force(&self, renewed: &Arc<Principal>) -> Result<i64, Refusal> {
        let mut rights = self.rights.lock();
        if renewed.tenant != rights.principal.tenant || renewed.id != rights.principal.id {
            return Err(Refusal::forbidden("the token is of another tenant or user"));
        }
        let class = self.shared.rights.permission_class(renewed);
        if class != rights.class {
            let (shard, class) = (self.shard.index(), class.clone());
            if !self.router()?.set_class(shard, self.id, class) {
                return Err(busy());
            }
        }
        self.registered.renew(renewed);
        let expires_at = renewed.expires_at;
        *rights = Rights { principal: Arc::clone(renewed), class };
        self.expires_at.store(expires_at, Ordering::SeqCst);
        self.warned.store(false, Ordering::SeqCst);
        // Only now: a revocation of later finds the new token in the registry.
        if self.shared.verifier.is_revoked(&rights.principal, unix_now()) {
            deliver(&self.shard, Command::Close(self.id, CloseCode::Revoked));
            return Err(Refusal::unauthorized(TokenError::Revoked.message()));
        }
        Ok(expires_at)
    }
}

impl V1Client {
    /// Closes a socket of alerts whose new token may not subscribe to its script.
    async fn judge_script(&self, renewed: &Principal) -> Result<(), Refusal> {
        let definitions: Vec<Arc<Definition>> =
            self.subscriptions.lock().values().cloned().collect();
        let code = definitions.iter().find_map(|definition| definition.alert_script());
        let Some(code) = code else { return Ok(()) };
        let Some(found) = self.shared.scripts.get(&renewed.tenant, code) else { return Ok(()) };
        let class = self.shared.rights.permission_class(renewed);
        let scripts = &self.shared.scripts;
        let judged = scripts.may_subscribe(&self.shared, renewed, &class, &found.script).await;
        match judged {
            Err(refusal) if refusal.status == 403 => {
                deliver(&self.shard, Command::Close(self.id, CloseCode::Forbidden));
                Err(refusal)
            }
            Err(_) => {
                scripts.judge_later(&found.script);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

/// The client as its shard knows it: it can hand itself to tasks.
pub(crate) struct V1Handle(pub(crate) Arc<V1Client>);

impl Client for V1Handle {
    fn on_text(&self, text: &str, now_ms: i64) -> Reaction {
        // Keep-alives of clients that know the documented mode.
        if matches!(text.trim(), "" | "ping") {
            return Reaction::Ignore;
        }
        let message = match v1::parse(text) {
            Ok(message) => message,
            Err(error) => return told(&error.refusal, error.sub.as_deref(), now_ms),
        };
        let (sub, done) = match message {
            ClientMessage::Ping => {
                let mut json = Vec::new();
                frames::push_pong(&mut json);
                return Reaction::Tell(json);
            }
            ClientMessage::Await { .. } if self.0.plane == PlaneKind::Alerts => {
                return told(&Refusal::bad_request(NO_CHANGES), None, now_ms);
            }
            ClientMessage::Await { id } => return Reaction::Await(id),
            ClientMessage::Token { token } => {
                self.0.renew(token);
                return Reaction::Ignore;
            }
            ClientMessage::Subscribe(request) => {
                (Arc::clone(&request.id), self.0.subscribe(request))
            }
            ClientMessage::Unsubscribe { id } => (Arc::clone(&id), self.0.unsubscribe(&id)),
            ClientMessage::Fields { id, fields } => {
                (Arc::clone(&id), self.0.set_fields(&id, &fields))
            }
        };
        match done {
            Ok(()) => Reaction::Ignore,
            Err(refusal) => told(&refusal, Some(&sub), now_ms),
        }
    }

    fn expires_at(&self) -> i64 {
        self.0.expires_at.load(Ordering::SeqCst)
    }

    fn on_closed(&self, why: Closed) {
        self.0.registered.leave();
        count_closed(&self.0.shared, why);
    }

    fn on_snapshot_wanted(&self, snapshot: SnapshotId, definition: &Arc<Definition>) {
        let client = &self.0;
        let (shard, definition) = (client.shard.clone(), Arc::clone(definition));
        Snapshots::start(&client.shared, shard, client.id, snapshot, definition);
    }

    fn wants_time_at(&self) -> i64 {
        if self.0.warned.load(Ordering::SeqCst) {
            return i64::MAX;
        }
        self.expires_at().saturating_sub(WARNING_SECONDS)
    }

    fn on_time(&self, now_ms: i64) -> Reaction {
        self.0.warned.store(true, Ordering::SeqCst);
        let left = self.expires_at().saturating_mul(1000).saturating_sub(now_ms);
        let mut json = Vec::new();
        frames::push_token_expiring(&mut json, u64::try_from(left).unwrap_or(0));
        Reaction::Tell(json)
    }
}

/// The name of the subscription that a documented path stands for.
pub(crate) const PATH_SUBSCRIPTION: &str = "0";

/// The subscriptions that a socket begins with.
pub(crate) fn first_subscriptions(
    definition: Option<&Arc<Definition>>,
) -> HashMap<SubId, Arc<Definition>> {
    let named = |definition: &Arc<Definition>| (PATH_SUBSCRIPTION.into(), Arc::clone(definition));
    definition.map(named).into_iter().collect()
}
