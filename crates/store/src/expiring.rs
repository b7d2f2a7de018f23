//! A bounded map whose entries expire: the body of the in-memory store.
//!
//! When full it drops the entry that would expire first (what Redis calls `volatile-ttl`), and counts it
//! if it was still alive. An order by expiry beside the map makes every step logarithmic.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct ExpiringMap<V> {
    entries: HashMap<Arc<str>, (Duration, V)>,
    by_expiry: BTreeSet<(Duration, Arc<str>)>,
    entries_max: usize,
    evicted: u64,
}

impl<V> ExpiringMap<V> {
    pub(crate) fn new(entries_max: usize) -> Self {
        let (entries, by_expiry) = (HashMap::new(), BTreeSet::new());
        Self { entries, by_expiry, entries_max: entries_max.max(1), evicted: 0 }
    }

    /// How many live entries were dropped because the map was full.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The live entry, with its expiry moved to `expires`.
    pub(crate) fn touch(&mut self, key: &str, now: Duration, expires: Duration) -> Option<&mut V> {
        let value = self.take(key, now)?;
        self.put(key, value, now, expires);
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    /// The live entry.
    pub(crate) fn get(&self, key: &str, now: Duration) -> Option<&V> {
        let (expires, value) = self.entries.get(key)?;
        (*expires > now).then_some(value)
    }

    /// Takes the entry out if it is alive.
    pub(crate) fn take(&mut self, key: &str, now: Duration) -> Option<V> {
        let (key, (expires, value)) = self.entries.remove_entry(key)?;
        self.by_expiry.remove(&(expires, key));
        (expires > now).then_some(value)
    }

    /// Puts an entry, in the place of one of the same key.
    pub(crate) fn put(&mut self, key: &str, value: V, now: Duration, expires: Duration) {
        self.take(key, now);
        self.drop_expired(now);
        while self.entries.len() >= self.entries_max && self.drop_first() {
            self.evicted += 1;
        }
        let key: Arc<str> = Arc::from(key);
        self.by_expiry.insert((expires, Arc::clone(&key)));
        self.entries.insert(key, (expires, value));
    }

    fn drop_expired(&mut self, now: Duration) {
        while self.by_expiry.first().is_some_and(|(expires, _)| *expires <= now) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) -> bool {
        let Some((_, key)) = self.by_expiry.pop_first() else { return false };
        self.entries.remove(&key).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_full_map_drops_what_would_expire_first() {
        let mut map = ExpiringMap::new(3);
        for (key, expires) in [("a", 30), ("b", 10), ("c", 20), ("d", 40)] {
            map.put(key, (), s(0), s(expires));
        }
        let alive: Vec<_> = ["a", "b", "c", "d"].map(|key| map.get(key, s(0)).is_some()).into();
        assert_eq!(alive, [true, false, true, true]);
        assert_eq!((map.evicted(), map.by_expiry.len()), (1, 3));
    }

    #[test]
    fn what_has_expired_makes_room_uncounted() {
        let mut map = ExpiringMap::new(2);
        map.put("a", (), s(0), s(10));
        map.put("b", (), s(0), s(10));
        map.put("c", (), s(10), s(20));
        assert_eq!((map.evicted(), map.entries.len(), map.by_expiry.len()), (0, 1, 1));
        assert!(map.get("a", s(10)).is_none() && map.get("c", s(10)).is_some());
    }

    #[test]
    fn a_touched_entry_lives_on() {
        let mut map = ExpiringMap::new(2);
        map.put("a", 7, s(0), s(10));
        assert_eq!(map.touch("a", s(9), s(19)), Some(&mut 7));
        assert_eq!(map.get("a", s(18)), Some(&7));
        assert_eq!(map.touch("a", s(19), s(29)), None);
        assert_eq!((map.entries.len(), map.by_expiry.len(), map.evicted()), (0, 0, 0));
    }
}
