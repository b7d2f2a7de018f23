//! Kafka behind the log port: the only user of rdkafka.
//!
//! - [`Reader`] reads all partitions of one topic by manual assignment, with numeric offsets: no
//!   consumer group, no reset policy, so there is nothing to lose records in.
//! - [`Writer`] writes to one topic, idempotent and `acks=all`, each record where a Java client puts it.
//! - [`History`] reads stretches that lie behind, for replay.
//! - [`Stage`] reads one topic as a member of a consumer group and writes to another, in transactions.
//! - [`Quarantine`] keeps copies of records that cannot be used.
//! - [`check_topics`] and [`ensure_topics`] look at the topics before a service starts.
//! - [`EmbeddedBroker`] is librdkafka's own mock cluster, for `dev` and quick tests.
//!
//! Invariants: nothing but a stage takes part in a rebalance or commits an offset; a transient error never
//! ends anything; blocking calls to the cluster are made by threads that serve no reader.

mod admin;
mod bare;
mod context;
mod embedded;
mod history;
mod options;
mod positions;
mod quarantine;
mod reader;
mod record;
mod stage;
mod stretches;
mod watch;
mod writer;

pub use admin::{CleanupPolicy, ExpectedTopic, TopicProblem, check_topics, ensure_topics};
pub use bare::BareConsumer;
pub use embedded::EmbeddedBroker;
pub use history::History;
pub use options::{KafkaError, KafkaOptions};
pub use quarantine::{PoisonRecord, QUARANTINE_VALUE_BYTES_MAX, Quarantine};
pub use reader::{Reader, StartAt};
pub use stage::{BeginAt, CommitStep, Stage, StageOptions, StepHook};
pub use stretches::stretches;
pub use writer::{Writer, WriterStatus};
