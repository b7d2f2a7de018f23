//! What a client asked for, and what it may see.

use std::collections::HashSet;
use std::sync::Arc;

use crate::{Object, Operation};

/// Which types.
#[derive(Clone, Debug)]
pub enum Types {
    /// `*`
    Any,
    /// One type.
    One(Arc<str>),
}

/// Which keys, as they stand in JSON.
#[derive(Clone, Debug)]
pub enum Keys {
    /// `*`
    Any,
    /// These.
    Only(HashSet<Arc<str>>),
}

impl Keys {
    /// These integer keys.
    #[must_use]
    pub fn numbers(keys: impl IntoIterator<Item = u64>) -> Self {
        Self::Only(keys.into_iter().map(|key| key.to_string().into()).collect())
    }
}

/// Which event types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    /// `C`
    pub create: bool,
    /// `U`
    pub update: bool,
    /// `D`
    pub delete: bool,
}

impl Events {
    /// `*`
    pub const ALL: Self = Self { create: true, update: true, delete: true };

    /// Of letters, as in `CU`.
    #[must_use]
    pub fn of(letters: &str) -> Self {
        let has = |letter| letters.contains(letter);
        Self { create: has('C'), update: has('U'), delete: has('D') }
    }

    pub(crate) const fn contains(self, operation: Operation) -> bool {
        match operation {
            Operation::Create => self.create,
            Operation::Update => self.update,
            Operation::Delete => self.delete,
        }
    }
}

/// What stands as `dataloyObject`.
#[derive(Clone, Debug)]
pub enum Fields {
    /// The key: no field list.
    Reference,
    /// A field list of these plain members, all of them leaves.
    Plain(Vec<Arc<str>>),
    /// A field list that this judge cannot compute: it only holds repeats against each other.
    Unchecked,
}

/// One interest of one client.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Its `id` in `tidewire.v1`; empty elsewhere.
    pub id: String,
    /// The tenant of the token.
    pub tenant: Arc<str>,
    /// Which types.
    pub types: Types,
    /// Which event types.
    pub events: Events,
    /// Which objects.
    pub keys: Keys,
    /// Whether changes of objects below are left out.
    pub only_main_object: bool,
    /// What a message shows.
    pub fields: Fields,
    /// `onSlow: "conflate"`: changes of one object may be merged.
    pub conflates: bool,
    /// The types that the token may read; `None` is all.
    pub readable: Option<HashSet<Arc<str>>>,
}

impl Subscription {
    /// All events of one type, as references.
    #[must_use]
    pub fn of_type(tenant: &str, kind: &str) -> Self {
        Self {
            id: String::new(),
            tenant: tenant.into(),
            types: Types::One(kind.into()),
            events: Events::ALL,
            keys: Keys::Any,
            only_main_object: false,
            fields: Fields::Reference,
            conflates: false,
            readable: None,
        }
    }

    /// Whether the object itself is subscribed.
    pub(crate) fn selects(&self, tenant: &str, object: &Object) -> bool {
        let kind = match &self.types {
            Types::Any => true,
            Types::One(kind) => *kind == object.kind,
        };
        let key = match &self.keys {
            Keys::Any => true,
            Keys::Only(keys) => keys.contains(&object.key),
        };
        kind && key && *self.tenant == *tenant
    }

    pub(crate) fn may_read(&self, kind: &str) -> bool {
        self.readable.as_ref().is_none_or(|kinds| kinds.contains(kind))
    }
}
