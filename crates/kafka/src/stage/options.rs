//! What a stage is told: its topics, its group, its limits.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use tidewire_log::BatchLimits;

use crate::{KafkaError, KafkaOptions};

/// The longest that a transaction may be open. Readers of the output wait for the end of an open one, so
/// this bounds what a crash holds back (beside the broker's own interval of looking at them).
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(5);
/// After how long without a heartbeat the group gives an instance's partitions to others.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one batch may take before the group takes the instance for hung.
const BATCH_TIME_MAX: Duration = Duration::from_secs(60);
/// Heartbeats in a session timeout.
const HEARTBEATS: u32 = 4;

/// Where a group begins that has committed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginAt {
    /// At the last stable offset of each partition, as it is when the first member comes.
    End,
    /// At the first record that is kept.
    Earliest,
}

/// A moment in a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommitStep {
    /// The transaction is begun and holds nothing.
    Begun,
    /// The outputs are written and acknowledged.
    Produced,
    /// The offsets are in the transaction.
    OffsetsSent,
    /// The transaction is committed.
    Committed,
}

/// Called at each moment of a commit. If it breaks, the commit ends there and then, as a crash does.
pub type StepHook = Arc<dyn Fn(CommitStep) -> ControlFlow<()> + Send + Sync>;

/// What a stage is told.
#[derive(Clone)]
pub struct StageOptions {
    /// The group's name behind `kafka.group_prefix` and a dot.
    pub group: String,
    /// The topic to read.
    pub input: String,
    /// The topic to write to.
    pub output: String,
    /// Where the group begins.
    pub begin: BeginAt,
    /// The instance's own name, if it has one that outlives it (that of a pod of a stateful set, say) and
    /// that no other instance bears: whoever comes back under it takes its seat in the group, and ends
    /// what its former life left open, at once. Without one both take their timeouts.
    pub instance: Option<String>,
    /// How much a batch holds.
    pub batch: BatchLimits,
    /// How long a transaction may be open.
    pub transaction_timeout: Duration,
    /// After how long without a heartbeat the group gives the partitions to others. Brokers take 6 s and
    /// more by default.
    pub session_timeout: Duration,
    /// How long may lie between two polls.
    pub batch_time_max: Duration,
    /// For tests that end an instance at a certain moment.
    pub on_step: Option<StepHook>,
}

impl StageOptions {
    /// The defaults for this group and these topics.
    #[must_use]
    pub fn new(
        group: impl Into<String>,
        input: impl Into<String>,
        output: impl Into<String>,
    ) -> Self {
        Self {
            group: group.into(),
            input: input.into(),
            output: output.into(),
            begin: BeginAt::End,
            instance: None,
            batch: BatchLimits::default(),
            transaction_timeout: TRANSACTION_TIMEOUT,
            session_timeout: SESSION_TIMEOUT,
            batch_time_max: BATCH_TIME_MAX,
            on_step: None,
        }
    }

    fn group_id(&self, kafka: &KafkaOptions) -> String {
        format!("{}.{}", kafka.group_prefix, self.group)
    }

    pub(super) fn member_config(&self, kafka: &KafkaOptions) -> Result<ClientConfig, KafkaError> {
        let mut config = kafka.member_config(&self.group_id(kafka))?;
        let session = self.session_timeout;
        let longest = self.batch_time_max.max(session);
        config
            .set("session.timeout.ms", session.as_millis().to_string())
            .set("heartbeat.interval.ms", (session / HEARTBEATS).as_millis().to_string())
            .set("max.poll.interval.ms", longest.as_millis().to_string());
        if let Some(instance) = &self.instance {
            config.set("group.instance.id", instance);
        }
        Ok(config)
    }

    /// Each instance has a transactional id of its own: what fences a former owner of a partition is the
    /// generation of the group (KIP-447).
    pub(super) fn transactions_config(
        &self,
        kafka: &KafkaOptions,
        random: &str,
    ) -> Result<ClientConfig, KafkaError> {
        let name = self.instance.as_deref().unwrap_or(random);
        let id = format!("{}.{name}", self.group_id(kafka));
        kafka.transactions_config(&id, self.transaction_timeout)
    }
}

impl fmt::Debug for StageOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageOptions")
            .field("group", &self.group)
            .field("input", &self.input)
            .field("output", &self.output)
            .field("begin", &self.begin)
            .field("instance", &self.instance)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}
