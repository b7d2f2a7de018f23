//! Counts the faults of scripts, and says when one is to be disabled.
//!
//! A script that fails [`FAULTS_MAX`] times in a row (or as often as is configured) is disabled: each of
//! its runs may cost a worker process. A run that ends well, and a new version, start the count anew. Who
//! disables, and writes that into the registry, is the service.

use std::collections::HashMap;
use std::sync::Arc;

use tidewire_event::Tenant;

use crate::{Script, ScriptError};

/// Faults in a row after which a script is disabled, by default.
pub const FAULTS_MAX: u32 = 5;

/// What a fault leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultVerdict {
    /// The script ran well, or the fault was not its own.
    Fine,
    /// So many faults in a row now.
    Counted(u32),
    /// Enough: it is to be disabled. Told again with each further fault.
    Disable,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    version: u64,
    in_a_row: u32,
}

/// The counts of one service; only scripts that failed last time have one.
#[derive(Debug)]
pub struct Faults {
    max: u32,
    counts: HashMap<Tenant, HashMap<Arc<str>, Count>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self::new(FAULTS_MAX)
    }
}

impl Faults {
    /// Disables after `max` faults in a row; 0 counts as 1.
    #[must_use]
    pub fn new(max: u32) -> Self {
        Self { max: max.max(1), counts: HashMap::new() }
    }

    /// Notes how a run ended.
    pub fn note(&mut self, script: &Script, error: Option<&ScriptError>) -> FaultVerdict {
        let (tenant, code) = (&script.tenant, &script.record.code);
        match error {
            None => {
                self.forget(tenant, code);
                FaultVerdict::Fine
            }
            Some(error) if !error.kind.is_fault_of_script() => FaultVerdict::Fine,
            Some(_) => {
                if !self.counts.contains_key(tenant) {
                    self.counts.insert(tenant.clone(), HashMap::new());
                }
                let Some(counts) = self.counts.get_mut(tenant) else { return FaultVerdict::Fine };
                let fresh = Count { version: script.version, in_a_row: 0 };
                let count = counts.entry(Arc::clone(code)).or_insert(fresh);
                if count.version != script.version {
                    *count = fresh;
                }
                count.in_a_row = count.in_a_row.saturating_add(1);
                if count.in_a_row >= self.max {
                    FaultVerdict::Disable
                } else {
                    FaultVerdict::Counted(count.in_a_row)
                }
            }
        }
    }

    /// Forgets a script: it is gone, or somebody has enabled it again.
    pub fn forget(&mut self, tenant: &Tenant, code: &str) {
        let Some(counts) = self.counts.get_mut(tenant) else { return };
        counts.remove(code);
        if counts.is_empty() {
            self.counts.remove(tenant);
        }
    }

    /// How many scripts have a count.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.values().map(HashMap::len).sum()
    }

    /// Whether no script failed last time.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

#[cfg(test)]
mod tests;
