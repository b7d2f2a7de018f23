//! A stage: where it begins, what it hands out, what it commits.

use std::time::{Duration, Instant};

use rdkafka::admin::NewPartitions;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tidewire_event::{NextOffset, Partition, Position};
use tidewire_kafka::BeginAt;
use tidewire_log::{
    GapReason, LogStage, Mark, NewRecord, StageError, StageEvent, StartedFrom, WriteError,
};
use tidewire_testkit::kafka::Kafka;

use crate::harness::{Cluster, DEADLINE};
use crate::shop::{Copier, Shop, copies, copy};

fn texts(prefix: &str, count: usize) -> impl Iterator<Item = String> + use<> {
    let prefix = prefix.to_owned();
    (0..count).map(move |number| format!("{prefix}-{number}"))
}

/// Partition, next offset and reason of every assignment that was told.
fn assigned(copier: &Copier) -> Vec<(i32, i64, StartedFrom)> {
    let told = |event: &StageEvent| match event {
        StageEvent::Assigned { partition, next, from } => Some((partition.0, next.0, *from)),
        _ => None,
    };
    copier.events.iter().filter_map(told).collect()
}

fn gaps(copier: &Copier) -> Vec<(i32, i64, GapReason)> {
    let told = |event: &StageEvent| match event {
        StageEvent::Gap { partition, next, reason } => Some((partition.0, next.0, *reason)),
        _ => None,
    };
    copier.events.iter().filter_map(told).collect()
}

#[tokio::test]
async fn records_are_copied_within_the_limits_of_a_batch() {
    for mut shop in Shop::all("copied", 3).await {
        shop.options.batch.records = 10;
        for partition in 0..3 {
            shop.write(partition, texts(&format!("a{partition}"), 35));
        }
        let mut copier = shop.stage();
        let mut sizes = Vec::new();
        let deadline = Instant::now() + DEADLINE;
        while sizes.iter().sum::<usize>() < 105 {
            assert!(Instant::now() < deadline);
            let batch = copier.batch();
            for segment in batch.segments() {
                let offsets: Vec<_> =
                    segment.records_from(segment.from()).map(|r| r.offset.0).collect();
                assert!(offsets.windows(2).all(|pair| pair[0] + 1 == pair[1]));
            }
            sizes.push(batch.len());
            copier.stage.commit(&batch, &copies(&batch)).unwrap();
            assert_eq!(copier.stage.commit(&batch, &[]), Err(StageError::Stale));
        }
        assert!(sizes.iter().all(|size| *size <= 10), "{sizes:?}");
        assert_eq!(sizes.iter().sum::<usize>(), 105);
        let mut starts = assigned(&copier);
        starts.sort_by_key(|start| start.0);
        let begun = |partition| (partition, 0, StartedFrom::Beginning);
        assert_eq!(starts, [begun(0), begun(1), begun(2)]);
        let end = |partition, event: &StageEvent| {
            matches!(event, StageEvent::EndOfPartition { partition: p, next }
                if p.0 == partition && next.0 == 35)
        };
        copier.until(|copier| (0..3).all(|p| copier.events.iter().any(|event| end(p, event))));
        shop.assert_once((0..3).flat_map(|p| texts(&format!("a{p}"), 35)));
    }
}

#[tokio::test]
async fn a_batch_that_is_not_committed_is_handed_out_again() {
    for shop in Shop::all("again", 1).await {
        shop.write(0, texts("a", 5));
        let mut copier = shop.stage();
        let first = copier.batch();
        let second = copier.batch();
        assert_eq!((first.len(), second.len()), (5, 5));
        assert_eq!(copier.stage.commit(&first, &copies(&first)), Err(StageError::Stale));
        copier.stage.commit(&second, &copies(&second)).unwrap();
        shop.write(0, texts("b", 1));
        assert_eq!(copier.batch().len(), 1);
        drop(copier);
        let mut copier = shop.stage();
        copier.until(|copier| copier.copied == 1);
        assert_eq!(assigned(&copier), [(0, 5, StartedFrom::Committed)]);
        shop.assert_once(texts("a", 5).chain(texts("b", 1)));
    }
}

