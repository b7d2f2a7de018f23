//! What a tenant whose scripts mean harm takes from another: how long the other's alerts take, from the
//! moment that a change is written to the moment that its alert can be read.
//!
//! Changes come at a fixed rate, whatever the alerts do. Those of the hostile tenant come in both modes; in
//! the one it has its scripts.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use tidewire_kafka::Writer;
use tidewire_log::{LogWriter as _, NewRecord};
use tidewire_script::Script;
use tokio::runtime::Runtime;

use crate::bench::Bench;
use crate::bench::alerts::{AlertsService, script};
use crate::bench::hostile;
use crate::bench::protocol::wall_ns;
use crate::bench::publish::small_body;
use crate::bench::report::{Goal, Row};
use crate::bench::statistics::{Spread, percentile};

const NEIGHBOUR: &str = "neighbour";
const HOSTILE: &str = "hostile";
const HOSTILE_SCRIPTS: usize = 200;
/// Its alert tells the time.
const CODE: &str = "fires";
/// Changes of the neighbour: one in each interval. Every so many come with one of the hostile tenant.
const INTERVAL: Duration = Duration::from_millis(10);
const HOSTILE_EVERY: u64 = 5;
/// Before the first hostile change.
const WARM_UP: Duration = Duration::from_secs(3);
/// From the first hostile change on, at least.
const MEASURED: Duration = Duration::from_secs(60);
/// Behind the moment at which nothing is disabled any more, at least.
const AFTERWARDS: Duration = Duration::from_secs(20);
/// Where none was disabled for so long, those that are left may run.
const STEADY: Duration = Duration::from_secs(10);
/// Until then they are disabled, or never are.
const DISABLED_MAX: Duration = Duration::from_secs(180);
/// How long the last alerts may take.
const LAST_ALERTS: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(250);
/// A round takes more than a minute for each mode.
const ROUNDS_MAX: usize = 3;
const FETCH_WAIT: Duration = Duration::from_millis(1);

/// Time in transactions, and how many.
const COMMIT: (&str, &str) =
    ("tidewire_alerts_commit_seconds_sum", "tidewire_alerts_commit_seconds_count");
const DISABLED: &str = "tidewire_alerts_scripts_disabled";

/// What one run came to, in milliseconds.
struct Measured {
    /// While hostile scripts are being run and disabled; the same as `all` where there are none.
    during: Vec<f64>,
    after: Vec<f64>,
    /// From the first hostile change on.
    all: Vec<f64>,
    /// How long it took until the last was disabled.
    took: Duration,
    disabled: f64,
    /// The mean transaction.
    commit_ms: f64,
}

/// Writes at a fixed rate and takes the alerts.
struct Traffic {
    service: AlertsService,
    writer: Writer,
    runtime: Runtime,
    started: Instant,
    ticks: u64,
    /// When each change of the neighbour was written, by its offset.
    written: HashMap<i64, u64>,
    /// When it was written, and how long its alert took.
    took_ns: Vec<(u64, u64)>,
}

impl Traffic {
    fn start(bench: &mut Bench, scripts: &[Script]) -> Result<Self> {
        let service = AlertsService::start(&mut bench.space, scripts, FETCH_WAIT, "")?;
        let mut options = bench.space.broker.options();
        options.linger = Duration::ZERO;
        let writer = Writer::start(&options, &service.changes)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (started, ticks) = (Instant::now(), 0);
        let mut traffic = Self {
            service,
            writer,
            runtime,
            started,
            ticks,
            written: HashMap::new(),
            took_ns: Vec::new(),
        };
        traffic.write(NEIGHBOUR)?;
        // It has joined its group.
        traffic.service.await_alert(CODE)?;
        traffic.written.clear();
        traffic.started = Instant::now();
        Ok(traffic)
    }

    fn write(&mut self, tenant: &str) -> Result<()> {
        let record = NewRecord {
            key: Bytes::from(format!("{tenant}/Voyage/5")),
            header: Some(Bytes::from_static(b"1;U;;none;;;7;bench")),
            timestamp_ms: None,
            payload: Some(small_body()),
        };
        let at = wall_ns();
        let id = self.runtime.block_on(self.writer.write(record))?;
        if tenant == NEIGHBOUR {
            self.written.insert(id.offset.0, at);
        }
        Ok(())
    }

