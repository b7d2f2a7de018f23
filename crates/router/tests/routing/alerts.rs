//! Alert records on their way to sockets: what is shown, byte for byte, to whom, and what is poison.

use bytes::Bytes;
use tidewire_event::image::{Body, BodyLimits};
use tidewire_event::{
    FrameId, KeyKind, ObjectKey, ObjectType, Offset, OldImage, Operation, Partition, Tenant,
};
use tidewire_model::Model;
use tidewire_router::{ConnectionId, Framing, Routed, SubId, Subscription};
use tidewire_script::{ALERT_TYPE, AlertRecord, Script, ScriptRecord};
use tidewire_wire::definition::{Definition, TypeSelector};

use crate::harness::{Record, Replica, class, mask, opening, subscription};

const NEW: &str = r#"{"key":7823672,"speed":12.50,"port":{"key":11,"portName":"Bergen"}}"#;
const OLD: &str = r#"{"key":7823672,"speed":11.0,"port":{"key":12,"portName":"Oslo"}}"#;

fn script(code: &str) -> Script {
    let record = format!(
        r#"{{"name":"Speed \"fast\"","code":"{code}","triggers":[{{"objectType":"PortCall","eventType":"*"}}],
            "scriptBody":"true","messageSubject":"Sørland","messageType":"JSON","alertScriptMessage":"{{}}"}}"#
    );
    let record = ScriptRecord::parse(record.as_bytes()).unwrap();
    Script::new(Tenant::new("acme").unwrap(), 1, "user:1", 0, record)
}

