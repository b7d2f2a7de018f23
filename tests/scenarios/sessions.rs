//! Named sessions: what survives a reconnect to another replica, who may have them, and what happens while
//! the store is away.

use std::time::Duration;

use crate::support::socket::{Came, Socket};
use crate::support::{Setup, World, wait_until};

const LIST: &str = r#"{"speed":"*"}"#;

fn update(key: u64) -> String {
    format!(
        r#"{{"objectType":"PortCall","key":{key},"operation":"U","new":{{"key":{key},"speed":1.50}}}}"#
    )
}

/// The first frame of a socket that named a session.
async fn first(socket: &mut Socket, status: u64, message: &str) {
    let frame = socket.json().await;
    assert_eq!((&frame["statusCode"], &frame["message"]), (&status.into(), &message.into()));
}

/// Whether the next change comes with the selected field.
async fn shows_field(world: &World, tenant: &str, socket: &mut Socket) -> bool {
    let id = world.post(tenant, &update(1)).await;
    let message = socket.until(&id).await;
    let speed = &message["dataloyObject"]["speed"];
    assert!(speed.is_null() || serde_json::to_string(speed).unwrap() == "1.50", "{message}");
    !speed.is_null()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_field_list_is_there_on_the_other_replica() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let wish = "PortCall/U/1?session=bridge";
    let mut socket = world.open(0, &tenant, wish).await;
    first(&mut socket, 410, "session starts now").await;
    socket.until_proven(&world, &tenant, 1).await;
    assert!(!shows_field(&world, &tenant, &mut socket).await);
    socket.set_fields(LIST).await;
    world.until_saved(&tenant, "speed", 1).await;
    socket.close().await;
    let missed = world.post(&tenant, &update(1)).await;
    let mut socket = world.open(1, &tenant, wish).await;
    first(&mut socket, 200, "session resumed").await;
    let message = socket.until(&missed).await;
    assert_eq!(message["dataloyObject"]["speed"].to_string(), "1.50", "by the list of then");
    // A list in the URL takes the place of the stored one; so does a reset.
    let mut replaced = world.open(0, &tenant, &format!("{wish}&fields=%7B%7D")).await;
    first(&mut replaced, 200, "session resumed").await;
    assert!(!shows_field(&world, &tenant, &mut replaced).await);
    world.until_saved(&tenant, "speed", 0).await;
    replaced.close().await;
    let mut again = world.open(1, &tenant, wish).await;
    first(&mut again, 200, "session resumed").await;
    assert!(!shows_field(&world, &tenant, &mut again).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_socket_closes_the_first() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    for (number, (former, latter)) in [(0, 1), (1, 1)].into_iter().enumerate() {
        let wish = format!("PortCall/U/1?session=bridge{number}");
        let mut one = world.open(former, &tenant, &wish).await;
        first(&mut one, 410, "session starts now").await;
        one.until_proven(&world, &tenant, number + 1).await;
        let mut two = world.open(latter, &tenant, &wish).await;
        first(&mut two, 200, "session resumed").await;
        // Another replica learns it when it looks.
        let came = one.next_within(Duration::from_secs(5)).await;
        assert_eq!(came, Some(Came::Close(4010, "session-taken".to_owned())));
        let id = world.post(&tenant, &update(1)).await;
        assert_eq!(two.id().await, id);
        two.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_user_path_or_name_is_another_session() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let wish = "PortCall/U/1?session=bridge";
    let mut own = world.open(0, &tenant, wish).await;
    first(&mut own, 410, "session starts now").await;
    own.set_fields(LIST).await;
    let others = [
        (wish, world.token(&tenant, 2, &[])),
        ("PortCall/U/1?session=Bridge", world.token(&tenant, 1, &[])),
        ("PortCall/U/1,2?session=bridge", world.token(&tenant, 1, &[])),
        ("PortCall/*/1?session=bridge", world.token(&tenant, 1, &[])),
        ("PortCall/U/1?session=bridge&onlyMainObject=true", world.token(&tenant, 1, &[])),
    ];
    for (wish, token) in others {
        let mut other = world.open_as(0, wish, &token).await;
        first(&mut other, 410, "session starts now").await;
        let id = world.post(&tenant, &update(1)).await;
        let message = other.json().await;
        assert_eq!((&message["id"], &message["dataloyObject"]), (&id.into(), &1.into()), "{wish}");
        let message = own.json().await;
        assert_eq!(
            message["dataloyObject"]["speed"].to_string(),
            "1.50",
            "still open, still its own"
        );
    }
    let tenant = world.tenant();
    let mut other = world.open(0, &tenant, wish).await;
    first(&mut other, 410, "session starts now").await;
    assert!(!shows_field(&world, &tenant, &mut other).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_go_on_while_the_store_is_away() {
    let setup = Setup { own_redis: true, ..Setup::default() };
    let Some(mut world) = World::start(setup) else { return };
    let limit = Duration::from_secs(20);
    let tenant = world.tenant();
    let wish = "PortCall/U/1?session=bridge";
    let mut before = world.open(0, &tenant, wish).await;
    first(&mut before, 410, "session starts now").await;
    before.set_fields(LIST).await;
    world.until_saved(&tenant, "speed", 1).await;

    world.redis.as_mut().unwrap().stop();
    for gateway in &world.gateways {
        wait_until("the gateway sees that the store is away", limit, || {
            gateway.metric("tidewire_store_available").unwrap() == 0.0
        })
        .await;
        let health = gateway.health().unwrap();
        assert_eq!(health.status, 200, "a replica without its store still serves");
        assert!(health.body.contains(r#""status":"degraded""#), "{}", health.body);
        assert!(health.body.contains("away: sockets work"), "{}", health.body);
    }
    // Receiving goes on, with the field list.
    assert!(shows_field(&world, &tenant, &mut before).await);
    let mut plain = world.open(1, &tenant, "PortCall/U/1").await;
    let mut during = world.open(1, &tenant, wish).await;
    first(&mut during, 503, "session not available").await;
    let id = world.post(&tenant, &update(1)).await;
    for socket in [&mut before, &mut plain, &mut during] {
        socket.until(&id).await;
    }

    world.redis.as_mut().unwrap().start_again().unwrap();
    for gateway in &world.gateways {
        wait_until("the gateway sees that the store is back", limit, || {
            gateway.metric("tidewire_store_available").unwrap() == 1.0
        })
        .await;
        let health = gateway.health().unwrap();
        assert!(health.body.contains(r#""status":"ready""#), "{}", health.body);
    }
    // It came back empty. The replica puts the session of an open socket back.
    world.until_saved(&tenant, "speed", 1).await;
    let tenant = world.tenant();
    let mut after = world.open(0, &tenant, "PortCall/U/1?session=deck").await;
    first(&mut after, 410, "session starts now").await;
    after.until_proven(&world, &tenant, 1).await;
    after.set_fields(LIST).await;
    world.until_saved(&tenant, "speed", 1).await;
    after.close().await;
    let mut after = world.open(1, &tenant, "PortCall/U/1?session=deck").await;
    first(&mut after, 200, "session resumed").await;
    assert!(shows_field(&world, &tenant, &mut after).await);
}
