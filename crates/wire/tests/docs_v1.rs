//! The two descriptions of `tidewire.v1` say what the code does: every example of a client's message is
//! read, every example of a server's is what the encoders write, and nothing is left out.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap as tests do")]

use std::collections::BTreeSet;

use serde_json::Value;
use tidewire_event::{CURSOR_BYTES_MAX, FrameId, KeyKind, ObjectKey, Offset, Operation, Partition};
use tidewire_wire::definition::KEYS_MAX;
use tidewire_wire::error::{CloseCode, ErrorBody};
use tidewire_wire::frame::{EventBody, ObjectValue, alert_suffix, push_alert};
use tidewire_wire::v1::{FILTER_BYTES_MAX, GapReason, frames, parse};

/// The one time of all examples, 2026-09-14T13:37:26 UTC: an example with another one is none of ours.
const TIME_MS: i64 = 1_789_393_046_000;
const BASE: &str = "https://vms.example.com";

const PAGE: &str = include_str!("../../../docs/reference/tidewire-v1.md");
const ASYNCAPI: &str = include_str!("../../../docs/reference/tidewire-v1.asyncapi.yaml");

const CLIENT_TYPES: [&str; 6] = ["await", "fields", "ping", "subscribe", "token", "unsubscribe"];
const SERVER_TYPES: [&str; 16] = [
    "conflated",
    "cursor",
    "error",
    "event",
    "gap",
    "goaway",
    "live",
    "pong",
    "reached",
    "scriptDisabled",
    "snapshot",
    "subscribed",
    "tokenAccepted",
    "tokenExpiring",
    "unsubscribed",
    "welcome",
];

/// The lines of all blocks of JSON.
fn page_examples() -> Vec<&'static str> {
    let mut in_block = false;
    PAGE.lines()
        .filter(|line| {
            let is_fence = line.starts_with("```");
            in_block = if is_fence { *line == "```json" } else { in_block };
            in_block && !is_fence
        })
        .collect()
}

fn asyncapi_examples() -> Vec<&'static str> {
    ASYNCAPI
        .lines()
        .filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("payload: "))
        .collect()
}

fn text<'a>(message: &'a Value, name: &str) -> &'a str {
    message[name].as_str().unwrap_or_else(|| panic!("no text '{name}' in {message}"))
}

fn number(message: &Value, name: &str) -> u64 {
    message[name].as_u64().unwrap_or_else(|| panic!("no number '{name}' in {message}"))
}

fn frame_id(message: &Value) -> FrameId {
    let (partition, offset) = text(message, "id").split_once('-').unwrap();
    FrameId {
        partition: Partition(partition.parse().unwrap()),
        offset: Offset(offset.parse().unwrap()),
    }
}

/// What the encoders write for a message with these members.
fn encode(message: &Value) -> String {
    let mut out = Vec::new();
    let (text, number) = (|name| text(message, name), |name| number(message, name));
    match text("type") {
        "welcome" => frames::push_welcome(
            &mut out,
            text("connection"),
            message.get("heartbeatMs").and_then(Value::as_u64),
        ),
        "subscribed" => frames::push_subscribed(&mut out, text("id"), text("cursor")),
        "unsubscribed" => frames::push_unsubscribed(&mut out, text("id")),
        "live" => {
            frames::push_live(&mut out, text("id"), text("cursor"), number("replayed"));
        }
        "event" => push_event(&mut out, message, frames::EVENT_PREFIX),
        "snapshot" => match message.get("complete").and_then(Value::as_bool) {
            Some(complete) => {
                frames::push_snapshot_end(&mut out, text("sub"), complete, number("objects"));
            }
            None => push_event(&mut out, message, frames::SNAPSHOT_PREFIX),
        },
        "cursor" => {
            let subs = message["subs"].as_array().unwrap().iter().map(|sub| sub.as_str().unwrap());
            frames::push_cursor(&mut out, subs, text("cursor"));
        }
        "gap" => {
            let mut reasons = GapReason::ALL.into_iter();
            let reason = reasons.find(|reason| reason.as_str() == text("reason")).unwrap();
            frames::push_gap(&mut out, text("sub"), reason);
        }
        "conflated" => frames::push_conflated(&mut out, text("sub"), number("n")),
        "scriptDisabled" => {
            let (code, kind) = (text("scriptCode"), text("kind"));
            frames::push_script_disabled(&mut out, text("sub"), code, number("version"), kind);
        }
        "reached" => frames::push_reached(&mut out, frame_id(message)),
        "tokenExpiring" => frames::push_token_expiring(&mut out, number("inMs")),
        "tokenAccepted" => frames::push_token_accepted(&mut out, TIME_MS),
        "goaway" => frames::push_goaway(&mut out, number("retryMs")),
        "error" => {
            let body = ErrorBody {
                status: u16::try_from(number("statusCode")).unwrap(),
                message: text("message").to_owned(),
                date_ms: TIME_MS,
                method: text("method").to_owned(),
                uri: text("uri").to_owned(),
            };
            frames::push_error(&mut out, message.get("sub").and_then(Value::as_str), &body);
        }
        "pong" => frames::push_pong(&mut out),
        other => panic!("no message of a server is called {other:?}"),
    }
    String::from_utf8(out).unwrap()
}

