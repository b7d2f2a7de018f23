//! `tidewire simulate`: lets a fleet of ships change, and sends what changes.
//!
//! The same seed, tenant, start and rate give the same changes. What waits for a slow service is not
//! dropped: the fleet stands still meanwhile, and the same changes go out under the same ids.

use std::io::{self, Write as _};
use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tidewire_event::Tenant;
use tidewire_fleet::Fleet;
use tidewire_runtime::{Clock, Exit, wait_for_signal};

use crate::http::{Bearer, BearerArgs, Capture, Line, Outcome, Patience};
use crate::terminal::ProgressLine;

/// Above so many changes a second, several go in one request.
const TICKS_PER_SECOND: f64 = 20.0;
/// A request has no more changes, however far behind the clock.
const BATCH_MAX: u64 = 500;
/// How often the progress is told where it cannot be drawn over.
const REPORT_EVERY: Duration = Duration::from_secs(30);

/// What to simulate, and where it goes.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The capture service.
    #[arg(long, default_value = "http://127.0.0.1:8082")]
    url: String,
    #[command(flatten)]
    bearer: BearerArgs,
    /// Changes a second; 0 is as many as are taken.
    #[arg(long, default_value_t = 5.0, value_parser = rate)]
    rate: f64,
    /// The seed: the same one gives the same fleet.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// End after so many changes.
    #[arg(long)]
    count: Option<u64>,
    /// Write the changes to standard output, as `tidewire publish` reads them, instead of sending them.
    #[arg(long)]
    stdout: bool,
    /// The time of the first change in milliseconds since 1970, instead of now.
    #[arg(long, value_name = "MS")]
    start_ms: Option<i64>,
    /// So many seconds of the changes' own time pass in a second. A service refuses changes that are more
    /// than an hour ahead of its clock: start in the past then.
    #[arg(long, default_value_t = 1.0, value_parser = rate)]
    time_scale: f64,
}

fn rate(text: &str) -> Result<f64, String> {
    const MAX: f64 = 1_000_000.0;
    let number: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    let fits = (0.0..=MAX).contains(&number);
    fits.then_some(number).ok_or_else(|| format!("{text} is not between 0 and {MAX}"))
}

pub(crate) fn run(args: Args) -> ExitCode {
    match simulate(&args) {
        Ok(()) => Exit::Clean.into(),
        Err(e) => {
            eprintln!("tidewire simulate: {e:#}");
            Exit::StartFailed.into()
        }
    }
}

fn simulate(args: &Args) -> anyhow::Result<()> {
    let tenant = Tenant::new(&args.bearer.tenant)?;
    let sink = if args.stdout {
        Sink::Stdout
    } else {
        let bearer = Bearer::new(&args.bearer, &["producer"])?;
        Sink::Service(Box::new(Capture::new(&args.url, bearer, Patience(None))?))
    };
    let now_ms = i64::try_from(Clock::system().unix_ms()).unwrap_or(i64::MAX);
    let start_ms = args.start_ms.unwrap_or(now_ms);
    let pace = Pace { rate: args.rate, time_scale: args.time_scale, start_ms };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut run = Run {
        fleet: Fleet::new(args.seed, start_ms, &tenant),
        sink,
        pace,
        count: args.count.unwrap_or(u64::MAX),
        total: Total::new(),
    };
    let ended = runtime.block_on(async {
        let signal = pin!(wait_for_signal());
        tokio::select! {
            ended = run.go() => ended,
            _ = signal => Ok(()),
        }
    });
    // A request that is under way would be waited for: its changes count as neither sent nor failed.
    runtime.shutdown_background();
    run.total.finish();
    match ended {
        // Whoever read standard output has enough.
        Err(e) if is_closed_pipe(&e) => Ok(()),
        ended => ended,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io: Option<&io::Error> = error.downcast_ref();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Which change is due when, and which time it bears.
#[derive(Clone, Copy, Debug)]
struct Pace {
    rate: f64,
    time_scale: f64,
    start_ms: i64,
}

impl Pace {
    /// How many changes are due after this time.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float becomes the nearest integer, and a negative one 0"
    )]
    fn due(&self, elapsed: Duration) -> u64 {
        if self.rate == 0.0 { u64::MAX } else { (elapsed.as_secs_f64() * self.rate) as u64 + 1 }
    }

    /// The time of the change of this number, from 0. Without a rate it is that of the clock.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a simulated time need not be exact beyond 2^53 changes"
    )]
    fn at_ms(&self, number: u64, elapsed: Duration) -> i64 {
        let seconds =
            if self.rate == 0.0 { elapsed.as_secs_f64() } else { number as f64 / self.rate };
        self.start_ms.saturating_add((seconds * 1_000.0 * self.time_scale) as i64)
    }

    /// How long to sleep between looks at what is due.
    fn tick(&self) -> Duration {
        let per_second = self.rate.clamp(0.001, TICKS_PER_SECOND);
        Duration::from_secs_f64(1.0 / per_second)
    }
}

