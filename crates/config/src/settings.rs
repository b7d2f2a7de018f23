//! The settings, typed and checked.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::error::ConfigErrors;
use crate::layer::merge;
use crate::reader::{Reader, Row};
use crate::secret::Secret;
use crate::service::Service;
use crate::sources::Sources;

/// Everything that configuration decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where clients reach this deployment, without a slash at its end; `None`: from `http.listen`.
    pub public_url: Option<String>,
    /// Section `log`.
    pub log: Log,
    /// Section `kafka`.
    pub kafka: Kafka,
    /// Section `redis`; `None` where no URL is set.
    pub redis: Option<Redis>,
    /// Section `auth`.
    pub auth: Auth,
    /// Section `http`.
    pub http: Http,
    /// Section `internal`.
    pub internal: Internal,
    /// Section `model`.
    pub model: Model,
    /// Section `rights`.
    pub rights: Rights,
    /// Section `gateway`.
    pub gateway: Gateway,
    /// Section `capture`.
    pub capture: Capture,
}

/// Section `log`.
#[derive(Clone, Debug)]
pub struct Log {
    /// JSON lines, or text for a terminal.
    pub json: bool,
    /// The filter.
    pub level: String,
}

/// Section `kafka`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Kafka {
    pub brokers: String,
    pub changes_topic: String,
    pub control_topic: String,
    pub alerts_topic: String,
    pub objects_topic: String,
    pub quarantine_topic: String,
    pub group_prefix: String,
    pub create_topics: bool,
    pub partitions: i32,
    pub replication_factor: i32,
    pub start_timeout: Duration,
    pub properties: BTreeMap<String, String>,
    pub secret_properties: BTreeMap<String, Secret>,
}

/// How Redis is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisMode {
    /// One server.
    Standalone,
    /// Sentinels name the master.
    Sentinel,
    /// A cluster.
    Cluster,
}

/// Section `redis`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Redis {
    pub url: Secret,
    pub username: Option<String>,
    pub password_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub mode: RedisMode,
    pub sentinel_master: String,
    pub sentinel_username: Option<String>,
    pub sentinel_password_file: Option<PathBuf>,
    pub key_prefix: String,
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
}

/// Section `auth`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Auth {
    /// All issuers: the one of the flat keys first, if it is set.
    pub issuers: Vec<Issuer>,
    pub tenant: Option<String>,
    pub mapping: Vec<Mapping>,
    pub leeway: Duration,
    pub path_token: bool,
    pub token_cache_max: usize,
    pub ticket_ttl: Duration,
    pub claims: Claims,
    pub roles: Roles,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// HS256: a shared secret in a file.
    Hs256SecretFile(PathBuf),
    /// RS256: a key set behind a URL, with the authorities to trust for it.
    Jwks {
        /// The URL.
        url: String,
        /// A PEM file; `None`: the public authorities.
        ca_file: Option<PathBuf>,
    },
    /// RS256: a public key in a PEM file.
    PemFile(PathBuf),
}

/// One issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Issuer {
    pub issuer: String,
    pub audiences: Vec<String>,
    pub key: KeySource,
    pub tenants: Vec<String>,
}

/// What the tokens of some client or person lack.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Mapping {
    pub issuer: String,
    pub azp: Option<String>,
    pub sub: Option<String>,
    pub tenant: Option<String>,
    pub user: Option<u64>,
    pub roles: Vec<String>,
    pub business_units: Vec<String>,
}

/// Names of claims.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Claims {
    pub tenant: String,
    pub user: String,
    pub roles: String,
    pub business_units: String,
    pub token_id: String,
}

/// Which roles give which right.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Roles {
    pub producer: Vec<String>,
    pub admin: Vec<String>,
    pub script_author: Vec<String>,
}

/// Section `http`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Http {
    pub listen: SocketAddr,
    pub allowed_origins: Vec<String>,
    pub trusted_proxies: Vec<IpRange>,
    pub proxy_protocol: bool,
    pub header_timeout: Duration,
    pub stall_timeout: Duration,
    pub body_bytes_max: usize,
    pub connections_max: usize,
    pub connections_per_address_max: usize,
    pub connections_per_tenant_max: usize,
    pub connections_per_principal_max: usize,
    pub accepts_per_second: u32,
    pub tls: Option<Tls>,
}

/// Section `http.tls`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Tls {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

