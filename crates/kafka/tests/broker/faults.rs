//! Brokers die and come back, leaders go away, positions are lost.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tidewire_kafka::{EmbeddedBroker, KafkaOptions, StartAt, Writer};
use tidewire_log::{LogReader, LogWriter};
use tidewire_testkit::kafka::Kafka;

use crate::harness::{Cluster, DEADLINE, Event, Tail, record};

#[tokio::test]
async fn a_broker_that_is_killed_and_comes_back_loses_nothing() {
    let Some(mut kafka) = Kafka::start(1).unwrap() else { return };
    let topic = kafka.topic("killed");
    Cluster::of(&kafka).create(&topic, 3, &[("flush.messages", "1")]).await;
    let mut options = KafkaOptions::new(kafka.bootstrap());
    options.delivery_timeout = Duration::from_secs(60);
    let writer = Writer::start(&options, &topic).unwrap();
    let mut tail = Tail::assigned(&options, &topic, StartAt::End);
    let mut owed = Vec::new();
    let mut answers = Vec::new();
    let mut write = |from: usize, to: usize| {
        for number in from..to {
            owed.push(number.to_string());
            answers.push(writer.write(record(&format!("key-{}", number % 7), &number.to_string())));
        }
    };
    write(0, 200);
    tail.until_records(200);

    kafka.kill(0).unwrap();
    write(200, 400);
    tail.until_event(&Event::Fault);
    assert!(tail.reader.is_assigned());
    assert_eq!(writer.status().queued, 200);
    kafka.restart(0).unwrap();
    tail.until_event(&Event::Recovered);
    tail.until_records(400);
    for answer in answers {
        answer.await.unwrap();
    }
    let mut got = tail.texts();
    got.sort_by_key(|text| text.parse::<usize>().unwrap());
    assert_eq!(got, owed);
    let lost = |event: &Event| matches!(event, Event::Gap(..) | Event::Recreated);
    assert!(!tail.events.iter().any(lost));
    assert!(writer.status().last_error.is_none());
}

#[tokio::test]
async fn a_leader_that_is_killed_is_replaced_and_nothing_is_lost() {
    let Some(mut kafka) = Kafka::start(3).unwrap() else { return };
    let topic = kafka.topic("moved");
    Cluster::of(&kafka).create_replicated(&topic, 6, 3).await;
    let mut options = KafkaOptions::new(kafka.bootstrap());
    options.delivery_timeout = Duration::from_secs(60);
    let writer = Writer::start(&options, &topic).unwrap();
    let mut tail = Tail::assigned(&options, &topic, StartAt::End);
    let mut answers = Vec::new();
    for number in 0..600 {
        if number == 300 {
            kafka.kill(1).unwrap();
        }
        answers.push(writer.write(record(&format!("key-{}", number % 31), &number.to_string())));
    }
    for answer in answers {
        answer.await.unwrap();
    }
    tail.until_records(600);
    let mut got = tail.texts();
    got.sort_by_key(|text| text.parse::<usize>().unwrap());
    assert_eq!(got, (0..600).map(|number| number.to_string()).collect::<Vec<_>>());
    let lost = |event: &Event| matches!(event, Event::Gap(..) | Event::Recreated);
    assert!(!tail.events.iter().any(lost));
}

#[test]
fn a_partition_without_a_leader_at_start_is_not_new() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("t", 2).unwrap();
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create().unwrap();
    for _ in 0..3 {
        producer.send(BaseRecord::to("t").partition(1).key("k").payload("old")).ok().unwrap();
    }
    producer.flush(DEADLINE).unwrap();
    broker.faults().unwrap().partition_leader("t", 1, None).unwrap();
    let mut options = broker.options();
    options.request_timeout = Duration::from_millis(500);
    let mut tail = Tail::start(&options, "t", StartAt::End);
    tail.until_event(&Event::Fault);
    assert!(!tail.reader.is_assigned());
    broker.faults().unwrap().partition_leader("t", 1, Some(1)).unwrap();
    tail.until(|tail| tail.reader.is_assigned());
    tail.until_event(&Event::Assigned(1, 3));
    producer.send(BaseRecord::to("t").partition(1).key("k").payload("new")).ok().unwrap();
    producer.flush(DEADLINE).unwrap();
    tail.until_records(1);
    assert_eq!(tail.texts(), ["new"]);
}
