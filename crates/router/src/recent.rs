//! Which changes were routed lately: a change published again has another offset and the same change id.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashSet;

/// How many changes a replica remembers.
const CHANGES_MAX: usize = 65_536;

/// A bounded memory of (object, change id), oldest out first. It holds keyed 64-bit hashes: that two of
/// 65,536 remembered changes collide with a new one has a probability below 2^-47 per change.
#[derive(Debug, Default)]
pub(crate) struct RecentChanges {
    hasher: RandomState,
    order: VecDeque<u64>,
    known: HashSet<u64>,
}

impl RecentChanges {
    /// Remembers the change; false if it was known already.
    pub(crate) fn insert(&mut self, record_key: &[u8], change_id: &str) -> bool {
        let hash = self.hasher.hash_one((record_key, change_id));
        if !self.known.insert(hash) {
            return false;
        }
        if self.order.len() == CHANGES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(hash);
        true
    }

    pub(crate) fn clear(&mut self) {
        self.order.clear();
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_oldest_first() {
        let mut recent = RecentChanges::default();
        assert!(recent.insert(b"t/A/1", "x"));
        assert!(!recent.insert(b"t/A/1", "x"));
        assert!(recent.insert(b"t/A/2", "x"), "another object's change is another change");
        for n in 0..CHANGES_MAX {
            assert!(recent.insert(b"t/B/1", &n.to_string()));
        }
        assert!(recent.insert(b"t/A/1", "x"), "pushed out by 65,536 others");
        assert_eq!(recent.order.len(), CHANGES_MAX);
        assert_eq!(recent.known.len(), CHANGES_MAX);
    }
}