/// An address, or a network in CIDR form; checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpRange(pub String);

/// Section `internal`.
#[derive(Clone, Debug)]
pub struct Internal {
    /// Address and port.
    pub listen: SocketAddr,
}

/// What becomes of types that the model lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownTypes {
    /// They are refused.
    Refuse,
    /// Any name is taken.
    Accept,
}

/// Section `model`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Model {
    pub file: Option<PathBuf>,
    pub unknown_types: UnknownTypes,
    pub all_keys_words: Vec<String>,
    pub self_base_url: Option<String>,
    pub self_base_urls: BTreeMap<String, String>,
}

/// What holds for types that no rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RightsDefault {
    /// Nobody reads them.
    Deny,
    /// Everybody of the tenant reads them.
    Open,
}

/// Section `rights`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Rights {
    pub default: RightsDefault,
    pub read: BTreeMap<String, Vec<String>>,
}

/// Section `gateway`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Gateway {
    pub shards: u16,
    pub frame_bytes_max: usize,
    pub message_bytes_max: usize,
    pub queue_bytes_max: usize,
    pub not_sent_low_water: u32,
    pub ping_interval: Duration,
    pub pong_timeout: Duration,
    pub drain_window: Duration,
    pub drain_retry: Duration,
    pub inbound_messages_per_minute: u32,
}

/// Section `capture`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Capture {
    pub change_max_bytes: usize,
    pub bulk_lines_max: u64,
    pub bulk_bytes_max: u64,
    pub in_flight_max: usize,
    pub write_timeout: Duration,
    pub idempotency_ttl: Duration,
    pub idempotency_max: usize,
}

/// Reads, merges and checks all sources for a service.
///
/// # Errors
/// Every problem, by key: the process ends with exit code 64.
pub fn load(service: Service, sources: Sources) -> Result<Settings, ConfigErrors> {
    let mut problems = Vec::new();
    let merged = merge(service, &sources, &mut problems);
    let reader = Reader::new(merged, problems);
    let settings = read(&reader, service);
    let problems = reader.into_problems();
    if problems.is_empty() { Ok(settings) } else { Err(ConfigErrors(problems)) }
}

fn read(r: &Reader, service: Service) -> Settings {
    let settings = Settings {
        public_url: url(r, "public_url"),
        log: Log {
            json: r.choice("log.format", &[("json", true), ("text", false)], true),
            level: r.text("log.level"),
        },
        kafka: kafka(r),
        redis: redis(r),
        auth: auth(r),
        http: http(r),
        internal: Internal { listen: address(r, "internal.listen") },
        model: model(r),
        rights: Rights {
            default: r.choice(
                "rights.default",
                &[("deny", RightsDefault::Deny), ("open", RightsDefault::Open)],
                RightsDefault::Deny,
            ),
            read: r.lists("rights.read"),
        },
        gateway: gateway(r),
        capture: capture(r),
    };
    check(r, service, &settings);
    settings
}

/// What must fit together, and what a service cannot do without.
fn check(r: &Reader, service: Service, settings: &Settings) {
    let both = r.is_sound("gateway.pong_timeout") && r.is_sound("gateway.ping_interval");
    if both && settings.gateway.pong_timeout >= settings.gateway.ping_interval {
        r.problem("gateway.pong_timeout", "must be less than gateway.ping_interval");
    }
    if settings.http.listen == settings.internal.listen && settings.http.listen.port() != 0 {
        r.problem("internal.listen", "must differ from http.listen");
    }
    if service != Service::Dev && settings.kafka.brokers.is_empty() {
        r.problem("kafka.brokers", "is required: host:port of some brokers");
    }
    if service.takes_tokens() && settings.auth.issuers.is_empty() {
        let text = "is required: who issues the tokens (with auth.audience and auth.jwks_url or \
                    auth.hs256_secret_file), or [[auth.issuers]]";
        r.problem("auth.issuer", text);
    }
}

fn address(r: &Reader, key: &str) -> SocketAddr {
    let text = r.text(key);
    text.parse().unwrap_or_else(|_| {
        r.problem(key, format!("{text:?} is not address:port, such as 0.0.0.0:8080"));
        SocketAddr::from(([127, 0, 0, 1], 0))
    })
}

fn url(r: &Reader, key: &str) -> Option<String> {
    let text = r.optional(key)?;
    if !is_http_url(&text) {
        r.problem(key, format!("{text:?} is not a URL that starts with http:// or https://"));
    }
    Some(text.trim_end_matches('/').to_owned())
}

