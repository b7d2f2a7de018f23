//! A deployment of its own: two gateways, capture, a topic, and what clients need to talk to them.

pub(crate) mod alerts;
pub(crate) mod backtest;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod mute;
pub(crate) mod socket;
pub(crate) mod stream;
pub(crate) mod terminal;
pub(crate) mod v1;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tidewire_auth::{MintClaims, TokenMinter, load_secret, unix_now};
use tidewire_event::{ObjectKey, Tenant};
use tidewire_testkit::http::{Response, request};
use tidewire_testkit::kafka::Kafka;
use tidewire_testkit::redis::Redis;
use tidewire_testkit::service::Service;
use tidewire_wire::definition::{Definition, EventSet, KeySelector, TypeSelector};
use tokio::task::JoinSet;

use socket::{Socket, Wish};

/// What `self` links start with in all tests.
pub(crate) const BASE: &str = "https://vms.example.com";
/// Who issues the tokens of the tests, and for whom.
pub(crate) const ISSUER: &str = "https://id.test.example/";
pub(crate) const AUDIENCE: &str = "tidewire-test";
const SECRET: &str = "a secret of the black-box tests, long enough for HS256";

/// How a deployment differs from the plain one.
#[derive(Default)]
pub(crate) struct Setup {
    /// Partitions of the topic; 0 is 1.
    pub(crate) partitions: i32,
    /// Most bytes of a batch of the topic of alerts; 0 is the broker's default.
    pub(crate) alerts_bytes_max: u32,
    /// A broker of its own, which can be stopped.
    pub(crate) own_kafka: bool,
    /// A Redis of its own, which can be stopped.
    pub(crate) own_redis: bool,
    /// Settings of the gateways.
    pub(crate) gateway: Vec<(&'static str, String)>,
    /// Settings of gateways and capture.
    pub(crate) common: Vec<(&'static str, String)>,
}

/// A running deployment.
pub(crate) struct World {
    pub(crate) gateways: [Service; 2],
    pub(crate) capture: Service,
    pub(crate) topic: String,
    /// The topic of alerts.
    pub(crate) alerts: String,
    pub(crate) quarantine: String,
    pub(crate) kafka: Option<Kafka>,
    pub(crate) redis: Option<Redis>,
    /// What all its services are told.
    common: Vec<(&'static str, String)>,
    folder: TempDir,
    minted: Mutex<Vec<String>>,
}

/// The name of a setting in the environment.
fn variable(setting: &str) -> String {
    format!("TIDEWIRE__{}", setting.replace('.', "__").to_uppercase())
}

fn shared_redis() -> Option<&'static Redis> {
    static SHARED: OnceLock<Option<Redis>> = OnceLock::new();
    SHARED.get_or_init(|| Redis::start().expect("redis starts")).as_ref()
}

/// Starts a service; it is not waited for.
fn launch(
    binary: &'static str,
    common: &[(&'static str, String)],
    settings: &[(&str, String)],
) -> Service {
    let settings = common.iter().chain(settings);
    let environment: Vec<(String, String)> =
        settings.map(|(name, value)| (variable(name), value.clone())).collect();
    let mut service = Service::prepare(binary, &environment).unwrap();
    service.launch().unwrap();
    service
}

impl World {
    /// The plain deployment that all tests share. `None`, and a loud word, where a part can't be had.
    pub(crate) fn shared() -> Option<Guard> {
        static SHARED: OnceLock<Option<World>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Setup::default())).as_ref().map(Guard)
    }

    pub(crate) fn start(setup: Setup) -> Option<Self> {
        let kafka = if setup.own_kafka { Some(Kafka::start(1).unwrap()?) } else { None };
        let redis = if setup.own_redis { Some(Redis::start().unwrap()?) } else { None };
        let bootstrap = match &kafka {
            Some(kafka) => kafka.bootstrap(),
            None => Kafka::shared()?.bootstrap(),
        };
        let redis_url = match &redis {
            Some(redis) => redis.url(),
            None => shared_redis()?.url(),
        };
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (topic, quarantine) = (format!("changes-{number}"), format!("quarantine-{number}"));
        log::create_topic(&bootstrap, &topic, setup.partitions.max(1), "delete");
        let (control, alerts) = (format!("control-{number}"), format!("alerts-{number}"));
        let bytes_max = setup.alerts_bytes_max.to_string();
        let own = [("max.message.bytes", bytes_max.as_str())];
        let own = if setup.alerts_bytes_max == 0 { &own[..0] } else { &own };
        log::create_topic_with(&bootstrap, &alerts, 1, own);
        for compacted in [&control, &quarantine] {
            log::create_topic(&bootstrap, compacted, 1, "compact");
        }
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, SECRET).unwrap();
        let mut common: Vec<(&'static str, String)> = vec![
            ("kafka.brokers", bootstrap),
            ("kafka.changes_topic", topic.clone()),
            ("kafka.control_topic", control),
            ("kafka.alerts_topic", alerts.clone()),
            ("kafka.quarantine_topic", quarantine.clone()),
            ("kafka.partitions", setup.partitions.max(1).to_string()),
            ("kafka.replication_factor", "1".to_owned()),
            ("auth.hs256_secret_file", secret.display().to_string()),
            ("auth.issuer", ISSUER.to_owned()),
            ("auth.audience", AUDIENCE.to_owned()),
            ("auth.roles.producer", "producer".to_owned()),
            ("auth.roles.admin", "admin".to_owned()),
            ("auth.roles.script_author", "script-author".to_owned()),
            ("model.self_base_url", BASE.to_owned()),
            ("log.level", "info,tidewire=debug".to_owned()),
        ];
        common.extend(setup.common);
        let mut gateway = vec![
            ("redis.url", redis_url),
            ("redis.key_prefix", format!("tw{number}")),
            ("rights.default", "open".to_owned()),
            ("gateway.drain_window", "2s".to_owned()),
        ];
        gateway.extend(setup.gateway);
        let prepare = |binary, settings: &[(&str, String)]| launch(binary, &common, settings);
        let mut gateways = [prepare("gateway", &gateway), prepare("gateway", &gateway)];
        let mut capture = prepare("capture", &[]);
        gateways.iter_mut().for_each(|gateway| gateway.wait_until_ready().unwrap());
        capture.wait_until_ready().unwrap();
        let minted = Mutex::default();
        Some(Self {
            gateways,
            capture,
            topic,
            alerts,
            quarantine,
            kafka,
            redis,
            common,
            folder,
            minted,
        })
    }

    /// Starts the service that runs alert scripts, and waits until it is ready.
    pub(crate) fn start_alerts(&self) -> Service {
        let settings = [("alerts.start", "earliest".to_owned())];
        let mut alerts = launch("alerts", &self.common, &settings);
        alerts.wait_until_ready().unwrap();
        alerts
    }

    pub(crate) fn bootstrap(&self) -> String {
        match &self.kafka {
            Some(kafka) => kafka.bootstrap(),
            None => Kafka::shared().unwrap().bootstrap(),
        }
    }

    pub(crate) fn public(&self, gateway: usize) -> SocketAddr {
        self.gateways[gateway].public()
    }

    /// A tenant that no other test has.
    pub(crate) fn tenant(&self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        format!("tenant{}", NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// A token of the tests' own issuer, good for an hour.
    pub(crate) fn token(&self, tenant: &str, user: u64, roles: &[&str]) -> String {
        self.mint(tenant, user, roles, |_| {})
    }

    /// A token whose claims are changed before it is signed.
    pub(crate) fn mint(
        &self,
        tenant: &str,
        user: u64,
        roles: &[&str],
        change: impl FnOnce(&mut MintClaims),
    ) -> String {
        let mut claims = MintClaims::new(tenant, unix_now());
        claims.user = Some(user);
        claims.roles = roles.iter().map(|&role| role.to_owned()).collect();
        claims.issuer = ISSUER.to_owned();
        claims.audience = AUDIENCE.to_owned();
        change(&mut claims);
        let secret = load_secret(&self.secret_file()).unwrap();
        let token = TokenMinter::mint(&secret, &claims).unwrap();
        self.keep_secret(&token);
        token
    }

    pub(crate) fn secret_file(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    /// Remembers what must never stand in a log: the signature of a token, or a ticket.
    pub(crate) fn keep_secret(&self, token: &str) {
        let part = token.rsplit('.').next().unwrap_or(token);
        if part.len() >= 16 {
            self.minted.lock().unwrap().push(part.to_owned());
        }
    }

    /// No log of any process of this deployment holds a token or ticket that a test had.
    pub(crate) fn assert_no_token_logged(&self) {
        let minted = self.minted.lock().unwrap();
        for service in self.gateways.iter().chain([&self.capture]) {
            let log = service.log();
            for token in minted.iter() {
                if let Some(line) = log.lines().find(|line| line.contains(token.as_str())) {
                    panic!("a token in the log of {}: {line}", service.public());
                }
            }
        }
    }

    /// Opens a socket of the tenant's user 1: `wish` is `type/events/key`, with a query if there is one.
    pub(crate) async fn open(&self, gateway: usize, tenant: &str, wish: &str) -> Socket {
        self.open_as(gateway, wish, &self.token(tenant, 1, &[])).await
    }

    /// The same with a token at hand.
    pub(crate) async fn open_as(&self, gateway: usize, wish: &str, token: &str) -> Socket {
        Wish::new(self.public(gateway), &object_path(wish, token)).open().await
    }

    /// The Redis that the gateways use.
    pub(crate) fn redis(&self) -> &Redis {
        self.redis.as_ref().or_else(|| shared_redis()).unwrap()
    }

    /// The positions in the store of all sessions of the tenant.
    pub(crate) fn positions(&self, tenant: &str) -> Vec<String> {
        let redis = self.redis();
        let keys = redis.run(&["KEYS", &format!("*:{tenant}}}:session:*")]).unwrap();
        keys.lines().map(|key| redis.run(&["HGET", key, "position"]).unwrap()).collect()
    }

    /// Waits until exactly so many sessions of the tenant have a field list with this text in the store: a
    /// list is in force before it is saved.
    pub(crate) async fn until_saved(&self, tenant: &str, text: &str, count: usize) {
        let redis = self.redis();
        let saved = || {
            let keys = redis.run(&["KEYS", &format!("*:{tenant}}}:session:*")]).unwrap();
            let state = |key: &str| redis.run(&["HGET", key, "state"]).unwrap();
            keys.lines().filter(|key| state(key).contains(text)).count() == count
        };
        wait_until("field lists are saved", Duration::from_secs(10), saved).await;
    }

    /// How many sessions of the tenant have clients that are proven to have been told of them.
    pub(crate) fn proven(&self, tenant: &str) -> usize {
        self.redis().sessions_proven(&format!("*:{tenant}}}:session:*")).unwrap()
    }

    /// Posts one change and gives the answer.
    pub(crate) async fn try_post(&self, tenant: &str, change: &str) -> Response {
        let token = self.token(tenant, 99, &["producer"]);
        self.send(tenant, &token, "application/json", change).await
    }

    /// Posts one change; gives its id.
    pub(crate) async fn post(&self, tenant: &str, change: &str) -> String {
        let answer = self.try_post(tenant, change).await;
        assert_eq!(answer.status, 200, "{change}: {}", answer.body);
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        answer["id"].as_str().unwrap().to_owned()
    }

    async fn send(&self, _: &str, token: &str, kind: &str, body: &str) -> Response {
        let (address, bearer) = (self.capture.public(), format!("Bearer {token}"));
        let (kind, body) = (kind.to_owned(), body.to_owned());
        let post = move || {
            let headers = [("Authorization", bearer.as_str()), ("Content-Type", kind.as_str())];
            request(address, "POST", "/api/v1/changes", &headers, body.as_bytes())
        };
        tokio::task::spawn_blocking(post).await.unwrap().unwrap()
    }

    /// Posts many changes, one a line; gives their ids.
    pub(crate) async fn post_lines(&self, tenant: &str, lines: &str) -> Vec<String> {
        let token = self.token(tenant, 99, &["producer"]);
        let answer = self.send(tenant, &token, "application/x-ndjson", lines).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let id = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["id"].as_str().unwrap().to_owned()
        };
        answer.body.lines().map(id).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_no_token_logged();
        }
    }
}

/// The shared deployment in the hands of one test: shows the logs when it fails, and looks for tokens in
/// them when it does not.
pub(crate) struct Guard(&'static World);

impl std::ops::Deref for Guard {
    type Target = World;

    fn deref(&self) -> &World {
        self.0
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.assert_no_token_logged();
            return;
        }
        let mut shown = String::new();
        for service in self.0.gateways.iter().chain([&self.0.capture]) {
            let _ = writeln!(shown, "--- {}:\n{}", service.public(), service.tail());
        }
        eprintln!("{shown}");
    }
}

/// The path of an object socket: `wish` is `type/events/key`, with a query if there is one.
pub(crate) fn object_path(wish: &str, token: &str) -> String {
    let (path, query) = match wish.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (wish, String::new()),
    };
    format!("/ws/rest/WebSocketObjectSubscription/{path}/{token}{query}")
}

/// The number of the definition that `type/events/key` stands for.
pub(crate) fn definition(tenant: &str, wish: &str) -> u64 {
    let (path, query) = wish.split_once('?').unwrap_or((wish, ""));
    let mut parts = path.split('/');
    let mut next = || parts.next().unwrap();
    let (types, events, keys) = (next(), next(), next());
    let keys = match keys {
        "*" => KeySelector::Any,
        keys => KeySelector::keys(keys.split(',').map(|k| ObjectKey::guess(k).unwrap()).collect())
            .unwrap(),
    };
    Definition {
        tenant: Tenant::new(tenant).unwrap(),
        types: TypeSelector::parse(types).unwrap(),
        events: EventSet::parse(events).unwrap(),
        keys,
        only_main_object: query.contains("onlyMainObject=true"),
        live_references: true,
    }
    .number()
}

/// One message as the contract writes it (section 2), byte for byte. `object` is the JSON that stands as
/// `dataloyObject`, `path` the end of its `self` link.
pub(crate) struct Expected<'a> {
    pub(crate) id: &'a str,
    pub(crate) time: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) event: &'a str,
    pub(crate) object: &'a str,
    pub(crate) key: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) wish: &'a str,
}

