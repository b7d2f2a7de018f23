//! What metrics and the health page show of a store.

/// A store's state and its counts since start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// Calls are expected to work.
    pub available: bool,
    /// Why not, for the operator; never a secret.
    pub detail: Option<String>,
    /// Calls that failed: away, too late, refused.
    pub errors: u64,
    /// Stored values that could not be read and were treated as lost.
    pub corrupt: u64,
    /// Live entries that a full in-memory store dropped.
    pub evicted: u64,
}

/// Says how the store is.
pub trait StoreStatus: Send + Sync {
    /// True while calls are expected to work. Cheap; no I/O.
    fn available(&self) -> bool {
        self.health().available
    }

    /// State and counts. Cheap; no I/O.
    fn health(&self) -> StoreHealth;
}