fn push_event(out: &mut Vec<u8>, message: &Value, prefix: &[u8]) {
    let value = &message["dataloyObject"];
    let object = value.to_string();
    let plain = value.get("key").unwrap_or(value).to_string();
    let key = ObjectKey::parse(&plain, KeyKind::Integer).unwrap();
    let mut body = Vec::new();
    EventBody {
        id: frame_id(message),
        time_ms: TIME_MS,
        object_type: text(message, "objectType"),
        event: Operation::from_letter(text(message, "eventType")).unwrap(),
        object: if value.is_object() {
            ObjectValue::Json(object.as_bytes())
        } else {
            ObjectValue::Key(&key)
        },
        key: &key,
        self_base: BASE,
    }
    .encode(&mut body);
    out.extend_from_slice(prefix);
    out.extend_from_slice(frames::body_members(&body));
    let definition = number(&message["subscription"], "key");
    let sub = text(message, "sub");
    if let Some(alert) = message.get("alert") {
        push_alert(out, alert.to_string().as_bytes());
        out.extend(frames::named_suffix(alert_suffix(definition, BASE), sub));
    } else {
        out.extend(frames::event_suffix(definition, BASE, sub));
    }
}

#[test]
fn examples_are_what_the_code_reads_and_writes() {
    for (examples, place) in [(page_examples(), "the page"), (asyncapi_examples(), "AsyncAPI")] {
        let mut seen = BTreeSet::new();
        for example in examples {
            let message: Value =
                serde_json::from_str(example).unwrap_or_else(|e| panic!("{place}: {e}: {example}"));
            let kind = text(&message, "type");
            if CLIENT_TYPES.contains(&kind) {
                parse(example).unwrap_or_else(|e| panic!("{place}: {e}: {example}"));
            } else {
                assert_eq!(example, encode(&message), "{place}");
            }
            seen.insert(kind.to_owned());
        }
        let known: BTreeSet<String> =
            CLIENT_TYPES.into_iter().chain(SERVER_TYPES).map(str::to_owned).collect();
        assert_eq!(seen, known, "{place}");
    }
}

#[test]
fn every_message_is_listed() {
    for kind in CLIENT_TYPES.into_iter().chain(SERVER_TYPES) {
        let listed = format!("{{const: {kind}}}");
        assert!(ASYNCAPI.contains(&listed), "AsyncAPI has no {kind}");
    }
    assert_eq!(
        ASYNCAPI.matches("type: {const: ").count(),
        CLIENT_TYPES.len() + SERVER_TYPES.len() + 1
    );
    let rows = PAGE.lines().filter(|line| line.starts_with("| `")).count();
    assert!(rows > 10, "the page has lost its tables");
    for reason in GapReason::ALL {
        assert!(PAGE.contains(&format!("\n| `{}` | ", reason.as_str())), "{}", reason.as_str());
    }
}

#[test]
fn members_of_subscribe_are_those_of_the_parser() {
    let section = PAGE.split("### `subscribe`").nth(1).unwrap();
    let section = section.split("### ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows: Vec<&str> = rows.collect();
    let schema = ASYNCAPI.split("{const: subscribe}").nth(1).unwrap();
    let schema = schema.split("examples:").next().unwrap();
    for name in &rows {
        assert!(schema.contains(&format!("\n          {name}:")), "AsyncAPI lacks '{name}'");
        // No member takes this value, and only an unknown one is refused for its name.
        let value = if *name == "fields" { "{}" } else { "null" };
        let mut message = vec![("type", "\"subscribe\""), ("id", "\"a\""), ("objectType", "\"X\"")];
        message.retain(|(known, _)| known != name);
        message.push((name, value));
        let members: Vec<String> =
            message.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let answer = parse(&format!("{{{}}}", members.join(",")));
        let unknown = answer.is_err_and(|e| e.refusal.message.contains("no member"));
        assert!(!unknown, "the page has '{name}', the parser has not");
    }
    let example = asyncapi_examples().into_iter().find(|e| e.contains("liveReferences")).unwrap();
    let example: Value = serde_json::from_str(example).unwrap();
    for name in example.as_object().unwrap().keys().filter(|name| *name != "type") {
        assert!(rows.contains(&name.as_str()), "the page lacks '{name}'");
    }
    assert_eq!(rows.len(), 11);
}

#[test]
fn limits_and_close_codes_are_those_of_the_code() {
    for limit in [CURSOR_BYTES_MAX, FILTER_BYTES_MAX] {
        assert!(PAGE.contains(&format!("{} KiB", limit / 1024)), "{limit}");
        assert!(ASYNCAPI.contains(&format!("maxLength: {limit}")), "{limit}");
    }
    assert!(ASYNCAPI.contains(&format!("maxItems: {KEYS_MAX}}}")));
    for code in CloseCode::ALL.iter().filter(|code| **code != CloseCode::Restart) {
        let link = format!("[{}](../errors/", code.number());
        assert!(PAGE.contains(&link), "the page lacks {}", code.number());
    }
}
