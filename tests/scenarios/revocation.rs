//! Who is connected, kick and revoke: in every mode, on every replica, by the admin API and the command line.

use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tidewire_testkit::http::{Response, request};
use tidewire_testkit::service::{Service, binary};

use crate::support::socket::{Socket, Wish};
use crate::support::stream::Events;
use crate::support::{Setup, World, ask, object_path};

const WISH: &str = "Voyage/*/1";
const CHANGE: &str = r#"{"objectType":"Voyage","key":1,"operation":"U","new":{"key":1}}"#;
/// On all replicas, from the answer to whoever revoked.
const PROMISED: Duration = Duration::from_secs(2);

/// Runs the command line against some gateways; standard output, or what it complained about.
async fn tidewire(
    gateways: &[&Service],
    token: &str,
    arguments: &[&str],
) -> Result<String, String> {
    let mut command = Command::new(binary("tidewire").unwrap());
    command.args(arguments).env_clear().env("TIDEWIRE_TOKEN", token).current_dir("/");
    for gateway in gateways {
        command.args(["--gateway", &format!("http://{}", gateway.public())]);
    }
    let run = move || command.output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

async fn v1(world: &World, gateway: usize, token: &str) -> (Socket, String) {
    let path = "/ws/v1";
    let protocols = format!("tidewire.v1, bearer.{token}");
    let wish = Wish::new(world.public(gateway), path);
    let mut socket = wish.header("Sec-WebSocket-Protocol", &protocols).open().await;
    let welcome = socket.json().await;
    assert_eq!(welcome["type"], "welcome", "{welcome}");
    let id = welcome["connection"].as_str().unwrap().to_owned();
    socket.say(r#"{"type":"subscribe","id":"a","objectType":"Voyage","keys":[1]}"#).await;
    while socket.json().await["type"] != "subscribed" {}
    (socket, id)
}

/// The close that comes, whatever comes before it.
async fn closed(socket: &mut Socket) -> (u16, String) {
    use crate::support::socket::Came;
    loop {
        match socket.next().await {
            Came::Close(code, reason) => return (code, reason),
            Came::Text(_) => {}
            Came::End => panic!("ended without a close"),
        }
    }
}

/// What a handshake with a token is told.
async fn refused(world: &World, gateway: usize, token: &str) -> Response {
    let headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    ask(world.public(gateway), "GET", &object_path(WISH, token), &headers).await
}

async fn revoke(gateway: &Service, order: Value) -> Response {
    let (address, body) = (gateway.internal(), order.to_string());
    let post = move || {
        let path = "/api/v1/admin/revocations";
        request(address, "POST", path, &[("Host", "localhost")], body.as_bytes()).unwrap()
    };
    tokio::task::spawn_blocking(post).await.unwrap()
}

fn id_of(token: &str) -> String {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_of_every_mode_are_listed_kicked_and_revoked_on_every_replica() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let (one, two) = (world.token(&tenant, 1, &[]), world.token(&tenant, 2, &[]));
    let admin = world.token(&tenant, 9, &["admin"]);
    let gateways = [&world.gateways[0], &world.gateways[1]];
    let mut plain = world.open_as(0, WISH, &one).await;
    let mut other = world.open_as(1, WISH, &two).await;
    let (mut modern, name) = v1(&world, 1, &one).await;
    let bearer = format!("Authorization: Bearer {one}\r\n");
    let mut events = Events::open(world.public(1), &object_path(WISH, "-"), &bearer).await;

    let listed = tidewire(&gateways, &admin, &["sessions", "list", "--json"]).await.unwrap();
    let listed: Vec<Value> = listed.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let mut modes: Vec<&str> = listed.iter().map(|one| one["mode"].as_str().unwrap()).collect();
    modes.sort_unstable();
    assert_eq!(modes, ["sse", "tidewire.v1", "vms", "vms"], "{listed:?}");
    assert!(listed.iter().all(|one| one["tenant"] == tenant.as_str()), "{listed:?}");
    let own = listed.iter().find(|one| one["mode"] == "tidewire.v1").unwrap();
    assert_eq!(own["id"], name.as_str(), "what 'welcome' said");
    assert_eq!(own["subscriptions"][0]["path"], "Voyage/CUD/1");
    let table = tidewire(&gateways, &admin, &["sessions", "list"]).await.unwrap();
    assert!(table.contains(&name) && table.starts_with("ID "), "{table}");
    let user = tidewire(&gateways, &two, &["sessions", "list"]).await.unwrap_err();
    assert!(user.contains("403 administrators only"), "{user}");

    // A kick, asked of the other replica.
    tidewire(&gateways[..1], &admin, &["sessions", "kick", &name]).await.unwrap();
    assert_eq!(closed(&mut modern).await.0, 4200);
    let (mut modern, name) = v1(&world, 1, &one).await;

    // A token that is renewed in-band is held against revocations, too.
    let renewed = world.token(&tenant, 1, &[]);
    let arguments = ["revoke", "token", &id_of(&renewed), "--for", "1h"];
    // Of the replica that holds the socket: it answers once it knows.
    tidewire(&gateways[1..], &admin, &arguments).await.unwrap();
    modern.say(&json!({"type":"token","token":renewed}).to_string()).await;
    let mut told = modern.json().await;
    while told["type"] != "error" {
        told = modern.json().await;
    }
    assert_eq!(told["message"], "Token revoked.", "{told}");

    let arguments = ["revoke", "principal", "user:1", "--reason", "left the company"];
    let said = tidewire(&gateways[..1], &admin, &arguments).await.unwrap();
    assert!(said.starts_with("revoked: principal user:1 of tenant "), "{said}");
    let since = Instant::now();
    assert_eq!(closed(&mut plain).await, (4011, "revoked".to_owned()));
    assert_eq!(closed(&mut modern).await, (4011, "revoked".to_owned()));
    while events.block().await.is_some() {}
    assert!(since.elapsed() < PROMISED, "{:?}", since.elapsed());
    for gateway in [0, 1] {
        let answer = refused(&world, gateway, &one).await;
        assert_eq!(answer.status, 401, "{}", answer.body);
        assert!(answer.body.contains(r#""message":"Token revoked.""#), "{}", answer.body);
    }
    let wish = format!("{WISH}?refuse=close");
    let mut told = world.open_as(0, &wish, &one).await;
    assert!(told.text().await.contains("Token revoked."));
    assert_eq!(told.closed().await.0, 4001);
    let id = world.post(&tenant, CHANGE).await;
    assert_eq!(other.id().await, id, "nobody else was touched");

    let log: String = gateways.iter().map(|gateway| gateway.log()).collect();
    let audit = |part: &str| {
        let lines = log.lines().filter(|line| line.contains("an administrator acted"));
        lines.filter(|line| line.contains(&tenant) && line.contains(part)).count()
    };
    assert_eq!(audit("left the company"), 1, "an audit line for each act");
    assert_eq!(audit(&name) + audit("revoke"), 2);

    let list = tidewire(&gateways[1..], &admin, &["revoke", "list"]).await.unwrap();
    assert!(list.contains("left the company"), "{list}");
    let lift = ["revoke", "lift", "principal", "user:1"];
    tidewire(&gateways[1..], &admin, &lift).await.unwrap();
    let again = tidewire(&gateways[1..], &admin, &lift).await.unwrap_err();
    assert!(again.contains("404 no such revocation"), "{again}");
    let mut plain = world.open_as(1, WISH, &one).await;
    let id = world.post(&tenant, CHANGE).await;
    assert_eq!(plain.until(&id).await["id"], id.as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_starts_knows_and_none_forgets_while_kafka_is_away() {
    let common = vec![("capture.write_timeout", "2s".to_owned())];
    // A broker may take longer to come back than a client that is not read may leave a ping unanswered.
    let gateway = vec![("gateway.ping_interval", "10m".to_owned())];
    let setup = Setup { own_kafka: true, common, gateway, ..Setup::default() };
    let Some(mut world) = World::start(setup) else { return };
    let tenant = world.tenant();
    let (one, two) = (world.token(&tenant, 1, &[]), world.token(&tenant, 2, &[]));
    let mut first = world.open_as(1, WISH, &one).await;
    world.gateways[1].kill();
    let order = json!({"kind":"token","id":id_of(&one),"tenant":tenant});
    let answer = revoke(&world.gateways[0], order).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(matches!(first.next().await, crate::support::socket::Came::End));
    world.gateways[1].launch().unwrap();
    world.gateways[1].wait_until_ready().unwrap();
    assert_eq!(refused(&world, 1, &one).await.status, 401);
    let mut second = world.open_as(1, WISH, &two).await;

    world.kafka.as_mut().unwrap().stop(0).unwrap();
    for gateway in [0, 1] {
        assert_eq!(refused(&world, gateway, &one).await.status, 401);
    }
    let order = json!({"kind":"tenant","tenant":tenant});
    let answer = revoke(&world.gateways[0], order.clone()).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.header("retry-after").is_some());
    world.kafka.as_mut().unwrap().restart(0).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while revoke(&world.gateways[0], order.clone()).await.status != 200 {
        assert!(Instant::now() < until, "kafka takes records again");
    }
    assert_eq!(closed(&mut second).await, (4011, "revoked".to_owned()));
    for gateway in [0, 1] {
        assert_eq!(refused(&world, gateway, &two).await.status, 401);
    }
}