/// The record of an alert, as the alerts service writes it.
fn alert(code: &str, operation: Operation, new: &str, old: &str, offset: i64) -> Record {
    let body = format!(r#"{{"new":{new},"old":{old}}}"#);
    let body = Body::parse(Bytes::from(body), BodyLimits::default()).unwrap();
    let script = script(code);
    let record = AlertRecord {
        script: &script,
        message: "{\"speed\": 12.50}",
        topic_id: "t0p1c",
        change: FrameId { partition: Partition(3), offset: Offset(offset) },
        object_type: &ObjectType::new("PortCall").unwrap(),
        object_key: &ObjectKey::parse("7823672", KeyKind::Integer).unwrap(),
        operation,
        old_image: OldImage::Full,
        changed_by: Some(7),
        body: Some(&body),
    };
    Record::new(&record.key(), &record.header(), std::str::from_utf8(&record.value()).unwrap())
}

/// The same for an alert that was too large with the images of its change.
fn without_images(code: &str, operation: Operation, offset: i64) -> Record {
    let with = alert(code, operation, NEW, OLD, offset);
    let payload = String::from_utf8(with.payload.clone().unwrap()).unwrap();
    let bare = payload.replace(NEW, "null").replace(OLD, "null");
    let header = with.header.as_ref().map(|header| header.replace(";full;", ";none;"));
    Record { header, payload: Some(bare.into_bytes()), ..with }
}

fn alerts_of(code: &str) -> Subscription {
    subscription(Definition::alerts(Tenant::new("acme").unwrap(), code).unwrap())
}

fn listen(replica: &mut Replica, framing: Framing, sub: Subscription) -> ConnectionId {
    let id = replica.register_as(0, opening(framing), sub);
    replica.carry();
    replica.adopt(id);
    id
}

#[test]
fn the_type_is_the_one_of_the_records() {
    assert_eq!(tidewire_wire::definition::ALERT_TYPE, ALERT_TYPE);
}

#[test]
fn the_frames_are_pinned() {
    let mut replica = Replica::new(Model::vms(), 1);
    let port_call = TypeSelector::parse("PortCall").unwrap();
    let list = mask(&replica.model, &port_call, r#"{"port":{"portName":"*"},"speed":"*"}"#);
    let code = "a/b c";
    let plain = listen(&mut replica, Framing::WebSocket, alerts_of(code));
    let fields = Subscription { mask: Some(list.clone()), ..alerts_of(code) };
    let fields = listen(&mut replica, Framing::WebSocket, fields);
    let named = Subscription { sub: Some(SubId::from("0")), mask: Some(list), ..alerts_of(code) };
    let v1 = listen(&mut replica, Framing::V1, named);
    let other = listen(&mut replica, Framing::WebSocket, alerts_of("other"));
    for (operation, offset) in [(Operation::Update, 40), (Operation::Delete, 41)] {
        let new = if operation == Operation::Delete { "null" } else { NEW };
        let record = alert(code, operation, new, OLD, offset);
        assert!(matches!(replica.record(&record), Routed::To(1)));
        // Published again: dropped.
        assert!(matches!(replica.record(&record), Routed::Repeated));
    }
    assert!(replica.messages(other).is_empty());
    let mut lines = Vec::new();
    for id in [plain, fields] {
        lines.extend(replica.messages(id));
    }
    // The words about the subscription hold cursors.
    let events = replica.messages(v1).into_iter();
    lines.extend(events.filter(|message| message.starts_with(r#"{"type":"event""#)));
    assert_eq!(lines.join("\n") + "\n", include_str!("../golden/alert-frames.ndjson"));
}

#[test]
fn a_code_of_digits_is_a_text() {
    let mut replica = Replica::new(Model::vms(), 1);
    let id = listen(&mut replica, Framing::WebSocket, alerts_of("42"));
    assert!(matches!(replica.record(&alert("42", Operation::Update, NEW, OLD, 1)), Routed::To(1)));
    assert_eq!(replica.messages(id).len(), 1);
}

#[test]
fn each_alert_is_judged_by_its_object() {
    let mut replica = Replica::new(Model::vms(), 1);
    let hidden = Subscription { class: class("acme", &["PortCall"]), ..alerts_of("A") };
    let blind = listen(&mut replica, Framing::WebSocket, hidden);
    let seeing = Subscription { class: class("acme", &["Cargo"]), ..alerts_of("A") };
    let seeing = listen(&mut replica, Framing::WebSocket, seeing);
    replica.record(&alert("A", Operation::Update, NEW, OLD, 1));
    assert_eq!((replica.messages(blind).len(), replica.messages(seeing).len()), (0, 1));
}

/// Whose records cannot be read as alerts: who waits for them is told a gap, and one shard tells of it.
#[test]
fn what_is_no_alert_is_told_as_a_gap() {
    let good = alert("A", Operation::Update, NEW, OLD, 1);
    let payload = String::from_utf8(good.payload.clone().unwrap()).unwrap();
    let key = "acme/DLPAlertScript/A";
    let bad = |text: String| Record::new(key, "1;U;;full", &text);
    for record in [
        bad("{".into()),
        bad(r#"{"new":null,"old":null}"#.into()),
        bad(payload.replace(r#""scriptCode":"A""#, r#""scriptCode":"B""#)),
        bad(payload.replace(r#""id":"3-1""#, r#""id":"x""#)),
        bad(payload.replace(r#""message":"#, r#""massage":"#)),
        bad(payload.replace(r#""new":{"key":7823672"#, r#""new":{"key":1"#)),
        Record::new(key, "1;D;;none", ""),
    ] {
        let mut replica = Replica::new(Model::vms(), 1);
        let id = listen(&mut replica, Framing::WebSocket, alerts_of("A"));
        assert!(matches!(replica.record(&record), Routed::To(1)), "{record:?}");
        let messages = replica.messages(id);
        assert_eq!(messages.len(), 1, "{record:?}: {messages:?}");
        assert!(messages[0].contains(r#""message":"gap""#), "{}", messages[0]);
        assert!(messages[0].contains("/ws/rest/WebSocketAlertScript/"), "{}", messages[0]);
        let broken = replica.shards[0].0.take_broken();
        assert_eq!(broken.len(), 1);
        assert!(broken[0].alert().unwrap().is_err());
        // The next one comes.
        assert!(matches!(replica.record(&good), Routed::To(1)));
        assert_eq!(replica.messages(id).len(), 2);
    }
}

/// It was too large with the images: who has a field list gets the reference, and it is no poison.
#[test]
fn an_alert_without_images_is_shown_as_a_reference() {
    let mut replica = Replica::new(Model::vms(), 1);
    let port_call = TypeSelector::parse("PortCall").unwrap();
    let list = mask(&replica.model, &port_call, r#"{"port":{"portName":"*"},"speed":"*"}"#);
    let plain = listen(&mut replica, Framing::WebSocket, alerts_of("A"));
    let fields = Subscription { mask: Some(list), ..alerts_of("A") };
    let fields = listen(&mut replica, Framing::WebSocket, fields);
    let record = without_images("A", Operation::Update, 7);
    assert!(record.payload.as_ref().unwrap().ends_with(br#""new":null,"old":null}"#));
    assert!(matches!(replica.record(&record), Routed::To(1)));
    let link = r#"{"key":7823672,"self":"https://vms.example.com/ws/rest/PortCall/7823672"}"#;
    for (id, object) in [(plain, "7823672"), (fields, link)] {
        let messages = replica.messages(id);
        assert_eq!(messages.len(), 1, "{messages:?}");
        let object = format!(r#""dataloyObject":{object},"dataloyObjectSelf""#);
        assert!(messages[0].contains(&object), "{}", messages[0]);
        assert!(messages[0].contains(r#""alert":{"scriptCode":"A""#), "{}", messages[0]);
    }
    assert!(replica.shards[0].0.take_broken().is_empty());
    assert_eq!(replica.shards[0].0.stats().alerts_without_images, 1);
    replica.record(&alert("A", Operation::Update, NEW, OLD, 8));
    assert_eq!(replica.shards[0].0.stats().alerts_without_images, 1);
}

#[test]
fn other_rights_leave_a_subscription_to_alerts() {
    let mut replica = Replica::new(Model::vms(), 1);
    let id = listen(&mut replica, Framing::WebSocket, alerts_of("A"));
    replica.router.set_class(0, id, class("acme", &["Cargo"]));
    replica.carry();
    replica.record(&alert("A", Operation::Update, NEW, OLD, 1));
    let messages = replica.messages(id);
    assert!(messages.last().unwrap().contains(r#""alert":{"#), "{messages:?}");
}
