//! Frames of `tidewire.v1`, byte for byte.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap as tests do")]

use tidewire_event::{FrameId, ObjectKey, Offset, Operation, Partition};
use tidewire_wire::error::{Notice, Refusal};
use tidewire_wire::frame::{EventBody, ObjectValue, subscription_suffix};
use tidewire_wire::v1::GapReason;
use tidewire_wire::v1::frames::*;

const BASE: &str = "https://vms.example.com";
/// 2026-09-14T13:37:26 UTC.
const TIME_MS: i64 = 1_789_393_046_000;

fn frame(push: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = b"before".to_vec();
    push(&mut out);
    String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
}

fn body() -> Vec<u8> {
    let key = ObjectKey::Integer(7_823_672);
    let mut out = Vec::new();
    EventBody {
        id: FrameId { partition: Partition(3), offset: Offset(244_070_007) },
        time_ms: TIME_MS,
        object_type: "PortCall",
        event: Operation::Update,
        object: ObjectValue::Key(&key),
        key: &key,
        self_base: BASE,
    }
    .encode(&mut out);
    out
}

fn event(prefix: &[u8], sub: &str) -> String {
    let suffix = event_suffix(243_885_046, BASE, sub);
    String::from_utf8([prefix, body_members(&body()), &suffix].concat()).unwrap()
}

#[test]
fn frames_are_what_the_fixture_says() {
    let id = FrameId { partition: Partition(3), offset: Offset(244_070_007) };
    let refusal = Refusal::bad_request("unknown field 'portNam'").body(TIME_MS, "GET", "/ws/v1");
    let frames = vec![
        frame(|out| push_welcome(out, "gw-1-7", Some(25_000))),
        frame(|out| push_welcome(out, "", None)),
        frame(|out| push_subscribed(out, "a", "AQRh")),
        frame(|out| push_unsubscribed(out, "a")),
        frame(|out| push_live(out, "a", "AQRh", 0)),
        frame(|out| push_live(out, "a", "AQRh", 18_446_744_073_709_551_615)),
        frame(|out| push_cursor(out, [], "AQRh")),
        frame(|out| push_cursor(out, ["a"], "AQRh")),
        frame(|out| push_cursor(out, ["a", "b.2", "0"], "AQRh")),
        event(EVENT_PREFIX, "a"),
        event(SNAPSHOT_PREFIX, "a"),
        frame(|out| push_snapshot_end(out, "a", false, 412)),
        frame(|out| push_snapshot_end(out, "a", true, 0)),
        frame(|out| push_conflated(out, "a", 17)),
        frame(|out| push_reached(out, id)),
        frame(|out| push_token_expiring(out, 60_000)),
        frame(|out| push_token_accepted(out, TIME_MS)),
        frame(|out| push_goaway(out, 1_500)),
        frame(|out| push_error(out, Some("a"), &refusal)),
        frame(|out| push_error(out, None, &Notice::SessionResumed.body(TIME_MS, "/ws/v1"))),
        frame(push_pong),
    ];
    let gaps = GapReason::ALL.map(|reason| frame(|out| push_gap(out, "a", reason)));
    let all: Vec<String> = frames.into_iter().chain(gaps).collect();
    assert_eq!(all.join("\n") + "\n", include_str!("golden/v1-frames.ndjson"));
    for frame in all {
        let value: serde_json::Value = serde_json::from_str(&frame).unwrap();
        assert_eq!(value.as_object().unwrap().keys().next().unwrap(), "type", "{frame}");
    }
}

#[test]
fn an_event_is_the_documented_message_in_other_brackets() {
    let message = [body(), subscription_suffix(243_885_046, BASE)].concat();
    let mut message: serde_json::Value = serde_json::from_slice(&message).unwrap();
    let mut event: serde_json::Value = serde_json::from_str(&event(EVENT_PREFIX, "q\"\\")).unwrap();
    let members: Vec<String> = event.as_object().unwrap().keys().cloned().collect();
    assert_eq!(members.last().unwrap(), "sub");
    let event = event.as_object_mut().unwrap();
    assert_eq!(event.shift_remove("type").unwrap(), "event");
    assert_eq!(event.shift_remove("sub").unwrap(), "q\"\\");
    assert_eq!(&*event, message.as_object_mut().unwrap());
}
