//! Connections: how clients come, go and subscribe, and what replicas do when they end.

use super::*;

impl World {
    /// A replica that takes connections.
    pub(super) fn pick_replica(&mut self) -> Option<usize> {
        let ready: Vec<usize> = (0..self.replicas.len())
            .filter(|at| self.replicas[*at].as_ref().is_some_and(|r| r.wakes_at <= self.now))
            .collect();
        (!ready.is_empty()).then(|| ready[self.random.random_range(0..ready.len())])
    }

    pub(super) fn place(&self, replica: usize, positions: &Positions) -> Place {
        let replica = self.replicas[replica].as_ref().unwrap();
        let mark =
            |(partition, position): (tidewire_event::Partition, tidewire_event::Position)| {
                let version = replica.version(partition.0);
                (partition.0, Mark::of(position, version))
            };
        Place { life: replica.life(), marks: positions.iter().map(mark).collect(), loose: false }
    }

    pub(super) fn subscription(&self, client: usize, sub: usize, start: Start) -> Subscription {
        let Client { hidden, subs, .. } = &self.clients[client];
        let sub = &subs[sub];
        Subscription {
            definition: Arc::clone(&sub.judge.wants.definition),
            mask: self.masks[sub.mask].clone(),
            class: class("acme", *hidden),
            sub: sub.name.clone(),
            start,
            snapshot: sub.wants_snapshot,
            on_slow: if sub.judge.conflates { OnSlow::Conflate } else { OnSlow::Disconnect },
        }
    }

    pub(super) fn connect(&mut self, client: usize) -> Verdict {
        let Some(at) = self.pick_replica() else { return Ok(()) };
        let kind = self.clients[client].kind;
        if kind == Kind::Session && self.now < self.store_away_until {
            return Ok(());
        }
        self.account.connects += 1;
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        let shard = self.random.random_range(0..usize::from(SHARDS));
        let capacity = [1_500, 6_000, 50_000][self.random.random_range(0..3)];
        let capacity = if self.calm { 1 << 20 } else { capacity };
        let link = self.links.open(capacity);
        let held = Held { replica: at, shard, link, adopted: false, closing: false };
        self.held.insert(id.0, held);
        self.clients[client].connection = Some(Connection::new(at, shard, id, link));
        for sub in &mut self.clients[client].subs {
            sub.is_told = false;
            sub.is_live = false;
            sub.fed.clear();
        }
        let shard_index = u16::try_from(shard).unwrap();
        let mut opening = Opening {
            framing: kind.framing(),
            proves: kind == Kind::Session,
            greeting: Vec::new(),
        };
        if kind == Kind::V1 {
            self.replicas[at].as_mut().unwrap().router.open(shard_index, id, opening, None);
            for sub in 0..self.clients[client].subs.len() {
                if !self.chance(4) {
                    self.subscribe(client, sub)?;
                }
            }
            return Ok(());
        }
        let mut start = Start::Now;
        let mut claim = None;
        if kind == Kind::Session {
            let positions = self.replicas[at].as_mut().unwrap().router.share();
            let nonce = u128::from(id.0).to_le_bytes();
            let session = self.clients[client].session.clone();
            let text = encode_cursor(&parts::cursor_key(), &session.tenant, &positions);
            let claimed = self.store.claim(&session, nonce, text);
            if let Some(text) = claimed.position {
                let cursor = Cursor::decode(&text, &parts::cursor_key()).unwrap();
                start = Start::At(Arc::new(cursor.positions));
            }
            let word = if claimed.proven { RESUMED } else { STARTS };
            tidewire_wire::ws::push_text(&mut opening.greeting, word.as_bytes());
            claim = Some((session, claimed.owner, claimed.proven));
        } else if kind == Kind::Sse
            && let Some(cursor) = &self.clients[client].subs[0].cursor
        {
            start = Start::At(Arc::clone(cursor));
        }
        self.begin_sub(client, 0, at, &start)?;
        let subscription = self.subscription(client, 0, start.clone());
        let replica = self.replicas[at].as_mut().unwrap();
        replica.router.open(shard_index, id, opening, Some(subscription));
        if let Some((session, owner, proven)) = claim {
            let positions = match start {
                Start::At(positions) => positions,
                _ => replica.router.share(),
            };
            let lost = replica.book.hold(id.0, session, owner, None, (Some(positions), proven));
            if let Some(lost) = lost {
                self.close(lost, Keep::Nothing);
            }
        }
        Ok(())
    }

    /// What the judge is told when a subscription starts.
    pub(super) fn begin_sub(
        &mut self,
        client: usize,
        sub: usize,
        replica: usize,
        start: &Start,
    ) -> Verdict {
        let positions = self.replicas[replica].as_mut().unwrap().router.share();
        let place = self.place(replica, &positions);
        let hidden = self.clients[client].hidden;
        let Client { kind, connection, subs, .. } = &mut self.clients[client];
        let sub = &mut subs[sub];
        // It is judged by the rights of now: what it may see again is not owed from before.
        if sub.judge.wants.hidden && !hidden {
            sub.judge.forget();
        }
        sub.judge.wants.hidden = hidden;
        sub.is_told = true;
        sub.is_live = false;
        if *kind == Kind::Session {
            // Its client learns it from the first frame, if that comes.
            connection.as_mut().unwrap().start = Some(match start {
                Start::At(from) => SessionStart::At(Arc::clone(from)),
                _ => SessionStart::Now(place),
            });
            return Ok(());
        }
        match start {
            Start::At(from) => sub.judge.resume(&self.log, from),
            Start::Snapshot => {
                sub.judge.start(Place::unknown());
                Ok(())
            }
            _ => {
                sub.judge.start(place);
                Ok(())
            }
        }
    }

