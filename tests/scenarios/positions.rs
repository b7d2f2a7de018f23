//! Positions of named sessions: moved by nothing but a pong, kept while the store lives, put back when it
//! forgot them.

use std::time::Duration;

use serde_json::Value;

use crate::support::mute::Mute;
use crate::support::socket::{Socket, Wish};
use crate::support::{Setup, World, object_path, wait_until};

const WISH: &str = "Voyage/U/1?session=bridge";
const LIMIT: Duration = Duration::from_secs(20);

async fn post(world: &World, tenant: &str) -> String {
    let change = r#"{"objectType":"Voyage","key":1,"operation":"U","new":{"key":1}}"#;
    world.post(tenant, change).await
}

fn id_of(text: &str) -> String {
    let message: Value = serde_json::from_str(text).unwrap();
    message["id"].as_str().unwrap_or_else(|| panic!("{text}")).to_owned()
}

async fn word(socket: &mut Socket, status: u16, message: &str) {
    let word = socket.json().await;
    assert_eq!((&word["statusCode"], &word["message"]), (&status.into(), &message.into()));
}

/// Opens the session; the first frame has this message.
async fn mute(world: &World, gateway: usize, path: &str, message: &str) -> Mute {
    let mut socket = Mute::open(world.public(gateway), path).await;
    let (first, _) = socket.text().await;
    assert!(first.contains(&format!("\"message\":\"{message}\"")), "{first}");
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_but_a_pong_moves_a_position() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let path = object_path(WISH, &world.token(&tenant, 1, &[]));
    let mut first = mute(&world, 0, &path, "session starts now").await;
    let told = first.ping().await;
    first.pong(&told).await;
    wait_until("the client was told", LIMIT, || world.proven(&tenant) == 1).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(post(&world, &tenant).await);
        assert_eq!(id_of(&first.text().await.0), ids[ids.len() - 1], "received, and not proven");
    }
    // Pongs that nobody asked for prove nothing.
    let asked = first.ping().await;
    assert_eq!(asked.len(), 9);
    for forged in [&b"hello"[..], &[], &[b'b'; 9], &[&asked[..8], &[asked[8] ^ 1]].concat()] {
        first.pong(forged).await;
    }
    let before = world.positions(&tenant);
    assert_eq!(before.len(), 1);
    drop(first);
    // The other replica begins with the first frame that was not proven.
    let mut second = mute(&world, 1, &path, "session resumed").await;
    for id in &ids {
        assert_eq!(&id_of(&second.text().await.0), id);
    }
    // The pings behind them: their pongs prove them, and nothing that was written after those.
    let mut asked = vec![second.ping().await];
    let late = post(&world, &tenant).await;
    let (text, more) = second.text().await;
    assert_eq!(id_of(&text), late);
    asked.extend(more);
    for payload in asked {
        second.pong(&payload).await;
    }
    let moved = || world.positions(&tenant) != before;
    wait_until("the position is written", LIMIT, moved).await;
    drop(second);
    let mut third = mute(&world, 0, &path, "session resumed").await;
    assert_eq!(id_of(&third.text().await.0), late, "neither less nor more than was proven");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_nobody_proved_is_told_again() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let path = object_path(WISH, &world.token(&tenant, 1, &[]));
    // Whether it came nobody knows; so the next one says so too, and leaves nothing out.
    let first = mute(&world, 0, &path, "session starts now").await;
    let seen = post(&world, &tenant).await;
    drop(first);
    let missed = post(&world, &tenant).await;
    let mut second = mute(&world, 1, &path, "session starts now").await;
    for id in [seen, missed] {
        assert_eq!(id_of(&second.text().await.0), id);
    }
    assert_eq!(world.proven(&tenant), 0);
    let answering = async {
        loop {
            let asked = second.ping().await;
            second.pong(&asked).await;
        }
    };
    tokio::select! {
        () = answering => {}
        () = wait_until("the client was told", LIMIT, || world.proven(&tenant) == 1) => {}
    }
    drop(second);
    mute(&world, 0, &path, "session resumed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_forgets() {
    let setup = Setup { own_redis: true, ..Setup::default() };
    let Some(world) = World::start(setup) else { return };
    let tenant = world.tenant();
    let deck = "Voyage/U/1?session=deck";
    // While nobody is connected: the session is lost, and that is said.
    for forget in [
        &["FLUSHALL"][..],
        &[
            "EVAL",
            "for _,k in ipairs(redis.call('KEYS','*session*')) do redis.call('PEXPIRE',k,1) end",
            "0",
        ],
    ] {
        let mut socket = world.open(0, &tenant, deck).await;
        word(&mut socket, 410, "session starts now").await;
        socket.set_fields(r#"{"comments":"*"}"#).await;
        socket.close().await;
        world.until_saved(&tenant, "comments", 1).await;
        // Its release is the last that is written.
        let released = || world.gateways[0].metric("tidewire_sessions_held").unwrap() == 0.0;
        wait_until("the session is given up", LIMIT, released).await;
        world.redis().run(forget).unwrap();
        let gone = || world.positions(&tenant).is_empty();
        wait_until("the session is gone", LIMIT, gone).await;
        post(&world, &tenant).await;
        let mut socket = world.open(1, &tenant, deck).await;
        word(&mut socket, 410, "session starts now").await;
        let id = post(&world, &tenant).await;
        assert_eq!(socket.json().await["dataloyObject"], 1, "the field list is lost, too: {id}");
        // Or else it is given up before the replica has taken notice of it, and put back once more.
        let held = || world.gateways[1].metric("tidewire_sessions_held").unwrap() == 1.0;
        wait_until("the session is held", LIMIT, held).await;
        world.redis().run(&["FLUSHALL"]).unwrap();
        socket.close().await;
        wait_until("all is given up", LIMIT, || {
            world.gateways[1].metric("tidewire_sessions_held").unwrap() == 0.0
        })
        .await;
        world.redis().run(&["FLUSHALL"]).unwrap();
    }
    // While its client is connected: the replica puts it back, whole.
    let mut socket = world.open(0, &tenant, WISH).await;
    word(&mut socket, 410, "session starts now").await;
    socket.until_proven(&world, &tenant, 1).await;
    socket.set_fields(r#"{"comments":"*"}"#).await;
    world.until_saved(&tenant, "comments", 1).await;
    world.redis().run(&["FLUSHALL"]).unwrap();
    world.until_saved(&tenant, "comments", 1).await;
    assert!(world.positions(&tenant).iter().all(|position| !position.is_empty()));
    let id = post(&world, &tenant).await;
    assert!(socket.json().await["dataloyObject"].is_object(), "it never noticed");
    drop(socket);
    let missed = post(&world, &tenant).await;
    let mut socket = world.open(1, &tenant, WISH).await;
    word(&mut socket, 200, "session resumed").await;
    let mut came = vec![socket.json().await];
    while came[came.len() - 1]["id"] != missed.as_str() {
        came.push(socket.json().await);
    }
    assert!(came.iter().all(|message| message["dataloyObject"].is_object()), "{came:?}");
    assert!(came.len() <= 2 && (came.len() == 1 || came[0]["id"] == id.as_str()), "{came:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_hangs_keeps_what_it_had() {
    let setup = Setup { own_redis: true, ..Setup::default() };
    let Some(world) = World::start(setup) else { return };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let mut socket = world.open_as(0, WISH, &token).await;
    word(&mut socket, 410, "session starts now").await;
    socket.until_proven(&world, &tenant, 1).await;
    socket.set_fields(r#"{"comments":"*"}"#).await;
    world.until_saved(&tenant, "comments", 1).await;
    drop(socket);
    let missed = post(&world, &tenant).await;
    world.redis().freeze().unwrap();
    // Live from here, and nothing of before.
    let mut live = Wish::new(world.public(1), &object_path(WISH, &token)).open().await;
    word(&mut live, 503, "session not available").await;
    let during = post(&world, &tenant).await;
    let message = live.json().await;
    assert_eq!((&message["id"], &message["dataloyObject"]), (&during.clone().into(), &1.into()));
    world.redis().thaw().unwrap();
    for gateway in &world.gateways {
        wait_until("the store is back", LIMIT, || {
            gateway.metric("tidewire_store_available").unwrap() == 1.0
        })
        .await;
    }
    // What came on a socket without its session does not count for the session.
    live.close().await;
    let mut socket = world.open_as(1, WISH, &token).await;
    word(&mut socket, 200, "session resumed").await;
    for id in [missed, during] {
        let message = socket.json().await;
        assert_eq!(message["id"], id.as_str());
        assert!(message["dataloyObject"].is_object(), "by the list of the session: {message}");
    }
}
