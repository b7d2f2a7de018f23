//! A replica without I/O: one router, some shard cores, a sink for each that keeps what it is given.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use tidewire_event::{CursorKey, KeyKind, LeaderEpoch, ObjectKey, Offset, Partition, Tenant};
use tidewire_fields::{FieldList, FieldMask, Parsed, Scope};
use tidewire_log::{LogEvent, LogRecord};
use tidewire_model::Model;
use tidewire_rights::{PermissionClass, Principal, RightsOptions, TypeRights};
use tidewire_router::{
    ConnectionId, Detached, Framing, Now, OnSlow, Opening, Routed, Router, SelfLinks, ShardCore,
    ShardIndex, ShardLimits, ShardSettings, Sink, Start, Subscription, Window, Written,
};
use tidewire_wire::definition::{Definition, EventSet, KeySelector, TypeSelector};

pub(crate) const BASE: &str = "https://vms.example.com";
pub(crate) const TIME_MS: i64 = 1_789_393_046_000;
pub(crate) const NOW: Now = Now { wall_ms: TIME_MS, mono_ms: 1_000_000 };

pub(crate) fn cursor_key() -> CursorKey {
    CursorKey::derive(b"a secret of the tests")
}

pub(crate) fn settings(model: Model, queue_bytes_max: usize) -> ShardSettings {
    ShardSettings {
        model: Arc::new(model),
        links: Arc::new(SelfLinks::new(&format!("{BASE}/"), HashMap::new())),
        limits: ShardLimits {
            queue_bytes_max,
            slow_grace_ms: 0,
            backlog_bytes_max: 1 << 20,
            replay_bytes_per_second: 1 << 40,
        },
        window: Arc::new(Window::new(1 << 20)),
        cursor_key: cursor_key(),
    }
}

/// Types that some principal of a test may not read.
const RULED: [&str; 2] = ["Cargo", "PortCall"];

/// The class of a principal who may read everything but what is named.
pub(crate) fn class(tenant: &str, hidden: &[&str]) -> PermissionClass {
    static RIGHTS: LazyLock<TypeRights> = LazyLock::new(|| {
        let role = |name: &str| (format!("reads {name}"), vec![name.to_owned()]);
        let read = RULED.iter().map(|name| role(name)).collect();
        TypeRights::new(&RightsOptions { read, ..RightsOptions::open() }).unwrap()
    });
    assert!(hidden.iter().all(|name| RULED.contains(name)));
    let roles = RULED.iter().filter(|name| !hidden.contains(name)).map(|n| format!("reads {n}"));
    RIGHTS.permission_class(&Principal {
        tenant: Tenant::new(tenant).unwrap(),
        id: Arc::from("user:1"),
        user_key: Some(1),
        roles: roles.collect(),
        business_units: Vec::new(),
        expires_at: i64::MAX,
        issued_at: None,
        token_id: None,
    })
}

/// Reads `tenant type events keys [main]`; keys as in a path.
pub(crate) fn definition(model: &Model, text: &str) -> Definition {
    let parts: Vec<&str> = text.split(' ').collect();
    let types = TypeSelector::parse(parts[1]).unwrap();
    let keys = match parts[3] {
        "*" => KeySelector::Any,
        list => {
            KeySelector::keys(list.split(',').map(|key| parse_key(model, parts[1], key)).collect())
                .unwrap()
        }
    };
    Definition {
        tenant: Tenant::new(parts[0]).unwrap(),
        types,
        events: EventSet::parse(parts[2]).unwrap(),
        keys,
        only_main_object: parts.get(4) == Some(&"main"),
        live_references: true,
    }
}

fn parse_key(model: &Model, object_type: &str, text: &str) -> ObjectKey {
    let text = tidewire_event::percent_decode(text).unwrap();
    match model.key_kind(object_type) {
        Some(kind) => ObjectKey::parse(&text, kind).unwrap(),
        None => ObjectKey::guess(&text).unwrap(),
    }
}

