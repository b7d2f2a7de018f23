//! The `gateway` service: configuration -> build -> serve -> drain.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tidewire_assembly::{ServiceArgs, StartError, explain, init};
use tidewire_config::Service;
use tidewire_runtime::Exit;

/// Consumes the change topic and routes to the sockets that it holds.
#[derive(Parser, Debug)]
#[command(name = "gateway", version, about)]
struct Args {
    /// The configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, over file and environment; may be given more than once.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

fn main() -> ExitCode {
    if let Some(ended) = tidewire_gateway::worker::work_if_asked() {
        return ended;
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
        Ok(()) => Exit::Clean.into(),
        Err(e) => {
            eprintln!("gateway: {}", explain(&e));
            e.exit().into()
        }
    }
}

fn run(args: Args) -> Result<(), StartError> {
    let args = ServiceArgs { config: args.config, set: args.set };
    let (settings, registry) = init(Service::Gateway, &args)?;
    let runtime = tokio::runtime::Runtime::new().map_err(anyhow::Error::new)?;
    runtime.block_on(tidewire_gateway::wiring::run(&settings, &registry))
}
