//! The interest of a replica: which shards want which objects.
//!
//! The table is keyed by the record key's own bytes (`tenant/type`, then the key part), so that a record
//! that nobody wants costs two hash look-ups and no decoding. It may name a shard too many (a shard
//! matches exactly); it never misses one.

use std::sync::Arc;

use hashbrown::HashMap;
use tidewire_event::{ObjectKey, ObjectType, Tenant, percent_encode};
use tidewire_model::Model;
use tidewire_wire::definition::{Definition, KeySelector, TypeSelector};

use crate::ShardIndex;
use crate::event::TypeRoute;

/// How many subscriptions of each shard share an entry.
#[derive(Debug, Default)]
struct ShardCounts(Vec<(ShardIndex, u32)>);

impl ShardCounts {
    fn mask(&self) -> u64 {
        self.0.iter().fold(0, |mask, (shard, _)| mask | 1 << shard)
    }

    fn add(&mut self, shard: ShardIndex) {
        match self.0.iter_mut().find(|(s, _)| *s == shard) {
            Some((_, count)) => *count += 1,
            None => self.0.push((shard, 1)),
        }
    }

    fn remove(&mut self, shard: ShardIndex) {
        if let Some(at) = self.0.iter().position(|(s, _)| *s == shard)
            && let Some((_, count)) = self.0.get_mut(at)
        {
            *count -= 1;
            if *count == 0 {
                self.0.swap_remove(at);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Interest in objects by key, or in all of them.
#[derive(Debug, Default)]
struct Keys {
    all: ShardCounts,
    by_key: HashMap<Box<[u8]>, ShardCounts>,
}

impl Keys {
    fn mask(&self, key: &[u8]) -> u64 {
        let keyed = self.by_key.get(key).map_or(0, ShardCounts::mask);
        self.all.mask() | keyed
    }

    fn add(&mut self, shard: ShardIndex, selector: &KeySelector) {
        match selector {
            KeySelector::Any => self.all.add(shard),
            KeySelector::Keys(keys) => {
                for key in keys.iter() {
                    self.by_key.entry(key_bytes(key)).or_default().add(shard);
                }
            }
        }
    }

    fn remove(&mut self, shard: ShardIndex, selector: &KeySelector) {
        match selector {
            KeySelector::Any => self.all.remove(shard),
            KeySelector::Keys(keys) => {
                for key in keys.iter() {
                    let bytes = key_bytes(key);
                    if let Some(counts) = self.by_key.get_mut(&bytes) {
                        counts.remove(shard);
                        if counts.is_empty() {
                            self.by_key.remove(&bytes);
                        }
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty() && self.by_key.is_empty()
    }
}

/// The key as it stands in a record key.
fn key_bytes(key: &ObjectKey) -> Box<[u8]> {
    Box::from(percent_encode(&key.to_string()).as_bytes())
}

#[derive(Debug)]
struct TypeEntry {
    route: Arc<TypeRoute>,
    keys: Keys,
    /// Subscriptions of types above this one that follow their hierarchy.
    from_above: ShardCounts,
}

#[derive(Debug, Default)]
struct TenantEntry {
    /// Subscriptions of type `*`.
    keys: Keys,
    /// Those of them with a list of keys that follow the hierarchy.
    from_above: ShardCounts,
    /// Subscriptions of types outside the model that follow their hierarchy: any type may lie below.
    from_unknown: ShardCounts,
    types: HashMap<String, TypeEntry>,
}

impl TenantEntry {
    /// Forgets types that nobody wants; true if nothing is left at all.
    fn trim(&mut self) -> bool {
        self.types.retain(|_, t| !(t.keys.is_empty() && t.from_above.is_empty()));
        self.types.is_empty() && self.keys.is_empty() && self.from_unknown.is_empty()
    }
}

/// Which shards want a record, by its key alone.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) route: Arc<TypeRoute>,
    /// Shards that subscribe to the object itself.
    pub(crate) direct: u64,
    /// Shards that subscribe to types above, whatever the key: the record's owners decide.
    pub(crate) from_above: u64,
}

/// The interest table.
#[derive(Debug)]
pub struct InterestTable {
    model: Arc<Model>,
    tenants: HashMap<String, TenantEntry>,
    subscriptions: usize,
}

impl InterestTable {
    /// An empty table.
    #[must_use]
    pub fn new(model: Arc<Model>) -> Self {
        Self { model, tenants: HashMap::new(), subscriptions: 0 }
    }

    /// How many subscriptions the table counts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.subscriptions
    }

    /// True if nobody wants anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.subscriptions == 0
    }

    /// Counts a subscription in.
    pub fn add(&mut self, shard: ShardIndex, definition: &Definition) {
        self.subscriptions += 1;
        self.change(definition, |keys| keys.add(shard, &definition.keys), |c| c.add(shard));
    }

    /// Counts a subscription out that was counted in before.
    pub fn remove(&mut self, shard: ShardIndex, definition: &Definition) {
        self.subscriptions = self.subscriptions.saturating_sub(1);
        self.change(definition, |keys| keys.remove(shard, &definition.keys), |c| c.remove(shard));
        let tenant = percent_encode(definition.tenant.as_str());
        if self.tenants.get_mut(&*tenant).is_some_and(TenantEntry::trim) {
            self.tenants.remove(&*tenant);
        }
    }

    fn change(
        &mut self,
        definition: &Definition,
        direct: impl FnOnce(&mut Keys),
        mut above: impl FnMut(&mut ShardCounts),
    ) {
        let model = Arc::clone(&self.model);
        let tenant = percent_encode(definition.tenant.as_str());
        let entry = self.tenants.entry_ref(&*tenant).or_default();
        let follows = !definition.only_main_object;
        match &definition.types {
            TypeSelector::Any => {
                direct(&mut entry.keys);
                if follows {
                    above(&mut entry.from_above);
                }
            }
            TypeSelector::One(object_type) => {
                direct(&mut type_entry(entry, &model, &definition.tenant, object_type).keys);
                if !follows {
                    return;
                }
                if model.type_def(object_type.as_str()).is_some() {
                    for below in model.types_below(object_type.as_str()) {
                        let below = type_entry(entry, &model, &definition.tenant, below);
                        above(&mut below.from_above);
                    }
                } else {
                    above(&mut entry.from_unknown);
                }
            }
        }
    }

    /// Who wants a record with this key; `tenant`, `object_type` and `key` as they stand in the record
    /// key. `None`: nobody.
    pub(crate) fn wanted(&self, tenant: &str, object_type: &str, key: &str) -> Option<Wanted> {
        let entry = self.tenants.get(tenant)?;
        let whole = entry.keys.mask(key.as_bytes());
        let above = entry.from_above.mask() | entry.from_unknown.mask();
        if let Some(found) = entry.types.get(object_type) {
            let direct = whole | found.keys.mask(key.as_bytes());
            let from_above = above | found.from_above.mask();
            if direct | from_above == 0 {
                return None;
            }
            return Some(Wanted { route: Arc::clone(&found.route), direct, from_above });
        }
        if whole | above == 0 {
            return None;
        }
        let route = Arc::new(TypeRoute {
            tenant: Tenant::new(&tidewire_event::percent_decode(tenant).ok()?).ok()?,
            object_type: ObjectType::new(object_type).ok()?,
            key_kind: self.model.key_kind(object_type),
        });
        Some(Wanted { route, direct: whole, from_above: above })
    }

    /// Reads the plain text of a key of this type.
    pub(crate) fn parse_key(&self, object_type: &ObjectType, text: &str) -> Option<ObjectKey> {
        match self.model.key_kind(object_type.as_str()) {
            Some(kind) => ObjectKey::parse(text, kind).ok(),
            None => ObjectKey::guess(text).ok(),
        }
    }

    /// Which shards subscribe to this owner (some may not follow its hierarchy).
    pub(crate) fn owner_mask(&self, tenant: &str, object_type: &str, key: &ObjectKey) -> u64 {
        let key = key_bytes(key);
        self.tenants.get(tenant).map_or(0, |entry| {
            let typed = entry.types.get(object_type).map_or(0, |t| t.keys.mask(&key));
            typed | entry.keys.mask(&key)
        })
    }
}

fn type_entry<'a>(
    entry: &'a mut TenantEntry,
    model: &Model,
    tenant: &Tenant,
    object_type: &ObjectType,
) -> &'a mut TypeEntry {
    entry.types.entry_ref(object_type.as_str()).or_insert_with(|| TypeEntry {
        route: Arc::new(TypeRoute {
            tenant: tenant.clone(),
            object_type: object_type.clone(),
            key_kind: model.key_kind(object_type.as_str()),
        }),
        keys: Keys::default(),
        from_above: ShardCounts::default(),
    })
}
