//! Section `kafka`.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tidewire_config::Settings;
use tidewire_kafka::{
    CleanupPolicy, EmbeddedBroker, ExpectedTopic, KafkaError, KafkaOptions, TopicProblem,
    check_topics, ensure_topics,
};
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::start::StartError;

/// What a record is larger than its change at most: header, key and Kafka's own frame.
const RECORD_OVERHEAD_BYTES: usize = 64 * 1024;
/// librdkafka's default for `message.max.bytes`.
const MESSAGE_BYTES_MAX: usize = 1_000_000;
/// Between two tries to reach the cluster at start.
const RETRY: Duration = Duration::from_secs(1);
/// Partitions of the topic of alerts: there are far fewer of them than changes.
const ALERTS_PARTITIONS: i32 = 3;
/// How long a topic of changes or alerts keeps records that is created here, and what is advised.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The options of reader, writer and admin client.
///
/// # Errors
/// Every property that librdkafka refuses.
pub(crate) fn kafka_options(
    settings: &Settings,
    client_id: &str,
) -> Result<KafkaOptions, StartError> {
    let kafka = &settings.kafka;
    let mut options = KafkaOptions::new(&kafka.brokers);
    options.client_id = client_id.to_owned();
    options.group_prefix.clone_from(&kafka.group_prefix);
    options.delivery_timeout = settings.capture.write_timeout;
    options.properties.clone_from(&kafka.properties);
    let secrets = kafka.secret_properties.iter();
    options.properties.extend(secrets.map(|(name, s)| (name.clone(), s.expose().to_owned())));
    let record_bytes = settings.capture.change_max_bytes + RECORD_OVERHEAD_BYTES;
    if record_bytes > MESSAGE_BYTES_MAX {
        let name = "message.max.bytes".to_owned();
        options.properties.entry(name).or_insert_with(|| record_bytes.to_string());
    }
    let problems = options.problems();
    if problems.is_empty() { Ok(options) } else { Err(StartError::values(problems)) }
}

/// What the change topic must be.
#[must_use]
pub fn changes_topic(settings: &Settings) -> ExpectedTopic {
    ExpectedTopic {
        name: settings.kafka.changes_topic.clone(),
        partitions: settings.kafka.partitions,
        cleanup: CleanupPolicy::Delete,
        retention: Some(RETENTION),
    }
}

/// What the topic of rules, scripts and revocations must be.
#[must_use]
pub fn control_topic(settings: &Settings) -> ExpectedTopic {
    ExpectedTopic {
        name: settings.kafka.control_topic.clone(),
        partitions: 1,
        cleanup: CleanupPolicy::Compact,
        retention: None,
    }
}

/// What the topic of alerts must be: kept as long as the changes that fired them, never compacted.
#[must_use]
pub fn alerts_topic(settings: &Settings) -> ExpectedTopic {
    ExpectedTopic {
        name: settings.kafka.alerts_topic.clone(),
        partitions: ALERTS_PARTITIONS,
        cleanup: CleanupPolicy::Delete,
        retention: Some(RETENTION),
    }
}

/// What the quarantine topic must be.
#[must_use]
pub fn quarantine_topic(settings: &Settings) -> ExpectedTopic {
    ExpectedTopic {
        name: settings.kafka.quarantine_topic.clone(),
        partitions: 1,
        cleanup: CleanupPolicy::Compact,
        retention: None,
    }
}

/// Creates the topics where that is allowed, and checks them. Waits for the cluster as long as
/// `kafka.start_timeout` says.
///
/// # Errors
/// A cluster that does not answer; topics that are missing or wrong, each with the command to run.
pub async fn prepare_topics(
    settings: &Settings,
    options: &KafkaOptions,
    embedded: Option<&EmbeddedBroker>,
    expected: &[ExpectedTopic],
) -> anyhow::Result<()> {
    let until = Instant::now() + settings.kafka.start_timeout;
    loop {
        match check(settings, options, embedded, expected).await {
            Ok((wrong, advice)) if wrong.is_empty() => {
                for advice in advice {
                    warn!(topic = %advice.topic, "{advice}");
                }
                return Ok(());
            }
            // A topic that somebody has just created appears between the two looks.
            Ok((wrong, all)) if !confirmed(&wrong, &all) => sleep(RETRY).await,
            Ok((_, all)) => {
                let lines: Vec<String> = all.iter().map(ToString::to_string).collect();
                bail!("topics are not as they must be:\n  {}", lines.join("\n  "));
            }
            Err(e) if Instant::now() < until => {
                warn!(error = %e, brokers = %options.brokers, "kafka does not answer yet");
                sleep(RETRY).await;
            }
            Err(e) => {
                let text = format!("kafka at {} (kafka.brokers) does not answer", options.brokers);
                return Err(e).context(text);
            }
        }
    }
}

/// What is wrong, and what is wrong or advised.
async fn check(
    settings: &Settings,
    options: &KafkaOptions,
    embedded: Option<&EmbeddedBroker>,
    expected: &[ExpectedTopic],
) -> Result<(Vec<TopicProblem>, Vec<TopicProblem>), KafkaError> {
    if settings.kafka.create_topics {
        ensure_topics(options, embedded, expected).await?;
    }
    // How many partitions and how long a retention an existing topic has is its operator's business;
    // what else is wrong with it, or that it is missing, ends the start.
    let wrong = check_topics(options, &lenient(expected)).await?;
    Ok((wrong, check_topics(options, expected).await?))
}

/// Whether the second look still finds what the first found wrong.
fn confirmed(wrong: &[TopicProblem], all: &[TopicProblem]) -> bool {
    let same = |a: &TopicProblem, b: &TopicProblem| a.topic == b.topic && a.problem == b.problem;
    wrong.iter().all(|wrong| all.iter().any(|now| same(wrong, now)))
}

fn lenient(expected: &[ExpectedTopic]) -> Vec<ExpectedTopic> {
    let lenient =
        |topic: &ExpectedTopic| ExpectedTopic { partitions: 1, retention: None, ..topic.clone() };
    expected.iter().map(lenient).collect()
}
