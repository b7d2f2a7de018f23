//! The messages of the last moments, so that one that comes again after a reconnect is shown once.

use std::collections::{HashSet, VecDeque};

use super::line::Event;

/// How many are remembered: what comes again is at most a few seconds old.
const EVENTS_MAX: usize = 4_096;

/// `id`, type and key: together they are unique.
type Identity = (String, String, String);

#[derive(Debug, Default)]
pub(super) struct Recent {
    order: VecDeque<Identity>,
    seen: HashSet<Identity>,
}

impl Recent {
    /// Whether this message was not there before; remembers it.
    pub(super) fn is_new(&mut self, event: &Event) -> bool {
        let identity = (event.id.clone(), event.object_type.clone(), event.key.clone());
        if !self.seen.insert(identity.clone()) {
            return false;
        }
        self.order.push_back(identity);
        if self.order.len() > EVENTS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, object_type: &str, key: &str) -> Event {
        Event {
            id: id.into(),
            object_type: object_type.into(),
            key: key.into(),
            ..Event::default()
        }
    }

    #[test]
    fn a_repeat_has_the_same_three() {
        let mut recent = Recent::default();
        assert!(recent.is_new(&event("0-1", "Voyage", "7")));
        assert!(!recent.is_new(&event("0-1", "Voyage", "7")));
        assert!(recent.is_new(&event("0-1", "Voyage", "8")));
        assert!(recent.is_new(&event("0-1", "PortCall", "7")));
        assert!(recent.is_new(&event("0-2", "Voyage", "7")));
    }

    #[test]
    fn memory_is_bounded() {
        let mut recent = Recent::default();
        for number in 0..=EVENTS_MAX {
            assert!(recent.is_new(&event(&format!("0-{number}"), "Voyage", "7")));
        }
        assert_eq!((recent.order.len(), recent.seen.len()), (EVENTS_MAX, EVENTS_MAX));
        assert!(recent.is_new(&event("0-0", "Voyage", "7")), "the oldest is forgotten");
    }
}
