//! A router by hand, one shard, and clients.

mod desk;
mod peer;
mod side;

use std::collections::HashMap;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use socket2::SockRef;
use tidewire_event::{CursorKey, NextOffset, Partition, Position, Positions, Tenant};
use tidewire_fields::{FieldList, FieldMask, Parsed, Scope};
use tidewire_log::LogEvent;
use tidewire_model::Model;
use tidewire_rights::{PermissionClass, Principal, RightsOptions, TypeRights};
use tidewire_router::{
    ConnectionId, Detached, Fold, FoldTooLarge, Framing, OnSlow, Opening, Router, SelfLinks,
    ShardIndex, ShardLimits, ShardSettings, ShardStats, Snapshot, Start, Subscription, Window,
};
use tidewire_runtime::{Shutdown, Tasks};
use tidewire_sockets::{
    Adoption, Command, Leavers, Observer, Ports, ShardHandle, ShardOptions, Shards, Stream,
};
use tidewire_wire::definition::{Definition, EventSet, KeySelector, TypeSelector};
use tidewire_wire::ws::Limits;

use self::desk::{Change, Desk};
pub(crate) use self::peer::{Peer, cursor, masked, member, offset};
pub(crate) use self::side::Watch;
use self::side::{Side, side};

/// How long a test waits before it calls what it waits for lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The offset of the first change.
pub(crate) const FIRST: i64 = 1_000;
/// Which life of the topic it is.
const TOPIC: &str = "the topic";

pub(crate) fn options() -> ShardOptions {
    ShardOptions {
        limits: Limits { frame_bytes_max: 1024, message_bytes_max: 2048 },
        ping_interval: Duration::from_secs(600),
        pong_timeout: Duration::from_secs(600),
        linger: PATIENCE,
        inbound_messages_per_minute: 1000,
        commands_max: 1024,
    }
}

pub(crate) fn cursor_key() -> CursorKey {
    CursorKey::derive(b"a secret of the tests")
}

/// Takes what ends, but says so many times that it has no room.
struct Exit {
    refusals: AtomicUsize,
    left: Sender<Detached>,
}

impl Leavers for Exit {
    fn left(&self, _: ShardIndex, detached: Detached) -> Result<(), Detached> {
        let refuse = |n: usize| n.checked_sub(1);
        if self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse).is_ok() {
            return Err(detached);
        }
        self.left.try_send(detached).map_err(|e| e.into_inner())
    }
}

struct Nobody;

impl Observer for Nobody {
    fn delivered(&self, _: i64) {}

    fn broken(&self, _: &tidewire_router::RoutedEvent) {}
}

pub(crate) struct Bed {
    pub(crate) shards: Shards,
    pub(crate) desk: Arc<Desk>,
    model: Arc<Model>,
    router: Router,
    class: PermissionClass,
    mask: FieldMask,
    left: Receiver<Detached>,
    listener: TcpListener,
    next_id: u64,
    offset: i64,
    _tasks: Tasks,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.shard().send(Command::Stop);
    }
}

impl Bed {
    pub(crate) fn new(options: ShardOptions, queue_bytes_max: usize) -> Self {
        Self::with(options, queue_bytes_max, 32 << 20, 0)
    }

