//! The router: records and registrations in one order, in; routed items per shard, out.

use std::sync::Arc;

use tidewire_event::{FrameId, LeaderEpoch, Partition, Position, Positions, RecordError};
use tidewire_fields::FieldMask;
use tidewire_log::{GapReason, LogEvent, LogRecord};
use tidewire_model::Model;
use tidewire_rights::PermissionClass;
use tidewire_wire::definition::Definition;

use crate::ShardIndex;
use crate::decode::{Decoded, decode};
use crate::event::RoutedEvent;
use crate::interest::InterestTable;
use crate::recent::Recent;
use crate::view::{ConnectionId, Opening, SubId, Subscription};
use crate::window::Window;

/// What a shard is handed, in order.
#[derive(Debug)]
pub enum ShardItem {
    /// A change event that somebody on the shard may want.
    Event(Arc<RoutedEvent>),
    /// A connection, and the subscription that it comes with; the positions are the router's at its
    /// registration.
    Open(ConnectionId, Box<Opening>, Option<Box<Subscription>>, Arc<Positions>),
    /// One more subscription of a connection, and the router's positions at its registration.
    Subscribe(ConnectionId, Box<Subscription>, Arc<Positions>),
    /// A subscription of a connection ends.
    Unsubscribe(ConnectionId, SubId),
    /// A subscription of a connection has another field list from here on.
    SetMask(ConnectionId, SubId, Option<FieldMask>),
    /// A connection has other rights from here on.
    SetClass(ConnectionId, PermissionClass),
    /// The router's positions: everything before them that concerns the shard has been handed over.
    Tick(Arc<Positions>),
    /// Changes may be missing: every subscription is told. Reading goes on at these positions.
    Gap(GapReason, Arc<Positions>),
}

/// A record that cannot be used.
#[derive(Debug)]
pub struct Poison {
    /// Where it stands.
    pub id: FrameId,
    /// What is wrong with it.
    pub reason: RecordError,
}

/// What became of one log event.
#[derive(Debug)]
pub enum Routed {
    /// It went to this many shards (0: nobody here wants it).
    To(u32),
    /// A change that was published before; dropped.
    Repeated,
    /// A version of its object that is older than what was routed before; dropped.
    Stale,
    /// It goes to quarantine.
    Poison(Poison),
    /// Not a record.
    Note,
}

/// Counts since the start; read by the owner for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouterStats {
    /// Records read.
    pub received: u64,
    /// Records that at least one shard was handed.
    pub routed: u64,
    /// Changes published again and dropped.
    pub repeated: u64,
    /// Changes dropped because a newer version of their object was routed before.
    pub stale: u64,
    /// Records that went to quarantine.
    pub poison: u64,
}

/// The router of a replica. It has one owner, which feeds it and carries its batches to the shards.
#[derive(Debug)]
pub struct Router {
    interest: InterestTable,
    positions: Positions,
    /// The positions as they were handed out last; `None` once they have moved.
    shared: Option<Arc<Positions>>,
    /// True if they have moved since all shards were told.
    untold: bool,
    window: Arc<Window>,
    recent: Recent,
    batches: Vec<Vec<ShardItem>>,
    stats: RouterStats,
}

impl Router {
    /// A router in front of `shards` shards, which fills the window.
    #[must_use]
    pub fn new(model: Arc<Model>, shards: ShardIndex, window: Arc<Window>) -> Self {
        Self {
            interest: InterestTable::new(model),
            positions: Positions::new("".into()),
            shared: None,
            untold: false,
            window,
            recent: Recent::default(),
            batches: (0..shards).map(|_| Vec::new()).collect(),
            stats: RouterStats::default(),
        }
    }

    /// Registers a connection, with its first subscription if it comes with one: everything routed from
    /// here on reaches it.
    pub fn open(
        &mut self,
        shard: ShardIndex,
        id: ConnectionId,
        opening: Opening,
        subscription: Option<Subscription>,
    ) {
        if let Some(subscription) = &subscription {
            self.interest.add(shard, &subscription.definition);
        }
        let positions = self.share();
        let subscription = subscription.map(Box::new);
        self.push(shard, ShardItem::Open(id, Box::new(opening), subscription, positions));
    }

    /// Registers one more subscription of a connection.
    pub fn subscribe(&mut self, shard: ShardIndex, id: ConnectionId, subscription: Subscription) {
        self.interest.add(shard, &subscription.definition);
        let positions = self.share();
        self.push(shard, ShardItem::Subscribe(id, Box::new(subscription), positions));
    }

    /// Ends a subscription of a connection, in its turn. The shard answers with what it detached.
    pub fn unsubscribe(&mut self, shard: ShardIndex, id: ConnectionId, sub: SubId) {
        self.push(shard, ShardItem::Unsubscribe(id, sub));
    }

    /// Changes the field list of a subscription, in its turn.
    pub fn set_mask(
        &mut self,
        shard: ShardIndex,
        id: ConnectionId,
        sub: SubId,
        mask: Option<FieldMask>,
    ) {
        self.push(shard, ShardItem::SetMask(id, sub, mask));
    }

