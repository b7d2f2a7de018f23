//! Alert scripts in `tidewire dev`: the sample scripts, and the service that runs them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use tidewire_alerts::Alerts;
use tidewire_auth::unix_now;
use tidewire_config::Settings;
use tidewire_event::Tenant;
use tidewire_kafka::{EmbeddedBroker, KafkaOptions, Writer};
use tidewire_log::{LogWriter as _, NewRecord};
use tidewire_model::Model;
use tidewire_script::{Script, ScriptRecord};
use tidewire_telemetry::{CommonMetrics, Registry};

/// Who has saved the sample scripts.
const AUTHOR: &str = "tidewire dev";
/// How long the batch at hand may take at the end.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Saves the sample scripts. Only where the broker is embedded, and so holds none yet.
pub(super) async fn save_samples(
    kafka: &KafkaOptions,
    settings: &Settings,
    tenant: &Tenant,
) -> anyhow::Result<()> {
    let writer = Writer::start(kafka, &settings.kafka.control_topic)?;
    for record in ScriptRecord::samples() {
        let script = Script::new(tenant.clone(), 1, AUTHOR, unix_now(), record);
        let record = NewRecord {
            key: Bytes::from(script.key()),
            header: None,
            timestamp_ms: None,
            payload: Some(Bytes::from(script.value())),
        };
        writer.write(record).await.context("the sample scripts cannot be saved")?;
    }
    Ok(())
}

/// Starts the service. What every service counts, the gateway counts here.
pub(super) async fn start(
    settings: &Settings,
    registry: &Registry,
    kafka: &KafkaOptions,
    model: Arc<Model>,
    broker: Option<&EmbeddedBroker>,
) -> anyhow::Result<Alerts> {
    let common = CommonMetrics::register(&Registry::new())?;
    tidewire_alerts::wiring::wire(settings, registry, common, kafka, model, broker).await
}

/// Ends it. Returns what has failed in it.
pub(super) async fn drain(alerts: &Alerts) -> Vec<String> {
    for task in alerts.drain(DRAIN_MAX).await {
        tracing::info!(task, "did not end in time");
    }
    alerts.failed()
}
