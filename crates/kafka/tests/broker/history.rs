//! What lies behind: stretches of a partition, read again.

use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tidewire_event::{LeaderEpoch, NextOffset, Partition, Position};
use tidewire_kafka::{EmbeddedBroker, History, KafkaOptions, StartAt, Writer};
use tidewire_log::{
    GapReason, HISTORY_SEGMENT_BYTES, HistoryAnswer, HistoryError, HistoryRequest, LogHistory,
    LogWriter, Segment,
};
use tidewire_testkit::kafka::Kafka;

use crate::harness::{Cluster, DEADLINE, Record, Tail, places, record, write};

fn request(partition: i32, from: Position) -> HistoryRequest {
    HistoryRequest { partition: Partition(partition), from }
}

fn at(next: i64) -> Position {
    Position::at(NextOffset(next))
}

/// The gap that stands at `from` of partition 0.
/// The answer; asked for again where the broker took too long, as whoever reads history does.
#[track_caller]
fn answer(history: &mut History, request: HistoryRequest) -> HistoryAnswer {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match history.read(request) {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

#[track_caller]
fn gap(history: &mut History, from: Position) -> (i64, GapReason) {
    match answer(history, request(0, from)) {
        HistoryAnswer::Gap { next, reason } => (next.0, reason),
        HistoryAnswer::Segment(segment) => panic!("from {from:?}: {segment:?}"),
    }
}

fn segment(answer: HistoryAnswer) -> Segment {
    match answer {
        HistoryAnswer::Segment(segment) => segment,
        HistoryAnswer::Gap { next, reason } => panic!("a gap to {next:?}: {reason:?}"),
    }
}

/// Reads on from `from` until a segment is empty. The records, and where that was.
#[track_caller]
fn read_on(history: &mut History, partition: i32, from: Position) -> (Vec<Record>, Position) {
    let mut records = Vec::new();
    let mut from = from;
    loop {
        let segment = segment(answer(history, request(partition, from)));
        assert_eq!((segment.partition(), segment.from()), (Partition(partition), from.next));
        records.extend(segment.records_from(from.next).map(|record| Record::own(&record)));
        from = segment.to();
        if segment.is_empty() {
            return (records, from);
        }
    }
}

#[tokio::test]
async fn history_is_what_the_reader_read() {
    for place in places("history", 2).await {
        let writer = Writer::start(&place.options, &place.topic).unwrap();
        let mut answers = Vec::new();
        for number in 0..3000 {
            let text = format!("{number} {}", "x".repeat(500));
            answers.push(writer.write(record(&format!("key-{}", number % 10), &text)));
        }
        for answer in answers {
            answer.await.unwrap();
        }
        let mut tail = Tail::assigned(&place.options, &place.topic, StartAt::Earliest);
        tail.until_records(3000);
        let mut history = History::new(&place.options, &place.topic).unwrap();
        let mut held = Vec::new();
        for partition in [0, 1] {
            let expected: Vec<_> =
                tail.records().filter(|r| r.partition == partition).cloned().collect();
            let last = expected.last().unwrap();
            let (records, end) = read_on(&mut history, partition, at(0));
            assert_eq!(records, expected);
            assert_eq!((end.next.0, end.epoch.0), (last.offset + 1, last.leader_epoch));
            held.push(expected);
        }
        // From anywhere, also while other places have been fetched ahead.
        for number in 0_usize..60 {
            let partition = usize::from(number % 3 == 0);
            let from = (number * 7919) % held[partition].len();
            let request = request(i32::try_from(partition).unwrap(), at(from.try_into().unwrap()));
            let segment = segment(answer(&mut history, request));
            let records: Vec<_> =
                segment.records_from(segment.from()).map(|r| Record::own(&r)).collect();
            assert!(!records.is_empty() && segment.bytes() < HISTORY_SEGMENT_BYTES + 1000);
            assert_eq!(records, held[partition][from..from + records.len()]);
        }
    }
}

#[tokio::test]
async fn history_passes_over_markers_and_shows_nothing_that_was_aborted() {
    let Some(kafka) = Kafka::shared() else { return };
    let (cluster, topic) = (Cluster::of(kafka), kafka.topic("history-transactions"));
    cluster.create(&topic, 1, &[]).await;
    let mut options = KafkaOptions::new(kafka.bootstrap());
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("transactional.id", &topic)
        .create()
        .unwrap();
    producer.init_transactions(DEADLINE).unwrap();
    let send = |payloads: &[&str]| {
        producer.begin_transaction().unwrap();
        for payload in payloads {
            producer.send(BaseRecord::to(&topic).key("k").payload(*payload)).ok().unwrap();
        }
        producer.flush(DEADLINE).unwrap();
    };
    // Offsets: 0 1 2 and a marker, 4 5 and a marker, 7 and a marker, 9 10 are open.
    send(&["a", "b", "c"]);
    producer.commit_transaction(DEADLINE).unwrap();
    send(&["x", "y"]);
    producer.abort_transaction(DEADLINE).unwrap();
    send(&["d"]);
    producer.commit_transaction(DEADLINE).unwrap();
    send(&["e", "f"]);
    let mut history = History::new(&options, &topic).unwrap();
    let mut check = |from: i64, texts: &[&str]| {
        let (records, end) = read_on(&mut history, 0, at(from));
        assert_eq!(records.iter().map(Record::text).collect::<Vec<_>>(), texts, "from {from}");
        assert_eq!(end.next, NextOffset(9), "from {from}");
    };
    check(0, &["a", "b", "c", "d"]);
    check(2, &["c", "d"]);
    for from in 3..=7 {
        check(from, &["d"]);
    }
    // Only a marker lies before the end.
    check(8, &[]);
    check(9, &[]);
    // Inside the open transaction is beyond the end.
    options.request_timeout = Duration::from_secs(1);
    let mut history = History::new(&options, &topic).unwrap();
    assert_eq!(gap(&mut history, at(10)), (9, GapReason::Truncated));
    producer.commit_transaction(DEADLINE).unwrap();
    let (records, end) = read_on(&mut history, 0, at(9));
    assert_eq!(records.iter().map(Record::text).collect::<Vec<_>>(), ["e", "f"]);
    assert_eq!(end.next, NextOffset(12));
}

#[tokio::test]
async fn what_the_log_does_not_hold_is_a_gap() {
    let Some(kafka) = Kafka::shared() else { return };
    let (cluster, topic) = (Cluster::of(kafka), kafka.topic("history-gaps"));
    cluster.create(&topic, 1, &[]).await;
    let options = KafkaOptions::new(kafka.bootstrap());
    let writer = Writer::start(&options, &topic).unwrap();
    for number in 0..10 {
        write(&writer, "k", &number.to_string()).await;
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(4)).unwrap();
    cluster.admin.delete_records(&list, &cluster.options).await.unwrap();
    let mut history = History::new(&options, &topic).unwrap();
    let with_epoch = |next, epoch| Position { next: NextOffset(next), epoch: LeaderEpoch(epoch) };
    for _ in 0..3 {
        assert_eq!(gap(&mut history, at(0)), (4, GapReason::Retention));
        assert_eq!(gap(&mut history, at(3)), (4, GapReason::Retention));
        assert_eq!(gap(&mut history, at(11)), (10, GapReason::Truncated));
        // The log knows no such epoch: what was read before 6 stood in another log.
        assert_eq!(gap(&mut history, with_epoch(6, 5)), (6, GapReason::Truncated));
        for from in [at(4), with_epoch(4, 0), at(9), with_epoch(9, 0), with_epoch(10, 0)] {
            let (records, end) = read_on(&mut history, 0, from);
            assert_eq!(
                records.first().map(|r| r.offset),
                (from.next.0 < 10).then_some(from.next.0)
            );
            assert_eq!(end.next, NextOffset(10));
        }
    }
}

#[tokio::test]
async fn a_record_larger_than_a_segment_is_a_segment() {
    for place in places("history-large", 1).await {
        let writer = Writer::start(&place.options, &place.topic).unwrap();
        let sizes = [1, 700_000, 2, 900_000, 3];
        for bytes in sizes {
            write(&writer, "k", &"x".repeat(bytes)).await;
        }
        let mut history = History::new(&place.options, &place.topic).unwrap();
        let (records, end) = read_on(&mut history, 0, at(0));
        let found: Vec<_> = records.iter().map(|record| record.text().len()).collect();
        assert_eq!((found.as_slice(), end.next), (sizes.as_slice(), NextOffset(5)));
    }
}

#[tokio::test]
async fn a_topic_created_again_is_read_from_its_start() {
    let Some(kafka) = Kafka::shared() else { return };
    let (cluster, topic) = (Cluster::of(kafka), kafka.topic("history-again"));
    let options = KafkaOptions::new(kafka.bootstrap());
    let mut history = History::new(&options, &topic).unwrap();
    for (life, count) in [9, 5, 7].into_iter().enumerate() {
        cluster.create(&topic, 1, &[]).await;
        let writer = Writer::start(&options, &topic).unwrap();
        for number in 0..count {
            write(&writer, "k", &format!("{life} {number}")).await;
        }
        history.reset();
        let (records, end) = read_on(&mut history, 0, at(0));
        let expected: Vec<_> = (0..count).map(|number| format!("{life} {number}")).collect();
        assert_eq!(records.iter().map(Record::text).collect::<Vec<_>>(), expected);
        assert_eq!(end.next, NextOffset(count));
        drop(writer);
        cluster.admin.delete_topics(&[&topic], &cluster.options).await.unwrap();
    }
}

#[tokio::test]
async fn a_broker_that_is_away_is_an_error_until_it_is_back() {
    let Some(mut kafka) = Kafka::start(1).unwrap() else { return };
    let topic = kafka.topic("history-away");
    Cluster::of(&kafka).create(&topic, 1, &[("flush.messages", "1")]).await;
    let mut options = KafkaOptions::new(kafka.bootstrap());
    let writer = Writer::start(&options, &topic).unwrap();
    for number in 0..5 {
        write(&writer, "k", &number.to_string()).await;
    }
    options.request_timeout = Duration::from_secs(2);
    let mut history = History::new(&options, &topic).unwrap();
    let (records, _) = read_on(&mut history, 0, at(0));
    assert_eq!(records.len(), 5);
    kafka.kill(0).unwrap();
    for _ in 0..2 {
        let HistoryError::Unavailable(text) = history.read(request(0, at(2))).unwrap_err();
        assert!(!text.is_empty());
    }
    kafka.restart(0).unwrap();
    let back = segment(answer(&mut history, request(0, at(2))));
    assert_eq!(back.records_from(NextOffset(0)).map(|r| r.offset.0).collect::<Vec<_>>(), [2, 3, 4]);
}

#[tokio::test]
async fn a_position_behind_a_cut_is_a_gap() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("t", 1).unwrap();
    let writer = Writer::start(&broker.options(), "t").unwrap();
    for number in 0..10 {
        if number == 5 {
            // The same leader, elected again.
            broker.faults().unwrap().partition_leader("t", 0, Some(1)).unwrap();
        }
        write(&writer, "k", &number.to_string()).await;
    }
    let mut history = History::new(&broker.options(), "t").unwrap();
    let (records, _) = read_on(&mut history, 0, at(0));
    let epochs: Vec<_> = records.iter().map(|record| record.leader_epoch).collect();
    let (before, after) = (epochs[4], epochs[5]);
    let with_epoch = |next, epoch| Position { next: NextOffset(next), epoch: LeaderEpoch(epoch) };
    for (next, epoch) in [(0, -1), (3, before), (5, before), (8, after), (8, -1)] {
        let (records, _) = read_on(&mut history, 0, with_epoch(next, epoch));
        assert_eq!(records[0].offset, next);
    }
    // Whoever read up to 8 under the first leader read what the second has not.
    assert_eq!(gap(&mut history, with_epoch(8, before)), (8, GapReason::Truncated));
}
