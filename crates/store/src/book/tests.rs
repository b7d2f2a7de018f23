use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use tidewire_event::{NextOffset, Partition, Tenant};

use super::*;
use crate::WriteOutcome::{Behind, Held, Lost, Unknown};
use crate::{
    Claimed, Clock, MemoryLimits, MemoryStore, SESSION_TTL, SessionStore as _, SessionWrite,
};

fn id(name: u64) -> SessionId {
    SessionId {
        tenant: Tenant::new("acme").unwrap(),
        principal: "ola".into(),
        name: name.to_string(),
        definition: "Voyage/CUD/*".into(),
    }
}

const fn owner(number: u64) -> OwnerToken {
    OwnerToken { number, nonce: [1; 16] }
}

/// A position at these next offsets, of the life `a` of the topic.
fn at(offsets: &[i64]) -> Arc<Positions> {
    of("a", offsets)
}

fn of(topic: &str, offsets: &[i64]) -> Arc<Positions> {
    let mut positions = Positions::new(topic.into());
    for (partition, next) in (0..).zip(offsets) {
        positions.set(Partition(partition), Position::at(NextOffset(*next)));
    }
    Arc::new(positions)
}

/// A book with the session `1` of connection 1, just written whole at 0 s.
fn written(positions: Option<Arc<Positions>>) -> SessionBook {
    let mut book = SessionBook::new();
    assert_eq!(book.hold(1, id(1), owner(1), Some("f".into()), (positions, true)), None);
    assert_eq!(book.due(0).len(), 1);
    assert!(!book.done(1, Ok(Held)));
    book
}

/// What is due at a time, in short: `f` field list, the first offset, `r` release; `-` a check.
fn due(book: &mut SessionBook, seconds: u64) -> Vec<String> {
    book.due(seconds * 1000).iter().map(short).collect()
}

fn short(write: &BookWrite) -> String {
    let mut text = String::new();
    if write.fields.is_some() {
        text.push('f');
    }
    if let Some(positions) = &write.positions {
        let next = positions.get(Partition(0)).map(|position| position.next.0);
        text.push_str(&next.map_or("none".into(), |next| next.to_string()));
    }
    if write.release {
        text.push('r');
    }
    if text.is_empty() { "-".into() } else { text }
}

#[test]
fn times_are_kept() {
    #[derive(Clone, Copy)]
    enum Step {
        Proven(i64, bool),
        Fields,
        Release,
        Done(Result<WriteOutcome, ()>),
    }
    use Step::{Done, Fields, Proven, Release};
    type Row<'a> = (&'a str, &'a [(u64, &'a [Step], &'a [&'a str])]);
    // At each second: what happened before, and what is due then.
    let rows: &[Row<'_>] = &[
        (
            "a quiet one is asked for, and written each minute",
            &[
                (1, &[], &[]),
                (2, &[], &[]),
                (3, &[], &["-"]),
                (4, &[Done(Ok(Held))], &[]),
                (6, &[], &["-"]),
                (60, &[Done(Ok(Held)), Proven(9, false)], &["f9"]),
                (61, &[Done(Ok(Held))], &[]),
            ],
        ),
        (
            "a busy one is written each 5 s",
            &[
                (1, &[Proven(2, true)], &[]),
                (5, &[Proven(3, true)], &["3"]),
                (6, &[Done(Ok(Held)), Proven(4, true)], &[]),
                (8, &[], &["-"]),
                (9, &[Done(Ok(Held))], &[]),
                (10, &[], &["4"]),
                (13, &[Done(Ok(Held))], &["-"]),
            ],
        ),
        (
            "idle moves wait, and are taken along",
            &[
                (3, &[Proven(2, false)], &["-"]),
                (6, &[Done(Ok(Held)), Proven(5, false)], &["-"]),
                (7, &[Done(Ok(Held)), Proven(5, true)], &["5"]),
            ],
        ),
        (
            "field lists go at once, and whole",
            &[
                (1, &[Fields], &["f1"]),
                (2, &[Done(Ok(Held)), Proven(2, true), Fields], &["f2"]),
                (3, &[Done(Ok(Held))], &[]),
                (7, &[Proven(3, true)], &["3"]),
            ],
        ),
        (
            "one at a time",
            &[
                (1, &[Fields], &["f1"]),
                (2, &[Fields, Proven(2, true)], &[]),
                (9, &[], &[]),
                (10, &[Done(Ok(Held))], &["f2"]),
            ],
        ),
        (
            "what failed is due again, as it is now",
            &[
                (5, &[Proven(2, true)], &["2"]),
                (6, &[Done(Err(())), Proven(3, false)], &["3"]),
                (7, &[Done(Ok(Unknown))], &["3"]),
                (8, &[Done(Ok(Held))], &[]),
                (10, &[], &["-"]),
                (11, &[Done(Err(()))], &["-"]),
                (12, &[Fields, Done(Err(()))], &["f3"]),
                (13, &[Done(Err(()))], &["f3"]),
                (14, &[Done(Ok(Held))], &[]),
            ],
        ),
        (
            "a store that is behind is written whole",
            &[
                (3, &[], &["-"]),
                (4, &[Done(Ok(Behind))], &["f1"]),
                (5, &[Done(Ok(Behind))], &[]),
                (9, &[Proven(2, true)], &["2"]),
                (10, &[Proven(3, false), Done(Ok(Behind))], &["f3"]),
            ],
        ),
        (
            "a release is whole, and tried again",
            &[
                (1, &[Proven(2, true), Release], &["f2r"]),
                (2, &[Release], &[]),
                (3, &[Done(Err(()))], &["f2r"]),
                (4, &[Done(Ok(Held))], &[]),
                (99, &[], &[]),
            ],
        ),
        (
            "a release waits for the write before it",
            &[
                (5, &[Proven(2, true)], &["2"]),
                (6, &[Release, Proven(3, true)], &[]),
                (7, &[Done(Ok(Held))], &["f3r"]),
                (8, &[Done(Ok(Behind))], &[]),
                (99, &[], &[]),
            ],
        ),
        (
            "a release that was done without an answer is over",
            &[
                (1, &[Release], &["f1r"]),
                (2, &[Done(Err(()))], &["f1r"]),
                (3, &[Done(Ok(Lost))], &[]),
            ],
        ),
    ];
    for (what, steps) in rows {
        let mut book = written(Some(at(&[1])));
        for (seconds, happens, expected) in *steps {
            for step in *happens {
                match *step {
                    Proven(next, busy) => book.proven(1, at(&[next]), busy),
                    Fields => book.save_fields(1, None),
                    Release => book.release(1),
                    Done(outcome) => assert!(!book.done(1, outcome), "{what} at {seconds} s"),
                }
            }
            assert_eq!(due(&mut book, *seconds), *expected, "{what} at {seconds} s");
        }
    }
}

