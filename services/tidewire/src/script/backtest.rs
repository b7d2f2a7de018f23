//! `backtest`: when a script would have fired, from the change topic itself.
//!
//! With a token it reads what the token's principal may read ([`super::access`]). Without one it is a command
//! for operators: who may run it sees all that the topic holds of the tenant.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use serde_json::{Value, json};
use tidewire_alerts::AlertsOptions;
use tidewire_alerts::backtest::{
    Backtest, BacktestError, BacktestLimits, Ended, Match, Progress, Report,
};
use tidewire_config::Settings;
use tidewire_event::ObjectKey;
use tidewire_kafka::{History, stretches};
use tidewire_log::Stretch;
use tidewire_model::Model;
use tidewire_runtime::{Clock, Signals};
use tidewire_sandbox::Workers;
use tidewire_script::{
    Fields, Refused, Script, ScriptError, ScriptErrorKind as Kind, ScriptRecord,
};
use tidewire_wire::frame::event_time;
use tokio::runtime::{Handle, Runtime};

use super::Failed;
use super::access;
use super::file::ScriptFile;
use super::range::{Moment, Until};
use crate::table;
use crate::terminal::ProgressLine;
use crate::token::ttl;

const COMMAND: &str = "script backtest";
/// How often the progress is told where it cannot be drawn.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Characters of the bar.
const BAR: usize = 20;
/// Faults that are shown with their place.
const FAULTS_SHOWN: usize = 5;
const COLUMNS: [&str; 5] = ["id", "time", "object", "event", "message"];

/// What to run, and over what.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The record (`x.json`), or the source beside it (`x.rhai`).
    file: PathBuf,
    /// From when on: a duration (24h), a time (2026-09-14T13:37:26, UTC), or start.
    #[arg(long, value_name = "WHEN", value_parser = Moment::parse)]
    since: Moment,
    /// Up to when, instead of now; as --since.
    #[arg(long, value_name = "WHEN", value_parser = Moment::parse)]
    until: Option<Moment>,
    /// Only changes of this type; may be given more than once. Without it those of all triggers.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Stop after so many matches.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_matches: u32,
    /// Stop after so many records, of all tenants.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    max_records: u64,
    /// Stop after so long.
    #[arg(long, default_value = "5m", value_parser = ttl)]
    max_time: Duration,
    /// JSON, one match a line, instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: access::Args,
}

pub(super) fn backtest(args: &Args) -> Result<(), Failed> {
    let file = ScriptFile::read(&args.file)?;
    let only = only(&file.record, &args.types).map_err(Failed::Usage)?;
    let now_ms = i64::try_from(Clock::system().unix_ms()).unwrap_or(i64::MAX);
    let (since_ms, until_ms) = range(args, now_ms).map_err(Failed::Usage)?;

    let runtime = Runtime::new().context("no runtime")?;
    let access = args.access.access(&runtime)?;
    file.check_types(&access.model)?;
    // Judged is the script as it stands in the file, as a gateway would.
    let script = |record| Script::new(access.tenant.clone(), 1, "", 0, record);
    let whole = script(file.record.clone());
    access.check_record(&whole)?;
    access.check_revocations()?;
    let (workers, fields) = workers(&runtime, &access.settings, &file, &access.model)?;
    access.check_fields(&whole, &fields)?;

    let (kafka, topic) = (&access.kafka, &access.settings.kafka.changes_topic);
    let stretches = stretches(kafka, topic, since_ms)
        .with_context(|| format!("kafka at {} (kafka.brokers)", kafka.brokers))?;
    let history = History::new(kafka, topic).context("no consumer")?;
    let history = Until { log: history, until_ms };
    let limits = BacktestLimits {
        records_max: args.max_records,
        matches_max: usize::try_from(args.max_matches).unwrap_or(usize::MAX),
        time_max: args.max_time,
        repeat_window: access.settings.alerts.repeat_window,
        ..BacktestLimits::default()
    };
    let (script, model) = (Arc::new(script(only)), Arc::clone(&access.model));
    let work = Work { script, model, workers, limits, since_ms, stretches, history };
    let report = run(runtime, work)?;
    print(args, &report)?;
    eprintln!("tidewire script backtest: {}", summary(args, &report));
    for one in report.faults.iter().take(FAULTS_SHOWN) {
        eprintln!("{}: {}", one.id, file.fault(&one.error));
    }
    match report.ended {
        Ended::Unanswered(error) => {
            let brokers = &access.kafka.brokers;
            let text = format!("kafka at {brokers} (kafka.brokers) does not answer any more");
            Err(anyhow::Error::new(error).context(text).into())
        }
        _ => Ok(()),
    }
}