#[tokio::test]
async fn a_group_begins_where_it_is_told_and_a_crash_does_not_move_that() {
    for mut shop in Shop::all("begins", 2).await {
        shop.write(0, texts("old", 7));
        shop.options.begin = BeginAt::End;
        let mut copier = shop.stage();
        copier.until(|copier| assigned(copier).len() == 2);
        let mut starts = assigned(&copier);
        starts.sort_by_key(|start| start.0);
        let begun = StartedFrom::Beginning;
        assert_eq!(starts, [(0, 7, begun), (1, 0, begun)]);
        drop(copier);
        shop.write(0, texts("new", 3));
        shop.write(1, texts("other", 2));
        let mut copier = shop.stage();
        copier.until(|copier| copier.copied == 5);
        shop.assert_once(texts("new", 3).chain(texts("other", 2)));
    }
}

#[tokio::test]
async fn positions_move_over_markers_and_aborted_records() {
    let Some(shop) = Shop::shared("holes", 1).await else { return };
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &shop.kafka.brokers)
        .set("transactional.id", &shop.options.input)
        .create()
        .unwrap();
    producer.init_transactions(DEADLINE).unwrap();
    let send = |payloads: &[&str]| {
        producer.begin_transaction().unwrap();
        for payload in payloads {
            let record = BaseRecord::to(&shop.options.input).key("k").payload(*payload);
            producer.send(record).ok().unwrap();
        }
        producer.flush(DEADLINE).unwrap();
    };
    send(&["a", "b"]);
    producer.commit_transaction(DEADLINE).unwrap();
    let mut copier = shop.stage();
    copier.until(|copier| copier.copied == 2);
    send(&["x", "y"]);
    producer.abort_transaction(DEADLINE).unwrap();
    // 0 1 and a marker, 3 4 and a marker: no record is handed out, but the end is committed.
    let deadline = Instant::now() + DEADLINE;
    while shop.committed(0) != Offset::Offset(6) {
        copier.turn().unwrap();
        assert!(Instant::now() < deadline);
    }
    send(&["c"]);
    producer.commit_transaction(DEADLINE).unwrap();
    copier.until(|copier| copier.copied == 3);
    assert_eq!(gaps(&copier), []);
    shop.assert_once(["a", "b", "c"].map(str::to_owned));
}

#[tokio::test]
async fn a_committed_position_out_of_retention_is_declared() {
    let Some(kafka) = Kafka::shared() else { return };
    let (shop, cluster) = (Shop::on(kafka, "expired", 2).await, Cluster::of(kafka));
    shop.write(0, texts("a", 5));
    shop.write(1, texts("b", 5));
    let mut copier = shop.stage();
    copier.until(|copier| copier.copied == 10);
    drop(copier);
    shop.write(0, texts("lost", 10));
    shop.write(0, texts("kept", 5));
    let delete = async |before| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&shop.options.input, 0, Offset::Offset(before)).unwrap();
        cluster.admin.delete_records(&list, &cluster.options).await.unwrap();
    };
    delete(15).await;
    let mut copier = shop.stage();
    copier.until(|copier| copier.copied == 5);
    assert_eq!(gaps(&copier), [(0, 15, GapReason::Retention)]);
    drop(copier);

    // Nothing is left: the gap is declared, and its end is committed all the same.
    shop.write(0, texts("lost again", 4));
    delete(24).await;
    let mut copier = shop.stage();
    let deadline = Instant::now() + DEADLINE;
    while shop.committed(0) != Offset::Offset(24) {
        copier.turn().unwrap();
        assert!(Instant::now() < deadline, "{:?}", copier.events);
    }
    assert_eq!(gaps(&copier), [(0, 24, GapReason::Retention)]);
    drop(copier);
    let mut copier = shop.stage();
    copier.until(|copier| assigned(copier).len() == 2);
    assert_eq!(gaps(&copier), []);
    shop.assert_once(texts("a", 5).chain(texts("b", 5)).chain(texts("kept", 5)));
}

#[tokio::test]
async fn a_reader_that_retention_overtakes_declares_a_gap() {
    let Some(kafka) = Kafka::shared() else { return };
    let (mut shop, cluster) = (Shop::on(kafka, "overtaken", 1).await, Cluster::of(kafka));
    let large = |number| format!("{number} {}", "x".repeat(100_000));
    shop.write(0, (0..60).map(large));
    // Next to no reading ahead, so that the position stays behind.
    for name in ["queued.min.messages", "queued.max.messages.kbytes"] {
        shop.kafka.properties.insert(name.to_owned(), "1".to_owned());
    }
    shop.kafka.properties.insert("fetch.message.max.bytes".to_owned(), "1000".to_owned());
    shop.options.batch.records = 1;
    let mut copier = shop.stage();
    copier.until(|copier| copier.copied > 0);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&shop.options.input, 0, Offset::Offset(50)).unwrap();
    cluster.admin.delete_records(&list, &cluster.options).await.unwrap();
    let deadline = Instant::now() + DEADLINE;
    while shop.committed(0) != Offset::Offset(60) {
        copier.turn().unwrap();
        assert!(Instant::now() < deadline, "{:?}", copier.events);
    }
    assert_eq!(gaps(&copier), [(0, 50, GapReason::Retention)]);
    let output = shop.output();
    assert!(output.values().all(|count| *count == 1) && output.len() < 60, "{}", output.len());
    assert!((50..60).map(large).all(|text| output.contains_key(&text)));
}

