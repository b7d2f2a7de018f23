//! What happens, in an order that the seed decides.

use super::Run;
use super::bug::Bug;
use super::client::{Item, Link, Position, Socket, sockets};
use super::encode::notice;
use super::log::{Log, Record};
use super::produce::{Thing, things};
use super::random::Random;
use crate::{Ledger, Mode, Stamp, Start, Told};

/// How much happens before everything is quiet.
const STEPS: u32 = 5_500;
/// The topic is made anew after so many.
const RECREATED_EVERY: u32 = 2_300;
/// Enough for everything that waits to arrive.
const QUIET_ROUNDS: usize = 40;
/// A turn concerns so many sockets.
const SOCKETS_AT_ONCE: usize = 5;
const REPLICAS: usize = 3;
/// Retention leaves fewer records than this in a partition.
const KEPT_MAX: u64 = 30;
const PARTITIONS: usize = 2;
const PARTITIONS_MAX: usize = 6;

/// A gateway: what it has routed of each partition.
#[derive(Debug, Default)]
struct Replica {
    routed: Position,
    /// A partition whose END is not resolved yet.
    late: Option<usize>,
}

/// Everything.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) bug: Option<Bug>,
    pub(super) log: Log,
    pub(super) sockets: Vec<Socket>,
    /// What cursors stand for.
    pub(super) positions: Vec<Position>,
    clock: Stamp,
    ledger: Ledger,
    things: Vec<Thing>,
    /// Sent and not acknowledged: the thing, its record.
    pending: Vec<(usize, Record)>,
    replicas: Vec<Replica>,
}

