//! When a script would have fired, on a log in memory, with real workers (the built binary).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidewire_alerts::backtest::{Backtest, BacktestLimits, Ended, Progress, Report};
use tidewire_event::{LeaderEpoch, NextOffset, Offset, Partition, Position, Tenant};
use tidewire_log::{
    GapReason, HistoryAnswer, HistoryError, HistoryRequest, LogHistory, LogRecord, SegmentBuilder,
    Stretch,
};
use tidewire_model::Model;
use tidewire_sandbox::{WORKER_ARGUMENT, WorkerOptions, Workers};
use tidewire_script::{Script, ScriptErrorKind as Kind, ScriptRecord};

/// Records in one answer.
const PIECE: usize = 10;
/// The end of the log.
const END: i64 = 40;
const HEADER: &[u8] = b"1;U;;none";

/// One partition from `first` on; every other record is another tenant's.
struct Log {
    first: i64,
    end: i64,
    /// Calls that find nobody.
    away: u32,
    /// Whether each change of the tenant stands there twice.
    is_twice: bool,
}

impl LogHistory for Log {
    fn read(&mut self, request: HistoryRequest) -> Result<HistoryAnswer, HistoryError> {
        if self.away > 0 {
            self.away -= 1;
            return Err(HistoryError::Unavailable("away".to_owned()));
        }
        let from = request.from.next.0;
        if from < self.first {
            let next = NextOffset(self.first);
            return Ok(HistoryAnswer::Gap { next, reason: GapReason::Retention });
        }
        let mut builder = SegmentBuilder::new(request.partition, request.from.next);
        let to = (from + i64::try_from(PIECE).unwrap()).min(self.end);
        for offset in from..to {
            let key = format!("{}/Voyage/1", if offset % 2 == 0 { "acme" } else { "other" });
            let body = format!("{{\"new\":{{\"key\":1,\"speed\":{offset}}}}}");
            let twice = format!("1;U;;none;;change-{}", offset / 4);
            builder.push(&LogRecord {
                partition: request.partition,
                offset: Offset(offset),
                leader_epoch: LeaderEpoch::UNKNOWN,
                timestamp_ms: 1000 - offset,
                key: Some(key.as_bytes()),
                header: Some(if self.is_twice { twice.as_bytes() } else { HEADER }),
                header_count: 1,
                payload: Some(if offset == 6 { b"{" } else { body.as_bytes() }),
            });
        }
        Ok(HistoryAnswer::Segment(builder.finish(Position::at(NextOffset(to)))))
    }

    fn reset(&mut self) {}
}

fn script(body: &str) -> Arc<Script> {
    let record = json!({
        "code": "c", "name": "n", "triggers": [{"objectType": "Voyage", "eventType": "U"}],
        "scriptBody": body, "messageType": "String", "alertScriptMessage": "speed ?1",
    });
    let record = ScriptRecord::parse(record.to_string().as_bytes()).unwrap();
    Arc::new(Script::new(Tenant::new("acme").unwrap(), 1, "a", 0, record))
}

/// The report, and how often there was a look.
fn run(
    body: &str,
    log: impl LogHistory,
    limits: BacktestLimits,
    since_ms: Option<i64>,
    stop_at: u64,
) -> (Report, Vec<Progress>) {
    let is_there = |looks: &[Progress]| looks.last().is_some_and(|look| look.done >= stop_at);
    run_until(body, log, limits, since_ms, &is_there)
}