enum Sink {
    Stdout,
    Service(Box<Capture>),
}

struct Run {
    fleet: Fleet,
    sink: Sink,
    pace: Pace,
    count: u64,
    total: Total,
}

impl Run {
    async fn go(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut made = 0;
        // What could not be sent in time is not made up for: the clock of the pace stands still instead.
        let mut behind = Duration::ZERO;
        let mut ticks = tokio::time::interval(self.pace.tick());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while made < self.count {
            if self.pace.rate > 0.0 {
                ticks.tick().await;
            }
            let elapsed = started.elapsed().saturating_sub(behind);
            let due = self.pace.due(elapsed).min(self.count).saturating_sub(made).min(BATCH_MAX);
            let mut batch = Vec::new();
            for number in made..made + due {
                let change = self.fleet.next(self.pace.at_ms(number, elapsed));
                batch.push(Line::new(number, change.to_json().to_string()));
            }
            made += due;
            let sending = Instant::now();
            self.send(batch).await?;
            behind += sending.elapsed().saturating_sub(self.pace.tick());
            self.total.draw(self.fleet.objects());
        }
        Ok(())
    }

    async fn send(&mut self, batch: Vec<Line>) -> anyhow::Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let capture = match &mut self.sink {
            Sink::Service(capture) => capture,
            Sink::Stdout => {
                let mut out = io::stdout().lock();
                for line in &batch {
                    writeln!(out, "{}", line.text)?;
                }
                self.total.sent += batch.len() as u64;
                // Gives way, or a pipe that is read fast enough would never let Ctrl-C in.
                tokio::task::yield_now().await;
                return Ok(out.flush()?);
            }
        };
        let total = &mut self.total;
        let answers = capture.send(batch, |pause, reason| total.waits(pause, reason)).await?;
        for answer in answers {
            match answer.outcome {
                Outcome::Written(_) => self.total.sent += 1,
                Outcome::Failed { status, message } => {
                    self.total.failed += 1;
                    self.total.say(&format!("a change was refused: {status} {message}"));
                }
            }
        }
        Ok(())
    }
}

/// What was done so far, and how it is told.
struct Total {
    sent: u64,
    failed: u64,
    started: Instant,
    line: ProgressLine,
}

impl Total {
    fn new() -> Self {
        let line = ProgressLine::new("simulate", REPORT_EVERY);
        Self { sent: 0, failed: 0, started: Instant::now(), line }
    }

    #[expect(clippy::cast_precision_loss, reason = "shown to one digit")]
    fn text(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = self.sent as f64 / seconds.max(0.001);
        let (sent, failed) = (self.sent, self.failed);
        format!("{sent} sent, {failed} refused in {seconds:.0} s ({rate:.1}/s)")
    }

    fn draw(&mut self, objects: usize) {
        if self.line.is_due() {
            let text = format!("{}, {objects} objects", self.text());
            self.line.show(&text);
        }
    }

    fn say(&mut self, text: &str) {
        self.line.say(text);
    }

    fn waits(&mut self, pause: Duration, reason: &str) {
        self.say(&format!("waits {:.1} s: {reason}", pause.as_secs_f64()));
    }

    fn finish(&mut self) {
        self.say(&self.text());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let check = |text: &str, expected: Option<f64>| {
            assert_eq!(rate(text).ok(), expected, "{text:?}");
        };
        check("5", Some(5.0));
        check("0.5", Some(0.5));
        check("0", Some(0.0));
        check("1000000", Some(1_000_000.0));
        for bad in ["", "x", "-1", "1000001", "NaN", "inf"] {
            check(bad, None);
        }
    }

    #[test]
    fn the_pace_tells_what_is_due_and_when_it_happened() {
        let pace = Pace { rate: 4.0, time_scale: 60.0, start_ms: 1_000 };
        let check = |elapsed_ms: u64, expected: u64| {
            assert_eq!(pace.due(Duration::from_millis(elapsed_ms)), expected, "{elapsed_ms}");
        };
        check(0, 1);
        check(249, 1);
        check(250, 2);
        check(10_000, 41);
        assert_eq!(pace.at_ms(0, Duration::ZERO), 1_000);
        assert_eq!(pace.at_ms(4, Duration::ZERO), 61_000);
        assert_eq!(pace.tick(), Duration::from_millis(250));

        let full = Pace { rate: 0.0, time_scale: 1.0, start_ms: 0 };
        assert_eq!(full.due(Duration::ZERO), u64::MAX);
        assert_eq!(full.at_ms(99, Duration::from_millis(1_500)), 1_500);
        assert_eq!(Pace { rate: 1e6, ..pace }.tick(), Duration::from_millis(50));
    }
}
