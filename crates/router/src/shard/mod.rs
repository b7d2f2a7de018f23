//! One shard: the connections of one thread, their views, and what each has still to be sent.
//!
//! The owner feeds it [`ShardItem`]s in order, tells it which streams have come, gone or become writable,
//! and lets it [`flush`](ShardCore::flush) in slices. What the owner has to act upon (a connection too
//! slow, failed, or sent to its end) comes back as a [`Notice`].

mod connection;
mod events;
mod far;
mod flush;
mod lane;
mod replay;
mod scan;
mod snapshot;
mod stamp;
mod throttle;
mod words;

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use slab::Slab;
use tidewire_event::{CursorKey, Positions, Tenant};
use tidewire_log::GapReason as LogGap;
use tidewire_model::Model;
use tidewire_wire::definition::Definition;
use tidewire_wire::frame::{alert_suffix, subscription_suffix};
use tidewire_wire::v1;

use crate::encode::Encoders;
use crate::event::RoutedEvent;
use crate::interest::InterestTable;
use crate::links::SelfLinks;
use crate::matching::{Role, RouteTable};
use crate::router::ShardItem;
use crate::view::{ConnectionId, Framing, View, ViewKey};
use crate::window::Window;

use connection::Connection;
pub use connection::{Keep, Notice};
pub use far::{HistoryOutcome, HistoryReply};
pub use flush::{Sink, Written};
pub use lane::Detached;
use lane::Lane;
use replay::Replay;
pub use snapshot::{Snapshot, SnapshotId};
use stamp::Marks;
pub use stamp::Proof;
use words::word_of;

/// So many logs of views should fit into the queue of one socket.
const LOGS_IN_QUEUE: usize = 4;

/// Bounds of a shard.
#[derive(Clone, Copy, Debug)]
pub struct ShardLimits {
    /// Most bytes that may wait for one connection: see [`ShardLimits::slow_grace_ms`].
    pub queue_bytes_max: usize,
    /// A connection for which more waits goes back to catching up; for so long, then it is too slow. 0: it
    /// is at once.
    pub slow_grace_ms: u64,
    /// With so many bytes in the logs of its views, the shard wants no more events for now.
    pub backlog_bytes_max: usize,
    /// Most bytes a second that subscriptions of one tenant are sent while they catch up.
    pub replay_bytes_per_second: u64,
}

/// The owner's clocks: a shard has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Milliseconds since the Unix epoch, for the date of an error.
    pub wall_ms: i64,
    /// Milliseconds of a clock that never goes back, for intervals.
    pub mono_ms: u64,
}

/// What a shard asks of its owner.
#[derive(Clone, Debug)]
pub enum Want {
    /// Records that the window does not hold: see [`ShardCore::history`].
    History {
        /// In which life of the topic.
        topic: tidewire_event::TopicId,
        /// From where.
        request: tidewire_log::HistoryRequest,
    },
    /// A snapshot for a subscription: see [`ShardCore::snapshot`].
    Snapshot {
        /// Of which connection.
        id: ConnectionId,
        /// What the answer is known by.
        snapshot: SnapshotId,
        /// What the subscription is for.
        definition: Arc<Definition>,
    },
}

/// What all shards of a replica have in common.
#[derive(Clone, Debug)]
pub struct ShardSettings {
    /// The data model.
    pub model: Arc<Model>,
    /// Where `self` links start.
    pub links: Arc<SelfLinks>,
    /// Bounds.
    pub limits: ShardLimits,
    /// The tail of the log.
    pub window: Arc<Window>,
    /// What cursors are signed with.
    pub cursor_key: CursorKey,
}

