//! How many connections a tenant and a principal may have on this replica.

use std::hash::Hash;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tidewire_event::Tenant;
use tidewire_rights::Principal;

/// Counts connections.
#[derive(Debug)]
pub(crate) struct Caps {
    per_tenant_max: usize,
    per_principal_max: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    tenants: HashMap<Tenant, usize>,
    principals: HashMap<(Tenant, Arc<str>), usize>,
}

/// Which cap is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Tenant,
    Principal,
}

impl Caps {
    pub(crate) fn new(per_tenant_max: usize, per_principal_max: usize) -> Arc<Self> {
        Arc::new(Self { per_tenant_max, per_principal_max, counts: Mutex::default() })
    }

    /// Takes a place, given back on drop.
    pub(crate) fn enter(self: &Arc<Self>, principal: &Principal) -> Result<Place, Full> {
        let key = (principal.tenant.clone(), Arc::clone(&principal.id));
        let mut counts = self.counts.lock();
        if counts.tenants.get(&key.0).is_some_and(|n| *n >= self.per_tenant_max) {
            return Err(Full::Tenant);
        }
        if counts.principals.get(&key).is_some_and(|n| *n >= self.per_principal_max) {
            return Err(Full::Principal);
        }
        *counts.tenants.entry(key.0.clone()).or_default() += 1;
        *counts.principals.entry(key.clone()).or_default() += 1;
        Ok(Place { caps: Arc::clone(self), key })
    }
}

/// A place under both caps.
#[derive(Debug)]
pub(crate) struct Place {
    caps: Arc<Caps>,
    key: (Tenant, Arc<str>),
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.caps.counts.lock();
        take_one(&mut counts.tenants, &self.key.0);
        take_one(&mut counts.principals, &self.key);
    }
}

fn take_one<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(tenant: &str, user: u64) -> Principal {
        Principal {
            tenant: Tenant::new(tenant).unwrap(),
            id: Principal::id_of(Some(user), "", ""),
            user_key: Some(user),
            roles: Vec::new(),
            business_units: Vec::new(),
            expires_at: 0,
            issued_at: None,
            token_id: None,
        }
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let caps = Caps::new(3, 2);
        let one = caps.enter(&principal("a", 1)).unwrap();
        let _two = caps.enter(&principal("a", 1)).unwrap();
        assert_eq!(caps.enter(&principal("a", 1)).unwrap_err(), Full::Principal);
        let _three = caps.enter(&principal("a", 2)).unwrap();
        assert_eq!(caps.enter(&principal("a", 3)).unwrap_err(), Full::Tenant);
        caps.enter(&principal("b", 1)).expect("another tenant's users do not count");
        drop(one);
        caps.enter(&principal("a", 3)).expect("a place was given back");
        assert_eq!(caps.counts.lock().principals.len(), 2, "nothing is left of who has gone");
    }
}
