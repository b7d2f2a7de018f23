//! `tidewire check`: proves a running deployment. A producer posts changes and writes down what was
//! committed; clients of all modes write down what they are told, reconnect to another gateway whenever
//! they are cut off, and resume; in the end an outside judge (`tidewire_checker`) holds one against the
//! other.
//!
//! Whoever breaks things meanwhile writes a line for each fault to `--faults-log`; a run that felt none of
//! them proves nothing and says so. The same seed gives the same objects, changes and subscriptions.

mod client;
mod faults;
mod fleet;
mod pace;
mod producer;
mod report;
mod socket;
mod stream;
mod tokens;
mod wishes;

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tidewire_checker::{Ledger, Mode, Rules, Transcript, judge, rehearsal};
use tidewire_runtime::{Exit, Shutdown, Tasks, wait_for_signal};
use tokio::sync::mpsc;

use client::{Client, Common};
use faults::FaultsLog;
use pace::{Gauge, Watch};
use producer::Producer;
use report::Outcome;
use tokens::Tokens;

/// The run proves nothing: no fault was felt, or it could not be made.
const VOID: u8 = 2;
/// Nothing came for so long: everything is there.
const CALM: Duration = Duration::from_secs(3);
/// How often it is looked whether it is calm.
const LOOK: Duration = Duration::from_millis(100);
/// So long after a token's end a socket may be told something, its link being slow.
const EXPIRY_GRACE: Duration = Duration::from_secs(15);
/// So long a session's start may stay unproven: a pong, the next write of the store, and a slow machine.
const PROOF_GRACE: Duration = Duration::from_secs(10);
/// Seeds of the rehearsal: of the honest system, and of each planted bug.
const REHEARSAL: (u64, u64) = (200, 5);

/// What to prove, and how hard to try.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// A gateway; several by commas, or the option again.
    #[arg(long, value_delimiter = ',', default_value = "http://127.0.0.1:8080")]
    gateway: Vec<String>,
    /// The capture service.
    #[arg(long, default_value = "http://127.0.0.1:8082")]
    capture: String,
    /// The secret to mint tokens from, instead of the development secret.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The issuer of the tokens.
    #[arg(long, default_value = tidewire_auth::DEV_ISSUER)]
    issuer: String,
    /// The audience of the tokens.
    #[arg(long, default_value = tidewire_auth::DEV_AUDIENCE)]
    audience: String,
    /// A tenant to use, may be given more than once; without it two of this run's own.
    #[arg(long)]
    tenant: Vec<String>,
    /// How many changes to post.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    events: u64,
    /// Changes a second.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,
    /// How many sockets listen.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=5_000))]
    sockets: u16,
    /// Decides what changes, and who listens to what.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How the sockets speak, in turn.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "session,v1,sse")]
    modes: Vec<ModeArg>,
    /// How long to wait at the end for what is under way.
    #[arg(long, default_value = "60s", value_parser = seconds)]
    wait: Duration,
    /// Where to write the verdict as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The log of faults, a line `<ms since 1970> <kind> <target>` each; with it a run without any is void.
    #[arg(long, value_name = "FILE")]
    faults_log: Option<PathBuf>,
    /// Proves the judge instead, on a small system in memory with planted bugs.
    #[arg(long)]
    rehearse: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum ModeArg {
    /// Documented frames, nothing kept over a reconnect.
    Plain,
    /// Documented frames with a named session.
    Session,
    /// tidewire.v1 with cursors.
    V1,
    /// Server-Sent Events with Last-Event-ID.
    Sse,
}

