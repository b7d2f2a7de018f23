//! Which frames of a queue a newer one of the same object may still take the place of.
//!
//! Kept beside a queue's chunks, one place for each, and only once a frame was put in that can be merged.
//! Invariants: an object's newest waiting frame is found by hash; each knows the one before it of the
//! same object, so that the older one counts again when the newest is taken out. Frames are numbered in
//! the order of the queue; what has left it is forgotten at once.

use std::collections::VecDeque;
use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};
use tidewire_event::{ObjectKey, ObjectType, Operation};

/// What becomes of a new frame when an older one of the same object waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It goes behind, and both stay.
    Append,
    /// The older is taken out, and one with this operation goes to the end.
    Replace(Operation),
    /// The older is taken out, and the new one is not sent: there is nothing to tell.
    Cancel,
}

impl Plan {
    /// Merges two operations. What makes no sense (an update of what is deleted) stays as it came.
    pub(crate) const fn of(older: Operation, newer: Operation) -> Self {
        use Operation::{Create, Delete, Update};
        match (older, newer) {
            (Create, Update) => Self::Replace(Create),
            (Update, Update) => Self::Replace(Update),
            (Update, Delete) => Self::Replace(Delete),
            (Create, Delete) => Self::Cancel,
            (Delete, _) | (_, Create) => Self::Append,
        }
    }
}

/// An object as one subscription sees it: frames are merged for each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ObjectRef<'a> {
    /// The subscription: a number that its connection gives.
    pub(crate) lane: usize,
    pub(crate) object_type: &'a ObjectType,
    pub(crate) key: &'a ObjectKey,
}

/// A frame that can be merged.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) lane: usize,
    pub(crate) object_type: ObjectType,
    pub(crate) key: ObjectKey,
    pub(crate) operation: Operation,
}

impl Event {
    const fn object(&self) -> ObjectRef<'_> {
        ObjectRef { lane: self.lane, object_type: &self.object_type, key: &self.key }
    }
}

#[derive(Debug)]
struct Waiting {
    event: Event,
    /// The number of the frame of the same object before this one.
    previous: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    hash: u64,
    number: u64,
}

#[derive(Debug, Default)]
pub(crate) struct WaitingEvents {
    /// The number of the first chunk of the queue.
    first: u64,
    /// One for each chunk; `None` for what can't be merged.
    places: VecDeque<Option<Waiting>>,
    /// The newest frame of each object.
    newest: HashTable<Newest>,
    hasher: DefaultHashBuilder,
}

impl WaitingEvents {
    /// For a queue that holds so many chunks already.
    pub(crate) fn behind(chunks: usize) -> Self {
        let mut events = Self::default();
        events.places.resize_with(chunks, || None);
        events
    }

    /// A chunk was appended.
    pub(crate) fn push(&mut self, event: Option<Event>) {
        let waiting = event.map(|event| {
            let number = self.first + self.places.len() as u64;
            let hash = self.hasher.hash_one(event.object());
            let previous = self.newest(hash, event.object());
            match self.newest.find_mut(hash, |n| Some(n.number) == previous) {
                Some(newest) => newest.number = number,
                None => {
                    self.newest.insert_unique(hash, Newest { hash, number }, |n| n.hash);
                }
            }
            Waiting { event, previous }
        });
        self.places.push_back(waiting);
    }

    /// The first chunk has left the queue.
    pub(crate) fn pop_front(&mut self) {
        let number = self.first;
        if let Some(waiting) = self.places.pop_front() {
            self.first += 1;
            if let Some(Waiting { event, .. }) = waiting {
                self.restore(number, &event, None);
            }
        }
    }

    /// The last chunk, which was taken out, has left the queue.
    pub(crate) fn pop_back(&mut self) {
        let place = self.places.pop_back();
        debug_assert!(place.is_none_or(|p| p.is_none()), "a frame that waits stays");
    }

    /// The operation of the newest frame of an object; `begun`: the first chunk is partly written and
    /// does not count.
    pub(crate) fn operation(&self, object: ObjectRef<'_>, begun: bool) -> Option<Operation> {
        let number = self.newest(self.hasher.hash_one(object), object)?;
        let waiting = self.waiting(number).filter(|_| !(begun && number == self.first))?;
        Some(waiting.event.operation)
    }

    /// Forgets the newest frame of an object and says at which place it stands.
    pub(crate) fn take(&mut self, object: ObjectRef<'_>, begun: bool) -> Option<usize> {
        let number = self.newest(self.hasher.hash_one(object), object)?;
        if begun && number == self.first {
            return None;
        }
        let place = self.place(number)?;
        let Waiting { event, previous } = self.places.get_mut(place)?.take()?;
        self.restore(number, &event, previous);
        Some(place)
    }

    /// Forgets all frames of a subscription.
    pub(crate) fn forget_lane(&mut self, lane: usize) {
        for place in &mut self.places {
            if place.as_ref().is_some_and(|w| w.event.lane == lane) {
                *place = None;
            }
        }
        let (first, places) = (self.first, &self.places);
        let waits = |number: u64| {
            let at = number.checked_sub(first).and_then(|at| usize::try_from(at).ok());
            at.and_then(|at| places.get(at)).is_some_and(Option::is_some)
        };
        self.newest.retain(|newest| waits(newest.number));
    }

    /// Begins anew and hands over what stood at each place, so that it can be put in again.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Option<Event>> + use<> {
        self.newest.clear();
        self.first = 0;
        std::mem::take(&mut self.places).into_iter().map(|w| w.map(|w| w.event))
    }

    /// A frame is gone: if it was the newest of its object, the one before it is.
    fn restore(&mut self, number: u64, event: &Event, previous: Option<u64>) {
        let hash = self.hasher.hash_one(event.object());
        let previous = previous.filter(|n| self.waiting(*n).is_some());
        if let Ok(mut entry) = self.newest.find_entry(hash, |n| n.number == number) {
            match previous {
                Some(previous) => entry.get_mut().number = previous,
                None => drop(entry.remove()),
            }
        }
    }

    fn newest(&self, hash: u64, object: ObjectRef<'_>) -> Option<u64> {
        let is = |w: &Waiting| w.event.object() == object;
        let newest = self.newest.find(hash, |n| self.waiting(n.number).is_some_and(is));
        newest.map(|n| n.number)
    }

    fn waiting(&self, number: u64) -> Option<&Waiting> {
        self.places.get(self.place(number)?)?.as_ref()
    }

    /// Where a frame stands; `None` once it has left the queue.
    fn place(&self, number: u64) -> Option<usize> {
        number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl WaitingEvents {
        pub(crate) fn objects(&self) -> usize {
            self.newest.len()
        }

        pub(crate) fn places(&self) -> usize {
            self.places.len()
        }
    }

    #[test]
    fn merges_by_the_table() {
        use Operation::{Create as C, Delete as D, Update as U};
        let check = |older: Operation, newer: Operation, expected: Plan| {
            assert_eq!(Plan::of(older, newer), expected, "{older} then {newer}");
        };
        check(C, C, Plan::Append);
        check(C, U, Plan::Replace(C));
        check(C, D, Plan::Cancel);
        check(U, C, Plan::Append);
        check(U, U, Plan::Replace(U));
        check(U, D, Plan::Replace(D));
        check(D, C, Plan::Append);
        check(D, U, Plan::Append);
        check(D, D, Plan::Append);
    }
}
