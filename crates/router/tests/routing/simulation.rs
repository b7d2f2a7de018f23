//! A seeded simulation of a shard: streams that take what they like, come, block, fail and go. What each
//! was written is what it was owed, frame by frame.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tidewire_event::{FrameId, ObjectKey, Offset, Operation, Partition};
use tidewire_fields::FieldMask;
use tidewire_log::{LogEvent, LogRecord};
use tidewire_model::Model;
use tidewire_router::{
    ConnectionId, Framing, Keep, Notice, Router, ShardCore, Sink, Subscription, Written,
};
use tidewire_wire::definition::Definition;
use tidewire_wire::frame::{EventBody, ObjectValue, subscription_suffix};

use crate::harness::{
    BASE, TIME_MS, assert_core_empty, class, definition, frames, mask, payload, settings,
};

const SEEDS: u64 = 2_000;
const STEPS: usize = 400;
const BOUND: usize = 3_000;
/// A frame of this simulation is never longer.
const FRAME_BYTES_MAX: usize = 400;
/// The last is the one that gathers more than 64 members.
const DEFINITIONS: [&str; 4] =
    ["acme Cargo * 1", "acme Cargo * 1,2", "acme * U 2", "acme Voyage * *"];
const CLOSE: &[u8] = &[0x88, 2, 3, 232];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its stream has not come.
    Awaited,
    Open,
    Closing,
}

/// How a stream behaves.
#[derive(Debug, Default)]
struct Stream {
    bytes: Vec<u8>,
    blocked: bool,
    failed: bool,
    /// One write in so many is cut short; 0 is never.
    cuts: u32,
}

struct Streams {
    by_slot: HashMap<usize, Stream>,
    random: StdRng,
}

impl Sink for Streams {
    fn write(&mut self, slot: usize, bytes: &[u8]) -> Written {
        let stream = self.by_slot.get_mut(&slot).expect("a write before the stream has come");
        assert!(!stream.blocked, "a write to a stream that blocks");
        assert!(!bytes.is_empty(), "an empty write");
        if stream.failed {
            return Written::Failed;
        }
        if stream.cuts > 0 && self.random.random_range(0..stream.cuts) == 0 {
            // Sometimes all of it is taken, and the next would block all the same.
            let taken = self.random.random_range(0..=bytes.len());
            stream.bytes.extend_from_slice(&bytes[..taken]);
            stream.blocked = true;
            return Written::Partial(taken);
        }
        stream.bytes.extend_from_slice(bytes);
        Written::All
    }
}

/// A connection as the oracle sees it.
#[derive(Debug)]
struct Peer {
    id: ConnectionId,
    slot: usize,
    definition: usize,
    mask: usize,
    phase: Phase,
    /// Text frames, in order.
    owed: Vec<Vec<u8>>,
    /// Control frames, in order among themselves.
    controls: VecDeque<Vec<u8>>,
    slow: bool,
    /// True if it need not get all that it was owed.
    cut: bool,
    drained: bool,
}

struct Simulation {
    core: ShardCore,
    router: Router,
    masks: Vec<Option<FieldMask>>,
    definitions: Vec<Arc<Definition>>,
    class: tidewire_rights::PermissionClass,
    streams: Streams,
    random: StdRng,
    peers: Vec<Peer>,
    next_id: u64,
    offset: i64,
}