#[test]
fn the_last_call_writes_what_moved() {
    let mut book = written(Some(at(&[1])));
    book.proven(1, at(&[2]), true);
    assert_eq!(book.due_at_last(1000).iter().map(short).collect::<Vec<_>>(), ["2"]);
    assert!(!book.done(1, Ok(Held)));
    assert!(book.due_at_last(1000).is_empty());
}

#[test]
fn a_taken_session_is_told_once() {
    let mut book = written(None);
    assert_eq!(due(&mut book, 3), ["-"]);
    assert!(book.done(1, Ok(Lost)));
    assert!(!book.done(1, Ok(Lost)));
    assert!(book.is_empty() && due(&mut book, 99).is_empty());
    // Nothing that comes late makes it again.
    book.proven(1, at(&[2]), true);
    book.save_fields(1, None);
    book.release(1);
    assert!(due(&mut book, 99).is_empty());
}

#[test]
fn the_first_proof_is_written_at_once() {
    let mut book = SessionBook::new();
    book.hold(1, id(1), owner(1), None, (Some(at(&[1])), false));
    let writes = book.due(0);
    assert_eq!((short(&writes[0]).as_str(), writes[0].proven), ("f1", false));
    // It comes while the start is still on its way, and proves no more than that.
    book.proven(1, at(&[1]), false);
    assert!(!book.done(1, Ok(Held)));
    let writes = book.due(1000);
    assert_eq!((short(&writes[0]).as_str(), writes[0].proven), ("f1", true));
    assert!(!book.done(1, Ok(Held)));
    book.proven(1, at(&[2]), false);
    assert!(due(&mut book, 2).is_empty());
}

#[test]
fn the_later_claim_here_has_the_session() {
    let mut book = written(Some(at(&[1])));
    assert_eq!(book.hold(2, id(2), owner(9), None, (None, true)), None);
    assert_eq!(book.hold(3, id(1), owner(3), None, (Some(at(&[5])), true)), Some(1));
    // Told in the wrong order.
    assert_eq!(book.hold(4, id(1), owner(2), None, (None, true)), Some(4));
    assert!(!book.done(4, Ok(Lost)));
    let mut writes = book.due(0);
    writes.sort_by_key(|write| write.connection);
    let owners: Vec<_> = writes.iter().map(|w| (w.connection, w.owner.number, short(w))).collect();
    assert_eq!(owners, [(2, 9, "f".into()), (3, 3, "f5".into())]);
    // The answer to a write of the former holder says nothing about the new one.
    assert!(!book.done(1, Ok(Lost)));
    assert_eq!(book.len(), 2);
}

