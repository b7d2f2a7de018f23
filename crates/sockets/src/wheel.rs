//! A timer wheel: one entry per connection, coarse and cheap.

use std::time::{Duration, Instant};

/// How fine timers are.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// Slots in the wheel: a horizon of 64 s.
const SLOTS: usize = 256;

/// Something due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) slot: usize,
    /// Which connection: its slot may belong to another by then.
    pub(crate) connection: u64,
}

#[derive(Debug)]
pub(crate) struct Wheel {
    slots: Vec<Vec<Entry>>,
    /// The tick that is handed out next.
    tick: u64,
    started: Instant,
    set: usize,
}

impl Wheel {
    pub(crate) fn new(now: Instant) -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), tick: 1, started: now, set: 0 }
    }

    fn tick_of(&self, at: Instant) -> u64 {
        let elapsed = at.saturating_duration_since(self.started).as_millis() / TICK.as_millis();
        u64::try_from(elapsed).unwrap_or(u64::MAX)
    }

    /// Sets a timer: it fires at the first tick at or after `at`, or at the horizon if that comes first
    /// (its owner then sets it again).
    pub(crate) fn set(&mut self, at: Instant, entry: Entry) {
        let due = (self.tick_of(at) + 1).clamp(self.tick, self.tick + SLOTS as u64 - 1);
        let index = usize::try_from(due % SLOTS as u64).unwrap_or(0);
        if let Some(slot) = self.slots.get_mut(index) {
            slot.push(entry);
            self.set += 1;
        }
    }

    /// How many timers are set, those of gone connections included.
    pub(crate) const fn len(&self) -> usize {
        self.set
    }

    /// Drops the timers that nobody waits for any more, and gives their memory back.
    pub(crate) fn retain(&mut self, mut wanted: impl FnMut(&Entry) -> bool) {
        for slot in &mut self.slots {
            slot.retain(&mut wanted);
            slot.shrink_to_fit();
        }
        self.set = self.slots.iter().map(Vec::len).sum();
    }

    /// Takes what is due.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Entry> {
        let until = self.tick_of(now);
        let mut due = Vec::new();
        // After a pause longer than the horizon one round reaches every slot.
        let rounds = (until + 1).saturating_sub(self.tick).min(SLOTS as u64);
        for _ in 0..rounds {
            let index = usize::try_from(self.tick % SLOTS as u64).unwrap_or(0);
            if let Some(slot) = self.slots.get_mut(index) {
                due.append(slot);
            }
            self.tick += 1;
        }
        self.tick = self.tick.max(until + 1);
        self.set = self.set.saturating_sub(due.len());
        due
    }

    /// When to look next.
    pub(crate) fn next_look(&self, now: Instant) -> Duration {
        let next = self.started + TICK * u32::try_from(self.tick).unwrap_or(u32::MAX);
        next.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_of_gone_connections_can_be_dropped() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        for slot in 0..100 {
            let at = start + Duration::from_millis(slot * 100);
            wheel.set(at, Entry { slot: 7, connection: slot });
        }
        assert_eq!(wheel.len(), 100);
        wheel.retain(|entry| entry.connection % 10 == 3);
        assert_eq!(wheel.len(), 10);
        let fired = wheel.due(start + Duration::from_secs(60));
        assert_eq!(fired.len(), 10);
        assert!(fired.iter().all(|e| e.connection % 10 == 3));
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn fires_once_at_or_after_its_time() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let ms = |n: u64| start + Duration::from_millis(n);
        for (slot, at) in [(1, 0), (2, 300), (3, 1_000), (4, 600_000)] {
            wheel.set(ms(at), Entry { slot, connection: 7 });
        }
        let fired = |wheel: &mut Wheel, at| -> Vec<usize> {
            wheel.due(ms(at)).into_iter().map(|e| e.slot).collect()
        };
        assert_eq!(fired(&mut wheel, 200), Vec::<usize>::new());
        assert_eq!(fired(&mut wheel, 250), vec![1]);
        assert_eq!(fired(&mut wheel, 499), Vec::<usize>::new());
        assert_eq!(fired(&mut wheel, 999), vec![2]);
        assert_eq!(fired(&mut wheel, 1_300), vec![3]);
        assert_eq!(fired(&mut wheel, 63_000), Vec::<usize>::new());
        assert_eq!(fired(&mut wheel, 64_100), vec![4], "at the horizon");
        assert_eq!(fired(&mut wheel, 900_000), Vec::<usize>::new());
        wheel.set(ms(0), Entry { slot: 5, connection: 7 });
        assert_eq!(fired(&mut wheel, 900_250), vec![5], "a time gone by fires at the next tick");
    }
}
