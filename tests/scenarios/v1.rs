//! `tidewire.v1`: several subscriptions on one socket, field lists in-band, one's own writes, a documented path,
//! and the end of a replica.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::v1::V1;
use crate::support::{BASE, Setup, World, definition, object_path};

fn update(kind: &str, key: u64, comments: &str) -> String {
    format!(
        r#"{{"objectType":"{kind}","key":{key},"operation":"U","new":{{"key":{key},"comments":"{comments}","remarks":"{comments}","speed":1.50}},"changedAt":"2026-09-14T13:37:26Z"}}"#
    )
}

/// The event as the contract writes it, byte for byte.
fn event(id: &str, kind: &str, object: &str, key: u64, number: u64, sub: &str) -> String {
    format!(
        "{{\"type\":\"event\",\"id\":\"{id}\",\"eventTime\":\"2026-09-14T13:37:26\",\
         \"objectType\":\"{kind}\",\"eventType\":\"U\",\"dataloyObject\":{object},\
         \"dataloyObjectSelf\":\"{BASE}/ws/rest/{kind}/{key}\",\"subscription\":{{\"key\":{number},\
         \"self\":\"{BASE}/ws/rest/WebSocketObjectSubscription/{number}\"}},\"sub\":\"{sub}\"}}"
    )
}

/// The next text that is no cursor.
async fn text(v1: &mut V1) -> String {
    loop {
        let text = v1.socket.text().await;
        if !text.starts_with(r#"{"type":"cursor""#) {
            return text;
        }
    }
}

