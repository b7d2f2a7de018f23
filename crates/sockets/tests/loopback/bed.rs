//! A router by hand, one shard, and clients.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use tidewire_event::{LeaderEpoch, Offset, Partition, Tenant};
use tidewire_fields::{FieldList, FieldMask, Parsed, Scope};
use tidewire_log::{LogEvent, LogRecord};
use tidewire_model::Model;
use tidewire_rights::{PermissionClass, Principal, RightsOptions, TypeRights};
use tidewire_router::{
    ConnectionId, Detached, Framing, Router, SelfLinks, ShardIndex, ShardLimits, ShardSettings,
    Subscription,
};
use tidewire_runtime::{Shutdown, Tasks};
use tidewire_sockets::{
    Adoption, Client, Closed, Command, Leavers, Observer, Reaction, ShardHandle, ShardOptions,
    Shards, Stream,
};
use tidewire_wire::definition::{Definition, EventSet, KeySelector, TypeSelector};
use tidewire_wire::ws::{Limits, client::push_masked};

/// How long a test waits before it calls what it waits for lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

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

/// What the shard's side of a connection said.
pub(crate) struct Side {
    expires_at: i64,
    mask: FieldMask,
    texts: Sender<String>,
    closed: Sender<Closed>,
    /// `wait` makes the shard's thread wait for this.
    gate: Receiver<()>,
}

impl Client for Side {
    fn on_text(&self, text: &str, _: i64) -> Reaction {
        self.texts.send(text.to_owned()).unwrap();
        match text {
            "mask" => Reaction::SetMask(Some(self.mask.clone())),
            "reset" => Reaction::SetMask(None),
            "tell" => Reaction::Tell(br#"{"told":true}"#.to_vec()),
            "wait" => {
                self.gate.recv_timeout(PATIENCE).unwrap();
                Reaction::Ignore
            }
            _ => Reaction::Ignore,
        }
    }

    fn expires_at(&self) -> i64 {
        self.expires_at
    }

    fn on_closed(&self, why: Closed) {
        self.closed.send(why).unwrap();
    }
}

/// Says when it is dropped: nothing of the connection is left then.
struct Permit(Sender<()>);

impl Drop for Permit {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

/// What a test sees of the shard's side.
pub(crate) struct Watch {
    pub(crate) texts: Receiver<String>,
    closed: Receiver<Closed>,
    /// How often `on_closed` was called, as far as the test has looked.
    told: Cell<usize>,
    gone: Receiver<()>,
    pub(crate) gate: Sender<()>,
}

impl Watch {
    pub(crate) fn closed(&self) -> Closed {
        self.told.set(self.told.get() + 1);
        self.closed.recv_timeout(PATIENCE).expect("nobody said that it closed")
    }

    pub(crate) fn closed_already(&self) -> Option<Closed> {
        let why = self.closed.try_recv().ok();
        self.told.set(self.told.get() + usize::from(why.is_some()));
        why
    }

    pub(crate) fn gone(&self) {
        self.gone.recv_timeout(PATIENCE).expect("the permit is still held");
        assert_eq!(self.told.get() + self.closed.try_iter().count(), 1, "told of its end once");
    }

    pub(crate) fn text(&self) -> String {
        self.texts.recv_timeout(PATIENCE).expect("no text came")
    }
}

pub(crate) struct Bed {
    pub(crate) shards: Shards,
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
        Self::with_refusals(options, queue_bytes_max, 0)
    }

    pub(crate) fn with_refusals(options: ShardOptions, bound: usize, refusals: usize) -> Self {
        let model = Arc::new(Model::vms());
        let settings = ShardSettings {
            model: Arc::clone(&model),
            links: Arc::new(SelfLinks::new("https://vms.example.com", HashMap::new())),
            limits: ShardLimits { queue_bytes_max: bound, backlog_bytes_max: 1 << 20 },
        };
        let (sender, left) = bounded(4096);
        let exit = Exit { refusals: AtomicUsize::new(refusals), left: sender };
        let exit: Arc<dyn Leavers> = Arc::new(exit);
        let nobody: Arc<dyn Observer> = Arc::new(Nobody);
        let tasks = Tasks::new(Shutdown::new());
        let shards = Shards::start(1, options, &settings, &exit, &nobody, &tasks).unwrap();
        let Parsed::List(list) = FieldList::parse(r#"{"createdById":"*"}"#).unwrap() else {
            panic!("no list")
        };
        let class = TypeRights::new(&RightsOptions::open()).unwrap().permission_class(&Principal {
            tenant: Tenant::new("acme").unwrap(),
            id: Arc::from("user:1"),
            user_key: Some(1),
            roles: Vec::new(),
            business_units: Vec::new(),
            expires_at: i64::MAX,
            issued_at: None,
            token_id: None,
        });
        Self {
            shards,
            router: Router::new(Arc::clone(&model), 1),
            class,
            mask: FieldMask::compile(&list, &model, Scope::Any, &|_| true).unwrap(),
            left,
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            next_id: 1,
            offset: 1_000,
            _tasks: tasks,
        }
    }

    pub(crate) fn shard(&self) -> &ShardHandle {
        &self.shards.handles()[0]
    }

