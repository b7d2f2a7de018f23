//! Queues from outside: a few by hand, and any number against a list of frames.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;
use tidewire_event::Operation::{Create as C, Delete as D, Update as U};

use super::*;

fn queue(chunks: &[&str]) -> SendQueue {
    let mut queue = SendQueue::default();
    for chunk in chunks {
        queue.push(Arc::from(chunk.as_bytes()));
    }
    queue
}

#[test]
fn gathers_and_advances_over_chunks() {
    let mut queue = queue(&["abc", "de", "f"]);
    let mut scratch = Vec::new();
    assert_eq!(queue.gather(&mut scratch), b"abcdef");
    queue.advance(4);
    assert_eq!(queue.gather(&mut scratch), b"ef");
    assert_eq!(queue.bytes(), 2);
    queue.advance(2);
    assert!(queue.is_empty());
}

#[test]
fn keeps_only_the_frame_that_was_begun() {
    let none = |_: &[u8], _| unreachable!("no frame was begun");
    let mut whole = queue(&["abc", "de"]);
    whole.keep_begun(none);
    assert_eq!(whole.bytes(), 0);

    let mut rest = SendQueue::default();
    rest.push_rest(b"xyz");
    rest.push(Arc::from(&b"more"[..]));
    rest.advance(1);
    rest.keep_begun(none);
    assert_eq!(rest.gather(&mut Vec::new()), b"yz");

    let mut begun = queue(&["aabbcc", "more"]);
    begun.advance(3);
    begun.keep_begun(|_, at| at.div_ceil(2) * 2);
    assert_eq!(begun.gather(&mut Vec::new()), b"b");
}

/// Plans and does what a shard does with a new event; the frame's text tells the merged operation.
fn put(queue: &mut SendQueue, lane: usize, key: u64, operation: Operation, text: &str) {
    let (object_type, key) = (ObjectType::new("Voyage").unwrap(), ObjectKey::Integer(key));
    let operation = match queue.plan(lane, &object_type, &key, operation) {
        Plan::Append => operation,
        Plan::Replace(operation) => {
            assert!(queue.take_out(lane, &object_type, &key) > 0);
            operation
        }
        Plan::Cancel => {
            assert!(queue.take_out(lane, &object_type, &key) > 0);
            return;
        }
    };
    let frame = Arc::from(format!("{operation}{text};").as_bytes());
    queue.push_event(lane, object_type, key, operation, frame);
}

fn all(queue: &mut SendQueue) -> String {
    let (mut out, mut scratch) = (String::new(), Vec::new());
    while !queue.is_empty() {
        let bytes = queue.gather(&mut scratch);
        out.push_str(std::str::from_utf8(bytes).unwrap());
        let written = bytes.len();
        queue.advance(written);
    }
    assert_eq!(queue.bytes(), 0);
    out
}

#[test]
fn merges_what_waits() {
    type Step = (usize, u64, Operation);
    let check = |steps: &[Step], expected: &str| {
        let mut queue = SendQueue::default();
        for (number, (lane, key, operation)) in steps.iter().enumerate() {
            put(&mut queue, *lane, *key, *operation, &number.to_string());
        }
        assert_eq!(queue.bytes(), expected.len(), "{steps:?}");
        assert_eq!(all(&mut queue), expected, "{steps:?}");
    };
    check(&[(0, 1, C)], "C0;");
    check(&[(0, 1, C), (0, 1, U)], "C1;");
    check(&[(0, 1, U), (0, 1, U)], "U1;");
    check(&[(0, 1, U), (0, 1, D)], "D1;");
    check(&[(0, 1, C), (0, 1, D)], "");
    check(&[(0, 1, C), (0, 1, U), (0, 1, D)], "");
    check(&[(0, 1, D), (0, 1, C)], "D0;C1;");
    check(&[(0, 1, D), (0, 1, C), (0, 1, U), (0, 1, U)], "D0;C3;");
    // What came and went leaves the delete before it alone, and that one counts again.
    check(&[(0, 1, D), (0, 1, C), (0, 1, D), (0, 1, C)], "D0;C3;");
    check(&[(0, 1, U), (0, 1, D), (0, 1, C), (0, 1, U), (0, 1, D)], "D1;");
    check(&[(0, 1, C), (0, 1, C), (0, 1, D), (0, 1, U)], "C3;");
    // The merged frame stands at the end.
    check(&[(0, 1, U), (0, 2, U), (0, 1, U)], "U1;U2;");
    check(&[(0, 1, U), (0, 2, U), (0, 3, C), (0, 2, D), (0, 3, U)], "U0;D3;C4;");
    // Another subscription of the same connection is by itself.
    check(&[(0, 1, U), (1, 1, U), (0, 1, U)], "U1;U2;");
}

