//! The pushed message and its Server-Sent Events form, byte for byte.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap as tests do")]

use tidewire_event::{FrameId, KeyKind, ObjectKey, Offset, Operation, Partition};
use tidewire_wire::frame::{EventBody, ObjectValue, subscription_suffix, write_self_url};
use tidewire_wire::sse;

const BASE: &str = "https://vms.example.com";
/// 2026-09-14T13:37:26 UTC.
const TIME_MS: i64 = 1_789_393_046_000;

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!("golden/", $name))
    };
}

fn check(actual: &[u8], golden: &str) {
    assert_eq!(std::str::from_utf8(actual).unwrap(), golden);
}

fn message(
    object_type: &str,
    event: Operation,
    key: &ObjectKey,
    object: Option<&str>,
    number: u64,
) -> Vec<u8> {
    let object = object.map_or(ObjectValue::Key(key), |json| ObjectValue::Json(json.as_bytes()));
    let id = FrameId { partition: Partition(3), offset: Offset(244_070_007) };
    let mut out = Vec::new();
    let body = EventBody { id, time_ms: TIME_MS, object_type, event, object, key, self_base: BASE };
    body.encode(&mut out);
    out.extend_from_slice(&subscription_suffix(number, BASE));
    out
}

fn text_key(text: &str) -> ObjectKey {
    ObjectKey::parse(text, KeyKind::Text).unwrap()
}

fn reference() -> Vec<u8> {
    message("PortCall", Operation::Update, &ObjectKey::Integer(7_823_672), None, 243_885_046)
}

#[test]
fn the_documented_reference() {
    check(&reference(), golden!("message-reference.json"));
}

#[test]
fn create_and_delete() {
    let key = ObjectKey::Integer(0);
    check(&message("Voyage", Operation::Create, &key, None, 1), golden!("message-create.json"));
    let key = ObjectKey::Integer((1 << 53) - 1);
    let number = (1 << 53) - 1;
    check(&message("Bank", Operation::Delete, &key, None, number), golden!("message-delete.json"));
}

#[test]
fn a_text_key_is_a_string_and_encoded_in_links() {
    let key = text_key("kai \"3\"/Zürich\\100%");
    check(&message("Crate", Operation::Update, &key, None, 9), golden!("message-text-key.json"));
}

#[test]
fn with_a_field_list_the_object_stands_in_place_of_its_key() {
    let mut object = br#"{"key":7823672,"self":""#.to_vec();
    write_self_url(&mut object, BASE, "PortCall", "7823672");
    object.extend_from_slice(br#"","port":{"key":11,"self":""#);
    write_self_url(&mut object, BASE, "Port", "11");
    object.extend_from_slice(br#"","portName":"Bergen"},"speed":12.50}"#);
    let key = ObjectKey::Integer(7_823_672);
    let object = std::str::from_utf8(&object).unwrap();
    let message = message("PortCall", Operation::Update, &key, Some(object), 243_885_046);
    check(&message, golden!("message-fields.json"));
}

#[test]
fn every_message_is_json_with_seven_members_in_order() {
    let keys = [ObjectKey::Integer(5), text_key("a\"b\\c/é 💧"), text_key("%2F")];
    for key in &keys {
        for event in [Operation::Create, Operation::Update, Operation::Delete] {
            let bytes = message("Crate", event, key, None, 77);
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            let object = value.as_object().unwrap();
            let members: Vec<&str> = object.keys().map(String::as_str).collect();
            let expected = [
                "id",
                "eventTime",
                "objectType",
                "eventType",
                "dataloyObject",
                "dataloyObjectSelf",
                "subscription",
            ];
            assert_eq!(members, expected);
            let plain = match key {
                ObjectKey::Integer(number) => serde_json::Value::from(*number),
                ObjectKey::Text(text) => serde_json::Value::from(&**text),
            };
            assert_eq!(value["dataloyObject"], plain);
            assert_eq!(value["subscription"]["key"], 77);
        }
    }
}

#[test]
fn a_base_that_needs_escaping_stays_json() {
    let bytes = subscription_suffix(7, "https://a\"b\\c");
    let json = format!("{{\"x\":1{}", String::from_utf8(bytes).unwrap());
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let link = "https://a\"b\\c/ws/rest/WebSocketObjectSubscription/7";
    assert_eq!(value["subscription"]["self"], link);
}

#[test]
fn server_sent_events() {
    let mut out = Vec::new();
    sse::push_retry(&mut out, 2500);
    sse::push_event(&mut out, sse::EVENT_SESSION, &[br#"{"statusCode":200}"#]);
    sse::push_message(&mut out, &[&reference()]);
    sse::push_id(&mut out, "dGhlIGN1cnNvcg");
    sse::push_event(&mut out, sse::EVENT_ERROR, &[br#"{"statusCode":410}"#]);
    sse::push_keep_alive(&mut out);
    check(&out, golden!("stream.sse"));
}