impl ModeArg {
    const fn mode(self) -> Mode {
        match self {
            Self::Plain => Mode::Plain,
            Self::Session => Mode::Session,
            Self::V1 => Mode::V1,
            Self::Sse => Mode::Sse,
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let digits = text.strip_suffix('s').unwrap_or(text);
    let seconds: Option<u64> = digits.parse().ok().filter(|seconds| (1..=3_600).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("{text:?} is not 1s to 3600s"))
}

pub(crate) fn run(args: &Args) -> ExitCode {
    if args.rehearse {
        let (table, holds) = rehearsal::table(REHEARSAL.0, REHEARSAL.1);
        print!("{table}");
        return if holds { Exit::Clean.into() } else { Exit::StartFailed.into() };
    }
    match check(args) {
        Ok(outcome) if outcome.verdict.is_void => ExitCode::from(VOID),
        Ok(outcome) if outcome.is_clean() => Exit::Clean.into(),
        Ok(_) => Exit::StartFailed.into(),
        Err(e) => {
            note(&format!("{e:#}"));
            ExitCode::from(VOID)
        }
    }
}

fn note(text: &str) {
    eprintln!("tidewire check: {text}");
}

fn check(args: &Args) -> anyhow::Result<Outcome> {
    let tokens = Tokens::new(args.secret_file.as_deref(), &args.issuer, &args.audience)?;
    let faults = args.faults_log.as_ref().map(|path| FaultsLog::new(path));
    let tenants = match args.tenant.as_slice() {
        [] => ["a", "b"]
            .map(|half| format!("check-{}-{}-{half}", args.seed, tidewire_auth::unix_now()))
            .into(),
        given => given.to_vec(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let shutdown = Shutdown::new();
    let run = async {
        let signal = pin!(wait_for_signal());
        tokio::select! {
            ended = listen_and_post(args, &tenants, tokens, &shutdown) => ended,
            _ = signal => bail!("stopped by a signal"),
        }
    };
    let ended = runtime.block_on(run);
    runtime.shutdown_background();
    let (ledger, transcripts, refused) = ended?;
    note("judges");
    let faults = faults.map(|faults| faults.read()).transpose()?;
    let felt = faults.as_ref();
    let rules = Rules {
        self_base: None,
        expiry_grace: pace::stamp_of(EXPIRY_GRACE),
        proof_grace: pace::stamp_of(PROOF_GRACE),
        faults_expected: felt.is_some(),
        sessions_may_be_lost: felt.is_some_and(faults::Faults::may_lose_sessions),
        log_may_have_gaps: felt.is_some_and(faults::Faults::may_cut_the_log),
        versioned: false,
    };
    let mut verdict = judge(&ledger, &transcripts, &rules);
    verdict.is_void |= felt.is_some_and(|faults| faults.total() == 0);
    let outcome = Outcome { seed: args.seed, refused, faults, verdict };
    outcome.print();
    if let Some(path) = &args.report {
        std::fs::write(path, outcome.json())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(outcome)
}

/// The whole run: gives what was committed, what was told, and how many changes were refused.
async fn listen_and_post(
    args: &Args,
    tenants: &[String],
    tokens: Tokens,
    shutdown: &Shutdown,
) -> anyhow::Result<(Ledger, Vec<Transcript>, u64)> {
    let mut random = StdRng::seed_from_u64(args.seed);
    let watch = Watch::start();
    let gauge = Arc::new(Gauge::default());
    let tasks = Tasks::new(shutdown.clone());
    let stop = Shutdown::new();
    let sockets = usize::from(args.sockets);
    let (give, mut transcripts) = mpsc::channel(sockets);
    let common = Arc::new(Common {
        gateways: args.gateway.iter().map(|url| socket::base(url)).collect::<Result<_, _>>()?,
        tokens: tokens.clone(),
        watch,
        gauge: Arc::clone(&gauge),
        run: format!("{}-{}", args.seed, std::process::id()),
    });
    let modes: Vec<Mode> = args.modes.iter().map(|mode| mode.mode()).collect();
    let wishes = wishes::draw(&mut random, tenants, &modes, sockets);
    for (number, wish) in wishes.into_iter().enumerate() {
        let client = Client::new(number, wish, Arc::clone(&common), args.seed, stop.clone());
        let give = give.clone();
        tasks.spawn("client", async move {
            // The receiver waits for all of them.
            let _ = give.send(client.run().await).await;
        });
    }
    drop(give);
    calm(&gauge, watch, sockets, Duration::ZERO, args.wait).await;
    if gauge.connected() == 0 {
        bail!("no socket could be opened; is there a gateway at {}?", args.gateway.join(", "));
    }
    note(&format!(
        "{} of {sockets} sockets listen; posts {} changes",
        gauge.connected(),
        args.events
    ));
    let mut producer = Producer::new(&args.capture, &tokens, tenants, watch, args.seed)?;
    producer.go(args.events, args.rate).await?;
    note("posted; waits until everything has come");
    calm(&gauge, watch, sockets, CALM, args.wait).await;
    producer.once_each().await?;
    calm(&gauge, watch, sockets, CALM, args.wait).await;
    stop.cancel();
    let mut all = Vec::with_capacity(sockets);
    while let Some(transcript) = transcripts.recv().await {
        all.push(transcript);
    }
    let (ledger, refused) = producer.ledger();
    Ok((ledger, all, refused))
}

/// Waits until all sockets are live and nothing has come for so long, or for `limit`.
async fn calm(gauge: &Gauge, watch: Watch, sockets: usize, quiet: Duration, limit: Duration) {
    let until = tokio::time::Instant::now() + limit;
    // The last message may be on its way.
    let since = watch.now();
    loop {
        tokio::time::sleep(LOOK).await;
        let last = gauge.last_message().max(since);
        let silent = watch.now().saturating_sub(last) >= pace::stamp_of(quiet);
        if (gauge.connected() == sockets && silent) || tokio::time::Instant::now() >= until {
            return;
        }
    }
}