/// Strict, since the text goes into JSON strings and headers as it is.
fn is_http_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '<' | '>');
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(fits))
}

fn kafka(r: &Reader) -> Kafka {
    let mut secret_properties = BTreeMap::new();
    for (name, path) in r.map("kafka.property_files") {
        match Secret::from_file(path.as_ref()) {
            Ok(secret) => {
                secret_properties.insert(name, secret);
            }
            Err(error) => {
                r.problem(&format!("kafka.property_files.{name}"), error.to_string());
            }
        }
    }
    let properties = r.map("kafka.properties");
    for name in properties.keys().filter(|name| is_secret_property(name)) {
        let text = "is a secret: put it into a file and name that in kafka.property_files";
        r.problem(&format!("kafka.properties.{name}"), text);
    }
    let topics = [
        "kafka.changes_topic",
        "kafka.control_topic",
        "kafka.alerts_topic",
        "kafka.objects_topic",
        "kafka.quarantine_topic",
    ];
    for key in topics {
        let name = r.text(key);
        // Kafka's own rule for topic names.
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.len() > 249 || !name.chars().all(fits) {
            r.problem(key, "is not a topic name: 1 to 249 of A-Z a-z 0-9 . _ -");
        }
    }
    Kafka {
        brokers: r.text("kafka.brokers"),
        changes_topic: r.text("kafka.changes_topic"),
        control_topic: r.text("kafka.control_topic"),
        alerts_topic: r.text("kafka.alerts_topic"),
        objects_topic: r.text("kafka.objects_topic"),
        quarantine_topic: r.text("kafka.quarantine_topic"),
        group_prefix: r.text("kafka.group_prefix"),
        create_topics: r.truth("kafka.create_topics"),
        partitions: r.number("kafka.partitions", 1..=10_000),
        replication_factor: r.number("kafka.replication_factor", 1..=10),
        start_timeout: r.duration("kafka.start_timeout", seconds(1)..=seconds(600)),
        properties,
        secret_properties,
    }
}

/// librdkafka's properties that hold a secret.
fn is_secret_property(name: &str) -> bool {
    let ends = ["password", "secret", "ssl.key.pem", "sasl.oauthbearer.config"];
    ends.iter().any(|end| name.ends_with(end))
}

fn redis(r: &Reader) -> Option<Redis> {
    let mode = r.choice(
        "redis.mode",
        &[
            ("standalone", RedisMode::Standalone),
            ("sentinel", RedisMode::Sentinel),
            ("cluster", RedisMode::Cluster),
        ],
        RedisMode::Standalone,
    );
    let sentinel_master = r.text("redis.sentinel_master");
    if mode == RedisMode::Sentinel && sentinel_master.is_empty() {
        r.problem("redis.sentinel_master", "is required with redis.mode = \"sentinel\"");
    }
    let timeout = |key: &str| r.duration(key, Duration::from_millis(10)..=seconds(2));
    let redis = Redis {
        url: Secret::new(r.text("redis.url")),
        username: r.optional("redis.username"),
        password_file: r.file("redis.password_file"),
        ca_file: r.file("redis.ca_file"),
        mode,
        sentinel_master,
        sentinel_username: r.optional("redis.sentinel_username"),
        sentinel_password_file: r.file("redis.sentinel_password_file"),
        key_prefix: r.text("redis.key_prefix"),
        connect_timeout: timeout("redis.connect_timeout"),
        response_timeout: timeout("redis.response_timeout"),
    };
    let url = redis.url.expose();
    if url.is_empty() {
        return None;
    }
    if !url.starts_with("redis://") && !url.starts_with("rediss://") {
        // Not shown: a URL may hold a password.
        r.problem("redis.url", "is not a URL that starts with redis:// or rediss://");
    }
    Some(redis)
}

