//! Alert scripts: what a run costs in the engine, and what a change costs the service with its workers.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tidewire_event::Operation;
use tidewire_log::NewRecord;
use tidewire_script::{Script, ScriptRecord};

use super::us;
use crate::bench::alerts::{AlertsService, saved, script};
use crate::bench::child::Child;
use crate::bench::engine::one_line;
use crate::bench::fleet::Changes;
use crate::bench::protocol::{Ask, Work};
use crate::bench::publish::{Publisher, small_body};
use crate::bench::report::{Goal, Row};
use crate::bench::side::{Floor, SETTLE};
use crate::bench::statistics::Spread;
use crate::bench::workspace::TENANT;
use crate::bench::{Bench, paired};

/// Calls of one figure of the engine.
const CALLS: u64 = 20_000;
/// Scripts on one trigger.
const SCRIPTS: u64 = 1_000;
/// Changes at a time, and with many scripts: the embedded broker keeps 5 MiB.
const CHANGES: usize = 500;
const CHANGES_OF_MANY: usize = 100;
/// Such parts in a round.
const PARTS: usize = 4;
/// The broker answers an empty fetch only when its time is over: the polling counts against the service.
const FETCH_WAIT: Duration = Duration::from_millis(20);
/// What a tenant may use must not end a measurement.
const NO_QUOTA: &str = "cpu_per_second = \"60s\"\ncpu_burst = \"60s\"";
/// The script whose alert tells that all changes before it are done, and the type that triggers it alone.
const LAST: &str = "bench-last";
const LAST_TYPE: &str = "BenchLast";

/// Two fields looked at, and a message of two: more than a sample does that does not fire.
const WITH_MESSAGE: &str = r#"
    if abs(dlpObject.voyageResult - oldDlpObject.voyageResult) < 0 { return false; }
    mapResultsForMessage["?1"] = dlpObject.referenceNo;
    mapResultsForMessage["?2"] = dlpObject.voyageResult;
    true
"#;

/// What is prepared in the engine, by name.
struct Prepared {
    name: String,
    child: Child,
    bytes: u64,
}

impl Prepared {
    fn new(name: &str, sources: Vec<String>, triggers: Vec<(String, String)>) -> Result<Self> {
        let mut child = Child::start("engine", &[])?;
        let bytes = child.ask(&Ask::Prepare { sources, triggers })?.bytes;
        Ok(Self { name: name.to_owned(), child, bytes })
    }

    fn of_sample(record: &ScriptRecord) -> Result<Self> {
        let triggers = record.triggers.iter().map(|trigger| {
            let of = [Operation::Create, Operation::Update, Operation::Delete].into_iter();
            let of = of.filter(|operation| trigger.events.contains(*operation));
            (trigger.object_type.to_string(), of.map(Operation::letter).collect())
        });
        Self::new(&record.code, vec![record.body.to_string()], triggers.collect())
    }

    fn of_voyages(name: &str, sources: Vec<String>) -> Result<Self> {
        Self::new(name, sources, vec![("Voyage".to_owned(), "U".to_owned())])
    }

    /// CPU of one call, and the share of runs that fired.
    fn measure(&mut self, work: Work, calls: u64) -> Result<(f64, f64)> {
        sleep(SETTLE);
        let before = self.child.cpu_ns()?;
        let fired = self.child.ask(&Ask::Evaluate { work, calls })?.frames;
        sleep(SETTLE);
        let cpu_ns = self.child.cpu_ns()?.saturating_sub(before) as f64;
        Ok((cpu_ns / calls as f64, fired as f64 / calls as f64))
    }
}

/// The figures of one thing that the engine does, a round each.
#[derive(Default)]
struct Figures {
    name: String,
    ns: Vec<f64>,
    fired: f64,
}

impl Figures {
    fn us(&self) -> Spread {
        Spread::of(self.ns.iter().map(|ns| ns / 1e3).collect())
    }
}

/// One after the other in each round; the first round warms up.
fn rounds(bench: &Bench, all: &mut [Prepared], work: Work, calls: u64) -> Result<Vec<Figures>> {
    let named = |one: &Prepared| Figures { name: one.name.clone(), ..Figures::default() };
    let mut figures: Vec<Figures> = all.iter().map(named).collect();
    for round in 0..=bench.rounds {
        for (one, figures) in all.iter_mut().zip(&mut figures) {
            let (ns, fired) = one.measure(work, calls)?;
            if round > 0 {
                figures.ns.push(ns);
                figures.fired = fired;
            }
        }
    }
    figures.sort_by(|a, b| a.us().median.total_cmp(&b.us().median));
    Ok(figures)
}

