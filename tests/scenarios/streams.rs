//! Server-Sent Events on the same paths: the same messages, words about the session, and what may be retried
//! answered 200.

use std::time::Duration;

use crate::support::stream::Events;
use crate::support::{Setup, World, ask, object_path};

const CHANGE: &str =
    r#"{"objectType":"Voyage","key":1,"operation":"U","new":{"key":1,"comments":"a"}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_messages_as_a_socket() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let mut socket = world.open(0, &tenant, "Voyage/U/1").await;
    let mut plain = Events::open(world.public(1), &object_path("Voyage/U/1", &token), "").await;
    assert!(plain.head.starts_with("http/1.1 200 "), "{}", plain.head);
    assert!(plain.head.contains("content-type: text/event-stream"), "{}", plain.head);
    let wish = "Voyage/U/1?session=stream&fields=%7B%22comments%22:%22*%22%7D";
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let mut named = Events::open(world.public(0), &object_path(wish, "-"), &bearer).await;
    let first = named.block().await.unwrap();
    let data = first.strip_prefix("event: session\ndata: ").unwrap_or_else(|| panic!("{first}"));
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(
        (&data["statusCode"], &data["message"]),
        (&410.into(), &"session starts now".into())
    );
    for _ in 0..3 {
        world.post(&tenant, CHANGE).await;
        let message = socket.text().await;
        assert_eq!(plain.message().await.unwrap(), format!("data: {message}"));
        let selected = named.message().await.unwrap();
        assert!(selected.contains(r#""comments":"a"}"#), "{selected}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_retried_is_answered_200_and_ended() {
    let cap = ("http.connections_per_principal_max", "1".to_owned());
    let Some(mut world) = World::start(Setup { gateway: vec![cap], ..Setup::default() }) else {
        return;
    };
    let tenant = world.tenant();
    let path = object_path("Voyage/U/1", &world.token(&tenant, 1, &[]));
    let mut open = Events::open(world.public(0), &path, "").await;
    let full = ask(world.public(0), "GET", &path, &[("Accept", "text/event-stream")]).await;
    assert_eq!(full.status, 200);
    assert!(is_retry(&full.body), "{}", full.body);
    // What no retry helps is an error status, at which EventSource gives up.
    let bad = object_path("Voyage/X/1", "-");
    let bad = ask(world.public(0), "GET", &bad, &[("Accept", "text/event-stream")]).await;
    assert_eq!(bad.status, 400, "{}", bad.body);

    let id = world.post(&tenant, CHANGE).await;
    assert!(open.message().await.unwrap().contains(&id));
    world.gateways[0].signal("TERM").unwrap();
    let last = open.message().await.unwrap();
    assert!(is_retry(&format!("{last}\n\n")), "{last}");
    assert_eq!(open.message().await, None, "the stream ends");
    assert_eq!(world.gateways[0].wait(Duration::from_secs(15)).unwrap(), Some(0));
}

fn is_retry(text: &str) -> bool {
    text.strip_prefix("retry: ")
        .and_then(|rest| rest.strip_suffix("\n\n"))
        .is_some_and(|number| number.parse::<u32>().is_ok())
}
