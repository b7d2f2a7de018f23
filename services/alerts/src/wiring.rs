//! The one file of the service that knows all adapters: from the configuration to a running replica.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tidewire_assembly::{
    StartError, alerts_topic, changes_topic, check_without_tokens, common_metrics, control_topic,
    internal_server, prepare_topics, quarantine_topic,
};
use tidewire_config::Settings;
use tidewire_http::{Server, ServerHandle};
use tidewire_kafka::{
    EmbeddedBroker, History, KafkaOptions, PoisonRecord, Quarantine, Reader, Stage, StartAt, Writer,
};
use tidewire_log::LogRecord;
use tidewire_model::Model;
use tidewire_runtime::{Clock, Exit, Shutdown, Signals, Tasks};
use tidewire_telemetry::{AlertsMetrics, CommonMetrics, Registry};
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use crate::control::ControlTopic;
use crate::driver::PoisonSink;
use crate::options::{AlertsOptions, stage_options};
use crate::service::{Alerts, AlertsParts, Input};

/// How long the batch at hand may take when the service is told to stop; keep it below the grace period of
/// the orchestrator.
const DRAIN_MAX: Duration = Duration::from_secs(20);
/// How long the internal listener may take to end.
const LINGER: Duration = Duration::from_secs(3);
/// How often the start looks whether the control topic was read.
const LOOK: Duration = Duration::from_millis(20);

/// Builds a replica of a configuration that was checked. What every service counts goes to `common`, the
/// rest is registered. `embedded` is given where the cluster is the embedded broker.
///
/// # Errors
/// Topics that are not as they must be; a client, worker or thread that cannot be started.
pub async fn wire(
    settings: &Settings,
    registry: &Registry,
    common: CommonMetrics,
    kafka: &KafkaOptions,
    model: Arc<Model>,
    embedded: Option<&EmbeddedBroker>,
) -> anyhow::Result<Alerts> {
    let topics = [
        changes_topic(settings),
        control_topic(settings),
        alerts_topic(settings),
        quarantine_topic(settings),
    ];
    prepare_topics(settings, kafka, embedded, &topics).await?;
    let names = &settings.kafka;
    let quarantine = Quarantine::start(kafka, &names.quarantine_topic)?;
    let control = ControlTopic {
        reader: Box::new(Reader::start(kafka, &names.control_topic, StartAt::Earliest)?),
        writer: Arc::new(Writer::start(kafka, &names.control_topic)?),
    };
    let (kafka, stage) = (kafka.clone(), stage_options(settings));
    let changes = names.changes_topic.clone();
    let input = move || {
        let stage = Box::new(Stage::start(&kafka, stage)?);
        Ok(Input { stage, history: Box::new(History::new(&kafka, &changes)?) })
    };
    Alerts::start(AlertsParts {
        options: AlertsOptions::of(settings)?,
        model,
        control,
        input: Box::new(input),
        poison: Arc::new(ToQuarantine { quarantine, topic: names.changes_topic.clone() }),
        metrics: AlertsMetrics::register(registry)?,
        common,
        clock: Clock::system(),
    })
    .await
}

struct ToQuarantine {
    quarantine: Quarantine,
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

/// A replica that serves.
struct Running {
    alerts: Alerts,
    internal: ServerHandle,
    tasks: Tasks,
}

/// Runs a replica until it is told to stop; then drains it.
///
/// # Errors
/// [`StartError`].
pub async fn run(settings: &Settings, registry: &Registry) -> Result<Exit, StartError> {
    let mut signals = Signals::install().context("no signals")?;
    let running = tokio::select! {
        running = start(settings, registry) => running?,
        signal = signals.wait() => {
            info!(%signal, "told to stop before it was ready");
            return Ok(Exit::Clean);
        }
    };
    let Running { alerts, internal, tasks } = running;
    tokio::select! {
        signal = signals.wait() => info!(%signal, "told to stop, the batch at hand is finished"),
        () = alerts.ended() => error!(failed = ?alerts.failed(), "a task failed, ending"),
        () = tasks.shutdown().cancelled() => error!("the internal listener failed, ending"),
    }
    let left = tokio::select! {
        left = alerts.drain(DRAIN_MAX) => left,
        signal = signals.wait() => {
            warn!(%signal, "told again, not waiting any longer");
            Vec::new()
        }
    };
    internal.stop_accepting();
    tasks.shutdown().cancel();
    let lingering = tasks.join_all(LINGER).await;
    let failed = [alerts.failed(), tasks.failed()].concat();
    info!(?left, ?lingering, ?failed, "ended");
    Ok(if failed.is_empty() { Exit::Clean } else { Exit::Failed })
}

async fn start(settings: &Settings, registry: &Registry) -> Result<Running, StartError> {
    let (model, kafka) = check_without_tokens(settings, "tidewire-alerts")?;
    let internal = Server::bind(internal_server(settings)).await;
    let internal = internal.map_err(anyhow::Error::new)?;
    let common = common_metrics(registry)?;
    let alerts = wire(settings, registry, common, &kafka, model, None).await?;
    let tasks = Tasks::new(Shutdown::new());
    let address = internal.local_addr();
    let site = alerts.internal_site(registry);
    let internal = internal.serve(site, &tasks, tasks.shutdown().clone());
    let until = Instant::now() + settings.kafka.start_timeout;
    while !alerts.is_ready() {
        if timeout(LOOK, alerts.ended()).await.is_ok() {
            return Err(anyhow!("a task failed: {}", alerts.failed().join(", ")).into());
        }
        if Instant::now() >= until {
            let brokers = &settings.kafka.brokers;
            let text = format!("kafka at {brokers} (kafka.brokers) did not answer in time");
            return Err(anyhow!(text).into());
        }
        sleep(LOOK).await;
    }
    info!(internal = %address, topic = %settings.kafka.changes_topic, "ready");
    Ok(Running { alerts, internal, tasks })
}