/// Counts since the start, and gauges of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardStats {
    /// Messages put on their way to WebSockets.
    pub web_socket_messages: u64,
    /// Messages put on their way to sockets of `tidewire.v1`.
    pub v1_messages: u64,
    /// Messages put on their way to event streams.
    pub event_stream_messages: u64,
    /// Bytes that the sink took.
    pub bytes: u64,
    /// Views.
    pub views: usize,
    /// Connections.
    pub connections: usize,
    /// Subscriptions that are catching up.
    pub readers: usize,
    /// Passes over the window that were begun.
    pub window_passes: u64,
    /// Records that passes looked at, in the window and in what was read from Kafka.
    pub replay_records: u64,
    /// Messages that were sent to subscriptions which catch up.
    pub replay_messages: u64,
    /// Subscriptions that have caught up.
    pub caught_up: u64,
    /// Gaps that single subscriptions were told.
    pub gaps: u64,
    /// Frames that were merged away for slow clients.
    pub conflated: u64,
    /// Live subscriptions that went back to catching up, since their queue was full.
    pub fell_back: u64,
    /// Alerts that were sent, live, and whose record holds no image of the change.
    pub alerts_without_images: u64,
    /// Bytes in the connections' own queues.
    pub queued_bytes: usize,
    /// Bytes in the logs of views, which some connections have still to be sent.
    pub backlog_bytes: usize,
}

impl std::ops::AddAssign for ShardStats {
    /// The stats of several shards together.
    fn add_assign(&mut self, other: Self) {
        let Self {
            web_socket_messages,
            v1_messages,
            event_stream_messages,
            bytes,
            views,
            connections,
            readers,
            window_passes,
            replay_records,
            replay_messages,
            caught_up,
            gaps,
            conflated,
            fell_back,
            alerts_without_images,
            queued_bytes,
            backlog_bytes,
        } = other;
        self.web_socket_messages += web_socket_messages;
        self.v1_messages += v1_messages;
        self.event_stream_messages += event_stream_messages;
        self.bytes += bytes;
        self.views += views;
        self.connections += connections;
        self.readers += readers;
        self.window_passes += window_passes;
        self.replay_records += replay_records;
        self.replay_messages += replay_messages;
        self.caught_up += caught_up;
        self.gaps += gaps;
        self.conflated += conflated;
        self.fell_back += fell_back;
        self.alerts_without_images += alerts_without_images;
        self.queued_bytes += queued_bytes;
        self.backlog_bytes += backlog_bytes;
    }
}

impl ShardStats {
    const fn count(&mut self, framing: Framing, messages: u64) {
        match framing {
            Framing::WebSocket => self.web_socket_messages += messages,
            Framing::V1 => self.v1_messages += messages,
            Framing::EventStream => self.event_stream_messages += messages,
        }
    }
}

/// A shard.
#[derive(Debug)]
pub struct ShardCore {
    settings: ShardSettings,
    routes: RouteTable,
    encoders: Encoders,
    views: Slab<View>,
    view_index: HashMap<ViewKey, usize>,
    connections: Slab<Connection>,
    lanes: Slab<Lane>,
    by_id: HashMap<ConnectionId, usize>,
    /// Everything before them that concerns the shard has been applied.
    positions: Positions,
    /// How many gaps were applied: what the window holds behind one that was not is not for this shard.
    generation: u64,
    /// The positions as they were shared last; `None` once they have moved.
    shared: Option<Arc<Positions>>,
    /// The text of the cursor of these positions, for each tenant.
    cursors: HashMap<Tenant, Arc<str>>,
    marks: Marks,
    /// Views with events behind which a mark or cursor is to follow.
    unstamped: Vec<usize>,
    /// Connections that wait for a record to pass.
    awaiting: Vec<ConnectionId>,
    replay: Replay,
    /// Subscriptions that have ended, for the router.
    detached: Vec<Detached>,
    wants: Vec<Want>,
    proofs: Vec<Proof>,
    /// Views with few members to flush, then those with many: a broadcast must not delay the rest.
    dirty_small: VecDeque<usize>,
    dirty_large: VecDeque<usize>,
    /// Connections whose own queue may be written.
    ready: VecDeque<usize>,
    notices: Vec<Notice>,
    /// Connections whose queue has grown beyond its bound in this turn.
    over: Vec<usize>,
    /// Events whose body a field list needed and that was broken; this shard found it first.
    broken: Vec<Arc<RoutedEvent>>,
    /// Buffers of views that have nothing to send.
    pool: Vec<Vec<u8>>,
    matched: Vec<(usize, Role)>,
    scratch: Vec<u8>,
    stamp: u64,
    /// Views whose log is longer than a socket that blocks should be handed at once.
    long_views: usize,
    stats: ShardStats,
}