#[test]
fn the_key_and_the_type_tell_objects_apart() {
    let mut queue = SendQueue::default();
    let (voyage, port) = (ObjectType::new("Voyage").unwrap(), ObjectType::new("Port").unwrap());
    let (number, text) = (ObjectKey::Integer(5), ObjectKey::Text(Arc::from("5")));
    queue.push_event(0, voyage.clone(), number.clone(), U, Arc::from(&b"a"[..]));
    assert_eq!(queue.plan(0, &voyage, &number, U), Plan::Replace(U));
    assert_eq!(queue.plan(0, &voyage, &text, U), Plan::Append);
    assert_eq!(queue.plan(0, &port, &number, U), Plan::Append);
    assert_eq!(queue.plan(1, &voyage, &number, U), Plan::Append);
    assert_eq!(queue.take_out(0, &port, &number), 0);
    assert_eq!(queue.take_out(0, &voyage, &number), 1);
    assert!(queue.is_empty());
}

#[test]
fn a_frame_that_is_partly_written_counts_as_not_there() {
    let mut queue = SendQueue::default();
    put(&mut queue, 0, 1, C, "begun");
    queue.advance(1);
    let (object_type, key) = (ObjectType::new("Voyage").unwrap(), ObjectKey::Integer(1));
    assert_eq!(queue.take_out(0, &object_type, &key), 0);
    put(&mut queue, 0, 1, U, "a");
    put(&mut queue, 0, 1, D, "b");
    assert_eq!(all(&mut queue), "begun;Db;");

    let mut rest = SendQueue::default();
    rest.push_rest(b"rest;");
    put(&mut rest, 0, 1, U, "a");
    put(&mut rest, 0, 1, U, "b");
    rest.push(Arc::from(&b"plain;"[..]));
    put(&mut rest, 0, 1, U, "c");
    assert_eq!(all(&mut rest), "rest;plain;Uc;");
}

#[test]
fn a_lane_that_ended_is_forgotten() {
    let check = |advance: usize, expected: &str| {
        let mut queue = SendQueue::default();
        put(&mut queue, 0, 1, U, "a");
        put(&mut queue, 1, 1, U, "b");
        put(&mut queue, 0, 2, U, "c");
        queue.advance(advance);
        queue.keep_in_place(0);
        put(&mut queue, 0, 2, U, "new");
        put(&mut queue, 1, 1, U, "d");
        assert_eq!(all(&mut queue), expected);
    };
    check(0, "Ua;Uc;Unew;Ud;");
    check(1, "a;Uc;Unew;Ud;");
}

#[test]
fn empty_places_stay_few() {
    let mut queue = SendQueue::default();
    queue.push(Arc::from(&b"stuck;"[..]));
    for round in 0..10_000_u64 {
        put(&mut queue, 0, round % 7, U, "");
        assert!(queue.chunks.len() <= 8 + 2 * EMPTY_PLACES_MIN, "{}", queue.chunks.len());
    }
    assert_eq!(all(&mut queue), format!("stuck;{}", "U;".repeat(7)));
    assert!(queue.merging.is_none());
}

#[test]
fn a_plain_queue_has_no_index() {
    let mut queue = queue(&["abc", "de"]);
    queue.keep_in_place(0);
    assert!(queue.merging.is_none());
}

