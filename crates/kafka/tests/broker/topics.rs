//! Topics are checked, and each problem names the command that mends it.

use std::time::Duration;

use tidewire_kafka::{
    CleanupPolicy, EmbeddedBroker, ExpectedTopic, KafkaOptions, check_topics, ensure_topics,
};
use tidewire_testkit::kafka::Kafka;

use crate::harness::Cluster;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn expected(name: &str, cleanup: CleanupPolicy) -> ExpectedTopic {
    let retention = (cleanup == CleanupPolicy::Delete).then_some(DAY);
    ExpectedTopic { name: name.to_owned(), partitions: 3, cleanup, retention }
}

#[tokio::test]
async fn each_problem_comes_with_its_command() {
    let Some(kafka) = Kafka::shared() else { return };
    let cluster = Cluster::of(kafka);
    let options = KafkaOptions::new(kafka.bootstrap());
    let check = async |partitions: i32, settings: &[(&str, &str)], cleanup, problems: &[&str]| {
        let topic = kafka.topic("checked");
        if partitions > 0 {
            cluster.create(&topic, partitions, settings).await;
        }
        let found = check_topics(&options, &[expected(&topic, cleanup)]).await.unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|p| p.to_string().replace(&topic, "T").replace(&options.brokers, "B"))
            .collect();
        assert_eq!(found, problems);
    };
    use CleanupPolicy::{Compact, Delete};
    check(3, &[("retention.ms", "86400000")], Delete, &[]).await;
    check(5, &[("retention.ms", "-1")], Delete, &[]).await;
    check(3, &[("cleanup.policy", "compact")], Compact, &[]).await;
    check(
        0,
        &[],
        Delete,
        &["topic T: does not exist, or may not be described; run: kafka-topics.sh --bootstrap-server B --create --topic T \
           --partitions 3 --replication-factor 1 --config cleanup.policy=delete \
           --config min.insync.replicas=1 --config retention.ms=86400000"],
    )
    .await;
    check(
        2,
        &[],
        Delete,
        &["topic T: has 2 partitions, expected at least 3; run: kafka-topics.sh \
           --bootstrap-server B --alter --topic T --partitions 3"],
    )
    .await;
    check(
        3,
        &[("cleanup.policy", "compact,delete"), ("retention.ms", "1000")],
        Delete,
        &[
            "topic T: has cleanup.policy=compact,delete, expected delete; run: kafka-configs.sh \
             --bootstrap-server B --alter --entity-type topics --entity-name T \
             --add-config cleanup.policy=delete",
            "topic T: has retention.ms=1000, expected at least 86400000; run: kafka-configs.sh \
             --bootstrap-server B --alter --entity-type topics --entity-name T \
             --add-config retention.ms=86400000",
        ],
    )
    .await;
    check(
        3,
        &[],
        Compact,
        &["topic T: has cleanup.policy=delete, expected compact; run: kafka-configs.sh \
           --bootstrap-server B --alter --entity-type topics --entity-name T \
           --add-config cleanup.policy=compact"],
    )
    .await;
}

#[tokio::test]
async fn missing_topics_are_created_and_then_pass_the_check() {
    let broker = EmbeddedBroker::start().unwrap();
    let mut places = vec![(broker.options(), Some(&broker), "made".to_owned())];
    if let Some(kafka) = Kafka::shared() {
        places.push((KafkaOptions::new(kafka.bootstrap()), None, kafka.topic("made")));
    }
    for (options, embedded, name) in places {
        let topics = [
            expected(&name, CleanupPolicy::Delete),
            expected(&format!("{name}.control"), CleanupPolicy::Compact),
        ];
        assert_eq!(check_topics(&options, &topics).await.unwrap().len(), 2);
        for _ in 0..2 {
            ensure_topics(&options, embedded, &topics).await.unwrap();
            assert_eq!(check_topics(&options, &topics).await.unwrap(), []);
        }
    }
}

#[tokio::test]
async fn a_cluster_that_is_away_is_an_error() {
    let mut options = KafkaOptions::new("127.0.0.1:1");
    options.request_timeout = Duration::from_millis(300);
    let topics = [expected("t", CleanupPolicy::Delete)];
    assert!(check_topics(&options, &topics).await.is_err());
}