impl Expected<'_> {
    pub(crate) fn text(&self) -> String {
        let Self { id, time, kind, event, object, key, tenant, wish } = self;
        let number = definition(tenant, wish);
        format!(
            "{{\"id\":\"{id}\",\"eventTime\":\"{time}\",\"objectType\":\"{kind}\",\
             \"eventType\":\"{event}\",\"dataloyObject\":{object},\
             \"dataloyObjectSelf\":\"{BASE}/ws/rest/{kind}/{key}\",\
             \"subscription\":{{\"key\":{number},\
             \"self\":\"{BASE}/ws/rest/WebSocketObjectSubscription/{number}\"}}}}"
        )
    }
}

/// Work beside the test; it ends with its handle.
pub(crate) struct Task<T>(JoinSet<T>);

impl<T: Send + 'static> Task<T> {
    pub(crate) fn start(work: impl Future<Output = T> + Send + 'static) -> Self {
        let mut set = JoinSet::new();
        set.spawn(work);
        Self(set)
    }

    pub(crate) async fn join(mut self) -> T {
        self.0.join_next().await.unwrap().unwrap()
    }
}

/// A number of this name in the environment, or the other one.
pub(crate) fn figure(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name}={text}: no number"))
    })
}

/// Waits until `done` says so; fails with `what` after `limit`.
pub(crate) async fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < until, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks a service; the test's own thread must not block.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Response {
    let (method, path) = (method.to_owned(), path.to_owned());
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    tokio::task::spawn_blocking(move || {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        request(address, &method, &path, &headers, b"").unwrap()
    })
    .await
    .unwrap()
}
