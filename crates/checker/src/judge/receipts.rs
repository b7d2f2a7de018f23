//! What a client has, as of the cursor that it went on from.
//!
//! Whoever resumes from a cursor has what it had when that cursor came, no more; it may later resume from
//! another one, older or newer. So receipts are a tree: each knows the one before it.

/// A point in the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark(u32);

#[derive(Clone, Copy, Debug)]
struct Node {
    change: u32,
    before: u32,
    /// How many are before it.
    depth: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Receipts {
    has: Vec<bool>,
    nodes: Vec<Node>,
    now: Mark,
}

/// Nothing was received: the root stands for no change.
const ROOT: Mark = Mark(0);

impl Receipts {
    /// For so many changes.
    pub(super) fn new(changes: usize) -> Self {
        let root = Node { change: u32::MAX, before: 0, depth: 0 };
        Self { has: vec![false; changes], nodes: vec![root], now: ROOT }
    }

    pub(super) fn has(&self, change: u32) -> bool {
        self.has.get(change as usize).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, change: u32) {
        if self.has(change) {
            return;
        }
        let depth = self.node(self.now).depth + 1;
        self.nodes.push(Node { change, before: self.now.0, depth });
        self.now = Mark(u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX));
        self.set(change, true);
    }

    pub(super) const fn mark(&self) -> Mark {
        self.now
    }

    /// What was received at a mark, and nothing else.
    pub(super) fn go_to(&mut self, mark: Mark) {
        let (mut from, mut to, mut again) = (self.now, mark, Vec::new());
        while from != to {
            let (old, new) = (self.node(from), self.node(to));
            if old.depth >= new.depth {
                self.set(old.change, false);
                from = Mark(old.before);
            }
            if new.depth >= old.depth {
                again.push(new.change);
                to = Mark(new.before);
            }
        }
        again.into_iter().for_each(|change| self.set(change, true));
        self.now = mark;
    }

    fn node(&self, mark: Mark) -> Node {
        let root = Node { change: u32::MAX, before: 0, depth: 0 };
        self.nodes.get(mark.0 as usize).copied().unwrap_or(root)
    }

    fn set(&mut self, change: u32, has: bool) {
        if let Some(place) = self.has.get_mut(change as usize) {
            *place = has;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(receipts: &Receipts) -> Vec<u32> {
        (0..10).filter(|change| receipts.has(*change)).collect()
    }

    #[test]
    fn a_client_goes_back_and_forth() {
        let mut receipts = Receipts::new(10);
        [0, 1].into_iter().for_each(|change| receipts.add(change));
        let early = receipts.mark();
        [2, 3].into_iter().for_each(|change| receipts.add(change));
        let late = receipts.mark();
        receipts.go_to(early);
        assert_eq!(all(&receipts), [0, 1]);
        [3, 4, 4, 5].into_iter().for_each(|change| receipts.add(change));
        let other = receipts.mark();
        assert_eq!(all(&receipts), [0, 1, 3, 4, 5]);
        receipts.go_to(late);
        assert_eq!(all(&receipts), [0, 1, 2, 3]);
        receipts.go_to(other);
        assert_eq!(all(&receipts), [0, 1, 3, 4, 5]);
        receipts.go_to(other);
        receipts.go_to(ROOT);
        assert_eq!(all(&receipts), [0; 0]);
    }
}
