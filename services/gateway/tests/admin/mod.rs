//! Who is connected, kick and revoke, over two replicas and one control topic.

mod held;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tidewire_auth::unix_now;
use tidewire_event::Tenant;
use tidewire_kafka::{Reader, StartAt, Writer};
use tidewire_log::{LogEvent, LogReader as _, LogWriter as _};
use tidewire_rights::{Action, Revocation, Target, TargetKind};
use tidewire_runtime::{Shutdown, Tasks};
use tidewire_store::Store;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use self::held::HeldStore;
use super::{Replica, Socket, Surroundings, record};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request with a body, if there is one; status and body of the answer.
pub(crate) async fn call(
    address: SocketAddr,
    request: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> (u16, Value) {
    let (status, body) = exchange(address, "localhost", request, token, body).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

async fn exchange(
    address: SocketAddr,
    host: &str,
    request: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> (u16, String) {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let head = format!(
        "{request} HTTP/1.1\r\nHost: {host}\r\n{}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        token.unwrap_or_default(),
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

async fn try_open(replica: &Replica, token: &str) -> Result<Socket, u16> {
    let path = "/ws/rest/WebSocketObjectSubscription/PortCall/U/1,2";
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let url = format!("ws://{}{path}/{token}?session=desk-{number}", replica.public);
    match tokio_tungstenite::connect_async(url).await {
        Ok((mut socket, _)) => {
            // The frame about the session comes first.
            socket.next().await.unwrap().unwrap();
            Ok(socket)
        }
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

async fn open(replica: &Replica, token: &str) -> Socket {
    try_open(replica, token).await.unwrap()
}

/// The close code of a socket that gets nothing else any more.
pub(crate) async fn closed(socket: &mut Socket) -> (u16, String) {
    loop {
        let came = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
        if let Message::Close(frame) = came.unwrap().unwrap() {
            let frame = frame.unwrap();
            return (u16::from(frame.code), frame.reason.to_string());
        }
    }
}

/// Proves that a socket is open: what it asks is answered.
pub(crate) async fn is_open(socket: &mut Socket) {
    socket.send(Message::Ping("still there".into())).await.unwrap();
    loop {
        let came = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
        match came.unwrap().unwrap() {
            Message::Pong(_) => return,
            Message::Close(frame) => panic!("closed: {frame:?}"),
            _ => {}
        }
    }
}

const REVOKED: (u16, &str) = (4011, "revoked");

#[tokio::test]
async fn sessions_are_listed_kicked_and_revoked_on_every_replica() {
    let tasks = Tasks::new(Shutdown::new());
    let world = Surroundings::new();
    let (a, b) = (Replica::start(&world, &tasks).await, Replica::start(&world, &tasks).await);
    let admin = world.token("demo", 9, |claims| claims.roles = vec!["admin".into()]);
    let admin = Some(admin.as_str());
    let (one, two) = (world.token("demo", 1, |_| {}), world.token("demo", 2, |_| {}));
    let foreign = world.token("other", 1, |_| {});
    let (mut one_a, mut one_b) = (open(&a, &one).await, open(&b, &one).await);
    let (mut two_b, mut foreign_a) = (open(&b, &two).await, open(&a, &foreign).await);

    // Who is connected.
    let (status, page) = call(a.public, "GET /api/v1/admin/sessions", admin, None).await;
    assert_eq!((status, &page["total"]), (200, &json!(1)), "{page}");
    let listed = &page["sessions"][0];
    assert_eq!(listed["principal"], "user:1");
    assert_eq!(listed["mode"], "vms");
    assert_eq!(listed["subscriptions"][0]["path"], "PortCall/U/1,2");
    assert_eq!(listed["address"], "127.0.0.1");
    assert!(listed["session"].as_str().unwrap().starts_with("desk-"), "{listed}");
    assert!(!page.to_string().contains(&one), "no token is shown");
    let (_, all) = call(a.internal, "GET /api/v1/admin/sessions", None, None).await;
    assert_eq!(all["total"], 2, "{all}");
    let (_, page) = call(a.internal, "GET /api/v1/admin/sessions?limit=1", None, None).await;
    let next = format!("GET /api/v1/admin/sessions?after={}", page["next"].as_str().unwrap());
    let (_, rest) = call(a.internal, &next, None, None).await;
    assert_eq!((&rest["total"], &rest["next"]), (&json!(1), &Value::Null), "{rest}");
    let (_, on_b) =
        call(b.public, "GET /api/v1/admin/sessions?principal=user:1", admin, None).await;
    let name = on_b["sessions"][0]["id"].as_str().unwrap().to_owned();

    // A kick by its name, asked of the other replica: it may come back.
    let order = json!({"kind":"socket","id":name,"reason":"moves desk"});
    let (status, kicked) = call(a.public, "POST /api/v1/admin/kicks", admin, Some(order)).await;
    assert_eq!((status, &kicked["by"]), (200, &json!("demo/user:9")), "{kicked}");
    let (code, reason) = closed(&mut one_b).await;
    assert_eq!(code, 1012);
    assert!(reason.starts_with("retry in "), "{reason}");
    let mut one_b = open(&b, &one).await;
    is_open(&mut one_a).await;

    // A revocation of a user: all replicas, all his tokens of before, a ticket too.
    let ticket = call(a.public, "POST /api/v1/tickets", Some(&one), None).await.1;
    let ticket = ticket["ticket"].as_str().unwrap();
    let order = json!({"kind":"principal","id":"user:1","seconds":600});
    let (status, done) = call(a.public, "POST /api/v1/admin/revocations", admin, Some(order)).await;
    assert_eq!(status, 200, "{done}");
    for socket in [&mut one_a, &mut one_b] {
        let (code, reason) = closed(socket).await;
        assert_eq!((code, reason.as_str()), REVOKED);
    }
    for replica in [&a, &b] {
        for token in [&one, ticket] {
            assert_eq!(try_open(replica, token).await.err(), Some(401));
        }
    }
    let (status, refused) = call(b.public, "POST /api/v1/tickets", Some(&one), None).await;
    assert_eq!((status, &refused["message"]), (401, &json!("Token revoked.")), "{refused}");
    let renewed = world.token("demo", 1, |claims| claims.issued_at += 5);
    is_open(&mut open(&b, &renewed).await).await;
    is_open(&mut two_b).await;
    is_open(&mut foreign_a).await;

    // It can be seen and lifted, on either replica.
    let (_, list) = call(b.public, "GET /api/v1/admin/revocations", admin, None).await;
    assert_eq!(list["revocations"], json!([done]));
    let lift = "DELETE /api/v1/admin/revocations/principal/user%3A1";
    assert_eq!(call(a.public, lift, admin, None).await, (200, json!({"lifted":1})));
    assert_eq!(call(a.public, lift, admin, None).await.0, 404);
    is_open(&mut open(&a, &one).await).await;

    // What a socket rests on is its token; a tenant is all that was issued before.
    let (_, on_b) =
        call(b.public, "GET /api/v1/admin/sessions?principal=user:2", admin, None).await;
    let order = json!({"kind":"socket","id":on_b["sessions"][0]["id"]});
    let revoke = "POST /api/v1/admin/revocations";
    assert_eq!(call(a.public, revoke, admin, Some(order.clone())).await.0, 404, "not open there");
    let (status, done) = call(b.public, revoke, admin, Some(order)).await;
    assert_eq!((status, &done["kind"]), (200, &json!("token")), "{done}");
    assert_eq!(closed(&mut two_b).await.0, REVOKED.0);
    let other = world.token("demo", 2, |_| {});
    is_open(&mut open(&a, &other).await).await;
    let order = json!({"kind":"tenant","tenant":"other"});
    assert_eq!(call(a.internal, revoke, None, Some(order)).await.0, 200);
    assert_eq!(closed(&mut foreign_a).await.0, REVOKED.0);

    // A replica that starts now knows it all before it is ready.
    let late = Replica::start(&world, &tasks).await;
    for token in [&two, &foreign] {
        assert_eq!(try_open(&late, token).await.err(), Some(401));
    }
    is_open(&mut open(&late, &other).await).await;
    for replica in [a, b, late] {
        replica.gateway.stop();
    }
}

#[tokio::test]
async fn who_may_administer() {
    let tasks = Tasks::new(Shutdown::new());
    let world = Surroundings::new();
    let replica = Replica::start(&world, &tasks).await;
    let (public, internal) = (replica.public, replica.internal);
    let admin = world.token("demo", 9, |claims| claims.roles = vec!["admin".into()]);
    let user = world.token("demo", 1, |claims| claims.roles = vec!["producer".into()]);
    let (admin, user) = (Some(admin.as_str()), Some(user.as_str()));
    let list = "GET /api/v1/admin/sessions";
    let of = |tenant: &str| json!({"kind":"tenant","tenant":tenant});
    let (kick, revoke) = ("POST /api/v1/admin/kicks", "POST /api/v1/admin/revocations");
    for (address, request, token, body, expected) in [
        (public, list, None, None, 401),
        (public, list, Some("x.y.z"), None, 401),
        (public, list, user, None, 403),
        (public, list, admin, None, 200),
        (public, "GET /api/v1/admin/sessions?tenant=demo", admin, None, 200),
        (public, "GET /api/v1/admin/sessions?tenant=other", admin, None, 403),
        (public, "GET /api/v1/admin/sessions?limit=0", admin, None, 400),
        (public, "GET /api/v1/admin/sessions?after=x", admin, None, 400),
        (public, "GET /api/v1/admin/sessions?what=x", admin, None, 400),
        (public, "GET /api/v1/admin/revocations", user, None, 403),
        (public, kick, user, Some(of("demo")), 403),
        (public, kick, admin, Some(of("other")), 403),
        (public, revoke, admin, Some(of("other")), 403),
        (public, kick, admin, Some(json!({})), 400),
        (public, kick, admin, Some(json!({"kind":"planet","id":"x"})), 400),
        (public, kick, admin, Some(json!({"kind":"token"})), 400),
        (public, kick, admin, Some(json!({"kind":"token","id":"x","seconds":5})), 400),
        (public, kick, admin, Some(json!({"kind":"token","id":"x","more":5})), 400),
        (public, revoke, admin, Some(json!({"kind":"token","id":"x","seconds":0})), 400),
        (public, revoke, admin, Some(json!({"kind":"token","id":"a\nb"})), 400),
        (public, revoke, admin, Some(json!({"kind":"tenant","id":"other"})), 400),
        (public, "DELETE /api/v1/admin/revocations/token/x", admin, None, 404),
        (public, "DELETE /api/v1/admin/revocations/planet/x", admin, None, 400),
        (public, "DELETE /api/v1/admin/revocations", admin, None, 405),
        (internal, list, None, None, 200),
        (internal, list, user, None, 403),
        (internal, list, Some("x.y.z"), None, 401),
        (internal, "GET /api/v1/admin/sessions?tenant=other", admin, None, 200),
        (internal, kick, None, Some(json!({"kind":"tenant"})), 400),
        (internal, kick, None, Some(of("demo")), 200),
        (internal, kick, admin, Some(of("other")), 200),
    ] {
        let (status, answer) = call(address, request, token, body.clone()).await;
        assert_eq!(status, expected, "{request} {body:?}: {answer}");
        if status >= 400 {
            assert_eq!(answer["statusCode"], status, "the documented shape: {answer}");
        }
    }
    // A page under another name that leads here.
    let (status, answer) = exchange(internal, "evil.example:8081", list, None, None).await;
    assert_eq!(status, 401, "{answer}");
    replica.gateway.stop();
}

#[tokio::test]
async fn what_is_long_over_is_cleared_away() {
    let tasks = Tasks::new(Shutdown::new());
    let world = Surroundings::new();
    let writer = Writer::start(&world.broker.options(), "control").unwrap();
    let tenant = Tenant::new("demo").unwrap();
    let target = Target::new(Action::Revoke, tenant, TargetKind::Token, "t").unwrap();
    let at = unix_now() - 4000;
    let over = Revocation { target, at, until: at + 60, by: String::new(), reason: String::new() };
    let young = Revocation { at: at + 1, until: unix_now() + 600, ..over.clone() };
    for one in [&over, &young] {
        writer.write(record(&one.key(), "", &one.value())).await.unwrap();
    }
    let replica = Replica::start(&world, &tasks).await;
    let mut reader = Reader::start(&world.broker.options(), "control", StartAt::Earliest).unwrap();
    let mut cleared = Vec::new();
    let until = Instant::now() + PATIENCE;
    while cleared.is_empty() {
        assert!(Instant::now() < until, "no tombstone came");
        tokio::time::sleep(Duration::from_millis(10)).await;
        reader.drain(100, &mut |event| {
            if let LogEvent::Record(record) = event
                && record.payload.is_none()
            {
                cleared.push(String::from_utf8(record.key.unwrap().to_vec()).unwrap());
            }
        });
    }
    assert_eq!(cleared, [over.key()]);
    let (_, list) = call(replica.internal, "GET /api/v1/admin/revocations", None, None).await;
    assert_eq!(list["total"], 1, "{list}");
    replica.gateway.stop();
}

#[tokio::test]
async fn a_bad_record_is_skipped() {
    let tasks = Tasks::new(Shutdown::new());
    let world = Surroundings::new();
    let writer = Writer::start(&world.broker.options(), "control").unwrap();
    for key in ["demo/revocation/token/x/1", "demo/kick", "demo/rule/7", "%%%"] {
        writer.write(record(key, "", "no JSON")).await.unwrap();
    }
    let replica = Replica::start(&world, &tasks).await;
    let token = world.token("demo", 1, |_| {});
    let mut socket = open(&replica, &token).await;
    let order = json!({"kind":"tenant","tenant":"demo"});
    let revoke = "POST /api/v1/admin/revocations";
    assert_eq!(call(replica.internal, revoke, None, Some(order)).await.0, 200);
    assert_eq!(closed(&mut socket).await.0, REVOKED.0);
    let lines = [
        "tidewire_control_records_total{outcome=\"bad\"} 3",
        "tidewire_control_records_total{outcome=\"other\"} 1",
        "tidewire_control_records_total{outcome=\"applied\"} 1",
        "tidewire_revocations 1",
        "tidewire_connections_closed_total{code=\"4011\"} 1",
    ];
    // A socket may be closed before all of that is counted.
    let until = Instant::now() + PATIENCE;
    loop {
        let (_, metrics) = exchange(replica.internal, "x", "GET /metrics", None, None).await;
        let missing = lines.iter().find(|line| !metrics.contains(**line));
        let Some(line) = missing else { break };
        assert!(Instant::now() < until, "{line} in\n{metrics}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    replica.gateway.stop();
}

#[tokio::test]
async fn a_revocation_between_the_look_at_a_token_and_the_registration_is_seen() {
    let tasks = Tasks::new(Shutdown::new());
    let store = HeldStore::new();
    let world = Surroundings { store: Arc::clone(&store) as Arc<dyn Store>, ..Surroundings::new() };
    let replica = Replica::start(&world, &tasks).await;
    let token = world.token("demo", 1, |_| {});
    let act = async {
        store.came.acquire().await.unwrap().forget();
        let order = json!({"kind":"tenant","tenant":"demo"});
        let revoke = "POST /api/v1/admin/revocations";
        assert_eq!(call(replica.internal, revoke, None, Some(order)).await.0, 200);
        store.go_on.add_permits(1);
    };
    let (opened, ()) = tokio::join!(try_open(&replica, &token), act);
    assert_eq!(opened.err(), Some(401));
    replica.gateway.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_socket_slips_through_while_it_is_being_registered() {
    const SOCKETS: usize = 60;
    let tasks = Tasks::new(Shutdown::new());
    let world = Surroundings::new();
    let replica = Replica::start(&world, &tasks).await;
    let token = world.token("demo", 1, |_| {});
    let opens = join_all((0..SOCKETS).map(|_| try_open(&replica, &token)));
    let order = json!({"kind":"principal","id":"user:1","tenant":"demo"});
    let revoke = call(replica.internal, "POST /api/v1/admin/revocations", None, Some(order));
    let (opened, (status, _)) = tokio::join!(opens, revoke);
    assert_eq!(status, 200);
    for mut socket in opened.into_iter().flatten() {
        assert_eq!(closed(&mut socket).await.0, REVOKED.0);
    }
    let (_, left) = call(replica.internal, "GET /api/v1/admin/sessions", None, None).await;
    assert_eq!(left["total"], 0, "{left}");
    assert_eq!(try_open(&replica, &token).await.err(), Some(401));
    replica.gateway.stop();
}
