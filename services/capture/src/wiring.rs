//! From the configuration to the parts that a capture is made of: the one place that knows all adapters.

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tidewire_auth::{AuthOptions, ClaimNames, IssuerOptions, KeySource, MappingEntry};
use tidewire_config::{KeySource as ConfiguredKey, Settings, UnknownTypes};
use tidewire_http::{AllowedOrigins, ServerOptions, TlsFiles, TrustedProxies};
use tidewire_kafka::{
    CleanupPolicy, ExpectedTopic, KafkaOptions, Writer, check_topics, ensure_topics,
};
use tidewire_model::Model;
use tidewire_rights::RoleMap;
use tidewire_runtime::Shutdown;
use tidewire_telemetry::LogFormat;

/// How long the change topic keeps records, where this service creates it.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Between two looks for a cluster that is away at the start.
const START_PAUSE: Duration = Duration::from_secs(1);
/// What a record is larger than its change at most: header, key and Kafka's own frame.
const RECORD_OVERHEAD_BYTES: usize = 64 * 1024;
/// librdkafka's default for `message.max.bytes`.
const MESSAGE_BYTES_MAX: usize = 1_000_000;

pub(crate) fn log_format(settings: &Settings) -> LogFormat {
    if settings.log.json { LogFormat::Json } else { LogFormat::Text }
}

/// Standard error of an import is for people, whatever the log is for.
pub(crate) fn import_log_format(settings: &Settings) -> LogFormat {
    if std::io::stderr().is_terminal() { LogFormat::Text } else { log_format(settings) }
}

pub(crate) fn auth(settings: &Settings) -> AuthOptions {
    let auth = &settings.auth;
    let key = |key: &ConfiguredKey| match key {
        ConfiguredKey::Hs256SecretFile(path) => KeySource::Hs256SecretFile(path.clone()),
        ConfiguredKey::PemFile(path) => KeySource::PemFile(path.clone()),
        ConfiguredKey::Jwks { url, ca_file } => {
            KeySource::Jwks { url: url.clone(), ca_file: ca_file.clone(), allow_http: false }
        }
    };
    let issuers = auth.issuers.iter().map(|issuer| IssuerOptions {
        issuer: issuer.issuer.clone(),
        audiences: issuer.audiences.clone(),
        key: key(&issuer.key),
        tenants: issuer.tenants.clone(),
    });
    let mapping = auth.mapping.iter().map(|entry| MappingEntry {
        issuer: entry.issuer.clone(),
        sub: entry.sub.clone(),
        azp: entry.azp.clone(),
        tenant: entry.tenant.clone(),
        user: entry.user,
        roles: entry.roles.clone(),
        business_units: entry.business_units.clone(),
    });
    AuthOptions {
        issuers: issuers.collect(),
        tenant: auth.tenant.clone(),
        leeway_seconds: u32::try_from(auth.leeway.as_secs()).unwrap_or(u32::MAX),
        roles: RoleMap {
            producer: auth.roles.producer.clone(),
            admin: auth.roles.admin.clone(),
            script_author: auth.roles.script_author.clone(),
        },
        claims: ClaimNames {
            tenant: auth.claims.tenant.clone(),
            user: auth.claims.user.clone(),
            roles: auth.claims.roles.clone(),
            business_units: auth.claims.business_units.clone(),
            token_id: auth.claims.token_id.clone(),
            ..ClaimNames::default()
        },
        mapping: mapping.collect(),
        verified_tokens_max: auth.token_cache_max,
        // Whoever has read the project knows that secret's file: it must not open a port to others.
        development_secret_allowed: settings.http.listen.ip().is_loopback(),
        ..AuthOptions::default()
    }
}

pub(crate) fn model(settings: &Settings) -> anyhow::Result<Arc<Model>> {
    let model = match &settings.model.file {
        None => Model::vms(),
        Some(path) => read_model(path)
            .with_context(|| format!("the data model {} (model.file)", path.display()))?,
    };
    Ok(Arc::new(match settings.model.unknown_types {
        UnknownTypes::Refuse => model,
        UnknownTypes::Accept => model.with_unknown_types(tidewire_model::UnknownTypes::Accept),
    }))
}

