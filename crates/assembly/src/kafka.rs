//! Section `kafka`.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tidewire_config::Settings;
use tidewire_kafka::{
    CleanupPolicy, EmbeddedBroker, ExpectedTopic, KafkaOptions, check_topics, ensure_topics,
};
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::start::StartError;

/// Between two tries to reach the cluster at start.
const RETRY: Duration = Duration::from_secs(1);
/// A change topic that keeps less than this cannot carry a resume over a night.
const RETENTION_MIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The options of reader, writer and admin client.
///
/// # Errors
/// Every property that librdkafka refuses.
pub fn kafka_options(settings: &Settings, client_id: &str) -> Result<KafkaOptions, StartError> {
    let kafka = &settings.kafka;
    let mut options = KafkaOptions::new(&kafka.brokers);
    options.client_id = client_id.to_owned();
    options.group_prefix.clone_from(&kafka.group_prefix);
    options.delivery_timeout = settings.capture.write_timeout;
    options.properties.clone_from(&kafka.properties);
    let secrets = kafka.secret_properties.iter();
    options.properties.extend(secrets.map(|(name, s)| (name.clone(), s.expose().to_owned())));
    let problems = options.problems();
    if problems.is_empty() {
        Ok(options)
    } else {
        Err(StartError::Values(problems.iter().map(ToString::to_string).collect()))
    }
}

/// What the change topic must be.
#[must_use]
pub fn changes_topic(settings: &Settings) -> ExpectedTopic {
    ExpectedTopic {
        name: settings.kafka.changes_topic.clone(),
        partitions: if settings.kafka.create_topics { settings.kafka.partitions } else { 1 },
        cleanup: CleanupPolicy::Delete,
        retention: Some(RETENTION_MIN),
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
        let outcome = async {
            if settings.kafka.create_topics {
                ensure_topics(options, embedded, expected).await?;
            }
            check_topics(options, expected).await
        };
        match outcome.await {
            Ok(problems) if problems.is_empty() => return Ok(()),
            Ok(problems) => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
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
