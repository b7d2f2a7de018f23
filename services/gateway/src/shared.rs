//! What the parts of one gateway share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tidewire_auth::Verifier;
use tidewire_model::Model;
use tidewire_rights::TypeRights;
use tidewire_router::{ConnectionId, SelfLinks};
use tidewire_runtime::Tasks;
use tidewire_sockets::{Command, ShardHandle};
use tidewire_store::Store;
use tidewire_telemetry::{CommonMetrics, GatewayMetrics};

use crate::caps::Caps;
use crate::control::Control;
use crate::health::Health;
use crate::options::GatewayOptions;
use crate::plane::Planes;
use crate::registry::Registry;
use crate::scripts::Scripts;
use crate::sessions::Sessions;
use crate::snapshots::Snapshots;

pub(crate) struct Shared {
    pub(crate) options: GatewayOptions,
    pub(crate) model: Arc<Model>,
    pub(crate) links: Arc<SelfLinks>,
    pub(crate) rights: Arc<TypeRights>,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) sessions: Sessions,
    pub(crate) planes: Planes,
    pub(crate) caps: Arc<Caps>,
    pub(crate) snapshots: Snapshots,
    pub(crate) registry: Arc<Registry>,
    pub(crate) control: Control,
    pub(crate) scripts: Scripts,
    pub(crate) health: Arc<Health>,
    pub(crate) common: CommonMetrics,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) tasks: Tasks,
    pub(crate) next_connection: AtomicU64,
}

impl Shared {
    pub(crate) fn new_connection(&self) -> ConnectionId {
        ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed))
    }
}

/// Brings a command to a shard; where its queue is full, a thread that may wait does the waiting.
pub(crate) fn deliver(shard: &ShardHandle, command: Command) {
    if let Err(command) = shard.offer(command) {
        let shard = shard.clone();
        let wait = move || {
            shard.send(command);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(wait)),
            Err(_) => wait(),
        }
    }
}

/// The wall clock, in milliseconds since the Unix epoch.
pub(crate) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