    /// Attaches a connection to all voyages.
    pub(crate) fn attach(&mut self, framing: Framing, masked: bool) -> ConnectionId {
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        let definition = Definition {
            tenant: Tenant::new("acme").unwrap(),
            types: TypeSelector::parse("Voyage").unwrap(),
            events: EventSet::ALL,
            keys: KeySelector::Any,
            only_main_object: false,
            live_references: true,
        };
        self.router.subscribe(
            0,
            id,
            Subscription {
                definition: Arc::new(definition),
                mask: masked.then(|| self.mask.clone()),
                class: self.class.clone(),
                framing,
                greeting: Vec::new(),
            },
        );
        self.carry();
        id
    }

    pub(crate) fn side(&self, expires_at: i64) -> (Side, Watch) {
        let (texts, texts_seen) = bounded(4096);
        let (closed, closed_seen) = bounded(4);
        let (gate, gate_waited) = bounded(1);
        let (_, gone) = bounded(1);
        let side = Side { expires_at, mask: self.mask.clone(), texts, closed, gate: gate_waited };
        (side, Watch { texts: texts_seen, closed: closed_seen, told: Cell::new(0), gone, gate })
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
        let (side, mut watch) = self.side(until);
        let (gone, seen) = bounded(1);
        watch.gone = seen;
        assert!(self.shard().send(Command::Adopt(Box::new(Adoption {
            id,
            stream,
            early: Bytes::copy_from_slice(early),
            client: Arc::new(side),
            permit: Box::new(Permit(gone)),
        }))));
        watch
    }

    /// A plain connection that is all there.
    pub(crate) fn connect(&mut self) -> (Peer<TcpStream>, Watch) {
        self.connect_until(i64::MAX, &[])
    }

    pub(crate) fn connect_until(&mut self, until: i64, early: &[u8]) -> (Peer<TcpStream>, Watch) {
        let id = self.attach(Framing::WebSocket, false);
        let (ours, theirs) = self.pair();
        let watch = self.adopt(id, Stream::plain(theirs), early, until);
        (Peer::new(ours), watch)
    }

    /// A change of a voyage, with so many bytes in its body.
    pub(crate) fn event(&mut self, bytes: usize) {
        let body = format!(r#"{{"new":{{"key":5,"createdById":"{}"}}}}"#, "x".repeat(bytes));
        self.router.handle(&LogEvent::Record(LogRecord {
            partition: Partition(0),
            offset: Offset(self.offset),
            leader_epoch: LeaderEpoch::UNKNOWN,
            timestamp_ms: 0,
            key: Some(b"acme/Voyage/5"),
            header: Some(b"1;U;;none"),
            header_count: 1,
            payload: Some(body.as_bytes()),
        }));
        self.offset += 1;
        self.carry();
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

    /// Waits until the shard says that it has nobody left.
    pub(crate) fn assert_empty(&self) {
        let until = std::time::Instant::now() + PATIENCE;
        loop {
            let stats = self.shard().stats();
            let gauges = (stats.connections, stats.views, stats.queued_bytes, stats.backlog_bytes);
            if gauges == (0, 0, 0, 0) {
                return;
            }
            assert!(std::time::Instant::now() < until, "left behind: {stats:?}");
            std::thread::yield_now();
        }
    }
}

/// A client's end.
pub(crate) struct Peer<S> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
}

impl<S: Read + Write> Peer<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    fn fill(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(n) => {
                self.buffer.extend_from_slice(&bytes[..n]);
                true
            }
            Err(e) => panic!("nothing came: {e}"),
        }
    }

    /// The next frame: opcode and payload.
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some((length, head)) = frame_length(&self.buffer)
                && self.buffer.len() >= head + length
            {
                let frame: Vec<u8> = self.buffer.drain(..head + length).collect();
                assert_eq!(frame[0] & 0xf0, 0x80, "a whole frame");
                return (frame[0] & 0x0f, frame[head..].to_vec());
            }
            assert!(self.fill(), "the end, and {} bytes of a torn frame", self.buffer.len());
        }
    }

    /// The next message.
    pub(crate) fn text(&mut self) -> String {
        let (opcode, payload) = self.frame();
        assert_eq!(opcode, 1, "{payload:?}");
        String::from_utf8(payload).unwrap()
    }

    /// The next frame closes: code and reason. Nothing follows but a clean end.
    pub(crate) fn close(&mut self) -> (u16, String) {
        let (opcode, payload) = self.frame();
        assert_eq!(opcode, 8, "{:?}", String::from_utf8_lossy(&payload));
        self.end();
        let code = u16::from_be_bytes([payload[0], payload[1]]);
        (code, String::from_utf8(payload[2..].to_vec()).unwrap())
    }

    pub(crate) fn end(&mut self) {
        assert!(self.buffer.is_empty(), "bytes after the end: {:?}", self.buffer);
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => {}
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => panic!("no goodbye: {e}"),
            other => panic!("{other:?} instead of the end"),
        }
    }

    /// Sends one masked frame.
    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.stream.write_all(&masked(opcode, payload)).unwrap();
        self.stream.flush().unwrap();
    }
}

fn frame_length(bytes: &[u8]) -> Option<(usize, usize)> {
    Some(match bytes {
        [_, 126, a, b, ..] => (usize::from(u16::from_be_bytes([*a, *b])), 4),
        [_, 126 | 127, ..] | [] | [_] => return None,
        [_, short, ..] => (usize::from(*short), 2),
    })
}

pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    push_masked(&mut frame, true, opcode, [1, 2, 3, 4], payload);
    frame
}

pub(crate) fn unix_seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}
