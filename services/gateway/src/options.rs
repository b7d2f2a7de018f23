//! What a gateway is put together from.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidewire_auth::Verifier;
use tidewire_event::CursorKey;
use tidewire_http::AllowedOrigins;
use tidewire_log::LogRecord;
use tidewire_model::Model;
use tidewire_rights::TypeRights;
use tidewire_router::{FoldTooLarge, SelfLinks, ShardIndex, ShardLimits};
use tidewire_runtime::Tasks;
use tidewire_sandbox::WorkerOptions;
use tidewire_sockets::ShardOptions;
use tidewire_store::Store;
use tidewire_telemetry::{CommonMetrics, GatewayMetrics};

use crate::control::ControlTopic;
use crate::plane::TopicParts;

/// Everything that configuration decides about a gateway.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// How many shards.
    pub shards: ShardIndex,
    /// Intervals and bounds of the sockets.
    pub sockets: ShardOptions,
    /// Bounds of the queues.
    pub limits: ShardLimits,
    /// Words that stand for `*` as a key.
    pub all_keys_words: Vec<String>,
    /// Whether a token may stand in the path.
    pub path_token: bool,
    /// Origins that browsers may come from.
    pub origins: AllowedOrigins,
    /// Most connections of one tenant.
    pub connections_per_tenant_max: usize,
    /// Most connections of one principal.
    pub connections_per_principal_max: usize,
    /// How long a ticket is good.
    pub ticket_ttl: Duration,
    /// Over how long a drain is spread.
    pub drain_window: Duration,
    /// The longest retry hint of a drain.
    pub drain_retry: Duration,
    /// What cursors are signed with; the same on every replica.
    pub cursor_key: CursorKey,
    /// Most bytes of the hot window.
    pub window_bytes_max: usize,
    /// Most objects and bytes of a snapshot.
    pub snapshot_limit: FoldTooLarge,
    /// Most subscriptions on one `tidewire.v1` socket.
    pub subscriptions_per_connection_max: usize,
    /// Whether the internal listener is bound to loopback: then whoever reaches it may administer.
    pub internal_on_loopback: bool,
    /// This deployment's own URL, without a slash at its end.
    pub public_url: String,
}

/// The ports and shared parts of a gateway.
pub struct GatewayParts {
    /// What configuration decides.
    pub options: GatewayOptions,
    /// The data model.
    pub model: Arc<Model>,
    /// Where `self` links start.
    pub links: Arc<SelfLinks>,
    /// Who may read what.
    pub rights: Arc<TypeRights>,
    /// Checks tokens.
    pub verifier: Arc<Verifier>,
    /// Keeps sessions and tickets; `None`: sockets work without.
    pub store: Option<Arc<dyn Store>>,
    /// The change topic.
    pub changes: TopicParts,
    /// The topic of alerts; `None`: none are served.
    pub alerts: Option<TopicParts>,
    /// The topic of revocations and scripts.
    pub control: ControlTopic,
    /// How the processes are started in which scripts are compiled.
    pub workers: WorkerOptions,
    /// Metrics of every service.
    pub common: CommonMetrics,
    /// Metrics of the gateway.
    pub metrics: GatewayMetrics,
    /// Where tasks and threads run.
    pub tasks: Tasks,
}

impl fmt::Debug for GatewayParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayParts").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Takes copies of records that cannot be used. It must not wait.
pub trait PoisonSink: Send + Sync {
    /// Takes one.
    fn put(&self, record: &LogRecord<'_>, reason: &str);

    /// How many could not be kept, of all topics.
    fn lost(&self) -> u64;
}
