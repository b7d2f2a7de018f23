//! The log moves under those who read it: the topic is created anew, or retention overtakes those who are
//! away. Everybody is told, in every mode, before the next change.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::log::{create_anew, cut_off};
use crate::support::socket::{Came, Socket, Wish};
use crate::support::stream::Events;
use crate::support::{Setup, World, object_path};

const CHANGE: &str = r#"{"objectType":"Voyage","key":1,"operation":"U","new":{"key":1}}"#;
const PLAIN: &str = "Voyage/U/1";
const NAMED: &str = "Voyage/U/1?session=bridge";

/// What a client of any mode is told, in one form.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Event(String),
    Gap,
    Cursor(String),
    Other(String),
}

fn told(message: &Value) -> Told {
    let text = |name: &str| message[name].as_str().map(str::to_owned);
    match (message["type"].as_str(), message["statusCode"].as_u64()) {
        (Some("gap"), _) | (_, Some(410)) => Told::Gap,
        (Some("event") | None, None) => Told::Event(text("id").unwrap()),
        (Some("cursor" | "subscribed" | "live"), _) => Told::Cursor(text("cursor").unwrap()),
        _ => Told::Other(message.to_string()),
    }
}

/// A client of one of the modes.
enum Client {
    Socket(Box<Socket>),
    Stream(Box<Events>),
}

impl Client {
    async fn next(&mut self) -> Told {
        match self {
            Self::Socket(socket) => match socket.next().await {
                Came::Text(text) => told(&serde_json::from_str(&text).unwrap()),
                other => panic!("the socket does not stay open: {other:?}"),
            },
            Self::Stream(events) => {
                let block = events.block().await.expect("the stream stays open");
                let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
                match (line("data: "), line("id: ")) {
                    (Some(data), _) => told(&serde_json::from_str(data).unwrap()),
                    (None, Some(id)) => Told::Cursor(id.to_owned()),
                    (None, None) => Told::Other(block),
                }
            }
        }
    }

    /// All until this event.
    async fn until(&mut self, id: &str) -> Vec<Told> {
        let mut all = Vec::new();
        while all.last() != Some(&Told::Event(id.to_owned())) {
            all.push(self.next().await);
        }
        all
    }

    /// The first gap; no event may come before it.
    async fn gap(&mut self) {
        loop {
            match self.next().await {
                Told::Gap => return,
                Told::Event(id) => panic!("{id} came, and no gap before it"),
                Told::Cursor(_) | Told::Other(_) => {}
            }
        }
    }

    /// The next cursor, whatever comes before it.
    async fn cursor(&mut self) -> String {
        loop {
            if let Told::Cursor(cursor) = self.next().await {
                return cursor;
            }
        }
    }
}

struct Modes<'a> {
    world: &'a World,
    token: String,
}

impl Modes<'_> {
    async fn socket(&self, gateway: usize, wish: &str) -> Client {
        Client::Socket(Box::new(self.world.open_as(gateway, wish, &self.token).await))
    }

    async fn stream(&self, gateway: usize, cursor: Option<&str>) -> Client {
        let path = object_path(PLAIN, &self.token);
        let header = cursor.map_or_else(String::new, |c| format!("Last-Event-ID: {c}\r\n"));
        Client::Stream(Box::new(Events::open(self.world.public(gateway), &path, &header).await))
    }

    async fn v1(&self, gateway: usize, from: &str) -> Client {
        let protocols = format!("tidewire.v1, bearer.{}", self.token);
        let wish = Wish::new(self.world.public(gateway), "/ws/v1");
        let mut socket = wish.header("Sec-WebSocket-Protocol", &protocols).open().await;
        assert_eq!(socket.json().await["type"], "welcome");
        let subscribe = json!({
            "type": "subscribe", "id": "a", "objectType": "Voyage", "events": "U", "keys": 1,
            "from": from,
        });
        socket.say(&subscribe.to_string()).await;
        Client::Socket(Box::new(socket))
    }
}