pub(crate) fn text_key(text: &str) -> ObjectKey {
    ObjectKey::parse(text, KeyKind::Text).unwrap()
}

pub(crate) fn mask(model: &Model, types: &TypeSelector, list: &str) -> FieldMask {
    let Parsed::List(list) = FieldList::parse(list).unwrap() else { panic!("{list} is no list") };
    let scope = match types {
        TypeSelector::One(one) => Scope::One(one),
        TypeSelector::Any => Scope::Any,
    };
    FieldMask::compile(&list, model, scope, &|_| true).unwrap()
}

pub(crate) fn subscription(definition: Definition) -> Subscription {
    Subscription {
        class: class(definition.tenant.as_str(), &[]),
        definition: Arc::new(definition),
        mask: None,
        sub: None,
        start: Start::Now,
        snapshot: false,
        on_slow: OnSlow::Disconnect,
    }
}

pub(crate) const fn opening(framing: Framing) -> Opening {
    Opening { framing, proves: false, greeting: Vec::new() }
}

/// A record as Kafka hands it over.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) header: Option<String>,
    pub(crate) headers: usize,
    pub(crate) payload: Option<Vec<u8>>,
}

impl Record {
    pub(crate) fn new(key: &str, header: &str, payload: &str) -> Self {
        Self {
            key: Some(key.as_bytes().to_vec()),
            header: (!header.is_empty()).then(|| header.to_owned()),
            headers: usize::from(!header.is_empty()),
            payload: (!payload.is_empty()).then(|| payload.as_bytes().to_vec()),
        }
    }
}

/// Keeps the bytes of every slot.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) bytes: HashMap<usize, Vec<u8>>,
}

impl Sink for Store {
    fn write(&mut self, slot: usize, bytes: &[u8]) -> Written {
        self.bytes.entry(slot).or_default().extend_from_slice(bytes);
        Written::All
    }
}

pub(crate) struct Replica {
    pub(crate) model: Arc<Model>,
    pub(crate) router: Router,
    pub(crate) shards: Vec<(ShardCore, Store)>,
    homes: HashMap<ConnectionId, (ShardIndex, Arc<Definition>)>,
    next_id: u64,
    next_offset: i64,
}

impl Replica {
    pub(crate) fn new(model: Model, shards: ShardIndex) -> Self {
        let settings = settings(model, 1 << 20);
        let model = Arc::clone(&settings.model);
        let core = |_| (ShardCore::new(settings.clone()), Store::default());
        Self {
            router: Router::new(Arc::clone(&model), shards, Arc::clone(&settings.window)),
            model,
            shards: (0..shards).map(core).collect(),
            homes: HashMap::new(),
            next_id: 1,
            next_offset: 0,
        }
    }

    /// Registers without carrying anything to the shards.
    pub(crate) fn register(&mut self, shard: ShardIndex, sub: Subscription) -> ConnectionId {
        self.register_as(shard, opening(Framing::WebSocket), sub)
    }

    pub(crate) fn register_as(
        &mut self,
        shard: ShardIndex,
        opening: Opening,
        sub: Subscription,
    ) -> ConnectionId {
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        self.homes.insert(id, (shard, Arc::clone(&sub.definition)));
        self.router.open(shard, id, opening, Some(sub));
        id
    }

    pub(crate) fn subscribe(&mut self, shard: ShardIndex, text: &str) -> ConnectionId {
        let sub = subscription(definition(&self.model, text));
        let id = self.register(shard, sub);
        self.carry();
        self.adopt(id);
        id
    }

    pub(crate) fn adopt(&mut self, id: ConnectionId) {
        let (core, store) = &mut self.shards[usize::from(self.homes[&id].0)];
        let slot = core.adopt(id).unwrap();
        store.bytes.insert(slot, Vec::new());
        self.carry();
    }

