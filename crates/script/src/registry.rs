//! What stands in the control topic, folded: the scripts of all tenants, and which of them an event
//! concerns.
//!
//! Invariants: of one key the last record counts; a script and its state may come in either order
//! (compaction keeps none); [`Registry::triggered`] holds exactly the enabled scripts that have such a
//! trigger, in the order of their codes; a tenant sees its own only.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidewire_event::{ObjectType, Operation, Tenant};

use crate::stored::{Section, parse_key};
use crate::{Disabled, Script, ScriptState, StoredError};

/// Most scripts of one tenant. A record beyond is refused, and that is an error somebody has to look at.
pub const SCRIPTS_PER_TENANT_MAX: usize = 10_000;

/// What a record led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// A script was saved, for the first time or again.
    Saved(Arc<Script>),
    /// A script is gone.
    Deleted(Tenant, Arc<str>),
    /// The version of a script that is in force was disabled.
    Disabled(Arc<Script>, Arc<Disabled>),
    /// The script is enabled again.
    Enabled(Arc<Script>),
    /// Nothing has changed by it.
    Nothing,
    /// It is another kind of record.
    Other,
}

/// A script as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The script.
    pub script: Arc<Script>,
    /// Why it does not run, if it does not.
    pub disabled: Option<Arc<Disabled>>,
}

/// The scripts of one control topic.
#[derive(Debug, Default)]
pub struct Registry {
    tenants: HashMap<Tenant, TenantScripts>,
}

#[derive(Debug, Default)]
struct TenantScripts {
    scripts: BTreeMap<Arc<str>, Arc<Script>>,
    /// The disabled version of a script, whether or not that is the one in force.
    states: HashMap<String, (u64, Arc<Disabled>)>,
    /// Enabled scripts by type and operation, each list in the order of the codes.
    triggered: HashMap<ObjectType, [Vec<Arc<Script>>; 3]>,
}

const fn place(operation: Operation) -> usize {
    match operation {
        Operation::Create => 0,
        Operation::Update => 1,
        Operation::Delete => 2,
    }
}

