//! The capture process: reads its configuration, serves or imports, drains.
//!
//! Exit codes: 64 bad usage or configuration, 1 start failed (or an import that is not complete), 0 clean.

mod serve;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use tidewire_assembly::{
    Checked, ServiceArgs, StartError, changes_topic, check, explain, init, prepare_topics,
};
use tidewire_capture::import::import;
use tidewire_capture::{CaptureOptions, Intake};
use tidewire_config::{Service, Settings};
use tidewire_event::Tenant;
use tidewire_kafka::Writer;
use tidewire_log::LogWriter;
use tidewire_runtime::{Clock, Exit, Shutdown, Signals};
use tidewire_telemetry::{CaptureMetrics, Registry};

/// Takes changes from producers and writes them to Kafka.
#[derive(Parser, Debug)]
#[command(name = "capture", version)]
struct Args {
    /// The configuration file. The environment (TIDEWIRE__SECTION__KEY) goes before it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting: `section.key=value`. May stand several times, and goes before the environment.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Imports newline-delimited JSON from this file (`-`: standard input) and ends.
    #[arg(long, value_name = "FILE", requires = "tenant")]
    input: Option<String>,
    /// The tenant of an import.
    #[arg(long, requires = "input", value_parser = tenant)]
    tenant: Option<Tenant>,
}

fn tenant(text: &str) -> Result<Tenant, String> {
    Tenant::new(text).map_err(|error| error.to_string())
}

fn main() -> Exit {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // What cannot be printed cannot be helped.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Clean };
        }
    };
    match run(args) {
        Ok(exit) => exit,
        Err(error) => say(error.exit(), &explain(&error)),
    }
}

fn run(args: Args) -> Result<Exit, StartError> {
    let Args { config, set, input, tenant } = args;
    let (settings, registry) = init(Service::Capture, &ServiceArgs { config, set })?;
    let checked = check(&settings, "tidewire-capture", false)?;
    let runtime = tokio::runtime::Runtime::new().map_err(anyhow::Error::new)?;
    let done = match input.zip(tenant) {
        Some((input, tenant)) => runtime.block_on(import_all(&settings, checked, &input, &tenant)),
        None => runtime.block_on(serve::serve(&settings, checked, &registry)),
    };
    Ok(done?)
}

fn say(exit: Exit, text: &str) -> Exit {
    eprintln!("capture: {text}");
    exit
}

async fn import_all(
    settings: &Settings,
    checked: Checked,
    input: &str,
    tenant: &Tenant,
) -> anyhow::Result<Exit> {
    let Checked { kafka, model, .. } = checked;
    let shutdown = Shutdown::new();
    let mut signals = Signals::install()?;
    let reader: Box<dyn tokio::io::AsyncRead + Unpin + Send> = match input {
        "-" => Box::new(tokio::io::stdin()),
        path => match tokio::fs::File::open(path).await {
            Ok(file) => Box::new(file),
            Err(error) => return Ok(say(Exit::Usage, &format!("{path}: {error}"))),
        },
    };
    prepare_topics(settings, &kafka, None, &[changes_topic(settings)]).await?;
    let writer = Arc::new(Writer::start(&kafka, &settings.kafka.changes_topic)?);
    let options = CaptureOptions::from(&settings.capture);
    let metrics = CaptureMetrics::register(&Registry::new())?;
    let clock = Clock::system();
    let run = format!("import-{:x}-{:x}", clock.unix_ms(), std::process::id());
    let intake = Intake::new(writer as Arc<dyn LogWriter>, model, &options, metrics, clock);
    let work =
        import(&intake, tenant, reader, &run, &shutdown, |line| eprintln!("capture: {line}"));
    tokio::pin!(work);
    let report = tokio::select! {
        report = &mut work => report,
        signal = signals.wait() => {
            tracing::info!(%signal, "stopping, what was read is finished");
            shutdown.cancel();
            work.await
        }
    };
    let exit = if report.is_complete() { Exit::Clean } else { Exit::StartFailed };
    Ok(say(exit, &report.summary(input)))
}
