//! Writing scripts: compiled and dry-run first, then one record of the control topic, which all replicas
//! follow.
//!
//! Invariants: a version is saved once by one replica; a script that was deleted leaves no state behind that
//! could disable a later one of its code. Two replicas may save one code at the same moment: of these the
//! last record counts, and the author of the other is told 409 where his replica has seen it.

use serde_json::{Value, json};
use tidewire_auth::unix_now;
use tidewire_log::WriteError;
use tidewire_script::{Found, SCRIPTS_PER_TENANT_MAX, Script, ScriptRecord, ScriptState};
use tidewire_wire::error::Refusal;
use tokio::sync::SemaphorePermit;
use tokio::time::{Duration, timeout};
use tracing::info;

use super::api::Asker;
use super::shown::shown;
use crate::control;
use crate::shared::Shared;

/// How long a save may wait for the one before it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Seconds after which it may be tried again.
const RETRY_AFTER: u32 = 2;

/// Saves a script with a code that is free.
pub(super) async fn create(
    shared: &Shared,
    asker: &Asker,
    record: ScriptRecord,
) -> Result<Value, Refusal> {
    let tenant = &asker.principal.tenant;
    check_room(shared, asker, &record)?;
    shared.scripts.compiler.rehearse(&record, &shared.model).await?;
    let turn = turn(shared).await?;
    check_room(shared, asker, &record)?;
    let script = Script::new(tenant.clone(), 1, &asker.principal.id, unix_now(), record);
    // What is left of a script that had this code before.
    let cleared = shared.control.write(ScriptState::key_of(tenant, script.code()), None).await;
    cleared.map_err(|error| control::refusal(&error))?;
    let saved = put(shared, asker, "create", &script).await;
    drop(turn);
    saved
}

/// Saves the next version of a script, which is enabled by that.
pub(super) async fn replace(
    shared: &Shared,
    asker: &Asker,
    former: &Script,
    record: ScriptRecord,
) -> Result<Value, Refusal> {
    if *record.code != *former.code() {
        let text =
            "'code' is not that of the script: delete it, and create one with the other code";
        return Err(Refusal::bad_request(text));
    }
    shared.scripts.compiler.rehearse(&record, &shared.model).await?;
    let turn = turn(shared).await?;
    let tenant = &asker.principal.tenant;
    let Some(Found { script: former, .. }) = shared.scripts.get(tenant, former.code()) else {
        return Err(Refusal::not_found("the script was deleted in between"));
    };
    let version = former.version.saturating_add(1);
    let script = Script::new(tenant.clone(), version, &asker.principal.id, unix_now(), record);
    let saved = put(shared, asker, "replace", &script).await;
    drop(turn);
    saved
}

/// Deletes a script and its state.
pub(super) async fn delete(
    shared: &Shared,
    asker: &Asker,
    script: &Script,
) -> Result<Value, Refusal> {
    let turn = turn(shared).await?;
    let written = shared.control.write(script.key(), None).await;
    audit("delete", asker, script, &written);
    written.map_err(|error| control::refusal(&error))?;
    // Should it fail, whoever creates a script of this code clears it.
    drop(shared.control.write(ScriptState::key_of(&script.tenant, script.code()), None).await);
    drop(turn);
    Ok(json!({"deleted": script.code()}))
}

fn check_room(shared: &Shared, asker: &Asker, record: &ScriptRecord) -> Result<(), Refusal> {
    let tenant = &asker.principal.tenant;
    let registry = shared.scripts.registry.read();
    if registry.get(tenant, &record.code).is_some() {
        return Err(Refusal::conflict("'code' is that of another script: PUT replaces it"));
    }
    if registry.of_tenant(tenant).count() >= SCRIPTS_PER_TENANT_MAX {
        let text = format!("the tenant has {SCRIPTS_PER_TENANT_MAX} scripts, which is the most");
        return Err(Refusal { retry_after: None, ..Refusal::too_many(text, 0) });
    }
    Ok(())
}

async fn turn(shared: &Shared) -> Result<SemaphorePermit<'_>, Refusal> {
    let turn = timeout(PATIENCE, shared.scripts.turn.acquire()).await;
    turn.ok()
        .and_then(Result::ok)
        .ok_or_else(|| Refusal::unavailable("scripts cannot be saved at the moment", RETRY_AFTER))
}

/// Writes a version, and shows the script as it stands then.
async fn put(
    shared: &Shared,
    asker: &Asker,
    action: &'static str,
    script: &Script,
) -> Result<Value, Refusal> {
    let written = shared.control.write(script.key(), Some(script.value())).await;
    audit(action, asker, script, &written);
    written.map_err(|error| control::refusal(&error))?;
    let stands = shared.scripts.get(&script.tenant, script.code());
    if stands
        .as_ref()
        .is_some_and(|found| *found.script != *script && found.script.version >= script.version)
    {
        return Err(Refusal::conflict("another save of this script came in between"));
    }
    // Not read back yet: it stands all the same.
    let stands = stands.filter(|found| *found.script == *script);
    let own = || Found { script: std::sync::Arc::new(script.clone()), disabled: None };
    Ok(shown(shared, &stands.unwrap_or_else(own)).into())
}

/// Who did what to which script, from where, and what came of it.
fn audit(action: &'static str, asker: &Asker, script: &Script, written: &Result<(), WriteError>) {
    let outcome = match written {
        Ok(()) => "done".to_owned(),
        Err(error) => format!("failed: {error}"),
    };
    info!(target: "audit", action, tenant = %script.tenant, code = script.code(),
        version = script.version, by = &*asker.principal.id, address = %asker.address, outcome,
        "a script author acted");
}
