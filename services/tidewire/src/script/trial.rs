//! `test`: a script is compiled, dry-run as saving does, and run over changes of the author's.
//!
//! All of it in a worker process, so that a script is stopped here by the same limits as in the service.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use tidewire_event::Tenant;
use tidewire_model::Model;
use tidewire_sandbox::{WorkerOptions, Workers};
use tidewire_script::{
    Event, FieldUse, Fields, Refused, Root, Script, ScriptError, ScriptErrorKind as Kind,
};

use super::file::{self, ScriptFile};
use super::{Failed, events};
use crate::dev::TENANT;
use crate::terminal::plain;

/// What to try.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The record (`x.json`), or the source beside it (`x.rhai`).
    file: PathBuf,
    /// A file with changes to run it over, as JSON: {"objectType","eventType","new","old","user"}, one or
    /// several; `-` is standard input. May be given more than once.
    #[arg(long = "event", value_name = "FILE")]
    events: Vec<PathBuf>,
    /// The data model, instead of the sample model.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
}

pub(super) fn test(args: &Args) -> Result<(), Failed> {
    let model = model(args).map_err(Failed::Usage)?;
    let script = ScriptFile::read(&args.file)?;
    script.check_types(&model)?;
    let mut events = Vec::new();
    for path in &args.events {
        events.append(&mut events::read(path).map_err(Failed::Usage)?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("no runtime")?;
    runtime.block_on(async {
        let options = WorkerOptions::of_this_binary(1).context("no script worker")?;
        let workers = Workers::start(options).await.context("no script worker")?;
        run(&script, &events, &model, &workers).await
    })
}

fn model(args: &Args) -> anyhow::Result<Model> {
    let Some(path) = &args.model else { return Ok(Model::vms()) };
    Model::parse(&file::text(path)?).map_err(|errors| anyhow!("{}: {errors}", path.display()))
}

async fn run(
    file: &ScriptFile,
    events: &[(String, Event)],
    model: &Model,
    workers: &Workers,
) -> Result<(), Failed> {
    let rehearsed = workers.rehearse(&file.record, model).await.context("no script worker")?;
    let fields = match rehearsed {
        Ok(fields) => fields,
        Err(Refused { error: ScriptError { kind: Kind::Unavailable, reason, .. }, .. }) => {
            return Err(Failed::Other(anyhow!(reason)));
        }
        Err(refused) => return Err(Failed::Script(file.refusal(&refused))),
    };
    println!("{}: compiles, and passes its dry run", plain(&file.record.code));
    print!("{}", reads(&fields));
    let tenant = Tenant::new(TENANT).context("no tenant")?;
    let script = Arc::new(Script::new(tenant, 1, "", 0, file.record.clone()));
    let mut failed = 0;
    for (name, event) in events {
        let Event { object_type, operation, .. } = event;
        print!("{name}: {object_type} {operation}: ");
        if !script.record.is_triggered_by(object_type.as_str(), *operation) {
            println!("not run, it does not trigger the script");
            continue;
        }
        match fires(&script, event, workers).await? {
            Ok(Some(message)) => print!("fired\n{}", shown(&script, &message)),
            Ok(None) => println!("did not fire"),
            Err(error) => {
                failed += 1;
                println!("failed ({})\n{}", error.kind, file.fault(&error));
            }
        }
    }
    match failed {
        0 => Ok(()),
        1 => Err(Failed::Script("1 run failed".to_owned())),
        more => Err(Failed::Script(format!("{more} runs failed"))),
    }
}

/// The message, if it fires.
async fn fires(
    script: &Arc<Script>,
    event: &Event,
    workers: &Workers,
) -> anyhow::Result<Result<Option<String>, ScriptError>> {
    let evaluated = workers.evaluate(event, std::slice::from_ref(script)).await?;
    let result = evaluated.results.into_iter().next().context("the worker gave no result")?;
    Ok(match result {
        Err(ScriptError { kind: Kind::Unavailable, reason, .. }) => return Err(anyhow!(reason)),
        Err(error) => Err(error),
        Ok(outcome) if !outcome.fired => Ok(None),
        Ok(outcome) => {
            let message = script.message(&outcome);
            message.map(Some).map_err(|error| ScriptError::new(Kind::Message, error.to_string()))
        }
    })
}

/// The message, indented.
fn shown(script: &Script, message: &str) -> String {
    let record = &script.record;
    let mut out = String::new();
    // Writing to a String cannot fail.
    if !record.subject.is_empty() {
        let _ = writeln!(out, "  subject: {}", plain(&record.subject));
    }
    let _ = writeln!(out, "  message ({}):", record.message_type.as_str());
    for line in message.lines() {
        let _ = writeln!(out, "    {}", plain(line));
    }
    out
}

/// What it reads: whoever subscribes must be allowed to.
fn reads(fields: &Fields) -> String {
    let path = |field: &FieldUse| {
        let root = match field.root {
            Root::Current => "dlpObject",
            Root::Before => "oldDlpObject",
            Root::User => "wsUser",
        };
        std::iter::once(root)
            .chain(field.path.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(".")
    };
    let mut words: Vec<String> = fields.paths.iter().map(path).collect();
    words.sort_unstable();
    words.extend(fields.loose.iter().map(|name| format!("*.{name}")));
    if words.is_empty() { String::new() } else { format!("  reads {}\n", words.join(", ")) }
}
