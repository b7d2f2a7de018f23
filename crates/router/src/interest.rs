//! The interest of a replica: which shards want which objects.
//!
//! The table is keyed by the record key's own bytes (`tenant/type`, then the key part), so that a record
//! that nobody wants costs two hash look-ups and no decoding. It may name a shard too many (a shard
//! matches exactly); it never misses one.

use std::sync::Arc;

use hashbrown::HashMap;
use tidewire_event::{KeyKind, ObjectKey, ObjectType, Owner, RecordError, Tenant, percent_encode};
use tidewire_model::Model;
use tidewire_wire::definition::{ALERT_TYPE, Definition, KeySelector, TypeSelector};

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
    /// Those of them that follow the hierarchy: any type may lie below.
    from_above: ShardCounts,
    /// All subscriptions that follow the hierarchy: a record may name any object as an owner.
    followers: ShardCounts,
    types: HashMap<String, TypeEntry>,
}

impl TenantEntry {
    /// Which shards subscribe to this owner (some may not follow its hierarchy).
    fn owner_mask(&self, owner: &Owner<'_>) -> u64 {
        let key = percent_encode(&owner.key);
        let typed = self.types.get(owner.object_type).map_or(0, |t| t.keys.mask(key.as_bytes()));
        typed | self.keys.mask(key.as_bytes())
    }

    /// Forgets types that nobody wants; true if nothing is left at all.
    fn trim(&mut self) -> bool {
        self.types.retain(|_, t| !(t.keys.is_empty() && t.from_above.is_empty()));
        self.types.is_empty() && self.keys.is_empty()
    }
}

/// Which shards want a record, by its key and the owners that its header names.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) route: Arc<TypeRoute>,
    /// Shards that subscribe to the object itself.
    pub(crate) direct: u64,
    /// Shards that subscribe to an owner that the record names.
    pub(crate) named: u64,
    /// Shards that subscribe to types above, whatever the key: owners that the images tell decide.
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
        if follows {
            above(&mut entry.followers);
        }
        match &definition.types {
            TypeSelector::Any => {
                direct(&mut entry.keys);
                if follows {
                    above(&mut entry.from_above);
                }
            }
            TypeSelector::One(object_type) => {
                direct(&mut type_entry(entry, &model, &definition.tenant, object_type).keys);
                if follows {
                    for below in model.types_below(object_type.as_str()) {
                        let below = type_entry(entry, &model, &definition.tenant, below);
                        above(&mut below.from_above);
                    }
                }
            }
        }
    }

    /// Who wants a record with this key and these owners; `tenant`, `object_type` and `key` as they stand
    /// in the record key. `None`: nobody.
    pub(crate) fn wanted(
        &self,
        tenant: &str,
        object_type: &str,
        key: &str,
        owners: &[Owner<'_>],
    ) -> Option<Wanted> {
        let entry = self.tenants.get(tenant)?;
        let found = entry.types.get(object_type);
        let typed = found.map_or(0, |f| f.keys.mask(key.as_bytes()));
        let direct = entry.keys.mask(key.as_bytes()) | typed;
        let from_above = entry.from_above.mask() | found.map_or(0, |f| f.from_above.mask());
        let followers = entry.followers.mask();
        let named = if followers == 0 {
            0
        } else {
            owners.iter().fold(0, |mask, owner| mask | entry.owner_mask(owner)) & followers
        };
        if direct | named | from_above == 0 {
            return None;
        }
        let route = match found {
            Some(found) => Arc::clone(&found.route),
            None => Arc::new(TypeRoute {
                tenant: Tenant::new(&tidewire_event::percent_decode(tenant).ok()?).ok()?,
                object_type: ObjectType::new(object_type).ok()?,
                key_kind: self.model.key_kind(object_type),
                is_alert: false,
            }),
        };
        Some(Wanted { route, direct, named, from_above })
    }

    /// Holds the key of a record against the model, also where nobody here wants the record: what is
    /// wrong with it must not depend on who listens. (A text key was checked by the record's parser.)
    pub(crate) fn check_key(&self, object_type: &str, text: &str) -> Result<(), RecordError> {
        // Fits both kinds, so most records need no look at the model: plain digits below 10^15.
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        if digits && text.len() <= 15 && (text == "0" || !text.starts_with('0')) {
            return Ok(());
        }
        match self.model.key_kind(object_type).filter(|_| object_type != ALERT_TYPE) {
            Some(KeyKind::Integer) => ObjectKey::parse(text, KeyKind::Integer)
                .map(drop)
                .map_err(|e| RecordError::Id("the object key", e)),
            Some(KeyKind::Text) | None => Ok(()),
        }
    }

    /// Reads the plain text of a key of this type.
    pub(crate) fn parse_key(&self, object_type: &ObjectType, text: &str) -> Option<ObjectKey> {
        match self.model.key_kind(object_type.as_str()) {
            Some(kind) => ObjectKey::parse(text, kind).ok(),
            None => ObjectKey::guess(text).ok(),
        }
    }
}

fn type_entry<'a>(
    entry: &'a mut TenantEntry,
    model: &Model,
    tenant: &Tenant,
    object_type: &ObjectType,
) -> &'a mut TypeEntry {
    // Nobody but who asks for alerts may name this type.
    let is_alert = object_type.as_str() == ALERT_TYPE;
    let kind = || model.key_kind(object_type.as_str());
    entry.types.entry_ref(object_type.as_str()).or_insert_with(|| TypeEntry {
        route: Arc::new(TypeRoute {
            tenant: tenant.clone(),
            object_type: object_type.clone(),
            key_kind: if is_alert { Some(KeyKind::Text) } else { kind() },
            is_alert,
        }),
        keys: Keys::default(),
        from_above: ShardCounts::default(),
    })
}
