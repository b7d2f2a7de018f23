//! Tokens and tickets: every place where one may stand, every reason to refuse one, and the end of a socket
//! whose token is over (sections 1 and 5).

use std::time::Duration;

use serde_json::{Value, json};
use tidewire_auth::unix_now;
use tidewire_testkit::http::{Response, request};

use crate::support::keys::{Rsa, serve, token};
use crate::support::socket::{Came, Wish};
use crate::support::{AUDIENCE, ISSUER, Setup, World, ask, object_path};

const WISH: &str = "Voyage/*/1";
const CHANGE: &str = r#"{"objectType":"Voyage","key":1,"operation":"U","new":{"key":1}}"#;

/// A handshake that is refused tells why; one that is not is not made.
async fn refused(world: &World, gateway: usize, token: &str, headers: &[(&str, &str)]) -> Response {
    let path = object_path(WISH, token);
    let mut all = vec![
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    all.extend_from_slice(headers);
    ask(world.public(gateway), "GET", &path, &all).await
}

async fn ticket(world: &World, gateway: usize, token: &str) -> Response {
    let (address, bearer) = (world.public(gateway), format!("Bearer {token}"));
    let asked = move || {
        request(address, "POST", "/api/v1/tickets", &[("Authorization", bearer.as_str())], b"")
    };
    let answer = tokio::task::spawn_blocking(asked).await.unwrap().unwrap();
    if let Ok(body) = serde_json::from_str::<Value>(&answer.body)
        && let Some(ticket) = body["ticket"].as_str()
    {
        world.keep_secret(ticket);
    }
    answer
}

fn ticket_of(answer: &Response) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["expiresIn"], 60, "{}", answer.body);
    body["ticket"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_place_where_a_token_may_stand() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let bearer = format!("Bearer {token}");
    let protocols = format!("vms, bearer.{token}");
    let in_path = world.open_as(0, WISH, &token).await;
    assert_eq!(in_path.protocol, None);
    let elsewhere = || Wish::new(world.public(1), &object_path(WISH, "-"));
    let in_header = elsewhere().header("Authorization", &bearer).open().await;
    let offered = elsewhere().header("Sec-WebSocket-Protocol", &protocols).open().await;
    assert_eq!(offered.protocol.as_deref(), Some("vms"), "the token is not echoed");
    let mut sockets = vec![in_path, in_header, offered];
    // A ticket stands wherever a token stands, is redeemed by either replica, and only once.
    let mut used = Vec::new();
    for place in 0..4 {
        let ticket = ticket_of(&ticket(&world, place % 2, &token).await);
        let opened = match place {
            0 => world.open_as(1, WISH, &ticket).await,
            1 => elsewhere().header("Authorization", &format!("Bearer {ticket}")).open().await,
            2 => {
                let protocols = format!("bearer.{ticket}, vms");
                elsewhere().header("Sec-WebSocket-Protocol", &protocols).open().await
            }
            _ => {
                let path = object_path(&format!("{WISH}?ticket={ticket}"), "-");
                Wish::new(world.public(0), &path).open().await
            }
        };
        sockets.push(opened);
        used.push(ticket);
    }
    for ticket in used {
        for gateway in [0, 1] {
            let answer = refused(&world, gateway, &ticket, &[]).await;
            assert_eq!(answer.status, 401, "a ticket is good once: {}", answer.body);
        }
    }
    let id = world.post(&tenant, CHANGE).await;
    for socket in &mut sockets {
        assert_eq!(socket.id().await, id);
    }
    let answer = ticket(&world, 0, "no.such.token").await;
    assert_eq!(answer.status, 401, "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_tokens_are_refused_and_say_why() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let secret = std::fs::read(world.secret_file()).unwrap();
    let good = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "exp": unix_now() + 600, "tenant": tenant,
    });
    let with = |changes: Value| {
        let mut claims = good.clone();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => claims.as_object_mut().unwrap().remove(name),
                value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
        claims
    };
    let hs = json!({"alg":"HS256","typ":"JWT"});
    let signed = |claims: &Value| token(&hs, claims, Some(&secret));
    // The good one is good, so each row is refused for its own reason alone.
    world.open_as(0, WISH, &signed(&good)).await.close().await;
    let sound = signed(&good);
    let (head, signature) = sound.rsplit_once('.').unwrap();
    let other = token(&hs, &with(json!({"tenant":"elsewhere"})), Some(b"another secret"));
    let stolen = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
    for (token, message) in [
        (signed(&with(json!({"exp": unix_now() - 60}))), "Token expired."),
        (signed(&with(json!({"nbf": unix_now() + 600}))), "Token not valid yet."),
        (signed(&with(json!({"aud": "somebody-else"}))), "Token audience not accepted."),
        (signed(&with(json!({"iss": "https://evil.example/"}))), "Token issuer not accepted."),
        (
            signed(&with(json!({"exp": null}))),
            "Token lacks a required claim or holds a malformed one.",
        ),
        (
            signed(&with(json!({"tenant": null}))),
            "Token names no tenant that its issuer may speak for.",
        ),
        (token(&hs, &good, Some(b"another secret")), "Token signature not accepted."),
        (token(&json!({"alg":"none"}), &good, None), ""),
        (token(&json!({"alg":"RS256"}), &good, Some(&secret)), "Token signature not accepted."),
        (token(&json!({"alg":"HS512"}), &good, Some(&secret)), ""),
        (stolen, "Token signature not accepted."),
        (head.to_owned(), ""),
        ("nonsense".to_owned(), ""),
        (String::new(), "token missing"),
    ] {
        world.keep_secret(&token);
        let answer = refused(&world, 0, &token, &[]).await;
        assert_eq!(answer.status, 401, "{message}: {}", answer.body);
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert!(body["message"].as_str().unwrap().starts_with(message), "{message}: {body}");
        let shown = body["uri"].as_str().unwrap();
        assert!(
            shown == "/ws/rest/WebSocketObjectSubscription/Voyage/*/1/-"
                || token.is_empty() && shown.ends_with("/Voyage/*/1/"),
            "{shown}"
        );
    }
    let answer = refused(&world, 0, "-", &[]).await;
    assert_eq!(answer.status, 401, "{}", answer.body);
    for headers in [
        [("Authorization", "Basic YTpi")],
        [("Authorization", "Bearer")],
        [("Sec-WebSocket-Protocol", "vms")],
    ] {
        let answer = refused(&world, 0, "-", &headers).await;
        assert_eq!(answer.status, 401, "{headers:?}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_ends_with_its_token() {
    let setup = Setup { common: vec![("auth.leeway", "0s".to_owned())], ..Setup::default() };
    let Some(world) = World::start(setup) else { return };
    let tenant = world.tenant();
    let short = world.mint(&tenant, 1, &[], |claims| claims.ttl_seconds = 3);
    let exp = unix_now() + 3;
    let mut socket = world.open_as(0, WISH, &short).await;
    let mut lasting = world.open(0, &tenant, WISH).await;
    assert_eq!(socket.closed().await, (4201, "token-expired".to_owned()));
    let late = unix_now() - exp;
    assert!((0..=2).contains(&late), "closed {late} s after exp");
    let answer = refused(&world, 0, &short, &[]).await;
    assert_eq!(answer.status, 401, "also where it is remembered: {}", answer.body);
    let id = world.post(&tenant, CHANGE).await;
    assert_eq!(lasting.id().await, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_sets_issuers_and_the_table_of_what_tokens_lack() {
    let (north, south) = (Rsa::new(), Rsa::new());
    let keys = |key: &Rsa, kid: &str| {
        let body = json!({"keys": [key.jwk(kid)]}).to_string();
        format!("http://{}/keys", serve("application/json", body))
    };
    let issuers = format!(
        "[{{issuer='https://north.example/',audiences=['ws','other'],jwks_url='{}'}},\
          {{issuer='https://south.example/',audiences=['ws'],jwks_url='{}',tenants=['south']}}]",
        keys(&north, "n1"),
        keys(&south, "s1"),
    );
    let mapping = "[{issuer='https://north.example/',sub='anna',tenant='acme',user=7},\
                    {issuer='https://north.example/',azp='agent',tenant='acme',roles=['producer']}]";
    let setup = Setup {
        common: vec![("auth.issuers", issuers), ("auth.mapping", mapping.to_owned())],
        gateway: vec![("auth.path_token", "false".to_owned())],
        ..Setup::default()
    };
    let Some(world) = World::start(setup) else { return };
    let exp = unix_now() + 600;
    let north_claims = |rest: Value| {
        let mut claims = json!({"iss":"https://north.example/","aud":["x","ws"],"exp":exp});
        claims.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        claims
    };
    let south_claims = |tenant: &str| json!({"iss":"https://south.example/","aud":"ws","exp":exp,"sub":"bo","tenant":tenant});
    let header = |token: &str| format!("Bearer {token}");
    let open = |token: String| {
        world.keep_secret(&token);
        Wish::new(world.public(0), &object_path(WISH, "-")).header("Authorization", &header(&token))
    };
    let anna = open(north.sign("n1", &north_claims(json!({"sub":"anna"})))).open().await;
    let agent = north.sign("n1", &north_claims(json!({"sub":"x","azp":"agent"})));
    let by_agent = open(agent.clone()).open().await;
    let own = open(north.sign("n1", &north_claims(json!({"sub":"anna","tenant":"beta"}))));
    let mut own = own.open().await;
    let mut southern = open(south.sign("s1", &south_claims("south"))).open().await;
    // The table gives the agent the role of a producer, too.
    let (address, bearer) = (world.capture.public(), header(&agent));
    let posted = tokio::task::spawn_blocking(move || {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        request(address, "POST", "/api/v1/changes", &headers, CHANGE.as_bytes()).unwrap()
    })
    .await
    .unwrap();
    assert_eq!(posted.status, 200, "{}", posted.body);
    let posted: Value = serde_json::from_str(&posted.body).unwrap();
    for mut socket in [anna, by_agent] {
        assert_eq!(socket.id().await, posted["id"].as_str().unwrap());
    }
    for (tenant, socket) in [("beta", &mut own), ("south", &mut southern)] {
        let id = world.post(tenant, CHANGE).await;
        assert_eq!(socket.id().await, id, "{tenant}");
    }
    let secret = std::fs::read(world.secret_file()).unwrap();
    let confused = json!({"alg":"HS256","kid":"n1"});
    for (token, why) in [
        (north.sign("n1", &north_claims(json!({"sub":"bert"}))), "no tenant for this subject"),
        (south.sign("s1", &south_claims("acme")), "a tenant it may not speak for"),
        (south.sign("s1", &north_claims(json!({"sub":"anna"}))), "another issuer's key"),
        (south.sign("n1", &north_claims(json!({"sub":"anna"}))), "another key under this id"),
        (token(&confused, &north_claims(json!({"sub":"anna"})), Some(&secret)), "a secret"),
        (north.sign("n9", &north_claims(json!({"sub":"anna"}))), "a key that does not exist"),
    ] {
        let status = open(token).try_open().await.err();
        assert_eq!(status, Some(401), "{why}");
    }
    // The path form is off here; a ticket may stand there all the same.
    let good = world.token("acme", 1, &[]);
    let answer = refused(&world, 1, &good, &[]).await;
    assert_eq!(answer.status, 401);
    assert!(answer.body.contains("tokens are not taken from the path here"), "{}", answer.body);
    let one = ticket_of(&ticket(&world, 1, &good).await);
    world.open_as(0, WISH, &one).await.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_in_any_log_even_at_trace() {
    let setup = Setup { common: vec![("log.level", "trace".to_owned())], ..Setup::default() };
    let Some(mut world) = World::start(setup) else { return };
    let tenant = world.tenant();
    let good = world.token(&tenant, 1, &["producer"]);
    let expired = world.mint(&tenant, 1, &[], |claims| claims.ttl_seconds = -60);
    let mut socket = world.open_as(0, "Voyage/*/1?session=s", &good).await;
    for wish in [
        "Voyage/*/1",
        "Voyagee/*/1",
        "Voyage/X/1",
        "Voyage/*",
        "Voyage/*/1/2",
        "Voyage/*/1?fields=%7B",
        "Voyage/*/1?nonsense=1",
        "Voyage/*/1?refuse=close&x=y",
    ] {
        for token in [&good, &expired] {
            let wish = Wish::new(world.public(0), &object_path(wish, token));
            if let Ok(mut socket) = wish.try_open().await {
                while matches!(
                    socket.next_within(Duration::from_millis(200)).await,
                    Some(Came::Text(_))
                ) {}
            }
        }
    }
    for path in [
        format!("/api/v1/tickets?token={good}"),
        format!("/ws/rest/Voyage/{good}"),
        format!("/{good}"),
        format!("/ws/rest/WebSocketAlertScript/X/{good}"),
        format!("/ws/rest/WebSocketObjectSubscription/{good}"),
        format!("/ws/v1?token={good}"),
    ] {
        let bearer = format!("Bearer {good}");
        for address in [world.public(0), world.capture.public()] {
            for method in ["GET", "POST", "DELETE"] {
                ask(address, method, &path, &[("Authorization", &bearer)]).await;
            }
        }
    }
    ticket(&world, 0, &good).await;
    world.post(&tenant, CHANGE).await;
    socket.say(&format!("{{\"{good}\":\"*\"}}")).await;
    socket.close().await;
    let refused = world.gateways[0].log().matches("a socket was refused").count();
    assert!(refused >= 14, "refusals are logged at this level: {refused}");
    for service in world.gateways.iter_mut().chain([&mut world.capture]) {
        service.signal("TERM").unwrap();
        assert_eq!(service.wait(Duration::from_secs(15)).unwrap(), Some(0));
    }
    world.assert_no_token_logged();
}
