//! `tidewire script`: alert scripts, from the file to the registry.
//!
//! A script is two files side by side, the record (`x.json`) and its source (`x.rhai`), as `model/scripts`
//! has them, or one, whose record holds the source as `scriptBody`. `put`, `list`, `show` and `delete` ask
//! the registry of a gateway; `test` asks nobody; `backtest` reads the change topic itself.
//!
//! Exit codes: 0 done, 1 the script is at fault or the other side refuses, 64 bad usage.

mod access;
mod backtest;
mod events;
mod fault;
mod file;
mod range;
mod registry;
mod saved;
mod trial;

use std::process::ExitCode;

use clap::Subcommand;
use tidewire_assembly::{StartError, explain};
use tidewire_runtime::Exit;

/// `tidewire script`.
#[derive(Subcommand, Debug)]
pub(crate) enum Script {
    /// Saves a script: creates it, or replaces the one that has its code.
    Put(registry::Put),
    /// Lists the scripts of a tenant.
    List(registry::List),
    /// Shows a script with its source and state.
    Show(registry::One),
    /// Deletes a script.
    Delete(registry::One),
    /// Compiles a script, dry-runs it as saving does, and runs it over given changes. Asks nobody.
    Test(trial::Args),
    /// Runs a script over the change topic and shows when it would have fired. It needs READ on the topic.
    /// With a token, for script authors: it runs what the token may read. Without one, for operators: it
    /// sees all that the topic holds.
    Backtest(backtest::Args),
}

/// Why a command did not do what it was asked to.
enum Failed {
    /// What was given cannot be read: 64.
    Usage(anyhow::Error),
    /// The script is at fault; the text names its file: 1.
    Script(String),
    /// Anything else: 1.
    Other(anyhow::Error),
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<StartError> for Failed {
    fn from(error: StartError) -> Self {
        match &error {
            StartError::Config(_) | StartError::Values(_) => {
                Self::Usage(anyhow::Error::msg(explain(&error)))
            }
            StartError::Other(_) => Self::Other(anyhow::Error::msg(explain(&error))),
        }
    }
}

pub(crate) fn run(command: Script) -> ExitCode {
    let (name, outcome) = match command {
        Script::Put(args) => ("put", registry::put(&args)),
        Script::List(args) => ("list", registry::list(&args)),
        Script::Show(args) => ("show", registry::show(&args)),
        Script::Delete(args) => ("delete", registry::delete(&args)),
        Script::Test(args) => ("test", trial::test(&args)),
        Script::Backtest(args) => ("backtest", backtest::backtest(&args)),
    };
    match outcome {
        Ok(()) => Exit::Clean.into(),
        Err(Failed::Script(text)) => {
            eprintln!("{text}");
            Exit::StartFailed.into()
        }
        Err(Failed::Other(error)) => {
            eprintln!("tidewire script {name}: {error:#}");
            Exit::StartFailed.into()
        }
        Err(Failed::Usage(error)) => {
            eprintln!("tidewire script {name}: {error:#}");
            Exit::Usage.into()
        }
    }
}
