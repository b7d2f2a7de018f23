//! Permission classes: what the rights of a principal reduce to, shared by all who have the same.
//!
//! A class is a pointer: cheap to clone, to compare and to hash, so that it can stand in the key of a
//! view. The interner holds classes weakly; one that no socket uses any more makes room for others.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use tidewire_event::{ObjectType, Tenant};

/// Most classes that are shared at one time. Beyond it a principal gets a class of its own: still
/// correct, but its payloads are not shared with others.
pub const CLASSES_MAX: usize = 16_384;

/// Which state of the rules something was judged by. Grows with each change of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// The types that a class may read, in one canonical form: equal sets are equal values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReadableTypes {
    /// These and no others.
    Only(BTreeSet<ObjectType>),
    /// All, also types that nobody has named yet, but these.
    AllBut(BTreeSet<ObjectType>),
}

impl ReadableTypes {
    /// Whether the type is among them.
    #[must_use]
    pub fn contains(&self, object_type: &str) -> bool {
        match self {
            Self::Only(types) => types.contains(object_type),
            Self::AllBut(types) => !types.contains(object_type),
        }
    }
}

/// What equal classes agree in. Row and field rules will add what they depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Effective {
    tenant: Tenant,
    revision: Revision,
    readable: Arc<ReadableTypes>,
}

struct Inner {
    id: u64,
    effective: Effective,
}

/// The effective rights of one or many principals. Two classes are equal if they are the same class;
/// what one of them may read is fixed for ever.
#[derive(Clone)]
pub struct PermissionClass(Arc<Inner>);

impl PermissionClass {
    /// Whether the class may read the type.
    #[must_use]
    pub fn may_read(&self, object_type: &str) -> bool {
        self.0.effective.readable.contains(object_type)
    }

    /// Number of the class, unique in this process and never used again. For hash keys and logs.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The tenant that it belongs to.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.0.effective.tenant
    }

    /// The rules that it was made by.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.0.effective.revision
    }

    /// The types that it may read.
    #[must_use]
    pub fn readable(&self) -> &Arc<ReadableTypes> {
        &self.0.effective.readable
    }
}

impl PartialEq for PermissionClass {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for PermissionClass {}

impl Hash for PermissionClass {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl fmt::Debug for PermissionClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PermissionClass")
            .field("id", &self.0.id)
            .field("tenant", self.tenant())
            .field("revision", &self.revision().0)
            .finish_non_exhaustive()
    }
}

/// Gives equal rights the same class.
pub(crate) struct Interner {
    classes: HashMap<Effective, Weak<Inner>>,
    classes_max: usize,
    /// When this many are held, the dead ones are dropped. Doubles with what is alive, so that the
    /// sweep costs a constant a class.
    sweep_at: usize,
    next_id: u64,
    unshared: u64,
}

const SWEEP_MIN: usize = 64;

impl Interner {
    pub(crate) fn new(classes_max: usize) -> Self {
        let sweep_at = SWEEP_MIN.min(classes_max);
        Self { classes: HashMap::new(), classes_max, sweep_at, next_id: 0, unshared: 0 }
    }

    pub(crate) fn class(
        &mut self,
        tenant: &Tenant,
        revision: Revision,
        readable: ReadableTypes,
    ) -> PermissionClass {
        let effective =
            Effective { tenant: tenant.clone(), revision, readable: Arc::new(readable) };
        if let Some(inner) = self.classes.get(&effective).and_then(Weak::upgrade) {
            return PermissionClass(inner);
        }
        if self.classes.len() >= self.sweep_at {
            self.classes.retain(|_, class| class.strong_count() > 0);
            self.sweep_at = (self.classes.len() * 2).max(SWEEP_MIN).min(self.classes_max);
        }
        self.next_id += 1;
        let inner = Arc::new(Inner { id: self.next_id, effective: effective.clone() });
        if self.classes.len() < self.classes_max {
            self.classes.insert(effective, Arc::downgrade(&inner));
        } else {
            self.unshared += 1;
        }
        PermissionClass(inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.classes.len()
    }

    pub(crate) fn unshared(&self) -> u64 {
        self.unshared
    }
}