#[tokio::test]
async fn positions_of_a_topic_that_was_created_again_meanwhile_are_void() {
    let Some(kafka) = Kafka::shared() else { return };
    let (mut shop, cluster) = (Shop::on(kafka, "meanwhile", 1).await, Cluster::of(kafka));
    shop.write(0, texts("old", 5));
    let mut copier = shop.stage();
    copier.until(|copier| copier.copied == 5);
    drop(copier);
    cluster.admin.delete_topics(&[&shop.options.input], &cluster.options).await.unwrap();
    cluster.create(&shop.options.input, 1, &[]).await;
    shop.producer =
        ClientConfig::new().set("bootstrap.servers", &shop.kafka.brokers).create().unwrap();
    shop.write(0, texts("new", 9));
    let mut copier = shop.stage();
    copier.until(|copier| copier.copied == 9);
    // The cluster forgets them, but not at once.
    let starts = assigned(&copier);
    let void = [StartedFrom::Beginning, StartedFrom::Recreated];
    assert!(void.iter().any(|from| starts == [(0, 0, *from)]), "{starts:?}");
    shop.assert_once(texts("old", 5).chain(texts("new", 9)));
}

#[tokio::test]
async fn a_partition_added_live_is_read_from_its_first_record() {
    let Some(kafka) = Kafka::shared() else { return };
    let (mut shop, cluster) = (Shop::on(kafka, "added", 1).await, Cluster::of(kafka));
    shop.options.begin = BeginAt::End;
    let mut copier = shop.stage();
    copier.until(|copier| assigned(copier).len() == 1);
    let input = &shop.options.input;
    let grown = NewPartitions::new(input, 2);
    cluster.admin.create_partitions(&[grown], &cluster.options).await.unwrap();
    let partitions = || {
        let metadata = cluster.admin.inner().fetch_metadata(Some(input), DEADLINE).unwrap();
        metadata.topics()[0].partitions().len()
    };
    let deadline = Instant::now() + DEADLINE;
    while partitions() < 2 {
        assert!(Instant::now() < deadline, "the partition does not appear");
    }
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", &shop.kafka.brokers).create().unwrap();
    for text in texts("new", 3) {
        let record = BaseRecord::to(input).key("k").payload(&text).partition(1);
        producer.send(record).ok().unwrap();
    }
    producer.flush(DEADLINE).unwrap();
    copier.until(|copier| copier.copied == 3);
    assert!(assigned(&copier).contains(&(1, 0, StartedFrom::Added)), "{:?}", copier.events);
    shop.assert_once(texts("new", 3));
}

/// What librdkafka has to say comes by the same queue as the records: here faster than it is polled.
#[tokio::test]
async fn a_stage_that_is_seldom_polled_gets_its_records_all_the_same() {
    let Some(mut shop) = Shop::shared("seldom", 1).await else { return };
    shop.kafka.properties.insert("statistics.interval.ms".to_owned(), "1".to_owned());
    // Between any two looks at the queue the cluster is asked something.
    shop.kafka.metadata_refresh = Duration::ZERO;
    shop.write(0, texts("a", 5));
    let mut copier = shop.stage();
    copier.until(|copier| copier.copied == 5);
}

