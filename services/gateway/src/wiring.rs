//! The one file of the gateway that knows all adapters: from the configuration to a running replica.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use tidewire_assembly::{
    Checked, StartError, alerts_topic, allowed_origins, changes_topic, check, common_metrics,
    control_topic, internal_server, prepare_topics, public_server, public_url, quarantine_topic,
    self_links, start_store,
};
use tidewire_auth::unix_now;
use tidewire_config::{KeySource, Secret, Settings};
use tidewire_event::CursorKey;
use tidewire_http::{Server, ServerHandle};
use tidewire_kafka::{
    EmbeddedBroker, History, KafkaOptions, PoisonRecord, Quarantine, Reader, StartAt, Writer,
};
use tidewire_log::{LogHistory, LogRecord};
use tidewire_router::{FoldTooLarge, SHARDS_MAX, ShardIndex, ShardLimits};
use tidewire_runtime::Tasks;
use tidewire_sandbox::WorkerOptions;
use tidewire_sockets::ShardOptions;
use tidewire_store::Store;
use tidewire_telemetry::{GatewayMetrics, Registry};
use tidewire_wire::ws::Limits;
use tokio::time::{Duration, Instant, sleep};
use tracing::info;

use crate::control::ControlTopic;
use crate::gateway::Gateway;
use crate::options::{GatewayOptions, GatewayParts, PoisonSink};
use crate::plane::TopicParts;

/// How long a socket that is being closed may take.
const LINGER: Duration = Duration::from_secs(3);
/// Commands that may wait for a shard.
const SHARD_COMMANDS_MAX: usize = 4096;
/// Bytes in the logs of a shard's views beyond which it takes no more events for now.
const BACKLOG_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Processes in which scripts are compiled, and as many in which they are tried when they are saved; started
/// with the first of them.
const SCRIPT_WORKERS: usize = 1;
/// How often the start looks whether all partitions are assigned.
const LOOK: Duration = Duration::from_millis(20);

/// What differs between a service of its own and `tidewire dev`.
#[derive(Default)]
pub struct Surroundings {
    /// Development: the development secret and pages from any port of localhost are let in.
    pub development: bool,
    /// The embedded broker, in place of a cluster.
    pub embedded: Option<(KafkaOptions, Arc<EmbeddedBroker>)>,
    /// A store in place of Redis.
    pub store: Option<Arc<dyn Store>>,
}

/// A replica with its listeners bound, ready to serve.
pub struct Wired {
    /// The replica.
    pub gateway: Gateway,
    /// Its public listener, not serving yet.
    pub public: Server,
    /// Its internal listener, not serving yet.
    pub internal: Server,
    /// Where clients reach it.
    pub public_url: String,
}

/// A replica that serves.
pub struct Running {
    /// The replica.
    pub gateway: Gateway,
    /// The public listener.
    pub public: ServerHandle,
    /// The internal listener.
    pub internal: ServerHandle,
}

/// Builds a replica: listeners, topics, log reader, store, shards.
///
/// # Errors
/// [`StartError`]: with which code to end, and why.
pub async fn wire(
    settings: &Settings,
    registry: &Registry,
    surroundings: Surroundings,
    tasks: &Tasks,
) -> Result<Wired, StartError> {
    let development = surroundings.development;
    let Checked { model, verifier, rights, kafka } =
        check(settings, "tidewire-gateway", development)?;
    let kafka = surroundings.embedded.as_ref().map_or(kafka, |(options, _)| options.clone());
    let store = match surroundings.store {
        Some(store) => Some(store),
        None => start_store(settings, tasks)?,
    };
    let bind = |error| StartError::Other(anyhow::Error::new(error));
    let public = Server::bind(public_server(settings, development)).await.map_err(bind)?;
    let internal = Server::bind(internal_server(settings)).await.map_err(bind)?;
    let public_url = public_url(settings, public.local_addr());
    let links = self_links(settings, &public_url)?;
    let mut topics =
        vec![changes_topic(settings), control_topic(settings), quarantine_topic(settings)];
    if settings.gateway.alerts {
        topics.push(alerts_topic(settings));
    }
    let embedded = surroundings.embedded.as_ref().map(|(_, broker)| &**broker);
    prepare_topics(settings, &kafka, embedded, &topics).await?;
    let cursor_key = cursor_key(settings)?;
    let quarantine = Quarantine::start(&kafka, &settings.kafka.quarantine_topic);
    let quarantine = Arc::new(quarantine.map_err(anyhow::Error::new)?);
    let topic = |name: &str| topic(settings, &kafka, name, &quarantine);
    let changes = topic(&settings.kafka.changes_topic)?;
    let alerts =
        if settings.gateway.alerts { Some(topic(&settings.kafka.alerts_topic)?) } else { None };
    let control = &settings.kafka.control_topic;
    let control = ControlTopic {
        reader: Box::new(
            Reader::start(&kafka, control, StartAt::Earliest).map_err(anyhow::Error::new)?,
        ),
        writer: Arc::new(Writer::start(&kafka, control).map_err(anyhow::Error::new)?),
    };
    // So that the first socket need not wait for the keys; a key server that is away is tried again.
    verifier.refresh_keys(unix_now()).await;
    let keys = Arc::clone(&verifier);
    let shutdown = tasks.shutdown().clone();
    tasks.spawn("keys", async move {
        tokio::select! {
            () = keys.keep_keys_fresh() => {}
            () = shutdown.cancelled() => {}
        }
    });
    let parts = GatewayParts {
        options: options(settings, development, &public_url, cursor_key),
        model,
        links,
        rights,
        verifier,
        store,
        changes,
        alerts,
        control,
        workers: WorkerOptions::of_this_binary(SCRIPT_WORKERS).map_err(anyhow::Error::new)?,
        common: common_metrics(registry)?,
        metrics: GatewayMetrics::register(registry).map_err(anyhow::Error::new)?,
        tasks: tasks.clone(),
    };
    let gateway = Gateway::start(parts).map_err(anyhow::Error::new)?;
    Ok(Wired { gateway, public, internal, public_url })
}

