//! The whole way in one process: a record written to the embedded broker reaches a WebSocket client.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod admin;
mod scripts;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tempfile::TempDir;
use tidewire_auth::{AuthOptions, MintClaims, Secret, TokenMinter, Verifier, dev_secret, unix_now};
use tidewire_event::CursorKey;
use tidewire_gateway::{
    ControlTopic, Gateway, GatewayOptions, GatewayParts, PoisonSink, TopicParts,
};
use tidewire_http::{AllowedOrigins, Server, ServerOptions};
use tidewire_kafka::{EmbeddedBroker, History, Reader, StartAt, Writer};
use tidewire_log::{LogHistory, LogRecord, LogWriter as _, NewRecord};
use tidewire_model::Model;
use tidewire_rights::{RightsOptions, TypeRights};
use tidewire_router::{FoldTooLarge, SelfLinks, ShardLimits};
use tidewire_runtime::{Shutdown, Tasks};
use tidewire_sandbox::{WORKER_ARGUMENT, WorkerOptions};
use tidewire_sockets::ShardOptions;
use tidewire_store::{MemoryLimits, MemoryStore, Store};
use tidewire_telemetry::{CommonMetrics, GatewayMetrics, Registry};
use tidewire_wire::ws::Limits;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct NoPoison;

impl PoisonSink for NoPoison {
    fn put(&self, _record: &LogRecord<'_>, reason: &str) {
        panic!("poison: {reason}");
    }

    fn lost(&self) -> u64 {
        0
    }
}

/// What replicas share.
struct Surroundings {
    broker: EmbeddedBroker,
    secret: Secret,
    folder: TempDir,
    store: Arc<dyn Store>,
    rights: RightsOptions,
    /// Whether alert scripts are served.
    alerts: bool,
}

impl Surroundings {
    fn new() -> Self {
        let broker = EmbeddedBroker::start().unwrap();
        broker.create_topic("changes", 3).unwrap();
        broker.create_topic("alerts", 2).unwrap();
        broker.create_topic("control", 1).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let secret = dev_secret(&folder.path().join("secret")).unwrap();
        let store = Arc::new(MemoryStore::new(MemoryLimits::default()));
        Self { broker, secret, folder, store, rights: RightsOptions::open(), alerts: true }
    }

    fn token(&self, tenant: &str, user: u64, change: impl FnOnce(&mut MintClaims)) -> String {
        let mut claims = MintClaims::new(tenant, unix_now());
        claims.user = Some(user);
        change(&mut claims);
        TokenMinter::mint(&self.secret, &claims).unwrap()
    }
}

struct World {
    _surroundings: Surroundings,
    writer: Writer,
    gateway: Gateway,
    registry: Registry,
    url: String,
    token: String,
}

impl World {
    /// Waits until so many sessions are held.
    async fn until_held(&self, count: u32) {
        let line = format!("tidewire_sessions_held {count}");
        let held = async {
            while !self.registry.encode().unwrap().lines().any(|own| own == line) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), held).await.unwrap();
    }
}

async fn start(tasks: &Tasks) -> World {
    let surroundings = Surroundings::new();
    let writer = Writer::start(&surroundings.broker.options(), "changes").unwrap();
    let token = surroundings.token("demo", 1, |_| {});
    let Replica { gateway, registry, public, .. } = Replica::start(&surroundings, tasks).await;
    let url = format!("ws://{public}");
    World { _surroundings: surroundings, writer, gateway, registry, url, token }
}

/// A gateway with its listeners.
struct Replica {
    gateway: Gateway,
    registry: Registry,
    public: SocketAddr,
    internal: SocketAddr,
}

impl Replica {
    async fn start(surroundings: &Surroundings, tasks: &Tasks) -> Self {
        let registry = Registry::new();
        let gateway = gateway(surroundings, &registry, tasks);
        let serve = async |section, site| {
            let options = ServerOptions::new(section, "127.0.0.1:0".parse().unwrap());
            let server = Server::bind(options).await.unwrap();
            let address = server.local_addr();
            server.serve(site, tasks, tasks.shutdown().clone());
            address
        };
        let public = serve("http", gateway.public_site()).await;
        let internal = serve("internal", gateway.internal_site(&registry)).await;
        assert!(gateway.wait_ready(Duration::from_secs(20)).await, "not ready");
        Self { gateway, registry, public, internal }
    }
}

fn gateway(surroundings: &Surroundings, registry: &Registry, tasks: &Tasks) -> Gateway {
    let Surroundings { broker, folder, store, rights, alerts, .. } = surroundings;
    let secret_file = folder.path().join("secret");
    Gateway::start(GatewayParts {
        options: GatewayOptions {
            shards: 2,
            sockets: ShardOptions {
                limits: Limits { frame_bytes_max: 65_536, message_bytes_max: 65_536 },
                ping_interval: Duration::from_secs(25),
                pong_timeout: Duration::from_secs(8),
                linger: Duration::from_secs(2),
                inbound_messages_per_minute: 600,
                commands_max: 1024,
            },
            limits: ShardLimits {
                queue_bytes_max: 131_072,
                slow_grace_ms: 0,
                backlog_bytes_max: 1 << 20,
                replay_bytes_per_second: 16 << 20,
            },
            all_keys_words: Vec::new(),
            path_token: true,
            origins: AllowedOrigins::default(),
            connections_per_tenant_max: 100,
            connections_per_principal_max: 100,
            ticket_ttl: Duration::from_secs(60),
            drain_window: Duration::from_millis(100),
            drain_retry: Duration::from_secs(1),
            cursor_key: CursorKey::derive(b"a secret of the tests' own"),
            window_bytes_max: 1 << 20,
            snapshot_limit: FoldTooLarge { objects_max: 1_000, bytes_max: 1 << 20 },
            subscriptions_per_connection_max: 16,
            internal_on_loopback: true,
            public_url: "http://localhost".into(),
        },
        model: Arc::new(Model::vms()),
        links: Arc::new(SelfLinks::new("https://vms.example.com", HashMap::new())),
        rights: Arc::new(TypeRights::new(rights).unwrap()),
        verifier: Arc::new(Verifier::new(&AuthOptions::development(&secret_file)).unwrap()),
        store: Some(Arc::clone(store)),
        changes: topic(broker, "changes"),
        alerts: alerts.then(|| topic(broker, "alerts")),
        control: ControlTopic {
            reader: Box::new(
                Reader::start(&broker.options(), "control", StartAt::Earliest).unwrap(),
            ),
            writer: Arc::new(Writer::start(&broker.options(), "control").unwrap()),
        },
        workers: WorkerOptions::of(
            env!("CARGO_BIN_EXE_gateway").into(),
            vec![WORKER_ARGUMENT.into()],
            1,
        ),
        common: CommonMetrics::register(registry).unwrap(),
        metrics: GatewayMetrics::register(registry).unwrap(),
        tasks: tasks.clone(),
    })
    .unwrap()
}