#[tokio::test]
async fn a_topic_created_again_is_told_and_read_from_its_start() {
    let Some(kafka) = Kafka::shared() else { return };
    let (mut shop, cluster) = (Shop::on(kafka, "anew", 2).await, Cluster::of(kafka));
    shop.options.begin = BeginAt::End;
    let mut copier = shop.stage();
    copier.until(|copier| assigned(copier).len() == 2);
    shop.write(0, texts("old", 5));
    copier.until(|copier| copier.copied == 5);
    cluster.admin.delete_topics(&[&shop.options.input], &cluster.options).await.unwrap();
    // Long enough that the old position lies in the middle of the new topic.
    cluster.create(&shop.options.input, 2, &[]).await;
    shop.producer =
        ClientConfig::new().set("bootstrap.servers", &shop.kafka.brokers).create().unwrap();
    shop.write(0, texts("new", 9));
    shop.write(1, texts("other", 2));
    copier.until_event(|event| matches!(event, StageEvent::Recreated));
    let told = |event: &StageEvent| matches!(event, StageEvent::Recreated);
    let at = copier.events.iter().position(told).unwrap();
    copier.events.drain(..=at);
    let owed: Vec<_> = texts("old", 5).chain(texts("new", 9)).chain(texts("other", 2)).collect();
    let deadline = Instant::now() + DEADLINE;
    let is_copied = || {
        let output = shop.output();
        owed.iter().all(|text| output.contains_key(text))
    };
    while !is_copied() {
        copier.turn().unwrap();
        assert!(Instant::now() < deadline, "{:?}", copier.events);
    }
    let starts = assigned(&copier);
    assert!(starts.contains(&(0, 0, StartedFrom::Recreated)), "{starts:?}");
    assert!(starts.contains(&(1, 0, StartedFrom::Recreated)), "{starts:?}");
    assert!(!copier.events.iter().any(told), "told once");
    drop(copier);
    // What is committed belongs to the new topic.
    let mut copier = shop.stage();
    copier.until(|copier| assigned(copier).len() == 2);
    let mut starts = assigned(&copier);
    starts.sort_by_key(|start| start.0);
    assert_eq!(starts, [(0, 9, StartedFrom::Committed), (1, 2, StartedFrom::Committed)]);
}

/// As when the coordinator fails in mid-join: the group knows the name under another member id.
#[tokio::test]
async fn an_instance_that_is_fenced_by_its_name_takes_its_seat_again() {
    let Some(mut shop) = Shop::shared("seat", 2).await else { return };
    shop.options.instance = Some("only".to_owned());
    shop.write(0, texts("a", 5));
    let mut first = shop.stage();
    first.until(|copier| copier.copied == 5);
    let fence = || {
        let mut other = shop.stage();
        other.until(|copier| assigned(copier).len() == 2);
    };
    fence();
    shop.write(0, texts("b", 5));
    let deadline = Instant::now() + DEADLINE;
    while first.copied < 10 {
        assert!(Instant::now() < deadline, "{} {:?}", first.copied, first.events);
        // Its producer was fenced, too, by the other's.
        if let Err(error) = first.turn() {
            assert!(error.is_transient(), "{error}");
        }
    }
    let lost = |event: &StageEvent| matches!(event, StageEvent::Revoked { lost: true, .. });
    assert_eq!(first.events.iter().filter(|event| lost(event)).count(), 2);
    shop.assert_once(texts("a", 5).chain(texts("b", 5)));
    // Fenced again so soon: another bears its name, and one of the two has to go.
    fence();
    let deadline = Instant::now() + DEADLINE;
    let ended = loop {
        assert!(Instant::now() < deadline, "{:?}", first.events);
        if let Err(error) = first.stage.poll(std::time::Duration::from_millis(200)) {
            break error;
        }
    };
    assert!(matches!(&ended, StageError::Fatal(text) if text.contains("Fenced")), "{ended}");
}

/// A request holds many records, and the cluster refuses it as a whole.
#[tokio::test]
async fn outputs_that_are_too_large_only_together_are_written() {
    let Some(mut shop) = Shop::shared("together", 1).await else { return };
    let Some(kafka) = Kafka::shared() else { return };
    shop.options.output = kafka.topic("small");
    let small = [("max.message.bytes", "20000")];
    Cluster::of(kafka).create(&shop.options.output, 2, &small).await;
    let long = |count| texts("a", count).map(|text| format!("{text} {}", "x".repeat(1_000)));
    shop.write(0, long(200));
    let mut copier = shop.stage();
    let batch = copier.batch();
    let mut outputs = copies(&batch);
    // They stood in the log before the stage came, so one fetch has brought them.
    let count = outputs.len();
    assert!(count >= 50, "{count} records in the batch");
    // Two that are too large alone are named one after the other, and no other is.
    let large = [count / 4, count / 2];
    for index in large {
        outputs[index].payload = Some(vec![b'y'; 30_000].into());
    }
    for index in large {
        let refused = copier.stage.commit(&batch, &outputs);
        let expected = StageError::Refused { output: index, reason: WriteError::TooLarge };
        assert_eq!(refused, Err(expected));
        outputs[index].payload = Some("small".into());
    }
    copier.stage.commit(&batch, &outputs).unwrap();
    let found = shop.output();
    assert_eq!(found.values().sum::<usize>(), count);
    assert_eq!(found.get("small"), Some(&2));
}