impl Simulation {
    fn new(seed: u64, model: &Model) -> Self {
        let settings = settings(model.clone(), BOUND);
        let definitions: Vec<_> =
            DEFINITIONS.iter().map(|text| Arc::new(definition(model, text))).collect();
        let any = definition(model, "acme * * *").types;
        let masks = vec![
            None,
            Some(mask(model, &any, r#"{"createdById":"*"}"#)),
            Some(mask(model, &any, r#"{"createdById":"*","changedById":"*"}"#)),
        ];
        Self {
            router: Router::new(Arc::clone(&settings.model), 1),
            core: ShardCore::new(settings),
            masks,
            definitions,
            class: class("acme", &[]),
            streams: Streams { by_slot: HashMap::new(), random: StdRng::seed_from_u64(seed ^ 1) },
            random: StdRng::seed_from_u64(seed),
            peers: Vec::new(),
            next_id: 0,
            offset: 0,
        }
    }

    fn any_peer(&mut self) -> Option<usize> {
        let count = self.peers.len();
        (count > 0).then(|| self.random.random_range(0..count))
    }

    fn carry(&mut self) {
        for item in self.router.take_batch(0) {
            self.core.apply(item, TIME_MS);
        }
    }

    fn come(&mut self, definition: usize) {
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        let mask = self.random.random_range(0..self.masks.len());
        let mut greeting = Vec::new();
        if self.random.random_range(0..3) == 0 {
            tidewire_wire::ws::push_text(&mut greeting, b"welcome");
        }
        let owed = if greeting.is_empty() { Vec::new() } else { vec![greeting.clone()] };
        self.router.subscribe(
            0,
            id,
            Subscription {
                definition: Arc::clone(&self.definitions[definition]),
                mask: self.masks[mask].clone(),
                class: self.class.clone(),
                framing: Framing::WebSocket,
                greeting,
            },
        );
        self.carry();
        let slot = self.core.slot(id).unwrap();
        assert!(!self.streams.by_slot.contains_key(&slot), "a slot in use is given away");
        self.peers.push(Peer {
            id,
            slot,
            definition,
            mask,
            phase: Phase::Awaited,
            owed,
            controls: VecDeque::new(),
            slow: false,
            cut: false,
            drained: false,
        });
    }

    fn adopt(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        let cuts = [0, 0, 2, 6][self.random.random_range(0..4)];
        if let Entry::Vacant(place) = self.streams.by_slot.entry(peer.slot) {
            place.insert(Stream { cuts, ..Stream::default() });
            assert_eq!(self.core.adopt(peer.id), Some(peer.slot));
            if peer.phase == Phase::Awaited {
                peer.phase = Phase::Open;
            }
        }
    }

    fn change(&mut self) {
        let types = ["Cargo", "Voyage", "Voyage", "PortCall"];
        let object_type = types[self.random.random_range(0..types.len())];
        let key = self.random.random_range(1..4_u64);
        let by = self.random.random_range(0..u64::MAX);
        let operation = [Operation::Create, Operation::Update][self.random.random_range(0..2)];
        let image = format!(r#"{{"key":{key},"createdById":{by}}}"#);
        let record_key = format!("acme/{object_type}/{key}");
        let (header, body) = (format!("1;{operation};;none"), format!(r#"{{"new":{image}}}"#));
        self.router.handle(&LogEvent::Record(LogRecord {
            partition: Partition(0),
            offset: Offset(self.offset),
            timestamp_ms: TIME_MS,
            key: Some(record_key.as_bytes()),
            header: Some(header.as_bytes()),
            header_count: 1,
            payload: Some(body.as_bytes()),
        }));
        self.carry();
        let id = FrameId { partition: Partition(0), offset: Offset(self.offset) };
        self.offset += 1;
        let mut made: HashMap<(usize, usize), Vec<u8>> = HashMap::new();
        for peer in self.peers.iter_mut().filter(|p| p.phase != Phase::Closing) {
            let definition = &self.definitions[peer.definition];
            if !definition.types.matches(object_type)
                || !definition.keys.matches(&ObjectKey::Integer(key))
                || !definition.events.contains(operation)
            {
                continue;
            }
            let frame = made.entry((peer.definition, peer.mask)).or_insert_with(|| {
                let selected = format!(
                    r#"{{"key":{key},"self":"{BASE}/ws/rest/{object_type}/{key}","createdById":{by}}}"#
                );
                let key = ObjectKey::Integer(key);
                let object = match peer.mask {
                    0 => ObjectValue::Key(&key),
                    _ => ObjectValue::Json(selected.as_bytes()),
                };
                let event = operation;
                let body = EventBody {
                    id, time_ms: TIME_MS, object_type, event, object, key: &key, self_base: BASE,
                };
                let mut message = Vec::new();
                body.encode(&mut message);
                message.extend(subscription_suffix(definition.number(), BASE));
                let mut frame = Vec::new();
                tidewire_wire::ws::push_text(&mut frame, &message);
                frame
            });
            assert!(frame.len() <= FRAME_BYTES_MAX);
            peer.owed.push(frame.clone());
        }
    }

    fn set_mask(&mut self, at: usize) {
        let mask = self.random.random_range(0..self.masks.len());
        let peer = &mut self.peers[at];
        if peer.phase != Phase::Closing {
            peer.mask = mask;
            self.core.set_mask(peer.slot, self.masks[mask].clone());
        }
    }

    fn control(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        let mut ping = Vec::new();
        tidewire_wire::ws::push_ping(&mut ping, &self.next_id.to_be_bytes());
        self.next_id += 1;
        // The stream of a socket sends; one that is not here yet has nobody to send for.
        if peer.phase == Phase::Open {
            self.core.send(peer.slot, &ping, &mut self.streams);
            peer.controls.push_back(ping);
        } else if peer.phase == Phase::Closing && self.streams.by_slot.contains_key(&peer.slot) {
            self.core.send(peer.slot, &ping, &mut self.streams);
        }
    }

    fn close(&mut self, at: usize, keep: Keep) {
        let unwritten = self.unwritten(at);
        let peer = &mut self.peers[at];
        let detached = self.core.close(peer.slot, keep, CLOSE);
        assert_eq!(detached.is_some(), peer.phase != Phase::Closing);
        let Some(detached) = detached else { return };
        assert_eq!(detached.id, peer.id);
        assert_eq!(*detached.definition, *self.definitions[peer.definition]);
        self.router.unsubscribe(0, &detached.definition);
        peer.phase = Phase::Closing;
        peer.cut |= keep == Keep::Nothing || unwritten > BOUND;
    }

    fn remove(&mut self, at: usize) {
        let peer = self.peers.swap_remove(at);
        let detached = self.core.remove(peer.slot);
        assert_eq!(detached.is_some(), peer.phase != Phase::Closing);
        if let Some(detached) = detached {
            assert_eq!(detached.id, peer.id);
            self.router.unsubscribe(0, &detached.definition);
        }
        assert_eq!(self.core.slot(peer.id), None);
        let stream = self.streams.by_slot.remove(&peer.slot);
        judge(&peer, &stream.unwrap_or_default(), false);
    }

    /// Bytes that a peer is owed and was not written, but for control frames.
    fn unwritten(&self, at: usize) -> usize {
        let peer = &self.peers[at];
        let owed: usize = peer.owed.iter().chain(&peer.controls).map(Vec::len).sum();
        owed - self.streams.by_slot.get(&peer.slot).map_or(0, |s| s.bytes.len()).min(owed)
    }

    fn flush(&mut self) -> bool {
        let writes = self.random.random_range(1..40);
        let more = self.core.flush(writes, &mut self.streams);
        self.notices();
        more
    }

    fn notices(&mut self) {
        for notice in self.core.take_notices() {
            let (Notice::Slow(slot) | Notice::Failed(slot) | Notice::Drained(slot)) = notice;
            // A stream that failed was removed with the first word of it.
            let Some(at) = self.peers.iter().position(|p| p.slot == slot) else { continue };
            match notice {
                Notice::Slow(_) => {
                    assert!(self.unwritten(at) > BOUND, "slow, and little waits");
                    assert!(!self.peers[at].slow, "slow twice");
                    self.peers[at].slow = true;
                    self.peers[at].cut = true;
                    // The owner need not be quick.
                    if self.random.random_range(0..2) == 0 {
                        self.close(at, Keep::Nothing);
                    }
                }
                Notice::Failed(_) => {
                    assert!(self.streams.by_slot[&slot].failed);
                    self.remove(at);
                }
                Notice::Drained(_) => {
                    assert!(!std::mem::replace(&mut self.peers[at].drained, true), "drained twice");
                    judge(&self.peers[at], &self.streams.by_slot[&slot], true);
                }
            }
        }
    }

    fn step(&mut self) {
        let at = self.any_peer();
        match (self.random.random_range(0..100), at) {
            (0..8, _) => {
                let definition = self.random.random_range(0..DEFINITIONS.len());
                self.come(definition);
            }
            (8..22, Some(at)) => self.adopt(at),
            (22..42, _) => self.change(),
            (42..50, Some(at)) => self.set_mask(at),
            (50..56, Some(at)) => self.control(at),
            (56..59, Some(at)) => {
                let keep =
                    if self.random.random_range(0..2) == 0 { Keep::Pending } else { Keep::Nothing };
                self.close(at, keep);
            }
            (59..61, Some(at)) => self.remove(at),
            (61..62, Some(at)) => {
                if let Some(stream) = self.streams.by_slot.get_mut(&self.peers[at].slot) {
                    stream.failed = true;
                }
            }
            (62..78, Some(at)) => self.unblock(at),
            _ => {
                self.flush();
            }
        }
        self.notices();
        let peers = self.peers.len();
        let queued = self.core.stats().queued_bytes;
        assert!(queued <= peers * (BOUND + FRAME_BYTES_MAX + CLOSE.len()));
        assert_eq!(self.core.stats().connections, peers);
    }

    fn unblock(&mut self, at: usize) {
        let slot = self.peers[at].slot;
        if let Some(stream) = self.streams.by_slot.get_mut(&slot) {
            stream.blocked = false;
            self.core.writable(slot);
        }
    }

    /// Lets every stream take all, and judges what has come.
    fn settle(&mut self) {
        for at in 0..self.peers.len() {
            self.adopt(at);
        }
        while self.flush() {}
        for at in 0..self.peers.len() {
            // What waits in a queue beyond the bound was said.
            let peer = &self.peers[at];
            assert!(peer.slow || peer.cut || self.unwritten(at) <= BOUND, "slow, and not said");
        }
        for stream in self.streams.by_slot.values_mut() {
            stream.cuts = 0;
        }
        for at in 0..self.peers.len() {
            self.unblock(at);
        }
        while self.flush() {}
        assert_eq!((self.core.stats().queued_bytes, self.core.stats().backlog_bytes), (0, 0));
        for peer in &self.peers {
            judge(peer, &self.streams.by_slot[&peer.slot], true);
            assert_eq!(peer.drained, peer.phase == Phase::Closing);
        }
        while !self.peers.is_empty() {
            self.remove(0);
        }
        assert_core_empty(&self.core);
        assert!(format!("{:?}", self.router).contains("tenants: {}"));
    }
}

/// Holds what a stream was written against what its peer was owed. A stream that is not `whole` may end
/// anywhere.
fn judge(peer: &Peer, stream: &Stream, whole: bool) {
    let mut owed = peer.owed.iter();
    let mut controls = peer.controls.iter();
    let mut bytes = &stream.bytes[..];
    let mut closed = false;
    while !bytes.is_empty() {
        assert!(!closed, "bytes after the close frame");
        let expected = match bytes[0] {
            0x88 => {
                closed = true;
                assert_eq!(peer.phase, Phase::Closing);
                CLOSE
            }
            0x89 => controls.next().expect("a control frame too many").as_slice(),
            _ => owed.next().expect("a frame too many").as_slice(),
        };
        let length = bytes.len().min(expected.len());
        assert_eq!(
            String::from_utf8_lossy(&bytes[..length]),
            String::from_utf8_lossy(&expected[..length]),
            "another frame than the one that was owed: {peer:?}"
        );
        assert!(length == expected.len() || !whole, "a torn frame");
        bytes = &bytes[length..];
    }
    if whole {
        assert_eq!(closed, peer.phase == Phase::Closing);
        if !peer.cut {
            assert_eq!(owed.count() + controls.count(), 0, "not all that was owed came");
        }
    }
}

#[test]
fn every_stream_is_what_it_was_owed() {
    let model = Model::vms();
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| {
            let mut simulation = Simulation::new(seed, &model);
            if seed % 4 == 0 {
                (0..90).for_each(|_| simulation.come(3));
                (0..90).for_each(|at| simulation.adopt(at));
            }
            (0..STEPS).for_each(|_| simulation.step());
            simulation.settle();
        });
        assert!(run.is_ok(), "seed {seed}");
    }
}

#[test]
fn frames_are_cut_where_they_end() {
    let mut bytes = Vec::new();
    for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
        tidewire_wire::ws::push_text(&mut bytes, &vec![b'x'; length]);
    }
    let lengths: Vec<usize> = frames(&bytes).iter().map(|f| payload(f).len()).collect();
    assert_eq!(lengths, [0, 1, 125, 126, 127, 65_535, 65_536]);
}
