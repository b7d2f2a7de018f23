//! Looks at the topics before a service starts, and creates them where that is allowed.
//!
//! A problem comes with the command that mends it, so that whoever reads the log can act.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError as RdError;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::{EmbeddedBroker, KafkaError, KafkaOptions};

/// Brokers that hold each partition, where there are so many.
const REPLICATION: i32 = 3;

/// Between two looks for topics that were just created.
const APPEAR_INTERVAL: Duration = Duration::from_millis(50);

/// What Kafka does with old records of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanupPolicy {
    /// Drops them by age.
    Delete,
    /// Keeps the last of each key.
    Compact,
}

impl CleanupPolicy {
    /// The value of `cleanup.policy`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
        }
    }
}

/// A topic that a service needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it has at least.
    pub partitions: i32,
    /// Its cleanup policy, exactly.
    pub cleanup: CleanupPolicy,
    /// How long it keeps records at least; only for [`CleanupPolicy::Delete`].
    pub retention: Option<Duration>,
}

/// What is wrong with a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicProblem {
    /// The topic.
    pub topic: String,
    /// What is wrong, in words.
    pub problem: String,
    /// What to run.
    pub command: String,
}

impl std::fmt::Display for TopicProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "topic {}: {}; run: {}", self.topic, self.problem, self.command)
    }
}

/// Looks at existence, partitions, cleanup policy and retention of every expected topic. Of the embedded
/// broker, which tells no settings, at the first two.
///
/// # Errors
/// [`KafkaError`] if the cluster cannot be asked.
pub async fn check_topics(
    options: &KafkaOptions,
    expected: &[ExpectedTopic],
) -> Result<Vec<TopicProblem>, KafkaError> {
    let cluster = Cluster::connect(options)?;
    let (brokers, found) = cluster.partitions(expected).await?;
    let commands = Commands { brokers: &options.brokers, replication: brokers.min(REPLICATION) };
    let mut problems = Vec::new();
    let mut existing = Vec::new();
    for topic in expected {
        match found.get(&topic.name) {
            None => problems.push(commands.create(topic)),
            Some(partitions) => {
                existing.push(topic);
                if *partitions < topic.partitions {
                    problems.push(commands.partitions(topic, *partitions));
                }
            }
        }
    }
    if options.embedded_id.is_none() && !existing.is_empty() {
        problems.extend(cluster.check_settings(&commands, &existing).await?);
    }
    Ok(problems)
}

/// Creates those of the expected topics that do not exist; the others are left as they are. The embedded
/// broker is given where it is the cluster, since it creates no topic on a request.
///
/// # Errors
/// [`KafkaError`] if the cluster cannot be asked or refuses.
pub async fn ensure_topics(
    options: &KafkaOptions,
    embedded: Option<&EmbeddedBroker>,
    expected: &[ExpectedTopic],
) -> Result<(), KafkaError> {
    let cluster = Cluster::connect(options)?;
    let (brokers, found) = cluster.partitions(expected).await?;
    let missing: Vec<_> = expected.iter().filter(|t| !found.contains_key(&t.name)).collect();
    if let Some(broker) = embedded {
        return missing.iter().try_for_each(|t| broker.create_topic(&t.name, t.partitions));
    }
    cluster.create(&missing, brokers.min(REPLICATION)).await?;
    // A broker hears of a topic a moment after the controller has answered.
    let deadline = Instant::now() + options.request_timeout;
    while cluster.partitions(expected).await?.1.len() < expected.len() {
        if Instant::now() > deadline {
            let late = RdError::AdminOp(Code::OperationTimedOut);
            return Err(failed("waiting for the created topics")(late));
        }
        tokio::time::sleep(APPEAR_INTERVAL).await;
    }
    Ok(())
}

struct Cluster {
    admin: Arc<AdminClient<DefaultClientContext>>,
    timeout: Duration,
}

fn failed(what: impl Into<String>) -> impl FnOnce(RdError) -> KafkaError {
    let what = what.into();
    move |source| KafkaError::Request { what, source }
}

impl Cluster {
    fn connect(options: &KafkaOptions) -> Result<Self, KafkaError> {
        let admin = options.admin_config()?.create().map_err(KafkaError::Client)?;
        Ok(Self { admin: Arc::new(admin), timeout: options.request_timeout })
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new()
            .request_timeout(Some(self.timeout))
            .operation_timeout(Some(self.timeout))
    }

    /// The number of brokers, and of each expected topic that exists its number of partitions.
    async fn partitions(
        &self,
        expected: &[ExpectedTopic],
    ) -> Result<(i32, HashMap<String, i32>), KafkaError> {
        let (admin, timeout) = (Arc::clone(&self.admin), self.timeout);
        let names: Vec<_> = expected.iter().map(|topic| topic.name.clone()).collect();
        let ask = move || {
            // All topics are asked for: asking for one by name may create it on some clusters.
            let metadata = admin.inner().fetch_metadata(None, timeout)?;
            let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
            let found = metadata
                .topics()
                .iter()
                .filter(|t| t.error().is_none() && names.iter().any(|name| name == t.name()))
                .map(|t| (t.name().to_owned(), count(t.partitions().len())))
                .collect();
            Ok((count(metadata.brokers().len()), found))
        };
        match tokio::task::spawn_blocking(ask).await {
            Ok(answer) => answer.map_err(failed("asking for the topics")),
            Err(_) => Err(failed("asking for the topics")(RdError::Canceled)),
        }
    }

