//! How long a run may take.
//!
//! Each run has [`SHORT`] at first, which is some hundred times what a sound one takes. One that has not
//! ended by then is begun anew, alone and with the whole deadline; a script that ended well after a long run
//! has that from the start. But a tenant of whose runs many have reached a limit lately is on the short
//! leash: a long run of a script that has not shown that it ends is not tried any more, and the next run
//! that reaches a limit disables its script, the first as well as the fifth. So two hundred scripts that
//! loop hold up everybody else's alerts for little more than two hundred short runs.
//!
//! Time comes from outside, as a [`Duration`] since some fixed moment.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tidewire_event::Tenant;
use tidewire_script::Script;

/// What a run has at first, and on the short leash at all.
pub(crate) const SHORT: Duration = Duration::from_millis(1);
/// So many runs at a limit put a tenant on the short leash: more than one bad script has before it is
/// disabled for its faults in a row (by default).
const STRIKES: f64 = 6.0;
/// More are not counted, so that a tenant is not on the leash for ever.
const STRIKES_MAX: f64 = 12.0;
/// One is forgotten in each such time.
const FORGOTTEN: Duration = Duration::from_secs(4);

/// The runs at a limit of one tenant: how many, as of when.
#[derive(Clone, Copy)]
struct Strikes {
    count: f64,
    at: Duration,
}

impl Strikes {
    fn now(self, now: Duration) -> f64 {
        let forgotten = now.saturating_sub(self.at).as_secs_f64() / FORGOTTEN.as_secs_f64();
        (self.count - forgotten).max(0.0)
    }
}

/// The leashes of all tenants.
#[derive(Default)]
pub(crate) struct Leashes {
    strikes: HashMap<Tenant, Strikes>,
    /// The scripts whose last long run ended well. No more than there are scripts.
    long: HashMap<Tenant, HashSet<Arc<str>>>,
}

impl Leashes {
    /// Which of these scripts, all of one tenant, have the whole deadline from the start.
    pub(crate) fn are_long(&self, scripts: &[Arc<Script>]) -> Vec<bool> {
        let long = scripts.first().and_then(|first| self.long.get(&first.tenant));
        let is_long = |script: &Arc<Script>| long.is_some_and(|l| l.contains(&script.record.code));
        scripts.iter().map(is_long).collect()
    }

    /// Whether a run of the script that has not ended within [`SHORT`] may have the whole deadline.
    pub(crate) fn may_be_long(&self, script: &Script, now: Duration) -> bool {
        let known = self.long.get(&script.tenant);
        known.is_some_and(|long| long.contains(&script.record.code))
            || !self.is_short(&script.tenant, now)
    }

    /// Whether the tenant is on the short leash.
    pub(crate) fn is_short(&self, tenant: &Tenant, now: Duration) -> bool {
        self.strikes.get(tenant).is_some_and(|strikes| strikes.now(now) >= STRIKES)
    }

    /// Notes that a run with the whole deadline ended well after so much CPU.
    pub(crate) fn note_end(&mut self, script: &Script, cpu: Duration) {
        if cpu > SHORT {
            let long = self.long.entry(script.tenant.clone()).or_default();
            long.insert(Arc::clone(&script.record.code));
        } else {
            self.forget(&script.tenant, &script.record.code);
        }
    }

    /// Notes that a run reached a limit.
    pub(crate) fn note_limit(&mut self, script: &Script, now: Duration) {
        self.forget(&script.tenant, &script.record.code);
        // Those of long ago say nothing: only tenants that have some are kept.
        self.strikes.retain(|_, strikes| strikes.now(now) > 0.0);
        let count = self.strikes.get(&script.tenant).map_or(0.0, |strikes| strikes.now(now));
        let strikes = Strikes { count: (count + 1.0).min(STRIKES_MAX), at: now };
        self.strikes.insert(script.tenant.clone(), strikes);
    }

    /// Forgets a script that is gone, or saved or enabled anew.
    pub(crate) fn forget(&mut self, tenant: &Tenant, code: &str) {
        if let Some(long) = self.long.get_mut(tenant) {
            long.remove(code);
            if long.is_empty() {
                self.long.remove(tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests;
