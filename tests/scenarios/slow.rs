//! Clients that do not read: changes merged per object where they asked for it, else closed, to resume.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::log::Producer;
use crate::support::socket::Came;
use crate::support::v1::V1;
use crate::support::{Setup, Task, World, wait_until};

const LIMIT: Duration = Duration::from_secs(30);
/// Of one change: some hundreds of them fill every buffer on the way.
const COMMENT: usize = 4 << 10;
const OBJECTS: u64 = 4;
const ROUNDS: u64 = 400;
/// Changes written all at once.
const BURST: u64 = 5_000;
/// The object that changes last.
const LAST: u64 = 99;

async fn put(producer: &Producer, tenant: &str, operation: &str, key: u64, number: u64) -> String {
    let image = |number: u64| {
        format!(r#"{{"key":{key},"daysTotal":{number},"comments":"{}"}}"#, "c".repeat(COMMENT))
    };
    let (new, old) = match operation {
        "D" => ("null".to_owned(), image(number)),
        _ => (image(number), "null".to_owned()),
    };
    let header = format!("1;{operation};;none");
    let body = format!(r#"{{"new":{new},"old":{old}}}"#);
    producer.sound(&format!("{tenant}/Voyage/{key}"), &header, &body).await
}

async fn narrow(world: &World, gateway: usize, token: &str) -> V1 {
    V1::welcomed(V1::wish(world, gateway, "/ws/v1", token).narrow()).await
}

fn request(id: &str, on_slow: &str) -> Value {
    json!({
        "id": id, "objectType": "Voyage", "fields": {"daysTotal":"*","comments":"*"}, "onSlow": on_slow,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_changes_of_an_object_become_one() {
    let Some(world) = World::start(Setup::default()) else { return };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let producer = Producer::new(&world.bootstrap(), &world.topic);
    let mut v1 = narrow(&world, 0, &token).await;
    let start = v1.subscribe(&request("a", "conflate")).await;
    v1.expect("live").await;
    let mut other = V1::open(&world, 0, &token).await;
    other.subscribe(&json!({"id":"a","objectType":"Voyage"})).await;
    other.expect("live").await;
    let neighbour = Task::start(async move {
        let mut ids = Vec::new();
        while ids.last().is_none_or(|id: &(u64, String)| id.0 != LAST) {
            let event = other.expect("event").await;
            ids.push((
                event["dataloyObject"].as_u64().unwrap(),
                event["id"].as_str().unwrap().to_owned(),
            ));
        }
        ids.into_iter().map(|(_, id)| id).collect::<Vec<_>>()
    });
    // Nobody reads `v1` from here on.
    let mut ids = Vec::new();
    for round in 1..=ROUNDS {
        for key in 0..OBJECTS {
            ids.push(put(&producer, &tenant, "U", key, round).await);
        }
    }
    // By now everything waits: one that comes and goes, one that goes, one that comes, one that goes and
    // comes again.
    ids.push(put(&producer, &tenant, "C", 10, 1).await);
    ids.push(put(&producer, &tenant, "U", 10, 2).await);
    ids.push(put(&producer, &tenant, "D", 10, 2).await);
    ids.push(put(&producer, &tenant, "D", 0, ROUNDS).await);
    ids.push(put(&producer, &tenant, "C", 11, 1).await);
    ids.push(put(&producer, &tenant, "U", 11, 2).await);
    ids.push(put(&producer, &tenant, "D", 1, ROUNDS).await);
    ids.push(put(&producer, &tenant, "C", 1, 1).await);
    let last = put(&producer, &tenant, "U", LAST, 1).await;
    ids.push(last.clone());
    assert_eq!(neighbour.join().await, ids, "a neighbour gets every one");

    let mut merged = 0;
    let mut came: Vec<(u64, String, Option<u64>)> = Vec::new();
    let mut offset = None;
    loop {
        let word = v1.word().await;
        match word["type"].as_str().unwrap() {
            "conflated" => {
                assert_eq!(word["sub"], "a");
                merged += word["n"].as_u64().unwrap();
            }
            "event" => {
                let id = word["id"].as_str().unwrap();
                let own: u64 = id.split_once('-').unwrap().1.parse().unwrap();
                assert!(offset < Some(own), "offsets rise on the wire: {offset:?} {own}");
                offset = Some(own);
                let object = &word["dataloyObject"];
                let event = word["eventType"].as_str().unwrap().to_owned();
                came.push((object["key"].as_u64().unwrap(), event, object["daysTotal"].as_u64()));
                if id == last {
                    break;
                }
            }
            _ => panic!("{word}"),
        }
    }
    while merged + came.len() as u64 != ids.len() as u64 {
        let word = v1.word().await;
        assert_eq!(word["type"], "conflated", "{} + {merged}: {word}", came.len());
        merged += word["n"].as_u64().unwrap();
    }
    assert!(merged > 0);
    let of = |key: u64| -> Vec<(&str, Option<u64>)> {
        came.iter().filter(|c| c.0 == key).map(|c| (c.1.as_str(), c.2)).collect()
    };
    assert_eq!(of(10), [], "it came and went");
    assert_eq!(of(11), [("C", Some(2))], "a create with the newest image");
    assert_eq!(of(0).last(), Some(&("D", Some(ROUNDS))));
    assert_eq!(of(1)[of(1).len() - 2..], [("D", Some(ROUNDS)), ("C", Some(1))], "they stay two");
    for key in [2, 3] {
        let of = of(key);
        assert_eq!(of.last(), Some(&("U", Some(ROUNDS))), "the newest of each object");
        assert!(of.len() < usize::try_from(ROUNDS).unwrap(), "{} of {key}", of.len());
        assert!(of.is_sorted_by(|a, b| a.1 < b.1));
    }
    println!("{} changes: {} came, {merged} merged", ids.len(), came.len());
    // Nothing of that is lost for one who resumes.
    let mut again = V1::open(&world, 1, &token).await;
    let mut resume = request("a", "conflate");
    resume["from"] = start.into();
    again.subscribe(&resume).await;
    for id in &ids {
        assert_eq!(again.expect("event").await["id"], id.as_str());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_merge_is_closed_and_resumes() {
    let Some(world) = World::start(Setup::default()) else { return };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let producer = Producer::new(&world.bootstrap(), &world.topic);
    let mut v1 = narrow(&world, 0, &token).await;
    let mut cursor = v1.subscribe(&request("a", "disconnect")).await;
    v1.expect("live").await;
    let mut ids = Vec::new();
    for round in 1..=ROUNDS {
        for key in 0..OBJECTS {
            ids.push(put(&producer, &tenant, "U", key, round).await);
        }
    }
    let closed = || {
        let name = "tidewire_connections_closed_total{code=\"4101\"}";
        world.gateways[0].metric(name).unwrap() == 1.0
    };
    wait_until("it is closed as slow", LIMIT, closed).await;
    let mut came: HashMap<String, usize> = HashMap::new();
    loop {
        match v1.socket.next().await {
            Came::Text(text) => {
                let word: Value = serde_json::from_str(&text).unwrap();
                match word["type"].as_str().unwrap() {
                    "event" => {
                        *came.entry(word["id"].as_str().unwrap().to_owned()).or_default() += 1;
                    }
                    "cursor" => cursor = word["cursor"].as_str().unwrap().to_owned(),
                    _ => panic!("{word}"),
                }
            }
            Came::Close(code, reason) => {
                assert_eq!((code, reason.as_str()), (4101, "slow"));
                break;
            }
            Came::End => break,
        }
    }
    assert!(came.len() < ids.len(), "it cannot have had all");
    let mut v1 = V1::open(&world, 1, &token).await;
    let mut resume = request("a", "disconnect");
    resume["from"] = cursor.into();
    v1.subscribe(&resume).await;
    loop {
        let word = v1.word().await;
        match word["type"].as_str().unwrap() {
            "event" => *came.entry(word["id"].as_str().unwrap().to_owned()).or_default() += 1,
            "live" => break,
            _ => panic!("{word}"),
        }
    }
    assert!(ids.iter().all(|id| came.contains_key(id)), "nothing is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_is_merged_too() {
    let Some(world) = World::start(Setup::default()) else { return };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let producer = Producer::new(&world.bootstrap(), &world.topic);
    let mut v1 = narrow(&world, 0, &token).await;
    v1.subscribe(&request("a", "conflate")).await;
    v1.expect("live").await;
    // More at once than a queue may hold.
    let puts = (1..=ROUNDS).map(|round| put(&producer, &tenant, "U", 1, round));
    let ids = futures_util::future::join_all(puts).await;
    let last = ids.iter().max_by_key(|id| id[2..].parse::<u64>().unwrap()).unwrap();
    while v1.word().await["id"] != last.as_str() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_does_not_close_who_reads() {
    let Some(world) = World::start(Setup::default()) else { return };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let producer = Producer::new(&world.bootstrap(), &world.topic);
    let mut sockets = Vec::new();
    for fields in ["", "?fields=%7B%22comments%22:%22*%22%7D"] {
        sockets.push(world.open_as(0, &format!("Voyage/U/*{fields}"), &token).await);
    }
    let readers: Vec<_> = sockets
        .into_iter()
        .map(|mut socket| {
            Task::start(async move {
                let mut came = 0;
                loop {
                    match socket.next().await {
                        Came::Text(_) => came += 1,
                        other => return Err((came, other)),
                    }
                    if came == BURST {
                        return Ok(());
                    }
                }
            })
        })
        .collect();
    let puts = (1..=BURST).map(|number| put(&producer, &tenant, "U", number % 50, number));
    futures_util::future::join_all(puts).await;
    for reader in readers {
        assert_eq!(reader.join().await, Ok(()));
    }
}
