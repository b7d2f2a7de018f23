//! What a worker process costs on top of the engine: `cargo run --release -p tidewire-sandbox --example
//! round_trip`.
//!
//! One event and its scripts go to a worker (this very binary) and back; medians of rounds. The last rows
//! have a neighbour that is stopped all the time, in a process of its own.

#![expect(clippy::expect_used, reason = "a measurement that cannot run has nothing to tell")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tidewire_event::image::{Body, BodyLimits};
use tidewire_event::{ObjectType, Operation};
use tidewire_rhai::{RhaiEngine, ScriptLimits};
use tidewire_sandbox::{Source, WORKER_ARGUMENT, WorkerOptions, Workers, worker_main};
use tidewire_script::{Event, Language};

const CALLS: usize = 2_000;
/// One native call that takes longer than a script may.
const SORTING: &str = "let a = []; for i in 0..9990 { a.push((i * 7919) % 9973); }
    loop { a.sort(|x, y| y - x); }";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(WORKER_ARGUMENT) {
        return worker_main(|clock| RhaiEngine::new(ScriptLimits::default(), clock));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure());
    ExitCode::SUCCESS
}

fn event() -> Event {
    let image = format!(
        r#"{{"key":1,"voyageResult":701.50,"vessel":{{"vesselName":"Tide Tern"}},"comments":"{}"}}"#,
        "x".repeat(1500)
    );
    let body = format!("{{\"new\":{image},\"old\":{image}}}");
    Event {
        object_type: ObjectType::new("Voyage").expect("a name"),
        operation: Operation::Update,
        body: Arc::new(Body::parse(Bytes::from(body), BodyLimits::default()).expect("a body")),
        changed_by: Some(1),
    }
}

fn sources(count: usize) -> Vec<Source> {
    (0..count)
        .map(|n| {
            let text = format!("abs(dlpObject.voyageResult - oldDlpObject.voyageResult) > {n}");
            Source::new(Language::Rhai, Arc::from(text))
        })
        .collect()
}

/// Times of calls, sorted.
async fn times(workers: &Workers, event: &Event, sources: &[Source], calls: usize) -> Vec<f64> {
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let start = Instant::now();
        let evaluated = workers.evaluate_sources(event, sources).await.expect("a worker");
        assert!(evaluated.results.iter().all(Result::is_ok));
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    times
}

fn row(name: &str, times: &[f64]) {
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    println!("{name:<44} p50 {:>9.1} µs   p99 {:>9.1} µs", at(50), at(99));
}

async fn measure() {
    let options = WorkerOptions::of_this_binary(2).expect("this binary");
    let start = Instant::now();
    let workers = Workers::start(options).await.expect("workers");
    println!("two workers ready after {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let event = event();
    println!("a body of {} bytes", event.body.bytes().len());
    for (count, calls) in [(1, CALLS), (10, CALLS), (100, CALLS / 4), (1000, CALLS / 20)] {
        let sources = sources(count);
        times(&workers, &event, &sources, 10).await;
        let times = times(&workers, &event, &sources, calls).await;
        row(&format!("{count} scripts"), &times);
    }
    for (name, hostile) in [
        ("1 script beside one that its engine stops", "loop {}"),
        ("1 script beside one that its process ends", SORTING),
    ] {
        beside(&workers, &event, name, hostile).await;
    }
    println!("{:?}", workers.stats());
}

/// Calls of one script while another process does nothing but run a hostile one.
async fn beside(workers: &Workers, event: &Event, name: &str, hostile: &str) {
    let hostile = [Source::new(Language::Rhai, Arc::from(hostile))];
    let one = sources(1);
    let stopped = async {
        loop {
            let evaluated = workers.evaluate_sources(event, &hostile).await.expect("a worker");
            assert!(evaluated.results.iter().all(Result::is_err));
        }
    };
    tokio::select! {
        () = stopped => {}
        times = times(workers, event, &one, 10 * CALLS) => row(name, &times),
    }
}
