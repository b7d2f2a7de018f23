//! What the messages of one socket mean.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tidewire_event::Positions;
use tidewire_fields::{FieldList, FieldListError, FieldMask, Parsed, Scope};
use tidewire_rights::PermissionClass;
use tidewire_router::ConnectionId;
use tidewire_sockets::{Client, Closed, Reaction};
use tidewire_telemetry::metrics::{CloseCode as CloseLabel, FieldListOutcome};
use tidewire_wire::definition::{Definition, TypeSelector};
use tidewire_wire::error::{CloseCode, Refusal};

use crate::caps::Place;
use crate::registry::Registered;
use crate::shared::Shared;

/// A socket's counts, given back on drop.
pub(crate) struct Counted {
    shard: Arc<AtomicUsize>,
    shared: Arc<Shared>,
    _place: Place,
}

impl Counted {
    pub(crate) fn new(shard: &Arc<AtomicUsize>, shared: &Arc<Shared>, place: Place) -> Self {
        shard.fetch_add(1, Ordering::Relaxed);
        shared.metrics.connections.inc();
        Self { shard: Arc::clone(shard), shared: Arc::clone(shared), _place: place }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shard.fetch_sub(1, Ordering::Relaxed);
        self.shared.metrics.connections.dec();
    }
}

/// A socket in the documented mode.
pub(crate) struct DocumentedClient {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: ConnectionId,
    pub(crate) definition: Arc<Definition>,
    pub(crate) class: PermissionClass,
    pub(crate) expires_at: i64,
    /// Path and query without the token, for errors.
    pub(crate) uri: Box<str>,
    /// Of a named session: whether its client is proven to have received something of it.
    pub(crate) session: Option<AtomicBool>,
    pub(crate) _counted: Counted,
    pub(crate) registered: Registered,
}

impl Client for DocumentedClient {
    fn on_text(&self, text: &str, now_ms: i64) -> Reaction {
        let text = text.trim();
        if text.is_empty() || text == "ping" {
            return Reaction::Ignore;
        }
        match compile(text, &self.shared, &self.definition, &self.class) {
            Ok(mask) => {
                self.shared.metrics.field_lists.inc(outcome(mask.as_ref()));
                if self.session.is_some() {
                    let fields = mask.as_ref().map(|m| m.canonical().to_owned());
                    self.shared.sessions.save(self.id, fields);
                }
                Reaction::SetMask(None, mask)
            }
            Err(error) => {
                let refusal = refusal(&error);
                self.shared.metrics.field_lists.inc(refused(&error));
                Reaction::Tell(refusal.body(now_ms, "GET", &self.uri).to_json())
            }
        }
    }

    fn expires_at(&self) -> i64 {
        self.expires_at
    }

    fn on_proof(&self, positions: &Arc<Positions>, busy: bool) {
        let sessions = &self.shared.sessions;
        match &self.session {
            Some(proven) if !proven.swap(true, Ordering::Relaxed) => {
                sessions.proven_first(self.id, positions);
            }
            Some(_) => sessions.proven(self.id, positions, busy),
            None => {}
        }
    }

    fn on_closed(&self, why: Closed) {
        self.registered.leave();
        count_closed(&self.shared, why);
        let taken = why == Closed::ByUs(CloseCode::SessionTaken);
        if self.session.is_some() && !taken {
            self.shared.sessions.release(self.id);
        }
    }
}

pub(crate) fn count_closed(shared: &Shared, why: Closed) {
    let label = match why {
        Closed::ByUs(code) => CloseLabel::from_code(code.number()),
        Closed::ByClient(Some(code)) => CloseLabel::from_code(code),
        Closed::ByClient(None) | Closed::Aborted | Closed::Silent => CloseLabel::None,
    };
    shared.metrics.connections_closed.inc(label);
}

/// Reads and compiles a field list; `None` is `{}`. That of a socket of alerts is about the objects that
/// fire them: of the type of the script's triggers, where they are of one type.
pub(crate) fn compile(
    text: &str,
    shared: &Shared,
    definition: &Definition,
    class: &PermissionClass,
) -> Result<Option<FieldMask>, FieldListError> {
    let Parsed::List(list) = FieldList::parse(text)? else { return Ok(None) };
    let fired_by = definition.alert_script();
    let fired_by = fired_by.map(|code| shared.scripts.one_type(&definition.tenant, code));
    let scope = match (&fired_by, &definition.types) {
        (Some(Some(object_type)), _) => Scope::One(object_type),
        (Some(None), _) | (None, TypeSelector::Any) => Scope::Any,
        (None, TypeSelector::One(object_type)) => Scope::One(object_type),
    };
    let may_read = |object_type: &str| class.may_read(object_type);
    FieldMask::compile(&list, &shared.model, scope, &may_read).map(Some)
}

/// The error as a client is told.
pub(crate) fn refusal(error: &FieldListError) -> Refusal {
    Refusal { status: error.status(), message: error.to_string(), retry_after: None }
}

pub(crate) const fn outcome(mask: Option<&FieldMask>) -> FieldListOutcome {
    if mask.is_some() { FieldListOutcome::Accepted } else { FieldListOutcome::Reset }
}

pub(crate) fn refused(error: &FieldListError) -> FieldListOutcome {
    if error.status() == 401 { FieldListOutcome::Forbidden } else { FieldListOutcome::Refused }
}
