//! A seeded simulation of a shard: streams that take what they like, come, block, fail and go. What each
//! was written is what it was owed, frame by frame.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tidewire_event::{
    FrameId, LeaderEpoch, ObjectKey, Offset, Operation, Partition, Positions, Tenant, encode_cursor,
};
use tidewire_fields::FieldMask;
use tidewire_log::{LogEvent, LogRecord};
use tidewire_model::Model;
use tidewire_router::{
    ConnectionId, Framing, Keep, Notice, OnSlow, Opening, Router, ShardCore, Sink, Start, SubId,
    Subscription, Written,
};
use tidewire_wire::definition::Definition;
use tidewire_wire::frame::{EventBody, ObjectValue, subscription_suffix};
use tidewire_wire::{v1, ws};

use crate::harness::{
    BASE, NOW, TIME_MS, assert_core_empty, class, cursor_key, definition, frames, mask, payload,
    settings,
};

const SEEDS: u64 = 2_000;
const STEPS: usize = 400;
const BOUND: usize = 3_000;
/// A frame of this simulation is never longer.
const FRAME_BYTES_MAX: usize = 500;
/// The last is the one that gathers more than 64 members.
const DEFINITIONS: [&str; 4] =
    ["acme Cargo * 1", "acme Cargo * 1,2", "acme * U 2", "acme Voyage * *"];
const CURSOR: &[u8] = br#"{"type":"cursor""#;
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

/// A subscription as the oracle sees it.
#[derive(Debug)]
struct Lane {
    definition: usize,
    mask: usize,
    /// Its name, in `tidewire.v1`.
    sub: Option<SubId>,
    /// Text frames, in order.
    owed: Vec<Vec<u8>>,
    ended: bool,
}

