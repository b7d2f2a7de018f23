//! `tidewire config`: looks at a configuration without starting anything.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use tidewire_config::{ConfigErrors, Service, Sources};
use tidewire_runtime::Exit;

/// What to do with it.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Names everything that is wrong; exit code 64 if anything is.
    Check(Which),
    /// Prints what is in force, and where each value comes from. Secrets are not shown.
    Print(Which),
    /// Prints the reference of all keys (Markdown).
    Reference,
}

#[derive(clap::Args, Debug)]
struct Which {
    /// Whose configuration.
    #[arg(long, value_enum, default_value = "gateway")]
    service: Of,
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, over file and environment; may be given more than once.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Of {
    Gateway,
    Capture,
    Alerts,
    Dev,
}

pub(crate) fn run(args: Args) -> ExitCode {
    let outcome = match args.action {
        Action::Check(which) => {
            let (service, sources) = sources(which);
            tidewire_config::check(service, sources)
                .map(|()| "the configuration is sound\n".to_owned())
        }
        Action::Print(which) => {
            let (service, sources) = sources(which);
            tidewire_config::print(service, sources)
        }
        Action::Reference => Ok(tidewire_config::reference()),
    };
    say(outcome)
}

fn say(outcome: Result<String, ConfigErrors>) -> ExitCode {
    match outcome {
        Ok(text) => {
            print!("{text}");
            Exit::Clean.into()
        }
        Err(errors) => {
            eprintln!("{errors}");
            Exit::Usage.into()
        }
    }
}

fn sources(which: Which) -> (Service, Sources) {
    let service = match which.service {
        Of::Gateway => Service::Gateway,
        Of::Capture => Service::Capture,
        Of::Alerts => Service::Alerts,
        Of::Dev => Service::Dev,
    };
    (service, Sources::from_env().file(which.config.as_deref()).set(which.set))
}
