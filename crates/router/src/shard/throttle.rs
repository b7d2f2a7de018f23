//! What each tenant's readers may be sent, so that those of one do not take the shard from the rest.

use hashbrown::HashMap;
use slab::Slab;
use tidewire_event::Tenant;

use super::{Now, ShardCore, View};

/// What one tenant's readers may still be sent.
#[derive(Debug)]
pub(super) struct Bucket {
    bytes: i64,
    at_ms: u64,
}

impl ShardCore {
    /// Takes bytes off a tenant's allowance.
    pub(super) fn charge(&mut self, view: usize, bytes: usize) {
        let limit = i64::try_from(self.settings.limits.replay_bytes_per_second).unwrap_or(i64::MAX);
        let Some(view) = self.views.get(view) else { return };
        let tenant = &view.key.definition.tenant;
        let bucket =
            self.replay.tenants.entry_ref(tenant).or_insert(Bucket { bytes: limit, at_ms: 0 });
        bucket.bytes = bucket.bytes.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Gives tenants their allowance of the time that has passed; a full one is forgotten.
    pub(super) fn refill(&mut self, now: Now) {
        let limit = i64::try_from(self.settings.limits.replay_bytes_per_second).unwrap_or(i64::MAX);
        self.replay.tenants.retain(|_, bucket| {
            if bucket.at_ms == 0 {
                bucket.at_ms = now.mono_ms;
            }
            let passed = i64::try_from(now.mono_ms - bucket.at_ms).unwrap_or(i64::MAX);
            bucket.at_ms = now.mono_ms;
            bucket.bytes = bucket.bytes.saturating_add(limit.saturating_mul(passed) / 1_000);
            bucket.bytes < limit
        });
    }
}

/// Whether the tenant of a view has used up what its readers may be sent now.
pub(super) fn is_spent(tenants: &HashMap<Tenant, Bucket>, views: &Slab<View>, view: usize) -> bool {
    let bucket = views.get(view).and_then(|view| tenants.get(&view.key.definition.tenant));
    bucket.is_some_and(|bucket| bucket.bytes <= 0)
}