impl Wired {
    /// Serves, and waits until it is ready.
    ///
    /// # Errors
    /// Kafka did not answer in time.
    pub async fn serve(
        self,
        settings: &Settings,
        registry: &Registry,
        more: tidewire_http::Site,
        tasks: &Tasks,
    ) -> Result<Running, StartError> {
        let running = self.listen(registry, more, tasks);
        running.until_ready(settings, tasks).await?;
        Ok(running)
    }

    /// Serves, so that probes are answered while partitions are being assigned.
    fn listen(self, registry: &Registry, more: tidewire_http::Site, tasks: &Tasks) -> Running {
        let Self { gateway, public, internal, .. } = self;
        let shutdown = tasks.shutdown();
        let inside = gateway.internal_site(registry);
        let internal = internal.serve(inside, tasks, shutdown.clone());
        let public = public.serve(gateway.public_site().join(more), tasks, shutdown.clone());
        Running { gateway, public, internal }
    }
}

impl Running {
    /// Waits until all partitions are assigned and sockets are taken.
    ///
    /// # Errors
    /// Kafka did not answer in time.
    async fn until_ready(&self, settings: &Settings, tasks: &Tasks) -> Result<(), StartError> {
        let until = Instant::now() + settings.kafka.start_timeout;
        while !self.gateway.is_ready() {
            if tasks.shutdown().is_cancelled() {
                return Err(anyhow!("told to stop before it was ready").into());
            }
            if Instant::now() >= until {
                return Err(anyhow!(
                    "kafka at {} (kafka.brokers) did not answer in time",
                    settings.kafka.brokers
                )
                .into());
            }
            sleep(LOOK).await;
        }
        let (public, internal) = (self.public.local_addr(), self.internal.local_addr());
        info!(%public, %internal, "ready");
        Ok(())
    }

    /// Takes no new connection, closes the open ones over the drain window, and ends. Returns how many
    /// sockets did not go in time.
    pub async fn drain(self, tasks: &Tasks) -> usize {
        // Listening goes on: a client that comes now is told 503 and goes to another replica.
        let left = self.gateway.drain().await;
        self.public.stop_accepting();
        self.internal.stop_accepting();
        self.gateway.stop();
        tasks.shutdown().cancel();
        for name in tasks.join_all(LINGER).await {
            info!(task = name, "did not end in time");
        }
        left
    }
}

/// A topic, as a plane reads it.
fn topic(
    settings: &Settings,
    kafka: &KafkaOptions,
    name: &str,
    quarantine: &Arc<Quarantine>,
) -> anyhow::Result<TopicParts> {
    let back = StartAt::Back { records: settings.gateway.window_fill_records };
    let (options, topic) = (kafka.clone(), name.to_owned());
    Ok(TopicParts {
        reader: Box::new(Reader::start(kafka, name, back)?),
        history: Arc::new(move || {
            let history = History::new(&options, &topic)?;
            Ok(Box::new(history) as Box<dyn LogHistory>)
        }),
        poison: Arc::new(ToQuarantine {
            quarantine: Arc::clone(quarantine),
            topic: name.to_owned(),
        }),
    })
}

