//! The measured gateway: the service's own wiring in a process of its own, against the bench's embedded
//! broker.
//!
//! Why not the `gateway` binary: the embedded broker tells no topic id, so whoever reads it must be told
//! that it is one; that is not for configuration.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tidewire_assembly::{ServiceArgs, StartError};
use tidewire_auth::{DEV_AUDIENCE, DEV_ISSUER};
use tidewire_config::Service;
use tidewire_gateway::wiring::{Surroundings, wire};
use tidewire_kafka::{EmbeddedBroker, KafkaOptions};
use tidewire_runtime::{Shutdown, Tasks};
use tidewire_store::{MemoryLimits, MemoryStore, Store};

use super::child::{Child, reply};
use super::metrics::Metrics;
use super::protocol::Answer;
use super::workspace::{RSA_ISSUER, Workspace};

/// What differs between measured gateways.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// 0: as many as cores.
    pub(super) shards: usize,
    pub(super) tls: bool,
    /// How long the broker holds an empty fetch. The embedded one answers no sooner, so a short time
    /// makes events quick, and a long time makes the reader cheap.
    pub(super) fetch_wait: Duration,
    /// What `self` links start with: its length makes the frame's.
    pub(super) self_base_url: String,
    /// The bound of the hot window; `None` is the default.
    pub(super) window_bytes_max: Option<u64>,
    /// Whether it has a store of sessions, in its own memory.
    pub(super) store: bool,
    /// Another build than this one.
    pub(super) program: Option<PathBuf>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            shards: 0,
            tls: false,
            fetch_wait: Duration::from_millis(20),
            self_base_url: "https://vms.example.com".to_owned(),
            window_bytes_max: None,
            store: false,
            program: None,
        }
    }
}

/// A running gateway.
pub(super) struct Gateway {
    pub(super) child: Child,
    pub(super) address: String,
    internal: String,
}

impl Gateway {
    pub(super) fn start(space: &mut Workspace, topic: &str, shape: &Shape) -> Result<Self> {
        let file = space.file(&format!("{topic}.toml"));
        fs::write(&file, configuration(space, topic, shape)?)?;
        let mut arguments = vec![
            "--brokers".to_owned(),
            space.broker.bootstrap().to_owned(),
            "--fetch-wait-ms".to_owned(),
            shape.fetch_wait.as_millis().to_string(),
            "--config".to_owned(),
            file.display().to_string(),
        ];
        if shape.store {
            arguments.push("--with-store".to_owned());
        }
        let mut child = match &shape.program {
            Some(program) => Child::of(program, "gateway", &arguments)?,
            None => Child::start("gateway", &arguments)?,
        };
        let Answer { address, internal, .. } = child.answer()?;
        Ok(Self { child, address, internal })
    }

    /// What its metrics say now.
    pub(super) fn metrics(&self) -> Result<Metrics> {
        Metrics::of(&self.internal)
    }
}

fn configuration(space: &mut Workspace, topic: &str, shape: &Shape) -> Result<String> {
    let path = |name| space.file(name).display().to_string();
    let mut text = format!(
        r#"
[log]
level = "warn"
format = "text"
[kafka]
changes_topic = "{topic}"
control_topic = "{topic}.control"
quarantine_topic = "{topic}.quarantine"
partitions = 1
[auth]
hs256_secret_file = "{secret}"
issuer = "{DEV_ISSUER}"
audience = "{DEV_AUDIENCE}"
issuers = [{{ issuer = "{RSA_ISSUER}", audiences = ["{DEV_AUDIENCE}"], pem_file = "{rsa}" }}]
[http]
listen = "127.0.0.1:0"
connections_per_address_max = 100000
connections_per_principal_max = 100000
accepts_per_second = 1000000
[internal]
listen = "127.0.0.1:0"
[model]
self_base_url = "{base}"
[rights]
default = "open"
[gateway]
shards = {shards}
ping_interval = "10m"
"#,
        secret = path("secret"),
        rsa = path("rsa.pem"),
        base = shape.self_base_url,
        shards = shape.shards,
    );
    // An earlier build does not know these.
    if shape.program.is_none() {
        writeln!(text, "replay_bytes_per_second = \"8GiB\"")?;
        writeln!(text, "alerts = false")?;
        if let Some(bytes) = shape.window_bytes_max {
            writeln!(text, "window_bytes_max = {bytes}")?;
        }
    }
    if shape.tls {
        let (certificate, key) = (path("certificate.pem"), path("key.pem"));
        write!(text, "[http.tls]\ncert_file = \"{certificate}\"\nkey_file = \"{key}\"\n")?;
    }
    for kind in ["control", "quarantine"] {
        space.broker.create_topic(&format!("{topic}.{kind}"), 1)?;
    }
    Ok(text)
}

/// The role: serves until standard input ends.
pub(super) fn run(
    config: PathBuf,
    brokers: &str,
    fetch_wait: Duration,
    with_store: bool,
) -> Result<()> {
    let told = |e: StartError| anyhow::anyhow!("{}", tidewire_assembly::explain(&e));
    let set = vec![format!("kafka.brokers={brokers}")];
    let arguments = ServiceArgs { config: Some(config), set };
    let (settings, registry) =
        tidewire_assembly::init(Service::Gateway, &arguments).map_err(told)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let mut kafka = KafkaOptions::new(brokers);
        kafka.embedded_id = Some("bench".to_owned());
        kafka.fetch_wait = fetch_wait;
        // Stands for the one that the bench runs: topics are looked for there, not here.
        let broker = Arc::new(EmbeddedBroker::start()?);
        let memory = || -> Arc<dyn Store> { Arc::new(MemoryStore::new(MemoryLimits::default())) };
        let surroundings = Surroundings {
            embedded: Some((kafka, broker)),
            store: with_store.then(memory),
            ..Surroundings::default()
        };
        let tasks = Tasks::new(Shutdown::new());
        let wired = wire(&settings, &registry, surroundings, &tasks).await.map_err(told)?;
        let site = tidewire_http::Site::new();
        let running = wired.serve(&settings, &registry, site, &tasks).await.map_err(told)?;
        let address = running.public.local_addr().to_string();
        let internal = running.internal.local_addr().to_string();
        reply(&Answer { address, internal, ..Answer::default() })?;
        let end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        end.await.context("nobody waits for the end")??;
        Ok(())
    })
}
