use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

const HERE: Partition = Partition(3);

fn at(next: i64) -> Position {
    Position { next: NextOffset(next), epoch: LeaderEpoch(1) }
}

fn tenant(name: &str) -> Tenant {
    Tenant::new(name).unwrap()
}

fn record(offset: i64, epoch: i32) -> LogRecord<'static> {
    LogRecord {
        partition: HERE,
        offset: Offset(offset),
        leader_epoch: LeaderEpoch(epoch),
        timestamp_ms: 0,
        key: None,
        header: None,
        header_count: 0,
        payload: None,
    }
}

/// The one mark that there is: its offset and its note.
fn mark(ledger: &mut Ledger) -> Option<(i64, String)> {
    match &ledger.marks()[..] {
        [] => None,
        [mark] => Some((mark.at.next.0, mark.note.clone())),
        marks => panic!("{marks:?}"),
    }
}

#[test]
fn a_position_stays_before_what_waits() {
    let mut ledger = Ledger::default();
    ledger.begin(HERE, NextOffset(10), "").unwrap();
    ledger.advance(HERE, at(20));
    assert_eq!(mark(&mut ledger), None, "the stage's own position will do");
    assert!(ledger.put(HERE, &tenant("a b"), at(22)));
    assert!(ledger.put(HERE, &tenant("a b"), at(24)));
    assert!(ledger.put(HERE, &tenant("other"), at(23)));
    ledger.advance(HERE, at(30));
    assert_eq!(mark(&mut ledger), Some((22, "30:1 a%20b@22:1 other@23:1".to_owned())));
    assert_eq!((ledger.first(HERE), ledger.waiting()), (Some(NextOffset(22)), (2, 3)));
    ledger.done(HERE, &tenant("a b"));
    assert_eq!(mark(&mut ledger), Some((23, "30:1 a%20b@24:1 other@23:1".to_owned())));
    ledger.done(HERE, &tenant("a b"));
    ledger.done(HERE, &tenant("other"));
    assert_eq!(mark(&mut ledger), Some((30, String::new())), "the group is to be moved");
    assert_eq!(mark(&mut ledger), None);
}

#[test]
fn what_is_done_is_passed_over() {
    let mut ledger = Ledger::default();
    ledger.begin(HERE, NextOffset(22), "30:1 a%20b@24:1 other@22:1").unwrap();
    let owed = |ledger: &Ledger, offset, tenant| ledger.is_owed(HERE, Offset(offset), tenant);
    assert!(!owed(&ledger, 22, "third") && owed(&ledger, 22, "other"));
    assert!(!owed(&ledger, 23, "a b") && owed(&ledger, 24, "a b"));
    assert!(owed(&ledger, 30, "third"));
    assert!(!ledger.waits(HERE, "other"), "it is not read yet");
    // Half of it is read again.
    assert!(ledger.put(HERE, &tenant("other"), at(23)));
    ledger.advance(HERE, at(26));
    assert_eq!(mark(&mut ledger), Some((23, "30:1 a%20b@26:1 other@23:1".to_owned())));
    ledger.advance(HERE, at(30));
    assert_eq!(mark(&mut ledger), Some((23, "30:1 other@23:1".to_owned())));
    ledger.done(HERE, &tenant("other"));
    assert_eq!(mark(&mut ledger), Some((30, String::new())));
}

#[test]
fn behind_a_cut_nothing_is_done() {
    let mut ledger = Ledger::default();
    ledger.begin(HERE, NextOffset(22), "30:1 other@22:1").unwrap();
    assert!(!ledger.is_cut(&record(25, 1)));
    assert!(!ledger.is_owed(HERE, Offset(26), "third"));
    assert!(ledger.is_cut(&record(26, 2)), "another leader's");
    assert!(!ledger.is_cut(&record(27, 2)), "told once");
    assert!(ledger.is_owed(HERE, Offset(26), "third") && ledger.is_owed(HERE, Offset(27), "third"));
}

#[test]
fn strange_notes_are_refused_and_count_for_nothing() {
    let strange = ["x", "1", "1:x", "1:1 a", "1:1 a@", "1:1 a@2", "1:1 a@2:1 ", "1:1 %zz@2:1"];
    for note in strange {
        let mut ledger = Ledger::default();
        assert!(ledger.begin(HERE, NextOffset(5), note).is_err(), "{note}");
        assert!(ledger.is_owed(HERE, Offset(5), "a"));
    }
}

