//! What was committed, as the producer wrote it down after each answer.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{FrameId, Object, Operation, Stamp};

/// How sure the producer is of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Certainty {
    /// It stands in the log once, under this id.
    Once,
    /// It was sent again after an answer was lost: it may stand there a second time, under another id.
    PerhapsTwice,
    /// Nobody knows whether, or where, it stands: not owed, and no fault if it comes.
    Unknown,
}

/// One committed change.
#[derive(Clone, Debug)]
pub struct Change {
    /// Partition and offset of the record.
    pub id: FrameId,
    /// Which life of the topic, from 0: ids begin anew when it is re-created.
    pub life: u32,
    /// The tenant.
    pub tenant: Arc<str>,
    /// The changed object.
    pub object: Object,
    /// What happened.
    pub operation: Operation,
    /// Rises with each change of the object.
    pub version: u64,
    /// All objects above it, in the old and the new image and as the producer named them.
    pub owners: Vec<Object>,
    /// The image after it, as JSON.
    pub new: Option<Arc<str>>,
    /// The image before it.
    pub old: Option<Arc<str>>,
    /// The record's time, in milliseconds since 1970.
    pub time_ms: i64,
    /// Before it was sent.
    pub began: Stamp,
    /// After it was acknowledged.
    pub acked: Stamp,
    /// How sure the producer is.
    pub certainty: Certainty,
}

/// A change, its objects as numbers.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) id: FrameId,
    pub(crate) life: u32,
    pub(crate) object: u32,
    pub(crate) operation: Operation,
    pub(crate) version: u64,
    pub(crate) owners: Box<[u32]>,
    pub(crate) new: Option<Arc<str>>,
    pub(crate) old: Option<Arc<str>>,
    pub(crate) time_ms: i64,
    pub(crate) began: Stamp,
    pub(crate) acked: Stamp,
    pub(crate) certainty: Certainty,
}

/// An object that some change or owner names.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) tenant: Arc<str>,
    pub(crate) object: Object,
    /// Its changes, in the order of their versions.
    pub(crate) changes: Vec<u32>,
}

/// All changes of a run, in the order in which they were written down.
#[derive(Debug, Default)]
pub struct Ledger {
    changes: Vec<Stored>,
    /// The first change of an id.
    by_id: HashMap<FrameId, u32>,
    /// Those of the same id in later lives of the topic.
    later: HashMap<FrameId, Vec<u32>>,
    objects: Vec<Known>,
    numbers: HashMap<Arc<str>, HashMap<Object, u32>>,
}

impl Ledger {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many changes it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Writes down a change.
    ///
    /// # Panics
    /// With more than 2^32 changes.
    pub fn push(&mut self, change: Change) {
        #[expect(clippy::expect_used, reason = "a run of 2^32 changes fits no memory")]
        let number = u32::try_from(self.changes.len()).expect("fewer than 2^32 changes");
        let object = self.number_of(&change.tenant, &change.object);
        let owners = change.owners.iter().map(|o| self.number_of(&change.tenant, o)).collect();
        if change.certainty != Certainty::Unknown {
            match self.by_id.entry(change.id) {
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(number);
                }
                std::collections::hash_map::Entry::Occupied(_) => {
                    self.later.entry(change.id).or_default().push(number);
                }
            }
        }
        self.changes.push(Stored {
            id: change.id,
            life: change.life,
            object,
            operation: change.operation,
            version: change.version,
            owners,
            new: change.new,
            old: change.old,
            time_ms: change.time_ms,
            began: change.began,
            acked: change.acked,
            certainty: change.certainty,
        });
        let versions: Option<&mut Known> = self.objects.get_mut(object as usize);
        if let Some(known) = versions {
            let changes = &self.changes;
            let newer =
                |at: &u32| changes.get(*at as usize).is_some_and(|c| c.version > change.version);
            let place = known.changes.iter().rposition(|at| !newer(at)).map_or(0, |at| at + 1);
            known.changes.insert(place, number);
        }
    }

    fn number_of(&mut self, tenant: &Arc<str>, object: &Object) -> u32 {
        let own = self.numbers.entry(Arc::clone(tenant)).or_default();
        if let Some(&number) = own.get(object) {
            return number;
        }
        #[expect(clippy::expect_used, reason = "a run of 2^32 objects fits no memory")]
        let number = u32::try_from(self.objects.len()).expect("fewer than 2^32 objects");
        own.insert(object.clone(), number);
        let (tenant, object) = (Arc::clone(tenant), object.clone());
        self.objects.push(Known { tenant, object, changes: Vec::new() });
        number
    }

    pub(crate) fn changes(&self) -> &[Stored] {
        &self.changes
    }

    pub(crate) fn objects(&self) -> &[Known] {
        &self.objects
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Stored> {
        self.changes.get(number as usize)
    }

    pub(crate) fn object(&self, number: u32) -> Option<&Known> {
        self.objects.get(number as usize)
    }

    /// The object of a tenant, as a number.
    pub(crate) fn find_object(&self, tenant: &str, object: &Object) -> Option<u32> {
        self.numbers.get(tenant)?.get(object).copied()
    }

    /// All changes of an id, one for each life of the topic that has it.
    pub(crate) fn of_id(&self, id: FrameId) -> impl Iterator<Item = u32> {
        let later = self.later.get(&id).map_or(&[][..], Vec::as_slice);
        self.by_id.get(&id).into_iter().chain(later).copied()
    }

    /// The changes of an object, oldest first.
    pub(crate) fn of_object(&self, object: u32) -> impl DoubleEndedIterator<Item = (u32, &Stored)> {
        let numbers = self.object(object).map_or(&[][..], |known| known.changes.as_slice());
        numbers.iter().filter_map(|&number| Some((number, self.get(number)?)))
    }
}
