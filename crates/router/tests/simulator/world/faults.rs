//! What befalls clients, replicas, the store and the log.

use super::*;

impl World {
    pub(super) fn befall(&mut self) -> Verdict {
        let client = self.random.random_range(0..self.clients.len());
        let replica = self.random.random_range(0..self.replicas.len());
        match self.random.random_range(0..1_000) {
            0..12 => self.cut(client),
            12..20 => {
                if let Some(connection) = &self.clients[client].connection {
                    let id = connection.id.0;
                    let keep = if self.chance(2) { Keep::Pending } else { Keep::Nothing };
                    self.close(id, keep);
                }
            }
            20..23 => self.crash(replica),
            23..29 => self.hang(replica),
            29..45 => {
                self.clients[client].stalled_until = self.now + self.random.random_range(0..9_000);
            }
            45..60 => self.change_mask(client),
            60..70 => self.change_rights(client),
            70..90 => self.change_subs(client)?,
            90..95 => {
                let lost = self.random.random_range(0..12);
                self.store.fail_over(lost);
            }
            95..100 => self.store_away_until = self.now + self.random.random_range(0..6_000),
            100..150 => self.befall_log(),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn change_mask(&mut self, client: usize) {
        let mask = self.random.random_range(0..self.masks.len());
        let number = self.random.random_range(0..self.clients[client].subs.len());
        let sub = &mut self.clients[client].subs[number];
        (sub.mask, sub.judge.mask_changed) = (mask, true);
        let (name, told) = (sub.name.clone(), sub.is_told);
        let Some(Connection { replica, shard, id, .. }) = self.clients[client].connection else {
            return;
        };
        let list = self.masks[mask].clone();
        let Some(replica) = self.replicas[replica].as_mut().filter(|_| told) else { return };
        match name {
            Some(name) => {
                replica.router.set_mask(u16::try_from(shard).unwrap(), id, name, list);
            }
            None => {
                let core = &mut replica.shards[shard].core;
                if let Some(slot) = core.slot(id) {
                    core.set_mask(slot, None, list);
                }
            }
        }
    }

    /// Rights change: at once where the client is told of it, else with its next connection.
    pub(super) fn change_rights(&mut self, client: usize) {
        let known = &mut self.clients[client];
        let hidden = !known.hidden;
        let is_v1 = known.kind == Kind::V1;
        if !is_v1 && known.subs[0].is_forbidden(hidden) {
            return;
        }
        known.hidden = hidden;
        let connection = known.connection.as_mut();
        let first = connection.is_some_and(|c| !std::mem::replace(&mut c.is_judged_anew, true));
        if !is_v1 || !first {
            self.cut(client);
            return;
        }
        let Some(Connection { replica, shard, id, .. }) = self.clients[client].connection else {
            return;
        };
        if let Some(replica) = self.replicas[replica].as_mut() {
            replica.router.set_class(u16::try_from(shard).unwrap(), id, class("acme", hidden));
        }
    }

    pub(super) fn change_subs(&mut self, client: usize) -> Verdict {
        let known = &self.clients[client];
        let Some(connection) = known.connection.as_ref().filter(|_| known.kind == Kind::V1) else {
            return Ok(());
        };
        if self.replicas[connection.replica].is_none() || !self.held.contains_key(&connection.id.0)
        {
            return Ok(());
        }
        let number = self.random.random_range(0..known.subs.len());
        if !known.subs[number].is_told {
            return self.subscribe(client, number);
        }
        Ok(())
    }
}
