//! A gateway that is told to stop: unready at once, no new sockets, the open ones closed over the window with
//! a hint, and gone before the grace period. Its clients go on at the other replica.

use std::time::{Duration, Instant};

use crate::support::socket::{Came, Wish};
use crate::support::{Setup, World, ask, object_path, wait_until};

const CHANGE: &str = r#"{"objectType":"Voyage","key":1,"operation":"U","new":{"key":1}}"#;
const SOCKETS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_go_on_at_the_other_replica() {
    let setup =
        Setup { gateway: vec![("gateway.drain_retry", "200ms".to_owned())], ..Setup::default() };
    let Some(mut world) = World::start(setup) else { return };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let mut sockets = Vec::new();
    for number in 0..SOCKETS {
        let wish = format!("Voyage/U/1?session=s{number}");
        let mut socket = world.open_as(0, &wish, &token).await;
        assert_eq!(socket.json().await["statusCode"], 410);
        socket.set_fields(r#"{"comments":"*"}"#).await;
        sockets.push(socket);
    }
    world.until_saved(&tenant, "comments", SOCKETS).await;
    world.gateways[0].signal("TERM").unwrap();
    let since = Instant::now();
    wait_until("unready at once", Duration::from_secs(1), || {
        world.gateways[0].health().is_ok_and(|answer| answer.status == 503)
    })
    .await;
    assert!(world.gateways[0].health().unwrap().body.contains("draining"));
    let live = ask(world.gateways[0].internal(), "GET", "/health/live", &[]).await;
    assert_eq!(live.status, 200, "it lives, and must not be killed");
    // Nobody new comes in.
    let path = object_path("Voyage/U/1", &token);
    assert_eq!(Wish::new(world.public(0), &path).try_open().await.err(), Some(503));
    let refused = ask(
        world.public(0),
        "GET",
        &path,
        &[
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ],
    )
    .await;
    assert_eq!((refused.status, refused.header("retry-after").is_some()), (503, true));
    let mut closing = Wish::new(world.public(0), &format!("{path}?refuse=close")).open().await;
    assert_eq!(closing.json().await["statusCode"], 503);
    assert_eq!(closing.closed().await, (4103, "unavailable".to_owned()));
    drop(closing);
    // A change on the way out still reaches those who are still here.
    for (number, mut socket) in sockets.into_iter().enumerate() {
        let (code, reason) = loop {
            match socket.next().await {
                Came::Text(_) => {}
                Came::Close(code, reason) => break (code, reason),
                Came::End => panic!("socket {number} ended without a word"),
            }
        };
        assert_eq!(code, 1012, "{reason}");
        let retry = reason.strip_prefix("retry in ").and_then(|rest| rest.strip_suffix(" ms"));
        let retry: u64 = retry.and_then(|ms| ms.parse().ok()).unwrap_or_else(|| panic!("{reason}"));
        assert!((200..=400).contains(&retry), "{reason}");
        if number % 5 == 0 {
            let wish = format!("Voyage/U/1?session=s{number}");
            let mut again = world.open_as(1, &wish, &token).await;
            let word = again.json().await;
            assert_eq!(word["message"], "session resumed", "{word}");
            let id = world.post(&tenant, CHANGE).await;
            let message = again.until(&id).await;
            assert!(message["dataloyObject"].is_object(), "the field list is there: {message}");
        }
    }
    assert_eq!(world.gateways[0].wait(Duration::from_secs(15)).unwrap(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(20), "window 2 s, grace far away");
    // Its place is taken by a new process.
    world.gateways[0].launch().unwrap();
    world.gateways[0].wait_until_ready().unwrap();
    let mut socket = world.open_as(0, "Voyage/U/1", &token).await;
    let id = world.post(&tenant, CHANGE).await;
    assert_eq!(socket.id().await, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_killed_takes_nobody_with_it() {
    let Some(mut world) = World::start(Setup::default()) else { return };
    let tenant = world.tenant();
    let mut lost = world.open(0, &tenant, "Voyage/U/1?session=bridge").await;
    assert_eq!(lost.json().await["statusCode"], 410);
    lost.set_fields(r#"{"comments":"*"}"#).await;
    let mut other = world.open(1, &tenant, "Voyage/U/1").await;
    world.until_saved(&tenant, "comments", 1).await;
    world.gateways[0].kill();
    assert_eq!(lost.next().await, Came::End);
    let missed = world.post(&tenant, CHANGE).await;
    let mut again = world.open(1, &tenant, "Voyage/U/1?session=bridge").await;
    let word = again.json().await;
    assert_eq!(word["message"], "session resumed", "{word}");
    let id = world.post(&tenant, CHANGE).await;
    assert_eq!([other.id().await, other.id().await], [missed.clone(), id.clone()]);
    assert_eq!(again.id().await, missed);
    let message = again.json().await;
    assert_eq!(message["id"], id.as_str());
    assert!(message["dataloyObject"].is_object(), "the field list is there: {message}");
    assert_eq!(world.capture.health().unwrap().status, 200);
}
