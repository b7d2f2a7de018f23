//! What was routed lately: a change published again, or one that is older than what was shown already.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, RandomState};

use hashbrown::HashSet;
use hashbrown::hash_map::{Entry, HashMap};
use tidewire_event::RecordHeader;

/// How many changes, and how many objects' versions, are remembered.
const REMEMBERED_MAX: usize = 65_536;

/// What the memory says of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Not known: it goes on.
    Fresh,
    /// The same change stood in the log before.
    Repeated,
    /// A newer version of the object, in the same epoch, stood in the log before.
    Stale,
}

/// A bounded memory, oldest out first. It holds keyed 64-bit hashes: that two of 65,536 remembered
/// things collide with a new one has a probability below 2^-47 each.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    hasher: RandomState,
    changes: Changes,
    versions: Versions,
}

#[derive(Debug, Default)]
struct Changes {
    order: VecDeque<u64>,
    known: HashSet<u64>,
}

/// The newest version of each object: (hash of the epoch, number).
#[derive(Debug, Default)]
struct Versions {
    order: VecDeque<u64>,
    newest: HashMap<u64, (u64, u128)>,
}

impl Recent {
    /// Judges a record and remembers it.
    pub(crate) fn judge(&mut self, record_key: &[u8], header: &RecordHeader<'_>) -> Judgement {
        if let Some(change_id) = header.change_id.as_deref()
            && !self.changes.insert(self.hash(&(record_key, change_id)))
        {
            return Judgement::Repeated;
        }
        let Some(version) = &header.version else { return Judgement::Fresh };
        let (object, epoch) = (self.hash(&record_key), self.hash(&version.epoch));
        self.versions.judge(object, epoch, version.number)
    }

    fn hash(&self, what: &impl Hash) -> u64 {
        self.hasher.hash_one(what)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Changes {
    /// False if it was known already.
    fn insert(&mut self, hash: u64) -> bool {
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

impl Versions {
    fn judge(&mut self, object: u64, epoch: u64, number: u128) -> Judgement {
        match self.newest.entry(object) {
            Entry::Occupied(mut known) => {
                let (known_epoch, newest) = *known.get();
                if known_epoch == epoch && number <= newest {
                    return if number == newest { Judgement::Repeated } else { Judgement::Stale };
                }
                // Between epochs the record that stands later in the log is newer.
                known.insert((epoch, number));
            }
            Entry::Vacant(place) => {
                place.insert((epoch, number));
                self.order.push_back(object);
                if self.order.len() > REMEMBERED_MAX
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.newest.remove(&oldest);
                }
            }
        }
        Judgement::Fresh
    }
}

#[cfg(test)]
mod tests {
    use super::Judgement::{Fresh, Repeated, Stale};
    use super::*;

    fn judge(recent: &mut Recent, key: &str, version: &str, change_id: &str) -> Judgement {
        let header = format!("1;U;{version};full;;{change_id}");
        let header = RecordHeader::parse(header.as_bytes()).unwrap();
        recent.judge(key.as_bytes(), &header)
    }

    #[test]
    fn a_change_is_taken_once() {
        let mut recent = Recent::default();
        assert_eq!(judge(&mut recent, "t/A/1", "", "x"), Fresh);
        assert_eq!(judge(&mut recent, "t/A/1", "", "x"), Repeated);
        assert_eq!(judge(&mut recent, "t/A/2", "", "x"), Fresh, "another object's change");
        assert_eq!(judge(&mut recent, "t/A/1", "", ""), Fresh, "without an id nothing is known");
        for n in 0..REMEMBERED_MAX {
            assert_eq!(judge(&mut recent, "t/B/1", "", &n.to_string()), Fresh);
        }
        assert_eq!(judge(&mut recent, "t/A/1", "", "x"), Fresh, "pushed out by 65,536 others");
        assert_eq!(recent.changes.order.len(), REMEMBERED_MAX);
        assert_eq!(recent.changes.known.len(), REMEMBERED_MAX);
    }

    #[test]
    fn an_older_version_is_not_shown_after_a_newer_one() {
        let mut recent = Recent::default();
        for (key, version, expected) in [
            ("t/A/1", "e:5", Fresh),
            ("t/A/1", "e:4", Stale),
            ("t/A/1", "e:5", Repeated),
            ("t/A/2", "e:4", Fresh),
            ("t/A/1", "e:6", Fresh),
            // Another epoch: the later record is newer, whatever its number.
            ("t/A/1", "f:1", Fresh),
            ("t/A/1", "f:1", Repeated),
            ("t/A/1", "e:7", Fresh),
            ("t/A/1", "", Fresh),
        ] {
            assert_eq!(judge(&mut recent, key, version, ""), expected, "{key} {version}");
        }
        for n in 0..REMEMBERED_MAX {
            assert_eq!(judge(&mut recent, &format!("t/B/{n}"), "e:1", ""), Fresh);
        }
        assert_eq!(judge(&mut recent, "t/A/2", "e:3", ""), Fresh, "pushed out");
        assert_eq!(recent.versions.newest.len(), REMEMBERED_MAX);
    }
}
