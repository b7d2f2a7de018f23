//! The `alerts` service: configuration -> build -> run -> drain.
//!
//! Exit codes: 64 bad usage or configuration, 1 start failed, 70 a part of it failed, 0 clean.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tidewire_assembly::{ServiceArgs, StartError, explain, init};
use tidewire_config::Service;
use tidewire_runtime::Exit;

/// Runs alert scripts over the changes and writes what fires.
#[derive(Parser, Debug)]
#[command(name = "alerts", version, about)]
struct Args {
    /// The configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, over file and environment; may be given more than once.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

fn main() -> ExitCode {
    if let Some(code) = tidewire_alerts::script_worker(std::env::args_os().skip(1)) {
        return code;
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(e) => {
            // What cannot be printed cannot be helped.
            let _ = e.print();
            return if e.use_stderr() { Exit::Usage.into() } else { Exit::Clean.into() };
        }
    };
    match run(args) {
        Ok(exit) => exit.into(),
        Err(e) => {
            eprintln!("alerts: {}", explain(&e));
            e.exit().into()
        }
    }
}

fn run(args: Args) -> Result<Exit, StartError> {
    let args = ServiceArgs { config: args.config, set: args.set };
    let (settings, registry) = init(Service::Alerts, &args)?;
    let runtime = tokio::runtime::Runtime::new().map_err(anyhow::Error::new)?;
    runtime.block_on(tidewire_alerts::wiring::run(&settings, &registry))
}
