//! The alert scripts of all tenants, as the control topic tells them.
//!
//! The registry is folded by the follower of the control topic and stays in force while Kafka or the store
//! are away: neither is asked for a script. What a script reads is found by compiling it, in a worker process
//! ([`compiler`]); who may subscribe to it follows from that ([`tidewire_script::judge`]).

mod api;
mod compiler;
mod save;
mod shown;
mod watch;

use std::sync::Arc;

use parking_lot::RwLock;
use tidewire_event::{ObjectType, Tenant};
use tidewire_rights::{DefaultRight, Duty, PermissionClass, Principal};
use tidewire_sandbox::WorkerOptions;
use tidewire_script::{Applied, Found, Registry, Script, StoredError, judge};
use tidewire_telemetry::metrics::ControlOutcome;
use tidewire_wire::error::Refusal;
use tokio::sync::Semaphore;
use tracing::{error, info};

use crate::shared::Shared;
use compiler::Compiler;
use watch::Changed;

pub(crate) use api::site;
pub(crate) use watch::start as watch;

/// The scripts that this replica knows.
pub(crate) struct Scripts {
    registry: RwLock<Registry>,
    compiler: Compiler,
    /// One save at a time, so that two of one code get different versions.
    turn: Semaphore,
    /// What the watch has to look at.
    changed: Changed,
}

impl Scripts {
    /// None yet. Workers are started once one has to be compiled.
    pub(crate) fn new(workers: WorkerOptions) -> Self {
        let (registry, compiler) = (RwLock::default(), Compiler::new(workers));
        Self { registry, compiler, turn: Semaphore::new(1), changed: Changed::default() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.registry.read().len()
    }

    /// The script of this code.
    pub(crate) fn get(&self, tenant: &Tenant, code: &str) -> Option<Found> {
        self.registry.read().get(tenant, code)
    }

    /// The type of the triggers of a script, where they are of one.
    pub(crate) fn one_type(&self, tenant: &Tenant, code: &str) -> Option<ObjectType> {
        let script = self.get(tenant, code)?.script;
        let mut types = script.record.triggers.iter().map(|trigger| &trigger.object_type);
        let first = types.next()?.clone();
        types.all(|other| *other == first).then_some(first)
    }

    /// Looks again once a socket is registered: from here on [`watch`] finds it. Returns what a socket of
    /// `tidewire.v1` is told of a script that is disabled.
    ///
    /// # Errors
    /// 404 or 403: the script that was judged has changed, and now the principal may not. 503.
    pub(crate) async fn look_again(
        &self,
        shared: &Shared,
        principal: &Principal,
        class: &PermissionClass,
        judged: &Script,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let now = self.get(&judged.tenant, judged.code());
        let now = now.ok_or_else(|| Refusal::not_found("no alert script has this code"))?;
        if *now.script != *judged {
            self.may_subscribe(shared, principal, class, &now.script).await?;
        }
        Ok(now.disabled.map(|disabled| watch::disabled_word(&now.script, &disabled)))
    }

    /// Has the sockets of a script judged, once that can be done.
    pub(crate) fn judge_later(&self, script: &Script) {
        self.changed.note(&script.tenant, script.code());
    }

    /// Whether a principal may subscribe to a script.
    ///
    /// # Errors
    /// 403, or 503 where what it reads cannot be found out now.
    pub(crate) async fn may_subscribe(
        &self,
        shared: &Shared,
        principal: &Principal,
        class: &PermissionClass,
        script: &Script,
    ) -> Result<(), Refusal> {
        let is_author = || shared.verifier.roles().may(Duty::ScriptAuthor, principal);
        let without_role = shared.rights.default_right() == DefaultRight::Open || is_author();
        // What costs nothing comes first.
        judge::of_record(principal, class, script, without_role)?;
        let fields = self.compiler.fields(script).await?;
        judge::of_fields(class, &shared.model, script, &fields)
    }
}

/// Applies one record of the control topic. Called by its follower alone.
pub(crate) fn apply(
    shared: &Shared,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<ControlOutcome, StoredError> {
    let applied = shared.scripts.registry.write().apply(key, value);
    match applied {
        Ok(Applied::Other) => Ok(ControlOutcome::Other),
        Ok(Applied::Nothing) => Ok(ControlOutcome::Passed),
        Ok(Applied::Saved(script)) => {
            shared.scripts.changed.note(&script.tenant, script.code());
            told(&script, "a script was saved");
            Ok(ControlOutcome::Applied)
        }
        Ok(Applied::Enabled(script)) => {
            told(&script, "a script is enabled again");
            Ok(ControlOutcome::Applied)
        }
        Ok(Applied::Disabled(script, disabled)) => {
            info!(tenant = %script.tenant, code = script.code(), version = script.version,
                reason = disabled.error.kind.as_str(), "a script was disabled");
            watch::tell_disabled(shared, &script, &disabled);
            Ok(ControlOutcome::Applied)
        }
        Ok(Applied::Deleted(tenant, code)) => {
            shared.scripts.changed.note(&tenant, &code);
            info!(tenant = %tenant, code = &*code, "a script was deleted");
            Ok(ControlOutcome::Applied)
        }
        Err(StoredError::Full) => {
            error!("too many alert scripts: a new one is NOT in force; delete some, and restart");
            Err(StoredError::Full)
        }
        Err(other) => Err(other),
    }
}

fn told(script: &Arc<Script>, what: &'static str) {
    info!(tenant = %script.tenant, code = script.code(), version = script.version, "{what}");
}
