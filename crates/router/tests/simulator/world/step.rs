//! One step of everything.

use super::*;

impl World {
    pub(super) fn step(&mut self) -> Verdict {
        self.now += if self.calm { 200 } else { self.random.random_range(1..60) };
        if !self.calm {
            for _ in 0..self.random.random_range(0..4) {
                self.append();
            }
            self.befall()?;
        }
        for at in 0..self.replicas.len() {
            self.turn(at)?;
        }
        let (due, later) =
            std::mem::take(&mut self.dying).into_iter().partition(|dying: &Dying| {
                let replica = self.replicas[dying.replica].as_ref();
                dying.at <= self.now && replica.is_some_and(|r| r.wakes_at <= self.now)
            });
        self.dying = later;
        for dying in due {
            self.remove(dying.id.0);
        }
        for client in 0..self.clients.len() {
            let verdict = self.live(client);
            verdict.map_err(|error| {
                let Client { kind, connection, .. } = &self.clients[client];
                let connection = connection.as_ref().map(|c| (c.replica, c.shard, c.id));
                format!("at {} client {client} {kind:?} on {connection:?}: {error}", self.now)
            })?;
        }
        Ok(())
    }

    pub(super) fn turn(&mut self, at: usize) -> Verdict {
        let now = self.clocks();
        let Some(replica) = self.replicas[at].as_mut() else {
            if self.calm || self.boots_at[at] <= self.now {
                self.boot(at);
            }
            return Ok(());
        };
        if self.calm {
            replica.wakes_at = replica.wakes_at.min(self.now);
        }
        if replica.wakes_at > self.now {
            return Ok(());
        }
        while let Some(late) = self.late.iter().position(|(replica, _)| *replica == at) {
            for write in self.late.remove(late).1 {
                self.store.write(write)?;
            }
        }
        self.carry_streams(at);
        let replica = self.replicas[at].as_mut().unwrap();
        let news = replica.turn(&self.log, &mut self.links, &mut self.random, now, self.calm);
        let bound = replica.connections() * (replica.bound * 2 + 8_000);
        if replica.queued_bytes() > bound {
            return Err(format!("{} bytes are queued", replica.queued_bytes()));
        }
        for news in news {
            self.take(at, news);
        }
        self.keep(at)
    }

    /// Streams are handed over, become writable, bring pongs.
    pub(super) fn carry_streams(&mut self, at: usize) {
        let ids: Vec<u64> =
            self.held.iter().filter(|(_, held)| held.replica == at).map(|(id, _)| *id).collect();
        for id in ids {
            let Held { shard, link, adopted, .. } = self.held[&id];
            let hand_over = !adopted && (self.calm || self.chance(3));
            let now = self.clocks();
            let ping = adopted && self.chance(200);
            let replica = self.replicas[at].as_mut().unwrap();
            let Some(slot) = replica.shards[shard].core.slot(ConnectionId(id)) else { continue };
            if hand_over {
                replica.shards[shard].slots.insert(slot, link);
                replica.shards[shard].core.adopt(ConnectionId(id));
                self.held.get_mut(&id).unwrap().adopted = true;
            }
            let wire = &mut self.links.0[link];
            while let Some(pong) = wire.pongs.pop_front() {
                replica.shards[shard].core.pong(slot, &pong);
            }
            if wire.blocked && wire.to_client.len() < 700 {
                wire.blocked = false;
                replica.shards[shard].core.writable(slot);
            }
            if ping && !self.links.0[link].blocked {
                let payload = replica.shards[shard].core.keep_alive(slot, now);
                if !payload.is_empty() {
                    let mut frame = Vec::new();
                    tidewire_wire::ws::push_ping(&mut frame, &payload);
                    replica.send(shard, slot, &frame, &mut self.links);
                }
            }
        }
    }

