//! Kafka in motion: a partition added to the live topic, a broker stopped and started again.

use std::time::{Duration, Instant};

use crate::support::log::{Producer, Record, add_partitions};
use crate::support::{Setup, World, wait_until};

const UPDATE: &str = r#"{"objectType":"Voyage","key":1,"operation":"U","new":{"key":1}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_added_to_the_live_topic_is_delivered_from() {
    let Some(world) = World::start(Setup { partitions: 2, ..Setup::default() }) else { return };
    let tenant = world.tenant();
    let mut sockets =
        [world.open(0, &tenant, "Voyage/U/*").await, world.open(1, &tenant, "Voyage/U/*").await];
    add_partitions(&world.bootstrap(), &world.topic, 3);
    let producer = Producer::new(&world.bootstrap(), &world.topic);
    let key = format!("{tenant}/Voyage/1");
    let record = Record {
        key: Some(key.as_bytes()),
        headers: &["1;U;;none"],
        body: Some(br#"{"new":{"key":1}}"#),
        partition: Some(2),
    };
    // Written before any replica can know of the partition: it is read from its beginning.
    let ids = [producer.put(record).await, producer.put(record).await];
    let since = Instant::now();
    for socket in &mut sockets {
        for id in &ids {
            assert_eq!(&socket.id().await, id);
        }
    }
    assert!(since.elapsed() < Duration::from_secs(12), "{:?}", since.elapsed());
    // No gap was declared, and the old partitions go on.
    let id = producer.put(Record { partition: Some(0), ..record }).await;
    for socket in &mut sockets {
        assert_eq!(socket.id().await, id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_goes_and_comes_back_and_nothing_is_lost() {
    let setup = Setup {
        own_kafka: true,
        partitions: 3,
        common: vec![
            ("capture.write_timeout", "2s".to_owned()),
            ("capture.in_flight_max", "4".to_owned()),
        ],
        // A broker may take longer to come back than a client that is not read may leave a ping unanswered.
        gateway: vec![("gateway.ping_interval", "10m".to_owned())],
        ..Setup::default()
    };
    let Some(mut world) = World::start(setup) else { return };
    let limit = Duration::from_secs(60);
    let tenant = world.tenant();
    let mut sockets =
        [world.open(0, &tenant, "Voyage/U/*").await, world.open(1, &tenant, "Voyage/U/*").await];
    let id = world.post(&tenant, UPDATE).await;
    for socket in &mut sockets {
        assert_eq!(socket.id().await, id);
    }
    world.kafka.as_mut().unwrap().stop(0).unwrap();
    // Capture says so instead of taking what it cannot keep. An answer 503 to what was sent means unknown.
    let answer = world.try_post(&tenant, UPDATE).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.header("retry-after").is_some());
    let posts = (0..8).map(|_| world.try_post(&tenant, UPDATE));
    for answer in futures_util::future::join_all(posts).await {
        assert!([429, 503].contains(&answer.status), "{}: {}", answer.status, answer.body);
        assert!(answer.header("retry-after").is_some());
    }
    for gateway in &world.gateways {
        wait_until("the gateway sees that kafka is away", limit, || {
            gateway.metric("tidewire_kafka_available").unwrap() == 0.0
        })
        .await;
        let health = gateway.health().unwrap();
        assert_eq!(health.status, 200, "one blip of a broker must not empty the load balancer");
        assert!(health.body.contains(r#""status":"degraded""#), "{}", health.body);
    }
    // A socket that comes now waits for what comes later.
    let mut during = world.open(0, &tenant, "Voyage/U/*").await;
    world.kafka.as_mut().unwrap().restart(0).unwrap();
    let mut posted = None;
    let until = Instant::now() + limit;
    while posted.is_none() {
        assert!(Instant::now() < until, "capture takes changes again");
        let answer = world.try_post(&tenant, UPDATE).await;
        match answer.status {
            200 => posted = Some(answer.body),
            status => assert!([429, 503].contains(&status), "{}", answer.body),
        }
    }
    let posted: serde_json::Value = serde_json::from_str(&posted.unwrap()).unwrap();
    let last = posted["id"].as_str().unwrap();
    let mut came = Vec::new();
    for socket in sockets.iter_mut().chain([&mut during]) {
        let mut ids = vec![socket.id().await];
        while ids.last().unwrap() != last {
            ids.push(socket.id().await);
        }
        came.push(ids);
    }
    // Of one object, so of one partition: no offset is missing and none comes twice.
    let offsets = came[0].iter().map(|id| id.split_once('-').unwrap().1.parse::<usize>().unwrap());
    assert!(offsets.eq(1..=came[0].len()), "{:?}", came[0]);
    assert_eq!(came[0], came[1], "both replicas saw the same, in the same order");
    assert_eq!(came[0], came[2]);
    for gateway in &world.gateways {
        wait_until("the gateway sees that kafka is back", limit, || {
            gateway.metric("tidewire_kafka_available").unwrap() == 1.0
        })
        .await;
        let gaps: f64 = ["retention", "truncated", "recreated"]
            .map(|why| {
                let name = format!("tidewire_gaps_total{{reason=\"{why}\"}}");
                gateway.metric(&name).unwrap()
            })
            .iter()
            .sum();
        assert_eq!(gaps, 0.0, "no gap was declared");
    }
}