fn topic(broker: &EmbeddedBroker, name: &'static str) -> TopicParts {
    let history = broker.options();
    TopicParts {
        reader: Box::new(Reader::start(&broker.options(), name, StartAt::End).unwrap()),
        history: Arc::new(move || {
            Ok(Box::new(History::new(&history, name)?) as Box<dyn LogHistory>)
        }),
        poison: Arc::new(NoPoison),
    }
}

fn record(key: &str, header: &str, body: &str) -> NewRecord {
    NewRecord {
        key: Bytes::copy_from_slice(key.as_bytes()),
        header: Some(Bytes::copy_from_slice(header.as_bytes())),
        timestamp_ms: Some(1_789_392_000_000),
        payload: Some(Bytes::copy_from_slice(body.as_bytes())),
    }
}

#[tokio::test]
async fn a_change_reaches_the_socket_that_asked() {
    let tasks = Tasks::new(Shutdown::new());
    let world = start(&tasks).await;
    let path = "/ws/rest/WebSocketObjectSubscription/PortCall/U/7823672";
    let url = format!("{}{path}/{}", world.url, world.token);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();

    let body =
        r#"{"new":{"key":7823672,"speed":12.50,"port":{"key":11,"portName":"Bergen"}},"old":null}"#;
    let id = world.writer.write(record("demo/PortCall/7823672", "1;U;;none;", body)).await.unwrap();
    let text = socket.next().await.unwrap().unwrap().into_text().unwrap();
    let expected = format!(
        r#"{{"id":"{id}","eventTime":"2026-09-14T13:20:00","objectType":"PortCall","eventType":"U","dataloyObject":7823672,"dataloyObjectSelf":"https://vms.example.com/ws/rest/PortCall/7823672","subscription":{{"#
    );
    assert!(text.starts_with(&expected), "{text}");

    socket.send(Message::text(r#"{"port":{"portName":"*"},"speed":"*"}"#)).await.unwrap();
    // An unknown field is answered after the list before it was accepted.
    socket.send(Message::text(r#"{"portt":"*"}"#)).await.unwrap();
    let refused = socket.next().await.unwrap().unwrap().into_text().unwrap();
    assert!(refused.contains("\"statusCode\":400") && refused.contains("port"), "{refused}");
    world.writer.write(record("demo/PortCall/7823672", "1;U;;none;", body)).await.unwrap();
    let text = socket.next().await.unwrap().unwrap().into_text().unwrap();
    let object = r#""dataloyObject":{"key":7823672,"self":"https://vms.example.com/ws/rest/PortCall/7823672","port":{"key":11,"self":"https://vms.example.com/ws/rest/Port/11","portName":"Bergen"},"speed":12.50},"#;
    assert!(text.contains(object), "{text}");

    assert_eq!(world.gateway.drain().await, 0);
    let close = loop {
        if let Message::Close(frame) = socket.next().await.unwrap().unwrap() {
            break frame.unwrap();
        }
    };
    assert_eq!(u16::from(close.code), 1012);
    assert!(close.reason.starts_with("retry in "), "{}", close.reason);
    world.gateway.stop();
}

#[tokio::test]
async fn a_session_goes_on_where_its_client_was() {
    let tasks = Tasks::new(Shutdown::new());
    let world = start(&tasks).await;
    let path = "/ws/rest/WebSocketObjectSubscription/PortCall/U/*";
    let url = format!("{}{path}/{}?session=desk", world.url, world.token);
    let mut socket = first_frame(&url, "session starts now").await;
    // Its pong proves that it was told; with the release all of that is stored.
    assert!(matches!(socket.next().await, Some(Ok(Message::Ping(_)))));
    socket.flush().await.unwrap();
    world.until_held(1).await;
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    world.until_held(0).await;
    let missed = record("demo/PortCall/1", "1;U;;none;", r#"{"new":{"key":1},"old":null}"#);
    let id = world.writer.write(missed).await.unwrap();
    let mut socket = first_frame(&url, "session resumed").await;
    let frame = next_text(&mut socket).await;
    assert!(frame.starts_with(&format!(r#"{{"id":"{id}","#)), "{frame}");
    world.gateway.stop();
}

/// Opens a socket whose first frame has this message.
async fn first_frame(url: &str, message: &str) -> Socket {
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let frame = next_text(&mut socket).await;
    assert!(frame.contains(&format!(r#""message":"{message}""#)), "{message}: {frame}");
    socket
}

/// The next message; the pings between are answered by themselves.
async fn next_text(socket: &mut Socket) -> String {
    loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            return text.as_str().to_owned();
        }
    }
}
