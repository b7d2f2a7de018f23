//! One shard: the connections of one thread, their views, and what each has still to be sent.
//!
//! The owner feeds it [`ShardItem`]s in order, tells it which streams have come, gone or become writable,
//! and lets it [`flush`](ShardCore::flush) in slices. What the owner has to act upon (a connection too
//! slow, failed, or sent to its end) comes back as a [`Notice`].

mod connection;
mod flush;

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use slab::Slab;
use tidewire_event::{OldImage, Operation};
use tidewire_model::{Model, TypeDef};
use tidewire_wire::definition::Definition;
use tidewire_wire::error::Notice as WireNotice;
use tidewire_wire::frame::subscription_suffix;

use crate::encode::Encoders;
use crate::event::RoutedEvent;
use crate::links::SelfLinks;
use crate::matching::{Role, RouteTable, owners_of};
use crate::router::ShardItem;
use crate::view::{ConnectionId, Framing, Subscription, View, ViewKey};

use connection::Connection;
pub use connection::{Detached, Keep, Notice};
pub use flush::{Sink, Written};

/// Bounds of a shard.
#[derive(Clone, Copy, Debug)]
pub struct ShardLimits {
    /// Most bytes that may wait for one connection; one more and it is too slow.
    pub queue_bytes_max: usize,
    /// With so many bytes in the logs of its views, the shard wants no more events for now.
    pub backlog_bytes_max: usize,
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
}

/// Counts since the start, and gauges of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardStats {
    /// Messages put on their way to WebSockets.
    pub web_socket_messages: u64,
    /// Messages put on their way to event streams.
    pub event_stream_messages: u64,
    /// Bytes that the sink took.
    pub bytes: u64,
    /// Views.
    pub views: usize,
    /// Connections.
    pub connections: usize,
    /// Bytes in the connections' own queues.
    pub queued_bytes: usize,
    /// Bytes in the logs of views, which some connections have still to be sent.
    pub backlog_bytes: usize,
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
    by_id: HashMap<ConnectionId, usize>,
    /// Views with few members to flush, then those with many: a broadcast must not delay the rest.
    dirty_small: VecDeque<usize>,
    dirty_large: VecDeque<usize>,
    /// Connections whose own queue may be written.
    ready: VecDeque<usize>,
    notices: Vec<Notice>,
    /// Events whose body a field list needed and that was broken; this shard found it first.
    broken: Vec<Arc<RoutedEvent>>,
    /// Buffers of views that have nothing to send.
    pool: Vec<Vec<u8>>,
    matched: Vec<(usize, Role)>,
    scratch: Vec<u8>,
    stamp: u64,
    stats: ShardStats,
}

impl ShardCore {
    /// An empty shard.
    #[must_use]
    pub fn new(settings: ShardSettings) -> Self {
        let encoders = Encoders::new(Arc::clone(&settings.links));
        Self {
            settings,
            routes: RouteTable::default(),
            encoders,
            views: Slab::new(),
            view_index: HashMap::new(),
            connections: Slab::new(),
            by_id: HashMap::new(),
            dirty_small: VecDeque::new(),
            dirty_large: VecDeque::new(),
            ready: VecDeque::new(),
            notices: Vec::new(),
            broken: Vec::new(),
            pool: Vec::new(),
            matched: Vec::new(),
            scratch: Vec::new(),
            stamp: 0,
            stats: ShardStats::default(),
        }
    }

    /// Takes what the router has routed, in order. `now_ms` is the wall clock, for the date of an error.
    pub fn apply(&mut self, item: ShardItem, now_ms: i64) {
        match item {
            ShardItem::Event(event) => self.event(&event, now_ms),
            ShardItem::Attach(id, subscription) => self.attach(id, &subscription),
            ShardItem::Gap => {
                for view in self.views.iter().map(|(index, _)| index).collect::<Vec<_>>() {
                    self.append_gap(view, now_ms);
                }
            }
        }
    }

    fn event(&mut self, event: &Arc<RoutedEvent>, now_ms: i64) {
        if self.is_silent(event) {
            return;
        }
        self.stamp += 1;
        self.encoders.begin();
        let owners = owners_of(event, &self.settings.model);
        let mut matched = std::mem::take(&mut self.matched);
        self.routes.visit(event, &owners, |view, role| matched.push((view, role)));
        let object_type = event.route.object_type.as_str();
        for (index, role) in matched.drain(..) {
            let Some(view) = self.views.get_mut(index) else { continue };
            if view.stamp == self.stamp
                || !role.wanted(&view.key.definition, event.operation)
                || !view.key.class.may_read(object_type)
            {
                continue;
            }
            view.stamp = self.stamp;
            let encoder = view.encoder;
            let sent = match self.encoders.body(encoder, event, role) {
                None => false,
                Some(body) => {
                    let framing = view.key.framing;
                    let suffix = Arc::clone(&view.suffix);
                    let start = view.log_bytes();
                    view.append(&mut self.pool, |log| framing.push(log, body, &suffix));
                    self.appended(index, start);
                    true
                }
            };
            if !sent {
                if event.is_first_report() {
                    self.broken.push(Arc::clone(event));
                }
                self.append_gap(index, now_ms);
            }
        }
        self.matched = matched;
        if event.look_for_owners && event.body().is_err() {
            self.owners_unknown(event, now_ms);
        }
    }

