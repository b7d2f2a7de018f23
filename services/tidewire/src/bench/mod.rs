//! `tidewire bench`: measures a gateway against the floors of this machine, in one run.
//!
//! Gateway, floor and load client are processes of their own (this program in another role), so that
//! CPU and memory are told apart. A row compares modes round by round, in random order, and gives the
//! median of the ratios; docs/perf/README.md tells the method and its limits.

mod alerts;
mod child;
mod clients;
mod engine;
mod fleet;
mod floor;
mod frames;
mod gateway;
mod hostile;
mod load;
mod metrics;
mod process;
mod protocol;
mod publish;
mod report;
mod rows;
mod side;
mod statistics;
mod tls;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rand::RngExt as _;
use tidewire_runtime::Exit;

use report::Row;
use statistics::Spread;
use workspace::Workspace;

/// What to measure.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Rounds of each row that compares.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Few sockets and few rounds: shows that it works, and measures nothing.
    #[arg(long)]
    quick: bool,
    /// Only rows of these groups; may be given more than once. `--list` names them.
    #[arg(long)]
    only: Vec<String>,
    /// Names the groups of rows.
    #[arg(long)]
    list: bool,
    /// Writes the page of results into this folder.
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,
    /// Prints which threads of the gateway used the CPU.
    #[arg(long)]
    threads: bool,
    /// Compares this build's fan-out with an earlier build's too: the path of its `tidewire`.
    #[arg(long, value_name = "PROGRAM")]
    against: Option<PathBuf>,
    #[arg(long, hide = true)]
    role: Option<Role>,
    #[arg(long, hide = true)]
    config: Option<PathBuf>,
    #[arg(long, hide = true)]
    brokers: Option<String>,
    #[arg(long, hide = true, default_value_t = 5)]
    fetch_wait_ms: u64,
    #[arg(long, hide = true)]
    with_store: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Role {
    Gateway,
    Floor,
    Load,
    Engine,
    Alerts,
}

/// Runs the bench, or one of its helpers.
pub(crate) fn run(args: Args) -> ExitCode {
    match start(args) {
        Ok(()) => Exit::Clean.into(),
        Err(e) => {
            eprintln!("tidewire bench: {e:#}");
            Exit::StartFailed.into()
        }
    }
}

fn start(args: Args) -> Result<()> {
    match args.role {
        None => measure(&args),
        Some(Role::Floor) => floor::run(),
        Some(Role::Load) => load::run(),
        Some(Role::Engine) => engine::run(),
        Some(role @ (Role::Gateway | Role::Alerts)) => {
            let config = args.config.context("--config is missing")?;
            let brokers = args.brokers.context("--brokers is missing")?;
            let fetch_wait = Duration::from_millis(args.fetch_wait_ms);
            match role {
                Role::Alerts => alerts::run(config, &brokers, fetch_wait),
                _ => gateway::run(config, &brokers, fetch_wait, args.with_store),
            }
        }
    }
}

/// What rows work with.
struct Bench {
    space: Workspace,
    rounds: usize,
    /// Sockets of the rows that have few, some, and many.
    few: usize,
    some: usize,
    many: usize,
    quick: bool,
    threads: bool,
    cores: usize,
    against: Option<PathBuf>,
}

fn measure(args: &Args) -> Result<()> {
    let groups = rows::groups();
    if args.list {
        groups.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(());
    }
    if let Some(wrong) = args.only.iter().find(|only| !groups.iter().any(|(name, _)| name == only))
    {
        bail!("--only {wrong}: no group has this name; --list names them");
    }
    let (few, some, many) = if args.quick { (20, 50, 100) } else { (1_000, 2_000, 10_000) };
    let mut bench = Bench {
        space: Workspace::new()?,
        rounds: if args.quick { 2 } else { args.rounds.max(1) },
        few,
        some,
        many,
        quick: args.quick,
        threads: args.threads,
        against: args.against.clone(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let (started, machine) = (Instant::now(), process::Machine::of_here());
    let mut table: Vec<Row> = Vec::new();
    println!("{}", report::HEAD);
    for (name, measure) in groups {
        if !args.only.is_empty() && !args.only.iter().any(|only| only == name) {
            continue;
        }
        let begun = Instant::now();
        let rows = measure(&mut bench).unwrap_or_else(|e| {
            vec![Row::without(name, "", format!("could not be measured: {e:#}"))]
        });
        for row in rows {
            println!("{}", row.line());
            table.push(row);
        }
        eprintln!("{name}: {} s", begun.elapsed().as_secs());
    }
    if let Some(folder) = &args.write {
        report::write(folder, machine, &table, bench.rounds, started.elapsed().as_secs())?;
    }
    Ok(())
}

/// Runs two modes in random order, round by round; the spread of the ratios, and of each mode. A first
/// round warms up and does not count.
fn paired(
    rounds: usize,
    mut ours: impl FnMut() -> Result<f64>,
    mut floor: impl FnMut() -> Result<f64>,
) -> Result<(Spread, Spread, Spread)> {
    let (mut ratios, mut all_ours, mut all_floor) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let (a, b) = if rand::rng().random() {
            let a = ours()?;
            (a, floor()?)
        } else {
            let b = floor()?;
            (ours()?, b)
        };
        if round > 0 {
            ratios.push(a / b.max(1.0));
            all_ours.push(a);
            all_floor.push(b);
        }
    }
    Ok((Spread::of(ratios), Spread::of(all_ours), Spread::of(all_floor)))
}