#[test]
fn a_new_socket_voids_the_release_of_the_old_one() {
    let mut book = written(Some(at(&[1])));
    book.release(1);
    assert_eq!(due(&mut book, 1), ["f1r"]);
    assert_eq!(book.hold(2, id(1), owner(2), None, (Some(at(&[1])), true)), None);
    assert!(!book.done(1, Err(())));
    assert_eq!(due(&mut book, 2), ["f1"]);
    assert_eq!((book.len(), book.leaving.len()), (1, 0));
}

#[test]
fn releases_wait_neither_for_ever_nor_in_any_number() {
    let mut book = written(Some(at(&[1])));
    book.release(1);
    assert_eq!(due(&mut book, 1), ["f1r"]);
    for seconds in 2..=600 {
        assert!(!book.done(1, Err(())));
        assert_eq!(due(&mut book, seconds), ["f1r"], "{seconds} s");
        assert_eq!(book.failed(), 1);
    }
    assert!(!book.done(1, Err(())));
    assert!(due(&mut book, 601).is_empty() && book.is_empty());
    assert_eq!(book.releases_dropped(), 1);

    let last = u64::try_from(RELEASES_MAX).unwrap() + 2;
    for connection in 0..last {
        book.hold(connection, id(connection), owner(1), None, (None, true));
        book.release(connection);
    }
    assert_eq!((book.len(), book.releases_dropped()), (RELEASES_MAX, 3));
    assert!(!book.held.contains_key(&1) && book.held.contains_key(&2));
}

#[test]
fn positions_never_go_back_within_one_life_of_the_topic() {
    let check = |known: Option<&[i64]>, told: Arc<Positions>, expected: Arc<Positions>| {
        let mut book = written(known.map(at));
        book.proven(1, told, true);
        let writes = book.due(5000);
        assert_eq!(writes[0].positions, Some(expected));
    };
    check(None, at(&[1]), at(&[1]));
    check(Some(&[1]), at(&[2]), at(&[2]));
    check(Some(&[2]), at(&[1]), at(&[2]));
    check(Some(&[1, 5]), at(&[3, 4]), at(&[3, 5]));
    check(Some(&[1, 5]), at(&[3]), at(&[3, 5]));
    check(Some(&[1]), at(&[1, 7]), at(&[1, 7]));
    check(Some(&[5]), of("b", &[1]), of("b", &[1]));
    check(Some(&[5]), of("b", &[]), of("b", &[]));
}

#[derive(Clone, Debug)]
enum Event {
    Proven {
        session: u64,
        next: i64,
        busy: bool,
    },
    Fields {
        session: u64,
        fields: Option<u8>,
    },
    Release {
        session: u64,
    },
    Pass {
        ms: u64,
    },
    /// Asks for what is due; the writes are not answered yet.
    Due,
    /// The store does what it was given; `answered`: and says so.
    Done {
        answered: bool,
    },
    /// The store does not do what it was given.
    Fails,
    /// The store loses everything.
    Flush,
    /// Another replica claims the session.
    Take {
        session: u64,
    },
}

const SESSIONS: u64 = 3;

fn event() -> impl Strategy<Value = Event> {
    let session = 0..SESSIONS;
    prop_oneof![
        4 => (session.clone(), 0..50_i64, any::<bool>())
            .prop_map(|(session, next, busy)| Event::Proven { session, next, busy }),
        2 => (session.clone(), any::<Option<u8>>())
            .prop_map(|(session, fields)| Event::Fields { session, fields }),
        1 => session.clone().prop_map(|session| Event::Release { session }),
        3 => (0..4000_u64).prop_map(|ms| Event::Pass { ms }),
        4 => Just(Event::Due),
        4 => any::<bool>().prop_map(|answered| Event::Done { answered }),
        2 => Just(Event::Fails),
        1 => Just(Event::Flush),
        1 => session.prop_map(|session| Event::Take { session }),
    ]
}

/// What must stand in the store in the end.
#[derive(Clone, Debug, Default)]
struct Owed {
    next: i64,
    proven: bool,
    fields: Option<String>,
    taken: bool,
    told: bool,
    released: bool,
    gone: bool,
}