    /// Tells the views of types above that they may have missed a change: its broken body alone knew whose
    /// it is.
    fn owners_unknown(&mut self, event: &Arc<RoutedEvent>, now_ms: i64) {
        let object_type = event.route.object_type.as_str();
        let above = self.settings.model.types_above(object_type);
        let concerned = |view: &View| {
            let definition = &view.key.definition;
            view.stamp != self.stamp
                && definition.tenant == event.route.tenant
                && above.iter().any(|above| definition.types.matches(above.as_str()))
                && Role::Above.wanted(definition, event.operation)
                && view.key.class.may_read(object_type)
        };
        let views: Vec<usize> =
            self.views.iter().filter(|(_, view)| concerned(view)).map(|(index, _)| index).collect();
        if !views.is_empty() && event.is_first_report() {
            self.broken.push(Arc::clone(event));
        }
        for index in views {
            self.append_gap(index, now_ms);
        }
    }

    /// Whether the model says that nobody is told of this update: only members such as remarks differ.
    fn is_silent(&self, event: &RoutedEvent) -> bool {
        let object_type = event.route.object_type.as_str();
        let silent = self.settings.model.type_def(object_type).map_or(&[][..], TypeDef::silent);
        // The names are looked for first: an image without them is not parsed for this.
        if event.operation != Operation::Update
            || event.old_image != OldImage::Full
            || !silent.iter().any(|name| event.mentions(name))
        {
            return false;
        }
        let Ok(Some(body)) = event.body() else { return false };
        match (body.old_image(), body.new_image()) {
            (Some(old), Some(new)) => self.settings.model.is_silent_update(object_type, old, new),
            _ => false,
        }
    }

    /// Tells the connections of a view that changes may be missing.
    fn append_gap(&mut self, index: usize, now_ms: i64) {
        let Some(view) = self.views.get_mut(index) else { return };
        let uri = format!("/ws/rest/WebSocketObjectSubscription/{}", view.key.definition.number());
        let body = WireNotice::Gap.body(now_ms, &uri).to_json();
        let framing = view.key.framing;
        let start = view.log_bytes();
        view.append(&mut self.pool, |log| framing.push_error(log, &body));
        self.appended(index, start);
    }

    /// Accounts for what stands in a view's log from `start` on.
    fn appended(&mut self, index: usize, start: usize) {
        let Some(view) = self.views.get_mut(index) else { return };
        let frames = view.tail(start);
        self.stats.backlog_bytes += frames.len();
        let members = view.members.len();
        match view.key.framing {
            Framing::WebSocket => self.stats.web_socket_messages += members as u64,
            Framing::EventStream => self.stats.event_stream_messages += members as u64,
        }
        if !view.queued.is_empty() {
            let shared: Arc<[u8]> = Arc::from(frames);
            for &slot in &view.queued {
                if let Some(connection) = self.connections.get_mut(slot) {
                    let bytes_max = self.settings.limits.queue_bytes_max;
                    let told = (&mut self.stats, &mut self.notices);
                    connection.push(slot, Arc::clone(&shared), bytes_max, told);
                }
            }
        }
        if !view.dirty {
            view.dirty = true;
            if members > flush::SMALL_VIEW_MEMBERS {
                self.dirty_large.push_back(index);
            } else {
                self.dirty_small.push_back(index);
            }
        }
    }

    /// The view of a subscription, made if it is the first of its kind.
    fn view(&mut self, subscription: &Subscription) -> usize {
        let key = ViewKey::from(subscription);
        if let Some(&index) = self.view_index.get(&key) {
            return index;
        }
        let definition = &subscription.definition;
        let base = self.settings.links.base(&definition.tenant);
        let suffix = Arc::from(subscription_suffix(definition.number(), base));
        let encoder = self.encoders.acquire(subscription.mask.as_ref(), &subscription.class);
        let index = self.views.insert(View::new(key.clone(), encoder, suffix));
        self.routes.add(index, definition);
        self.view_index.insert(key, index);
        index
    }

    fn drop_view(&mut self, index: usize) {
        let mut view = self.views.remove(index);
        self.stats.backlog_bytes -= view.log_bytes();
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

    /// The definition that a connection subscribes to; `None` once it is closing.
    #[must_use]
    pub fn definition(&self, slot: usize) -> Option<&Arc<Definition>> {
        let connection = self.connections.get(slot)?;
        self.views.get(connection.view?).map(|view| &view.key.definition)
    }

    /// True while the logs hold so much that the owner should flush before it brings more events.
    #[must_use]
    pub const fn is_backlogged(&self) -> bool {
        self.stats.backlog_bytes > self.settings.limits.backlog_bytes_max
    }

    /// What the owner has to act upon since it asked last.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Events whose body was needed and broken, since the owner asked last. Of all shards one tells each.
    pub fn take_broken(&mut self) -> Vec<Arc<RoutedEvent>> {
        std::mem::take(&mut self.broken)
    }

    /// Counts and gauges.
    #[must_use]
    pub fn stats(&self) -> ShardStats {
        ShardStats { views: self.views.len(), connections: self.connections.len(), ..self.stats }
    }
}