fn auth(r: &Reader) -> Auth {
    let mut issuers = Vec::new();
    let (issuer, audience) = (r.optional("auth.issuer"), r.optional("auth.audience"));
    let (secret, jwks) = (r.file("auth.hs256_secret_file"), r.optional("auth.jwks_url"));
    let key = match (secret, jwks) {
        (Some(_), Some(_)) => {
            r.problem(
                "auth.jwks_url",
                "stands beside auth.hs256_secret_file: one issuer has one kind of key",
            );
            None
        }
        (Some(file), None) => Some(KeySource::Hs256SecretFile(file)),
        (None, Some(url)) => Some(KeySource::Jwks { url, ca_file: None }),
        (None, None) => None,
    };
    match (issuer, key) {
        (Some(issuer), Some(key)) => {
            if audience.is_none() {
                r.problem("auth.audience", "is required: what tokens name as 'aud'");
            }
            let audiences = audience.into_iter().collect();
            issuers.push(Issuer { issuer, audiences, key, tenants: Vec::new() });
        }
        (None, Some(_)) => r.problem("auth.issuer", "is required: what tokens name as 'iss'"),
        // The development issuer's secret is made by `tidewire dev`.
        (_, None) => {}
    }
    issuers.extend(r.rows("auth.issuers", ISSUER_KEYS).iter().filter_map(issuer_of));
    Auth {
        issuers,
        tenant: r.optional("auth.tenant"),
        mapping: r.rows("auth.mapping", MAPPING_KEYS).iter().filter_map(mapping_of).collect(),
        leeway: r.duration("auth.leeway", seconds(0)..=seconds(30)),
        path_token: r.truth("auth.path_token"),
        token_cache_max: r.number("auth.token_cache_max", 1..=10_000_000),
        ticket_ttl: r.duration("auth.ticket_ttl", seconds(1)..=seconds(600)),
        claims: Claims {
            tenant: r.text("auth.claims.tenant"),
            user: r.text("auth.claims.user"),
            roles: r.text("auth.claims.roles"),
            business_units: r.text("auth.claims.business_units"),
            token_id: r.text("auth.claims.token_id"),
        },
        roles: Roles {
            producer: r.list("auth.roles.producer"),
            admin: r.list("auth.roles.admin"),
            script_author: r.list("auth.roles.script_author"),
        },
    }
}

const ISSUER_KEYS: &[&str] =
    &["issuer", "audiences", "jwks_url", "ca_file", "hs256_secret_file", "pem_file", "tenants"];
const MAPPING_KEYS: &[&str] =
    &["issuer", "azp", "sub", "tenant", "user", "roles", "business_units"];

fn issuer_of(row: &Row<'_>) -> Option<Issuer> {
    let issuer = row.text("issuer");
    let audiences = row.list("audiences");
    if issuer.is_none() {
        row.problem("issuer", "is required: what tokens name as 'iss'");
    }
    if audiences.is_empty() {
        row.problem("audiences", "is required: what tokens name as 'aud'");
    }
    let ca_file = row.file("ca_file");
    let keys = [
        row.file("hs256_secret_file").map(KeySource::Hs256SecretFile),
        row.text("jwks_url").map(|url| KeySource::Jwks { url, ca_file }),
        row.file("pem_file").map(KeySource::PemFile),
    ];
    let mut keys: Vec<KeySource> = keys.into_iter().flatten().collect();
    if keys.len() != 1 {
        row.problem("", "needs exactly one of jwks_url, pem_file and hs256_secret_file");
        return None;
    }
    Some(Issuer { issuer: issuer?, audiences, key: keys.pop()?, tenants: row.list("tenants") })
}

fn mapping_of(row: &Row<'_>) -> Option<Mapping> {
    let issuer = row.text("issuer");
    if issuer.is_none() {
        row.problem("issuer", "is required");
    }
    let (azp, sub) = (row.text("azp"), row.text("sub"));
    if azp.is_some() == sub.is_some() {
        row.problem("", "needs exactly one of azp and sub");
    }
    let user = row.text("user").and_then(|text| {
        let user = text.parse().ok();
        if user.is_none() {
            row.problem("user", "is the key of a user: a whole number");
        }
        user
    });
    Some(Mapping {
        issuer: issuer?,
        azp,
        sub,
        tenant: row.text("tenant"),
        user,
        roles: row.list("roles"),
        business_units: row.list("business_units"),
    })
}