    /// A bed whose window keeps so much, and whose router says so often that it has no room.
    pub(crate) fn with(
        options: ShardOptions,
        queue_bytes_max: usize,
        window_bytes_max: usize,
        refusals: usize,
    ) -> Self {
        let model = Arc::new(Model::vms());
        let window = Arc::new(Window::new(window_bytes_max));
        let settings = ShardSettings {
            model: Arc::clone(&model),
            links: Arc::new(SelfLinks::new("https://vms.example.com", HashMap::new())),
            limits: ShardLimits {
                queue_bytes_max,
                slow_grace_ms: 0,
                backlog_bytes_max: 1 << 20,
                replay_bytes_per_second: 1 << 40,
            },
            window: Arc::clone(&window),
            cursor_key: cursor_key(),
        };
        let (sender, left) = bounded(4096);
        let desk = Arc::new(Desk::default());
        let ports = Ports {
            leavers: Arc::new(Exit { refusals: AtomicUsize::new(refusals), left: sender }),
            observer: Arc::new(Nobody),
            history: Arc::<Desk>::clone(&desk),
        };
        let tasks = Tasks::new(Shutdown::new());
        let shards = Shards::start("shard", 1, options, &settings, &ports, &tasks).unwrap();
        assert!(desk.shard.set(shards.handles()[0].clone()).is_ok());
        let Parsed::List(list) = FieldList::parse(r#"{"createdById":"*"}"#).unwrap() else {
            panic!("no list")
        };
        let mut router = Router::new(Arc::clone(&model), 1, window);
        router.handle(&LogEvent::Topic(TOPIC));
        router.handle(&LogEvent::Assigned { partition: Partition(0), next: NextOffset(FIRST) });
        Self {
            shards,
            desk,
            router,
            class: class(),
            mask: FieldMask::compile(&list, &model, Scope::Any, &|_| true).unwrap(),
            model,
            left,
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            next_id: 1,
            offset: FIRST,
            _tasks: tasks,
        }
    }

    pub(crate) fn shard(&self) -> &ShardHandle {
        &self.shards.handles()[0]
    }

    /// A subscription to all voyages.
    pub(crate) fn subscription(&self, masked: bool) -> Subscription {
        let definition = Definition {
            tenant: Tenant::new("acme").unwrap(),
            types: TypeSelector::parse("Voyage").unwrap(),
            events: EventSet::ALL,
            keys: KeySelector::Any,
            only_main_object: false,
            live_references: true,
        };
        Subscription {
            definition: Arc::new(definition),
            mask: masked.then(|| self.mask.clone()),
            class: self.class.clone(),
            sub: None,
            start: Start::Now,
            snapshot: false,
            on_slow: OnSlow::Disconnect,
        }
    }

    /// The same under a name of `tidewire.v1`.
    pub(crate) fn named(&self, sub: &str, start: Start) -> Subscription {
        Subscription { sub: Some(sub.into()), start, ..self.subscription(false) }
    }

    pub(crate) fn open(
        &mut self,
        framing: Framing,
        proves: bool,
        subscription: Option<Subscription>,
    ) -> ConnectionId {
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        self.router.open(0, id, Opening { framing, proves, greeting: Vec::new() }, subscription);
        self.carry();
        id
    }

    /// Attaches a connection to all voyages.
    pub(crate) fn attach(&mut self, framing: Framing, masked: bool) -> ConnectionId {
        let subscription = self.subscription(masked);
        self.open(framing, false, Some(subscription))
    }

    pub(crate) fn subscribe(&mut self, id: ConnectionId, subscription: Subscription) {
        self.router.subscribe(0, id, subscription);
        self.carry();
    }

