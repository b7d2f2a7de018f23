//! The registry of alert scripts over HTTP: two replicas, one control topic, scripts compiled by workers.

mod sockets;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidewire_event::Tenant;
use tidewire_kafka::Writer;
use tidewire_log::{LogWriter as _, NewRecord};
use tidewire_rights::RightsOptions;
use tidewire_runtime::{Shutdown, Tasks};
use tidewire_script::{Disabled, ScriptError, ScriptErrorKind, ScriptState};

use super::admin::call;
use super::{Replica, Surroundings};

const PATH: &str = "/ws/rest/DLPAlertScript";

/// A sound script.
pub(crate) fn script(code: &str) -> Value {
    json!({
        "name": "Speed", "code": code,
        "triggers": [{"objectType": "PortCall", "eventType": "U"}],
        "scriptBody": "dlpObject.speed != oldDlpObject.speed",
        "messageSubject": "speed", "messageType": "String", "alertScriptMessage": "changed",
    })
}

fn with(code: &str, member: &str, value: Value) -> Value {
    let mut script = script(code);
    script[member] = value;
    script
}

pub(crate) fn author(world: &Surroundings, tenant: &str) -> String {
    world.token(tenant, 7, |claims| claims.roles = vec!["script-author".into()])
}

/// Asks until the answer is as it must be: what another replica has saved is read a moment later.
pub(crate) async fn until(
    address: SocketAddr,
    request: &str,
    token: &str,
    is_so: impl Fn(u16, &Value) -> bool,
) -> Value {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let (status, body) = call(address, request, Some(token), None).await;
        if is_so(status, &body) {
            return body;
        }
        assert!(Instant::now() < end, "{request}: {status} {body}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn codes(list: &Value) -> Vec<&str> {
    list["scripts"].as_array().unwrap().iter().map(|s| s["code"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_script_lives_on_every_replica() {
    let tasks = Tasks::new(Shutdown::new());
    let world = Surroundings::new();
    let (a, b) = (Replica::start(&world, &tasks).await, Replica::start(&world, &tasks).await);
    let author = author(&world, "demo");
    let token = author.as_str();
    let create = format!("POST {PATH}");
    let (status, made) = call(a.public, &create, Some(token), Some(script("a/b c"))).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!((&made["version"], &made["author"]), (&json!(1), &json!("user:7")));
    assert_eq!(made["state"], json!({"enabled": true}));
    let key = made["key"].as_u64().unwrap();
    assert_eq!(made["self"], format!("https://vms.example.com{PATH}/{key}"));
    // By code and by key, on both.
    for address in [a.public, b.public] {
        for id in ["a%2Fb%20c".to_owned(), key.to_string()] {
            let got = until(address, &format!("GET {PATH}/{id}"), token, |s, _| s == 200).await;
            assert_eq!(got, made);
        }
    }
    let (status, _) = call(b.public, &create, Some(token), Some(script("a/b c"))).await;
    assert_eq!(status, 409);
    // What was fetched can be changed and sent back.
    let mut changed = made.clone();
    changed["name"] = "Speed changes".into();
    let (status, second) =
        call(b.public, &format!("PUT {PATH}/{key}"), Some(token), Some(changed)).await;
    assert_eq!((status, &second["version"]), (200, &json!(2)), "{second}");
    assert_eq!(second["name"], "Speed changes");

    // Disabled by whoever runs it; saved again it is enabled.
    let control = Writer::start(&world.broker.options(), "control").unwrap();
    let error = ScriptError::new(ScriptErrorKind::Operations, "too many").at(Some(1), Some(2));
    let state = ScriptState {
        tenant: Tenant::new("demo").unwrap(),
        code: "a/b c".into(),
        version: 2,
        disabled: Disabled { at: 1_789_392_000, error },
    };
    let record = NewRecord {
        key: state.key().into(),
        header: None,
        timestamp_ms: None,
        payload: Some(state.value().into()),
    };
    control.write(record).await.unwrap();
    let get = format!("GET {PATH}/{key}");
    let disabled = until(a.public, &get, token, |_, body| body["state"]["enabled"] == false).await;
    assert_eq!(
        disabled["state"],
        json!({"enabled": false, "since": "2026-09-14T13:20:00", "error":
            {"kind": "operations", "line": 1, "column": 2, "reason": "too many"}})
    );
    let put = format!("PUT {PATH}/a%2Fb%20c");
    until(a.public, &get, token, |_, body| body["version"] == 2).await;
    let (status, third) = call(a.public, &put, Some(token), Some(second)).await;
    assert_eq!((status, &third["version"]), (200, &json!(3)), "{third}");
    assert_eq!(third["state"], json!({"enabled": true}));

    let (status, gone) = call(a.public, &format!("DELETE {PATH}/{key}"), Some(token), None).await;
    assert_eq!((status, gone), (200, json!({"deleted": "a/b c"})));
    until(b.public, &get, token, |status, _| status == 404).await;
    // A later script of this code is another one, and not disabled.
    let (status, anew) = call(b.public, &create, Some(token), Some(script("a/b c"))).await;
    assert_eq!((status, &anew["version"], &anew["key"]), (200, &json!(1), &json!(key)), "{anew}");
    assert_eq!(anew["state"], json!({"enabled": true}));
    a.gateway.stop();
    b.gateway.stop();
}

#[tokio::test]
async fn who_may_do_what() {
    let tasks = Tasks::new(Shutdown::new());
    let mut world = Surroundings::new();
    let read = [("cargo".to_owned(), vec!["Cargo".to_owned()])];
    world.rights = RightsOptions { read: read.into(), ..RightsOptions::open() };
    let replica = Replica::start(&world, &tasks).await;
    let address = replica.public;
    let author = author(&world, "demo");
    let role = |name: &str| world.token("demo", 1, |claims| claims.roles = vec![name.into()]);
    let plain = role("nobody");
    let create = format!("POST {PATH}");
    // What each script takes to see it.
    let of_cargo = json!([{"objectType": "Cargo", "eventType": "*"}]);
    let mut trigger = with("trigger", "triggers", of_cargo);
    trigger["scriptBody"] = "dlpObject.cargoType == 1".into();
    for script in [
        script("open"),
        with("for desk", "role", "desk".into()),
        trigger,
        with("through", "scriptBody", "dlpObject.voyage.cargos.len > 0".into()),
        with(
            "deeper",
            "scriptBody",
            "for c in dlpObject.voyage.cargos { if c.cargoType == 1 { return true; } } false"
                .into(),
        ),
    ] {
        let (status, made) = call(address, &create, Some(&author), Some(script)).await;
        assert_eq!(status, 200, "{made}");
    }
    let list = format!("GET {PATH}");
    let sees = async |token: &str| {
        let (status, body) = call(address, &list, Some(token), None).await;
        assert_eq!(status, 200, "{body}");
        codes(&body).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = ["deeper", "for desk", "open", "through", "trigger"];
    assert_eq!(sees(&author).await, all);
    assert_eq!(sees(&role("admin")).await, all);
    assert_eq!(sees(&plain).await, ["open", "through"]);
    assert_eq!(sees(&role("desk")).await, ["for desk", "open", "through"]);
    assert_eq!(sees(&role("cargo")).await, ["deeper", "open", "through", "trigger"]);
    let foreign = world.token("other", 7, |claims| claims.roles = vec!["script-author".into()]);
    assert!(sees(&foreign).await.is_empty());
    // Pages.
    let (_, page) = call(address, &format!("{list}?limit=2"), Some(&author), None).await;
    assert_eq!((codes(&page), &page["next"]), (vec!["deeper", "for desk"], &json!("for desk")));
    let next = format!("{list}?limit=3&after=for%20desk");
    let (_, page) = call(address, &next, Some(&author), None).await;
    assert_eq!((codes(&page), &page["next"]), (vec!["open", "through", "trigger"], &Value::Null));

    let get = async |code: &str, token: Option<&str>| {
        call(address, &format!("GET {PATH}/{code}"), token, None).await.0
    };
    assert_eq!(get("open", Some(&plain)).await, 200);
    assert_eq!(get("trigger", Some(&plain)).await, 404, "as unknown as what does not exist");
    assert_eq!(get("open", Some(&foreign)).await, 404);
    assert_eq!(get("open", None).await, 401);
    assert_eq!(get("open", Some("x.y.z")).await, 401);
    for (request, body) in [
        (create.clone(), Some(script("new"))),
        (format!("PUT {PATH}/open"), Some(script("open"))),
        (format!("DELETE {PATH}/open"), None),
    ] {
        for token in [&plain, &role("admin"), &role("producer")] {
            let (status, answer) = call(address, &request, Some(token), body.clone()).await;
            assert_eq!(status, 403, "{request}: {answer}");
            assert!(answer["message"].as_str().unwrap().contains("auth.roles.script_author"));
        }
        let (status, answer) = call(address, &request, Some(&foreign), body.clone()).await;
        assert_eq!(status, if request == create { 200 } else { 404 }, "{request}: {answer}");
    }
    replica.gateway.stop();
}

#[tokio::test]
async fn each_bad_input_has_its_answer() {
    let tasks = Tasks::new(Shutdown::new());
    let world = Surroundings::new();
    let replica = Replica::start(&world, &tasks).await;
    let author = author(&world, "demo");
    let trigger =
        |object_type: &str, event: &str| json!([{"objectType": object_type, "eventType": event}]);
    let body = |source: &str| with("a", "scriptBody", source.into());
    let check = async |script: Value, status: u16, part: &str| {
        let request = format!("POST {PATH}");
        let (got, answer) = call(replica.public, &request, Some(&author), Some(script)).await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert_eq!(got, status, "{answer}");
        assert!(message.contains(part), "{part}: {message}");
        if status != 200 {
            assert_eq!(
                (&answer["statusCode"], &answer["method"]),
                (&json!(status), &json!("POST"))
            );
            assert_eq!(answer["uri"], PATH);
        }
    };
    check(json!([]), 400, "a script is a JSON object, found an array").await;
    check(with("", "name", "n".into()), 400, "'code'").await;
    check(with("a", "triggers", json!([])), 400, "'triggers'").await;
    check(with("a", "triggers", trigger("Voyge", "U")), 400, "'triggers[0].objectType'").await;
    check(with("a", "triggers", trigger("Voyage", "X")), 400, "'triggers[0].eventType'").await;
    check(with("a", "messageType", "YAML".into()), 400, "'messageType'").await;
    check(with("a", "language", "groovy".into()), 400, "groovy is not supported yet").await;
    check(with("a", "scriptBdy", "true".into()), 400, "'scriptBody'").await;
    check(with("a", "alertScriptMessage", "?3".into()), 400, "'alertScriptMessage'").await;
    check(body("let x = 1;\nlet y = ;\ntrue"), 400, "'scriptBody': line 2, column ").await;
    check(body("dlpObject.sped == 1"), 400, "unknown field 'sped', the nearest known is 'speed'")
        .await;
    check(body("1 + 1"), 400, "'scriptBody': line 1").await;
    check(body("loop { }"), 400, "'scriptBody'").await;
    check(script("a"), 200, "").await;
    check(script("a"), 409, "'code' is that of another script").await;

    let call = async |request: &str, body: Option<Value>| {
        let (status, answer) = call(replica.public, request, Some(&author), body).await;
        (status, answer["message"].as_str().unwrap_or_default().to_owned())
    };
    let put = async |code: &str, script| call(&format!("PUT {PATH}/{code}"), Some(script)).await;
    assert_eq!(put("b", script("b")).await.0, 404);
    let (status, text) = put("a", script("b")).await;
    assert!(status == 400 && text.contains("'code'"), "{status} {text}");
    assert_eq!(call(&format!("DELETE {PATH}/b"), None).await.0, 404);
    assert_eq!(call(&format!("GET {PATH}/%zz"), None).await.0, 400);
    assert_eq!(call(&format!("GET {PATH}?limit=0"), None).await.0, 400);
    assert_eq!(call(&format!("PATCH {PATH}/a"), None).await.0, 405);
    let large = with("c", "description", "x".repeat(300 * 1024).into());
    assert_eq!(call(&format!("POST {PATH}"), Some(large)).await.0, 413);
    replica.gateway.stop();
}

#[tokio::test]
async fn where_no_alerts_are_served_the_setting_is_named() {
    let tasks = Tasks::new(Shutdown::new());
    let mut world = Surroundings::new();
    world.alerts = false;
    let replica = Replica::start(&world, &tasks).await;
    let author = author(&world, "demo");
    for path in
        [PATH.to_owned(), format!("{PATH}/a"), format!("/ws/rest/WebSocketAlertScript/a/{author}")]
    {
        let request = format!("GET {path}");
        let (status, answer) = call(replica.public, &request, Some(&author), None).await;
        let message = answer["message"].as_str().unwrap_or_default();
        // A socket's path wants an upgrade first.
        if !path.contains("WebSocket") {
            assert_eq!((status, message.contains("gateway.alerts")), (404, true), "{answer}");
        } else {
            assert_eq!(status, 426);
        }
    }
    replica.gateway.stop();
}