fn http(r: &Reader) -> Http {
    let tls = match (r.file("http.tls.cert_file"), r.file("http.tls.key_file")) {
        (Some(cert_file), Some(key_file)) => Some(Tls { cert_file, key_file }),
        (None, None) => None,
        (Some(_), None) => {
            r.problem("http.tls.key_file", "is required beside http.tls.cert_file");
            None
        }
        (None, Some(_)) => {
            r.problem("http.tls.cert_file", "is required beside http.tls.key_file");
            None
        }
    };
    Http {
        listen: address(r, "http.listen"),
        allowed_origins: r.parsed_list(
            "http.allowed_origins",
            "an origin: scheme, host and port without a path, such as https://app.example.com",
            |text| is_origin(text).then(|| text.to_owned()),
        ),
        trusted_proxies: r.parsed_list(
            "http.trusted_proxies",
            "an address or a network such as 10.0.0.0/8",
            |text| is_range(text).then(|| IpRange(text.to_owned())),
        ),
        proxy_protocol: r.truth("http.proxy_protocol"),
        header_timeout: r.duration("http.header_timeout", seconds(1)..=seconds(300)),
        stall_timeout: r.duration("http.stall_timeout", seconds(1)..=seconds(300)),
        body_bytes_max: r.size("http.body_bytes_max", 1024..=1 << 30),
        connections_max: r.number("http.connections_max", 1..=10_000_000),
        connections_per_address_max: r.number("http.connections_per_address_max", 1..=10_000_000),
        connections_per_tenant_max: r.number("http.connections_per_tenant_max", 1..=10_000_000),
        connections_per_principal_max: r
            .number("http.connections_per_principal_max", 1..=10_000_000),
        accepts_per_second: r.number("http.accepts_per_second", 1..=1_000_000),
        tls,
    }
}

fn is_origin(text: &str) -> bool {
    let rest = text.split_once("://").map(|(_, rest)| rest);
    is_http_url(text) && rest.is_some_and(|rest| !rest.contains(['/', '?', '#', '@', '*']))
}

fn is_range(text: &str) -> bool {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}

fn model(r: &Reader) -> Model {
    let self_base_urls = r.map("model.self_base_urls");
    for (tenant, base) in &self_base_urls {
        if !is_http_url(base) {
            let text = format!("{base:?} is not a URL that starts with http:// or https://");
            r.problem(&format!("model.self_base_urls.{tenant}"), text);
        }
    }
    Model {
        file: r.file("model.file"),
        unknown_types: r.choice(
            "model.unknown_types",
            &[("refuse", UnknownTypes::Refuse), ("accept", UnknownTypes::Accept)],
            UnknownTypes::Refuse,
        ),
        all_keys_words: r.list("model.all_keys_words"),
        self_base_url: url(r, "model.self_base_url"),
        self_base_urls,
    }
}

fn gateway(r: &Reader) -> Gateway {
    let kib = |n: u64| n << 10;
    let low_water = r.size("gateway.not_sent_low_water", kib(1)..=kib(4096));
    Gateway {
        shards: r.number("gateway.shards", 0..=64),
        frame_bytes_max: r.size("gateway.frame_bytes_max", 1024..=kib(16 * 1024)),
        message_bytes_max: r.size("gateway.message_bytes_max", 1024..=kib(16 * 1024)),
        queue_bytes_max: r.size("gateway.queue_bytes_max", kib(4)..=kib(64 * 1024)),
        not_sent_low_water: u32::try_from(low_water).unwrap_or(u32::MAX),
        ping_interval: r.duration("gateway.ping_interval", seconds(1)..=seconds(600)),
        pong_timeout: r.duration("gateway.pong_timeout", seconds(1)..=seconds(300)),
        drain_window: r.duration("gateway.drain_window", seconds(0)..=seconds(3600)),
        drain_retry: r.duration("gateway.drain_retry", seconds(0)..=seconds(300)),
        inbound_messages_per_minute: r.number("gateway.inbound_messages_per_minute", 1..=1_000_000),
    }
}

fn capture(r: &Reader) -> Capture {
    let size = |key: &str, max: u64| r.size(key, 1024..=max);
    Capture {
        change_max_bytes: size("capture.change_max_bytes", 64 << 20),
        bulk_lines_max: r.number("capture.bulk_lines_max", 1..=10_000_000),
        bulk_bytes_max: size("capture.bulk_bytes_max", 1 << 32) as u64,
        in_flight_max: r.number("capture.in_flight_max", 1..=1_000_000),
        write_timeout: r
            .duration("capture.write_timeout", Duration::from_millis(100)..=seconds(300)),
        idempotency_ttl: r.duration("capture.idempotency_ttl", seconds(60)..=seconds(7 * 86_400)),
        idempotency_max: r.number("capture.idempotency_max", 1..=100_000_000),
    }
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
