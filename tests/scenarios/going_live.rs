//! A change posted the moment `onopen` fires is delivered: what is committed after the 101 is never missed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::support::log::Producer;
use crate::support::{Setup, World};

const TRIES: u64 = 1_000;
const AT_ONCE: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_posted_the_moment_a_socket_opens_is_delivered() {
    let Some(world) = World::start(Setup { partitions: 4, ..Setup::default() }) else { return };
    let world = Arc::new(world);
    let tenant = world.tenant();
    let producer = Arc::new(Producer::new(&world.bootstrap(), &world.topic));
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let token = world.token(&tenant, 1, &[]);
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..TRIES {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let (world, producer) = (Arc::clone(&world), Arc::clone(&producer));
        let (tenant, token) = (tenant.clone(), token.clone());
        tries.spawn(async move {
            let gateway = usize::try_from(number % 2).unwrap();
            let mut socket =
                world.open_as(gateway, &format!("Voyage/U/{number}"), &token).await;
            // Every tenth through capture, the others by the shortest way there is.
            let id = if number % 10 == 0 {
                let change = format!(
                    r#"{{"objectType":"Voyage","key":{number},"operation":"U","new":{{"key":{number}}}}}"#
                );
                world.post(&tenant, &change).await
            } else {
                let key = format!("{tenant}/Voyage/{number}");
                producer.sound(&key, "1;U;;none", r#"{"new":{}}"#).await
            };
            let came = socket.next_within(Duration::from_secs(20)).await;
            let came = came.map(|came| format!("{came:?}")).unwrap_or_default();
            assert!(came.contains(&format!("\\\"id\\\":\\\"{id}\\\"")), "try {number}: {came}");
            drop(place);
        });
    }
    let mut delivered = 0;
    while let Some(done) = tries.join_next().await {
        done.unwrap();
        delivered += 1;
    }
    assert_eq!(delivered, TRIES);
}
