//! `tidewire dev`: gateway, capture, alerts, the embedded broker, an in-memory store, a simulated fleet and a
//! page that shows it move, in one process; scripts run in worker processes, as everywhere.
//!
//! Only for this machine: it listens on loopback, gives a token to whoever asks there, and forgets
//! everything when it ends.

mod alerts;
mod banner;
mod fleet;
mod page;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use tidewire_alerts::Alerts;
use tidewire_assembly::{Checked, StartError, begin, check, explain};
use tidewire_auth::{Secret, dev_secret};
use tidewire_capture::{Capture, CaptureOptions, Parts};
use tidewire_config::{Service, Settings, Sources};
use tidewire_event::Tenant;
use tidewire_gateway::wiring::{Surroundings, wire};
use tidewire_kafka::{EmbeddedBroker, KafkaOptions, Writer};
use tidewire_runtime::{Clock, Exit, Shutdown, Signals, Tasks};
use tidewire_store::{MemoryLimits, MemoryStore, Store};
use tidewire_telemetry::{CaptureMetrics, CommonMetrics, Registry};

use crate::token::DEV_SECRET_FILE;
use banner::Banner;

/// The tenant of the simulated fleet.
pub(crate) const TENANT: &str = "demo";
/// The ports that nobody has chosen.
const DEFAULT_PORTS: [u16; 2] = [8080, 8081];
/// Partitions of the embedded broker's topic.
const PARTITIONS: &str = "3";

/// Where to listen and what to simulate.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The port of sockets, page and changes; 0 takes any free one.
    #[arg(long)]
    port: Option<u16>,
    /// The port of health and metrics; 0 takes any free one.
    #[arg(long)]
    internal_port: Option<u16>,
    /// Simulated changes a second; 0 is none.
    #[arg(long, default_value_t = 5.0, value_parser = rate)]
    rate: f64,
    /// The seed of the simulated fleet.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, over file and environment; may be given more than once.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if (0.0..=10_000.0).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("{text:?} is not from 0 to 10000"))
    }
}

pub(crate) fn run(args: Args) -> ExitCode {
    let outcome = tokio::runtime::Runtime::new()
        .map_err(|e| StartError::Other(anyhow::Error::new(e)))
        .and_then(|runtime| runtime.block_on(serve(args)));
    match outcome {
        Ok(()) => Exit::Clean.into(),
        Err(e) => {
            eprintln!("tidewire dev: {}", explain(&e));
            e.exit().into()
        }
    }
}

async fn serve(args: Args) -> Result<(), StartError> {
    let secret_file = Path::new(DEV_SECRET_FILE);
    let secret = dev_secret(secret_file).map_err(anyhow::Error::new)?;
    let (settings, taken) = settings(&args, secret_file)?;
    begin(&settings)?;
    if !(settings.http.listen.ip().is_loopback() && settings.internal.listen.ip().is_loopback()) {
        let text = "tidewire dev gives a token to whoever asks, so it listens on loopback alone: \
                    http.listen and internal.listen must be 127.0.0.1 or ::1";
        return Err(StartError::Values(vec![text.to_owned()]));
    }
    let mut signals = Signals::install().context("no signals")?;
    let tasks = Tasks::new(Shutdown::new());
    let registry = Registry::new();
    let started = start(&args, &settings, &registry, &secret, &tasks);
    let started = tokio::select! {
        started = started => started?,
        _ = signals.wait() => return Ok(()),
    };
    print!("{}", Banner { taken: &taken, ..started.banner(&args, &secret)? });
    tokio::select! {
        _ = signals.wait() => {}
        () = tasks.shutdown().cancelled() => {}
        () = ended(started.alerts.as_ref()) => {}
    }
    println!("\nstopping");
    let mut failed = match &started.alerts {
        Some(alerts) => alerts::drain(alerts).await,
        None => Vec::new(),
    };
    started.running.drain(&tasks).await;
    failed.extend(tasks.failed());
    match failed.as_slice() {
        [] => Ok(()),
        failed => Err(anyhow::anyhow!("a task failed: {}", failed.join(", ")).into()),
    }
}

/// Returns once a part of the alerts service has failed.
async fn ended(alerts: Option<&Alerts>) {
    match alerts {
        Some(alerts) => alerts.ended().await,
        None => std::future::pending().await,
    }
}