impl Registry {
    /// Applies one record of the control topic; `value` is `None` for a tombstone.
    ///
    /// # Errors
    /// [`StoredError`]: the record changed nothing.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<Applied, StoredError> {
        let Some((section, tenant, code)) = parse_key(key)? else { return Ok(Applied::Other) };
        let applied = match (section, value) {
            (Section::Script, None) => self.tenant(&tenant).delete(&tenant, &code),
            (Section::State, None) => self.tenant(&tenant).enable(&code),
            (Section::Script, Some(value)) => match Script::parse(key, value)? {
                Some(script) => self.tenant(&tenant).save(script),
                None => Ok(Applied::Other),
            },
            (Section::State, Some(value)) => match ScriptState::parse(key, value)? {
                Some(state) => self.tenant(&tenant).disable(state),
                None => Ok(Applied::Other),
            },
        };
        if self.tenants.get(&tenant).is_some_and(|t| t.scripts.is_empty() && t.states.is_empty()) {
            self.tenants.remove(&tenant);
        }
        applied
    }

    fn tenant(&mut self, tenant: &Tenant) -> &mut TenantScripts {
        self.tenants.entry(tenant.clone()).or_default()
    }

    /// The script of this code.
    #[must_use]
    pub fn get(&self, tenant: &Tenant, code: &str) -> Option<Found> {
        let scripts = self.tenants.get(tenant)?;
        scripts.scripts.get(code).map(|script| scripts.found(script))
    }

    /// The script with this number (`key` in the API).
    #[must_use]
    pub fn by_number(&self, tenant: &Tenant, number: u64) -> Option<Found> {
        let scripts = self.tenants.get(tenant)?;
        let script = scripts.scripts.values().find(|script| script.number() == number)?;
        Some(scripts.found(script))
    }

    /// All scripts of a tenant, in the order of their codes.
    pub fn of_tenant(&self, tenant: &Tenant) -> impl Iterator<Item = Found> {
        let scripts = self.tenants.get(tenant);
        scripts.into_iter().flat_map(|all| all.scripts.values().map(|script| all.found(script)))
    }

    /// The enabled scripts that a change of this type and operation makes run, in the order of their
    /// codes.
    #[must_use]
    pub fn triggered(
        &self,
        tenant: &str,
        object_type: &str,
        operation: Operation,
    ) -> &[Arc<Script>] {
        let scripts = self.tenants.get(tenant).and_then(|t| t.triggered.get(object_type));
        scripts.and_then(|lists| lists.get(place(operation))).map_or(&[], Vec::as_slice)
    }

    /// How many scripts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tenants.values().map(|tenant| tenant.scripts.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl TenantScripts {
    fn found(&self, script: &Arc<Script>) -> Found {
        Found { script: Arc::clone(script), disabled: self.disabled(script).cloned() }
    }

    fn disabled(&self, script: &Script) -> Option<&Arc<Disabled>> {
        let (version, disabled) = self.states.get(script.code())?;
        (*version == script.version).then_some(disabled)
    }

    fn save(&mut self, script: Script) -> Result<Applied, StoredError> {
        let former = self.scripts.get(script.code()).cloned();
        match &former {
            Some(former) if **former == script => return Ok(Applied::Nothing),
            None if self.scripts.len() >= SCRIPTS_PER_TENANT_MAX => return Err(StoredError::Full),
            _ => {}
        }
        if let Some(former) = &former {
            self.take_out(former);
        }
        let script = Arc::new(script);
        self.scripts.insert(Arc::clone(&script.record.code), Arc::clone(&script));
        if self.disabled(&script).is_none() {
            self.put_in(&script);
        }
        Ok(Applied::Saved(script))
    }

    fn delete(&mut self, tenant: &Tenant, code: &str) -> Result<Applied, StoredError> {
        let Some(script) = self.scripts.remove(code) else { return Ok(Applied::Nothing) };
        self.take_out(&script);
        Ok(Applied::Deleted(tenant.clone(), Arc::clone(&script.record.code)))
    }

    fn disable(&mut self, state: ScriptState) -> Result<Applied, StoredError> {
        let ScriptState { code, version, disabled, .. } = state;
        if !self.states.contains_key(&code) && self.states.len() >= SCRIPTS_PER_TENANT_MAX {
            return Err(StoredError::Full);
        }
        let script = self.scripts.get(code.as_str()).cloned();
        let was_disabled = script.as_ref().is_some_and(|script| self.disabled(script).is_some());
        let disabled = Arc::new(disabled);
        self.states.insert(code, (version, Arc::clone(&disabled)));
        let Some(script) = script else { return Ok(Applied::Nothing) };
        Ok(match (was_disabled, self.disabled(&script).is_some()) {
            (false, true) => {
                self.take_out(&script);
                Applied::Disabled(script, disabled)
            }
            // The state of another version has taken the place of this one's.
            (true, false) => {
                self.put_in(&script);
                Applied::Enabled(script)
            }
            _ => Applied::Nothing,
        })
    }

    fn enable(&mut self, code: &str) -> Result<Applied, StoredError> {
        let script = self.scripts.get(code).cloned();
        let was_disabled = script.as_ref().is_some_and(|script| self.disabled(script).is_some());
        self.states.remove(code);
        match script.filter(|_| was_disabled) {
            Some(script) => {
                self.put_in(&script);
                Ok(Applied::Enabled(script))
            }
            None => Ok(Applied::Nothing),
        }
    }

    fn put_in(&mut self, script: &Arc<Script>) {
        for trigger in &script.record.triggers {
            let lists = self.triggered.entry(trigger.object_type.clone()).or_default();
            for operation in [Operation::Create, Operation::Update, Operation::Delete] {
                let Some(list) = lists.get_mut(place(operation)) else { continue };
                if !trigger.events.contains(operation) {
                    continue;
                }
                if let Err(at) = list.binary_search_by(|one| one.code().cmp(script.code())) {
                    list.insert(at, Arc::clone(script));
                }
            }
        }
    }

    fn take_out(&mut self, script: &Script) {
        for trigger in &script.record.triggers {
            let Some(lists) = self.triggered.get_mut(&trigger.object_type) else { continue };
            for list in lists.iter_mut() {
                if let Ok(at) = list.binary_search_by(|one| one.code().cmp(script.code())) {
                    list.remove(at);
                }
            }
            if lists.iter().all(Vec::is_empty) {
                self.triggered.remove(&trigger.object_type);
            }
        }
    }
}

#[cfg(test)]
mod tests;