impl ShardCore {
    /// An empty shard.
    #[must_use]
    pub fn new(settings: ShardSettings) -> Self {
        let encoders = Encoders::new(Arc::clone(&settings.links));
        let replay = Replay::new(InterestTable::new(Arc::clone(&settings.model)));
        Self {
            settings,
            routes: RouteTable::default(),
            encoders,
            views: Slab::new(),
            view_index: HashMap::new(),
            connections: Slab::new(),
            lanes: Slab::new(),
            by_id: HashMap::new(),
            positions: Positions::new("".into()),
            generation: 0,
            shared: None,
            cursors: HashMap::new(),
            marks: Marks::default(),
            unstamped: Vec::new(),
            awaiting: Vec::new(),
            replay,
            detached: Vec::new(),
            wants: Vec::new(),
            proofs: Vec::new(),
            dirty_small: VecDeque::new(),
            dirty_large: VecDeque::new(),
            ready: VecDeque::new(),
            notices: Vec::new(),
            over: Vec::new(),
            broken: Vec::new(),
            pool: Vec::new(),
            matched: Vec::new(),
            scratch: Vec::new(),
            stamp: 0,
            long_views: 0,
            stats: ShardStats::default(),
        }
    }

    /// Takes what the router has routed, in order.
    pub fn apply(&mut self, item: ShardItem, now: Now) {
        match item {
            ShardItem::Event(event) => self.event(&event, now),
            ShardItem::Open(id, opening, subscription, registered) => {
                self.open(id, *opening, subscription, &registered, now);
            }
            ShardItem::Subscribe(id, subscription, registered) => {
                match self.slot(id).filter(|slot| self.framing(*slot).is_some()) {
                    Some(slot) => self.add_lane(slot, *subscription, &registered, now),
                    // Its connection has gone: the router is to forget it again.
                    None => {
                        let definition = subscription.definition;
                        self.detached.push(Detached { id, definition });
                    }
                }
            }
            ShardItem::Unsubscribe(id, sub) => self.unsubscribe(id, &sub, now),
            ShardItem::SetMask(id, sub, mask) => {
                if let Some(slot) = self.slot(id) {
                    self.set_mask(slot, Some(&sub), mask);
                }
            }
            ShardItem::SetClass(id, class) => {
                if let Some(slot) = self.slot(id)
                    && !self.set_class(slot, &class, now)
                {
                    self.notices.push(Notice::Judged(slot));
                }
            }
            ShardItem::Tick(positions) => self.take_positions(&positions),
            ShardItem::Gap(reason, positions) => self.gap(reason, &positions, now),
        }
        if !self.over.is_empty() {
            self.fall_back(now);
        }
    }

    /// Moves the shard's positions on to the router's.
    fn take_positions(&mut self, positions: &Arc<Positions>) {
        if self.positions == **positions {
            return;
        }
        if self.positions.topic() == positions.topic() {
            self.positions.advance_all(positions);
        } else {
            self.positions = (**positions).clone();
            self.begin_topic();
        }
        self.moved();
    }

    fn moved(&mut self) {
        self.shared = None;
        self.cursors.clear();
    }

    fn share_positions(&mut self) -> Arc<Positions> {
        let positions = &self.positions;
        Arc::clone(self.shared.get_or_insert_with(|| Arc::new(positions.clone())))
    }

