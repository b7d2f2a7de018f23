//! Records of the documented format from anybody: `kcat`, a Java client, Python's confluent-kafka, capture.
//! All of them put one object on one partition.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tidewire_testkit::kafka::Kafka;
use tidewire_testkit::tools::{Python, program, run_java};

use crate::support::log::{Producer, read_all};
use crate::support::{BASE, Expected, Setup, World};

const PARTITIONS: i32 = 8;
const OBJECTS: u64 = 24;

/// Writes one record with `kcat`, as the documentation shows.
fn kcat(bootstrap: &str, topic: &str, key: &str, header: &str, body: &str) {
    let mut child = Command::new("kcat")
        .args(["-P", "-b", bootstrap, "-t", topic, "-k", key, "-H", &format!("tw={header}")])
        .args(["-X", "partitioner=murmur2_random"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_kcat_writes_arrive() {
    if !program("kcat", "-V", "kcat").unwrap() {
        return;
    }
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let mut port_call = world.open(0, &tenant, "PortCall/U/7823672").await;
    let mut voyage = world.open(1, &tenant, "Voyage/U/5").await;
    let mut order = world.open(1, &tenant, "BunkerOrder/U/9").await;
    port_call.set_fields(r#"{"speed":"*"}"#).await;
    let body = r#"{"new":{"key":7823672,"speed":12.50,"voyage":{"key":5}},"old":null}"#;
    let key = format!("{tenant}/PortCall/7823672");
    // The owner in the header is the producer's; the voyage is told by the image.
    kcat(&world.bootstrap(), &world.topic, &key, "1;U;;none;BunkerOrder/9;some%3Bid;17;kcat", body);
    let message = port_call.json().await;
    let object =
        format!(r#"{{"key":7823672,"self":"{BASE}/ws/rest/PortCall/7823672","speed":12.50}}"#);
    assert_eq!(message["dataloyObject"].to_string(), object);
    for socket in [&mut voyage, &mut order] {
        assert_eq!(socket.json().await["id"], message["id"]);
    }
    // The same change published again, by its change id, is dropped; another one is not.
    kcat(&world.bootstrap(), &world.topic, &key, "1;U;;none;;some%3Bid;;", body);
    kcat(&world.bootstrap(), &world.topic, &key, "1;U;;none;;other;;", body);
    let next = port_call.id().await;
    let offset = |id: &str| id.split_once('-').unwrap().1.parse::<u64>().unwrap();
    assert_eq!(offset(&next), offset(message["id"].as_str().unwrap()) + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_without_a_value_is_a_delete() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let wish = "Voyage/D/5";
    let mut socket = world.open(0, &tenant, wish).await;
    let producer = Producer::new(&world.bootstrap(), &world.topic);
    let key = format!("{tenant}/Voyage/5");
    let record = crate::support::log::Record { key: Some(key.as_bytes()), ..Default::default() };
    for headers in [&[][..], &["1;D;;none;;;;"]] {
        let id = producer.put(crate::support::log::Record { headers, ..record }).await;
        let expected = Expected {
            id: &id,
            time: crate::support::log::TIME,
            kind: "Voyage",
            event: "D",
            object: "5",
            key: "5",
            tenant: &tenant,
            wish,
        };
        assert_eq!(socket.text().await, expected.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_producers_put_an_object_on_one_partition() {
    let setup = Setup { partitions: PARTITIONS, ..Setup::default() };
    let Some(world) = World::start(setup) else { return };
    let tenant = world.tenant();
    let mut socket = world.open(0, &tenant, "*/U/*").await;
    let (bootstrap, topic) = (world.bootstrap(), world.topic.clone());
    let mut lines = String::new();
    for key in 0..OBJECTS {
        lines += &format!(
            "{{\"objectType\":\"Vessel\",\"key\":{key},\"operation\":\"U\",\"new\":{{\"key\":{key}}}}}\n"
        );
    }
    world.post_lines(&tenant, &lines).await;
    let mut producers = 1;
    let prefix = format!("{tenant}/Vessel/");
    let args = [bootstrap.as_str(), topic.as_str(), prefix.as_str(), &OBJECTS.to_string()];
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/Produce.java");
    let libs = Kafka::shared().unwrap().libs();
    assert_eq!(run_java(libs, &source, &args).unwrap(), format!("{OBJECTS} written"));
    producers += 1;
    if let Some(python) = Python::find().unwrap() {
        let script = include_str!("../clients/produce.py");
        assert_eq!(python.run(script, &args).unwrap(), format!("{OBJECTS} written"));
        producers += 1;
    }
    let wanted = usize::try_from(OBJECTS * producers).unwrap();
    let mut partition_of = std::collections::HashMap::new();
    let seen =
        tokio::task::spawn_blocking(move || read_all(&bootstrap, &topic, PARTITIONS, wanted));
    for record in seen.await.unwrap() {
        let known = partition_of.entry(record.key.clone()).or_insert(record.partition);
        assert_eq!(*known, record.partition, "{}", record.key);
    }
    assert_eq!(partition_of.len(), usize::try_from(OBJECTS).unwrap());
    let used: std::collections::HashSet<i32> = partition_of.values().copied().collect();
    assert!(used.len() > 1, "the objects spread over partitions");
    // And all of them arrive.
    let mut came = std::collections::HashMap::<u64, u64>::new();
    for _ in 0..wanted {
        let message = socket.json().await;
        *came.entry(message["dataloyObject"].as_u64().unwrap()).or_default() += 1;
    }
    assert!(came.len() == partition_of.len() && came.values().all(|n| *n == producers), "{came:?}");
}
