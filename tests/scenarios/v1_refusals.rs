//! What `tidewire.v1` refuses, with the socket open or never; and tokens that are renewed on the open socket.

use serde_json::json;
use tidewire_auth::unix_now;

use crate::support::socket::Wish;
use crate::support::v1::V1;
use crate::support::{Setup, World};

fn update(kind: &str) -> String {
    format!(r#"{{"objectType":"{kind}","key":1,"operation":"U","new":{{"key":1}}}}"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_renewed_on_the_open_socket() {
    let setup = Setup { common: vec![("auth.leeway", "0s".to_owned())], ..Setup::default() };
    let Some(world) = World::start(setup) else { return };
    let tenant = world.tenant();
    let short = world.mint(&tenant, 1, &[], |claims| claims.ttl_seconds = 8);
    let exp = unix_now() + 8;
    let mut v1 = V1::open(&world, 0, &short).await;
    let mut unrenewed = V1::open(&world, 1, &short).await;
    for v1 in [&mut v1, &mut unrenewed] {
        v1.say(&json!({"type":"subscribe","id":"a","objectType":"Voyage"})).await;
        // The warning is due from the start, and may come before, between and behind the answers.
        let mut words = Vec::new();
        while words.len() < 3 {
            let word = v1.word().await;
            if word["type"] == "tokenExpiring" {
                let left = word["inMs"].as_u64().unwrap();
                assert!((1..=8000).contains(&left), "{left}");
            }
            words.push(word["type"].as_str().unwrap().to_owned());
        }
        words.retain(|word| word != "tokenExpiring");
        assert_eq!(words, ["subscribed", "live"]);
    }
    let expired = world.mint(&tenant, 1, &[], |claims| claims.ttl_seconds = -60);
    for (token, status, part) in [
        (world.token(&tenant, 2, &[]), 403, "another tenant or user"),
        (world.token(&world.tenant(), 1, &[]), 403, "another tenant or user"),
        (expired, 401, "Token expired."),
        ("nonsense".to_owned(), 401, ""),
        ("a b".to_owned(), 401, "malformed"),
    ] {
        v1.say(&json!({"type":"token","token":token})).await;
        assert_eq!(v1.refused(status, part).await, None);
    }
    let good = world.mint(&tenant, 1, &[], |claims| claims.ttl_seconds = 3600);
    v1.say(&json!({"type":"token","token":good})).await;
    let accepted = v1.expect("tokenAccepted").await;
    let until = accepted["expiresAt"].as_str().unwrap();
    assert!(until.len() == 19 && until.contains('T'), "{until}");
    assert_eq!(unrenewed.closed().await, (4201, "token-expired".to_owned()));
    assert!(unix_now() >= exp);
    let id = world.post(&tenant, &update("Voyage")).await;
    assert_eq!(v1.expect("event").await["id"], id.as_str(), "it outlives its first token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_may_read_less_ends_what_it_may_not() {
    let setup = Setup {
        gateway: vec![
            ("rights.default", "deny".to_owned()),
            ("rights.read.BOTH", r#"["Voyage","Vessel"]"#.to_owned()),
            ("rights.read.ONE", r#"["Voyage"]"#.to_owned()),
        ],
        ..Setup::default()
    };
    let Some(world) = World::start(setup) else { return };
    let tenant = world.tenant();
    let mut v1 = V1::open(&world, 0, &world.token(&tenant, 1, &["BOTH"])).await;
    for (id, kind) in [("voyages", "Voyage"), ("vessels", "Vessel"), ("all", "*")] {
        v1.subscribe(&json!({"id":id,"objectType":kind})).await;
        v1.expect("live").await;
    }
    v1.say(&json!({"type":"token","token":world.token(&tenant, 1, &["ONE"])})).await;
    let (mut told, mut gaps) = (Vec::new(), Vec::new());
    while told.len() < 2 || gaps.len() < 2 {
        let word = v1.word().await;
        match word["type"].as_str().unwrap() {
            "tokenAccepted" => told.push("accepted".to_owned()),
            "error" => {
                assert_eq!(word["statusCode"], 403, "{word}");
                told.push(word["sub"].as_str().unwrap().to_owned());
            }
            "gap" => {
                assert_eq!(word["reason"], "rights");
                gaps.push(word["sub"].as_str().unwrap().to_owned());
            }
            _ => panic!("{word}"),
        }
    }
    told.sort_unstable();
    gaps.sort_unstable();
    assert_eq!(
        (told, gaps),
        (vec!["accepted".into(), "vessels".into()], vec!["all".into(), "voyages".into()])
    );
    world.post(&tenant, &update("Vessel")).await;
    let id = world.post(&tenant, &update("Voyage")).await;
    for _ in 0..2 {
        assert_eq!(v1.expect("event").await["id"], id.as_str(), "no vessel any more");
    }
    v1.say(&json!({"type":"subscribe","id":"more","objectType":"Vessel"})).await;
    assert_eq!(v1.refused(403, "Vessel is not allowed").await.as_deref(), Some("more"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_messages_are_answered_and_the_socket_stays_open() {
    let limit = ("gateway.subscriptions_per_connection_max", "3".to_owned());
    let Some(world) = World::start(Setup { gateway: vec![limit], ..Setup::default() }) else {
        return;
    };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let mut v1 = V1::open(&world, 0, &token).await;
    let cursor = v1.subscribe(&json!({"id":"a","objectType":"Voyage"})).await;
    v1.expect("live").await;
    let mut forged = cursor.clone().into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let subscribe = |rest: &str| format!(r#"{{"type":"subscribe","id":"x"{rest}}}"#);
    let rows: Vec<(String, u16, &str, Option<&str>)> = vec![
        ("nonsense".to_owned(), 400, "", None),
        ("[1]".to_owned(), 400, "", None),
        ("{}".to_owned(), 400, "'type'", None),
        (r#"{"type":7}"#.to_owned(), 400, "type", None),
        (r#"{"type":"subscibe"}"#.to_owned(), 400, "the nearest known is 'subscribe'", None),
        (r#"{"type":"ping","x":1}"#.to_owned(), 400, "has no member", None),
        (r#"{"type":"await","id":"7"}"#.to_owned(), 400, "the id of a change", None),
        (r#"{"type":"unsubscribe","id":"x"}"#.to_owned(), 404, "no subscription 'x'", Some("x")),
        (
            r#"{"type":"fields","id":"x","fields":{}}"#.to_owned(),
            404,
            "no subscription 'x'",
            Some("x"),
        ),
        (r#"{"type":"subscribe","id":"a b","objectType":"Voyage"}"#.to_owned(), 400, "'id'", None),
        (
            r#"{"type":"subscribe","id":"a","objectType":"Voyage"}"#.to_owned(),
            400,
            "'a' exists already",
            Some("a"),
        ),
        (subscribe(""), 400, "'objectType'", Some("x")),
        (subscribe(r#","objectType":"Voyagee""#), 404, "did you mean Voyage?", Some("x")),
        (subscribe(r#","objectType":"Voyage","events":"X""#), 400, "event type", Some("x")),
        (subscribe(r#","objectType":"Voyage","keys":[]"#), 400, "keys", Some("x")),
        (subscribe(r#","objectType":"Voyage","keys":["one"]"#), 400, "", Some("x")),
        (subscribe(r#","objectType":"Voyage","keys":1.5"#), 400, "", Some("x")),
        (
            subscribe(r#","objectType":"Voyage","fields":{"coments":"*"}"#),
            400,
            "'comments'",
            Some("x"),
        ),
        (subscribe(r#","objectType":"Voyage","filter":"key = 1""#), 400, "filter", Some("x")),
        (subscribe(r#","objectType":"Voyage","from":"yesterday""#), 400, "cursor", Some("x")),
        (
            subscribe(&format!(r#","objectType":"Voyage","from":"{forged}""#)),
            400,
            "cursor",
            Some("x"),
        ),
        (subscribe(r#","objectType":"Voyage","onSlow":"wait""#), 400, "onSlow", Some("x")),
        (subscribe(r#","objectType":"Voyage","snapshot":null"#), 400, "snapshot", Some("x")),
        (subscribe(r#","objectType":"Voyage","snapshott":true"#), 400, "'snapshot'", Some("x")),
    ];
    for (message, status, part, sub) in &rows {
        v1.socket.say(message).await;
        let named = v1.refused(*status, part).await;
        assert_eq!(named.as_deref(), *sub, "{message}");
    }
    // Keep-alives of old clients are no mistake.
    for nothing in ["", "ping"] {
        v1.socket.say(nothing).await;
    }
    for id in ["b", "c"] {
        v1.subscribe(&json!({"id":id,"objectType":"Vessel"})).await;
        v1.expect("live").await;
    }
    v1.say(&json!({"type":"subscribe","id":"d","objectType":"Port"})).await;
    assert_eq!(v1.refused(429, "at most 3 subscriptions").await.as_deref(), Some("d"));
    v1.say(&json!({"type":"unsubscribe","id":"c"})).await;
    v1.expect("unsubscribed").await;
    v1.subscribe(&json!({"id":"d","objectType":"Port"})).await;
    v1.expect("live").await;
    let id = world.post(&tenant, &update("Voyage")).await;
    assert_eq!(v1.expect("event").await["id"], id.as_str(), "nothing of that changed anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_is_an_accepted_upgrade() {
    let Some(world) = World::shared() else { return };
    let token = world.token(&world.tenant(), 1, &[]);
    let both = format!("tidewire.v1, bearer.{token}");
    let vms = format!("vms, bearer.{token}");
    let long = format!("/ws/v1?lastEventId={}", "A".repeat(60));
    for (path, protocols, status, code) in [
        ("/ws/v1", "tidewire.v1", 401, 4001),
        ("/ws/v1", "tidewire.v1, bearer.nonsense", 401, 4001),
        ("/ws/v1?session=a", &*both, 400, 4000),
        ("/ws/v1?fields=%7B%7D", &*both, 400, 4000),
        (&*long, &*both, 400, 4000),
        ("/ws/v1", &*vms, 400, 4000),
        ("/ws/rest/WebSocketObjectSubscription/Voyagee/U/1/-", &*both, 404, 4004),
        ("/ws/rest/WebSocketObjectSubscription/Voyage/U/1/-?lastEventId=x", &*both, 400, 4000),
        ("/ws/rest/WebSocketObjectSubscription/Voyage/U/1/-?session=a", &*both, 400, 4000),
    ] {
        let wish = Wish::new(world.public(0), path).header("Sec-WebSocket-Protocol", protocols);
        let mut socket = wish.open().await;
        let told = socket.json().await;
        assert_eq!(
            (&told["type"], &told["statusCode"]),
            (&"error".into(), &status.into()),
            "{path} {told}"
        );
        assert_eq!(socket.closed().await.0, code, "{path}");
    }
}
