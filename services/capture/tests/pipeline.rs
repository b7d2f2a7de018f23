//! Many changes at once, retries and limits, over a log that does what the test tells it.

mod support;

use std::time::Duration;

use bytes::Bytes;
use support::{Bench, bench, tenant, vessel};
use tidewire_capture::import::{Report, import};
use tidewire_capture::lines::{FileLines, LinesMax, send_all};
use tidewire_capture::pipeline::{Answer, LINES_HELD_MAX, Pipeline};
use tidewire_capture::{CaptureOptions, Failure};
use tidewire_log::WriteError;
use tidewire_runtime::Shutdown;
use tidewire_telemetry::metrics::CaptureOutcome;

async fn send(bench: &Bench, text: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    let pipeline = Pipeline::new(&bench.intake, &tenant());
    let mut lines = FileLines::new(text.as_bytes());
    send_all(&bench.intake, pipeline, &mut lines, LinesMax::NONE, |answer| {
        answers.push(answer);
        true
    })
    .await;
    answers.sort_by_key(|answer| answer.line);
    answers
}

fn told(answers: &[Answer]) -> Vec<String> {
    let text = |answer: &Answer| match &answer.result {
        Ok(frame) => format!("{} {frame}", answer.line),
        Err(failure) => format!("{} {failure}", answer.line),
    };
    answers.iter().map(text).collect()
}

#[tokio::test]
async fn every_line_gets_one_answer() {
    let bench = bench(&CaptureOptions::default());
    let text = [&vessel(1, ""), "", "  ", "{", &vessel(2, ""), "\r", &vessel(3, ""), ""].join("\n");
    let answers = told(&send(&bench, &text).await);
    let expected = [
        "1 0-0",
        "4 not a JSON object: EOF while parsing an object at line 1 column 1",
        "5 0-1",
        "7 0-2",
    ];
    assert_eq!(answers, expected);
    assert_eq!(bench.metrics.changes.get(CaptureOutcome::Written), 3);
    assert_eq!(bench.metrics.changes.get(CaptureOutcome::Refused), 1);
    assert_eq!(bench.metrics.old_image_missing.get(), 3);
    assert_eq!(bench.metrics.queue_records.get(), 0);
}