/// From when on, and up to when, in milliseconds since the Unix epoch.
fn range(args: &Args, now_ms: i64) -> anyhow::Result<(Option<i64>, Option<i64>)> {
    let since_ms = args.since.at(now_ms);
    let Some(until) = args.until else { return Ok((since_ms, None)) };
    let until_ms = until.at(now_ms).context("--until: nothing is before the start")?;
    ensure!(since_ms.is_none_or(|since| since < until_ms), "--until is not later than --since");
    Ok((since_ms, Some(until_ms)))
}

/// The script with the triggers of these types alone; with all of them where none is named.
fn only(record: &ScriptRecord, types: &[String]) -> anyhow::Result<ScriptRecord> {
    let has = |name: &String| record.triggers.iter().any(|t| t.object_type.as_str() == name);
    if let Some(missing) = types.iter().find(|name| !has(name)) {
        bail!("--type {missing}: the script has no trigger of this type");
    }
    let mut record = record.clone();
    if !types.is_empty() {
        record.triggers.retain(|t| types.iter().any(|name| name == t.object_type.as_str()));
    }
    Ok(record)
}

/// The processes, once the script has shown that it could be saved, and what it reads.
fn workers(
    runtime: &Runtime,
    settings: &Settings,
    file: &ScriptFile,
    model: &Model,
) -> Result<(Workers, Fields), Failed> {
    let mut options = AlertsOptions::of(settings).context("no script worker")?.workers;
    // One change at a time is looked at.
    options.workers = 1;
    runtime.block_on(async {
        let workers = Workers::start(options).await.context("no script worker")?;
        match workers.rehearse(&file.record, model).await.context("no script worker")? {
            Ok(fields) => Ok((workers, fields)),
            Err(Refused { error: ScriptError { kind: Kind::Unavailable, reason, .. }, .. }) => {
                Err(Failed::Other(anyhow!(reason)))
            }
            Err(refused) => Err(Failed::Script(file.refusal(&refused))),
        }
    })
}

/// What the thread that reads is given.
struct Work {
    script: Arc<Script>,
    model: Arc<Model>,
    workers: Workers,
    limits: BacktestLimits,
    since_ms: Option<i64>,
    stretches: Vec<Stretch>,
    history: Until<History>,
}