    /// One interval.
    fn tick(&mut self, is_hostile: bool) -> Result<()> {
        self.ticks += 1;
        if is_hostile && self.ticks.is_multiple_of(HOSTILE_EVERY) {
            self.write(HOSTILE)?;
        }
        self.write(NEIGHBOUR)?;
        let due = self.started + INTERVAL * u32::try_from(self.ticks)?;
        loop {
            let left = due.saturating_duration_since(Instant::now());
            self.take(left)?;
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    /// Takes an alert, if one comes within that time.
    fn take(&mut self, wait: Duration) -> Result<()> {
        if let Some(alert) = self.service.next(wait)?
            && let Some(written) = self.written.remove(&alert.offset)
        {
            self.took_ns.push((written, alert.read_ns.saturating_sub(written)));
        }
        Ok(())
    }

    fn last_alerts(&mut self) -> Result<()> {
        let until = Instant::now() + LAST_ALERTS;
        while !self.written.is_empty() && Instant::now() < until {
            self.take(LOOK)?;
        }
        ensure!(self.written.is_empty(), "{} alerts did not come", self.written.len());
        Ok(())
    }

    /// Those whose changes were written within these times, sorted.
    fn between(&self, from_ns: u64, to_ns: u64) -> Vec<f64> {
        let of = self.took_ns.iter().filter(|(at, _)| (from_ns..to_ns).contains(at));
        let mut took: Vec<f64> = of.map(|(_, took)| *took as f64 / 1e6).collect();
        took.sort_by(f64::total_cmp);
        took
    }
}

fn run(bench: &mut Bench, hostile: usize) -> Result<Measured> {
    let mut scripts = vec![script(NEIGHBOUR, CODE, "Voyage", "dlpObject.key == 5")?];
    for (n, source) in hostile::sources(hostile).iter().enumerate() {
        scripts.push(script(HOSTILE, &format!("hostile-{n}"), "Voyage", source)?);
    }
    let mut traffic = Traffic::start(bench, &scripts)?;
    let (warm_up, measured, afterwards, steady) = if bench.quick {
        (WARM_UP / 10, MEASURED / 30, AFTERWARDS / 20, STEADY / 5)
    } else {
        (WARM_UP, MEASURED, AFTERWARDS, STEADY)
    };
    let begun = Instant::now();
    while begun.elapsed() < warm_up {
        traffic.tick(false)?;
    }
    let (begun, from_ns) = (Instant::now(), wall_ns());
    let (mut disabled, mut changed, mut changed_ns, mut looked) = (0.0, begun, from_ns, begun);
    loop {
        traffic.tick(true)?;
        if looked.elapsed() < LOOK {
            continue;
        }
        looked = Instant::now();
        let now = traffic.service.metric(DISABLED)?;
        if now > disabled {
            (disabled, changed, changed_ns) = (now, Instant::now(), wall_ns());
        }
        let is_steady = hostile == 0
            || disabled >= hostile as f64
            || (disabled > 0.0 && changed.elapsed() > steady)
            || begun.elapsed() > DISABLED_MAX;
        if is_steady && changed.elapsed() > afterwards && begun.elapsed() > measured {
            break;
        }
    }
    let to_ns = wall_ns();
    traffic.last_alerts()?;
    let (seconds, count) = COMMIT;
    let commit_ms =
        traffic.service.metric(seconds)? * 1e3 / traffic.service.metric(count)?.max(1.0);
    // Where nothing is disabled, all of it is one phase.
    let split_ns = if hostile == 0 { to_ns } else { changed_ns };
    let after_from = if hostile == 0 { from_ns } else { changed_ns };
    Ok(Measured {
        during: traffic.between(from_ns, split_ns),
        after: traffic.between(after_from, to_ns),
        all: traffic.between(from_ns, to_ns),
        took: changed.duration_since(begun),
        disabled,
        commit_ms,
    })
}

pub(super) fn measure(bench: &mut Bench) -> Result<Vec<Row>> {
    let hostile = if bench.quick { 20 } else { HOSTILE_SCRIPTS };
    let mut rounds = Vec::new();
    for round in 0..bench.rounds.min(ROUNDS_MAX) {
        // Taken in turn: a round takes too long for chance to be even.
        let is_first = round % 2 == 0;
        let first = run(bench, if is_first { hostile } else { 0 })?;
        let second = run(bench, if is_first { 0 } else { hostile })?;
        rounds.push(if is_first { (first, second) } else { (second, first) });
    }
    let p99 = |sorted: &Vec<f64>| percentile(sorted, 0.99);
    // What else runs on the machine only ever adds: the quietest round is what others would have.
    let floor = rounds.iter().map(|(_, without)| p99(&without.all)).fold(f64::INFINITY, f64::min);
    let ratios = |of: fn(&Measured) -> &Vec<f64>| {
        Spread::of(rounds.iter().map(|(with, _)| p99(of(with)) / floor).collect())
    };
    let notes: Vec<String> = rounds.iter().map(|(with, without)| note(with, without)).collect();
    let goal = Goal::at_most(1.1, 1.0, "x");
    let what = format!(
        "p99 from a change to its alert, beside a tenant with {hostile} hostile scripts, against without"
    );
    Ok(vec![
        Row::new(
            "neighbours-during",
            format!("{what}: while they are run and disabled"),
            goal,
            ratios(|with| &with.during),
            notes.join("; "),
        ),
        Row::new(
            "neighbours-after",
            format!("{what}: afterwards"),
            goal,
            ratios(|with| &with.after),
            "",
        ),
        Row::new(
            "neighbours-minute",
            format!("{what}: all of the minute from their first change on"),
            goal,
            ratios(|with| &with.all),
            "",
        ),
    ])
}

fn note(with: &Measured, without: &Measured) -> String {
    let p99 = |sorted: &[f64]| percentile(sorted, 0.99);
    format!(
        "{:.0} disabled within {:.1} s; p99 {:.0} ms meanwhile, {:.1} ms afterwards, without them {:.1} ms \
         (p50 {:.1} and {:.1} ms; a transaction takes {:.1} ms of it)",
        with.disabled,
        with.took.as_secs_f64(),
        p99(&with.during),
        p99(&with.after),
        p99(&without.all),
        percentile(&with.after, 0.5),
        percentile(&without.all, 0.5),
        without.commit_ms,
    )
}
