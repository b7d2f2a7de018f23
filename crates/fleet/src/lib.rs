//! A simulated fleet: ships whose voyages, port calls, cargoes, bunker orders and documents change the
//! way real ones do.
//!
//! Pure and seeded: no clock, no I/O, and the same seed, start and tenant give the same sequence of
//! changes for the same sequence of times. Each change carries the whole object before and after it,
//! with the members of the sample VMS model.
//!
//! Invariants:
//! - an object is created before anything refers to it as its owner, changed only while it exists, and
//!   deleted after all that belongs to it; a change's old image is the new image of the change before;
//! - the world is bounded: [`VOYAGES_MAX`] voyages; old ones end and are deleted with all they hold;
//! - a voyage's calendar runs ahead of the wall clock (a month at sea passes in minutes), and in a voyage
//!   the event logs come in order: ARR, BRT, DEP, port call by port call.

mod acts;
mod change;
mod ending;
mod mishaps;
mod names;
mod planning;
mod render;
mod state;
mod time;

use std::collections::{BTreeMap, VecDeque};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tidewire_event::{ObjectKey, ObjectType, Operation, Tenant, Version};

pub use change::Change;
use render::{Renderer, Stamp};
use state::{Id, World};

/// How many voyages exist at a time.
pub const VOYAGES_MAX: usize = 24;
/// Most port calls of one voyage.
const CALLS_MAX: usize = 8;
/// Most port calls against which, and most orders that, one voyage has.
const ORDERS_MAX: usize = 4;
/// Most cargoes that wait for a voyage.
const OPEN_CARGOS_MAX: usize = 6;
/// Where `self` links point by default.
const SELF_BASE: &str = "https://vms.example.com";
/// The first key; the VMS too numbers all its objects in one sequence.
const FIRST_KEY: u64 = 7_000_001;

/// What is to be told of an object, once it is its turn.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// It came into being or changed.
    Put(Id),
    /// It is gone.
    Remove(Id),
}

/// What was last told of an object.
#[derive(Debug)]
struct Published {
    image: Value,
    owners: Vec<Id>,
    created_ms: i64,
    created_by: u64,
}

/// A fleet and what was told of it.
#[derive(Debug)]
pub struct Fleet {
    rng: StdRng,
    world: World,
    /// Told in this order; the world moves on only when this is empty, so that an image is drawn from
    /// the state that its step was queued for.
    steps: VecDeque<Step>,
    published: BTreeMap<Id, Published>,
    /// Who acts in the steps that are queued.
    actor: u64,
    next_key: u64,
    next_version: u128,
    /// Acts until the next mishap, and which comes next.
    calm_acts: u32,
    next_mishap: usize,
    epoch: String,
    self_base: String,
    now_ms: i64,
}

impl Fleet {
    /// A fleet that starts at `start_ms` (milliseconds since the Unix epoch). Two tenants have two fleets,
    /// also under one seed.
    #[must_use]
    pub fn new(seed: u64, start_ms: i64, tenant: &Tenant) -> Self {
        let mut rng = StdRng::seed_from_u64(mix(seed, tenant.as_str()));
        let mut next_key = FIRST_KEY + rng.random_range(0..1_000_000_u64);
        let world = World::start(&mut rng, &mut next_key);
        let actor = world.users.first().copied().unwrap_or(FIRST_KEY);
        Self {
            rng,
            world,
            steps: VecDeque::new(),
            published: BTreeMap::new(),
            actor,
            next_key,
            next_version: 1,
            calm_acts: mishaps::ACTS_BETWEEN,
            next_mishap: 0,
            epoch: format!("fleet-{seed}-{start_ms}"),
            self_base: SELF_BASE.to_owned(),
            now_ms: start_ms,
        }
    }

    /// Lets `self` links start with `base` (no slash at its end) instead of `https://vms.example.com`.
    #[must_use]
    pub fn with_self_base(mut self, base: &str) -> Self {
        base.trim_end_matches('/').clone_into(&mut self.self_base);
        self
    }

