//! Links that break: with a megabyte under way that the client never had, with the gateway killed behind it, or
//! without a word. A named session gets again what its client had not proven to have received.

use std::time::{Duration, Instant};

use tidewire_testkit::link::LinkProxy;

use crate::support::socket::{Came, Socket, Wish};
use crate::support::{Setup, World, object_path, wait_until};

const WISH: &str = "Voyage/U/1?session=bridge&fields=%7B%22comments%22:%22*%22%7D";
/// What must be under way when the link breaks.
const UNREAD: usize = 1 << 20;
/// Of one change.
const COMMENT: usize = 8 << 10;
/// Promised for a client that is gone without a word.
const HALF_OPEN_MAX: Duration = Duration::from_secs(40);

/// Posts so many changes of Voyage 1 with a long comment each; gives their ids.
async fn post(world: &World, tenant: &str, count: usize) -> Vec<String> {
    let comment = "c".repeat(COMMENT);
    let line = format!(
        r#"{{"objectType":"Voyage","key":1,"operation":"U","new":{{"key":1,"comments":"{comment}"}}}}"#
    );
    world.post_lines(tenant, &format!("{line}\n").repeat(count)).await
}

/// The offset in an id: all changes of these tests stand in one partition.
fn offset(id: &str) -> u64 {
    id.strip_prefix("0-").unwrap().parse().unwrap()
}

/// All offsets up to the one of this id, which must rise.
async fn offsets_until(socket: &mut Socket, last: &str) -> Vec<u64> {
    let mut offsets = Vec::new();
    while offsets.last() != Some(&offset(last)) {
        let message = socket.json().await;
        assert!(message["dataloyObject"]["comments"].is_string(), "{message}");
        offsets.push(offset(message["id"].as_str().unwrap()));
    }
    assert!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
    offsets
}

async fn first(socket: &mut Socket, status: u16, message: &str) {
    let word = socket.json().await;
    assert_eq!(
        (&word["statusCode"], &word["message"]),
        (&status.into(), &message.into()),
        "{word}"
    );
}

/// Fills the link of a session, breaks it, and comes back at the other replica.
async fn nothing_under_way_is_lost(kill: bool) {
    let Some(mut world) = World::start(Setup::default()) else { return };
    let tenant = world.tenant();
    let path = object_path(WISH, &world.token(&tenant, 1, &[]));
    let link = LinkProxy::start(world.public(0)).unwrap();
    let mut socket = Wish::new(link.address(), &path).open().await;
    first(&mut socket, 410, "session starts now").await;
    socket.until_proven(&world, &tenant, 1).await;
    let ids = post(&world, &tenant, 20).await;
    let read = offsets_until(&mut socket, ids.last().unwrap()).await;
    assert_eq!(read.len(), ids.len());

    link.hold();
    let unread = post(&world, &tenant, UNREAD / COMMENT + 20).await;
    wait_until("a megabyte is under way", Duration::from_secs(20), || link.held() >= UNREAD).await;
    if kill {
        world.gateways[0].kill();
    }
    link.cut();
    assert_eq!(socket.next().await, Came::End, "none of it reaches the client");

    let meanwhile = post(&world, &tenant, 5).await;
    let mut socket = Wish::new(world.public(1), &path).open().await;
    first(&mut socket, 200, "session resumed").await;
    let came = offsets_until(&mut socket, meanwhile.last().unwrap()).await;
    let owed: Vec<u64> = unread.iter().chain(&meanwhile).map(|id| offset(id)).collect();
    assert!(came.ends_with(&owed), "owed {owed:?}, came {came:?}");
    let repeated = came.len() - owed.len();
    assert!(repeated <= read.len(), "only what was not proven comes again: {repeated}");
    // It is live.
    let id = post(&world, &tenant, 1).await;
    assert_eq!(offsets_until(&mut socket, &id[0]).await, [offset(&id[0])]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_cut_with_a_megabyte_unread_loses_nothing() {
    nothing_under_way_is_lost(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_killed_with_a_megabyte_unread_loses_nothing() {
    nothing_under_way_is_lost(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_gone_without_a_word_is_noticed() {
    let Some(world) = World::start(Setup::default()) else { return };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let link = LinkProxy::start(world.public(0)).unwrap();
    let named = object_path(WISH, &token);
    let mut sockets = Vec::new();
    for path in [named.clone(), object_path("Voyage/U/1", &token)] {
        sockets.push(Wish::new(link.address(), &path).open().await);
    }
    first(&mut sockets[0], 410, "session starts now").await;
    sockets[0].until_proven(&world, &tenant, 1).await;
    // On another link of the same gateway.
    let mut other = world.open(0, &tenant, "Voyage/U/1").await;
    let open = || world.gateways[0].metric("tidewire_connections").unwrap();
    assert_eq!(open(), 3.0);

    assert_eq!(link.silence(), 2);
    let since = Instant::now();
    let missed = post(&world, &tenant, 3).await;
    other.until(missed.last().unwrap()).await;
    // The other one answers its pings as long as somebody reads it.
    let reading = async { other.next_within(HALF_OPEN_MAX + Duration::from_secs(5)).await };
    let gone = wait_until("both are gone", HALF_OPEN_MAX, || link.left() == 2);
    let came = tokio::select! {
        came = reading => Some(came),
        () = gone => None,
    };
    assert_eq!(came, None, "the live one stays");
    println!("half-open clients are gone after {:?}", since.elapsed());
    wait_until("they are counted out", Duration::from_secs(2), || open() == 1.0).await;
    assert_eq!(world.gateways[0].metric("tidewire_send_queue_bytes").unwrap(), 0.0);

    let mut back = Wish::new(world.public(1), &named).open().await;
    first(&mut back, 200, "session resumed").await;
    let came = offsets_until(&mut back, missed.last().unwrap()).await;
    assert!(came.ends_with(&missed.iter().map(|id| offset(id)).collect::<Vec<_>>()), "{came:?}");
}