/// The same, stopped once what was seen says so.
fn run_until(
    body: &str,
    mut log: impl LogHistory,
    limits: BacktestLimits,
    since_ms: Option<i64>,
    is_enough: &dyn Fn(&[Progress]) -> bool,
) -> (Report, Vec<Progress>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let program = env!("CARGO_BIN_EXE_alerts").into();
    let options = WorkerOptions::of(program, vec![WORKER_ARGUMENT.into()], 1);
    let workers = runtime.block_on(Workers::start(options)).unwrap();
    let model = Model::vms();
    let (script, runtime) = (script(body), runtime.handle());
    let backtest = Backtest { script, model: &model, workers: &workers, runtime, limits, since_ms };
    let stretch = Stretch { partition: Partition(2), from: NextOffset(0), to: NextOffset(END) };
    let mut looks = Vec::new();
    let report = backtest.run(&[stretch], &mut log, &mut |progress| {
        looks.push(*progress);
        if is_enough(&looks) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    (report.unwrap(), looks)
}

const BODY: &str = r#"mapResultsForMessage["?1"] = dlpObject.speed; dlpObject.speed > 20"#;
const ALL: u64 = u64::MAX;

fn log() -> Log {
    Log { first: 4, end: END, away: 1, is_twice: false }
}

#[test]
fn it_tells_when_it_would_have_fired() {
    let (report, looks) = run(BODY, log(), BacktestLimits::default(), None, ALL);
    assert_eq!((report.ended, report.missing, report.poison), (Ended::Complete, 4, 1));
    let found: Vec<(String, i64, &str)> = report
        .matches
        .iter()
        .map(|one| (one.id.to_string(), one.time_ms, one.message.as_str()))
        .collect();
    // In the order of time, which is not that of the log.
    let expected: Vec<(String, i64, String)> = (11_i32..20)
        .rev()
        .map(|half| (half * 2, 1000 - i64::from(half * 2)))
        .map(|(n, time)| (format!("2-{n}"), time, format!("speed {n}")))
        .collect();
    let expected: Vec<(String, i64, &str)> =
        expected.iter().map(|(id, time, message)| (id.clone(), *time, message.as_str())).collect();
    assert_eq!(found, expected);
    let last = looks.last().unwrap();
    assert_eq!((last.done, last.total, last.records, last.runs), (40, 40, 36, 17));
    assert!(looks.len() > 3 && looks.is_sorted_by_key(|look| look.done), "{looks:?}");
}

#[test]
fn a_change_published_again_is_run_once() {
    const ALWAYS: &str = r#"mapResultsForMessage["?1"] = 1; true"#;
    let log = Log { is_twice: true, ..log() };
    let (report, _) = run(ALWAYS, log, BacktestLimits::default(), None, ALL);
    let mut found: Vec<String> = report.matches.iter().map(|one| one.id.to_string()).collect();
    found.sort();
    // Offsets 4 and 6 are one change of the tenant, 8 and 10 the next; 38 is the last.
    let mut expected: Vec<String> = (1..10).map(|n| format!("2-{}", n * 4)).collect();
    expected.sort();
    assert_eq!((found, report.repeated, report.poison), (expected, 9, 0));
    let limits = BacktestLimits { repeat_window: 0, ..BacktestLimits::default() };
    let (report, _) = run(ALWAYS, Log { is_twice: true, ..self::log() }, limits, None, ALL);
    assert_eq!((report.matches.len(), report.repeated, report.poison), (17, 0, 1));
}

#[test]
fn it_stays_within_its_limits() {
    let limits = BacktestLimits { records_max: 7, ..BacktestLimits::default() };
    let (report, _) = run(BODY, log(), limits, None, ALL);
    assert_eq!((report.ended, report.progress.records), (Ended::Records, 7));
    let limits = BacktestLimits { matches_max: 3, ..BacktestLimits::default() };
    let (report, _) = run(BODY, log(), limits, None, ALL);
    assert_eq!((report.ended, report.matches.len()), (Ended::Matches, 3));
    let limits = BacktestLimits { time_max: Duration::ZERO, ..BacktestLimits::default() };
    let (report, _) = run(BODY, log(), limits, None, ALL);
    assert_eq!((report.ended, report.progress.records), (Ended::Time, 0));
    let (report, _) = run(BODY, log(), BacktestLimits::default(), None, 10);
    assert_eq!(report.ended, Ended::Stopped);
    // A caller may stop it in the middle of a piece.
    let (report, looks) = run(BODY, log(), BacktestLimits::default(), None, 16);
    assert_eq!((report.ended, report.progress.done), (Ended::Stopped, 17));
    assert_eq!(looks.last(), Some(&report.progress));
    // What is older than the moment is passed over: 1000 - offset is the time.
    let (report, _) = run(BODY, log(), BacktestLimits::default(), Some(970), ALL);
    assert_eq!(report.matches.len(), 5);
}

/// A log that goes away while it is read.
#[test]
fn what_was_found_before_kafka_went_is_told() {
    struct Going(Log);
    impl LogHistory for Going {
        fn read(&mut self, request: HistoryRequest) -> Result<HistoryAnswer, HistoryError> {
            match request.from.next.0 {
                34.. => Err(HistoryError::Unavailable("gone".to_owned())),
                _ => self.0.read(request),
            }
        }

        fn reset(&mut self) {}
    }
    let limits = BacktestLimits { silence_max: Duration::ZERO, ..BacktestLimits::default() };
    let (report, _) = run(BODY, Going(Log { away: 0, ..log() }), limits, None, ALL);
    let gone = Ended::Unanswered(HistoryError::Unavailable("gone".to_owned()));
    assert_eq!((report.ended, report.matches.len(), report.progress.done), (gone, 6, 34));
    // Stopped while nobody answers: by then it has come no further since the look before.
    let going = Going(Log { away: 0, ..log() });
    let stands = |looks: &[Progress]| matches!(looks, [.., a, b] if a == b && a.done == 34);
    let (report, _) = run_until(BODY, going, BacktestLimits::default(), None, &stands);
    assert_eq!((report.ended, report.matches.len()), (Ended::Stopped, 6));
}

#[test]
fn what_goes_wrong_is_told_and_harms_nobody() {
    let (report, _) =
        run(r#"let name = "?1"; loop {}"#, log(), BacktestLimits::default(), None, 20);
    assert!(report.matches.is_empty() && report.faults_total > 3, "{report:?}");
    let fault = report.faults.first().unwrap();
    assert!(matches!(fault.error.kind, Kind::Operations | Kind::Deadline), "{fault:?}");
    let (report, _) = run(r#"let name = "?1"; true"#, log(), BacktestLimits::default(), None, 20);
    assert_eq!(report.faults.first().unwrap().error.kind, Kind::Message, "?1 was never set");
}