    /// Changes the rights of a connection, in its turn.
    pub fn set_class(&mut self, shard: ShardIndex, id: ConnectionId, class: PermissionClass) {
        self.push(shard, ShardItem::SetClass(id, class));
    }

    /// Takes a subscription out of the interest table; its shard has forgotten it already.
    pub fn detach(&mut self, shard: ShardIndex, definition: &Definition) {
        self.interest.remove(shard, definition);
    }

    /// Tells every shard where the router stands, if that has moved since it was told last. Call it
    /// several times a second: cursors of idle subscriptions rest on it.
    pub fn tick(&mut self) {
        if std::mem::take(&mut self.untold) {
            let positions = self.share();
            self.push_all(|| ShardItem::Tick(Arc::clone(&positions)));
        }
    }

    /// Takes one event of the log.
    pub fn handle(&mut self, event: &LogEvent<'_>) -> Routed {
        match event {
            LogEvent::Record(record) => {
                let position = Position { next: record.offset.next(), epoch: record.leader_epoch };
                self.move_to(record.partition, position);
                self.stats.received += 1;
                // Before it is routed: the window reaches at least as far as any shard.
                self.window.append(record);
                return self.route(record).unwrap_or_else(|reason| {
                    self.stats.poison += 1;
                    let id = FrameId { partition: record.partition, offset: record.offset };
                    Routed::Poison(Poison { id, reason })
                });
            }
            LogEvent::Topic(id) => {
                if **self.positions.topic() != **id {
                    self.positions = Positions::new((*id).into());
                    self.moved();
                    // Before any record of it: a cursor must not name another life of the topic.
                    self.tick();
                }
            }
            LogEvent::EndOfPartition { partition, next } => {
                let epoch =
                    self.positions.get(*partition).map_or(LeaderEpoch::UNKNOWN, |p| p.epoch);
                self.move_to(*partition, Position { next: *next, epoch });
                self.window.pass(*partition, *next);
            }
            LogEvent::Assigned { partition, next } => {
                self.move_to(*partition, Position::at(*next));
                self.window.pass(*partition, *next);
            }
            LogEvent::Gap { partition, next, reason } => {
                self.move_to(*partition, Position::at(*next));
                self.window.reset(*partition, *next);
                // What was cut off may be published anew, for those who came in between.
                if *reason == GapReason::Truncated {
                    self.recent.clear();
                }
                self.gap(*reason);
            }
            LogEvent::Recreated => {
                self.positions = Positions::new("".into());
                self.moved();
                self.window.clear();
                self.recent.clear();
                self.gap(GapReason::Recreated);
            }
            LogEvent::Fault(_) | LogEvent::Recovered => {}
        }
        Routed::Note
    }

    fn move_to(&mut self, partition: Partition, position: Position) {
        self.positions.set(partition, position);
        self.moved();
    }

    fn moved(&mut self) {
        self.shared = None;
        self.untold = true;
    }

    fn gap(&mut self, reason: GapReason) {
        let positions = self.share();
        self.push_all(|| ShardItem::Gap(reason, Arc::clone(&positions)));
    }

    fn route(&mut self, record: &LogRecord<'_>) -> Result<Routed, RecordError> {
        match decode(&self.interest, &mut self.recent, record)? {
            Decoded::Unwanted => Ok(Routed::To(0)),
            Decoded::Repeated => {
                self.stats.repeated += 1;
                Ok(Routed::Repeated)
            }
            Decoded::Stale => {
                self.stats.stale += 1;
                Ok(Routed::Stale)
            }
            Decoded::Event(event, shards) => {
                let event = Arc::new(*event);
                for (shard, batch) in self.batches.iter_mut().enumerate() {
                    if shards >> shard & 1 == 1 {
                        batch.push(ShardItem::Event(Arc::clone(&event)));
                    }
                }
                self.stats.routed += 1;
                Ok(Routed::To(shards.count_ones()))
            }
        }
    }

    fn push(&mut self, shard: ShardIndex, item: ShardItem) {
        if let Some(batch) = self.batches.get_mut(usize::from(shard)) {
            batch.push(item);
        }
    }

    fn push_all(&mut self, item: impl Fn() -> ShardItem) {
        for batch in &mut self.batches {
            batch.push(item());
        }
    }

    /// The positions, shared until they move.
    pub fn share(&mut self) -> Arc<Positions> {
        let positions = &self.positions;
        Arc::clone(self.shared.get_or_insert_with(|| Arc::new(positions.clone())))
    }

    /// Takes what has gathered for a shard.
    #[must_use]
    pub fn take_batch(&mut self, shard: ShardIndex) -> Vec<ShardItem> {
        self.batches.get_mut(usize::from(shard)).map(std::mem::take).unwrap_or_default()
    }

    /// How many items have gathered for all shards together.
    #[must_use]
    pub fn gathered(&self) -> usize {
        self.batches.iter().map(Vec::len).sum()
    }

    /// The next offset in each partition: all records before it have been routed.
    #[must_use]
    pub const fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Counts since the start.
    #[must_use]
    pub const fn stats(&self) -> RouterStats {
        self.stats
    }

    /// How many subscriptions the replica has.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.interest.len()
    }
}
