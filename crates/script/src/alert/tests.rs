use bytes::Bytes;
use serde_json::json;
use tidewire_event::image::BodyLimits;
use tidewire_event::{Offset, Partition};

use super::*;
use crate::ScriptRecord;

fn script(code: &str) -> Script {
    let record = json!({
        "name": "Bunker \"price\"", "code": code, "messageSubject": "Bunkers é",
        "triggers": [{"objectType": "PortCall", "eventType": "*"}],
        "scriptBody": "true", "alertScriptMessage": "text", "messageType": "JSON",
    });
    Script::new(
        Tenant::new("ac/me").unwrap(),
        1,
        "7",
        0,
        ScriptRecord::from_value(&record).unwrap(),
    )
}

fn body(text: &str) -> Body {
    Body::parse(Bytes::from(text.to_owned()), BodyLimits::default()).unwrap()
}

fn record<'a>(
    script: &'a Script,
    key: &'a ObjectKey,
    ty: &'a ObjectType,
    body: Option<&'a Body>,
) -> AlertRecord<'a> {
    AlertRecord {
        script,
        message: "{\"a\":\n1.50}",
        topic_id: "Kx9_aB-topic",
        change: FrameId { partition: Partition(3), offset: Offset(244_070_007) },
        object_type: ty,
        object_key: key,
        operation: Operation::Update,
        old_image: OldImage::Full,
        changed_by: Some(42),
        body,
    }
}

#[test]
fn the_form_on_the_topic_is_pinned() {
    let (script, key) = (script("bunker price/1"), ObjectKey::Integer(7_823_672));
    let ty = ObjectType::new("PortCall").unwrap();
    let change = body(
        "{ \"new\": {\"key\":7823672, \"price\":701.50},\"old\":{\"key\":7823672,\"price\":1e2},\"more\":1}",
    );
    let alert = record(&script, &key, &ty, Some(&change));
    assert_eq!(alert.key(), "ac%2Fme/DLPAlertScript/bunker%20price%2F1");
    assert_eq!(alert.header(), "1;U;;full;;Kx9_aB-topic%3A3-244070007;42;alerts");
    assert_eq!(
        String::from_utf8(alert.value()).unwrap(),
        r#"{"alert":{"scriptCode":"bunker price/1","name":"Bunker \"price\"","subject":"Bunkers é","messageType":"JSON","message":"{\"a\":\n1.50}"},"change":{"id":"3-244070007","objectType":"PortCall","key":7823672},"new":{"key":7823672, "price":701.50},"old":{"key":7823672,"price":1e2}}"#
    );
}

#[test]
fn an_alert_is_read_as_it_was_written() {
    let script = script("a");
    let ty = ObjectType::new("Ticket").unwrap();
    for key in
        [ObjectKey::Integer(0), ObjectKey::Text("A/1 \"é".into()), ObjectKey::Text("7".into())]
    {
        for change in
            ["{}", "{\"new\":null,\"old\":{\"x\":[1,2]}}", "{\"new\":{\"alert\":1},\"old\":null}"]
        {
            let change = body(change);
            let alert = record(&script, &key, &ty, Some(&change));
            // As a change event it is sound.
            let text = alert.key();
            let record_key = RecordKey::parse(text.as_bytes()).unwrap();
            assert_eq!(
                (&*record_key.tenant, record_key.object_type, &*record_key.key),
                ("ac/me", ALERT_TYPE, "a")
            );
            let header = alert.header();
            let header = RecordHeader::parse(header.as_bytes()).unwrap();
            assert_eq!(header.operation, Operation::Update);
            assert_eq!(header.change_id.as_deref(), Some("Kx9_aB-topic:3-244070007"));
            assert_eq!(
                (header.changed_by, header.source.as_deref()),
                (Some(42), Some(ALERT_SOURCE))
            );
            let written = Body::parse(Bytes::from(alert.value()), BodyLimits::default()).unwrap();
            assert_eq!(written.new_image().map(Node::raw), change.new_image().map(Node::raw));
            assert_eq!(written.old_image().map(Node::raw), change.old_image().map(Node::raw));
            let view = AlertView::of(&written).unwrap();
            assert_eq!(view.script_code, "a");
            assert_eq!(view.message, "{\"a\":\n1.50}");
            assert_eq!(view.change, alert.change);
            assert_eq!((&*view.object_type, &view.object_key), ("Ticket", &key));
            assert!(view.alert.raw().starts_with(b"{\"scriptCode\":\"a\","));
        }
    }
    let key = ObjectKey::Integer(1);
    let none = record(&script, &key, &ty, None);
    let written = Body::parse(Bytes::from(none.value()), BodyLimits::default()).unwrap();
    assert!(written.new_image().is_none() && written.old_image().is_none());
    assert!(AlertView::of(&written).is_ok());
}

#[test]
fn what_is_no_alert_names_its_member() {
    let check = |text: &str, member: &'static str| {
        assert_eq!(AlertView::of(&body(text)).err(), Some(AlertError(member)), "{text}");
    };
    let alert = r#"{"scriptCode":"a","name":"n","subject":"","messageType":"String","message":""}"#;
    check("{}", "alert");
    check(r#"{"alert":null}"#, "alert");
    check(r#"{"alert":"x"}"#, "alert");
    check(&format!(r#"{{"alert":{alert}}}"#), "change");
    check(r#"{"alert":{},"change":{}}"#, "alert");
    check(r#"{"alert":{"scriptCode":1},"change":{}}"#, "alert");
    let with = |change: &str| format!(r#"{{"alert":{alert},"change":{change}}}"#);
    check(&with("{}"), "change.objectType");
    check(&with(r#"{"objectType":"1"}"#), "change.objectType");
    check(&with(r#"{"objectType":"A"}"#), "change.key");
    check(&with(r#"{"objectType":"A","key":1}"#), "change.id");
    check(&with(r#"{"objectType":"A","key":1,"id":"1"}"#), "change.id");
    check(&with(r#"{"objectType":"A","key":1,"id":"01-1"}"#), "change.id");
    check(&with(r#"{"objectType":"A","key":1.5,"id":"1-1"}"#), "change.key");
    check(&with(r#"{"objectType":"A","key":"","id":"1-1"}"#), "change.key");
    check(&with(r#"{"objectType":"A","key":{},"id":"1-1"}"#), "change.key");
}