/// The configuration, with the development secret and with ports that are free. What was taken comes
/// back as notes for the banner.
fn settings(args: &Args, secret_file: &Path) -> Result<(Settings, Vec<String>), StartError> {
    let mut sources = Sources::from_env()
        .file(args.config.as_deref())
        // Below what the user says: shorter drains and less log than in production.
        .set([
            format!("auth.hs256_secret_file={}", secret_file.display()),
            format!("kafka.partitions={PARTITIONS}"),
            "gateway.drain_window=0s".to_owned(),
            "log.level=warn".to_owned(),
        ])
        .set(args.set.clone());
    let chosen = [
        ("--port", "http.listen", args.port),
        ("--internal-port", "internal.listen", args.internal_port),
    ];
    for (flag, key, port) in chosen {
        if let Some(port) = port {
            sources = sources.flag(flag, key, format!("127.0.0.1:{port}"));
        }
    }
    let settings = tidewire_config::load(Service::Dev, sources.clone())?;
    let mut taken = Vec::new();
    let listens = [settings.http.listen, settings.internal.listen];
    for ((flag, key, port), listen) in chosen.into_iter().zip(listens) {
        // Only a default port is exchanged: what the user chose is taken at his word.
        let is_default = port.is_none() && DEFAULT_PORTS.contains(&listen.port());
        if is_default && TcpListener::bind(listen).is_err() {
            let port = listen.port();
            taken.push(format!("port {port} is taken, using a free one ({flag} chooses)"));
            sources = sources.flag(flag, key, "127.0.0.1:0");
        }
    }
    Ok((tidewire_config::load(Service::Dev, sources)?, taken))
}

/// Everything that runs.
struct Started {
    running: tidewire_gateway::wiring::Running,
    /// Unless `gateway.alerts` is off.
    alerts: Option<Alerts>,
    public_url: String,
    embedded: bool,
    // Ends with the process.
    _broker: Option<Arc<EmbeddedBroker>>,
}

impl Started {
    fn banner<'a>(&self, args: &Args, secret: &Secret) -> anyhow::Result<Banner<'a>> {
        Ok(Banner {
            url: self.public_url.clone(),
            internal: format!("http://{}", self.running.internal.local_addr()),
            token: page::mint(secret)?.0,
            embedded: self.embedded,
            has_alerts: self.alerts.is_some(),
            rate: args.rate,
            seed: args.seed,
            taken: &[],
        })
    }
}

async fn start(
    args: &Args,
    settings: &Settings,
    registry: &Registry,
    secret: &Secret,
    tasks: &Tasks,
) -> Result<Started, StartError> {
    let broker = match settings.kafka.brokers.as_str() {
        "" => Some(Arc::new(EmbeddedBroker::start().map_err(anyhow::Error::new)?)),
        _ => None,
    };
    let Checked { model, verifier, kafka, .. } = check(settings, "tidewire-dev", true)?;
    let kafka = match &broker {
        // The embedded broker holds an empty fetch for as long as it is told to.
        Some(broker) => {
            KafkaOptions { fetch_wait: std::time::Duration::from_millis(5), ..broker.options() }
        }
        None => kafka,
    };
    let memory = || -> Arc<dyn Store> { Arc::new(MemoryStore::new(MemoryLimits::default())) };
    let surroundings = Surroundings {
        development: true,
        embedded: broker.clone().map(|broker| (kafka.clone(), broker)),
        store: settings.redis.is_none().then(memory),
    };
    let wired = wire(settings, registry, surroundings, tasks).await?;
    let writer =
        Writer::start(&kafka, &settings.kafka.changes_topic).map_err(anyhow::Error::new)?;
    let capture = Capture::start(
        CaptureOptions::from(&settings.capture),
        Parts {
            writer: Arc::new(writer),
            verifier,
            model: Arc::clone(&model),
            metrics: CaptureMetrics::register(registry).map_err(anyhow::Error::new)?,
            common: CommonMetrics::register(&Registry::new()).map_err(anyhow::Error::new)?,
            clock: Clock::system(),
        },
    );
    let tenant = Tenant::new(TENANT).map_err(anyhow::Error::new)?;
    if broker.is_some() && settings.gateway.alerts {
        alerts::save_samples(&kafka, settings, &tenant).await?;
    }
    // Before anybody is served: what is ready is all there.
    let alerts = match settings.gateway.alerts {
        true => Some(alerts::start(settings, registry, &kafka, model, broker.as_deref()).await?),
        false => None,
    };
    let public_url = wired.public_url.clone();
    let more = capture.site().join(page::site(secret));
    let running = wired.serve(settings, registry, more, tasks).await?;
    if args.rate > 0.0 {
        let sail = fleet::sail(capture.intake().clone(), tenant, args.seed, args.rate);
        let shutdown = tasks.shutdown().clone();
        tasks.spawn("fleet", async move {
            tokio::select! {
                () = sail => {}
                () = shutdown.cancelled() => {}
            }
        });
    }
    Ok(Started { running, alerts, public_url, embedded: broker.is_some(), _broker: broker })
}