#[tokio::test]
async fn after_a_failure_later_lines_of_the_object_are_not_sent() {
    let bench = bench(&CaptureOptions::default());
    bench.log.fail_next("Vessel/1", WriteError::Unknown);
    let lines = [
        vessel(1, ""),
        vessel(2, ""),
        vessel(1, r#","id":"a""#),
        vessel(2, ""),
        vessel(1, ""),
        vessel(3, r#","oops":1"#),
        vessel(3, ""),
    ];
    let answers = send(&bench, &lines.join("\n")).await;
    let skipped = |line| Err(Failure::Skipped { line });
    assert_eq!(answers[0].result, Err(Failure::Unknown { has_id: false }));
    assert_eq!(answers[2].result, skipped(1));
    assert_eq!(answers[4].result, skipped(1));
    assert_eq!(answers[6].result, skipped(6), "a refused line is a failed one");
    assert!(answers[1].result.is_ok() && answers[3].result.is_ok());
    assert_eq!(bench.log.keys(), ["Vessel/1", "Vessel/2", "Vessel/2"]);
    let text = told(&answers)[2].clone();
    assert_eq!(text, "3 not sent: line 1 changed the same object and failed");
    assert_eq!(bench.metrics.changes.get(CaptureOutcome::Skipped), 3);
}

#[tokio::test]
async fn objects_go_side_by_side_and_one_object_in_order() {
    let bench = bench(&CaptureOptions::default());
    bench.log.hold();
    let lines = [vessel(1, ""), vessel(1, ""), vessel(2, ""), vessel(3, ""), vessel(1, "")];
    let text = lines.join("\n");
    let driver = async {
        bench.log.until(3).await;
        let keys = bench.log.keys();
        assert_eq!(keys, ["Vessel/1", "Vessel/2", "Vessel/3"], "the second of 1 waits");
        bench.log.answer(2, None);
        bench.log.answer(1, None);
        bench.log.answer(0, None);
        bench.log.until(4).await;
        bench.log.answer(3, Some(WriteError::TooLarge));
    };
    let (answers, ()) = tokio::join!(send(&bench, &text), driver);
    let results: Vec<bool> = answers.iter().map(|answer| answer.result.is_ok()).collect();
    assert_eq!(results, [true, false, true, true, false]);
    assert_eq!(answers[4].result, Err(Failure::Skipped { line: 2 }));
}

#[tokio::test]
async fn a_line_before_a_refused_one_is_sent() {
    let bench = bench(&CaptureOptions::default());
    bench.log.hold();
    let lines = [vessel(1, ""), vessel(1, ""), vessel(1, r#","oops":1"#), vessel(1, "")];
    let text = lines.join("\n");
    let driver = async {
        bench.log.until(1).await;
        bench.log.answer(0, None);
        bench.log.until(2).await;
        bench.log.answer(1, None);
    };
    let (answers, ()) = tokio::join!(send(&bench, &text), driver);
    assert!(answers[0].result.is_ok() && answers[1].result.is_ok());
    assert_eq!(answers[3].result, Err(Failure::Skipped { line: 3 }));
}

#[tokio::test]
async fn more_lines_than_are_held_and_than_there_is_room_for() {
    let options = CaptureOptions { in_flight_max: 7, ..CaptureOptions::default() };
    let bench = bench(&options);
    let count = LINES_HELD_MAX * 3;
    let lines: Vec<String> = (0..count).map(|n| vessel(n as u64 % 50, "")).collect();
    let answers = send(&bench, &lines.join("\n")).await;
    assert_eq!(answers.len(), count);
    assert!(answers.iter().all(|answer| answer.result.is_ok()));
    assert_eq!(bench.log.records().len(), count);
}

#[tokio::test]
async fn too_long_lines_and_bulks() {
    let options = CaptureOptions { change_bytes_max: 90, ..CaptureOptions::default() };
    let bench = bench(&options);
    let long = vessel(1, &format!(r#","id":"{}""#, "x".repeat(100)));
    let text = format!("{long}\n{}\r\n{long}", vessel(2, ""));
    let answers = told(&send(&bench, &text).await);
    let error = "the change has 91 bytes, more than 90";
    assert_eq!(answers, [format!("1 {error}"), "2 0-0".to_owned(), format!("3 {error}")]);

    let count = |max: LinesMax| {
        let bench = &bench;
        async move {
            let text = [vessel(1, ""), vessel(2, ""), vessel(3, ""), vessel(4, "")].join("\n");
            let mut answers = Vec::new();
            let pipeline = Pipeline::new(&bench.intake, &tenant());
            send_all(
                &bench.intake,
                pipeline,
                &mut FileLines::new(text.as_bytes()),
                max,
                |answer| {
                    answers.push(answer);
                    true
                },
            )
            .await;
            answers.sort_by_key(|answer| answer.line);
            told(&answers).last().cloned().unwrap()
        }
    };
    let rest = "this line and those behind it were not read";
    let max = LinesMax { lines: 2, ..LinesMax::NONE };
    assert_eq!(count(max).await, format!("3 a bulk has at most 2 lines: {rest}"));
    let max = LinesMax { bytes: 70, ..LinesMax::NONE };
    assert_eq!(count(max).await, format!("2 a bulk has at most 70 bytes: {rest}"));
}

async fn one(bench: &Bench, body: String) -> Result<String, Failure> {
    let room = bench.intake.try_room(body.len())?;
    let change = bench.intake.read(Bytes::from(body)).map_err(|(failure, _)| failure)?;
    bench.intake.write(&tenant(), change, room).await.map(|frame| frame.to_string())
}

#[tokio::test]
async fn the_same_id_gets_the_first_answer_for_a_day() {
    let bench = bench(&CaptureOptions::default());
    let body = || vessel(1, r#","id":"a""#);
    assert_eq!(one(&bench, body()).await.as_deref(), Ok("0-0"));
    bench.clock.advance(Duration::from_secs(24 * 60 * 60 - 1));
    assert_eq!(one(&bench, body()).await.as_deref(), Ok("0-0"));
    assert_eq!(bench.log.records().len(), 1);
    assert_eq!(bench.metrics.changes.get(CaptureOutcome::Repeated), 1);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(one(&bench, body()).await.as_deref(), Ok("0-1"));
}

#[tokio::test]
async fn duplicates_at_the_same_time_wait_for_the_first() {
    let bench = bench(&CaptureOptions::default());
    bench.log.hold();
    let body = || vessel(1, r#","id":"a""#);
    let driver = async {
        bench.log.until(1).await;
        bench.log.answer(0, None);
    };
    let (first, second, third, ()) =
        tokio::join!(one(&bench, body()), one(&bench, body()), one(&bench, body()), driver);
    assert_eq!([first, second, third].map(Result::unwrap), ["0-0", "0-0", "0-0"]);
    assert_eq!(bench.log.records().len(), 1);
}

#[tokio::test]
async fn after_a_failure_a_retry_is_sent_again_with_the_same_change_id() {
    let bench = bench(&CaptureOptions::default());
    let body = || vessel(1, r#","id":"a""#);
    for (error, expected) in [
        (WriteError::Unknown, Failure::Unknown { has_id: true }),
        (WriteError::QueueFull, Failure::Busy),
        (WriteError::Unavailable, Failure::Unavailable),
        (WriteError::TooLarge, Failure::TooLargeForTopic),
        (WriteError::Refused("no".to_owned()), Failure::Rejected),
    ] {
        bench.log.fail_next("Vessel/1", error);
        assert_eq!(one(&bench, body()).await, Err(expected));
    }
    assert_eq!(one(&bench, body()).await.as_deref(), Ok("0-5"));
    let records = bench.log.records();
    assert!(records.iter().all(|record| record.header == records[0].header));
    assert_eq!(records[0].header.as_deref(), Some(&b"1;U;;none;;a;;capture"[..]));
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_the_outcome_to_its_retry() {
    let bench = bench(&CaptureOptions::default());
    bench.log.hold();
    let body = || vessel(1, r#","id":"a""#);
    {
        let gone = one(&bench, body());
        tokio::pin!(gone);
        tokio::select! {
            biased;
            _ = &mut gone => panic!("not answered yet"),
            () = bench.log.until(1) => {}
        }
    }
    bench.log.answer(0, None);
    assert_eq!(one(&bench, body()).await.as_deref(), Ok("0-0"), "not sent a second time");
    assert_eq!(bench.metrics.queue_records.get(), 0);
}

#[tokio::test]
async fn too_much_in_flight_is_refused_and_room_comes_back() {
    let options = CaptureOptions { in_flight_max: 2, ..CaptureOptions::default() };
    let bench = bench(&options);
    bench.log.hold();
    let driver = async {
        bench.log.until(2).await;
        assert_eq!(one(&bench, vessel(3, "")).await, Err(Failure::Busy));
        assert_eq!(bench.metrics.queue_records.get(), 2);
        bench.log.answer(0, None);
        bench.log.answer(1, None);
    };
    let (first, second, ()) =
        tokio::join!(one(&bench, vessel(1, "")), one(&bench, vessel(2, "")), driver);
    assert!(first.is_ok() && second.is_ok());
    assert!(bench.intake.try_room(100).is_ok());
}

async fn import_text(bench: &Bench, text: &str, shutdown: &Shutdown) -> (Report, Vec<String>) {
    let mut said = Vec::new();
    let report =
        import(&bench.intake, &tenant(), text.as_bytes(), "run", shutdown, |line| said.push(line))
            .await;
    (report, said)
}

#[tokio::test(start_paused = true)]
async fn a_file_waits_for_kafka_and_drops_nothing() {
    let bench = bench(&CaptureOptions::default());
    for _ in 0..40 {
        bench.log.fail_next("Vessel/1", WriteError::Unavailable);
    }
    bench.log.fail_next("Vessel/2", WriteError::Unknown);
    let text = [vessel(1, ""), vessel(2, ""), vessel(1, r#","id":"own""#)].join("\n");
    let (report, said) = import_text(&bench, &text, &Shutdown::new()).await;
    assert!(report.is_complete() && said.is_empty(), "{report:?} {said:?}");
    assert_eq!((report.read, report.written), (3, 3));
    let headers: Vec<String> = bench
        .log
        .records()
        .iter()
        .filter(|record| record.key == "demo/Vessel/2")
        .map(|record| String::from_utf8(record.header.clone().unwrap().to_vec()).unwrap())
        .collect();
    assert_eq!(headers, ["1;U;;none;;run-1;;capture"; 2], "a retry has the change id of the first");
}

#[tokio::test(start_paused = true)]
async fn a_file_with_bad_lines_says_which() {
    let bench = bench(&CaptureOptions::default());
    let text = [&vessel(1, ""), "{", &vessel(2, r#","oops":1"#), "", &vessel(2, "")].join("\n");
    let (report, said) = import_text(&bench, &text, &Shutdown::new()).await;
    assert!(!report.is_complete());
    assert_eq!(report.failed.keys().copied().collect::<Vec<_>>(), [2, 3, 5]);
    assert!(
        said.contains(&"line 5: not sent: line 3 changed the same object and failed".to_owned())
    );
    let summary = report.summary("file.ndjson");
    assert!(summary.starts_with("5 lines read, 1 changes written, 3 failed\n"), "{summary}");
    assert!(summary.contains("not written: line 2, 3, 5\n"), "{summary}");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_told_to_stop_says_where() {
    let bench = bench(&CaptureOptions::default());
    for _ in 0..1_000 {
        bench.log.fail_next("Vessel/1", WriteError::Unavailable);
    }
    let shutdown = Shutdown::new();
    let text = vec![vessel(1, ""); LINES_HELD_MAX + 50].join("\n");
    let driver = async {
        bench.log.until(5).await;
        shutdown.cancel();
    };
    let ((report, _), ()) = tokio::join!(import_text(&bench, &text, &shutdown), driver);
    assert!(report.is_cut_short && report.written == 0);
    assert_eq!(report.read, LINES_HELD_MAX as u64);
    let summary = report.summary("-");
    assert!(summary.ends_with("to go on there: tail -n +1025"), "{summary}");
}
