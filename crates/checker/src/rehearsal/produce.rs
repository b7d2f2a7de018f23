//! The producer: objects of two tenants that come, change, move and go.

use std::sync::Arc;

use super::random::Random;
use crate::{Certainty, Change, FrameId, Object, Operation};

/// Both have objects of the same types and keys.
pub(super) const TENANTS: [&str; 2] = ["north", "south"];
pub(super) const VOYAGES: [u64; 3] = [1, 2, 3];
pub(super) const BELOW: [u64; 5] = [11, 12, 13, 14, 15];
/// 2026-09-14T13:37:26Z
const TIME_MS: i64 = 1_789_393_046_000;

/// An object as it is now.
#[derive(Debug)]
pub(super) struct Thing {
    pub(super) tenant: Arc<str>,
    pub(super) object: Object,
    version: u64,
    image: Option<Arc<str>>,
    owner: Option<u64>,
    /// Its last change waits for its acknowledgement.
    pub(super) waits: bool,
}

pub(super) fn things() -> Vec<Thing> {
    let mut all = Vec::new();
    for tenant in TENANTS {
        let mut add = |kind: &str, key: u64, owner: Option<u64>| {
            let object = Object::numbered(kind, key);
            let (tenant, waits) = (tenant.into(), false);
            all.push(Thing { tenant, object, version: 0, image: None, owner, waits });
        };
        VOYAGES.iter().for_each(|key| add("Voyage", *key, None));
        BELOW.iter().for_each(|key| add("PortCall", *key, Some(1 + key % 3)));
        BELOW.iter().for_each(|key| add("Cargo", *key, Some(1 + key % 2)));
    }
    all
}

fn voyage(key: u64) -> Object {
    Object::numbered("Voyage", key)
}

impl Thing {
    /// Its next change, without id and times.
    pub(super) fn change(&mut self, random: &mut Random) -> Option<Change> {
        let operation = match (&self.image, random.below(6)) {
            (None, _) => Operation::Create,
            (Some(_), 0) => Operation::Delete,
            (Some(_), _) => Operation::Update,
        };
        let mut owners: Vec<Object> = self.owner.map(voyage).into_iter().collect();
        if operation == Operation::Update && self.owner.is_some() && random.once_in(3) {
            self.owner = Some(1 + random.below(3));
            owners.extend(self.owner.map(voyage).filter(|owner| !owners.contains(owner)));
        }
        self.version += 1;
        let old = self.image.take();
        if operation != Operation::Delete {
            let above = self.owner.map(|key| format!(r#","voyage":{{"key":{key}}}"#));
            let (key, version, above) = (&self.object.key, self.version, above.unwrap_or_default());
            let image = format!(
                r#"{{"key":{key},"seq":{version},"speed":1{version}.50,"secret":{version}{above}}}"#
            );
            self.image = Some(image.into());
        }
        Some(Change {
            id: FrameId::new(0, 0)?,
            life: 0,
            tenant: Arc::clone(&self.tenant),
            object: self.object.clone(),
            operation,
            version: self.version,
            owners,
            new: self.image.clone(),
            old,
            time_ms: TIME_MS + i64::try_from(self.version).unwrap_or_default() * 1_000,
            began: 0,
            acked: 0,
            certainty: Certainty::Once,
        })
    }

    /// Where its records go.
    pub(super) fn partition(&self, partitions: usize) -> usize {
        let hash = self
            .object
            .key
            .bytes()
            .chain(self.object.kind.bytes())
            .fold(7_usize, |h, b| h.wrapping_mul(31).wrapping_add(usize::from(b)));
        hash % partitions.max(1)
    }
}
