//! Puts a replica together from its ports, and takes it down again.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use thiserror::Error;
use tidewire_http::{ApiRequest, Method, Reply, Site, StatusCode};
use tidewire_router::ShardIndex;
use tidewire_sockets::Command;
use tidewire_telemetry::{METRICS_CONTENT_TYPE, Registry};
use tokio::time::{Instant, sleep};
use tracing::info;

use crate::admin::{self, Door};
use crate::caps::Caps;
use crate::collect::Collector;
use crate::control;
use crate::gate::Gate;
use crate::health::{self, Health};
use crate::options::GatewayParts;
use crate::plane::{Plane, PlaneError, PlaneKind, Planes, Surroundings};
use crate::scripts::{self, Scripts};
use crate::sessions::Sessions;
use crate::shared::Shared;
use crate::snapshots::{Folded, Snapshots};
use crate::{objects, tickets};

/// How often a drain looks whether all sockets have gone.
const DRAIN_LOOK: Duration = Duration::from_millis(50);
/// How long after the last linger a drain waits for the last socket: shards look every quarter second.
const DRAIN_MARGIN: Duration = Duration::from_secs(1);

/// Shards of the alerts: there are far fewer of them than changes.
const ALERT_SHARDS: ShardIndex = 1;

/// Why a gateway could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The operating system gave no poll or thread.
    #[error("a shard, the router or the follower of the control topic could not be started")]
    Thread(#[from] io::Error),
    /// The reader of history cannot be made.
    #[error("the reader of history cannot be made")]
    History(#[from] anyhow::Error),
}

impl From<PlaneError> for StartError {
    fn from(error: PlaneError) -> Self {
        match error {
            PlaneError::Thread(error) => Self::Thread(error),
            PlaneError::History(error) => Self::History(error),
        }
    }
}

/// A running replica, but for its listeners.
pub struct Gateway {
    shared: Arc<Shared>,
    public: Site,
    collector: Arc<Collector>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gateway")
    }
}

impl Gateway {
    /// Starts router, shards and tasks. It serves once listeners serve its sites.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(parts: GatewayParts) -> Result<Self, StartError> {
        let GatewayParts { options, model, links, rights, verifier, store, .. } = parts;
        let GatewayParts { changes, alerts, control, workers, common, metrics, tasks, .. } = parts;
        let health = Arc::<Health>::default();
        let around = Surroundings {
            options: &options,
            model: &model,
            links: &links,
            health: &health,
            metrics: &metrics,
            tasks: &tasks,
        };
        let open_history = Arc::clone(&changes.history);
        let objects = Plane::start(PlaneKind::Objects, options.shards, changes, &around)?;
        let alerts = match alerts {
            Some(topic) => Some(Plane::start(PlaneKind::Alerts, ALERT_SHARDS, topic, &around)?),
            None => {
                health.plane(PlaneKind::Alerts).set_assigned();
                None
            }
        };
        let (control, control_seat) = control::seat(control);
        let shared = Arc::new(Shared {
            sessions: Sessions::start(store.as_ref(), &options.cursor_key, &metrics, &tasks),
            caps: Caps::new(
                options.connections_per_tenant_max,
                options.connections_per_principal_max,
            ),
            snapshots: Snapshots::new(Arc::new(Folded {
                model: Arc::clone(&model),
                history: open_history,
                limit: options.snapshot_limit,
            })),
            planes: Planes { objects, alerts },
            registry: crate::registry::Registry::new(),
            control,
            scripts: Scripts::new(workers),
            options,
            model,
            links: Arc::clone(&links),
            rights,
            verifier,
            store,
            health,
            common,
            metrics,
            tasks,
            next_connection: AtomicU64::new(1),
        });
        control_seat.start(&shared)?;
        scripts::watch(&shared);
        let public = Site::new()
            .gate(Arc::new(Gate(Arc::clone(&shared))))
            .join(tickets::site(&shared))
            .join(admin::site(&shared, Door::Public))
            .join(scripts::site(&shared))
            .join(objects::site(&links, &shared.options.public_url));
        let collector = Arc::new(Collector::new(&shared));
        Ok(Self { shared, public, collector })
    }

    /// Sockets, tickets, the target of `self` links, and administration of one's own tenant.
    #[must_use]
    pub fn public_site(&self) -> Site {
        self.public.clone()
    }

    /// Health, metrics, and administration of all tenants.
    #[must_use]
    pub fn internal_site(&self, registry: &Registry) -> Site {
        let (collector, registry) = (Arc::clone(&self.collector), registry.clone());
        let metrics = Site::new().route(Method::GET, "/metrics", move |_: ApiRequest| {
            collector.collect();
            let reply = match registry.encode() {
                Ok(text) => Reply::new(StatusCode::OK, METRICS_CONTENT_TYPE, text),
                Err(_) => Reply::empty(StatusCode::INTERNAL_SERVER_ERROR),
            };
            async move { reply }
        });
        health::site(&self.shared.health, self.shared.store.clone())
            .join(metrics)
            .join(admin::site(&self.shared, Door::Internal))
    }

    /// True once every partition is assigned and the control topic is read, and until a drain begins.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shared.health.is_ready()
    }

    /// Waits until the replica is ready, at most `limit`; false if it is not by then.
    pub async fn wait_ready(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while !self.is_ready() {
            if Instant::now() >= until {
                return false;
            }
            sleep(DRAIN_LOOK).await;
        }
        true
    }

    /// Closes all sockets, spread over the drain window, and waits until they have gone (or the window
    /// and a little more has passed). New ones are refused from the first moment. Returns how many were
    /// left.
    pub async fn drain(&self) -> usize {
        let shared = &self.shared;
        shared.health.set_draining();
        let (window, retry) = (shared.options.drain_window, shared.options.drain_retry);
        info!(connections = shared.metrics.connections.get(), "draining");
        for shard in shared.planes.all().flat_map(|plane| plane.shards.handles()) {
            crate::shared::deliver(shard, Command::Drain { window, retry });
        }
        let until = Instant::now() + window + shared.options.sockets.linger + DRAIN_MARGIN;
        while shared.metrics.connections.get() > 0 && Instant::now() < until {
            sleep(DRAIN_LOOK).await;
        }
        usize::try_from(shared.metrics.connections.get()).unwrap_or(0)
    }

    /// Ends routers, shards and the follower of the control topic.
    pub fn stop(&self) {
        self.shared.control.stop();
        self.shared.planes.all().for_each(Plane::stop);
    }
}
