//! Planes: everything that reads one topic and brings it to sockets.
//!
//! A subscription, its cursor and its window belong to one topic, so each topic has a reader, a router, a hot
//! window, a thread for history and shards of its own, all of the same code (docs/adr/0015). A socket lives
//! on one plane for all its life. What a replica has once (connections and their caps, the registry of
//! sockets, sessions, administration, drain) both planes share.

use std::io;
use std::sync::Arc;

use tidewire_log::LogReader;
use tidewire_model::Model;
use tidewire_router::{Router, SelfLinks, ShardIndex, ShardSettings, Window};
use tidewire_runtime::Tasks;
use tidewire_sockets::{Command, Ports, ShardHandle, Shards};
use tidewire_telemetry::GatewayMetrics;

use crate::collect::Watcher;
use crate::health::Health;
use crate::history::{self, HistoryHandle};
use crate::options::{GatewayOptions, PoisonSink};
use crate::router_thread::{self, RouterHandle, RouterParts};
use crate::shared::deliver;
use crate::snapshots::HistoryFactory;

/// Which topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PlaneKind {
    /// Changes of objects.
    Objects,
    /// Alerts of scripts.
    Alerts,
}

impl PlaneKind {
    /// The names of its threads.
    pub(crate) const fn threads(self) -> Threads {
        match self {
            Self::Objects => Threads { router: "router", shard: "shard", history: "history" },
            Self::Alerts => Threads {
                router: "alerts-router",
                shard: "alerts-shard",
                history: "alerts-history",
            },
        }
    }
}

/// The names of a plane's threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threads {
    pub(crate) router: &'static str,
    pub(crate) shard: &'static str,
    pub(crate) history: &'static str,
}

/// A topic, as a plane reads it.
pub struct TopicParts {
    /// Reads it from about its end on.
    pub reader: Box<dyn LogReader>,
    /// Makes readers of what lies behind that.
    pub history: HistoryFactory,
    /// Takes its records that cannot be used.
    pub poison: Arc<dyn PoisonSink>,
}

/// What planes are made of beside their topics.
pub(crate) struct Surroundings<'a> {
    pub(crate) options: &'a GatewayOptions,
    pub(crate) model: &'a Arc<Model>,
    pub(crate) links: &'a Arc<SelfLinks>,
    pub(crate) health: &'a Arc<Health>,
    pub(crate) metrics: &'a GatewayMetrics,
    pub(crate) tasks: &'a Tasks,
}

/// A running plane.
pub(crate) struct Plane {
    pub(crate) router: RouterHandle,
    pub(crate) shards: Shards,
    pub(crate) history: HistoryHandle,
    pub(crate) window: Arc<Window>,
    pub(crate) poison: Arc<dyn PoisonSink>,
}

/// Why a plane could not start.
pub(crate) enum PlaneError {
    Thread(io::Error),
    History(anyhow::Error),
}

impl From<io::Error> for PlaneError {
    fn from(error: io::Error) -> Self {
        Self::Thread(error)
    }
}

impl Plane {
    /// Starts the threads of a plane.
    pub(crate) fn start(
        kind: PlaneKind,
        shards: ShardIndex,
        topic: TopicParts,
        around: &Surroundings<'_>,
    ) -> Result<Self, PlaneError> {
        let TopicParts { reader, history: open_history, poison } = topic;
        let Surroundings { options, model, links, health, metrics, tasks } = around;
        let (router, seat) = router_thread::seat()?;
        let (history, history_seat) = history::seat();
        let window = Arc::new(Window::new(options.window_bytes_max));
        let settings = ShardSettings {
            model: Arc::clone(model),
            links: Arc::clone(links),
            limits: options.limits,
            window: Arc::clone(&window),
            cursor_key: options.cursor_key.clone(),
        };
        let observer = Watcher { metrics: (*metrics).clone(), poison: Arc::clone(&poison) };
        let ports = Ports {
            leavers: Arc::new(router.clone()),
            observer: Arc::new(observer),
            history: Arc::new(history.clone()),
        };
        let count = shards;
        let name = kind.threads().shard;
        let shards = Shards::start(name, count, options.sockets, &settings, &ports, tasks)?;
        let log = open_history().map_err(PlaneError::History)?;
        history_seat.start(kind, log, &shards, tasks)?;
        seat.start(
            RouterParts {
                kind,
                router: Router::new(Arc::clone(model), count, Arc::clone(&window)),
                reader,
                shards: shards.clone(),
                poison: Arc::clone(&poison),
                health: Arc::clone(health),
                metrics: (*metrics).clone(),
            },
            tasks,
        )?;
        Ok(Self { router, shards, history, window, poison })
    }

    /// Ends its router and its shards.
    pub(crate) fn stop(&self) {
        self.router.stop();
        for shard in self.shards.handles() {
            deliver(shard, Command::Stop);
        }
    }
}

/// Where a socket lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) plane: PlaneKind,
    pub(crate) shard: ShardIndex,
}

/// The planes of a replica.
pub(crate) struct Planes {
    pub(crate) objects: Plane,
    /// `None`: no alerts are served here.
    pub(crate) alerts: Option<Plane>,
}

impl Planes {
    /// The plane of this kind, if there is one.
    pub(crate) const fn get(&self, kind: PlaneKind) -> Option<&Plane> {
        match kind {
            PlaneKind::Objects => Some(&self.objects),
            PlaneKind::Alerts => self.alerts.as_ref(),
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Plane> {
        std::iter::once(&self.objects).chain(&self.alerts)
    }

    /// The shard where a socket lives.
    pub(crate) fn shard(&self, home: Home) -> Option<&ShardHandle> {
        self.get(home.plane)?.shards.handles().get(usize::from(home.shard))
    }
}