#[test]
fn a_note_has_an_end() {
    let mut ledger = Ledger::default();
    ledger.begin(HERE, NextOffset(0), "").unwrap();
    let names: Vec<Tenant> = (0..200).map(|n| tenant(&format!("{n:=<64}"))).collect();
    let put = names.iter().take_while(|name| ledger.put(HERE, name, at(i64::MAX))).count();
    assert!((10..200).contains(&put), "{put}");
    assert!(ledger.put(HERE, &names[0], at(i64::MAX)), "one that is in it");
    ledger.advance(HERE, at(i64::MAX));
    let (_, note) = mark(&mut ledger).unwrap();
    assert!((NOTE_BYTES_MAX / 2..=NOTE_BYTES_MAX).contains(&note.len()), "{}", note.len());
}

/// One step of whoever reads.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Reads so many records; those whose bit is set in the mask wait.
    Read(i64, u32),
    /// The first that waits of the tenant is done.
    Done(usize),
    Commit,
    /// Everything since the last commit is forgotten.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_i64..8, any::<u32>()).prop_map(|(count, mask)| Step::Read(count, mask)),
        4 => (0_usize..3).prop_map(Step::Done),
        3 => Just(Step::Commit),
        1 => Just(Step::Crash),
    ]
}

const NAMES: [&str; 3] = ["a", "b", "c d"];

/// The group, and who reads for it.
struct Reader<'a> {
    tenants: &'a [usize],
    ledger: Ledger,
    read: i64,
    waiting: HashMap<usize, Vec<i64>>,
    since: Vec<i64>,
    committed: (i64, String),
    done: BTreeMap<i64, usize>,
    /// The last that was done of each tenant.
    last: HashMap<usize, i64>,
}

impl Reader<'_> {
    fn begin(&mut self) {
        let (next, note) = self.committed.clone();
        self.ledger.begin(HERE, NextOffset(next), &note).unwrap();
        self.read = next;
        self.waiting.clear();
        self.since.clear();
    }

    fn read(&mut self, count: i64, mask: u32) {
        let end = i64::try_from(self.tenants.len()).unwrap().min(self.read.saturating_add(count));
        for offset in self.read..end {
            let of = self.tenants[usize::try_from(offset).unwrap()];
            if !self.ledger.is_owed(HERE, Offset(offset), NAMES[of]) {
                continue;
            }
            let is_late = mask & (1 << (offset % 32)) != 0;
            if is_late || self.ledger.waits(HERE, NAMES[of]) {
                assert!(self.ledger.put(HERE, &tenant(NAMES[of]), at(offset)));
                self.waiting.entry(of).or_default().push(offset);
            } else {
                self.since.push(offset);
            }
        }
        self.read = end;
        self.ledger.advance(HERE, at(end));
    }

    fn work_off(&mut self, of: usize) {
        let Some(waiting) = self.waiting.get_mut(&of).filter(|w| !w.is_empty()) else { return };
        self.since.push(waiting.remove(0));
        self.ledger.done(HERE, &tenant(NAMES[of]));
    }

    fn commit(&mut self) {
        self.committed = mark(&mut self.ledger).unwrap_or((self.read, String::new()));
        for offset in self.since.drain(..) {
            let of = self.tenants[usize::try_from(offset).unwrap()];
            let last = self.last.insert(of, offset);
            assert!(last.is_none_or(|last| last < offset), "a tenant's changes are done in order");
            *self.done.entry(offset).or_default() += 1;
        }
    }
}

proptest! {
    #[test]
    fn every_change_is_done_once(
        tenants in prop::collection::vec(0_usize..3, 1..60),
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut reader = Reader {
            tenants: &tenants,
            ledger: Ledger::default(),
            read: 0,
            waiting: HashMap::new(),
            since: Vec::new(),
            committed: (0, String::new()),
            done: BTreeMap::new(),
            last: HashMap::new(),
        };
        reader.begin();
        for step in steps {
            match step {
                Step::Read(count, mask) => reader.read(count, mask),
                Step::Done(of) => reader.work_off(of),
                Step::Commit => reader.commit(),
                Step::Crash => reader.begin(),
            }
        }
        reader.begin();
        reader.read(i64::MAX / 2, 0);
        reader.commit();
        let all = i64::try_from(tenants.len()).unwrap();
        prop_assert_eq!(reader.committed, (all, String::new()));
        let once: BTreeMap<i64, usize> = (0..all).map(|offset| (offset, 1)).collect();
        prop_assert_eq!(reader.done, once);
    }
}
