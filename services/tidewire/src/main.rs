//! The command line: everything in one process for development, and the tools around it.

mod admin;
mod bench;
mod check;
mod config;
mod dev;
mod http;
mod publish;
mod script;
mod simulate;
mod table;
mod terminal;
mod token;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Pushes changes of a business system's objects to the people who look at them.
#[derive(Parser, Debug)]
#[command(name = "tidewire", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Everything in one process: embedded broker, simulated fleet, and a page that shows it move.
    Dev(dev::Args),
    /// Shows changes in the terminal as they come.
    Watch(watch::Args),
    /// Sends changes (NDJSON from a file or standard input) to a capture service.
    Publish(publish::Args),
    /// Lets a fleet of ships change, and sends what changes to a capture service or to standard output.
    Simulate(simulate::Args),
    /// Shows who is connected to gateways, and sends them away.
    #[command(subcommand)]
    Sessions(admin::Sessions),
    /// Takes tokens, users or a tenant their right to be connected, shows that, and gives it back.
    #[command(subcommand)]
    Revoke(admin::Revoke),
    /// Saves, shows, tries and back-tests alert scripts.
    #[command(subcommand)]
    Script(script::Script),
    /// Prints a token for the development secret.
    Token(token::Args),
    /// Checks, prints or explains the configuration.
    Config(config::Args),
    /// Proves a running deployment: posts changes, listens, and judges what was owed against what came.
    Check(check::Args),
    /// Measures a gateway against the floors of this machine.
    Bench(bench::Args),
}

fn main() -> ExitCode {
    // A process that runs scripts takes no other arguments.
    if let Some(code) = tidewire_alerts::script_worker(std::env::args_os().skip(1)) {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // What cannot be printed cannot be helped.
            let _ = e.print();
            return if e.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    match cli.command {
        Command::Dev(args) => dev::run(args),
        Command::Watch(args) => watch::run(args),
        Command::Publish(args) => publish::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Sessions(command) => admin::sessions(command),
        Command::Revoke(command) => admin::revoke(command),
        Command::Script(command) => script::run(command),
        Command::Token(args) => token::run(&args),
        Command::Config(args) => config::run(args),
        Command::Check(args) => check::run(&args),
        Command::Bench(args) => bench::run(args),
    }
}
