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

/// The ids of the messages that come until this one.
async fn ids_until(stream: &mut Events, last: &str) -> Vec<String> {
    let mut ids = Vec::new();
    while ids.last().is_none_or(|id| id != last) {
        let block = stream.message().await.unwrap();
        let data = block.strip_prefix("data: ").unwrap_or_else(|| panic!("{block}"));
        let message: serde_json::Value = serde_json::from_str(data).unwrap();
        ids.push(message["id"].as_str().unwrap().to_owned());
    }
    ids
}

/// Reads on until the stream has named a position behind everything that came.
async fn last_id(stream: &mut Events) -> String {
    let id = stream.block().await.unwrap();
    id.strip_prefix("id: ").unwrap_or_else(|| panic!("{id}")).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_behind_the_last_id() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let open = async |gateway: usize, wish: &str, header: &str| {
        Events::open(world.public(gateway), &object_path(wish, &token), header).await
    };
    let mut stream = open(0, "Voyage/U/1", "").await;
    let start = last_id(&mut stream).await;
    let first = world.post(&tenant, CHANGE).await;
    assert_eq!(ids_until(&mut stream, &first).await, [&*first]);
    let behind_first = last_id(&mut stream).await;
    drop(stream);
    let second = world.post(&tenant, CHANGE).await;
    // By header and by query, and the header is the newer word.
    let header = |id: &str| format!("Last-Event-ID: {id}\r\n");
    let query = |id: &str| format!("Voyage/U/1?lastEventId={id}");
    let plain = || "Voyage/U/1".to_owned();
    let mut streams = Vec::new();
    for (wish, header, expected) in [
        (plain(), header(&behind_first), vec![&second]),
        (query(&behind_first), String::new(), vec![&second]),
        (query(&start), header(&behind_first), vec![&second]),
        (query(&start), String::new(), vec![&first, &second]),
        (plain(), header(&start), vec![&first, &second]),
    ] {
        let mut stream = open(1, &wish, &header).await;
        let came = ids_until(&mut stream, &second).await;
        assert_eq!(came.iter().collect::<Vec<_>>(), expected, "{wish} {header}");
        streams.push(stream);
    }
    let live = world.post(&tenant, CHANGE).await;
    for stream in &mut streams {
        assert_eq!(ids_until(stream, &live).await, [&*live]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_is_forged_or_foreign() {
    let Some(world) = World::shared() else { return };
    let (own, other) = (world.tenant(), world.tenant());
    let (token, foreign) = (world.token(&own, 1, &[]), world.token(&other, 1, &[]));
    let path = |token: &str, query: &str| object_path(&format!("Voyage/U/1{query}"), token);
    let mut stream = Events::open(world.public(0), &path(&foreign, ""), "").await;
    let id = last_id(&mut stream).await;
    let mut forged = id.clone().into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let long = "A".repeat(200_000);
    for (bad, address) in
        [(&*forged, 0), (&id[1..], 1), (&id[..id.len() - 2], 0), ("3-7", 1), ("%20", 0)]
    {
        let query = format!("?lastEventId={bad}");
        let header = [("Accept", "text/event-stream"), ("Last-Event-ID", bad)];
        for (query, headers) in [(query.as_str(), &header[..1]), ("", &header[..])] {
            let address = world.public(address);
            let answer = ask(address, "GET", &path(&foreign, query), headers).await;
            assert_eq!(answer.status, 400, "{bad}: {}", answer.body);
            assert!(!answer.body.contains(&foreign));
        }
    }
    let header = [("Accept", "text/event-stream"), ("Last-Event-ID", &*long)];
    let answer = ask(world.public(0), "GET", &path(&foreign, ""), &header).await;
    assert!([400, 431].contains(&answer.status), "{}", answer.status);
    // Sound, but another tenant's: it says nothing about this one's changes, so they may be missing.
    let header = format!("Last-Event-ID: {id}\r\n");
    let mut stream = Events::open(world.public(1), &path(&token, ""), &header).await;
    let gap = stream.message().await.unwrap();
    let data = gap.strip_prefix("event: error\ndata: ").unwrap_or_else(|| panic!("{gap}"));
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!((&data["statusCode"], &data["message"]), (&410.into(), &"gap".into()));
    world.post(&other, CHANGE).await;
    let id = world.post(&own, CHANGE).await;
    assert_eq!(ids_until(&mut stream, &id).await, [id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_with_a_session_keeps_the_field_list_and_resumes_by_id() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let wish = "Voyage/U/1?session=stream";
    let set = format!("{wish}&fields=%7B%22comments%22:%22*%22%7D");
    let mut stream = Events::open(world.public(0), &object_path(&set, &token), "").await;
    assert!(stream.message().await.unwrap().contains("session starts now"));
    let id = last_id(&mut stream).await;
    drop(stream);
    world.until_saved(&tenant, "comments", 1).await;
    let missed = world.post(&tenant, CHANGE).await;
    let header = format!("Last-Event-ID: {id}\r\n");
    let mut stream = Events::open(world.public(1), &object_path(wish, &token), &header).await;
    assert!(stream.message().await.unwrap().contains("session resumed"));
    let message = stream.message().await.unwrap();
    assert!(message.contains(&missed) && message.contains(r#""comments":"a""#), "{message}");
    // Without an id nobody knows what it has received.
    let mut stream = Events::open(world.public(0), &object_path(wish, &token), "").await;
    assert!(stream.message().await.unwrap().contains("session starts now"));
}