    /// How many objects exist.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.published.len()
    }

    /// The next change. `now_ms` is the time of the change; a time before the last one counts as that one.
    pub fn next(&mut self, now_ms: i64) -> Change {
        self.now_ms = self.now_ms.max(now_ms);
        loop {
            let change = match self.steps.pop_front() {
                Some(Step::Put(id)) => self.put(id),
                Some(Step::Remove(id)) => self.remove(id),
                None => {
                    self.actor = self.pick(&self.world.users.clone()).unwrap_or(self.actor);
                    self.act();
                    None
                }
            };
            if let Some(change) = change {
                return change;
            }
        }
    }

    fn put(&mut self, id: Id) -> Option<Change> {
        let before = self.published.get(&id);
        let stamp = Stamp {
            created_ms: before.map_or(self.now_ms, |published| published.created_ms),
            created_by: before.map_or(self.actor, |published| published.created_by),
            changed_ms: self.now_ms,
            changed_by: self.actor,
        };
        let renderer = Renderer { world: &self.world, self_base: &self.self_base };
        let image = renderer.image(id, stamp)?;
        let mut owners = self.world.owners(id);
        let published = Published {
            image: image.clone(),
            owners: owners.clone(),
            created_ms: stamp.created_ms,
            created_by: stamp.created_by,
        };
        let before = self.published.insert(id, published);
        let operation = if before.is_some() { Operation::Update } else { Operation::Create };
        let old = before.map(|published| {
            for owner in published.owners {
                if !owners.contains(&owner) {
                    owners.push(owner);
                }
            }
            published.image
        });
        self.change(id, operation, Some(image), old, &owners)
    }

    fn remove(&mut self, id: Id) -> Option<Change> {
        let before = self.published.remove(&id)?;
        self.change(id, Operation::Delete, None, Some(before.image), &before.owners)
    }

    fn change(
        &mut self,
        id: Id,
        operation: Operation,
        new: Option<Value>,
        old: Option<Value>,
        owners: &[Id],
    ) -> Option<Change> {
        let version = Version::new(&self.epoch, self.next_version).ok()?;
        self.next_version += 1;
        // An owner that was never told of, or is gone already, means nothing to anybody.
        let owners = owners.iter().filter(|id| self.published.contains_key(id));
        let owners: Option<Vec<(ObjectType, ObjectKey)>> = owners.map(|id| name_of(*id)).collect();
        let (object_type, key) = name_of(id)?;
        Some(Change {
            object_type,
            key,
            operation,
            new,
            old,
            version,
            owners: owners?,
            changed_by: self.actor,
            changed_at_ms: self.now_ms,
        })
    }

    fn key(&mut self) -> u64 {
        // The VMS's keys grow with gaps: other objects take numbers too.
        self.next_key += self.rng.random_range(1..=7);
        self.next_key
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() {
            return None;
        }
        of.get(self.rng.random_range(0..of.len())).copied()
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_ratio(percent.min(100), 100)
    }

    fn tell(&mut self, id: Id) {
        self.steps.push_back(Step::Put(id));
    }

    /// Tells of an object that others refer to, unless it is known.
    fn tell_once(&mut self, id: Id) {
        let queued = self.steps.iter().any(|step| matches!(step, Step::Put(other) if *other == id));
        if !queued && !self.published.contains_key(&id) {
            self.tell(id);
        }
    }

    fn take_back(&mut self, id: Id) {
        self.steps.push_back(Step::Remove(id));
    }
}

fn name_of(id: Id) -> Option<(ObjectType, ObjectKey)> {
    Some((ObjectType::new(id.kind.name()).ok()?, change::object_key(id.key)))
}

/// FNV-1a over the tenant's name, started from the seed.
fn mix(seed: u64, tenant: &str) -> u64 {
    tenant.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