fn read_model(path: &Path) -> anyhow::Result<Model> {
    Ok(Model::parse(&std::fs::read_to_string(path)?)?)
}

pub(crate) fn kafka(settings: &Settings) -> KafkaOptions {
    let kafka = &settings.kafka;
    let mut options = KafkaOptions::new(&kafka.brokers);
    options.client_id = "tidewire.capture".to_owned();
    options.group_prefix.clone_from(&kafka.group_prefix);
    options.properties.clone_from(&kafka.properties);
    for (name, secret) in &kafka.secret_properties {
        options.properties.insert(name.clone(), secret.expose().to_owned());
    }
    let record_bytes = settings.capture.change_max_bytes + RECORD_OVERHEAD_BYTES;
    if record_bytes > MESSAGE_BYTES_MAX {
        let properties = &mut options.properties;
        properties
            .entry("message.max.bytes".to_owned())
            .or_insert_with(|| record_bytes.to_string());
    }
    options.delivery_timeout = settings.capture.write_timeout;
    options
}

/// Waits for the cluster and looks at the topic; creates it where the configuration says so.
pub(crate) async fn check_topic(
    settings: &Settings,
    options: &KafkaOptions,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let kafka = &settings.kafka;
    let topic = |partitions, retention| ExpectedTopic {
        name: kafka.changes_topic.clone(),
        partitions,
        cleanup: CleanupPolicy::Delete,
        retention,
    };
    // How many partitions and how long a retention a topic has that exists, is its operator's business.
    let (created_as, expected) = ([topic(kafka.partitions, Some(RETENTION))], [topic(1, None)]);
    let deadline = tokio::time::Instant::now() + kafka.start_timeout;
    let problems = loop {
        let created = match kafka.create_topics {
            true => ensure_topics(options, None, &created_as).await,
            false => Ok(()),
        };
        let answer = match created {
            Ok(()) => check_topics(options, &expected).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(problems) => break problems,
            Err(error) if tokio::time::Instant::now() + START_PAUSE < deadline => {
                tracing::warn!(error = %error, brokers = %kafka.brokers, "kafka does not answer yet");
            }
            Err(error) => return Err(error).context("kafka did not answer in kafka.start_timeout"),
        }
        tokio::select! {
            () = tokio::time::sleep(START_PAUSE) => {}
            () = shutdown.cancelled() => anyhow::bail!("told to stop before kafka answered"),
        }
    };
    if problems.is_empty() {
        return Ok(());
    }
    // The command that helps makes the topic as this service would have made it.
    let problems = check_topics(options, &created_as).await?;
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    anyhow::bail!("{}", lines.join("\n"))
}

pub(crate) fn writer(settings: &Settings, options: &KafkaOptions) -> anyhow::Result<Arc<Writer>> {
    Ok(Arc::new(Writer::start(options, &settings.kafka.changes_topic)?))
}

pub(crate) fn public_listener(settings: &Settings) -> anyhow::Result<ServerOptions> {
    let http = &settings.http;
    let mut options = ServerOptions::new("http", http.listen);
    options.tls = http
        .tls
        .as_ref()
        .map(|tls| TlsFiles { certificate: tls.cert_file.clone(), key: tls.key_file.clone() });
    options.header_timeout = http.header_timeout;
    options.stall_timeout = http.stall_timeout;
    options.connections_max = http.connections_max;
    options.connections_per_address_max = http.connections_per_address_max;
    options.accepts_per_second = http.accepts_per_second;
    // Changes are bounded by their own settings, not by http.body_bytes_max.
    options.body_bytes_max = settings.capture.change_max_bytes;
    let ranges = http.trusted_proxies.iter().map(|range| range.0.parse());
    let ranges: Result<Vec<_>, _> = ranges.collect();
    options.trusted_proxies = TrustedProxies(ranges.context("http.trusted_proxies")?);
    options.proxy_protocol = http.proxy_protocol;
    let list = http.allowed_origins.clone();
    options.allowed_origins = AllowedOrigins { list, any_localhost_port: false };
    Ok(options)
}

pub(crate) fn internal_listener(settings: &Settings) -> ServerOptions {
    ServerOptions::new("internal", settings.internal.listen)
}
