//! Error bodies and notices, byte for byte.

use tidewire_wire::error::{ErrorBody, Notice, Refusal};
use tidewire_wire::request::redact;

/// 2026-11-13T06:26:01 UTC.
const DATE_MS: i64 = 1_794_551_161_000;

fn uri() -> String {
    redact("/ws/rest/WebSocketObjectSubscription/Voyage/U/42/not.a.token?session=bridge")
}

#[test]
fn bodies_are_what_the_fixture_says() {
    let body = |refusal: Refusal| refusal.body(DATE_MS, "GET", &uri());
    let bodies: Vec<ErrorBody> = vec![
        body(Refusal::bad_request("event type \"X\" is unknown")),
        body(Refusal::unauthorized("Token expired.")),
        body(Refusal::forbidden("the role may not read Voyage")),
        body(Refusal::not_found("line one\nline \"two\"\\")),
        body(Refusal::method_not_allowed("expected GET")),
        body(Refusal::too_large("the body has more than 1048576 bytes")),
        body(Refusal::upgrade_required("expected an upgrade or 'Accept: text/event-stream'")),
        body(Refusal::too_many("too many sockets", 5)),
        body(Refusal::internal("a fault of the server")),
        body(Refusal::unavailable("draining", 2)),
        Notice::SessionResumed.body(DATE_MS, &uri()),
        Notice::SessionStarts.body(DATE_MS, &uri()),
        Notice::SessionNotAvailable.body(DATE_MS, &uri()),
        Notice::Gap.body(DATE_MS, &uri()),
    ];
    let lines: Vec<String> =
        bodies.iter().map(|body| String::from_utf8(body.to_json()).unwrap()).collect();
    assert_eq!(lines.join("\n") + "\n", include_str!("golden/errors.ndjson"));
    for line in lines {
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let members: Vec<&String> = value.as_object().unwrap().keys().collect();
        let expected =
            ["statusCode", "statusText", "message", "date", "statusFamily", "method", "uri"];
        assert_eq!(members, expected);
    }
}

#[test]
fn retry_after_stands_where_a_new_try_makes_sense() {
    assert_eq!(Refusal::too_many("", 5).retry_after, Some(5));
    assert_eq!(Refusal::unavailable("", 2).retry_after, Some(2));
    assert_eq!(Refusal::bad_request("").retry_after, None);
}
