//! The capture process: reads its configuration, serves or imports, drains.
//!
//! Exit codes: 64 bad usage or configuration, 1 start failed (or an import that is not complete), 0 clean.

mod serve;
mod wiring;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use tidewire_auth::Verifier;
use tidewire_capture::import::import;
use tidewire_capture::{CaptureOptions, Intake};
use tidewire_config::{Service, Settings, Sources, load};
use tidewire_event::Tenant;
use tidewire_log::LogWriter;
use tidewire_runtime::{Clock, Exit, Shutdown, Signals};
use tidewire_telemetry::{CaptureMetrics, Registry};

use serve::Checked;

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
    let sources = Sources::from_env().file(args.config.as_deref()).set(args.set.clone());
    let settings = match load(Service::Capture, sources) {
        Ok(settings) => settings,
        Err(error) => return say(Exit::Usage, &error.to_string()),
    };
    let format = match &args.input {
        Some(_) => wiring::import_log_format(&settings),
        None => wiring::log_format(&settings),
    };
    if let Err(error) = tidewire_telemetry::init(format, &settings.log.level) {
        return say(Exit::Usage, &format!("log.level: {error}"));
    }
    let checked = match check(settings) {
        Ok(checked) => checked,
        Err(problems) => return say(Exit::Usage, &problems),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return say(Exit::StartFailed, &error.to_string()),
    };
    let done = match args.input.zip(args.tenant) {
        Some((input, tenant)) => runtime.block_on(import_all(checked, &input, &tenant)),
        None => runtime.block_on(serve::serve(checked)),
    };
    done.unwrap_or_else(|error| say(Exit::StartFailed, &format!("{error:#}")))
}

/// Everything that can be found wrong without a port or a cluster.
fn check(settings: Settings) -> Result<Checked, String> {
    let mut problems = Vec::new();
    let kafka = wiring::kafka(&settings);
    problems.extend(kafka.problems().iter().map(ToString::to_string));
    let model = wiring::model(&settings).map_err(|error| problems.push(format!("{error:#}")));
    let verifier = Verifier::new(&wiring::auth(&settings))
        .map_err(|found| problems.extend(found.iter().map(ToString::to_string)));
    match (model, verifier) {
        (Ok(model), Ok(verifier)) if problems.is_empty() => {
            Ok(Checked { settings, kafka, verifier: Arc::new(verifier), model })
        }
        _ => Err(format!("configuration cannot be used:\n  {}", problems.join("\n  "))),
    }
}

fn say(exit: Exit, text: &str) -> Exit {
    eprintln!("capture: {text}");
    exit
}

async fn import_all(checked: Checked, input: &str, tenant: &Tenant) -> anyhow::Result<Exit> {
    let Checked { settings, kafka, model, .. } = checked;
    let shutdown = Shutdown::new();
    let mut signals = Signals::install()?;
    let reader: Box<dyn tokio::io::AsyncRead + Unpin + Send> = match input {
        "-" => Box::new(tokio::io::stdin()),
        path => match tokio::fs::File::open(path).await {
            Ok(file) => Box::new(file),
            Err(error) => return Ok(say(Exit::Usage, &format!("{path}: {error}"))),
        },
    };
    wiring::check_topic(&settings, &kafka, &shutdown).await?;
    let writer = wiring::writer(&settings, &kafka)?;
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
