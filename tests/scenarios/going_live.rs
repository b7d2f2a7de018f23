//! A change posted the moment a client is live is delivered: what is committed after the 101, the headers of
//! an event stream, or `subscribed`, is never missed.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Semaphore;

use crate::support::log::Producer;
use crate::support::socket::Came;
use crate::support::stream::Events;
use crate::support::v1::V1;
use crate::support::{Setup, World, figure, object_path};

/// How often it is tried; `TIDEWIRE_RACES` says otherwise.
const TRIES: u64 = 1_000;
const AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_secs(20);

/// Writes the change of a try; gives its id.
async fn write(world: &World, producer: &Producer, tenant: &str, number: u64) -> String {
    // Every tenth through capture, the others by the shortest way there is.
    if number.is_multiple_of(10) {
        let change = format!(
            r#"{{"objectType":"Voyage","key":{number},"operation":"U","new":{{"key":{number}}}}}"#
        );
        return world.post(tenant, &change).await;
    }
    let key = format!("{tenant}/Voyage/{number}");
    producer.sound(&key, "1;U;;none", r#"{"new":{}}"#).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_posted_the_moment_a_client_is_live_is_delivered() {
    let Some(world) = World::start(Setup { partitions: 4, ..Setup::default() }) else { return };
    let world = Arc::new(world);
    let tenant = world.tenant();
    let producer = Arc::new(Producer::new(&world.bootstrap(), &world.topic));
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let token = world.token(&tenant, 1, &[]);
    let wanted = figure("TIDEWIRE_RACES", TRIES);
    let mut tries = tokio::task::JoinSet::new();
    let mut delivered = 0;
    for number in 0..wanted {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let (world, producer) = (Arc::clone(&world), Arc::clone(&producer));
        let (tenant, token) = (tenant.clone(), token.clone());
        tries.spawn(async move {
            let gateway = usize::try_from(number % 2).unwrap();
            let wish = format!("Voyage/U/{number}");
            // The next event; nothing but cursors comes before it.
            let (id, came) = match number / 2 % 3 {
                0 => {
                    let mut socket = world.open_as(gateway, &wish, &token).await;
                    let id = write(&world, &producer, &tenant, number).await;
                    let came = socket.next_within(PATIENCE).await;
                    let Some(Came::Text(text)) = came else { panic!("try {number}: {came:?}") };
                    (id, text)
                }
                1 => {
                    let mut v1 = V1::open(&world, gateway, &token).await;
                    let keys = [number];
                    let request = json!({"id":"a","objectType":"Voyage","events":"U","keys":keys});
                    v1.subscribe(&request).await;
                    let id = write(&world, &producer, &tenant, number).await;
                    assert_eq!(v1.expect("live").await["replayed"], 0);
                    (id, v1.expect("event").await.to_string())
                }
                _ => {
                    let path = object_path(&wish, &token);
                    let mut stream = Events::open(world.public(gateway), &path, "").await;
                    let id = write(&world, &producer, &tenant, number).await;
                    (id, stream.message().await.unwrap())
                }
            };
            assert!(came.contains(&format!("\"id\":\"{id}\"")), "try {number}: {came}");
            drop(place);
        });
        while let Some(done) = tries.try_join_next() {
            done.unwrap();
            delivered += 1;
        }
    }
    while let Some(done) = tries.join_next().await {
        done.unwrap();
        delivered += 1;
    }
    assert_eq!(delivered, wanted);
    println!("going live: {wanted} races, 0 lost");
}