/// A connection as the oracle sees it.
#[derive(Debug)]
struct Peer {
    id: ConnectionId,
    slot: usize,
    greeting: Vec<u8>,
    /// In no order among themselves.
    lanes: Vec<Lane>,
    phase: Phase,
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
            router: Router::new(Arc::clone(&settings.model), 1, Arc::clone(&settings.window)),
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
            self.core.apply(item, NOW);
        }
    }

    /// What the router is told of a subscription, and what is owed to it first.
    fn make(&mut self, definition: usize, is_v1: bool) -> (Subscription, Lane) {
        let mask = self.random.random_range(0..self.masks.len());
        let sub: Option<SubId> = is_v1.then(|| format!("s{definition}").into());
        let mut owed = Vec::new();
        if let Some(sub) = &sub {
            let cursor = self.cursor(self.router.positions());
            owed.push(text(|out| v1::frames::push_subscribed(out, sub, &cursor)));
            owed.push(text(|out| v1::frames::push_live(out, sub, &cursor, 0)));
        }
        let subscription = Subscription {
            definition: Arc::clone(&self.definitions[definition]),
            mask: self.masks[mask].clone(),
            class: self.class.clone(),
            sub: sub.clone(),
            start: Start::Now,
            snapshot: false,
            on_slow: OnSlow::Disconnect,
        };
        (subscription, Lane { definition, mask, sub, owed, ended: false })
    }

    fn cursor(&self, positions: &Positions) -> String {
        encode_cursor(&cursor_key(), &Tenant::new("acme").unwrap(), positions)
    }

    fn come(&mut self, definition: usize) {
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        let mut greeting = Vec::new();
        if self.random.random_range(0..3) == 0 {
            ws::push_text(&mut greeting, b"welcome");
        }
        let is_v1 = self.random.random_range(0..3) == 0;
        let framing = if is_v1 { Framing::V1 } else { Framing::WebSocket };
        let opening = Opening { framing, proves: false, greeting: greeting.clone() };
        let (subscription, lane) = self.make(definition, is_v1);
        // One of `tidewire.v1` has none at first, or comes with one.
        let comes_with = !is_v1 || self.random.random_range(0..2) == 0;
        let (with, later) =
            if comes_with { (Some(subscription), None) } else { (None, Some(subscription)) };
        self.router.open(0, id, opening, with);
        if let Some(later) = later {
            self.router.subscribe(0, id, later);
        }
        self.carry();
        let slot = self.core.slot(id).unwrap();
        assert!(!self.streams.by_slot.contains_key(&slot), "a slot in use is given away");
        self.peers.push(Peer {
            id,
            slot,
            greeting,
            lanes: vec![lane],
            phase: Phase::Awaited,
            controls: VecDeque::new(),
            slow: false,
            cut: false,
            drained: false,
        });
    }

    /// One more subscription, or the end of one (`tidewire.v1`).
    fn change_lanes(&mut self, at: usize) {
        let definition = self.random.random_range(0..DEFINITIONS.len());
        let peer = &self.peers[at];
        if peer.phase == Phase::Closing || peer.lanes[0].sub.is_none() {
            return;
        }
        let id = peer.id;
        let known = peer.lanes.iter().position(|l| l.definition == definition && !l.ended);
        if let Some(known) = known {
            let lane = &mut self.peers[at].lanes[known];
            let sub = lane.sub.clone().unwrap();
            lane.owed.push(text(|out| v1::frames::push_unsubscribed(out, &sub)));
            lane.ended = true;
            self.router.unsubscribe(0, id, sub);
            self.carry();
            self.detach(1);
        } else {
            let (subscription, lane) = self.make(definition, true);
            self.peers[at].lanes.push(lane);
            self.router.subscribe(0, id, subscription);
            self.carry();
        }
    }

    /// Tells the router of the subscriptions that have ended, of which there are so many.
    fn detach(&mut self, expected: usize) {
        let detached = self.core.take_detached();
        assert_eq!(detached.len(), expected);
        for detached in detached {
            self.router.detach(0, &detached.definition);
        }
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
            leader_epoch: LeaderEpoch(0),
            timestamp_ms: TIME_MS,
            key: Some(record_key.as_bytes()),
            header: Some(header.as_bytes()),
            header_count: 1,
            payload: Some(body.as_bytes()),
        }));
        self.carry();
        let id = FrameId { partition: Partition(0), offset: Offset(self.offset) };
        self.offset += 1;
        let mut made: HashMap<(usize, usize, bool), Vec<u8>> = HashMap::new();
        let open = self.peers.iter_mut().filter(|p| p.phase != Phase::Closing);
        for lane in open.flat_map(|p| &mut p.lanes).filter(|l| !l.ended) {
            let definition = &self.definitions[lane.definition];
            if !definition.types.matches(object_type)
                || !definition.keys.matches(&ObjectKey::Integer(key))
                || !definition.events.contains(operation)
            {
                continue;
            }
            let kind = (lane.definition, lane.mask, lane.sub.is_some());
            let frame = made.entry(kind).or_insert_with(|| {
                let selected = format!(
                    r#"{{"key":{key},"self":"{BASE}/ws/rest/{object_type}/{key}","createdById":{by}}}"#
                );
                let key = ObjectKey::Integer(key);
                let object = match lane.mask {
                    0 => ObjectValue::Key(&key),
                    _ => ObjectValue::Json(selected.as_bytes()),
                };
                let event = operation;
                let body = EventBody {
                    id, time_ms: TIME_MS, object_type, event, object, key: &key, self_base: BASE,
                };
                let mut message = Vec::new();
                body.encode(&mut message);
                match &lane.sub {
                    None => message.extend(subscription_suffix(definition.number(), BASE)),
                    Some(sub) => {
                        message.splice(..1, v1::frames::EVENT_PREFIX.iter().copied());
                        message.extend(v1::frames::event_suffix(definition.number(), BASE, sub));
                    }
                }
                text(|out| out.extend(message))
            });
            assert!(frame.len() <= FRAME_BYTES_MAX);
            lane.owed.push(frame.clone());
        }
    }

    fn set_mask(&mut self, at: usize) {
        let mask = self.random.random_range(0..self.masks.len());
        let peer = &mut self.peers[at];
        let lane = self.random.random_range(0..peer.lanes.len());
        let lane = &mut peer.lanes[lane];
        if peer.phase != Phase::Closing && !lane.ended {
            lane.mask = mask;
            self.core.set_mask(peer.slot, lane.sub.as_deref(), self.masks[mask].clone());
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
        let closes = self.core.close(peer.slot, keep, CLOSE, NOW);
        assert_eq!(closes, peer.phase != Phase::Closing);
        if closes {
            peer.phase = Phase::Closing;
            peer.cut |= keep == Keep::Nothing || unwritten > BOUND;
            let lanes = peer.lanes.iter().filter(|l| !l.ended).count();
            self.detach(lanes);
        }
    }

    fn remove(&mut self, at: usize) {
        let peer = self.peers.swap_remove(at);
        self.core.remove(peer.slot);
        let lanes = peer.lanes.iter().filter(|l| !l.ended).count();
        self.detach(if peer.phase == Phase::Closing { 0 } else { lanes });
        assert_eq!(self.core.slot(peer.id), None);
        let stream = self.streams.by_slot.remove(&peer.slot);
        judge(&peer, &stream.unwrap_or_default(), false);
    }

    /// Bytes that a peer is owed and was not written, but for control frames.
    fn unwritten(&self, at: usize) -> usize {
        let peer = &self.peers[at];
        let lanes = peer.lanes.iter().flat_map(|lane| &lane.owed);
        let owed: usize = lanes.chain(&peer.controls).chain([&peer.greeting]).map(Vec::len).sum();
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
            let (Notice::Slow(slot)
            | Notice::Failed(slot)
            | Notice::Drained(slot)
            | Notice::Judged(slot)) = notice;
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
                Notice::Judged(_) => panic!("nobody's rights changed"),
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
            (42..46, Some(at)) => self.set_mask(at),
            (46..50, Some(at)) => self.change_lanes(at),
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

fn text(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let (mut message, mut frame) = (Vec::new(), Vec::new());
    write(&mut message);
    ws::push_text(&mut frame, &message);
    frame
}

/// Holds what a stream was written against what its peer was owed. A stream that is not `whole` may end
/// anywhere.
fn judge(peer: &Peer, stream: &Stream, whole: bool) {
    let mut owed: Vec<&[Vec<u8>]> = peer.lanes.iter().map(|lane| &lane.owed[..]).collect();
    let mut controls = peer.controls.iter();
    let mut bytes = &stream.bytes[..];
    let (mut closed, mut stamped) = (false, false);
    let begun = bytes.len().min(peer.greeting.len());
    // Closed before it was written, or behind it.
    if bytes.first() != Some(&0x88) {
        assert_eq!(bytes[..begun], peer.greeting[..begun]);
        bytes = &bytes[begun..];
    }
    while !bytes.is_empty() {
        assert!(!closed, "bytes after the close frame");
        let expected = match bytes[0] {
            0x88 => {
                closed = true;
                assert_eq!(peer.phase, Phase::Closing);
                CLOSE.to_vec()
            }
            0x89 => controls.next().expect("a control frame too many").clone(),
            _ if owed.iter().all(|lane| lane.is_empty()) || is_cursor(bytes) => {
                assert!(peer.phase == Phase::Closing && !stamped, "nothing asked for a cursor");
                stamped = true;
                let left: usize = owed.iter().map(|lane| lane.len()).sum();
                assert_eq!(left, 0, "a cursor that covers what was not written: {peer:?}");
                let words = payload_of_begun(bytes);
                assert!(words.len() < CURSOR.len() || is_cursor(bytes), "a frame too many");
                let length = frame_length(bytes).min(bytes.len());
                bytes[..length].to_vec()
            }
            _ => {
                let fits = |lane: &&mut &[Vec<u8>]| {
                    let next = lane.first();
                    next.is_some_and(|next| {
                        let length = bytes.len().min(next.len());
                        bytes[..length] == next[..length]
                    })
                };
                let lane = owed.iter_mut().find(fits).unwrap_or_else(|| {
                    let found = String::from_utf8_lossy(bytes);
                    panic!("another frame than one that was owed: {found} {peer:?}")
                });
                let (next, rest) = lane.split_first().unwrap();
                *lane = rest;
                next.clone()
            }
        };
        let length = bytes.len().min(expected.len());
        assert_eq!(bytes[..length], expected[..length], "{peer:?}");
        assert!(length == expected.len() || !whole, "a torn frame");
        bytes = &bytes[length..];
    }
    if whole {
        assert_eq!(closed, peer.phase == Phase::Closing);
        if !peer.cut {
            let left: usize = owed.iter().map(|lane| lane.len()).sum();
            assert_eq!(left + controls.count(), 0, "not all that was owed came");
        }
    }
}

/// The length of the frame that begins here; more than there is if its head is cut off.
fn frame_length(bytes: &[u8]) -> usize {
    match bytes {
        [_, 126, high, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
        [_, 126, ..] | [_] | [] => usize::MAX,
        [_, short, ..] => 2 + usize::from(*short),
    }
}

fn is_cursor(bytes: &[u8]) -> bool {
    payload_of_begun(bytes).starts_with(CURSOR)
}

fn payload_of_begun(bytes: &[u8]) -> &[u8] {
    let head = if bytes.get(1) == Some(&126) { 4 } else { 2 };
    bytes.get(head..).unwrap_or_default()
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