pub(super) fn engine(bench: &mut Bench) -> Result<Vec<Row>> {
    let calls = if bench.quick { 500 } else { CALLS };
    let mut samples: Vec<Prepared> =
        ScriptRecord::samples().iter().map(Prepared::of_sample).collect::<Result<_>>()?;
    let figures = rounds(bench, &mut samples, Work::Run, calls)?;
    let (worst, middle) = (figures.last(), figures.get(figures.len() / 2));
    let (worst, middle) = worst.zip(middle).context("there are no samples")?;
    let each = |one: &Figures| {
        format!("{} {:.2} us ({:.0} % fire)", one.name, one.us().median, one.fired * 100.0)
    };
    let note = figures.iter().map(each).collect::<Vec<_>>().join(", ");
    let mut voyages = [Prepared::of_voyages("message", vec![WITH_MESSAGE.to_owned()])?];
    let bytes = voyages[0].bytes;
    let mut of = |work, calls| -> Result<Spread> {
        let figures = rounds(bench, &mut voyages, work, calls)?;
        Ok(figures.first().context("nothing was measured")?.us())
    };
    let message = of(Work::Run, calls)?;
    let (open, parse) = (of(Work::Open, calls)?.median, of(Work::Parse, calls / 4)?.median);
    let compile = of(Work::Compile, calls / 20)?.median;
    let goal = Goal::at_most(3.0, 1.5, "us");
    let what = "CPU of a run in the engine, fields that the script names only";
    Ok(vec![
        Row::new(
            "script-run",
            format!("{what}, the dearest of the sample scripts ({})", worst.name),
            goal,
            worst.us(),
            note,
        ),
        Row::new(
            "script-run-median",
            format!("{what}, the one in the middle ({})", middle.name),
            goal,
            middle.us(),
            "",
        ),
        Row::new(
            "script-run-message",
            format!("{what}, one that fires each time with a message of two fields"),
            goal,
            message,
            format!(
                "to make the event ready alone {open:.2} us; before that, to read the body of {bytes} B \
                 {parse:.2} us; once, to compile a line {compile:.1} us"
            ),
        ),
    ])
}

/// A service under test with what writes to it.
struct Side {
    service: AlertsService,
    publisher: Publisher,
}

impl Side {
    fn start(bench: &mut Bench, mut scripts: Vec<Script>) -> Result<Self> {
        scripts.push(script(TENANT, LAST, LAST_TYPE, "true")?);
        let service = AlertsService::start(&mut bench.space, &scripts, FETCH_WAIT, NO_QUOTA)?;
        let publisher = Publisher::start(&bench.space, &service.changes)?;
        let mut side = Self { service, publisher };
        // It has joined its group once this has come.
        side.run(Vec::new())?;
        Ok(side)
    }

    /// CPU for all of these, and the alerts that they fired.
    fn run(&mut self, mut records: Vec<NewRecord>) -> Result<(f64, u64)> {
        records.push(self.publisher.record(LAST_TYPE, 5, &small_body()));
        sleep(SETTLE);
        let before = self.service.cpu_ns()?;
        self.publisher.publish(records)?;
        let fired = self.service.await_alert(LAST)? - 1;
        sleep(SETTLE);
        Ok((self.service.cpu_ns()?.saturating_sub(before) as f64, fired))
    }
}

pub(super) fn service(bench: &mut Bench) -> Result<Vec<Row>> {
    let mut rows = samples(bench)?;
    rows.push(many(bench)?);
    Ok(rows)
}