#[derive(Clone, Debug)]
enum Step {
    Plain {
        padding: usize,
    },
    Rest,
    Event {
        lane: usize,
        key: u64,
        choice: usize,
        padding: usize,
    },
    /// So much of what was gathered is written, in 255ths.
    Write(u8),
    RemoveLane(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let padding = || prop_oneof![20 => 0..20_usize, 1 => Just(30_000), 1 => Just(70_000)];
    let event = (0..3_usize, 0..12_u64, 0..6_usize, padding())
        .prop_map(|(lane, key, choice, padding)| Step::Event { lane, key, choice, padding });
    let step = prop_oneof![
        60 => event,
        4 => padding().prop_map(|padding| Step::Plain { padding }),
        1 => Just(Step::Rest),
        8 => prop_oneof![4 => 0..20_u8, 1 => any::<u8>()].prop_map(Step::Write),
        1 => (0..3_usize).prop_map(Step::RemoveLane),
    ];
    prop::collection::vec(step, 0..400)
}

/// A queue as one would write it without a thought of speed.
#[derive(Default)]
struct Naive {
    frames: Vec<NaiveFrame>,
    head: usize,
    rest_first: bool,
}

struct NaiveFrame {
    object: Option<(usize, u64)>,
    operation: Operation,
    bytes: Vec<u8>,
}

impl Naive {
    fn push(&mut self, object: Option<(usize, u64)>, operation: Operation, bytes: &[u8]) {
        self.frames.push(NaiveFrame { object, operation, bytes: bytes.to_vec() });
    }

    fn waiting(&self, object: (usize, u64)) -> Option<usize> {
        let begun = usize::from(self.head > 0 || self.rest_first);
        let waits = |i: &usize| *i >= begun && self.frames[*i].object == Some(object);
        (0..self.frames.len()).rev().find(waits)
    }

    fn bytes(&self) -> usize {
        self.frames.iter().map(|f| f.bytes.len()).sum::<usize>() - self.head
    }

    fn write(&mut self, n: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while out.len() < n || self.frames.first().is_some_and(|f| f.bytes.len() == self.head) {
            let left = &self.frames[0].bytes[self.head..];
            let part = left.len().min(n - out.len());
            out.extend_from_slice(&left[..part]);
            self.head += part;
            if self.head == self.frames[0].bytes.len() {
                self.frames.remove(0);
                self.head = 0;
                self.rest_first = false;
            }
        }
        out
    }

    fn keep_in_place(&mut self, lane: usize) {
        for frame in &mut self.frames {
            if frame.object.is_some_and(|(l, _)| l == lane) {
                frame.object = None;
            }
        }
    }
}

/// Both queues, and what a client of the real one has got.
#[derive(Default)]
struct Both {
    real: SendQueue,
    naive: Naive,
    wire: Vec<u8>,
    /// How often each lane was given.
    generations: [u32; 3],
    /// The last operation of each object at its source.
    source: HashMap<(usize, u64), Operation>,
    number: u64,
}

impl Both {
    fn step(&mut self, step: &Step) {
        self.number += 1;
        match *step {
            Step::Plain { padding } => {
                let frame = format!("plain {}\n", "x".repeat(padding));
                self.real.push(Arc::from(frame.as_bytes()));
                self.naive.push(None, U, frame.as_bytes());
            }
            Step::Rest => {
                if self.real.is_empty() {
                    self.real.push_rest(b"rest\n");
                    self.naive.push(None, U, b"rest\n");
                    self.naive.rest_first = true;
                }
            }
            Step::Event { lane, key, choice, padding } => {
                let legal: &[Operation] = match self.source.get(&(lane, key)) {
                    None => &[C, U, D],
                    Some(C | U) => &[U, D],
                    Some(D) => &[C],
                };
                let operation = legal[choice % legal.len()];
                self.source.insert((lane, key), operation);
                self.event(lane, key, operation, padding);
            }
            Step::Write(share) => {
                let mut scratch = Vec::new();
                let bytes = self.real.gather(&mut scratch);
                let n = bytes.len() * usize::from(share) / 255;
                self.wire.extend_from_slice(&bytes[..n]);
                assert!(self.naive.write(n) == bytes[..n], "other bytes came out");
                self.real.advance(n);
            }
            Step::RemoveLane(lane) => {
                self.real.keep_in_place(lane);
                self.naive.keep_in_place(lane);
                self.generations[lane] += 1;
                self.source.retain(|(l, _), _| *l != lane);
            }
        }
        assert_eq!(self.real.bytes(), self.naive.bytes());
        assert_eq!(self.real.is_empty(), self.naive.frames.is_empty());
        self.check_index();
    }