    pub(super) fn take(&mut self, at: usize, news: News) {
        match news {
            News::Proof(proof) => {
                let replica = self.replicas[at].as_mut().unwrap();
                replica.book.proven(proof.id.0, proof.positions, proof.busy);
            }
            News::Fed(id, definition, snapshot) => {
                let of = |client: &&mut Client| {
                    client.connection.as_ref().is_some_and(|connection| connection.id == id)
                };
                let subs = self.clients.iter_mut().find(of).into_iter().flat_map(|c| &mut c.subs);
                // Two may be for the same.
                for sub in subs.filter(|sub| sub.judge.wants.definition == definition) {
                    sub.fed.push(snapshot.clone());
                }
            }
            News::Notice(shard, notice) => {
                let (Notice::Slow(slot)
                | Notice::Failed(slot)
                | Notice::Drained(slot)
                | Notice::Judged(slot)) = notice;
                let link = self.replicas[at].as_ref().unwrap().shards[shard].slots.get(&slot);
                let held = self.held.iter().find(|(_, held)| {
                    held.replica == at && held.shard == shard && Some(&held.link) == link
                });
                let found = held.map(|(id, _)| *id);
                // Its stream has not come yet.
                let found = found.or_else(|| {
                    let core = &self.replicas[at].as_ref().unwrap().shards[shard].core;
                    let is = |(id, held): &(&u64, &Held)| {
                        held.replica == at
                            && held.shard == shard
                            && core.slot(ConnectionId(**id)) == Some(slot)
                    };
                    self.held.iter().find(is).map(|(id, _)| *id)
                });
                let Some(id) = found else { return };
                match notice {
                    Notice::Drained(_) => self.remove(id),
                    _ => self.close(id, Keep::Nothing),
                }
            }
        }
    }

    /// What a replica does with its sessions once a second.
    pub(super) fn keep(&mut self, at: usize) -> Verdict {
        let away = self.now < self.store_away_until && !self.calm;
        let now = self.now;
        let replica = self.replicas[at].as_mut().unwrap();
        if now < replica.keeper_at {
            return Ok(());
        }
        replica.keeper_at = now + 1_000;
        let mut writes = replica.book.due(now);
        writes.sort_by_key(|write| write.connection);
        for write in writes {
            let connection = write.connection;
            let write = parts::session_write(write);
            let outcome = if away { Err(()) } else { Ok(self.store.write(write)?) };
            let taken = self.replicas[at].as_mut().unwrap().book.done(connection, outcome);
            if taken {
                self.close(connection, Keep::Nothing);
            }
        }
        Ok(())
    }

    /// A client's own turn.
    pub(super) fn live(&mut self, client: usize) -> Verdict {
        let calm = self.calm;
        let (now, stalled) = (self.now, self.clients[client].stalled_until);
        let Some(connection) = &self.clients[client].connection else {
            if calm || self.clients[client].connects_at <= now {
                self.connect(client)?;
            }
            return Ok(());
        };
        let link = connection.link;
        if stalled > now && !calm {
            return Ok(());
        }
        let rate = self.clients[client].rate;
        let wire = &mut self.links.0[link];
        let most = wire.to_client.len();
        let bytes = if calm { most } else { self.random.random_range(0..=rate).min(most) };
        let trace = &mut self.trace;
        let seen = |payload: &[u8]| (client, payload).hash(trace);
        let received = wire.to_client.drain(..bytes);
        self.clients[client].receive(&self.log, &parts::cursor_key(), received, seen)?;
        let wire = &mut self.links.0[link];
        let connection = self.clients[client].connection.as_mut().unwrap();
        while (calm || self.random.random_range(0..3) > 0)
            && let Some(ping) = connection.pings.pop_front()
        {
            wire.pongs.push_back(ping);
        }
        if wire.closed && wire.to_client.is_empty() {
            self.clients[client].connection = None;
            self.clients[client].connects_at = now + self.random.random_range(0..2_000);
            self.free_link(link);
        } else if self.clients[client].kind == Kind::V1 && calm && !wire.closed {
            for sub in 0..self.clients[client].subs.len() {
                if !self.clients[client].subs[sub].is_told {
                    self.subscribe(client, sub)?;
                }
            }
        }
        Ok(())
    }
}