/// Posts a change until it is taken: capture may still have to find the topic.
async fn post(world: &World, tenant: &str) -> String {
    let until = Instant::now() + Duration::from_secs(40);
    loop {
        let answer = world.try_post(tenant, CHANGE).await;
        if answer.status == 200 {
            let answer: Value = serde_json::from_str(&answer.body).unwrap();
            return answer["id"].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < until, "{}: {}", answer.status, answer.body);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_created_anew_is_a_gap_for_all() {
    let Some(world) = World::start(Setup::default()) else { return };
    let tenant = world.tenant();
    let modes = Modes { world: &world, token: world.token(&tenant, 1, &[]) };
    let mut clients = vec![
        modes.socket(0, PLAIN).await,
        modes.socket(1, NAMED).await,
        modes.stream(1, None).await,
        modes.v1(0, "now").await,
    ];
    // A session says that it starts.
    clients[1].gap().await;
    let id = world.post(&tenant, CHANGE).await;
    for client in &mut clients {
        let all = client.until(&id).await;
        assert!(!all.contains(&Told::Gap), "{all:?}");
    }
    // Those who go, with a position in the life that ends.
    let mut leaving = modes.v1(1, "now").await;
    let v1_cursor = leaving.cursor().await;
    let mut leaving = modes.stream(0, None).await;
    let sse_cursor = leaving.cursor().await;
    let mut leaving = modes.socket(0, "Voyage/U/1?session=deck").await;
    leaving.gap().await;
    drop(leaving);

    let (bootstrap, topic) = (world.bootstrap(), world.topic.clone());
    tokio::task::spawn_blocking(move || create_anew(&bootstrap, &topic)).await.unwrap();
    for client in &mut clients {
        client.gap().await;
    }
    let mut back = [
        modes.v1(0, &v1_cursor).await,
        modes.stream(1, Some(&sse_cursor)).await,
        modes.socket(1, "Voyage/U/1?session=deck").await,
    ];
    for client in &mut back {
        client.gap().await;
    }
    // All go on from there.
    let id = post(&world, &tenant).await;
    for client in clients.iter_mut().chain(&mut back) {
        client.until(&id).await;
    }
    // A cursor of the new life is good.
    let cursor = back[0].cursor().await;
    let id = post(&world, &tenant).await;
    let all = modes.v1(1, &cursor).await.until(&id).await;
    assert!(!all.contains(&Told::Gap), "{all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_that_overtakes_those_who_are_away_is_a_gap() {
    let Some(mut world) = World::start(Setup::default()) else { return };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let (v1_cursor, sse_cursor) = {
        let modes = Modes { world: &world, token: token.clone() };
        let mut named = modes.socket(0, NAMED).await;
        named.gap().await;
        (modes.v1(0, "now").await.cursor().await, modes.stream(1, None).await.cursor().await)
    };
    let missed = world.post_lines(&tenant, &format!("{CHANGE}\n").repeat(20)).await;
    // Inside retention nothing is lost: who comes back now gets all.
    {
        let modes = Modes { world: &world, token: token.clone() };
        let mut back = [modes.v1(1, &v1_cursor).await, modes.stream(0, Some(&sse_cursor)).await];
        for client in &mut back {
            let all = client.until(missed.last().unwrap()).await;
            let came = all.iter().filter(|told| matches!(told, Told::Event(_))).count();
            assert_eq!((came, all.contains(&Told::Gap)), (missed.len(), false), "{all:?}");
        }
    }
    let (bootstrap, topic) = (world.bootstrap(), world.topic.clone());
    tokio::task::spawn_blocking(move || cut_off(&bootstrap, &topic)).await.unwrap();
    // Replicas that have been there all the time may still remember what the log has forgotten.
    for gateway in &mut world.gateways {
        tokio::task::block_in_place(|| gateway.roll(Duration::from_secs(20)).unwrap());
    }
    let modes = Modes { world: &world, token };
    let mut back = [
        modes.v1(0, &v1_cursor).await,
        modes.stream(1, Some(&sse_cursor)).await,
        modes.socket(1, NAMED).await,
    ];
    for client in &mut back {
        client.gap().await;
    }
    let id = world.post(&tenant, CHANGE).await;
    for client in &mut back {
        client.until(&id).await;
    }
}
