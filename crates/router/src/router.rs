//! The router: records and registrations in one order, in; routed items per shard, out.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidewire_event::{
    FrameId, NextOffset, ObjectType, Partition, RecordError, RecordHeader, RecordKey,
    percent_encode,
};
use tidewire_log::{LogEvent, LogRecord};
use tidewire_model::Model;
use tidewire_wire::definition::Definition;

use crate::ShardIndex;
use crate::event::{OwnerRef, RoutedEvent};
use crate::interest::InterestTable;
use crate::recent::RecentChanges;
use crate::view::{ConnectionId, Subscription};

/// The `source` of records whose header names every owner that the images tell.
pub const SOURCE_CAPTURE: &str = "capture";

/// What a shard is handed, in order.
#[derive(Debug)]
pub enum ShardItem {
    /// A change event that somebody on the shard may want.
    Event(Arc<RoutedEvent>),
    /// A connection whose subscription holds from here on.
    Attach(ConnectionId, Box<Subscription>),
    /// Changes may be missing: every connection is told.
    Gap,
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
    /// Records that went to quarantine.
    pub poison: u64,
}

/// The router of a replica. It has one owner, which feeds it and carries its batches to the shards.
#[derive(Debug)]
pub struct Router {
    interest: InterestTable,
    positions: BTreeMap<Partition, NextOffset>,
    recent: RecentChanges,
    batches: Vec<Vec<ShardItem>>,
    stats: RouterStats,
}

impl Router {
    /// A router in front of `shards` shards.
    #[must_use]
    pub fn new(model: Arc<Model>, shards: ShardIndex) -> Self {
        Self {
            interest: InterestTable::new(model),
            positions: BTreeMap::new(),
            recent: RecentChanges::default(),
            batches: (0..shards).map(|_| Vec::new()).collect(),
            stats: RouterStats::default(),
        }
    }

    /// Applies a registration: everything routed from here on reaches the connection.
    pub fn subscribe(&mut self, shard: ShardIndex, id: ConnectionId, subscription: Subscription) {
        self.interest.add(shard, &subscription.definition);
        self.push(shard, ShardItem::Attach(id, Box::new(subscription)));
    }

    /// Takes a subscription out of the interest table; its shard has forgotten it already.
    pub fn unsubscribe(&mut self, shard: ShardIndex, definition: &Definition) {
        self.interest.remove(shard, definition);
    }

    /// Takes one event of the log.
    pub fn handle(&mut self, event: &LogEvent<'_>) -> Routed {
        match event {
            LogEvent::Record(record) => {
                self.positions.insert(record.partition, record.offset.next());
                self.stats.received += 1;
                let id = FrameId { partition: record.partition, offset: record.offset };
                return self.route(id, record).unwrap_or_else(|reason| {
                    self.stats.poison += 1;
                    Routed::Poison(Poison { id, reason })
                });
            }
            LogEvent::EndOfPartition { partition, next }
            | LogEvent::Assigned { partition, next } => {
                self.positions.insert(*partition, *next);
            }
            LogEvent::Gap { partition, next, .. } => {
                self.positions.insert(*partition, *next);
                self.gap();
            }
            LogEvent::Recreated => {
                self.positions.clear();
                self.recent.clear();
                self.gap();
            }
            LogEvent::Fault(_) | LogEvent::Recovered => {}
        }
        Routed::Note
    }

    fn gap(&mut self) {
        for batch in &mut self.batches {
            batch.push(ShardItem::Gap);
        }
    }

    fn route(&mut self, id: FrameId, record: &LogRecord<'_>) -> Result<Routed, RecordError> {
        if record.header_count > 1 {
            return Err(RecordError::ManyHeaders);
        }
        let raw_key = record.key.ok_or(RecordError::NoKey)?;
        let key = RecordKey::parse(raw_key)?;
        let header = RecordHeader::of_record(record.header, record.payload.is_some())?;
        self.interest.check_key(key.object_type, &key.key)?;
        // The table is keyed by the record key's own spelling; `parse` has accepted only that.
        let tenant = percent_encode(&key.tenant);
        let raw_object = percent_encode(&key.key);
        let wanted = self.interest.wanted(&tenant, key.object_type, &raw_object, &header.owners);
        let Some(wanted) = wanted else { return Ok(Routed::To(0)) };
        let mut shards = wanted.direct | wanted.named;
        // Capture has read the images: its list of owners is whole. Of another producer's records the
        // shards look into the images themselves, and share one parse.
        let look_for_owners = wanted.from_above != 0
            && record.payload.is_some()
            && header.source.as_deref() != Some(SOURCE_CAPTURE);
        if look_for_owners {
            shards |= wanted.from_above;
        }
        if shards == 0 {
            return Ok(Routed::To(0));
        }
        let object_key = wanted
            .route
            .parse_key(&key.key)
            .ok_or(RecordError::Id("the object key", tidewire_event::IdError::IntegerKey))?;
        let owners =
            if wanted.named | wanted.from_above == 0 { Vec::new() } else { self.owners(&header)? };
        if let Some(change_id) = header.change_id.as_deref()
            && !self.recent.insert(raw_key, change_id)
        {
            self.stats.repeated += 1;
            return Ok(Routed::Repeated);
        }
        let event = Arc::new(RoutedEvent::new(
            id,
            record.timestamp_ms,
            header.operation,
            wanted.route,
            object_key,
            header.old_image,
            owners.into_boxed_slice(),
            look_for_owners,
            record.payload.map(Bytes::copy_from_slice),
        ));
        for (shard, batch) in self.batches.iter_mut().enumerate() {
            if shards >> shard & 1 == 1 {
                batch.push(ShardItem::Event(Arc::clone(&event)));
            }
        }
        self.stats.routed += 1;
        Ok(Routed::To(shards.count_ones()))
    }

    fn owners(&self, header: &RecordHeader<'_>) -> Result<Vec<OwnerRef>, RecordError> {
        let mut owners = Vec::with_capacity(header.owners.len());
        for owner in &header.owners {
            let object_type = ObjectType::new(owner.object_type).map_err(|_| RecordError::Owner)?;
            let key =
                self.interest.parse_key(&object_type, &owner.key).ok_or(RecordError::Owner)?;
            owners.push(OwnerRef { object_type, key });
        }
        Ok(owners)
    }

    fn push(&mut self, shard: ShardIndex, item: ShardItem) {
        if let Some(batch) = self.batches.get_mut(usize::from(shard)) {
            batch.push(item);
        }
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
    pub const fn positions(&self) -> &BTreeMap<Partition, NextOffset> {
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
