//! A client far behind the hot window catches up from Kafka while live traffic goes on, and the replica's
//! memory does not grow with what it is behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::log::Producer;
use crate::support::v1::V1;
use crate::support::{Setup, Task, World, figure};

/// How many events behind; `TIDEWIRE_BEHIND` says otherwise.
const BEHIND: u64 = 20_000;
/// Written at a time.
const AT_ONCE: u64 = 500;
const PARTITIONS: i32 = 4;
/// What a replica may grow by: window, segments on their way, queues, and what the allocator keeps.
const GROWTH_MAX: u64 = 64 << 20;

async fn write(producer: &Producer, tenant: &str, numbers: std::ops::Range<u64>) {
    let puts = numbers.map(|number| async move {
        let key = format!("{tenant}/Voyage/{}", number % 100);
        let comments = "c".repeat(200);
        let body = format!(
            r#"{{"new":{{"key":{},"daysTotal":{number},"comments":"{comments}"}}}}"#,
            number % 100
        );
        producer.sound(&key, "1;U;;none", &body).await
    });
    futures_util::future::join_all(puts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_far_behind_catches_up_while_others_are_live() {
    let setup = Setup {
        partitions: PARTITIONS,
        gateway: vec![("gateway.window_bytes_max", "1MiB".to_owned())],
        ..Setup::default()
    };
    let Some(world) = World::start(setup) else { return };
    let world = Arc::new(world);
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let request = json!({"id":"a","objectType":"Voyage","fields":{"daysTotal":"*"}});
    let mut v1 = V1::open(&world, 0, &token).await;
    let cursor = v1.subscribe(&request).await;
    drop(v1);
    let behind = figure("TIDEWIRE_BEHIND", BEHIND);
    let producer = Arc::new(Producer::new(&world.bootstrap(), &world.topic));
    let mut written = 0;
    while written < behind {
        let next = behind.min(written + AT_ONCE);
        write(&producer, &tenant, written..next).await;
        written = next;
    }
    // Live traffic, of another type, and one who measures how it comes.
    let live_request = json!({"id":"live","objectType":"Vessel"});
    let mut live = V1::open(&world, 0, &token).await;
    live.subscribe(&live_request).await;
    live.expect("live").await;
    let before = world.gateways[0].resident_bytes().unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let traffic = {
        let (done, tenant, world) = (Arc::clone(&done), tenant.clone(), Arc::clone(&world));
        Task::start(async move {
            let producer = Producer::new(&world.bootstrap(), &world.topic);
            let (mut worst, mut number, mut peak) = (Duration::ZERO, 0_u64, 0);
            while !done.load(Ordering::Relaxed) {
                let key = format!("{tenant}/Vessel/{}", number % 10);
                let since = Instant::now();
                let id = producer.sound(&key, "1;U;;none", r#"{"new":{}}"#).await;
                assert_eq!(live.expect("event").await["id"], id.as_str(), "live goes on");
                worst = worst.max(since.elapsed());
                // The type that is being read, too: the reader has to catch up with these.
                write(&producer, &tenant, 1_000_000 + number..1_000_001 + number).await;
                peak = peak.max(world.gateways[0].resident_bytes().unwrap());
                number += 1;
            }
            (worst, number, peak)
        })
    };
    let since = Instant::now();
    let mut v1 = V1::open(&world, 0, &token).await;
    let mut resume = request.clone();
    resume["from"] = cursor.into();
    v1.subscribe(&resume).await;
    let mut seen = vec![false; usize::try_from(behind).unwrap()];
    let mut replayed = 0_u64;
    let said = loop {
        let word = v1.word().await;
        match word["type"].as_str().unwrap() {
            "event" => {
                replayed += 1;
                let number = word["dataloyObject"]["daysTotal"].as_u64().unwrap();
                if number < behind {
                    let place = &mut seen[usize::try_from(number).unwrap()];
                    assert!(!std::mem::replace(place, true), "{number} came twice");
                }
            }
            "live" => break word["replayed"].as_u64().unwrap(),
            _ => panic!("{word}"),
        }
    };
    let took = since.elapsed();
    done.store(true, Ordering::Relaxed);
    let (worst, live_events, peak) = traffic.join().await;
    assert_eq!(said, replayed);
    assert!(seen.iter().all(|seen| *seen), "nothing is lost");
    let grown = peak.saturating_sub(before);
    let reads = world.gateways[0].metric("tidewire_history_reads_total").unwrap();
    println!(
        "{behind} events behind: caught up in {took:?} with {reads} reads of Kafka; {live_events} live \
         events meanwhile, the slowest {worst:?}; memory {} MiB, grown by at most {} MiB",
        before >> 20,
        grown >> 20
    );
    assert!(reads > 0.0, "the window cannot hold that");
    assert!(grown < GROWTH_MAX, "grown by {grown} bytes");
    // Live from here.
    world
        .post(
            &tenant,
            r#"{"objectType":"Voyage","key":1,"operation":"U","new":{"key":1,"daysTotal":7}}"#,
        )
        .await;
    while v1.expect("event").await["dataloyObject"]["daysTotal"] != 7 {}
}