/// A book on a store, and what is known of both from outside.
struct World {
    book: SessionBook,
    store: MemoryStore,
    age: Arc<Mutex<Duration>>,
    runtime: tokio::runtime::Runtime,
    now_ms: u64,
    sent: Vec<BookWrite>,
    written: Vec<i64>,
    owed: Vec<Owed>,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let age = Arc::<Mutex<Duration>>::default();
        let clock = Arc::clone(&age);
        let clock: Clock = Arc::new(move || *clock.lock());
        let store = MemoryStore::with_clock(MemoryLimits::default(), clock);
        let mut world = Self {
            book: SessionBook::new(),
            store,
            age,
            runtime,
            now_ms: 0,
            sent: Vec::new(),
            written: vec![0; 3],
            owed: vec![Owed::default(); 3],
        };
        for session in 0..SESSIONS {
            let claimed = world.claim(session);
            world.book.hold(session, id(session), claimed.owner, None, (Some(at(&[0])), false));
        }
        world
    }

    fn claim(&self, session: u64) -> Claimed {
        let claimed = self.store.claim(id(session), [1; 16], "0".into());
        self.runtime.block_on(claimed).unwrap()
    }

    fn owed(&mut self, session: u64) -> &mut Owed {
        &mut self.owed[usize::try_from(session).unwrap()]
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Proven { session, .. } | Event::Fields { session, .. }
                if self.owed(session).released => {}
            Event::Proven { session, next, busy } => {
                self.book.proven(session, at(&[next]), busy);
                let owed = self.owed(session);
                owed.next = owed.next.max(next);
                owed.proven = true;
            }
            Event::Fields { session, fields } => {
                let fields = fields.map(|number| number.to_string());
                self.book.save_fields(session, fields.clone());
                self.owed(session).fields = fields;
            }
            Event::Release { session } => {
                self.book.release(session);
                self.owed(session).released = true;
            }
            Event::Pass { ms } => self.now_ms += ms,
            Event::Due => self.due(),
            Event::Done { answered } => self.store_does(answered),
            Event::Fails => self.store_fails(),
            Event::Flush => self.flush(),
            Event::Take { session } => {
                self.claim(session);
                self.owed(session).taken = true;
            }
        }
    }

    fn due(&mut self) {
        for write in self.book.due(self.now_ms) {
            assert!(self.sent.iter().all(|s| s.id != write.id), "two writes of one session");
            if let Some(positions) = &write.positions {
                let next = positions.get(Partition(0)).unwrap().next.0;
                let written = &mut self.written[usize::try_from(write.connection).unwrap()];
                assert!(*written <= next, "an older position after a newer");
                *written = next;
            }
            self.sent.push(write);
        }
    }

    fn store_does(&mut self, answered: bool) {
        for write in std::mem::take(&mut self.sent) {
            let next = |positions: Arc<Positions>| positions.get(Partition(0)).unwrap().next.0;
            let position = write.positions.map(|positions| next(positions).to_string());
            let BookWrite { connection, id, owner, fields, proven, release, .. } = write;
            let write = SessionWrite { id, owner, fields, position, proven, release };
            let written = self.runtime.block_on(self.store.write(vec![write]));
            let outcome = if answered { Ok(written.unwrap()[0]) } else { Err(()) };
            if self.book.done(connection, outcome) {
                assert!(self.owed(connection).taken, "told that it was taken, and it was not");
                self.owed(connection).told = true;
            }
        }
    }

    fn store_fails(&mut self) {
        for write in std::mem::take(&mut self.sent) {
            assert!(!self.book.done(write.connection, Err(())));
        }
    }

    /// Also forgets who took a session, and those that nobody holds any more.
    fn flush(&mut self) {
        *self.age.lock() += SESSION_TTL;
        for (connection, owed) in (0..).zip(&mut self.owed) {
            owed.taken = owed.told;
            owed.gone = !self.book.held.contains_key(&connection);
        }
    }

    fn check(mut self) {
        for _ in 0..100 {
            self.due();
            self.store_does(true);
            self.now_ms += 1000;
        }
        for session in 0..SESSIONS {
            let owed = self.owed(session).clone();
            let held = self.book.held.contains_key(&session);
            assert_eq!(held, !owed.released && !owed.taken, "{session}: {owed:?}");
            assert!(!owed.taken || owed.told || owed.released, "{session} was never told");
            if !(owed.taken || owed.gone) {
                let found = self.claim(session);
                let expected = (owed.fields, Some(owed.next.to_string()), owed.proven);
                assert_eq!((found.fields, found.position, found.proven), expected, "{session}");
            }
        }
    }
}

proptest! {
    #[test]
    fn the_last_position_and_field_list_get_written(
        events in proptest::collection::vec(event(), 0..60),
    ) {
        let mut world = World::new();
        for event in events {
            world.happens(event);
        }
        world.check();
    }
}
