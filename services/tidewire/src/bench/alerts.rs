//! The measured alerts service: its own wiring in a process of its own, with its workers, against the
//! bench's embedded broker; and what the bench writes for it and reads of it.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use serde_json::{Value, json};
use tidewire_assembly::{ServiceArgs, StartError};
use tidewire_config::Service;
use tidewire_event::Tenant;
use tidewire_http::Server;
use tidewire_kafka::{BareConsumer, EmbeddedBroker, Writer};
use tidewire_log::{LogWriter as _, NewRecord};
use tidewire_runtime::{Shutdown, Tasks};
use tidewire_script::{Script, ScriptRecord};
use tokio::runtime::Runtime;

use super::child::{Child, reply};
use super::metrics::Metrics;
use super::process;
use super::protocol::{Answer, wall_ns};
use super::workspace::Workspace;

/// How long the service may take until it has joined its group and read what was written.
const START_MAX: Duration = Duration::from_secs(60);
/// Between two looks whether it is ready.
const LOOK: Duration = Duration::from_millis(10);
/// How long the reader of the alerts waits for one.
const POLL: Duration = Duration::from_millis(100);
/// Alerts that may wait to be looked at.
const ALERTS_MAX: usize = 1 << 16;

/// A running service with topics of its own.
pub(super) struct AlertsService {
    child: Child,
    internal: String,
    pub(super) changes: String,
    alerts: Alerts,
}

/// An alert, when it could be read.
#[derive(Clone, Debug)]
pub(super) struct Alert {
    pub(super) code: String,
    /// Of the change that fired it; there is one partition.
    pub(super) offset: i64,
    pub(super) read_ns: u64,
}

impl AlertsService {
    /// Saves the scripts and starts the service. `settings` are lines of its section `alerts`.
    pub(super) fn start(
        space: &mut Workspace,
        scripts: &[Script],
        fetch_wait: Duration,
        settings: &str,
    ) -> Result<Self> {
        let changes = space.topic(1)?;
        for kind in ["control", "quarantine", "alerts"] {
            space.broker.create_topic(&format!("{changes}.{kind}"), 1)?;
        }
        save(space, &format!("{changes}.control"), scripts)?;
        let file = space.file(&format!("{changes}.toml"));
        fs::write(&file, configuration(&changes, settings))?;
        let alerts = Alerts::start(space, &format!("{changes}.alerts"))?;
        let arguments = [
            "--brokers".to_owned(),
            space.broker.bootstrap().to_owned(),
            "--fetch-wait-ms".to_owned(),
            fetch_wait.as_millis().to_string(),
            "--config".to_owned(),
            file.display().to_string(),
        ];
        let mut child = Child::start("alerts", &arguments)?;
        let Answer { internal, .. } = child.answer()?;
        Ok(Self { child, internal, changes, alerts })
    }

    /// CPU of the service and of its workers.
    pub(super) fn cpu_ns(&self) -> Result<u64> {
        process::cpu_ns_with_children(self.child.pid())
    }

    pub(super) fn metric(&self, name: &str) -> Result<f64> {
        Metrics::of(&self.internal)?.get(name)
    }

    /// The next alert, if there is one within that time.
    pub(super) fn next(&self, wait: Duration) -> Result<Option<Alert>> {
        match self.alerts.alerts.recv_timeout(wait) {
            Ok(alert) => alert.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("nobody reads the alerts"),
        }
    }

    /// Waits for an alert of this script; how many came with it, that one included.
    pub(super) fn await_alert(&self, code: &str) -> Result<u64> {
        let (until, mut count) = (Instant::now() + START_MAX, 0);
        while Instant::now() < until {
            if let Some(alert) = self.next(POLL)? {
                count += 1;
                if alert.code == code {
                    return Ok(count);
                }
            }
        }
        bail!("no alert of {code} came")
    }
}

/// Reads what is committed, and notes when.
struct Alerts {
    alerts: Receiver<Result<Alert>>,
    /// A reader that went on polling would cost the rows behind.
    over: Shutdown,
}

