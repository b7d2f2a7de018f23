//! The CPU of a tenant's scripts, and which of them is to blame when it is used up.
//!
//! Nothing is left out or put off: a change over which a script did not run is an alert that nobody
//! misses, and one that waits holds up everybody else's in its batch. Instead the tenant's dearest script
//! is disabled, which its owner is told; what it had used is given back to the tenant, so that the others
//! go on. While a tenant's scripts are dear they are run one by one, so that each has its own bill.
//!
//! Time comes from outside, as a [`Duration`] since some fixed moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidewire_event::Tenant;
use tidewire_script::{CpuQuota, Script};

/// Scripts in one call of a worker, where they are cheap.
const SCRIPTS_PER_CALL: usize = 64;
/// What a run costs that is not cheap: some hundred times that of a sound script.
const DEAR: Duration = Duration::from_millis(1);
/// For how long scripts are run one by one after some were dear.
const ONE_BY_ONE: Duration = Duration::from_secs(10);
/// Tenants that have run nothing for long are forgotten once there are so many.
const TENANTS_SWEPT_AT: usize = 4096;

struct Budget {
    quota: CpuQuota,
    /// What each script has used lately.
    spent: HashMap<Arc<str>, Duration>,
    /// When `spent` is halved, so that it tells of now.
    halved_at: Duration,
    one_by_one_until: Duration,
    charged_at: Duration,
}

/// The budgets of all tenants.
pub(crate) struct Budgets {
    rate: Duration,
    burst: Duration,
    tenants: HashMap<Tenant, Budget>,
}

impl Budgets {
    /// `rate` of CPU in each second, and `burst` of it saved up.
    pub(crate) fn new(rate: Duration, burst: Duration) -> Self {
        Self { rate, burst, tenants: HashMap::new() }
    }

    /// How long an empty budget takes to be full.
    fn period(&self) -> Duration {
        let seconds = self.burst.as_secs_f64() / self.rate.as_secs_f64().max(1e-9);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).max(Duration::from_secs(1))
    }

    /// How many scripts of the tenant go into one call.
    pub(crate) fn scripts_per_call(&self, tenant: &Tenant, now: Duration) -> usize {
        let budget = self.tenants.get(tenant);
        if budget.is_some_and(|b| now < b.one_by_one_until) { 1 } else { SCRIPTS_PER_CALL }
    }

    /// Takes what a call has cost.
    pub(crate) fn charge(&mut self, scripts: &[Arc<Script>], cpu: Duration, now: Duration) {
        let (Some(first), Ok(count)) = (scripts.first(), u32::try_from(scripts.len())) else {
            return;
        };
        let period = self.period();
        let tenant = &first.tenant;
        if !self.tenants.contains_key(tenant) {
            if self.tenants.len() >= TENANTS_SWEPT_AT {
                self.tenants.retain(|_, b| now.saturating_sub(b.charged_at) < period);
            }
            let budget = Budget {
                quota: CpuQuota::new(self.rate, self.burst),
                spent: HashMap::new(),
                halved_at: now.saturating_add(period),
                one_by_one_until: Duration::ZERO,
                charged_at: now,
            };
            self.tenants.insert(tenant.clone(), budget);
        }
        let Some(budget) = self.tenants.get_mut(tenant) else { return };
        if now >= budget.halved_at {
            budget.halved_at = now.saturating_add(period);
            budget.spent.values_mut().for_each(|spent| *spent /= 2);
            budget.spent.retain(|_, spent| *spent > Duration::from_micros(1));
        }
        budget.charged_at = now;
        budget.quota.charge(tenant, cpu, now);
        let share = cpu / count;
        for script in scripts {
            *budget.spent.entry(Arc::clone(&script.record.code)).or_default() += share;
        }
        if share > DEAR {
            budget.one_by_one_until = now.saturating_add(ONE_BY_ONE);
        }
    }

    /// The script that is to be disabled, where the tenant has nothing left; to be asked again until there
    /// is none.
    pub(crate) fn overdrawn(&mut self, tenant: &Tenant, now: Duration) -> Option<Arc<str>> {
        let budget = self.tenants.get_mut(tenant)?;
        let wait = budget.quota.wait(tenant, now);
        if wait.is_zero() {
            return None;
        }
        let dearest = budget.spent.iter().max_by_key(|(code, spent)| (**spent, *code));
        let code = dearest.map(|(code, _)| Arc::clone(code))?;
        let spent = budget.spent.remove(&code).unwrap_or_default();
        let debt = wait.mul_f64(self.rate.as_secs_f64());
        let used = (self.burst + debt).saturating_sub(spent);
        budget.quota = CpuQuota::new(self.rate, self.burst);
        budget.quota.charge(tenant, used, now);
        Some(code)
    }

    /// Forgets a script that is gone, or saved or enabled anew.
    pub(crate) fn forget(&mut self, tenant: &Tenant, code: &str) {
        if let Some(budget) = self.tenants.get_mut(tenant) {
            budget.spent.remove(code);
        }
    }
}

#[cfg(test)]
mod tests;
