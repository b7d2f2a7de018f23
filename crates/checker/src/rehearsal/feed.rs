//! From the log into a socket's queue: who wants a record, as what, and what it is merged with.

use super::bug::Bug;
use super::client::{Item, Link, Position, Socket};
use super::encode::{Looks, body, frame, notice};
use super::log::Record;
use super::world::World;
use crate::{Change, Fields, Mode, Operation, Subscription};

/// The queue of a gateway that empties queues has so much room.
const QUEUE_MAX: usize = 6;

impl World {
    /// Gives a socket up to so many records of each partition, as far as its replica has routed them.
    pub(super) fn feed(&mut self, at: usize, most: u64) {
        let Some(mut link) = self.sockets.get_mut(at).and_then(|socket| socket.link.take()) else {
            return;
        };
        let routed = self.routed(link.replica);
        if routed.life == self.log.life {
            self.feed_link(at, &mut link, &routed, most);
        }
        if let Some(socket) = self.sockets.get_mut(at) {
            socket.link = Some(link);
        }
    }

    fn feed_link(&mut self, at: usize, link: &mut Link, routed: &Position, most: u64) {
        if !link.is_registered {
            link.is_registered = self.random.once_in(5);
            link.position = routed.clone();
            return;
        }
        let life = self.log.life;
        if link.position.life != life {
            link.position.life = life;
            if !self.has(Bug::RecreatedSilently) {
                link.position.next.clear();
                self.gap(at, link);
            }
        }
        for partition in link.position.next.len()..routed.next.len() {
            let from_end = self.has(Bug::AddedPartitionFromEnd);
            link.position.next.push(if from_end { self.log.end(partition) } else { 0 });
        }
        for partition in 0..link.position.next.len() {
            self.feed_partition(at, link, partition, routed, most);
        }
        if self.has(Bug::DropsTheQueue) && link.queue.len() > QUEUE_MAX {
            link.queue.retain(|item| !matches!(item, Item::Message { .. }));
        }
        self.mark(at, link, routed);
    }

    fn feed_partition(
        &mut self,
        at: usize,
        link: &mut Link,
        partition: usize,
        routed: &Position,
        most: u64,
    ) {
        let to = routed.next.get(partition).copied().unwrap_or_default();
        let Some(from) = link.position.next.get(partition).copied() else { return };
        let mut next = from;
        if next < self.log.start(partition) && next < to {
            next = self.log.start(partition);
            if !self.has(Bug::RetentionSilently) {
                self.gap(at, link);
            }
        }
        let mut fed = 0;
        while next < to && fed < most {
            match self.log.read(partition, next) {
                Some(record) => self.offer(at, link, record),
                None if self.has(Bug::ShowsAborted) => self.show_aborted(at, link, partition, next),
                None => {}
            }
            next += 1;
            fed += 1;
        }
        if let Some(place) = link.position.next.get_mut(partition) {
            *place = next.max(*place);
        }
    }

    /// Cursors and pings, behind what they speak of.
    fn mark(&mut self, at: usize, link: &mut Link, routed: &Position) {
        let cursor_at_routing = self.has(Bug::CursorAtRouting);
        let before_send = self.has(Bug::CommitsBeforeSend);
        let is_due = self.random.once_in(2) || cursor_at_routing;
        let Some(socket) = self.sockets.get_mut(at) else { return };
        match socket.mode() {
            Mode::Session => {
                if before_send && !socket.is_untold {
                    socket.stored = Some(link.position.clone());
                }
                if is_due {
                    link.queue.push_back(Item::Ping(link.position.clone()));
                }
            }
            Mode::V1 | Mode::Sse if is_due => {
                let position = if cursor_at_routing { routed } else { &link.position };
                self.positions.push(position.clone());
                link.queue.push_back(Item::Cursor(self.positions.len() - 1));
            }
            _ => {}
        }
    }

