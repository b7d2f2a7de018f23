//! Records that cannot be used go to the quarantine topic and are counted, and their partition moves on. A
//! sound header with a broken body still reaches the sockets that need no body.

use std::time::Duration;

use crate::support::log::{Producer, Record, read_all};
use crate::support::{Setup, World, wait_until};

const BODY: &[u8] = br#"{"new":{"key":1},"old":null}"#;
const SOUND: &str = "1;U;;none;;;;";

/// What the reason says; key, headers and body of the record.
type Row = (&'static str, Option<Vec<u8>>, Vec<&'static str>, Option<&'static [u8]>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_goes_to_quarantine_and_the_partition_moves_on() {
    let Some(world) = World::start(Setup::default()) else { return };
    let tenant = world.tenant();
    let mut sockets =
        [world.open(0, &tenant, "Voyage/*/*").await, world.open(1, &tenant, "*/*/*").await];
    let producer = Producer::new(&world.bootstrap(), &world.topic);
    let good = format!("{tenant}/Voyage/1");
    let rows: Vec<Row> = vec![
        ("the record has no key", None, vec![SOUND], Some(BODY)),
        ("the record key is not", Some(b"Voyage/1".to_vec()), vec![SOUND], Some(BODY)),
        ("the record key is not", Some(b"\xff/Voyage/1".to_vec()), vec![SOUND], Some(BODY)),
        ("the object key", Some(format!("{tenant}/Voyage/").into()), vec![SOUND], Some(BODY)),
        ("the object key", Some(format!("{tenant}/Voyage/one").into()), vec![SOUND], Some(BODY)),
        ("the key's tenant", Some(b"a%2/Voyage/1".to_vec()), vec![SOUND], Some(BODY)),
        ("no 'tw' header", Some(good.clone().into()), vec![], Some(BODY)),
        ("more than one 'tw' header", Some(good.clone().into()), vec![SOUND, SOUND], Some(BODY)),
        ("the 'tw' header is not", Some(good.clone().into()), vec!["nonsense"], Some(BODY)),
        ("has format \"2\"", Some(good.clone().into()), vec!["2;U;;none"], Some(BODY)),
        ("has operation \"X\"", Some(good.clone().into()), vec!["1;X;;none"], Some(BODY)),
        ("a bad version", Some(good.clone().into()), vec!["1;U;x;none"], Some(BODY)),
        ("of the old image", Some(good.clone().into()), vec!["1;U;;some"], Some(BODY)),
        ("a bad owner", Some(good.clone().into()), vec!["1;U;;none;Voyage"], Some(BODY)),
        ("without a value is a delete", Some(good.clone().into()), vec![SOUND], None),
    ];
    for (_, key, headers, body) in &rows {
        let (key, body) = (key.as_deref(), *body);
        producer.put(Record { key, headers, body, partition: Some(0) }).await;
        let id = producer.sound(&good, SOUND, r#"{"new":{"key":1},"old":null}"#).await;
        for socket in &mut sockets {
            assert_eq!(socket.id().await, id, "the partition moves on");
        }
    }
    // Both replicas copy each record under one key, so that compaction folds the copies.
    let (bootstrap, topic) = (world.bootstrap(), world.quarantine.clone());
    let copies = rows.len() * 2;
    let seen = tokio::task::spawn_blocking(move || read_all(&bootstrap, &topic, 1, copies));
    let seen = seen.await.unwrap();
    for (number, (reason, key, headers, body)) in rows.iter().enumerate() {
        let name = format!("{}/0/{}", world.topic, number * 2);
        let copies: Vec<_> = seen.iter().filter(|record| record.key == name).collect();
        assert_eq!(copies.len(), 2, "{name}");
        for copy in copies {
            assert!(copy.header("tw-reason").contains(reason), "{reason}: {copy:?}");
            assert_eq!(copy.body, body.unwrap_or_default());
            let key = key.as_deref().unwrap_or_default();
            assert_eq!(copy.header("tw-key"), String::from_utf8_lossy(key));
            if let [header] = headers[..] {
                assert_eq!(copy.header("tw-header"), header);
            }
        }
    }
    for gateway in &world.gateways {
        let count = |part: &str| {
            let name = format!("tidewire_records_poison_total{{reason=\"{part}\"}}");
            gateway.metric(&name).unwrap()
        };
        assert_eq!((count("key"), count("header")), (6.0, 9.0));
        assert_eq!(gateway.metric("tidewire_quarantine_failed_total").unwrap(), 0.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_body_reaches_those_who_need_none_and_is_a_gap_for_the_others() {
    let Some(world) = World::start(Setup::default()) else { return };
    let tenant = world.tenant();
    let mut reference = world.open(0, &tenant, "Voyage/U/1").await;
    let mut fields = world.open(0, &tenant, "Voyage/U/1").await;
    fields.set_fields(r#"{"comments":"*"}"#).await;
    let producer = Producer::new(&world.bootstrap(), &world.topic);
    let key = format!("{tenant}/Voyage/1");
    for body in ["{", "[]", r#"{"old":null}"#, r#"{"new":{"key":2}}"#] {
        let id = producer.sound(&key, SOUND, body).await;
        assert_eq!(reference.id().await, id, "{body}");
        let gap = fields.json().await;
        assert_eq!((&gap["statusCode"], &gap["message"]), (&410.into(), &"gap".into()), "{body}");
        // The socket goes on.
        let id = producer.sound(&key, SOUND, r#"{"new":{"key":1,"comments":"b"}}"#).await;
        assert_eq!(reference.id().await, id);
        let message = fields.json().await;
        assert_eq!(
            (&message["id"], &message["dataloyObject"]["comments"]),
            (&id.into(), &"b".into())
        );
    }
    wait_until("broken bodies are counted", Duration::from_secs(5), || {
        let name = "tidewire_records_poison_total{reason=\"body\"}";
        world.gateways[0].metric(name).unwrap() >= 4.0
    })
    .await;
}