    async fn create(&self, topics: &[&ExpectedTopic], replication: i32) -> Result<(), KafkaError> {
        if topics.is_empty() {
            return Ok(());
        }
        let retention = |t: &ExpectedTopic| t.retention.map(|r| r.as_millis().to_string());
        let retentions: Vec<_> = topics.iter().map(|topic| retention(topic)).collect();
        let in_sync = in_sync(replication).to_string();
        let new: Vec<_> = topics
            .iter()
            .zip(&retentions)
            .map(|(topic, retention)| {
                let replication = TopicReplication::Fixed(replication);
                let new = NewTopic::new(&topic.name, topic.partitions, replication)
                    .set("cleanup.policy", topic.cleanup.as_str())
                    .set("min.insync.replicas", &in_sync);
                match retention {
                    Some(retention) => new.set("retention.ms", retention),
                    None => new,
                }
            })
            .collect();
        let results = self
            .admin
            .create_topics(&new, &self.options())
            .await
            .map_err(failed("creating topics"))?;
        for result in results {
            match result {
                // Another replica was quicker.
                Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    let what = format!("creating topic {name}");
                    return Err(failed(what)(RdError::AdminOp(code)));
                }
            }
        }
        Ok(())
    }

    async fn check_settings(
        &self,
        commands: &Commands<'_>,
        topics: &[&ExpectedTopic],
    ) -> Result<Vec<TopicProblem>, KafkaError> {
        let asked: Vec<_> = topics.iter().map(|t| ResourceSpecifier::Topic(&t.name)).collect();
        let answers = self.admin.describe_configs(&asked, &self.options()).await;
        let answers = answers.map_err(failed("asking for the settings of the topics"))?;
        let mut problems = Vec::new();
        for topic in topics {
            let is_it = |resource: &&ConfigResource| matches!(&resource.specifier, OwnedResourceSpecifier::Topic(name) if *name == topic.name);
            match answers.iter().flatten().find(is_it) {
                Some(resource) => problems.extend(commands.settings(topic, resource)),
                None => problems.push(commands.describe(topic)),
            }
        }
        Ok(problems)
    }
}

const fn in_sync(replication: i32) -> i32 {
    if replication >= 3 { 2 } else { 1 }
}

/// Writes the commands for one cluster.
struct Commands<'a> {
    brokers: &'a str,
    replication: i32,
}

impl Commands<'_> {
    fn problem(&self, topic: &ExpectedTopic, problem: String, command: &str) -> TopicProblem {
        let (tool, rest) = command.split_once(' ').unwrap_or((command, ""));
        let command = format!("{tool} --bootstrap-server {} {rest}", self.brokers);
        TopicProblem { topic: topic.name.clone(), problem, command }
    }

    fn create(&self, topic: &ExpectedTopic) -> TopicProblem {
        let mut command = format!(
            "kafka-topics.sh --create --topic {} --partitions {} --replication-factor {} \
             --config cleanup.policy={} --config min.insync.replicas={}",
            topic.name,
            topic.partitions,
            self.replication,
            topic.cleanup.as_str(),
            in_sync(self.replication),
        );
        if let Some(retention) = topic.retention {
            command.push_str(&format!(" --config retention.ms={}", retention.as_millis()));
        }
        self.problem(topic, "does not exist, or may not be described".to_owned(), &command)
    }

    fn partitions(&self, topic: &ExpectedTopic, found: i32) -> TopicProblem {
        let problem = format!("has {found} partitions, expected at least {}", topic.partitions);
        let command = format!(
            "kafka-topics.sh --alter --topic {} --partitions {}",
            topic.name, topic.partitions
        );
        self.problem(topic, problem, &command)
    }

    fn describe(&self, topic: &ExpectedTopic) -> TopicProblem {
        let command = format!(
            "kafka-acls.sh --add --allow-principal User:<this service> --operation DescribeConfigs \
             --topic {}",
            topic.name
        );
        self.problem(topic, "its settings may not be read".to_owned(), &command)
    }

    fn settings(&self, topic: &ExpectedTopic, resource: &ConfigResource) -> Vec<TopicProblem> {
        let value =
            |name: &str| resource.get(name).and_then(|entry| entry.value.as_deref()).unwrap_or("");
        let set = |setting: String| {
            format!(
                "kafka-configs.sh --alter --entity-type topics --entity-name {} --add-config {setting}",
                topic.name
            )
        };
        let mut problems = Vec::new();
        let (policy, wanted) = (value("cleanup.policy"), topic.cleanup.as_str());
        if policy != wanted {
            let problem = format!("has cleanup.policy={policy}, expected {wanted}");
            let command = set(format!("cleanup.policy={wanted}"));
            problems.push(self.problem(topic, problem, &command));
        }
        if let Some(retention) = topic.retention {
            let wanted = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
            let found = value("retention.ms");
            // -1 keeps records for ever.
            if found.parse().is_ok_and(|ms: i64| ms != -1 && ms < wanted) {
                let problem = format!("has retention.ms={found}, expected at least {wanted}");
                let command = set(format!("retention.ms={wanted}"));
                problems.push(self.problem(topic, problem, &command));
            }
        }
        problems
    }
}