    fn gap(&self, at: usize, link: &mut Link) {
        let Some(socket) = self.sockets.get(at) else { return };
        let text = match socket.mode() {
            Mode::V1 => {
                format!(r#"{{"type":"gap","sub":"{}","reason":"x"}}"#, socket.subscription.id)
            }
            Mode::Plain | Mode::Session | Mode::Sse => notice(410, "gap"),
        };
        link.queue.push_back(Item::Text(text));
    }

    /// Puts a record into the queue if the socket wants it.
    fn offer(&mut self, at: usize, link: &mut Link, record: Record) {
        if self.has(Bug::DropsOne) && self.random.once_in(60) {
            return;
        }
        if self.log.twins.get(&record).is_some_and(|first| link.fed.contains(first)) {
            return;
        }
        link.fed.insert(record);
        let Some(change) = self.log.change(record) else { return };
        let forgets_keys = self.has(Bug::ForgetsKeys) && self.random.once_in(10);
        let Some(socket) = self.sockets.get(at) else { return };
        let Some(is_main) = self.wants(&socket.subscription, change, forgets_keys) else { return };
        let operation = change.operation;
        let is_replay = socket.fed.contains(&record);
        let replica = link.replica;
        let item = |operation, is_merged| {
            let how = (is_main, is_replay, is_merged);
            let text = self.text(socket, replica, change, operation, how);
            Item::Message { record, operation, text }
        };
        let conflates = socket.subscription.conflates;
        match conflates.then(|| self.waiting(link, change)).flatten() {
            Some((place, former)) => match (former, operation) {
                (Operation::Create, Operation::Delete) => {
                    link.queue.remove(place);
                }
                (former, now) if former != Operation::Delete && now != Operation::Create => {
                    let keeps = !self.has(Bug::ConflatesCreateAway);
                    let is_create = former == Operation::Create && keeps;
                    let merged = item(if is_create { Operation::Create } else { now }, true);
                    self.merge(link, place, merged);
                }
                _ => link.queue.push_back(item(operation, false)),
            },
            None => {
                link.queue.push_back(item(operation, false));
                self.disorder(link);
            }
        }
        let is_above = is_main
            && change.owners.iter().any(|o| {
                socket.subscription.selects(&change.tenant, o) && socket.subscription.events.update
            });
        if self.has(Bug::TellsTwice) && is_above {
            link.queue.push_back(item(operation, false));
        }
        if let Some(socket) = self.sockets.get_mut(at) {
            socket.fed.insert(record);
        }
    }

    /// The message of the object's change before this one, where it waits and is of the same partition:
    /// partitions that are added change the order in which an object's changes come.
    fn waiting(&self, link: &Link, change: &Change) -> Option<(usize, Operation)> {
        let same = |item: &Item| match item {
            Item::Message { record, operation, .. } => {
                let waiting = self.log.change(*record)?;
                let place = |c: &Change| (c.life, c.id.partition());
                let is_before = waiting.version + 1 == change.version;
                let same = waiting.object == change.object && place(waiting) == place(change);
                (same && is_before).then_some(*operation)
            }
            _ => None,
        };
        let found = link.queue.iter().enumerate().rev();
        found.filter_map(|(at, item)| Some((at, same(item)?))).next()
    }

    fn merge(&self, link: &mut Link, place: usize, merged: Item) {
        if self.has(Bug::ConflatesInPlace) {
            if let Some(slot) = link.queue.get_mut(place) {
                *slot = merged;
            }
            return;
        }
        link.queue.remove(place);
        link.queue.push_back(merged);
    }

    /// Two versions of one object change places.
    fn disorder(&self, link: &mut Link) {
        let last = link.queue.len().wrapping_sub(1);
        let object = |item: Option<&Item>| match item {
            Some(Item::Message { record, .. }) => {
                self.log.change(*record).map(|c| c.object.clone())
            }
            _ => None,
        };
        let own = object(link.queue.get(last));
        let earlier = (0..last).rev().find(|at| object(link.queue.get(*at)) == own);
        if let Some(earlier) = earlier.filter(|_| own.is_some() && self.has(Bug::SwapsVersions)) {
            link.queue.swap(earlier, last);
        }
    }

    /// Whether a subscription wants a change, and if so whether as its main object.
    fn wants(&self, sub: &Subscription, change: &Change, forgets_keys: bool) -> Option<bool> {
        let leaks = self.has(Bug::LeaksOnDelete) && change.operation == Operation::Delete;
        if !sub.may_read(&change.object.kind) && !leaks {
            return None;
        }
        let tenant = if self.has(Bug::ForgetsTheTenant) { &sub.tenant } else { &change.tenant };
        let is_main = sub.selects(tenant, &change.object) || forgets_keys;
        if is_main && sub.events.contains(change.operation) {
            return Some(true);
        }
        let mut owners = change.owners.iter();
        // The new owner comes last.
        if self.has(Bug::MoveTellsNewOwner) && change.owners.len() > 1 {
            owners.next();
        }
        let below = change.operation == Operation::Update || !self.has(Bug::BelowOnlyUpdates);
        let is_above = owners.any(|owner| sub.selects(tenant, owner));
        let above = !sub.only_main_object && sub.events.update && below && is_above;
        above.then_some(false)
    }

    fn text(
        &self,
        socket: &Socket,
        replica: usize,
        change: &Change,
        operation: Operation,
        (is_main, is_replay, is_merged): (bool, bool, bool),
    ) -> String {
        let merges_to_oldest = is_merged && self.has(Bug::ConflatesToOldest);
        let shows_old = self.has(Bug::ShowsOldImage) && operation == Operation::Update;
        let present = || {
            let mut newest = self.log.changes.iter().rev();
            newest
                .find(|c| c.tenant == change.tenant && c.object == change.object && c.new.is_some())
        };
        let image = match operation {
            Operation::Delete => change.old.as_deref(),
            _ if shows_old || merges_to_oldest => change.old.as_deref(),
            _ if is_replay && self.has(Bug::ReplayShowsPresent) => {
                present().and_then(|change| change.new.as_deref())
            }
            _ => change.new.as_deref(),
        };
        let id = if self.has(Bug::IdOfTheReplica) {
            format!("{}-{}", change.id.partition(), change.id.offset() + replica as u64)
        } else {
            change.id.to_string()
        };
        let looks = Looks {
            image,
            operation,
            is_main,
            shows_more: self.has(Bug::ShowsMoreFields)
                && matches!(socket.subscription.fields, Fields::Plain(_)),
            shows_object: self.has(Bug::DeleteCarriesObject) && operation == Operation::Delete,
        };
        let body = body(change, &id, &socket.subscription, looks);
        self.whole(socket, replica, &body, "event")
    }

    fn whole(&self, socket: &Socket, replica: usize, body: &str, kind: &str) -> String {
        let own = if self.has(Bug::DefinitionOfTheReplica) { replica as u64 } else { 0 };
        let (mode, id) = (socket.mode(), &socket.subscription.id);
        frame(body, mode, id, socket.definition() ^ own, kind)
    }

    /// What an aborted transaction would have written.
    fn show_aborted(&self, at: usize, link: &mut Link, partition: usize, offset: u64) {
        let Some(socket) = self.sockets.get(at) else { return };
        let before = (0..offset).rev().find_map(|offset| self.log.read(partition, offset));
        let Some(change) = before.and_then(|record| self.log.change(record)) else { return };
        let Some(is_main) = self.wants(&socket.subscription, change, false) else { return };
        let id = format!("{partition}-{offset}");
        let (image, operation) = (change.new.as_deref(), change.operation);
        let looks = Looks { image, operation, is_main, shows_more: false, shows_object: false };
        let body = body(change, &id, &socket.subscription, looks);
        let text = self.whole(socket, link.replica, &body, "event");
        link.queue.push_back(Item::Text(text));
    }

    /// The objects as they are at the socket's position.
    pub(super) fn snapshot(&mut self, at: usize, link: &mut Link) {
        let Some(socket) = self.sockets.get(at) else { return };
        let sub = &socket.subscription;
        let mut newest: Vec<&Change> = Vec::new();
        for (partition, next) in link.position.next.iter().enumerate() {
            // A projection keeps objects longer than the log keeps records.
            for offset in 0..*next {
                let record = self.log.read(partition, offset);
                let change = record.and_then(|record| self.log.change(record));
                if let Some(change) = change.filter(|c| sub.selects(&c.tenant, &c.object)) {
                    // Versions, not places: an object changes its partition when some are added.
                    match newest.iter_mut().find(|c| c.object == change.object) {
                        Some(known) if known.version < change.version => *known = change,
                        Some(_) => {}
                        None => newest.push(change),
                    }
                }
            }
        }
        newest.retain(|change| change.operation != Operation::Delete);
        for change in &newest {
            let looks = Looks {
                image: change.new.as_deref(),
                operation: change.operation,
                is_main: true,
                shows_more: false,
                shows_object: false,
            };
            let body = body(change, &change.id.to_string(), sub, looks);
            let text = self.whole(socket, link.replica, &body, "snapshot");
            link.queue.push_back(Item::Text(text));
        }
        let end = format!(
            r#"{{"type":"snapshot","sub":"{}","complete":false,"objects":{}}}"#,
            sub.id,
            newest.len()
        );
        link.queue.push_back(Item::Text(end));
        if self.has(Bug::SnapshotTaggedLate) {
            link.position.next = self.log.ends().into_iter().map(|end| end + 12).collect();
        }
    }
}