    /// The index has no more than what waits, and no empty place stands at an end.
    fn check_index(&self) {
        let Some(merging) = &self.real.merging else { return };
        let objects: HashSet<_> = self.naive.frames.iter().filter_map(|f| f.object).collect();
        assert_eq!(merging.events.objects(), objects.len());
        let empty = self.real.chunks.iter().filter(|c| c.is_empty()).count();
        assert_eq!((merging.empty, self.real.chunks.len()), (empty, merging.events.places()));
        let ends = [self.real.chunks.front(), self.real.chunks.back()];
        assert!(ends.iter().flatten().all(|c| !c.is_empty()));
    }

    fn event(&mut self, lane: usize, key: u64, operation: Operation, padding: usize) {
        let object_type = ObjectType::new("Voyage").unwrap();
        let object_key = ObjectKey::Integer(key);
        let older = self.naive.waiting((lane, key));
        let plan =
            older.map_or(Plan::Append, |at| Plan::of(self.naive.frames[at].operation, operation));
        assert_eq!(self.real.plan(lane, &object_type, &object_key, operation), plan);
        if plan != Plan::Append {
            let taken = self.real.take_out(lane, &object_type, &object_key);
            assert_eq!(taken, self.naive.frames.remove(older.unwrap()).bytes.len());
        }
        let operation = match plan {
            Plan::Append => operation,
            Plan::Replace(operation) => operation,
            Plan::Cancel => return,
        };
        let (generation, number) = (self.generations[lane], self.number);
        let padding = "x".repeat(padding);
        let frame = format!("event {lane}.{generation}.{key} {operation} {number} {padding}\n");
        let frame = frame.as_bytes();
        self.real.push_event(lane, object_type, object_key, operation, Arc::from(frame));
        self.naive.push(Some((lane, key)), operation, frame);
    }

    /// What a client has to be told: each object lives and dies in turn, and positions rise.
    fn check_wire(&self) {
        let (mut objects, mut last) = (HashMap::new(), 0);
        let text = std::str::from_utf8(&self.wire).unwrap();
        for line in text.lines().filter(|l| l.starts_with("event")) {
            let mut words = line.split(' ').skip(1);
            let (object, operation) = (words.next().unwrap(), words.next().unwrap());
            let operation = Operation::from_letter(operation).unwrap();
            let number: u64 = words.next().unwrap().parse().unwrap();
            assert!(number > last, "{line} came after {last}");
            last = number;
            let before = objects.insert(object, operation);
            let legal = before.is_none_or(|b| (b == D) == (operation == C));
            assert!(legal, "{line} came after {before:?}");
        }
    }
}

proptest! {
    #[test]
    fn does_what_a_list_of_frames_does(steps in steps(), close in any::<bool>()) {
        let mut both = Both::default();
        steps.iter().for_each(|step| both.step(step));
        if close {
            let begun = both.naive.head > 0 || both.naive.rest_first;
            both.naive.frames.truncate(usize::from(begun));
            both.real.keep_begun(|frame, _| frame.len());
            prop_assert_eq!(both.real.bytes(), both.naive.bytes());
        }
        while !both.real.is_empty() {
            both.step(&Step::Write(255));
        }
        both.check_wire();
    }
}
