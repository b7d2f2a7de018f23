//! Snapshots of `tidewire.v1`: the objects as they stand, and every change from there on, spliced without a
//! loss or a step back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use crate::support::log::Producer;
use crate::support::v1::V1;
use crate::support::{Setup, Task, World};

/// Objects of the moving fleet.
const OBJECTS: u64 = 40;
/// Events behind each snapshot while they move, at least.
const FOLLOWED: u64 = 20;
/// Snapshots that are taken of it.
const SNAPSHOTS: u64 = 40;

async fn put(world: &World, tenant: &str, operation: &str, key: u64, comments: &str) -> String {
    let new = if operation == "D" {
        "null".to_owned()
    } else {
        format!(r#"{{"key":{key},"comments":"{comments}"}}"#)
    };
    let change = format!(
        r#"{{"objectType":"Voyage","key":{key},"operation":"{operation}","new":{new},"changedAt":"2026-09-14T13:37:26Z"}}"#
    );
    world.post(tenant, &change).await
}

/// The objects of the snapshot that comes next, by key: id and comments; it says that it is not complete.
async fn snapshot(v1: &mut V1, sub: &str) -> HashMap<u64, (String, String)> {
    let mut objects = HashMap::new();
    loop {
        let message = v1.expect("snapshot").await;
        assert_eq!(message["sub"], sub);
        if let Some(count) = message["objects"].as_u64() {
            assert_eq!(message["complete"], false, "{message}");
            assert_eq!(usize::try_from(count).unwrap(), objects.len());
            return objects;
        }
        let object = &message["dataloyObject"];
        let key = object["key"].as_u64().or(object.as_u64()).unwrap();
        let id = message["id"].as_str().unwrap().to_owned();
        let comments = object["comments"].as_str().unwrap_or_default().to_owned();
        assert!(objects.insert(key, (id, comments)).is_none(), "each once: {message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_key_a_list_and_a_type() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    put(&world, &world.tenant(), "C", 1, "another tenant's").await;
    let one = put(&world, &tenant, "C", 1, "a").await;
    put(&world, &tenant, "C", 2, "a").await;
    put(&world, &tenant, "C", 3, "a").await;
    put(&world, &tenant, "D", 3, "").await;
    let two = put(&world, &tenant, "U", 2, "b").await;
    let fields = json!({"comments":"*"});
    for gateway in [0, 1] {
        let mut v1 = V1::open(&world, gateway, &token).await;
        for (id, keys, expected) in [
            ("key", json!(1), vec![(1, &one, "a")]),
            ("list", json!([2, 3, 4]), vec![(2, &two, "b")]),
            ("type", json!("*"), vec![(1, &one, "a"), (2, &two, "b")]),
            ("none", json!(5), vec![]),
        ] {
            let request = json!({
                "id": id, "objectType": "Voyage", "keys": keys, "fields": fields, "snapshot": true,
            });
            v1.subscribe(&request).await;
            let expected = expected.into_iter();
            let expected: HashMap<u64, _> = expected
                .map(|(key, id, comments)| (key, (id.clone(), comments.to_owned())))
                .collect();
            assert_eq!(snapshot(&mut v1, id).await, expected, "{id}");
            assert_eq!(v1.expect("live").await["id"], id);
        }
        // A reference, with the members of the last change.
        let request = json!({"id":"plain","objectType":"Voyage","keys":2,"snapshot":true});
        v1.subscribe(&request).await;
        let object = v1.expect("snapshot").await;
        assert_eq!(
            (&object["id"], &object["eventType"], &object["dataloyObject"], &object["eventTime"]),
            (&two.clone().into(), &"U".into(), &2.into(), &"2026-09-14T13:37:26".into())
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_used_again_at_once_gets_its_own_snapshot() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    for key in 1..=50 {
        put(&world, &tenant, "C", key, "a").await;
    }
    let mut v1 = V1::open(&world, 0, &world.token(&tenant, 1, &[])).await;
    for round in 0..20 {
        v1.say(&json!({"type":"subscribe","id":"a","objectType":"Voyage","snapshot":true})).await;
        v1.say(&json!({"type":"unsubscribe","id":"a"})).await;
        let key = 1 + round;
        v1.say(
            &json!({"type":"subscribe","id":"a","objectType":"Voyage","keys":key,"snapshot":true}),
        )
        .await;
        // All of the first until its end, if anything; then the second one's.
        while v1.word().await["type"] != "unsubscribed" {}
        v1.expect("subscribed").await;
        let objects = snapshot(&mut v1, "a").await;
        assert_eq!(objects.keys().copied().collect::<Vec<_>>(), [key], "round {round}");
        v1.expect("live").await;
        v1.say(&json!({"type":"unsubscribe","id":"a"})).await;
        v1.expect("unsubscribed").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused_and_delivery_goes_on() {
    let limit = ("gateway.snapshot_objects_max", "5".to_owned());
    let Some(world) = World::start(Setup { gateway: vec![limit], ..Setup::default() }) else {
        return;
    };
    let tenant = world.tenant();
    for key in 1..=6 {
        put(&world, &tenant, "C", key, "a").await;
    }
    let mut v1 = V1::open(&world, 0, &world.token(&tenant, 1, &[])).await;
    v1.subscribe(&json!({"id":"a","objectType":"Voyage","snapshot":true})).await;
    assert_eq!(v1.refused(429, "5 objects").await.as_deref(), Some("a"));
    v1.expect("live").await;
    let id = put(&world, &tenant, "U", 6, "b").await;
    assert_eq!(v1.expect("event").await["id"], id.as_str());
    v1.subscribe(&json!({"id":"b","objectType":"Voyage","keys":[1,2],"snapshot":true})).await;
    assert_eq!(snapshot(&mut v1, "b").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_spliced_to_it_while_the_fleet_moves() {
    let Some(world) = World::start(Setup { partitions: 4, ..Setup::default() }) else { return };
    let world = Arc::new(world);
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let producer = Producer::new(&world.bootstrap(), &world.topic);
    let body = |key: u64, number: u64| {
        format!(r#"{{"new":{{"key":{key},"comments":"{number}"}},"old":null}}"#)
    };
    let record = |key: u64| format!("{tenant}/Voyage/{key}");
    for key in 0..OBJECTS {
        producer.sound(&record(key), "1;C;;none", &body(key, 0)).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (done, tenant) = (Arc::clone(&done), tenant.clone());
        Task::start(async move {
            // Of each object, how often it was written.
            let mut number = 0;
            while !done.load(Ordering::Relaxed) {
                number += 1;
                for key in 0..OBJECTS {
                    let body = body(key, number);
                    producer.sound(&format!("{tenant}/Voyage/{key}"), "1;U;;none", &body).await;
                }
            }
            number
        })
    };
    let (says_last, last) = watch::channel(u64::MAX);
    let spliced = Arc::new(Semaphore::new(0));
    let followers: Vec<_> = (0..SNAPSHOTS)
        .map(|number| {
            let (world, token) = (Arc::clone(&world), token.clone());
            let (spliced, last) = (Arc::clone(&spliced), last.clone());
            Task::start(async move {
                let v1 = V1::open(&world, usize::try_from(number % 2).unwrap(), &token).await;
                follow(v1, number, &spliced, last).await;
            })
        })
        .collect();
    let all = u32::try_from(SNAPSHOTS).unwrap();
    let writing = spliced.acquire_many(all).await.unwrap();
    done.store(true, Ordering::Relaxed);
    let number = writer.join().await;
    says_last.send(number).unwrap();
    for follower in followers {
        follower.join().await;
    }
    drop(writing);
    println!("{SNAPSHOTS} snapshots of {OBJECTS} objects while each was written {number} times");
}

/// Takes a snapshot and follows until the last change; says when it has followed for a while.
async fn follow(mut v1: V1, number: u64, spliced: &Semaphore, mut last: watch::Receiver<u64>) {
    let (keys, count) = match number % 3 {
        0 => (json!("*"), usize::try_from(OBJECTS).unwrap()),
        1 => (json!([number % OBJECTS, (number + 1) % OBJECTS]), 2),
        _ => (json!(number % OBJECTS), 1),
    };
    let request = json!({
        "id": "a", "objectType": "Voyage", "keys": keys, "fields": {"comments":"*"}, "snapshot": true,
    });
    v1.subscribe(&request).await;
    let objects = snapshot(&mut v1, "a").await;
    assert_eq!(objects.len(), count, "all objects have been written before");
    let mut at: HashMap<u64, u64> =
        objects.into_iter().map(|(key, (_, number))| (key, number.parse().unwrap())).collect();
    let mut events = 0;
    while at.values().any(|number| *number < *last.borrow()) {
        let word = tokio::select! {
            word = v1.next() => word,
            // It may have come before.
            changed = last.changed() => {
                changed.unwrap();
                continue;
            }
        };
        match word["type"].as_str().unwrap() {
            "event" => step(&mut at, &word),
            "cursor" | "live" => continue,
            _ => panic!("{word}"),
        }
        events += 1;
        if events == FOLLOWED {
            spliced.add_permits(1);
        }
    }
}

/// The next event of an object is the one after what is known of it.
fn step(at: &mut HashMap<u64, u64>, word: &Value) {
    let object = &word["dataloyObject"];
    let number: u64 = object["comments"].as_str().unwrap().parse().unwrap();
    let known = at.get_mut(&object["key"].as_u64().unwrap()).unwrap();
    assert_eq!(number, *known + 1, "neither lost nor stepped back: {word}");
    *known = number;
}
