//! Idempotency keys: for a day (`capture.idempotency_ttl`) the same `id` gets the first answer again.
//!
//! Invariants: of changes with one tenant and one id at most one is with the writer at a time, and the
//! others wait for its outcome; only a success is remembered, so that after any failure a retry is sent
//! again, with the same change id; the memory is bounded per tenant, the oldest ids leave first.
//!
//! The memory is this process's own: across a crash, or on another replica, the same change may be
//! written a second time, with the same change id, which readers recognise.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use parking_lot::Mutex;
use tidewire_event::{FrameId, Tenant};
use tidewire_log::{BoxFuture, WriteError};

/// A write whose outcome several may wait for.
pub type SharedWrite = Shared<BoxFuture<Result<FrameId, WriteError>>>;

/// The ids of all tenants.
#[derive(Debug)]
pub struct Idempotency {
    tenants: Mutex<HashMap<Tenant, Ids>>,
    ids_max: usize,
    remembered_for: Duration,
}

#[derive(Debug, Default)]
struct Ids {
    writes: HashMap<Arc<str>, Entry>,
    /// In the order of their claims; a failed one leaves a stale line here, known by its number.
    order: VecDeque<(Instant, u64, Arc<str>)>,
    next_number: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    write: SharedWrite,
}

/// What an id stands for now.
#[derive(Debug)]
pub struct Claim {
    /// The write of this id.
    pub write: SharedWrite,
    /// Whether it was there before.
    pub is_repeat: bool,
    number: u64,
}

impl Idempotency {
    /// Remembers up to `ids_max` ids for each tenant, each for this long.
    #[must_use]
    pub fn new(ids_max: usize, remembered_for: Duration) -> Self {
        Self { tenants: Mutex::default(), ids_max, remembered_for }
    }

    /// The write that this id stands for, or a new one, which `start` begins at once.
    pub fn claim(
        &self,
        tenant: &Tenant,
        id: &Arc<str>,
        now: Instant,
        start: impl FnOnce() -> BoxFuture<Result<FrameId, WriteError>>,
    ) -> Claim {
        let mut tenants = self.tenants.lock();
        let ids = tenants.entry(tenant.clone()).or_default();
        ids.drop_old(now, self.remembered_for, usize::MAX);
        if let Some(entry) = ids.writes.get(id) {
            return Claim { write: entry.write.clone(), is_repeat: true, number: entry.number };
        }
        ids.drop_old(now, self.remembered_for, self.ids_max);
        let write = start().shared();
        let number = ids.next_number;
        ids.next_number += 1;
        ids.order.push_back((now, number, Arc::clone(id)));
        ids.writes.insert(Arc::clone(id), Entry { number, write: write.clone() });
        Claim { write, is_repeat: false, number }
    }

    /// Forgets a claim whose write failed, so that a retry is sent again.
    pub fn forget(&self, tenant: &Tenant, id: &Arc<str>, claim: &Claim) {
        let mut tenants = self.tenants.lock();
        if let Some(ids) = tenants.get_mut(tenant)
            && ids.writes.get(id).is_some_and(|entry| entry.number == claim.number)
        {
            ids.writes.remove(id);
        }
    }

    /// How many ids are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tenants.lock().values().map(|ids| ids.writes.len()).sum()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Ids {
    /// Drops what is too old, and makes room for one more. The order holds stale lines of failed writes
    /// too, so it is what is counted.
    fn drop_old(&mut self, now: Instant, remembered_for: Duration, ids_max: usize) {
        while let Some((since, number, id)) = self.order.front() {
            if self.order.len() < ids_max && now.duration_since(*since) < remembered_for {
                return;
            }
            if self.writes.get(id).is_some_and(|entry| entry.number == *number) {
                self.writes.remove(id);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_event::{Offset, Partition};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn frame(offset: i64) -> FrameId {
        FrameId { partition: Partition(0), offset: Offset(offset) }
    }

    fn ready(offset: i64) -> BoxFuture<Result<FrameId, WriteError>> {
        Box::pin(std::future::ready(Ok(frame(offset))))
    }

    #[tokio::test]
    async fn an_id_stands_for_one_write_until_it_fails_or_ages() {
        let ids = Idempotency::new(3, DAY);
        let (tenant, id) = (Tenant::new("t").unwrap(), Arc::from("a"));
        let start = Instant::now();
        let first = ids.claim(&tenant, &id, start, || ready(1));
        assert!(!first.is_repeat);
        let again = ids.claim(&tenant, &id, start, || panic!("started twice"));
        assert!(again.is_repeat);
        assert_eq!(again.write.await, Ok(frame(1)));

        let other = Tenant::new("other").unwrap();
        assert!(!ids.claim(&other, &id, start, || ready(2)).is_repeat, "tenants are apart");

        let almost = start + DAY - Duration::from_secs(1);
        assert!(ids.claim(&tenant, &id, almost, || ready(3)).is_repeat);
        let late = start + DAY;
        let new = ids.claim(&tenant, &id, late, || ready(4));
        assert!(!new.is_repeat);

        ids.forget(&tenant, &id, &first);
        assert!(
            ids.claim(&tenant, &id, late, || ready(5)).is_repeat,
            "a stale claim forgets nothing"
        );
        ids.forget(&tenant, &id, &new);
        assert!(!ids.claim(&tenant, &id, late, || ready(6)).is_repeat);
    }

    #[tokio::test]
    async fn the_oldest_leave_first() {
        let ids = Idempotency::new(3, DAY);
        let tenant = Tenant::new("t").unwrap();
        let now = Instant::now();
        for offset in 0..10 {
            let claim = ids.claim(&tenant, &Arc::from(offset.to_string()), now, || ready(offset));
            assert!(!claim.is_repeat);
        }
        assert_eq!(ids.len(), 3);
        assert!(ids.claim(&tenant, &Arc::from("9"), now, || ready(0)).is_repeat);
        assert!(!ids.claim(&tenant, &Arc::from("0"), now, || ready(0)).is_repeat);
    }
}
