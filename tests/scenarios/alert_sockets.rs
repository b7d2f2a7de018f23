//! Alert scripts by their API, and the sockets of their alerts, on both gateways. The alerts are written as the
//! service that runs scripts writes them.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::alerts::{Alerts, IMAGES, api, author, open, path, save, script, with};
use crate::support::log::read_all;
use crate::support::socket::{Came, Socket, Wish};
use crate::support::stream::Events;
use crate::support::v1::V1;
use crate::support::{BASE, Setup, World};

async fn session(world: &World, gateway: usize, token: &str, message: &str) -> Socket {
    let mut socket = open(world, gateway, "watch?session=bridge", token).await;
    assert_eq!(socket.json().await["message"], message);
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_gateways_know_a_script_and_each_alert_comes_once() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    save(&world, &tenant, &script("of voyages")).await;
    let token = world.token(&tenant, 1, &[]);
    for gateway in [0, 1] {
        let list = api(&world, gateway, "GET ", &token, None).await;
        let list: Value = serde_json::from_str(&list.body).unwrap();
        assert_eq!(list["scripts"][0]["code"], "of voyages", "{list}");
        assert_eq!((&list["scripts"][1], &list["next"]), (&Value::Null, &Value::Null));
    }
    let alerts = Alerts::new(&world, &tenant, "of voyages");
    let wish = "of%20voyages";
    let mut sockets = [open(&world, 0, wish, &token).await, open(&world, 1, wish, &token).await];
    let mut stream = Events::open(world.public(1), &path(wish, &token), "").await;
    for number in 1..4 {
        let id = alerts.fire(number).await;
        // Published again: dropped by every replica.
        alerts.fire(number).await;
        let expected = alerts.expected(&id, "1");
        for socket in &mut sockets {
            assert_eq!(socket.text().await, expected);
        }
        assert_eq!(stream.message().await.unwrap(), format!("data: {expected}"));
    }
    // A change of the object itself is none of theirs.
    world.post(&tenant, r#"{"objectType":"Voyage","key":1,"operation":"U","new":{"key":1}}"#).await;
    let id = alerts.fire(9).await;
    for socket in &mut sockets {
        assert_eq!(socket.id().await, id);
    }
}

/// The whole way: a change, the service that runs the script over it, both gateways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_fires_reaches_both_gateways_once() {
    let Some(world) = World::start(Setup::default()) else { return };
    let tenant = world.tenant();
    save(&world, &tenant, &script("watch")).await;
    let _alerts = world.start_alerts();
    let token = world.token(&tenant, 1, &[]);
    let mut sockets =
        [open(&world, 0, "watch", &token).await, open(&world, 1, "watch", &token).await];
    let change = |comments: &str, before: &str| {
        let image = |text: &str| json!({"key": 1, "comments": text});
        json!({"objectType": "Voyage", "key": 1, "operation": "U", "new": image(comments), "old": image(before)})
            .to_string()
    };
    for number in 0..10 {
        // One that does not fire, and one that does.
        world.post(&tenant, &change("same", "same")).await;
        let id = world.post(&tenant, &change(&format!("note {number}"), "same")).await;
        for socket in &mut sockets {
            let alert = socket.json().await;
            assert_eq!(
                (&alert["id"], &alert["alert"]["message"]),
                (&id.clone().into(), &"changed".into())
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_on_the_way_to_the_other_replica() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    save(&world, &tenant, &script("watch")).await;
    let token = world.token(&tenant, 1, &[]);
    let alerts = Alerts::new(&world, &tenant, "watch");
    let mut named = session(&world, 0, &token, "session starts now").await;
    named.until_proven(&world, &tenant, 1).await;
    let v1_path = |query: &str| path(&format!("watch{query}"), "-");
    let mut v1 = V1::welcomed(V1::wish(&world, 0, &v1_path(""), &token)).await;
    let subscribed = v1.expect("subscribed").await;
    let cursor = subscribed["cursor"].as_str().unwrap().to_owned();
    let mut stream = Events::open(world.public(0), &path("watch", &token), "").await;
    let last_id = stream.block().await.unwrap();
    let last_id = last_id.strip_prefix("id: ").unwrap().to_owned();
    let seen = alerts.fire(1).await;
    assert_eq!(named.id().await, seen);
    assert_eq!(v1.expect("live").await["replayed"], 0);
    assert_eq!(v1.expect("event").await["id"], seen);
    named.close().await;
    drop((v1, stream));
    let mut owed = vec![seen];
    for number in 2..30 {
        owed.push(alerts.fire(number).await);
    }
    let last = owed.last().unwrap().clone();

    // What the session's client had not proven may come again, and then in order.
    let mut named = session(&world, 1, &token, "session resumed").await;
    let mut ids = vec![named.id().await];
    while ids.last() != Some(&last) {
        ids.push(named.id().await);
    }
    assert!(owed.ends_with(&ids) && ids.len() >= owed.len() - 1, "{ids:?}");

    let query = format!("?lastEventId={cursor}");
    let mut v1 = V1::welcomed(V1::wish(&world, 1, &v1_path(&query), &token)).await;
    assert_eq!(v1.expect("subscribed").await["cursor"], cursor);
    for id in &owed {
        assert_eq!(v1.expect("event").await["id"], *id);
    }
    assert_eq!(v1.expect("live").await["replayed"], owed.len());

    let header = format!("Last-Event-ID: {last_id}\r\n");
    let mut stream = Events::open(world.public(1), &path("watch", &token), &header).await;
    for id in &owed {
        let message = stream.message().await.unwrap();
        assert_eq!(message, format!("data: {}", alerts.expected(id, "1")));
    }
    // A cursor of the other topic is another life of this one: a gap is told, and nothing is mixed up.
    let mut objects = V1::open(&world, 0, &token).await;
    let foreign = objects.subscribe(&json!({"id": "a", "objectType": "Voyage"})).await;
    let query = format!("?lastEventId={foreign}");
    let mut v1 = V1::welcomed(V1::wish(&world, 1, &v1_path(&query), &token)).await;
    v1.expect("subscribed").await;
    assert_eq!(v1.expect("gap").await["reason"], "recreated");
    v1.expect("live").await;
    let id = alerts.fire(40).await;
    assert_eq!(v1.expect("event").await["id"], id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_outlive_redis() {
    let Some(world) = World::start(Setup { own_redis: true, ..Setup::default() }) else { return };
    let tenant = world.tenant();
    save(&world, &tenant, &script("watch")).await;
    let token = world.token(&tenant, 1, &[]);
    let alerts = Alerts::new(&world, &tenant, "watch");
    let mut before =
        [open(&world, 0, "watch", &token).await, open(&world, 1, "watch", &token).await];
    world.redis().run(&["FLUSHALL"]).unwrap();
    let mut after =
        [open(&world, 0, "watch", &token).await, open(&world, 1, "watch", &token).await];
    for gateway in [0, 1] {
        let got = api(&world, gateway, "GET /watch", &token, None).await;
        assert_eq!(got.status, 200, "{}", got.body);
    }
    for number in 1..20 {
        let id = alerts.fire(number).await;
        for socket in before.iter_mut().chain(&mut after) {
            assert_eq!(socket.id().await, id);
        }
    }
    // A replica that starts anew reads them before it is ready.
    let mut world = world;
    world.gateways[1].signal("KILL").unwrap();
    world.gateways[1].wait(Duration::from_secs(10)).unwrap();
    world.gateways[1].launch().unwrap();
    world.gateways[1].wait_until_ready().unwrap();
    let mut anew = open(&world, 1, "watch", &token).await;
    let id = alerts.fire(30).await;
    assert_eq!(anew.id().await, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn field_lists_are_about_the_object_that_fired() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    save(&world, &tenant, &script("watch")).await;
    let token = world.token(&tenant, 1, &[]);
    let alerts = Alerts::new(&world, &tenant, "watch");
    let mut url = open(&world, 0, "watch?fields=%7B%22comments%22:%22*%22%7D", &token).await;
    let mut sent = open(&world, 1, "watch", &token).await;
    sent.set_fields(r#"{"vessel":{"key":"*"},"comments":"*"}"#).await;
    let id = alerts.fire(1).await;
    let link = format!("\"key\":1,\"self\":\"{BASE}/ws/rest/Voyage/1\"");
    assert_eq!(url.text().await, alerts.expected(&id, &format!("{{{link},\"comments\":\"b\"}}")));
    let vessel = format!("\"vessel\":{{\"key\":3,\"self\":\"{BASE}/ws/rest/Vessel/3\"}}");
    let object = format!("{{{link},{vessel},\"comments\":\"b\"}}");
    assert_eq!(sent.text().await, alerts.expected(&id, &object));
    sent.say("{}").await;
    sent.say(r#"{"portName":"*"}"#).await;
    assert_eq!(sent.json().await["statusCode"], 400, "no field of a voyage");
    let id = alerts.fire(2).await;
    assert_eq!(sent.text().await, alerts.expected(&id, "1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_no_longer_subscribe_is_closed_on_both() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    save(&world, &tenant, &script("watch")).await;
    let alerts = Alerts::new(&world, &tenant, "watch");
    let (plain, desk) = (world.token(&tenant, 1, &[]), world.token(&tenant, 2, &["desk"]));
    let mut lost = [open(&world, 0, "watch", &plain).await, open(&world, 1, "watch", &plain).await];
    let mut kept = [open(&world, 0, "watch", &desk).await, open(&world, 1, "watch", &desk).await];
    save(&world, &tenant, &with("watch", "role", "desk".into())).await;
    for socket in &mut lost {
        let came = socket.next_within(Duration::from_secs(5)).await;
        assert_eq!(came, Some(Came::Close(4003, "forbidden".to_owned())));
    }
    let refused = Wish::new(world.public(1), &path("watch", &plain)).try_open().await;
    assert_eq!(refused.err(), Some(403));
    let id = alerts.fire(1).await;
    for socket in &mut kept {
        assert_eq!(socket.id().await, id);
    }
    let gone = api(&world, 1, "DELETE /watch", &author(&world, &tenant), None).await;
    assert_eq!(gone.status, 200, "{}", gone.body);
    for socket in &mut kept {
        let came = socket.next_within(Duration::from_secs(5)).await;
        assert_eq!(came, Some(Came::Close(4004, "unknown".to_owned())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_input_has_its_answer() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let (author, token) = (author(&world, &tenant), world.token(&tenant, 1, &[]));
    save(&world, &tenant, &script("watch")).await;
    for (call, token, body, status, part) in [
        ("POST ", &author, Some(script("watch")), 409, "'code' is that of another script"),
        ("POST ", &token, Some(script("b")), 403, "auth.roles.script_author"),
        ("POST ", &author, Some(json!({"name": "n"})), 400, "'code' is missing"),
        ("POST ", &author, Some(with("b", "alertScriptMessage", "?3".into())), 400, "?3"),
        ("POST ", &author, Some(with("b", "scriptBody", "1".into())), 400, "line 1"),
        (
            "POST ",
            &author,
            Some(with("b", "scriptBody", "true;\nlet = 1".into())),
            400,
            "line 2, column",
        ),
        ("PUT /b", &author, Some(script("b")), 404, "no alert script"),
        ("GET /b", &author, None, 404, "no alert script"),
        ("DELETE /b", &author, None, 404, "no alert script"),
    ] {
        let answer = api(&world, 1, call, token, body.as_ref()).await;
        assert_eq!(answer.status, status, "{call}: {}", answer.body);
        assert!(answer.body.contains(part), "{part}: {}", answer.body);
    }
    let foreign = world.token(&world.tenant(), 1, &["script-author"]);
    for (wish, token, status) in [
        ("none", &token, 404),
        ("watch", &foreign, 404),
        ("watch?onlyMainObject=true", &token, 400),
        ("watch?session=a%20b", &token, 400),
        ("watch?fields=%7B%22port%22:%22*%22%7D", &token, 400),
    ] {
        let refused = Wish::new(world.public(0), &path(wish, token)).try_open().await;
        assert_eq!(refused.err(), Some(status), "{wish}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_alert_is_a_gap_and_goes_to_quarantine() {
    let Some(world) = World::start(Setup::default()) else { return };
    let tenant = world.tenant();
    save(&world, &tenant, &script("watch")).await;
    let token = world.token(&tenant, 1, &[]);
    let alerts = Alerts::new(&world, &tenant, "watch");
    let mut sockets =
        [open(&world, 0, "watch", &token).await, open(&world, 1, "watch", &token).await];
    let key = format!("{tenant}/DLPAlertScript/watch");
    // A key that nobody can read, a header that nobody can, and a body that is none of an alert.
    alerts.producer.sound("no key", "1;U;;full", IMAGES).await;
    alerts.producer.sound(&key, "1;X;;full", IMAGES).await;
    alerts.producer.sound(&key, "1;U;;full", IMAGES).await;
    let id = alerts.fire(1).await;
    for socket in &mut sockets {
        let gap = socket.json().await;
        assert_eq!((&gap["statusCode"], &gap["message"]), (&410.into(), &"gap".into()));
        assert_eq!(socket.id().await, id);
    }
    let (bootstrap, topic) = (world.bootstrap(), world.quarantine.clone());
    let seen =
        tokio::task::spawn_blocking(move || read_all(&bootstrap, &topic, 1, 6)).await.unwrap();
    let mut copies: HashMap<&str, u32> = HashMap::new();
    for record in &seen {
        *copies.entry(record.key.as_str()).or_default() += 1;
    }
    for offset in 0..3 {
        let name = format!("{}/0/{offset}", world.alerts);
        assert_eq!(copies.get(name.as_str()), Some(&2), "{copies:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_alerts_the_setting_is_named() {
    let setup = Setup {
        gateway: vec![("gateway.alerts", "false".to_owned())],
        // A topic that is not there is none that is missed.
        common: vec![("kafka.alerts_topic", "nowhere".to_owned())],
        ..Setup::default()
    };
    let Some(world) = World::start(setup) else { return };
    let tenant = world.tenant();
    let author = author(&world, &tenant);
    let answer = api(&world, 0, "GET ", &author, None).await;
    assert!(answer.status == 404 && answer.body.contains("gateway.alerts"), "{}", answer.body);
    let refused = Wish::new(world.public(0), &path("watch", &author)).try_open().await;
    assert_eq!(refused.err(), Some(404));
}