    pub(super) fn subscribe(&mut self, client: usize, sub: usize) -> Verdict {
        let Some(Connection { replica, shard, id, .. }) = self.clients[client].connection else {
            return Ok(());
        };
        let known = &self.clients[client].subs[sub];
        if known.is_forbidden(self.clients[client].hidden) {
            return Ok(());
        }
        let start = match &known.cursor {
            Some(cursor) => Start::At(Arc::clone(cursor)),
            None if known.wants_snapshot => Start::Snapshot,
            None => Start::Now,
        };
        self.begin_sub(client, sub, replica, &start)?;
        let subscription = self.subscription(client, sub, start);
        let shard = u16::try_from(shard).unwrap();
        self.replicas[replica].as_mut().unwrap().router.subscribe(shard, id, subscription);
        Ok(())
    }

    /// A client's link dies, with what is on it; the replica learns of it later.
    pub(super) fn cut(&mut self, client: usize) {
        let Some(connection) = self.clients[client].connection.take() else { return };
        let Connection { replica, id, link, .. } = connection;
        self.links.0[link].cut = true;
        let at = self.now + self.random.random_range(0..20_000);
        self.dying.push(Dying { at, replica, id });
        self.clients[client].connects_at = self.now + self.random.random_range(0..3_000);
    }

    /// The replica closes a connection.
    pub(super) fn close(&mut self, id: u64, keep: Keep) {
        let now = self.clocks();
        let Some(held) = self.held.get_mut(&id) else { return };
        held.closing = true;
        let Held { replica, shard, adopted, .. } = *held;
        let Some(replica) = self.replicas[replica].as_mut() else { return };
        replica.book.release(id);
        let core = &mut replica.shards[shard].core;
        let Some(slot) = core.slot(ConnectionId(id)) else { return };
        if adopted {
            core.close(slot, keep, CLOSE, now);
        } else {
            self.remove(id);
        }
    }

    /// A connection is gone for its replica.
    pub(super) fn remove(&mut self, id: u64) {
        let Some(held) = self.held.get(&id).copied() else { return };
        if let Some(replica) = self.replicas[held.replica].as_mut() {
            replica.book.release(id);
            let shard = &mut replica.shards[held.shard];
            // One whose registration has not reached its shard yet is looked at later.
            let Some(slot) = shard.core.slot(ConnectionId(id)) else {
                self.dying.push(Dying {
                    at: self.now + 50,
                    replica: held.replica,
                    id: ConnectionId(id),
                });
                return;
            };
            shard.core.remove(slot);
            shard.slots.remove(&slot);
        }
        self.held.remove(&id);
        self.links.0[held.link].closed = true;
        self.free_link(held.link);
    }

    /// A link that both ends have forgotten.
    pub(super) fn free_link(&mut self, link: usize) {
        let of_client =
            self.clients.iter().any(|c| c.connection.as_ref().is_some_and(|c| c.link == link));
        let of_replica = self.held.values().any(|held| held.link == link);
        if !of_client && !of_replica {
            self.links.0.remove(link);
        }
    }

    pub(super) fn crash(&mut self, at: usize) {
        if self.replicas[at].take().is_none() {
            return;
        }
        self.boots_at[at] = self.now + self.random.random_range(0..8_000);
        self.late.retain(|(replica, _)| *replica != at);
        let ids: Vec<u64> =
            self.held.iter().filter(|(_, held)| held.replica == at).map(|(id, _)| *id).collect();
        self.dying.retain(|dying| dying.replica != at);
        for id in ids {
            let held = self.held.remove(&id).unwrap();
            self.links.0[held.link].closed = true;
            // With the machine what it had buffered goes too; with the process it does not.
            if self.chance(2) {
                self.links.0[held.link].to_client.clear();
            }
            self.free_link(held.link);
        }
    }

    /// It does nothing for a while; what it had sent to the store arrives late.
    pub(super) fn hang(&mut self, at: usize) {
        let until = self.now + self.random.random_range(500..25_000);
        let Some(replica) = self.replicas[at].as_mut().filter(|r| r.wakes_at <= self.now) else {
            return;
        };
        replica.wakes_at = until;
        let mut writes = replica.book.due(self.now);
        writes.sort_by_key(|write| write.connection);
        let writes = writes.into_iter().map(|write| {
            // Nobody knows what became of them.
            let _ = replica.book.done(write.connection, Err(()));
            parts::session_write(write)
        });
        self.late.push((at, writes.collect()));
    }
}
