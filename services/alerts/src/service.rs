//! The service as a part: what runs in it, what a listener mounts of it, and how it drains.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tidewire_event::Tenant;
use tidewire_http::Site;
use tidewire_log::{LogHistory, LogStage, LogWriter};
use tidewire_model::Model;
use tidewire_runtime::{Clock, Shutdown, Tasks};
use tidewire_sandbox::{WorkerOptions, Workers};
use tidewire_script::Found;
use tidewire_telemetry::{AlertsMetrics, CommonMetrics, Registry};
use tokio::runtime::Handle;

use crate::collect::Collector;
use crate::control::{ControlTopic, Follower};
use crate::driver::{Driver, PoisonSink};
use crate::evaluate::Evaluator;
use crate::health::{self, Health};
use crate::late::Late;
use crate::repeats::Repeats;
use crate::scripts::{LastError, Scripts};
use crate::{AlertsOptions, states};

/// How often the driver looks whether the control topic was read.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// The change topic and what is written of it.
pub struct Input {
    /// Reads it, as a member of the group, and writes alerts.
    pub stage: Box<dyn LogStage>,
    /// Reads what lies before the group's positions.
    pub history: Box<dyn LogHistory>,
}

/// Makes the input, once the control topic was read.
pub type InputFactory = Box<dyn FnOnce() -> anyhow::Result<Input> + Send>;

/// What the service is put together from.
pub struct AlertsParts {
    /// What bounds the scripts.
    pub options: AlertsOptions,
    /// The data model.
    pub model: Arc<Model>,
    /// Where scripts come from.
    pub control: ControlTopic,
    /// Where changes come from and alerts go.
    pub input: InputFactory,
    /// Where records go that cannot be used.
    pub poison: Arc<dyn PoisonSink>,
    /// What is counted.
    pub metrics: AlertsMetrics,
    /// What every service counts.
    pub common: CommonMetrics,
    /// What time it is.
    pub clock: Clock,
}

impl fmt::Debug for AlertsParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlertsParts").field("options", &self.options).finish_non_exhaustive()
    }
}

/// A running service.
pub struct Alerts {
    health: Arc<Health>,
    scripts: Arc<Scripts>,
    /// The driver alone: it ends first.
    work: Tasks,
    rest: Tasks,
}

impl Alerts {
    /// Starts workers and threads. To be called in a tokio runtime of more than one thread.
    ///
    /// # Errors
    /// A worker or a thread that cannot be started.
    pub async fn start(parts: AlertsParts) -> anyhow::Result<Self> {
        let AlertsParts { options, model, control, input, poison, metrics, common, clock } = parts;
        let slow_workers = (options.workers.workers / 2).max(1);
        let of_slow_lane =
            WorkerOptions { workers: slow_workers, yields: true, ..options.workers.clone() };
        let workers = Workers::start(options.workers.clone()).await;
        let workers = workers.context("script workers cannot be started")?;
        let slow = Workers::start(of_slow_lane).await;
        let slow = slow.context("script workers cannot be started")?;
        let health = Arc::new(Health::default());
        let scripts = Arc::new(Scripts::new(&options, metrics.clone(), clock.clone()));
        let (work, rest) = (Tasks::new(Shutdown::new()), Tasks::new(Shutdown::new()));
        let alerts = Self { health, scripts, work, rest };
        let ControlTopic { reader, writer } = control;
        alerts.follow(reader, writer, &metrics)?;
        let collector = Collector {
            workers: [workers.clone(), slow.clone()],
            poison: Arc::clone(&poison),
            health: Arc::clone(&alerts.health),
            metrics: metrics.clone(),
            common,
        };
        alerts.rest.spawn("collect", collector.run(alerts.rest.shutdown().clone()));
        let evaluator = Evaluator {
            workers,
            slow,
            parallel: options.workers.workers,
            scripts: Arc::clone(&alerts.scripts),
            metrics: metrics.clone(),
            clock,
        };
        alerts.drive(input, options.repeat_window, evaluator, model, poison, metrics)?;
        Ok(alerts)
    }

    fn follow(
        &self,
        reader: Box<dyn tidewire_log::LogReader>,
        writer: Arc<dyn LogWriter>,
        metrics: &AlertsMetrics,
    ) -> io::Result<()> {
        let shutdown = self.rest.shutdown();
        let follower = Follower {
            reader,
            scripts: Arc::clone(&self.scripts),
            health: Arc::clone(&self.health),
            metrics: metrics.clone(),
            shutdown: shutdown.clone(),
        };
        follower.start(&self.rest)?;
        let scripts = Arc::clone(&self.scripts);
        self.rest.spawn("states", states::keep_written(scripts, writer, shutdown.clone()));
        Ok(())
    }

    fn drive(
        &self,
        input: InputFactory,
        repeat_window: u32,
        evaluator: Evaluator,
        model: Arc<Model>,
        poison: Arc<dyn PoisonSink>,
        metrics: AlertsMetrics,
    ) -> io::Result<()> {
        let (health, scripts) = (Arc::clone(&self.health), Arc::clone(&self.scripts));
        let (stop, runtime) = (self.work.shutdown().clone(), Handle::current());
        self.work.spawn_fallible_thread("stage", move || {
            while !health.is_control_read() {
                if stop.is_cancelled() {
                    return Ok(());
                }
                std::thread::sleep(LOOK_INTERVAL);
            }
            let Input { stage, history } = input()?;
            health.set_reading();
            let (mine, now) = (BTreeSet::new(), Instant::now());
            let evaluator = Arc::new(evaluator);
            let late = Late::new(Arc::clone(&evaluator), runtime.clone());
            let driver = Driver {
                stage,
                history,
                repeats: Repeats::new(repeat_window),
                evaluator,
                late,
                committed_at: now,
                model,
                scripts,
                poison,
                health,
                metrics,
                stop,
                runtime,
                mine,
                look_at: now,
            };
            driver.run().map_err(anyhow::Error::new)
        })?;
        Ok(())
    }

    /// What the internal listener serves of it.
    #[must_use]
    pub fn internal_site(&self, registry: &Registry) -> Site {
        health::site(&self.health, registry)
    }

    /// Whether the control topic was read, and changes are or soon will be.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.health.is_ready()
    }

    /// A script as this replica knows it.
    #[must_use]
    pub fn script(&self, tenant: &Tenant, code: &str) -> Option<Found> {
        self.scripts.get(tenant, code)
    }

    /// The last fault of a script on this replica, since it was saved.
    #[must_use]
    pub fn last_error(&self, tenant: &Tenant, code: &str) -> Option<LastError> {
        self.scripts.last_error(tenant, code)
    }

    /// Returns once a part of it has failed, or it was told to stop.
    pub async fn ended(&self) {
        tokio::select! {
            () = self.work.shutdown().cancelled() => {}
            () = self.rest.shutdown().cancelled() => {}
        }
    }

    /// The names of parts that failed.
    #[must_use]
    pub fn failed(&self) -> Vec<String> {
        [self.work.failed(), self.rest.failed()].concat()
    }

    /// Finishes the batch at hand, leaves the group, writes what is to be written, and ends. Each of the
    /// two halves may take `limit`; the names of those that did not end are returned.
    pub async fn drain(&self, limit: Duration) -> Vec<String> {
        self.health.set_draining();
        self.work.shutdown().cancel();
        let mut left = self.work.join_all(limit).await;
        self.rest.shutdown().cancel();
        left.extend(self.rest.join_all(limit).await);
        left
    }
}