#[tokio::test]
async fn an_output_that_cannot_be_written_is_named() {
    for shop in Shop::all("refused", 1).await {
        shop.write(0, texts("a", 3));
        let mut copier = shop.stage();
        let batch = copier.batch();
        let mut outputs = copies(&batch);
        let large = NewRecord { payload: Some(vec![b'x'; 2_000_000].into()), ..outputs[1].clone() };
        let good = std::mem::replace(&mut outputs[1], large);
        let refused = copier.stage.commit(&batch, &outputs);
        let expected = StageError::Refused { output: 1, reason: WriteError::TooLarge };
        assert_eq!(refused, Err(expected));
        outputs[1] = good;
        copier.stage.commit(&batch, &outputs).unwrap();
        shop.assert_once(texts("a", 3));
    }
}

/// Next offset and note of every place that reading began at.
fn readings(copier: &Copier) -> Vec<(i64, String)> {
    let told = |event: &StageEvent| match event {
        StageEvent::Reading { next, note, .. } => Some((next.0, note.clone())),
        _ => None,
    };
    copier.events.iter().filter_map(told).collect()
}

/// Copies the records up to an offset that are wanted; `mark` says where the group is moved to each time.
fn copy_some(
    copier: &mut Copier,
    to: i64,
    is_wanted: impl Fn(i64) -> bool,
    mark: impl Fn(i64) -> Option<Mark>,
) {
    loop {
        let batch = copier.batch();
        let all = batch.records().zip(copies(&batch));
        let wanted = all.filter(|(record, _)| is_wanted(record.offset.0)).map(|(_, copy)| copy);
        let [segment] = batch.segments() else { panic!("{batch:?}") };
        let end = segment.to().next.0;
        let marks: Vec<Mark> = mark(end).into_iter().collect();
        let committed = copier.stage.commit_at(&batch, &wanted.collect::<Vec<_>>(), &marks);
        assert_eq!(committed, Ok(()));
        if end >= to {
            return;
        }
    }
}

#[tokio::test]
async fn a_mark_and_its_note_are_committed_with_the_outputs() {
    for shop in Shop::all("marked", 1).await {
        let mark = |next: i64, note: String| Mark {
            partition: Partition(0),
            at: Position::at(NextOffset(next)),
            note,
        };
        shop.write(0, texts("a", 6));
        let mut copier = shop.stage();
        // Of what is read those at even offsets are done.
        let even = |offset: i64| offset % 2 == 0;
        copy_some(&mut copier, 6, even, |end| Some(mark(1, format!("{end}:0 a%20b@1:0"))));
        // Reading goes on behind it; what is given up is read anew from the mark.
        let given_up = copier.stage.empty_batch().unwrap();
        assert_eq!(copier.stage.empty_batch().map(|batch| batch.serial()), None);
        let noted = (1, "6:0 a%20b@1:0".to_owned());
        assert!(!readings(&copier).contains(&noted));
        copy_some(&mut copier, 6, |at| at == 1, |_| Some(mark(3, "6:0 a%20b@3:0".to_owned())));
        assert_eq!(readings(&copier).last(), Some(&noted));
        assert_eq!(copier.stage.commit(&given_up, &[]), Err(StageError::Stale));
        drop(copier);

        let mut copier = shop.stage();
        copy_some(&mut copier, 6, |at| at == 3, |_| Some(mark(5, "6:0 a%20b@5:0".to_owned())));
        assert_eq!(readings(&copier), [(3, "6:0 a%20b@3:0".to_owned())]);
        drop(copier);
        let mut copier = shop.stage();
        // Nothing yet, and then by itself.
        copy_some(&mut copier, 6, |_| false, |_| Some(mark(5, "6:0 a%20b@5:0".to_owned())));
        let empty = copier.stage.empty_batch().unwrap();
        copier.stage.commit_at(&empty, &[copy(b"a-5")], &[mark(6, String::new())]).unwrap();
        drop(copier);
        shop.write(0, texts("b", 1));
        let mut copier = shop.stage();
        copier.until(|copier| copier.copied == 1);
        assert_eq!(readings(&copier), [(6, String::new())]);
        shop.assert_once(texts("a", 6).chain(texts("b", 1)));
    }
}
