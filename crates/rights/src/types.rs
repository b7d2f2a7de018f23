//! Which role may read which type.
//!
//! A type that some role names is *ruled*: only roles that name it, or that hold `*`, read it. Any
//! other type falls under the default. `*` rules no type: else one `*` would close the default.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use thiserror::Error;
use tidewire_event::ObjectType;

use crate::class::Interner;
use crate::{CLASSES_MAX, PermissionClass, Principal, ReadableTypes, Revision};

/// What holds for a type that no role names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefaultRight {
    /// Nobody reads it but roles with `*`.
    #[default]
    Deny,
    /// Everybody of the tenant reads it.
    Open,
}

/// The section `rights` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RightsOptions {
    /// What holds for a type that no role names.
    pub default: DefaultRight,
    /// Role -> the types that it may read, or `*` for all.
    pub read: BTreeMap<String, Vec<String>>,
}

impl RightsOptions {
    /// What `tidewire dev` uses: everybody reads everything of the tenant.
    #[must_use]
    pub fn open() -> Self {
        Self { default: DefaultRight::Open, read: BTreeMap::new() }
    }

    /// The types that the rules name, so that a service can compare them with its model.
    pub fn named_types(&self) -> impl Iterator<Item = &str> {
        self.read.values().flatten().map(String::as_str).filter(|name| *name != ALL_TYPES)
    }
}

const ALL_TYPES: &str = "*";

/// What is wrong with the rules.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("rights.read.{role}: {name:?} is neither '*' nor an object type")]
pub struct RightsProblem {
    /// The role.
    pub role: String,
    /// What it names.
    pub name: String,
}

/// Numbers for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RightsStats {
    /// Classes held for sharing, some of them perhaps unused by now.
    pub classes: usize,
    /// Classes handed out unshared because too many were in use.
    pub classes_unshared: u64,
}

struct Rules {
    default: DefaultRight,
    read: BTreeMap<String, RoleTypes>,
    ruled: BTreeSet<ObjectType>,
}

#[derive(Default)]
struct RoleTypes {
    all: bool,
    named: BTreeSet<ObjectType>,
}

struct State {
    rules: Rules,
    revision: Revision,
    interner: Interner,
}

/// Who may read which type. Shared by all threads of a service.
pub struct TypeRights {
    state: Mutex<State>,
}

impl TypeRights {
    /// Makes the rights from their configuration.
    ///
    /// # Errors
    /// All names that are not object types.
    pub fn new(options: &RightsOptions) -> Result<Self, Vec<RightsProblem>> {
        Self::with_classes_max(options, CLASSES_MAX)
    }

    /// As [`TypeRights::new`], with another bound than [`CLASSES_MAX`].
    ///
    /// # Errors
    /// All names that are not object types.
    pub fn with_classes_max(
        options: &RightsOptions,
        classes_max: usize,
    ) -> Result<Self, Vec<RightsProblem>> {
        let rules = Rules::new(options)?;
        let interner = Interner::new(classes_max);
        Ok(Self { state: Mutex::new(State { rules, revision: Revision(1), interner }) })
    }

    /// Whether the principal may read the type.
    #[must_use]
    pub fn may_read(&self, principal: &Principal, object_type: &str) -> bool {
        self.lock().rules.readable(principal).contains(object_type)
    }

    /// The class of the principal: the same for all who have the same effective rights.
    #[must_use]
    pub fn permission_class(&self, principal: &Principal) -> PermissionClass {
        let mut state = self.lock();
        let readable = state.rules.readable(principal);
        let revision = state.revision;
        state.interner.class(&principal.tenant, revision, readable)
    }

    /// Puts other rules in force and tells their revision. Classes made before keep their answers: who
    /// holds one sees by [`TypeRights::revision`] that it has to ask for a new one.
    ///
    /// # Errors
    /// All names that are not object types; the former rules stay in force.
    pub fn replace(&self, options: &RightsOptions) -> Result<Revision, Vec<RightsProblem>> {
        let rules = Rules::new(options)?;
        let mut state = self.lock();
        state.rules = rules;
        state.revision = Revision(state.revision.0 + 1);
        Ok(state.revision)
    }

    /// What holds for a type that no role names.
    #[must_use]
    pub fn default_right(&self) -> DefaultRight {
        self.lock().rules.default
    }

    /// The revision of the rules in force.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.lock().revision
    }

    /// Numbers for metrics.
    #[must_use]
    pub fn stats(&self) -> RightsStats {
        let state = self.lock();
        RightsStats { classes: state.interner.len(), classes_unshared: state.interner.unshared() }
    }

    /// No step under the lock leaves the state half changed, so a poisoned lock is still sound.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rules {
    fn new(options: &RightsOptions) -> Result<Self, Vec<RightsProblem>> {
        let mut rules =
            Self { default: options.default, read: BTreeMap::new(), ruled: BTreeSet::new() };
        let mut problems = Vec::new();
        for (role, names) in &options.read {
            let types = rules.read.entry(role.clone()).or_default();
            for name in names {
                match (name.as_str(), ObjectType::new(name)) {
                    (ALL_TYPES, _) => types.all = true,
                    (_, Ok(object_type)) => {
                        rules.ruled.insert(object_type.clone());
                        types.named.insert(object_type);
                    }
                    (_, Err(_)) => {
                        problems.push(RightsProblem { role: role.clone(), name: name.clone() });
                    }
                }
            }
        }
        if problems.is_empty() { Ok(rules) } else { Err(problems) }
    }

    fn readable(&self, principal: &Principal) -> ReadableTypes {
        let own = || principal.roles.iter().filter_map(|role| self.read.get(role));
        if own().any(|types| types.all) {
            return ReadableTypes::AllBut(BTreeSet::new());
        }
        let named: BTreeSet<ObjectType> =
            own().flat_map(|types| types.named.iter().cloned()).collect();
        match self.default {
            DefaultRight::Deny => ReadableTypes::Only(named),
            DefaultRight::Open => {
                ReadableTypes::AllBut(self.ruled.difference(&named).cloned().collect())
            }
        }
    }
}
