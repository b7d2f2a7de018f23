//! Sockets of alerts in one process: who may open one, what it is sent, and what becomes of it when its script
//! changes.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tidewire_event::image::{Body, BodyLimits};
use tidewire_event::{
    FrameId, KeyKind, ObjectKey, ObjectType, Offset, OldImage, Operation, Partition, Tenant,
};
use tidewire_kafka::Writer;
use tidewire_log::{LogWriter as _, NewRecord};
use tidewire_rights::RightsOptions;
use tidewire_runtime::{Shutdown, Tasks};
use tidewire_script::{
    AlertRecord, Disabled, Script, ScriptError, ScriptErrorKind, ScriptRecord, ScriptState,
};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::super::admin::{call, closed, is_open};
use super::super::{Replica, Socket, Surroundings, next_text};
use super::{PATH, author, script, until, with};

const PATIENCE: Duration = Duration::from_secs(20);

async fn try_open(replica: &Replica, code: &str, token: &str, v1: bool) -> Result<Socket, u16> {
    let (path, query) = code.split_once('?').unwrap_or((code, ""));
    let url =
        format!("ws://{}/ws/rest/WebSocketAlertScript/{path}/{token}?{query}", replica.public);
    let mut request = url.into_client_request().unwrap();
    if v1 {
        let protocol = "tidewire.v1".parse().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

async fn open(replica: &Replica, code: &str, token: &str) -> Socket {
    try_open(replica, code, token, false).await.unwrap()
}

async fn json(socket: &mut Socket) -> Value {
    let text = tokio::time::timeout(PATIENCE, next_text(socket)).await.unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The next message of a socket of `tidewire.v1` that is no word about the subscription.
async fn word(socket: &mut Socket) -> Value {
    loop {
        let message = json(socket).await;
        if !matches!(message["type"].as_str(), Some("welcome" | "subscribed" | "live" | "cursor")) {
            return message;
        }
    }
}

/// Writes an alert, as the alerts service does.
async fn fire(alerts: &Writer, code: &str, offset: i64) {
    let record = script(code);
    let record = ScriptRecord::from_value(&record).unwrap();
    let script = Script::new(Tenant::new("demo").unwrap(), 1, "user:7", 0, record);
    let body = Bytes::from_static(br#"{"new":{"key":7,"speed":12.5},"old":{"key":7,"speed":1}}"#);
    let body = Body::parse(body, BodyLimits::default()).unwrap();
    let record = AlertRecord {
        script: &script,
        message: "changed",
        topic_id: "topic",
        change: FrameId { partition: Partition(1), offset: Offset(offset) },
        object_type: &ObjectType::new("PortCall").unwrap(),
        object_key: &ObjectKey::parse("7", KeyKind::Integer).unwrap(),
        operation: Operation::Update,
        old_image: OldImage::Full,
        changed_by: Some(7),
        body: Some(&body),
    };
    let record = NewRecord {
        key: record.key().into(),
        header: Some(record.header().into()),
        timestamp_ms: Some(1_789_392_000_000),
        payload: Some(record.value().into()),
    };
    alerts.write(record).await.unwrap();
}

async fn save(replica: &Replica, token: &str, script: Value) {
    let code = script["code"].as_str().unwrap().to_owned();
    let (status, made) =
        call(replica.public, &format!("POST {PATH}"), Some(token), Some(script.clone())).await;
    if status == 409 {
        let request = format!("PUT {PATH}/{code}");
        let (status, made) = call(replica.public, &request, Some(token), Some(script)).await;
        assert_eq!(status, 200, "{made}");
    } else {
        assert_eq!(status, 200, "{made}");
    }
}

/// Opens a socket in both modes; `expected` is the status of the refusal.
async fn check(replica: &Replica, code: &str, token: &str, expected: Option<u16>) {
    for v1 in [false, true] {
        let opened = try_open(replica, code, token, v1).await;
        match (opened, expected) {
            (Ok(mut socket), None) => is_open(&mut socket).await,
            // A refusal of tidewire.v1 is an error and a close.
            (Ok(mut socket), Some(status)) if v1 => {
                let error = json(&mut socket).await;
                assert_eq!(
                    (&error["type"], &error["statusCode"]),
                    (&json!("error"), &json!(status)),
                    "{code}"
                );
            }
            (Err(status), Some(expected)) if !v1 => assert_eq!(status, expected, "{code}"),
            (opened, _) => panic!("{code} {v1}: {opened:?}"),
        }
    }
}

#[tokio::test]
async fn who_may_open_one() {
    let tasks = Tasks::new(Shutdown::new());
    let mut world = Surroundings::new();
    let read = [("cargo".to_owned(), vec!["Cargo".to_owned()])];
    world.rights = RightsOptions { read: read.into(), ..RightsOptions::open() };
    let replica = Replica::start(&world, &tasks).await;
    let author = author(&world, "demo");
    let mut of_cargo =
        with("cargo", "triggers", json!([{"objectType": "Cargo", "eventType": "*"}]));
    of_cargo["scriptBody"] = "dlpObject.cargoType == 1".into();
    let through = "for c in dlpObject.voyage.cargos { if c.cargoType == 1 { return true; } } false";
    for script in [
        script("open"),
        with("desk", "role", "desk".into()),
        of_cargo,
        with("through", "scriptBody", through.into()),
    ] {
        save(&replica, &author, script).await;
    }
    let role = |name: &str| world.token("demo", 1, |claims| claims.roles = vec![name.into()]);
    let (plain, desk, cargo) = (role("none"), role("desk"), role("cargo"));
    let foreign = world.token("other", 1, |_| {});
    for (code, token, expected) in [
        ("open", &plain, None),
        ("open?fields=%7B%22speed%22:%22*%22%7D", &plain, None),
        ("none", &plain, Some(404)),
        ("Open", &plain, Some(404)),
        ("open", &foreign, Some(404)),
        ("desk", &plain, Some(403)),
        // An author writes; to read he needs what everybody needs.
        ("desk", &author, Some(403)),
        ("desk", &desk, None),
        ("cargo", &plain, Some(403)),
        ("cargo", &cargo, None),
        ("through", &plain, Some(403)),
        ("through", &cargo, None),
        ("open?onlyMainObject=true", &plain, Some(400)),
        ("open?liveReferences=false", &plain, Some(400)),
        ("open?filter=a%3D1", &plain, Some(400)),
        ("open?fields=%7B%22sped%22:%22*%22%7D", &plain, Some(400)),
        ("open/x", &plain, Some(400)),
        ("open", &"x.y.z".to_owned(), Some(401)),
    ] {
        check(&replica, code, token, expected).await;
    }
    // On the plane of objects there are no alerts.
    let path = "GET /ws/rest/WebSocketObjectSubscription/DLPAlertScript/U/open/-";
    assert_eq!(call(replica.public, path, Some(&plain), None).await.0, 426);
    let url = format!(
        "ws://{}/ws/rest/WebSocketObjectSubscription/DLPAlertScript/U/1/{plain}",
        replica.public
    );
    match tokio_tungstenite::connect_async(url).await {
        Err(Error::Http(answer)) => assert_eq!(answer.status().as_u16(), 404),
        other => panic!("{other:?}"),
    }
    replica.gateway.stop();
}

/// Where reading is granted type by type, a script is granted by its role.
#[tokio::test]
async fn without_a_role_a_script_is_for_authors_where_the_default_is_deny() {
    let tasks = Tasks::new(Shutdown::new());
    let mut world = Surroundings::new();
    let read = [("reader".to_owned(), vec!["PortCall".to_owned()])];
    world.rights = RightsOptions { read: read.into(), ..RightsOptions::default() };
    let replica = Replica::start(&world, &tasks).await;
    let author = author(&world, "demo");
    save(&replica, &author, script("open")).await;
    save(&replica, &author, with("desk", "role", "desk".into())).await;
    let roles = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        world.token("demo", 1, |claims| claims.roles = names)
    };
    let (reader, desk) = (roles(&["reader"]), roles(&["desk"]));
    let reading_desk = roles(&["reader", "desk"]);
    let reading_author = roles(&["reader", "script-author"]);
    for (code, token, expected) in [
        ("open", &reader, Some(403)),
        ("open", &reading_author, None),
        // An author has to be able to read all the same.
        ("open", &author, Some(403)),
        ("desk", &desk, Some(403)),
        ("desk", &reader, Some(403)),
        ("desk", &reading_desk, None),
    ] {
        check(&replica, code, token, expected).await;
    }
    // What may not be heard is not seen in the registry either.
    let list = call(replica.public, &format!("GET {PATH}"), Some(&reader), None).await;
    assert_eq!(list, (200, json!({"scripts": [], "next": null})));
    replica.gateway.stop();
}

#[tokio::test]
async fn alerts_come_to_all_replicas_and_scripts_change() {
    let tasks = Tasks::new(Shutdown::new());
    let world = Surroundings::new();
    let (a, b) = (Replica::start(&world, &tasks).await, Replica::start(&world, &tasks).await);
    let alerts = Writer::start(&world.broker.options(), "alerts").unwrap();
    let author = author(&world, "demo");
    save(&a, &author, script("speed")).await;
    save(&a, &author, script("other")).await;
    for code in ["speed", "other"] {
        until(b.public, &format!("GET {PATH}/{code}"), &author, |status, _| status == 200).await;
    }
    let plain = world.token("demo", 1, |_| {});
    let desk = world.token("demo", 2, |claims| claims.roles = vec!["desk".into()]);
    let mut on_a = open(&a, "speed", &plain).await;
    let mut on_b = open(&b, "speed?session=x&fields=%7B%22speed%22:%22*%22%7D", &desk).await;
    assert_eq!(json(&mut on_b).await["message"], "session starts now");
    let mut v1 = try_open(&b, "speed", &desk, true).await.unwrap();
    let mut other = open(&b, "other", &plain).await;
    fire(&alerts, "speed", 5).await;
    for (socket, object) in [
        (&mut on_a, json!(7)),
        (
            &mut on_b,
            json!({"key": 7, "self": "https://vms.example.com/ws/rest/PortCall/7", "speed": 12.5}),
        ),
    ] {
        let alert = json(socket).await;
        assert_eq!((&alert["id"], &alert["dataloyObject"]), (&json!("1-5"), &object), "{alert}");
        assert_eq!(alert["alert"]["message"], "changed");
    }
    let event = word(&mut v1).await;
    assert_eq!(
        (&event["type"], &event["id"], &event["sub"]),
        (&json!("event"), &json!("1-5"), &json!("0"))
    );
    // Their list is changed on the open socket, and what is not for them is refused.
    on_a.send(Message::text(r#"{"speed":"*"}"#)).await.unwrap();
    for message in
        [r#"{"type":"subscribe","id":"x","objectType":"Voyage"}"#, r#"{"type":"await","id":"1-5"}"#]
    {
        v1.send(Message::text(message)).await.unwrap();
        let refused = word(&mut v1).await;
        assert_eq!((&refused["type"], &refused["statusCode"]), (&json!("error"), &json!(400)));
    }
    // The administrator sees them.
    let admin = world.token("demo", 9, |claims| claims.roles = vec!["admin".into()]);
    let (_, page) = call(a.public, "GET /api/v1/admin/sessions", Some(&admin), None).await;
    assert_eq!(page["sessions"][0]["subscriptions"][0]["path"], "DLPAlertScript/CUD/speed");

    // Disabled: whoever speaks tidewire.v1 is told, also who comes later.
    let control = Writer::start(&world.broker.options(), "control").unwrap();
    let error = ScriptError::new(ScriptErrorKind::Deadline, "a secret of an object");
    let state = ScriptState {
        tenant: Tenant::new("demo").unwrap(),
        code: "speed".into(),
        version: 1,
        disabled: Disabled { at: 1, error },
    };
    let record = NewRecord {
        key: state.key().into(),
        header: None,
        timestamp_ms: None,
        payload: Some(state.value().into()),
    };
    control.write(record).await.unwrap();
    let told = json!({"type": "scriptDisabled", "sub": "0", "scriptCode": "speed", "version": 1, "kind": "deadline"});
    assert_eq!(word(&mut v1).await, told);
    let mut late = try_open(&b, "speed", &desk, true).await.unwrap();
    assert_eq!(word(&mut late).await, told);
    fire(&alerts, "speed", 6).await;
    assert_eq!(json(&mut on_a).await["dataloyObject"]["speed"], 12.5, "and nothing before it");

    // A role of its own: who lacks it is closed, the others go on.
    let begun = std::time::Instant::now();
    save(&a, &author, with("speed", "role", "desk".into())).await;
    assert_eq!(closed(&mut on_a).await, (4003, "forbidden".to_owned()));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    fire(&alerts, "speed", 7).await;
    json(&mut on_b).await;
    let last = json(&mut on_b).await;
    assert_eq!(last["id"], "1-7", "{last}");
    // Deleted: all are closed, but those of another script.
    let request = format!("DELETE {PATH}/speed");
    assert_eq!(call(b.public, &request, Some(&author), None).await.0, 200);
    for socket in [&mut on_b, &mut v1, &mut late] {
        assert_eq!(closed(socket).await, (4004, "unknown".to_owned()));
    }
    fire(&alerts, "other", 8).await;
    assert_eq!(json(&mut other).await["id"], "1-8");
    a.gateway.stop();
    b.gateway.stop();
}

#[tokio::test]
async fn a_new_token_that_may_not_closes() {
    let tasks = Tasks::new(Shutdown::new());
    let world = Surroundings::new();
    let replica = Replica::start(&world, &tasks).await;
    save(&replica, &author(&world, "demo"), with("speed", "role", "desk".into())).await;
    let desk = |roles: Vec<String>| world.token("demo", 2, |claims| claims.roles = roles);
    let mut socket = try_open(&replica, "speed", &desk(vec!["desk".into()]), true).await.unwrap();
    let renew = |token: String| Message::text(json!({"type": "token", "token": token}).to_string());
    socket.send(renew(desk(vec!["desk".into(), "more".into()]))).await.unwrap();
    assert_eq!(word(&mut socket).await["type"], "tokenAccepted");
    socket.send(renew(desk(Vec::new()))).await.unwrap();
    assert_eq!(closed(&mut socket).await, (4003, "forbidden".to_owned()));
    assert!(socket.next().await.is_none_or(|end| end.is_err()));
    replica.gateway.stop();
}
