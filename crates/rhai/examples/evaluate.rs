//! What an evaluation costs: `cargo run --release -p tidewire-rhai --example evaluate`.
//!
//! Over changes of the simulated fleet, in one thread: one call of each of some scripts with the event
//! opened anew (parsed body given), many scripts on one trigger, and compiling. Medians of rounds, with
//! the fastest and the slowest, since other work on the machine shows in the spread.

#![expect(clippy::expect_used, reason = "a measurement that cannot run has nothing to tell")]

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidewire_event::image::{Body, BodyLimits};
use tidewire_event::{Operation, Tenant};
use tidewire_fleet::Fleet;
use tidewire_rhai::{Compiled, RhaiEngine, ScriptLimits};
use tidewire_script::{Engine, Event, NoReferences, References};

const ROUNDS: usize = 21;
const CALLS: usize = 2_000;
const SCRIPTS: usize = 1_000;
const EVENTS: usize = 64;

const SOURCES: [(&str, &str); 5] = [
    ("constant", "true"),
    ("one field", "dlpObject.speed > 12.5"),
    ("result changed", "abs(dlpObject.voyageResult - oldDlpObject.voyageResult) > 20000"),
    (
        "four fields, no message",
        "dlpObject.vessel.vesselName == oldDlpObject.vessel.vesselName
            && dlpObject.voyageResult != oldDlpObject.voyageResult && dlpObject.daysOffhire > 100",
    ),
    (
        "two fields, message of two",
        "if abs(dlpObject.voyageResult - oldDlpObject.voyageResult) < 0 { return false; }
        mapResultsForMessage[\"?1\"] = dlpObject.referenceNo;
        mapResultsForMessage[\"?2\"] = dlpObject.voyageResult;
        true",
    ),
];

/// Median, fastest, slowest of the rounds, for one call each.
fn measure(mut round: impl FnMut() -> usize) -> [f64; 3] {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let calls = round();
            start.elapsed().as_secs_f64() * 1e6 / calls as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let at = |place: usize| times.get(place).copied().unwrap_or_default();
    [at(ROUNDS / 2), at(0), at(ROUNDS - 1)]
}

fn row(name: &str, [median, fastest, slowest]: [f64; 3]) {
    println!("{name:<44} {median:>9.2} µs   ({fastest:.2} to {slowest:.2})");
}

/// Updates of voyages, as the simulated fleet makes them.
fn updates() -> Vec<Event> {
    let mut now = 1_790_000_000_000;
    let mut fleet = Fleet::new(7, now, &Tenant::new("demo").expect("a name"));
    let mut out = Vec::new();
    while out.len() < EVENTS {
        now += 1_000;
        let change = fleet.next(now);
        let (Some(new), Some(old)) = (&change.new, &change.old) else { continue };
        if change.object_type.as_str() != "Voyage" {
            continue;
        }
        let text = format!("{{\"new\":{new},\"old\":{old}}}");
        let body = Body::parse(Bytes::from(text), BodyLimits::default()).expect("a sound body");
        out.push(Event {
            object_type: change.object_type,
            operation: Operation::Update,
            body: Arc::new(body),
            changed_by: Some(change.changed_by),
        });
    }
    out
}

fn main() {
    let start = Instant::now();
    let clock: Rc<dyn Fn() -> Duration> = Rc::new(move || start.elapsed());
    let mut engine = RhaiEngine::new(ScriptLimits::default(), clock);
    let references: Rc<dyn References> = Rc::new(NoReferences);
    let events = updates();
    let bytes: usize = events.iter().map(|event| event.body.bytes().len()).sum();
    println!("{} updates of voyages, {} bytes each on average", events.len(), bytes / events.len());

    println!("\none script on one event, opened anew:");
    for (name, source) in SOURCES {
        let script = engine.compile(source).expect("a sound script");
        let times = measure(|| {
            for event in events.iter().cycle().take(CALLS) {
                let opened = engine.open(event, &references);
                let outcome = engine.evaluate(&script, &opened);
                assert!(outcome.is_ok(), "{outcome:?}");
            }
            CALLS
        });
        row(name, times);
        if name == "result changed" {
            let [median, ..] = times;
            println!("{:<44} {:>9.0} calls/s", "  throughput of one core", 1e6 / median);
        }
    }

    println!("\n{SCRIPTS} scripts on one trigger, for each event:");
    let scripts: Vec<Compiled> = (0..SCRIPTS)
        .map(|n| {
            let source = format!("abs(dlpObject.voyageResult - oldDlpObject.voyageResult) > {n}");
            engine.compile(&source).expect("a sound script")
        })
        .collect();
    let times = measure(|| {
        for event in events.iter().cycle().take(16) {
            let opened = engine.open(event, &references);
            for script in &scripts {
                assert!(engine.evaluate(script, &opened).is_ok());
            }
        }
        16
    });
    row("all of them", times);
    row("each of them", times.map(|time| time / SCRIPTS as f64));

    println!("\nbefore a run:");
    let mut n = 0_u32;
    row(
        "compile a script of one line",
        measure(|| {
            for _ in 0..100 {
                n += 1;
                let source =
                    format!("abs(dlpObject.voyageResult - oldDlpObject.voyageResult) > {n}");
                assert!(engine.compile(&source).is_ok());
            }
            100
        }),
    );
    row(
        "parse the body",
        measure(|| {
            for event in events.iter().cycle().take(500) {
                assert!(Body::parse(event.body.bytes().clone(), BodyLimits::default()).is_ok());
            }
            500
        }),
    );
}
