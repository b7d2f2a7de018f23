//! Every refusal before the upgrade (section 4): status, body, headers; and the same as a close for browsers,
//! which cannot see a refused handshake.

use serde_json::Value;

use crate::support::socket::Wish;
use crate::support::{Setup, World, ask, object_path};
use tidewire_testkit::http::Response;

const UPGRADE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

fn assert_documented(answer: &Response, method: &str, status: u16, text: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    let documented =
        ["statusCode", "statusText", "message", "date", "statusFamily", "method", "uri"];
    assert_eq!(members, documented);
    assert_eq!(body["statusCode"], status);
    assert_eq!(body["statusText"], text);
    let family = if status < 500 { "CLIENT_ERROR" } else { "SERVER_ERROR" };
    assert_eq!(body["statusFamily"], family);
    assert_eq!(body["method"], method);
    let date = body["date"].as_str().unwrap();
    assert!(date.len() == 19 && date.as_bytes()[10] == b'T', "{date}");
    body
}

/// What follows `/ws/rest/WebSocketObjectSubscription/`, with `TOKEN` for the token; the status, what the
/// message holds, and the close code that says the same.
const ROWS: &[(&str, u16, &str, &str, u16)] = &[
    ("Voyage/U", 400, "Bad Request", "expected 4", 4000),
    ("Voyage/U/1", 400, "Bad Request", "expected 4", 4000),
    ("Voyage/U/1/TOKEN/x", 400, "Bad Request", "expected 4", 4000),
    ("Voyage/X/1/TOKEN", 400, "Bad Request", "event type \"X\" is unknown", 4000),
    ("Voyage/C,X/1/TOKEN", 400, "Bad Request", "event type", 4000),
    ("Voyage/U/x/TOKEN", 400, "Bad Request", "not an integer", 4000),
    ("Voyage/U/-1/TOKEN", 400, "Bad Request", "not an integer", 4000),
    ("Voyage/U/1.0/TOKEN", 400, "Bad Request", "not an integer", 4000),
    ("Voyage/U/9007199254740992/TOKEN", 400, "Bad Request", "9007199254740991", 4000),
    ("Voyage/U/1,*/TOKEN", 400, "Bad Request", "stands alone", 4000),
    ("Voyage/U/1%zz/TOKEN", 400, "Bad Request", "the key", 4000),
    ("Voyage/U/1/TOKEN?sesion=x", 400, "Bad Request", "the nearest known is 'session'", 4000),
    ("Voyage/U/1/TOKEN?session=a%20b", 400, "Bad Request", "'session' expects", 4000),
    ("Voyage/U/1/TOKEN?session=a&session=b", 400, "Bad Request", "given twice", 4000),
    ("Voyage/U/1/TOKEN?onlyMainObject=yes", 400, "Bad Request", "'true' or 'false'", 4000),
    ("Voyage/U/1/TOKEN?fields=%7B%22x%22", 400, "Bad Request", "is not JSON", 4000),
    ("Voyage/U/1/TOKEN?fields=%7B%22coments%22:%22*%22%7D", 400, "Bad Request", "'comments'", 4000),
    ("Voyage/U/1/TOKEN?filter=key%20%3D%201", 400, "Bad Request", "filter", 4000),
    ("Voyage/U/1/", 401, "Unauthorized", "token missing", 4001),
    ("Voyage/U/1/-", 401, "Unauthorized", "", 4001),
    ("Voyage/U/1/nonsense", 401, "Unauthorized", "", 4001),
    ("Voyagee/U/1/TOKEN", 404, "Not Found", "did you mean Voyage?", 4004),
    ("voyage/U/1/TOKEN", 404, "Not Found", "unknown", 4004),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_in_both_forms() {
    let Some(world) = World::shared() else { return };
    let token = world.token(&world.tenant(), 1, &[]);
    for (rest, status, text, part, code) in ROWS {
        let redacted =
            |full: &str| full.replace(&token, "-").replace("nonsense", "-").replace("1%zz", "-");
        let path =
            format!("/ws/rest/WebSocketObjectSubscription/{}", rest.replace("TOKEN", &token));
        let answer = ask(world.public(0), "GET", &path, &UPGRADE).await;
        let body = assert_documented(&answer, "GET", *status, text);
        assert!(body["message"].as_str().unwrap().contains(part), "{rest}: {body}");
        let uri = body["uri"].as_str().unwrap();
        // A path of the wrong length shows no more than it has to; a name that is no parameter no value.
        if !part.contains("expected 4") && !part.contains("nearest known is 'session'") {
            assert_eq!(uri, redacted(&path), "{rest}");
        }
        assert!(!answer.body.contains(&token), "{rest}");

        let mark = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{mark}refuse=close");
        let mut socket = Wish::new(world.public(1), &path).open().await;
        let frame = socket.json().await;
        assert_eq!(frame["statusCode"], *status, "{rest}: {frame}");
        assert_eq!(frame["message"], body["message"], "{rest}");
        let names = [(4000, "bad-request"), (4001, "token-invalid"), (4004, "unknown")];
        let name = names.iter().find(|(number, _)| number == code).unwrap().1;
        assert_eq!(socket.closed().await, (*code, name.to_owned()), "{rest}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_handshake_is_told_what_is_missing() {
    let Some(world) = World::shared() else { return };
    let token = world.token(&world.tenant(), 1, &[]);
    let path = object_path("Voyage/U/1", &token);
    for (headers, missing) in [
        (&[][..], "Upgrade: websocket"),
        (&UPGRADE[1..], "Connection: Upgrade"),
        (&[UPGRADE[0], UPGRADE[1], UPGRADE[3]], "Sec-WebSocket-Version: 13"),
        (&UPGRADE[..3], "Sec-WebSocket-Key"),
    ] {
        let answer = ask(world.public(0), "GET", &path, headers).await;
        let body = assert_documented(&answer, "GET", 426, "Upgrade Required");
        assert!(body["message"].as_str().unwrap().contains(missing), "{missing}: {body}");
        assert_eq!(answer.header("upgrade"), Some("websocket"));
        assert_eq!(answer.header("sec-websocket-version"), Some("13"));
    }
    let answer = ask(world.public(0), "POST", &path, &UPGRADE).await;
    assert_documented(&answer, "POST", 405, "Method Not Allowed");
    assert!(answer.header("allow").unwrap().contains("GET"));
    for path in ["/nothing", "/ws/rest/WebSocketObjectSubscriptions/Voyage/U/1/x", "/"] {
        let answer = ask(world.public(0), "GET", path, &UPGRADE).await;
        assert_documented(&answer, "GET", 404, "Not Found");
    }
    for path in [format!("/ws/rest/WebSocketAlertScript/NONE/{token}"), "/ws/v1".to_owned()] {
        let answer = ask(world.public(0), "GET", &path, &UPGRADE).await;
        assert!([404, 101].contains(&answer.status), "{path}: {}", answer.body);
        assert!(!answer.body.contains(&token));
    }
    // The target of `self` links is another host here.
    let answer = ask(world.public(0), "GET", "/ws/rest/Voyage/7", &[]).await;
    assert_eq!(answer.status, 307);
    assert_eq!(answer.header("location"), Some("https://vms.example.com/ws/rest/Voyage/7"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn origins_and_cors() {
    let allowed = ("http.allowed_origins", r#"["https://app.example.com"]"#.to_owned());
    let Some(world) = World::start(Setup { gateway: vec![allowed], ..Setup::default() }) else {
        return;
    };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let path = object_path("Voyage/U/1", &token);
    let own = format!("http://{}", world.public(0));
    for (origin, opens) in [
        ("https://app.example.com", true),
        (own.as_str(), true),
        ("https://app.example.com.evil.example", false),
        ("http://app.example.com", false),
        ("http://localhost:3000", false),
        ("null", false),
    ] {
        let opened = Wish::new(world.public(0), &path).header("Origin", origin).try_open().await;
        assert_eq!(opened.as_ref().err(), if opens { None } else { Some(&403) }, "{origin}");
        if !opens {
            let mut headers = UPGRADE.to_vec();
            headers.push(("Origin", origin));
            let answer = ask(world.public(0), "GET", &path, &headers).await;
            let body = assert_documented(&answer, "GET", 403, "Forbidden");
            assert_eq!(body["message"], "origin not allowed");
            let log = world.gateways[0].log();
            let line = log.lines().rfind(|line| line.contains("http.allowed_origins"));
            assert!(line.is_some_and(|line| line.contains(origin)), "{origin} in {line:?}");
        }
    }
    // The same list answers CORS, for tickets and for event streams.
    let bearer = format!("Bearer {token}");
    let asked = |origin: &'static str, method: &'static str| {
        let bearer = bearer.clone();
        let address = world.public(0);
        async move {
            let preflight = ("Access-Control-Request-Method", "POST");
            let headers = [("Origin", origin), ("Authorization", bearer.as_str()), preflight];
            let count = if method == "OPTIONS" { 3 } else { 2 };
            ask(address, method, "/api/v1/tickets", &headers[..count]).await
        }
    };
    let preflight = asked("https://app.example.com", "OPTIONS").await;
    assert_eq!(preflight.status, 204, "{}", preflight.body);
    for (name, value) in [
        ("access-control-allow-origin", "https://app.example.com"),
        ("access-control-allow-headers", "authorization"),
        ("access-control-allow-methods", "POST"),
    ] {
        assert!(preflight.header(name).is_some_and(|own| own.contains(value)), "{preflight:?}");
    }
    let answer = asked("https://app.example.com", "POST").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(answer.header("vary"), Some("origin"));
    assert_eq!(asked("https://evil.example", "POST").await.status, 403);
    assert_eq!(
        asked("https://evil.example", "OPTIONS").await.header("access-control-allow-origin"),
        None
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caps_answer_429_and_give_places_back() {
    let setup = Setup {
        gateway: vec![
            ("http.connections_per_principal_max", "2".to_owned()),
            ("http.connections_per_tenant_max", "3".to_owned()),
            ("http.connections_per_address_max", "8".to_owned()),
        ],
        ..Setup::default()
    };
    let Some(world) = World::start(setup) else { return };
    let tenant = world.tenant();
    let path = |user: u64| object_path("Voyage/U/1", &world.token(&tenant, user, &[]));
    let full = |user: u64| {
        let (path, address) = (path(user), world.public(0));
        async move {
            let answer = ask(address, "GET", &path, &UPGRADE).await;
            let body = assert_documented(&answer, "GET", 429, "Too Many Requests");
            assert!(answer.header("retry-after").is_some_and(|s| s.parse::<u32>().is_ok()));
            body["message"].as_str().unwrap().to_owned()
        }
    };
    let one = Wish::new(world.public(0), &path(1)).open().await;
    let two = Wish::new(world.public(0), &path(1)).open().await;
    assert!(full(1).await.contains("user"), "the principal has two");
    let three = Wish::new(world.public(0), &path(2)).open().await;
    assert!(full(2).await.contains("tenant"), "the tenant has three");
    let mut refused = Wish::new(world.public(0), &format!("{}?refuse=close", path(2))).open().await;
    assert_eq!(refused.json().await["statusCode"], 429);
    assert_eq!(refused.closed().await, (4102, "over-limit".to_owned()));
    drop(refused);
    one.close().await;
    let mut again = Err(429);
    for _ in 0..100 {
        again = Wish::new(world.public(0), &path(2)).try_open().await;
        if again.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(again.is_ok(), "a place was given back");
    // The address has eight in all.
    let mut others = Vec::new();
    let mut status = None;
    for _ in 0..12 {
        let token = world.token(&world.tenant(), 1, &[]);
        match Wish::new(world.public(0), &object_path("Voyage/U/1", &token)).try_open().await {
            Ok(socket) => others.push(socket),
            Err(refused) => status = status.or(Some(refused)),
        }
    }
    assert_eq!(status, Some(429), "of twelve more, {} came in", others.len());
    drop((two, three));
}