impl Work {
    fn done(
        mut self,
        runtime: &Handle,
        stopped: &AtomicBool,
        line: &Mutex<ProgressLine>,
    ) -> Result<Report, BacktestError> {
        let test = Backtest {
            script: self.script,
            model: &self.model,
            workers: &self.workers,
            runtime,
            limits: self.limits,
            since_ms: self.since_ms,
        };
        let report = test.run(&self.stretches, &mut self.history, &mut |progress| {
            let mut line = lock(line);
            if line.is_due() {
                let text = bar(progress, line.draws());
                line.show(&text);
            }
            match stopped.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        lock(line).close();
        report
    }
}

/// Does the work on a thread of its own. Told to stop, it ends with what was found so far; told again, at
/// once.
fn run(runtime: Runtime, work: Work) -> anyhow::Result<Report> {
    let (stopped, line) = (Arc::<AtomicBool>::default(), ProgressLine::new(COMMAND, TELL_EVERY));
    let line = Arc::new(Mutex::new(line));
    let (told, drawn, handle) = (Arc::clone(&stopped), Arc::clone(&line), runtime.handle().clone());
    let (sender, mut report) = tokio::sync::oneshot::channel();
    let reader = std::thread::Builder::new().name("backtest".to_owned());
    // Nobody is there to take the report only if the process ends.
    let work = move || drop(sender.send(work.done(&handle, &told, &drawn)));
    let report = runtime.block_on(async {
        // Before there is something to stop.
        let mut signals = Signals::install().context("no signals")?;
        reader.spawn(work).context("no thread")?;
        loop {
            tokio::select! {
                report = &mut report => return Ok(Some(report.context("the thread that reads is gone")??)),
                _ = signals.wait() => if stopped.swap(true, Ordering::Relaxed) { return Ok(None) },
            }
        }
    });
    match report {
        Ok(Some(report)) => Ok(report),
        Ok(None) => {
            lock(&line).close();
            // The thread still reads: what it works with goes when it goes, with the process.
            std::mem::forget(runtime);
            bail!("stopped")
        }
        Err(error) => Err(error),
    }
}

/// A line that was half drawn by a thread that is gone is drawn over.
fn lock(line: &Mutex<ProgressLine>) -> std::sync::MutexGuard<'_, ProgressLine> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How far it has come, in one line.
fn bar(progress: &Progress, is_drawn: bool) -> String {
    let percent = (progress.done.saturating_mul(100)).checked_div(progress.total).unwrap_or(100);
    let percent = usize::try_from(percent.min(100)).unwrap_or(100);
    let (records, matches) = (progress.records, progress.matches);
    let text = format!("{percent:>3} %, {records} records read, fired {matches} times");
    if !is_drawn {
        return text.trim_start().to_owned();
    }
    let full = percent * BAR / 100;
    format!("[{}{}] {text}", "#".repeat(full), "-".repeat(BAR - full))
}

fn print(args: &Args, report: &Report) -> anyhow::Result<()> {
    let row = if args.json { whole } else { shown };
    let rows: Vec<Value> = report.matches.iter().map(row).collect();
    table::print(args.json, &rows, &COLUMNS, None)
}

/// A match with the members that the alert would have.
fn whole(one: &Match) -> Value {
    let key = match &one.key {
        ObjectKey::Integer(number) => json!(number),
        ObjectKey::Text(text) => json!(**text),
    };
    json!({
        "id": one.id.to_string(),
        "eventTime": event_time(one.time_ms).to_string(),
        "objectType": one.object_type.as_str(),
        "eventType": one.operation.as_str(),
        "dataloyObject": key,
        "message": one.message,
    })
}

fn shown(one: &Match) -> Value {
    json!({
        "id": one.id.to_string(),
        "time": event_time(one.time_ms).to_string(),
        "object": format!("{} {}", one.object_type, one.key),
        "event": one.operation.as_str(),
        "message": one.message,
    })
}

/// What was read, and what was not.
fn summary(args: &Args, report: &Report) -> String {
    let progress = &report.progress;
    let mut text = format!(
        "would have fired {} times in {} runs over {} records",
        report.matches.len(),
        progress.runs,
        progress.records
    );
    let not_all = "what comes later in the partition, and the partitions after it, were not read";
    match &report.ended {
        Ended::Complete => {}
        Ended::Records => {
            text += &format!("; stopped by --max-records {}: {not_all}", args.max_records)
        }
        Ended::Matches => {
            text += &format!("; stopped by --max-matches {}: {not_all}", args.max_matches)
        }
        Ended::Time => {
            text += &format!("; stopped by --max-time {} s: {not_all}", args.max_time.as_secs())
        }
        Ended::Stopped => text += &format!("; stopped: {not_all}"),
        Ended::Unanswered(_) => text += &format!("; ended early: {not_all}"),
    }
    let counts = [
        (report.missing, "offsets were taken by retention meanwhile"),
        (report.repeated, "changes were published again and are run once"),
        (report.poison, "records cannot be used"),
        (report.faults_total, "runs failed"),
    ];
    for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
        text += &format!("; {count} {what}");
    }
    text
}