    pub(crate) fn leave(&mut self, id: ConnectionId) {
        let (shard, definition) = self.homes.remove(&id).unwrap();
        let (core, _) = &mut self.shards[usize::from(shard)];
        core.remove(core.slot(id).unwrap());
        let left = core.take_detached();
        let [Detached { id: of, definition: left }] = &left[..] else { panic!("{left:?}") };
        assert_eq!((*of, left), (id, &definition));
        self.router.detach(shard, left);
    }

    /// Routes without carrying anything to the shards.
    pub(crate) fn route(&mut self, record: &Record) -> (Routed, i64) {
        let offset = self.next_offset;
        self.next_offset += 1;
        let routed = self.router.handle(&LogEvent::Record(LogRecord {
            partition: Partition(0),
            offset: Offset(offset),
            leader_epoch: LeaderEpoch(0),
            timestamp_ms: TIME_MS,
            key: record.key.as_deref(),
            header: record.header.as_deref().map(str::as_bytes),
            header_count: record.headers,
            payload: record.payload.as_deref(),
        }));
        (routed, offset)
    }

    pub(crate) fn record(&mut self, record: &Record) -> Routed {
        let routed = self.route(record).0;
        self.carry();
        routed
    }

    /// Brings what the router has gathered to the shards, and writes it.
    pub(crate) fn carry(&mut self) {
        for (index, (core, store)) in (0..).zip(&mut self.shards) {
            for item in self.router.take_batch(index) {
                core.apply(item, NOW);
            }
            while core.flush(32, store) {}
            assert_eq!(core.take_notices(), Vec::new());
        }
    }

    /// The bytes that a connection was sent.
    pub(crate) fn bytes(&self, id: ConnectionId) -> &[u8] {
        let (core, store) = &self.shards[usize::from(self.homes[&id].0)];
        &store.bytes[&core.slot(id).unwrap()]
    }

    /// The messages that a connection was sent.
    pub(crate) fn messages(&self, id: ConnectionId) -> Vec<String> {
        let frames = frames(self.bytes(id));
        frames.into_iter().map(|f| String::from_utf8(payload(&f).to_vec()).unwrap()).collect()
    }

    /// Fails if anything at all is left of the connections that were.
    pub(crate) fn assert_empty(&self) {
        assert_eq!(self.router.subscriptions(), 0);
        let router = format!("{:?}", self.router);
        assert!(router.contains("tenants: {}"), "the interest table keeps something: {router}");
        for (core, _) in &self.shards {
            assert_core_empty(core);
        }
    }
}

/// Fails if a shard keeps anything of connections that are gone.
pub(crate) fn assert_core_empty(core: &ShardCore) {
    let stats = core.stats();
    let gauges = (stats.views, stats.connections, stats.queued_bytes, stats.backlog_bytes);
    assert_eq!(gauges, (0, 0, 0, 0));
    let text = format!("{core:?}");
    for empty in
        ["RouteTable { tenants: {} }", "view_index: {}", "by_id: {}", "index: {}", "ready: []"]
    {
        assert!(text.contains(empty), "{empty} not found: something is left in {text}");
    }
    assert!(
        text.contains("encoders: Slab { len: 1,"),
        "the reference's encoder alone is left: {text}"
    );
}

/// Cuts a stream of unmasked frames; panics where the stream does not end with a frame.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (head, length) = lengths(bytes);
        assert!(bytes.len() >= head + length, "a torn frame at the end");
        let (frame, rest) = bytes.split_at(head + length);
        frames.push(frame.to_vec());
        bytes = rest;
    }
    frames
}

pub(crate) fn payload(frame: &[u8]) -> &[u8] {
    &frame[lengths(frame).0..]
}

fn lengths(bytes: &[u8]) -> (usize, usize) {
    match bytes[1] {
        126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes[2..10].try_into().unwrap())).unwrap()),
        short => (2, usize::from(short)),
    }
}