impl Alerts {
    fn start(space: &Workspace, topic: &str) -> Result<Self> {
        let mut options = space.broker.options();
        options.fetch_wait = Duration::from_millis(1);
        let mut consumer = BareConsumer::start(&options, topic, 1)?;
        let (sender, alerts) = sync_channel(ALERTS_MAX);
        let over = Shutdown::new();
        let is_over = over.clone();
        std::thread::Builder::new().name("alerts".to_owned()).spawn(move || {
            loop {
                let mut alert = None;
                consumer.poll(POLL, |_, value| alert = Some(read(value)));
                if alert.is_some_and(|alert| sender.send(alert).is_err()) || is_over.is_cancelled()
                {
                    return;
                }
            }
        })?;
        Ok(Self { alerts, over })
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

fn read(value: &[u8]) -> Result<Alert> {
    let read_ns = wall_ns();
    let value: Value = serde_json::from_slice(value)?;
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    let code = text("/alert/scriptCode").context("an alert has no script")?.to_owned();
    let id = text("/change/id").context("an alert has no change")?;
    let offset = id.rsplit('-').next().and_then(|n| n.parse().ok()).context("no offset")?;
    Ok(Alert { code, offset, read_ns })
}

fn save(space: &Workspace, topic: &str, scripts: &[Script]) -> Result<()> {
    let writer = Writer::start(&space.broker.options(), topic)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let records = scripts.iter().map(|script| {
        writer.write(NewRecord {
            key: Bytes::from(script.key()),
            header: None,
            timestamp_ms: None,
            payload: Some(Bytes::from(script.value())),
        })
    });
    for written in runtime.block_on(futures_util::future::join_all(records)) {
        written.context("a script was not saved")?;
    }
    Ok(())
}

/// A script over updates of one type, with a message.
pub(super) fn script(tenant: &str, code: &str, object_type: &str, body: &str) -> Result<Script> {
    let record = json!({
        "code": code, "name": code, "triggers": [{"objectType": object_type, "eventType": "U"}],
        "scriptBody": body, "messageType": "String", "alertScriptMessage": "fired",
    });
    saved(tenant, ScriptRecord::parse(record.to_string().as_bytes())?)
}

/// A record as it was saved.
pub(super) fn saved(tenant: &str, record: ScriptRecord) -> Result<Script> {
    Ok(Script::new(Tenant::new(tenant).context("no name of a tenant")?, 1, "bench", 0, record))
}

fn configuration(changes: &str, settings: &str) -> String {
    format!(
        r#"
[log]
level = "error"
format = "text"
[kafka]
changes_topic = "{changes}"
control_topic = "{changes}.control"
quarantine_topic = "{changes}.quarantine"
alerts_topic = "{changes}.alerts"
group_prefix = "{changes}"
partitions = 1
[internal]
listen = "127.0.0.1:0"
[alerts]
start = "earliest"
{settings}
"#
    )
}

/// The role: runs scripts until standard input ends.
pub(super) fn run(config: PathBuf, brokers: &str, fetch_wait: Duration) -> Result<()> {
    let told = |e: StartError| anyhow::anyhow!("{}", tidewire_assembly::explain(&e));
    let set = vec![format!("kafka.brokers={brokers}")];
    let arguments = ServiceArgs { config: Some(config), set };
    let (settings, registry) =
        tidewire_assembly::init(Service::Alerts, &arguments).map_err(told)?;
    Runtime::new()?.block_on(async {
        let (model, mut kafka) =
            tidewire_assembly::check_without_tokens(&settings, "alerts").map_err(told)?;
        kafka.embedded_id = Some("bench".to_owned());
        kafka.fetch_wait = fetch_wait;
        // Stands for the one that the bench runs: topics are looked for there, not here.
        let broker = EmbeddedBroker::start()?;
        let server = Server::bind(tidewire_assembly::internal_server(&settings)).await?;
        let common = tidewire_assembly::common_metrics(&registry)?;
        let alerts = tidewire_alerts::wiring::wire(
            &settings,
            &registry,
            common,
            &kafka,
            model,
            Some(&broker),
        )
        .await?;
        let tasks = Tasks::new(Shutdown::new());
        let internal = server.local_addr().to_string();
        let site = alerts.internal_site(&registry);
        let _handle = server.serve(site, &tasks, tasks.shutdown().clone());
        while !alerts.is_ready() {
            if !alerts.failed().is_empty() {
                bail!("failed: {}", alerts.failed().join(", "));
            }
            tokio::time::sleep(LOOK).await;
        }
        reply(&Answer { internal, ..Answer::default() })?;
        let end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        end.await.context("nobody waits for the end")??;
        Ok(())
    })
}