/// The key of cursors: of a secret of its own, else of the one that tokens are signed with.
fn cursor_key(settings: &Settings) -> Result<CursorKey, StartError> {
    let shared = settings.auth.issuers.iter().find_map(|issuer| match &issuer.key {
        KeySource::Hs256SecretFile(path) => Some(path),
        KeySource::PemFile(_) | KeySource::Jwks { .. } => None,
    });
    let name = "gateway.cursor_secret_file";
    let problem = |text: String| StartError::Values(vec![format!("{name}: {text}")]);
    let path = settings.gateway.cursor_secret_file.as_ref().or(shared).ok_or_else(|| {
        problem(
            "needs a file with a secret, the same on every replica: cursors and the positions of \
                 sessions are signed with it"
                .to_owned(),
        )
    })?;
    let secret = Secret::from_file(path).map_err(|error| problem(error.to_string()))?;
    if secret.expose().len() < CursorKey::SECRET_BYTES_MIN {
        let least = CursorKey::SECRET_BYTES_MIN;
        return Err(problem(format!("{} has fewer than {least} bytes", path.display())));
    }
    Ok(CursorKey::derive(secret.expose().as_bytes()))
}

fn options(
    settings: &Settings,
    development: bool,
    public_url: &str,
    cursor_key: CursorKey,
) -> GatewayOptions {
    let (gateway, http) = (&settings.gateway, &settings.http);
    GatewayOptions {
        shards: shards(gateway.shards),
        sockets: ShardOptions {
            limits: Limits {
                frame_bytes_max: gateway.frame_bytes_max,
                message_bytes_max: gateway.message_bytes_max,
            },
            ping_interval: gateway.ping_interval,
            pong_timeout: gateway.pong_timeout,
            linger: LINGER,
            inbound_messages_per_minute: gateway.inbound_messages_per_minute,
            commands_max: SHARD_COMMANDS_MAX,
        },
        limits: ShardLimits {
            queue_bytes_max: gateway.queue_bytes_max,
            slow_grace_ms: u64::try_from(gateway.slow_grace.as_millis()).unwrap_or(u64::MAX),
            backlog_bytes_max: BACKLOG_BYTES_MAX,
            replay_bytes_per_second: gateway.replay_bytes_per_second as u64,
        },
        all_keys_words: settings.model.all_keys_words.clone(),
        path_token: settings.auth.path_token,
        origins: allowed_origins(settings, development),
        connections_per_tenant_max: http.connections_per_tenant_max,
        connections_per_principal_max: http.connections_per_principal_max,
        ticket_ttl: settings.auth.ticket_ttl,
        drain_window: gateway.drain_window,
        drain_retry: gateway.drain_retry,
        cursor_key,
        window_bytes_max: gateway.window_bytes_max,
        snapshot_limit: FoldTooLarge {
            objects_max: gateway.snapshot_objects_max,
            bytes_max: gateway.snapshot_bytes_max,
        },
        subscriptions_per_connection_max: gateway.subscriptions_per_connection_max,
        internal_on_loopback: settings.internal.listen.ip().is_loopback(),
        public_url: public_url.to_owned(),
    }
}

/// As many as configured, else as many as cores.
fn shards(configured: ShardIndex) -> ShardIndex {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = if configured == 0 { cores } else { usize::from(configured) };
    ShardIndex::try_from(wanted.clamp(1, SHARDS_MAX)).unwrap_or(1)
}

struct ToQuarantine {
    quarantine: Arc<Quarantine>,
    topic: String,
}

impl PoisonSink for ToQuarantine {
    fn put(&self, record: &LogRecord<'_>, reason: &str) {
        self.quarantine.put(&PoisonRecord { topic: &self.topic, record: *record, reason });
    }

    fn lost(&self) -> u64 {
        self.quarantine.lost()
    }
}

/// Runs a replica until it is told to stop; then drains it.
///
/// # Errors
/// [`StartError`].
pub async fn run(settings: &Settings, registry: &Registry) -> Result<(), StartError> {
    let mut signals = tidewire_runtime::Signals::install().context("no signals")?;
    let tasks = Tasks::new(tidewire_runtime::Shutdown::new());
    let wired = tokio::select! {
        wired = wire(settings, registry, Surroundings::default(), &tasks) => wired?,
        _ = signals.wait() => return Ok(()),
    };
    let running = wired.listen(registry, tidewire_http::Site::new(), &tasks);
    let never_ready = async {
        match running.until_ready(settings, &tasks).await {
            Ok(()) => std::future::pending().await,
            Err(error) => error,
        }
    };
    // Sockets may be open before it is said that it is ready: from here on there is no end without a drain, but
    // where it cannot start.
    let failed = tokio::select! {
        biased;
        signal = signals.wait() => {
            info!(signal = ?signal, "told to stop");
            false
        }
        // A task that panicked ends the service.
        () = tasks.shutdown().cancelled() => true,
        error = never_ready => return Err(error),
    };
    let left = running.drain(&tasks).await;
    info!(left, "stopped");
    if failed {
        return Err(anyhow!("a task failed: {}", tasks.failed().join(", ")).into());
    }
    Ok(())
}
