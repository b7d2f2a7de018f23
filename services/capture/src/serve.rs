//! The service from its listeners to its drain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tidewire_assembly::{
    Checked, changes_topic, common_metrics, internal_server, prepare_topics, public_server,
};
use tidewire_capture::{Capture, CaptureOptions, Parts};
use tidewire_config::Settings;
use tidewire_http::{ApiReply, ApiRequest, Method, Reply, Server, Site, StatusCode};
use tidewire_kafka::Writer;
use tidewire_runtime::{Clock, Exit, Shutdown, Signals, Tasks};
use tidewire_telemetry::{CaptureMetrics, CommonMetrics, METRICS_CONTENT_TYPE, Registry};

/// How often the state of the writer is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// After the public port has ended: for records without an answer, and for the rest.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// What health tells.
struct Health {
    started: AtomicBool,
    draining: Shutdown,
    writer: Arc<Writer>,
}

/// Serves until a signal or a failure, then drains.
pub(crate) async fn serve(
    settings: &Settings,
    checked: Checked,
    registry: &Registry,
) -> anyhow::Result<Exit> {
    let Checked { kafka, verifier, model, .. } = checked;
    let mut signals = Signals::install()?;
    let common = common_metrics(registry)?;
    let (public, internal) = (Tasks::new(Shutdown::new()), Tasks::new(Shutdown::new()));
    let writer = Arc::new(Writer::start(&kafka, &settings.kafka.changes_topic)?);
    let health = Arc::new(Health {
        started: AtomicBool::new(false),
        draining: Shutdown::new(),
        writer: Arc::clone(&writer),
    });
    let listener = Server::bind(public_server(settings, false)).await?;
    let inside = Server::bind(internal_server(settings)).await?;
    let inside_address = inside.local_addr();
    inside.serve(internal_site(&health, registry), &internal, internal.shutdown().clone());
    let topics = [changes_topic(settings)];
    tokio::select! {
        checked = prepare_topics(settings, &kafka, None, &topics) => checked?,
        signal = signals.wait() => {
            tracing::info!(%signal, "told to stop before kafka answered");
            return Ok(Exit::Clean);
        }
    }
    let capture = Capture::start(
        CaptureOptions::from(&settings.capture),
        Parts {
            writer: writer.clone(),
            verifier: Arc::clone(&verifier),
            model,
            metrics: CaptureMetrics::register(registry)?,
            common: common.clone(),
            clock: Clock::system(),
        },
    );
    let address = listener.local_addr();
    listener.serve(capture.site(), &public, public.shutdown().clone());
    let keys = async move { verifier.keep_keys_fresh().await };
    internal.spawn("keys", ended_by(internal.shutdown().clone(), keys));
    let look = look(Arc::clone(&writer), common.clone());
    internal.spawn("kafka-look", ended_by(internal.shutdown().clone(), look));
    health.started.store(true, Ordering::Relaxed);
    common.ready.set(1);
    tracing::info!(%address, internal = %inside_address, topic = %settings.kafka.changes_topic, "capture takes changes");

    tokio::select! {
        signal = signals.wait() => tracing::info!(%signal, "draining"),
        () = public.shutdown().cancelled() => tracing::error!("a task failed, ending"),
        () = internal.shutdown().cancelled() => tracing::error!("a task failed, ending"),
    }
    common.ready.set(0);
    common.draining.set(1);
    health.draining.cancel();
    capture.drain();
    public.shutdown().cancel();
    // A request waits for Kafka at most for the write timeout.
    let stragglers = tokio::select! {
        left = public.join_all(settings.capture.write_timeout + FLUSH_LIMIT) => left,
        signal = signals.wait() => {
            tracing::warn!(%signal, "told again, not waiting any longer");
            public.running()
        }
    };
    let flushed = tokio::task::spawn_blocking(move || writer.flush(FLUSH_LIMIT)).await;
    internal.shutdown().cancel();
    let left = internal.join_all(FLUSH_LIMIT).await;
    let failed = [public.failed(), internal.failed()].concat();
    match flushed.context("the flush panicked")? {
        Ok(()) => tracing::info!(?stragglers, ?left, ?failed, "ended, every record has its answer"),
        Err(error) => {
            tracing::warn!(%error, ?stragglers, ?left, ?failed, "ended, some records have no answer")
        }
    }
    Ok(if failed.is_empty() { Exit::Clean } else { Exit::Failed })
}

async fn ended_by(shutdown: Shutdown, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = shutdown.cancelled() => {}
    }
}

/// Keeps the gauge of Kafka's state.
async fn look(writer: Arc<Writer>, common: CommonMetrics) {
    loop {
        common.kafka_available.set(i64::from(writer.status().last_error.is_none()));
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn internal_site(health: &Arc<Health>, registry: &Registry) -> Site {
    let (startup, ready, registry) = (Arc::clone(health), Arc::clone(health), registry.clone());
    Site::new()
        .route(Method::GET, "/health/live", |_: ApiRequest| async { state(true, "live") })
        .route(Method::GET, "/health/startup", move |_: ApiRequest| {
            let started = startup.started.load(Ordering::Relaxed);
            async move { state(started, if started { "started" } else { "starting" }) }
        })
        .route(Method::GET, "/health/ready", move |_: ApiRequest| {
            let answer = ready.readiness();
            async move { answer }
        })
        .route(Method::GET, "/metrics", move |_: ApiRequest| {
            let text = registry.encode();
            async move {
                match text {
                    Ok(text) => {
                        ApiReply::from(Reply::new(StatusCode::OK, METRICS_CONTENT_TYPE, text))
                    }
                    Err(error) => {
                        tracing::error!(%error, "metrics cannot be shown");
                        ApiReply::Error(StatusCode::INTERNAL_SERVER_ERROR, "no metrics".to_owned())
                    }
                }
            }
        })
}

impl Health {
    /// Ready also while Kafka is away: no other replica could do better, and this one answers with
    /// `Retry-After`.
    fn readiness(&self) -> Reply {
        if self.draining.is_cancelled() {
            state(false, "draining")
        } else if !self.started.load(Ordering::Relaxed) {
            state(false, "starting")
        } else if self.writer.status().last_error.is_some() {
            state(true, "degraded: kafka is away")
        } else {
            state(true, "ready")
        }
    }
}

fn state(ok: bool, status: &str) -> Reply {
    let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Reply::json(code, format!("{{\"status\":\"{status}\"}}"))
}
