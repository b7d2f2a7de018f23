use super::*;

fn line(number: u64, key: u64, id: Option<&str>) -> Line {
    let id = id.map_or_else(String::new, |id| format!(r#","id":"{id}""#));
    Line::new(number, format!(r#"{{"objectType":"Voyage","key":{key},"operation":"U"{id}}}"#))
}

fn reply(status: u16, content_type: &str, retry_after: Option<u64>, body: &str) -> Reply {
    Reply {
        status,
        content_type: content_type.to_owned(),
        retry_after: retry_after.map(Duration::from_secs),
        body: body.to_owned(),
    }
}

fn numbers(lines: &[Line]) -> Vec<u64> {
    lines.iter().map(|line| line.number).collect()
}

#[test]
fn what_is_seen_of_a_line() {
    let check = |text: &str, object: &str, has_id: bool| {
        let line = Line::new(1, text.to_owned());
        assert_eq!((line.object.as_str(), line.has_id), (object, has_id), "{text}");
    };
    check(r#"{"objectType":"Voyage","key":7,"id":"a"}"#, "\"Voyage\"/7", true);
    check(r#"{"objectType":"Ticket","key":"T-7"}"#, "\"Ticket\"/\"T-7\"", false);
    check(r#"{"key":12345678901234567890123}"#, "/12345678901234567890123", false);
    check("not json", "", false);
}

#[test]
fn each_line_gets_its_answer() {
    let lines = vec![line(10, 1, None), line(12, 2, None)];
    let body = "{\"line\":1,\"id\":\"3-7\"}\n\
        {\"line\":2,\"error\":{\"statusCode\":400,\"message\":\"no\"}}\n";
    let tried = judge(lines, &reply(207, NDJSON, None, body)).unwrap();
    assert_eq!(
        tried.done,
        [
            Answer { number: 10, outcome: Outcome::Written("3-7".into()) },
            Answer { number: 12, outcome: Outcome::Failed { status: 400, message: "no".into() } },
        ]
    );
    assert!(tried.again.is_empty());
}

#[test]
fn what_may_get_through_is_tried_again_in_order() {
    let lines = vec![
        line(1, 1, Some("a")),
        line(2, 1, Some("b")),
        line(3, 2, None),
        line(4, 2, None),
        line(5, 3, None),
        line(6, 4, None),
    ];
    let error = |line: u8, status: u16| {
        format!(
            "{{\"line\":{line},\"error\":{{\"statusCode\":{status},\"message\":\"{status}\"}}}}\n"
        )
    };
    // 1 may be written and has an id; 2 waits for it. 3 may be written and has none: not again, so 4,
    // which was not sent because of it, is not sent either. 5 was not sent. 6 was.
    let body =
        [(1, 503), (2, 409), (3, 503), (4, 409), (5, 429)].map(|(l, s)| error(l, s)).concat()
            + "{\"line\":6,\"id\":\"0-1\"}\n";
    let tried = judge(lines, &reply(207, NDJSON, None, &body)).unwrap();
    assert_eq!(numbers(&tried.again), [1, 2, 5]);
    assert_eq!(tried.done.iter().map(|answer| answer.number).collect::<Vec<_>>(), [3, 4, 6]);
}

#[test]
fn a_refused_request_waits_or_ends() {
    let check = |status: u16, again: Option<Option<u64>>| {
        let body = r#"{"statusCode":0,"message":"so it is"}"#;
        let tried =
            judge(vec![line(1, 1, None)], &reply(status, "application/json", Some(7), body));
        match (tried, again) {
            (Ok(tried), Some(pause)) => {
                assert_eq!(numbers(&tried.again), [1]);
                assert_eq!(tried.pause, pause.map(Duration::from_secs));
                assert_eq!(tried.reason, "so it is");
            }
            (Err(CaptureError::Refused { status: told, message }), None) => {
                assert_eq!((told, message.as_str()), (status, "so it is"));
            }
            (other, _) => panic!("{status}: {:?}", other.map(|tried| tried.reason)),
        }
    };
    check(429, Some(Some(7)));
    check(503, Some(Some(7)));
    check(401, None);
    check(403, None);
    check(413, None);
    check(500, None);
}

#[test]
fn answers_that_do_not_fit_are_refused() {
    for body in [
        "",
        "{\"line\":2,\"id\":\"0-1\"}\n",
        "{\"line\":0,\"id\":\"0-1\"}\n",
        "{\"line\":1}\n",
        "x\n",
    ] {
        let tried = judge(vec![line(1, 1, None)], &reply(200, NDJSON, None, body));
        assert!(matches!(tried, Err(CaptureError::Answer(_))), "{body:?}");
    }
}

#[test]
fn a_lost_answer_is_asked_for_again_only_under_an_id() {
    let broken = || HttpError::Broken {
        url: "http://x".into(),
        source: Box::new(ureq::Error::ConnectionFailed),
    };
    let unreachable = || HttpError::Unreachable {
        url: "http://x".into(),
        source: Box::new(ureq::Error::ConnectionFailed),
    };
    assert!(lost(vec![line(1, 1, Some("a"))], broken()).is_ok());
    assert!(lost(vec![line(1, 1, Some("a")), line(2, 2, None)], broken()).is_err());
    assert!(lost(vec![line(1, 1, None)], unreachable()).is_ok());
}

#[test]
fn waits_grow_and_are_spread() {
    for tries in 0..40 {
        let max = Duration::from_secs(1 << tries.min(5));
        let pause = backoff(tries);
        assert!(pause >= max / 2 && pause < max, "{tries}: {pause:?}");
    }
}