/// Sends a ping and waits for its pong: all that was sent before has been judged.
async fn settle(v1: &mut V1) {
    v1.say(&json!({"type":"ping"})).await;
    v1.expect("pong").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_subscriptions_on_one_socket() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let mut v1 = V1::open(&world, 0, &world.token(&tenant, 1, &[])).await;
    let voyage = json!({"id":"one","objectType":"Voyage","events":"U","keys":1});
    let all = json!({"id":"all","objectType":"*"});
    let list = json!({"speed":"*"});
    let calls = json!({"id":"calls.0-_","objectType":"PortCall","events":["U","D"],"keys":[2,3],"fields":list});
    for request in [&voyage, &all, &calls] {
        v1.subscribe(request).await;
        let live = v1.expect("live").await;
        assert_eq!((&live["id"], &live["replayed"]), (&request["id"], &0.into()));
    }
    // A change that two subscriptions want comes twice.
    let id = world.post(&tenant, &update("Voyage", 1, "a")).await;
    let mut came = [text(&mut v1).await, text(&mut v1).await];
    came.sort_unstable();
    let number = |wish: &str| definition(&tenant, wish);
    let mut expected = [
        event(&id, "Voyage", "1", 1, number("Voyage/U/1"), "one"),
        event(&id, "Voyage", "1", 1, number("*/*/*"), "all"),
    ];
    expected.sort_unstable();
    assert_eq!(came, expected);
    // Each has its own field list.
    let id = world.post(&tenant, &update("PortCall", 2, "a")).await;
    let object = format!(r#"{{"key":2,"self":"{BASE}/ws/rest/PortCall/2","speed":1.50}}"#);
    let mut came = [text(&mut v1).await, text(&mut v1).await];
    came.sort_unstable();
    let definition = number("PortCall/U,D/2,3");
    let mut expected = [
        event(&id, "PortCall", &object, 2, definition, "calls.0-_"),
        event(&id, "PortCall", "2", 2, number("*/*/*"), "all"),
    ];
    expected.sort_unstable();
    assert_eq!(came, expected);
    v1.say(&json!({"type":"unsubscribe","id":"all"})).await;
    assert_eq!(v1.expect("unsubscribed").await["id"], "all");
    world.post(&tenant, &update("Vessel", 9, "a")).await;
    let id = world.post(&tenant, &update("Voyage", 1, "b")).await;
    assert_eq!(text(&mut v1).await, event(&id, "Voyage", "1", 1, number("Voyage/U/1"), "one"));
    // The name is free again, for something else.
    v1.subscribe(&json!({"id":"all","objectType":"Vessel"})).await;
    v1.expect("live").await;
    let id = world.post(&tenant, &update("Vessel", 9, "a")).await;
    assert_eq!(text(&mut v1).await, event(&id, "Vessel", "9", 9, number("Vessel/*/*"), "all"));
    // A cursor names every subscription that it speaks for.
    let mut named = std::collections::BTreeSet::new();
    while named.len() < 3 {
        let message = v1.next().await;
        assert_eq!(message["type"], "cursor", "{message}");
        for sub in message["subs"].as_array().unwrap() {
            named.insert(sub.as_str().unwrap().to_owned());
        }
    }
    assert_eq!(named.into_iter().collect::<Vec<_>>(), ["all", "calls.0-_", "one"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn field_lists_in_band() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let mut v1 = V1::open(&world, 1, &world.token(&tenant, 1, &[])).await;
    let fields = |list: Value| json!({"type":"fields","id":"a","fields":list});
    // In one breath: the list never overtakes the subscription that it is for.
    for number in 0..50 {
        let id = format!("s{number}");
        v1.say(&json!({"type":"subscribe","id":id,"objectType":"PortCall","keys":number})).await;
        v1.say(&json!({"type":"fields","id":id,"fields":{"speed":"*"}})).await;
    }
    v1.say(&json!({"type":"subscribe","id":"a","objectType":"PortCall","keys":100})).await;
    v1.say(&fields(json!({"remarks":"*"}))).await;
    for _ in 0..51 {
        v1.expect("subscribed").await;
        v1.expect("live").await;
    }
    settle(&mut v1).await;
    for number in [0, 7, 49] {
        world.post(&tenant, &update("PortCall", number, "x")).await;
        let message = v1.expect("event").await;
        assert_eq!(message["sub"], format!("s{number}"));
        assert_eq!(message["dataloyObject"]["speed"].to_string(), "1.50", "{message}");
    }
    let shown = async |v1: &mut V1| {
        world.post(&tenant, &update("PortCall", 100, "x")).await;
        let message = v1.expect("event").await;
        let members = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect();
        message["dataloyObject"].as_object().map_or_else(Vec::<String>::new, members)
    };
    assert_eq!(shown(&mut v1).await, ["key", "self", "remarks"]);
    v1.say(&fields(json!({"speed":"*"}))).await;
    settle(&mut v1).await;
    assert_eq!(shown(&mut v1).await, ["key", "self", "speed"]);
    // A refused list names its subscription, and the former one stays in force.
    for (list, part) in [
        (json!({"speeed":"*"}), "the nearest known is 'speed'"),
        (json!({"speed":1}), "must be \"*\" or an object"),
        (json!("speed"), "a field list is a JSON object"),
        (json!(null), "a field list is a JSON object"),
    ] {
        v1.say(&fields(list)).await;
        assert_eq!(v1.refused(400, part).await.as_deref(), Some("a"));
    }
    assert_eq!(shown(&mut v1).await, ["key", "self", "speed"]);
    v1.say(&fields(json!({}))).await;
    settle(&mut v1).await;
    assert_eq!(shown(&mut v1).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ones_own_writes_can_be_awaited() {
    let Some(world) = World::start(Setup { partitions: 3, ..Setup::default() }) else { return };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let mut sockets = [V1::open(&world, 0, &token).await, V1::open(&world, 1, &token).await];
    for v1 in &mut sockets {
        v1.subscribe(&json!({"id":"a","objectType":"Voyage"})).await;
        v1.expect("live").await;
    }
    let elsewhere = world.tenant();
    for number in 0..60_u64 {
        // Its own, one that nobody here wants, and another tenant's.
        let (wanted, tenant, kind) = match number % 3 {
            0 => (true, &tenant, "Voyage"),
            1 => (false, &tenant, "Vessel"),
            _ => (false, &elsewhere, "Voyage"),
        };
        let id = world.post(tenant, &update(kind, number, "x")).await;
        for v1 in &mut sockets {
            v1.say(&json!({"type":"await","id":id})).await;
            if wanted {
                assert_eq!(v1.expect("event").await["id"], id.as_str(), "it comes first");
            }
            assert_eq!(v1.expect("reached").await["id"], id.as_str());
        }
    }
    // One that is still to come is answered when it has come.
    let [v1, _] = &mut sockets;
    let id = world.post(&tenant, &update("Voyage", 1, "x")).await;
    let next = {
        let (partition, offset) = id.split_once('-').unwrap();
        format!("{partition}-{}", offset.parse::<u64>().unwrap() + 1)
    };
    v1.say(&json!({"type":"await","id":next})).await;
    assert_eq!(v1.expect("event").await["id"], id.as_str());
    settle(v1).await;
    assert_eq!(world.post(&tenant, &update("Voyage", 1, "y")).await, next);
    assert_eq!(v1.expect("event").await["id"], next.as_str());
    assert_eq!(v1.expect("reached").await["id"], next.as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_documented_path_is_the_subscription_zero() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let wish = "Voyage/U/1?fields=%7B%22comments%22:%22*%22%7D";
    let mut v1 = V1::welcomed(V1::wish(&world, 0, &object_path(wish, "-"), &token)).await;
    let subscribed = v1.expect("subscribed").await;
    assert_eq!(subscribed["id"], "0");
    assert_eq!(v1.expect("live").await["replayed"], 0);
    let first = world.post(&tenant, &update("Voyage", 1, "x")).await;
    let message = v1.expect("event").await;
    assert_eq!((&message["id"], &message["sub"]), (&first.clone().into(), &"0".into()));
    assert_eq!(message["dataloyObject"]["comments"], "x");
    v1.subscribe(&json!({"id":"more","objectType":"Vessel"})).await;
    drop(v1);
    V1::open(&world, 1, &token).await.has_read(&first).await;
    let cursor = subscribed["cursor"].as_str().unwrap();
    let wish = format!("Voyage/U/1?lastEventId={cursor}");
    let mut v1 = V1::welcomed(V1::wish(&world, 1, &object_path(&wish, "-"), &token)).await;
    assert_eq!(v1.expect("subscribed").await["cursor"], cursor);
    assert_eq!(v1.expect("event").await["id"], first.as_str());
    assert_eq!(v1.expect("live").await["replayed"], 1);
    v1.say(&json!({"type":"unsubscribe","id":"0"})).await;
    v1.expect("unsubscribed").await;
    // A cursor serves any subscription of the tenant, and none of another one.
    let request = json!({"id":"again","objectType":"*","from":cursor});
    assert_eq!(v1.subscribe(&request).await, cursor);
    assert_eq!(v1.expect("event").await["id"], first.as_str());
    assert_eq!(v1.expect("live").await["replayed"], 1);
    let mut other = V1::open(&world, 0, &world.token(&world.tenant(), 1, &[])).await;
    assert_ne!(other.subscribe(&request).await, cursor);
    let gap = other.expect("gap").await;
    assert_eq!((&gap["sub"], &gap["reason"]), (&"again".into(), &"tenant".into()));
    other.expect("live").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_stops_says_goaway_behind_a_last_cursor() {
    let setup =
        Setup { gateway: vec![("gateway.drain_window", "500ms".to_owned())], ..Setup::default() };
    let Some(world) = World::start(setup) else { return };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let mut v1 = V1::open(&world, 0, &token).await;
    for (id, kind) in [("a", "Voyage"), ("b", "Vessel")] {
        v1.subscribe(&json!({"id":id,"objectType":kind})).await;
        v1.expect("live").await;
    }
    let id = world.post(&tenant, &update("Voyage", 1, "x")).await;
    assert_eq!(v1.expect("event").await["id"], id.as_str());
    world.gateways[0].signal("TERM").unwrap();
    let mut last = Value::Null;
    let goaway = loop {
        let message = v1.next().await;
        match message["type"].as_str().unwrap() {
            "cursor" => last = message,
            "goaway" => break message,
            _ => panic!("{message}"),
        }
    };
    assert!(goaway["retryMs"].as_u64().is_some_and(|ms| ms >= 1), "{goaway}");
    let mut subs: Vec<&str> =
        last["subs"].as_array().unwrap().iter().map(|sub| sub.as_str().unwrap()).collect();
    subs.sort_unstable();
    assert_eq!(subs, ["a", "b"]);
    assert_eq!(v1.closed().await, (4200, "drain".to_owned()));
    let missed = world.post(&tenant, &update("Voyage", 1, "y")).await;
    let mut v1 = V1::open(&world, 1, &token).await;
    v1.has_read(&missed).await;
    v1.subscribe(&json!({"id":"a","objectType":"Voyage","from":last["cursor"]})).await;
    assert_eq!(
        v1.expect("event").await["id"],
        missed.as_str(),
        "exactly what came behind the cursor"
    );
    assert_eq!(v1.expect("live").await["replayed"], 1);
    assert_eq!(v1.socket.next_within(Duration::from_millis(1)).await, None);
}