impl World {
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> Self {
        Self {
            random: Random::new(seed),
            bug,
            log: Log::new(PARTITIONS),
            sockets: sockets(),
            positions: Vec::new(),
            clock: 0,
            ledger: Ledger::new(),
            things: things(),
            pending: Vec::new(),
            replicas: (0..REPLICAS).map(|_| Replica::default()).collect(),
        }
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(super) fn tick(&mut self) -> Stamp {
        self.clock += 1;
        self.clock
    }

    pub(super) fn go(mut self) -> Run {
        for step in 1..=STEPS {
            self.step();
            if step % RECREATED_EVERY == 0 {
                self.log.recreate();
            }
        }
        self.finish();
        let transcripts = self.sockets.into_iter().map(|socket| socket.transcript).collect();
        Run { ledger: self.ledger, transcripts }
    }

    fn step(&mut self) {
        let now = self.tick();
        self.expire(now);
        match self.random.below(1_000) {
            0..200 => {
                let thing = self.random.place(self.things.len());
                self.produce(thing);
            }
            200..260 => self.acknowledge(),
            260..400 => {
                let replica = self.random.place(REPLICAS);
                self.route(replica, 8);
            }
            400..600 => self.some(|world, socket| world.feed(socket, 3)),
            600..770 => self.some(|world, socket| world.write(socket, 6)),
            770..930 => self.some(|world, socket| world.deliver(socket, 6)),
            930..970 => self.some(Self::connect),
            970..980 => {
                let socket = self.random.place(self.sockets.len());
                self.close(socket, None);
            }
            983..988 => self.kill(),
            988..991 if self.log.partitions() < PARTITIONS_MAX => self.log.add_partition(),
            991..994 => self.retain(),
            994..996 => self.lose_sessions(),
            996.. if self.has(Bug::StartSaidOnce) => self.lose_sessions(),
            _ => {}
        }
    }

    /// Something happens to a few sockets.
    fn some(&mut self, act: impl Fn(&mut Self, usize)) {
        for _ in 0..SOCKETS_AT_ONCE {
            let socket = self.random.place(self.sockets.len());
            act(self, socket);
        }
    }

    fn expire(&mut self, now: Stamp) {
        if self.has(Bug::IgnoresExpiry) {
            return;
        }
        for socket in 0..self.sockets.len() {
            let link = self.sockets.get(socket).and_then(|socket| socket.link.as_ref());
            if link.and_then(|link| link.expires).is_some_and(|expires| now >= expires) {
                self.close(socket, Some(4201));
            }
        }
    }

    fn produce(&mut self, at: usize) {
        let began = self.tick();
        let partitions = self.log.partitions();
        let Some(thing) = self.things.get_mut(at).filter(|thing| !thing.waits) else { return };
        let partition = thing.partition(partitions);
        let Some(change) = thing.change(&mut self.random) else { return };
        thing.waits = true;
        if self.random.once_in(5) {
            self.log.append_hole(partition);
        }
        let record = if self.random.once_in(15) {
            self.log.append_twice(partition, change, began)
        } else {
            self.log.append(partition, change, began)
        };
        self.pending.push((at, record));
        if !self.random.once_in(3) {
            self.acknowledge_at(self.pending.len() - 1);
        }
    }

    fn acknowledge(&mut self) {
        if !self.pending.is_empty() {
            let at = self.random.place(self.pending.len());
            self.acknowledge_at(at);
        }
    }

    fn acknowledge_at(&mut self, at: usize) {
        let (thing, record) = self.pending.remove(at);
        let acked = self.tick();
        if let Some(thing) = self.things.get_mut(thing) {
            thing.waits = false;
        }
        if let Some(change) = self.log.change(record) {
            let mut change = change.clone();
            change.acked = acked;
            self.ledger.push(change);
        }
    }

    fn route(&mut self, at: usize, most: u64) {
        let (life, partitions) = (self.log.life, self.log.partitions());
        let Some(replica) = self.replicas.get_mut(at) else { return };
        if replica.routed.life != life {
            replica.routed = Position { life, next: Vec::new() };
        }
        // Metadata comes now and then.
        if replica.routed.next.is_empty() || self.random.once_in(8) {
            replica.routed.next.resize(partitions, 0);
        }
        if let Some(late) = replica.late
            && self.random.once_in(40)
        {
            replica.late = None;
            let end = self.log.end(late);
            for link in self.sockets.iter_mut().filter_map(|socket| socket.link.as_mut()) {
                if let Some(next) = link.position.next.get_mut(late).filter(|_| link.replica == at)
                {
                    *next = end.max(*next);
                }
            }
        }
        for (partition, next) in replica.routed.next.iter_mut().enumerate() {
            // One that is not resolved yet brings nothing.
            if replica.late != Some(partition) {
                *next = self.log.end(partition).min(*next + self.random.below(most));
            }
        }
    }

    /// What a replica has routed.
    pub(super) fn routed(&self, replica: usize) -> Position {
        self.replicas.get(replica).map(|replica| replica.routed.clone()).unwrap_or_default()
    }

    /// A gateway dies; its successor starts at the ends.
    fn kill(&mut self) {
        let at = self.random.place(REPLICAS);
        for socket in 0..self.sockets.len() {
            let link = self.sockets.get(socket).and_then(|socket| socket.link.as_ref());
            if link.is_some_and(|link| link.replica == at) {
                self.close(socket, None);
            }
        }
        let late = self.random.place(self.log.partitions());
        let routed = Position { life: self.log.life, next: self.log.ends() };
        let late = self.has(Bug::EndInsteadOfNumber).then_some(late);
        if let Some(replica) = self.replicas.get_mut(at) {
            *replica = Replica { routed, late };
        }
    }

    fn lose_sessions(&mut self) {
        self.sockets.iter_mut().for_each(|socket| socket.stored = None);
    }

    fn retain(&mut self) {
        let partition = self.random.place(self.log.partitions());
        let back = self.random.below(KEPT_MAX);
        self.log.forget_before(partition, self.log.end(partition).saturating_sub(back));
    }

    fn close(&mut self, at: usize, code: Option<u16>) {
        let now = self.tick();
        let Some(socket) = self.sockets.get_mut(at) else { return };
        if socket.link.take().is_some() {
            socket.transcript.closed(now, code);
        }
    }

    fn connect(&mut self, at: usize) {
        let replica = self.random.place(REPLICAS);
        if self.sockets.get(at).is_none_or(|socket| socket.link.is_some()) {
            return;
        }
        // A replica answers once it knows partitions.
        self.route(replica, 1);
        let now = self.tick();
        let expires = self.random.once_in(4).then(|| now + 200 + self.random.below(400));
        let older = if self.random.once_in(4) { self.random.place(3) } else { 0 };
        let (mut live, registers_late) =
            (self.routed(replica), self.has(Bug::AcknowledgesBeforeLive));
        if self.has(Bug::RegistersBesideTheQueue) {
            live.next.iter_mut().for_each(|next| *next += 1 + self.random.below(4));
        }
        let (silent, begins_anew) = (self.has(Bug::LostSessionResumed), self.random.once_in(5));
        let (said_once, mut breaks) = (self.has(Bug::StartSaidOnce), false);
        let Some(socket) = self.sockets.get_mut(at) else { return };
        let (mode, mut queue) = (socket.mode(), std::collections::VecDeque::new());
        let cursor = socket.cursors.iter().rev().nth(older).or(socket.cursors.last()).copied();
        // Whoever has snapshots may begin anew with one.
        let cursor = cursor.filter(|_| !(socket.snapshot && begins_anew));
        let known = cursor.and_then(|(number, at)| Some((number, self.positions.get(at)?.clone())));
        let (start, position) = match (mode, known) {
            (Mode::Plain, _) | (_, None) if mode != Mode::Session => (Start::Now, live),
            (Mode::V1 | Mode::Sse, Some((number, position))) => (Start::Cursor(number), position),
            _ => {
                let is_lost = socket.stored.is_none();
                socket.is_untold |= is_lost;
                let is_new = socket.is_untold && !silent;
                breaks = said_once && is_lost;
                socket.is_untold &= !said_once;
                queue.push_back(Item::Text(match is_new {
                    true => notice(410, "session starts now"),
                    false => notice(200, "session resumed"),
                }));
                (Start::Session, socket.stored.get_or_insert(live).clone())
            }
        };
        socket.transcript.connected(now, u16::try_from(replica).unwrap_or_default(), expires);
        socket.transcript.starts(0, start);
        let (shows, id) = (socket.snapshot && start == Start::Now, socket.subscription.id.clone());
        let is_registered = !registers_late || start != Start::Now;
        let mut link = Link {
            replica,
            position,
            is_registered,
            queue,
            wire: Default::default(),
            expires,
            fed: Default::default(),
        };
        if mode == Mode::V1 {
            let text = match start {
                // A snapshot that breaks off has to come again: no cursor until it is whole.
                _ if shows => format!(r#"{{"type":"subscribed","id":"{id}"}}"#),
                _ => {
                    self.positions.push(link.position.clone());
                    let cursor = self.positions.len() - 1;
                    format!(r#"{{"type":"subscribed","id":"{id}","cursor":"{cursor}"}}"#)
                }
            };
            link.queue.push_back(Item::Text(text));
        }
        if shows {
            self.snapshot(at, &mut link);
        }
        if let Some(socket) = self.sockets.get_mut(at) {
            socket.link = Some(link);
        }
        if breaks {
            self.close(at, None);
        }
    }

    fn write(&mut self, at: usize, most: u64) {
        let count = 1 + self.random.below(most);
        let at_write = self.has(Bug::SessionAtWrite);
        let Some(socket) = self.sockets.get_mut(at) else { return };
        let Some(link) = &mut socket.link else { return };
        for _ in 0..count {
            let Some(item) = link.queue.pop_front() else { return };
            if let Item::Ping(position) = &item
                && at_write
            {
                socket.stored = Some(position.clone());
            }
            link.wire.push_back(item);
        }
    }

    fn deliver(&mut self, at: usize, most: u64) {
        let count = 1 + self.random.below(most);
        let before_send = self.has(Bug::CommitsBeforeSend);
        for _ in 0..count {
            let now = self.tick();
            let Some(socket) = self.sockets.get_mut(at) else { return };
            let Some(link) = &mut socket.link else { return };
            let Some(item) = link.wire.pop_front() else { return };
            let told = match item {
                Item::Message { text, .. } | Item::Text(text) => socket.transcript.text(now, &text),
                Item::Cursor(cursor) if socket.transcript.mode() == Mode::Sse => {
                    socket.transcript.stream_cursor(&cursor.to_string())
                }
                Item::Cursor(cursor) => {
                    let id = &socket.subscription.id;
                    let text =
                        format!(r#"{{"type":"cursor","subs":["{id}"],"cursor":"{cursor}"}}"#);
                    socket.transcript.text(now, &text)
                }
                Item::Ping(position) => {
                    if !before_send {
                        socket.stored = Some(position);
                    }
                    socket.is_untold = false;
                    Told::Other
                }
            };
            if let Told::Cursor { number, cursor, .. }
            | Told::Subscribed { cursor: Some((number, cursor)), .. } = told
                && let Ok(cursor) = cursor.parse()
            {
                socket.cursors.push((number, cursor));
            }
        }
    }

    /// Faults end; all come back; everything arrives; a fresh change of each object proves the way.
    fn finish(&mut self) {
        for socket in 0..self.sockets.len() {
            let link = self.sockets.get(socket).and_then(|socket| socket.link.as_ref());
            if link.is_some_and(|link| link.expires.is_some()) {
                self.close(socket, Some(4201));
            }
            while self.sockets.get(socket).is_some_and(|socket| {
                socket.link.as_ref().is_none_or(|link| link.expires.is_some())
            }) {
                self.close(socket, None);
                self.connect(socket);
            }
        }
        self.quiet();
        for thing in 0..self.things.len() {
            self.produce(thing);
        }
        self.quiet();
        let now = self.tick();
        self.sockets.iter_mut().for_each(|socket| socket.transcript.left(now));
    }

    fn quiet(&mut self) {
        while !self.pending.is_empty() {
            self.acknowledge();
        }
        for _ in 0..QUIET_ROUNDS {
            (0..REPLICAS).for_each(|replica| self.route(replica, 1_000));
            for socket in 0..self.sockets.len() {
                self.feed(socket, u64::MAX);
                self.write(socket, 1_000);
                self.deliver(socket, 1_000);
            }
        }
    }
}