/// All changes of the fleet, the seven samples in force; against a bare poll of the same.
fn samples(bench: &mut Bench) -> Result<Vec<Row>> {
    let count = if bench.quick { 50 } else { CHANGES };
    let samples = ScriptRecord::samples().into_iter().map(|record| saved(TENANT, record));
    let mut ours = Side::start(bench, samples.collect::<Result<_>>()?)?;
    let topic = bench.space.topic(1)?;
    let floor_publisher = Publisher::start(&bench.space, &topic)?;
    let mut floor = Floor::start(bench.cores)?;
    floor.floor.ask(&Ask::Subscribe {
        brokers: bench.space.broker.bootstrap().to_owned(),
        topic,
        partitions: 1,
        fetch_wait_ms: u64::try_from(FETCH_WAIT.as_millis()).unwrap_or(1),
    })?;
    let (mut fleet, mut floor_fleet) = (Changes::new()?, Changes::new()?);
    let (mut alerts, mut bytes) = (0, 0);
    let evaluated = ours.service.metric(EVALUATED)?;
    let (ratio, a, b) = paired(
        bench.rounds,
        || {
            let mut cpu_ns = 0.0;
            for _ in 0..PARTS {
                let records = fleet.records(count);
                bytes += records
                    .iter()
                    .map(|r| r.payload.as_ref().map_or(0, |p| p.len()))
                    .sum::<usize>();
                let (cpu, fired) = ours.run(records)?;
                cpu_ns += cpu;
                alerts += fired;
            }
            Ok(cpu_ns / (count * PARTS) as f64)
        },
        || {
            let mut cpu_ns = 0.0;
            for _ in 0..PARTS {
                let records = floor_fleet.records(count);
                let ask = Ask::Consume { records: count as u64, bytes: None };
                let measured = floor.measure(&ask, 0, || floor_publisher.publish(records))?;
                cpu_ns += measured.cpu_ns;
            }
            Ok(cpu_ns / (count * PARTS) as f64)
        },
    )?;
    let all = (count * PARTS * (bench.rounds + 1)) as f64;
    // The last change of each part is none of the fleet's.
    let parts = (PARTS * (bench.rounds + 1)) as f64;
    let evaluated = ours.service.metric(EVALUATED)? - evaluated - parts;
    let what = "the alerts service and its workers, for each change of the fleet, the seven samples in force";
    let note = format!(
        "{:.0} changes a second for each core; a bare poll of the same records {}; {:.0} B each; {:.0} % \
         trigger a script, {:.1} % fire",
        1e9 / a.median,
        us(b.median),
        bytes as f64 / all,
        evaluated / all * 100.0,
        alerts as f64 / all * 100.0,
    );
    Ok(vec![
        Row::figure("scripts-change", format!("CPU of {what}"), "us", scaled(a), note),
        Row::figure(
            "scripts-change-floor",
            format!("CPU of {what}, against a bare poll"),
            "x",
            ratio,
            "",
        ),
    ])
}

/// Updates of voyages, a thousand scripts on each; against one script.
fn many(bench: &mut Bench) -> Result<Row> {
    let (count, scripts) = if bench.quick { (10, 50) } else { (CHANGES_OF_MANY, SCRIPTS) };
    let of = |count: u64| -> Result<Vec<Script>> {
        (0..count).map(|n| script(TENANT, &format!("one-of-{n}"), "Voyage", &one_line(n))).collect()
    };
    let mut ours = Side::start(bench, of(scripts)?)?;
    let mut one = Side::start(bench, of(1)?)?;
    let measure = |side: &mut Side, fleet: &mut Changes| -> Result<f64> {
        let mut cpu_ns = 0.0;
        for _ in 0..PARTS {
            cpu_ns += side.run(fleet.updates_of("Voyage", count)?)?.0;
        }
        Ok(cpu_ns / (count * PARTS) as f64)
    };
    let (mut fleet, mut other) = (Changes::new()?, Changes::new()?);
    let (_, a, b) =
        paired(bench.rounds, || measure(&mut ours, &mut fleet), || measure(&mut one, &mut other))?;
    let note = format!(
        "{} for each script; with one script on the trigger {} a change; {:.0} changes a second for each \
         core",
        us((a.median - b.median) / (scripts.max(2) - 1) as f64),
        us(b.median),
        1e9 / a.median,
    );
    let what = format!(
        "CPU of the alerts service and its workers for a change that triggers {scripts} scripts"
    );
    Ok(Row::figure("scripts-many", what, "us", scaled(a), note))
}

const EVALUATED: &str = "tidewire_alerts_changes_total";

/// Nanoseconds as microseconds.
fn scaled(ns: Spread) -> Spread {
    let Spread { lower, median, upper, samples } = ns;
    Spread { lower: lower / 1e3, median: median / 1e3, upper: upper / 1e3, samples }
}