    /// Every subscription is told that changes may be missing, and goes on from the positions.
    fn gap(&mut self, reason: LogGap, positions: &Arc<Positions>, now: Now) {
        self.positions = (**positions).clone();
        self.moved();
        self.generation += 1;
        // Before live lanes become readers, which would be told twice.
        self.gap_readers(reason, now);
        let views: Vec<usize> = self.views.iter().map(|(index, _)| index).collect();
        for view in views {
            self.append_gap(view, word_of(reason), now);
            let members = self.views.get(view).map(|v| v.members.clone()).unwrap_or_default();
            for lane in members {
                if self.lanes.get(lane).is_some_and(|l| l.wants_snapshot) {
                    self.wait_for_snapshot(lane);
                }
            }
        }
    }

    /// The view with this key, made if it is the first of its kind.
    fn view(&mut self, key: ViewKey) -> usize {
        if let Some(&index) = self.view_index.get(&key) {
            return index;
        }
        let definition = &key.definition;
        let base = self.settings.links.base(&definition.tenant);
        let suffix = match definition.alert_script() {
            Some(_) => alert_suffix(definition.number(), base),
            None => subscription_suffix(definition.number(), base),
        };
        let suffix = match &key.sub {
            Some(sub) => v1::frames::named_suffix(suffix, sub),
            None => suffix,
        };
        let encoder = self.encoders.acquire(key.mask.as_ref(), &key.class);
        let definition = Arc::clone(definition);
        let index = self.views.insert(View::new(key.clone(), encoder, Arc::from(suffix)));
        self.routes.add(index, &definition);
        self.view_index.insert(key, index);
        index
    }

    fn drop_view(&mut self, index: usize) {
        let mut view = self.views.remove(index);
        self.stats.backlog_bytes -= view.log_bytes();
        self.long_views -= usize::from(view.is_long);
        flush::recycle(&mut self.pool, view.take_buffer());
        self.routes.remove(index, &view.key.definition);
        self.encoders.release(view.encoder);
        self.view_index.remove(&view.key);
    }

    /// The slot of a connection.
    #[must_use]
    pub fn slot(&self, id: ConnectionId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// The number of the connection in a slot; `None` once it is closing.
    #[must_use]
    pub fn id(&self, slot: usize) -> Option<ConnectionId> {
        self.connections.get(slot).filter(|c| !c.closing).map(|c| c.id)
    }

    /// True while the logs hold so much that the owner should flush before it brings more events: all
    /// together, or one of them, which would fill the queue of a socket that blocks in one stroke, whatever
    /// its client reads, and unmerged.
    #[must_use]
    pub const fn is_backlogged(&self) -> bool {
        self.stats.backlog_bytes > self.settings.limits.backlog_bytes_max || self.long_views > 0
    }

    /// What the owner has to act upon since it asked last.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Events whose body was needed and broken, since the owner asked last. Of all shards one tells each.
    pub fn take_broken(&mut self) -> Vec<Arc<RoutedEvent>> {
        std::mem::take(&mut self.broken)
    }

    /// Whether somebody who catches up has had written what waited, since the owner asked last: then
    /// [`ShardCore::replay`] has something to do.
    pub fn take_room(&mut self) -> bool {
        std::mem::take(&mut self.replay.has_room)
    }

    /// Subscriptions that have ended since the owner asked last, for the router's table.
    pub fn take_detached(&mut self) -> Vec<Detached> {
        std::mem::take(&mut self.detached)
    }

    /// What is wanted since the owner asked last.
    pub fn take_wants(&mut self) -> Vec<Want> {
        std::mem::take(&mut self.wants)
    }

    /// What clients have proven since the owner asked last.
    pub fn take_proofs(&mut self) -> Vec<Proof> {
        std::mem::take(&mut self.proofs)
    }

    /// Counts and gauges.
    #[must_use]
    pub fn stats(&self) -> ShardStats {
        ShardStats {
            views: self.views.len(),
            connections: self.connections.len(),
            readers: self.replay.readers.len(),
            ..self.stats
        }
    }
}