    pub(crate) fn pair(&self) -> (TcpStream, TcpStream) {
        let ours = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        let theirs = self.listener.accept().unwrap().0;
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        ours.set_nodelay(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        (ours, theirs)
    }

    /// Hands a stream over.
    pub(crate) fn adopt(
        &self,
        id: ConnectionId,
        stream: Stream,
        early: &[u8],
        until: i64,
    ) -> Watch {
        self.adopt_with(id, stream, early, until, |_| {})
    }

    pub(crate) fn adopt_with(
        &self,
        id: ConnectionId,
        stream: Stream,
        early: &[u8],
        until: i64,
        change: impl FnOnce(&mut Side),
    ) -> Watch {
        let (mut side, permit, watch) = side(self.mask.clone(), until);
        change(&mut side);
        assert!(self.shard().send(Command::Adopt(Box::new(Adoption {
            id,
            stream,
            early: Bytes::copy_from_slice(early),
            client: Arc::new(side),
            permit: Box::new(permit),
        }))));
        watch
    }

    /// Gives a connection a plain stream.
    pub(crate) fn join(&self, id: ConnectionId) -> (Peer<TcpStream>, Watch) {
        let (ours, theirs) = self.pair();
        let watch = self.adopt(id, Stream::plain(theirs), &[], i64::MAX);
        (Peer::new(ours), watch)
    }

    /// The same with small buffers on the way: it blocks soon. (The receiving one holds a few segments of
    /// loopback, of 64 KiB each; with less, TCP moves by its timers.)
    pub(crate) fn join_narrow(&self, id: ConnectionId) -> (Peer<TcpStream>, Watch) {
        let (ours, theirs) = self.pair();
        SockRef::from(&theirs).set_send_buffer_size(16 * 1024).unwrap();
        SockRef::from(&ours).set_recv_buffer_size(256 * 1024).unwrap();
        let watch = self.adopt(id, Stream::plain(theirs), &[], i64::MAX);
        (Peer::new(ours), watch)
    }

    /// A plain connection that is all there.
    pub(crate) fn connect(&mut self) -> (Peer<TcpStream>, Watch) {
        let id = self.attach(Framing::WebSocket, false);
        self.join(id)
    }

    pub(crate) fn connect_until(&mut self, until: i64, early: &[u8]) -> (Peer<TcpStream>, Watch) {
        let id = self.attach(Framing::WebSocket, false);
        let (ours, theirs) = self.pair();
        let watch = self.adopt(id, Stream::plain(theirs), early, until);
        (Peer::new(ours), watch)
    }

    /// A change of voyage 5, with so many bytes in its body.
    pub(crate) fn event(&mut self, bytes: usize) {
        self.change(5, bytes);
    }

    /// A change of a voyage.
    pub(crate) fn change(&mut self, key: u64, bytes: usize) {
        let filler = "x".repeat(bytes);
        let change = Change {
            offset: self.offset,
            key: format!("acme/Voyage/{key}"),
            body: format!(r#"{{"new":{{"key":{key},"createdById":"{filler}"}}}}"#),
        };
        self.offset += 1;
        self.router.handle(&LogEvent::Record(change.record()));
        self.desk.log.lock().unwrap().push(change);
        self.carry();
    }

    /// The voyages as they stand, and the router's positions.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        let limit = FoldTooLarge { objects_max: 100, bytes_max: 1 << 20 };
        let definition = self.subscription(false).definition;
        let mut fold = Fold::new(Arc::clone(&self.model), &definition, limit);
        for change in self.desk.log.lock().unwrap().iter() {
            fold.take(&change.record()).unwrap();
        }
        Snapshot { objects: fold.finish(), positions: self.router.share(), complete: true }
    }

    fn carry(&mut self) {
        let batch = self.router.take_batch(0);
        if !batch.is_empty() {
            assert!(self.shard().send(Command::Batch(batch)));
        }
    }

    /// Waits until so many subscriptions were told of as ended.
    pub(crate) fn left(&self, count: usize) {
        for _ in 0..count {
            self.left.recv_timeout(PATIENCE).expect("the router was not told");
        }
        assert!(self.left.try_recv().is_err(), "told of more than there were");
    }

    /// Waits until the shard's counts are as wanted.
    pub(crate) fn until(&self, wanted: impl Fn(&ShardStats) -> bool) -> ShardStats {
        let until = Instant::now() + PATIENCE;
        loop {
            let stats = self.shard().stats();
            if wanted(&stats) {
                return stats;
            }
            assert!(Instant::now() < until, "never came: {stats:?}");
            std::thread::yield_now();
        }
    }

    /// Waits until the shard says that it has nobody left.
    pub(crate) fn assert_empty(&self) {
        self.until(|stats| {
            let gauges = (stats.connections, stats.views, stats.queued_bytes, stats.backlog_bytes);
            gauges == (0, 0, 0, 0)
        });
    }
}

/// Positions with this next offset in the only partition.
pub(crate) fn at(next: i64) -> Start {
    let mut positions = Positions::new(TOPIC.into());
    positions.set(Partition(0), Position::at(NextOffset(next)));
    Start::At(Arc::new(positions))
}

fn class() -> PermissionClass {
    TypeRights::new(&RightsOptions::open()).unwrap().permission_class(&Principal {
        tenant: Tenant::new("acme").unwrap(),
        id: Arc::from("user:1"),
        user_key: Some(1),
        roles: Vec::new(),
        business_units: Vec::new(),
        expires_at: i64::MAX,
        issued_at: None,
        token_id: None,
    })
}

pub(crate) fn unix_seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}
