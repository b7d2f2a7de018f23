//! Alert scripts and their alerts: the registry's API, and records as the service that runs scripts writes them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidewire_event::image::{Body, BodyLimits};
use tidewire_event::{FrameId, KeyKind, ObjectKey, ObjectType, OldImage, Operation, Tenant};
use tidewire_script::{AlertRecord, Script, ScriptRecord};
use tidewire_testkit::http::{Response, request};
use tidewire_wire::definition::Definition;

use super::log::{Producer, TIME};
use super::socket::{Socket, Wish};
use super::{BASE, World};

pub(crate) const PATH: &str = "/ws/rest/DLPAlertScript";
pub(crate) const IMAGES: &str =
    r#"{"new":{"key":1,"comments":"b","vessel":{"key":3}},"old":{"key":1,"comments":"a"}}"#;

pub(crate) fn script(code: &str) -> Value {
    json!({
        "name": "Comments", "code": code,
        "triggers": [{"objectType": "Voyage", "eventType": "U"}],
        "scriptBody": "dlpObject.comments != oldDlpObject.comments",
        "messageSubject": "comments", "alertScriptMessage": "changed",
    })
}

pub(crate) fn with(code: &str, member: &str, value: Value) -> Value {
    let mut script = script(code);
    script[member] = value;
    script
}

/// Asks the registry of one gateway.
pub(crate) async fn api(
    world: &World,
    gateway: usize,
    call: &str,
    token: &str,
    body: Option<&Value>,
) -> Response {
    let (method, path) = call.split_once(' ').unwrap();
    let (method, path) = (method.to_owned(), format!("{PATH}{path}"));
    let (address, bearer) = (world.public(gateway), format!("Bearer {token}"));
    let body = body.map(Value::to_string).unwrap_or_default();
    let ask = move || {
        let headers = [("Authorization", bearer.as_str())];
        request(address, &method, &path, &headers, body.as_bytes()).unwrap()
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

pub(crate) fn author(world: &World, tenant: &str) -> String {
    world.token(tenant, 7, &["script-author"])
}

/// Saves a script on gateway 0, and waits until the other knows it.
pub(crate) async fn save(world: &World, tenant: &str, script: &Value) {
    let (token, code) =
        (author(world, tenant), script["code"].as_str().unwrap().replace(' ', "%20"));
    let made = api(world, 0, "POST ", &token, Some(script)).await;
    let made = match made.status {
        409 => api(world, 0, &format!("PUT /{code}"), &token, Some(script)).await,
        _ => made,
    };
    assert_eq!(made.status, 200, "{}", made.body);
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let got = api(world, 1, &format!("GET /{code}"), &token, None).await;
        if got.body == made.body {
            return;
        }
        assert!(Instant::now() < until, "{} {}", made.body, got.body);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes alerts of one script.
pub(crate) struct Alerts {
    pub(crate) producer: Producer,
    script: Script,
}

impl Alerts {
    pub(crate) fn new(world: &World, tenant: &str, code: &str) -> Self {
        let record = ScriptRecord::from_value(&script(code)).unwrap();
        let script = Script::new(Tenant::new(tenant).unwrap(), 1, "user:7", 0, record);
        Self { producer: Producer::new(&world.bootstrap(), &world.alerts), script }
    }

    /// An alert that this change fired; gives the id that its message has.
    pub(crate) async fn fire(&self, number: i64) -> String {
        let body = Body::parse(IMAGES.into(), BodyLimits::default()).unwrap();
        let id = format!("0-{number}");
        let record = AlertRecord {
            script: &self.script,
            message: "changed",
            topic_id: "of the changes",
            change: FrameId::parse(&id).unwrap(),
            object_type: &ObjectType::new("Voyage").unwrap(),
            object_key: &ObjectKey::parse("1", KeyKind::Integer).unwrap(),
            operation: Operation::Update,
            old_image: OldImage::Full,
            changed_by: Some(1),
            body: Some(&body),
        };
        let value = String::from_utf8(record.value()).unwrap();
        self.producer.sound(&record.key(), &record.header(), &value).await;
        id
    }

    /// The message of an alert, byte for byte.
    pub(crate) fn expected(&self, id: &str, object: &str) -> String {
        let tenant = self.script.tenant.clone();
        let number = Definition::alerts(tenant, self.script.code()).unwrap().number();
        let code = Value::from(self.script.code());
        format!(
            "{{\"id\":\"{id}\",\"eventTime\":\"{TIME}\",\"objectType\":\"Voyage\",\"eventType\":\"U\",\
             \"dataloyObject\":{object},\"dataloyObjectSelf\":\"{BASE}/ws/rest/Voyage/1\",\
             \"alert\":{{\"scriptCode\":{code},\"name\":\"Comments\",\"subject\":\"comments\",\
             \"messageType\":\"String\",\"message\":\"changed\"}},\
             \"subscription\":{{\"key\":{number},\
             \"self\":\"{BASE}/ws/rest/WebSocketAlertScript/{number}\"}}}}"
        )
    }
}

pub(crate) fn path(wish: &str, token: &str) -> String {
    let (code, query) = wish.split_once('?').unwrap_or((wish, ""));
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    format!("/ws/rest/WebSocketAlertScript/{code}/{token}{query}")
}

pub(crate) async fn open(world: &World, gateway: usize, wish: &str, token: &str) -> Socket {
    Wish::new(world.public(gateway), &path(wish, token)).open().await
}
