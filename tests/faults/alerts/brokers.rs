//! Three brokers, one of which at a time is killed, stopped or frozen while two replicas run, and replicas are killed
//! on top. Struck are those that matter to a transaction: the coordinator of the group, that of the transactions of
//! one replica, a leader of the changes, a leader of the alerts.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tidewire_testkit::service::Service;

use super::bed::{Alert, Alerts, Bed, Load, PARTITIONS, PATIENCE, changes, until, write};
use super::{owed, save_both};
use crate::dice::Dice;
use crate::figure;
use crate::topics::Topics;

const BROKERS: usize = 3;
/// Between two changes.
const PAUSE: Duration = Duration::from_millis(4);
/// Partitions of each of Kafka's own topics, as the test kit sets them.
const INTERNAL_PARTITIONS: i32 = 3;
/// Alerts that have to come between two faults: nothing is struck that does not go on.
const BETWEEN: u64 = 200;
/// How long a broker may take until all is in sync again.
const SYNC_LIMIT: Duration = Duration::from_secs(90);
const GROUP: &str = "tidewire.alerts";

/// What a broker does that makes it worth striking.
#[derive(Clone, Copy, Debug)]
enum Role {
    /// Of the group of all replicas.
    GroupCoordinator,
    /// Of the transactions of this replica.
    TransactionCoordinator(usize),
    /// Of a partition of this topic.
    Leader(&'static str, i32),
}

impl Role {
    /// The broker, from 0.
    fn broker(self, topics: &Topics) -> usize {
        let (topic, partition) = match self {
            Self::GroupCoordinator => ("__consumer_offsets", place(GROUP)),
            Self::TransactionCoordinator(replica) => {
                ("__transaction_state", place(&format!("{GROUP}.replica-{replica}")))
            }
            Self::Leader(topic, partition) => (topic, partition),
        };
        let id = topics.leader_within(topic, partition, SYNC_LIMIT);
        usize::try_from(id - 1).unwrap()
    }
}

/// The partition of Kafka's own topics in which a group or a transactional id is kept: Java's hash of the name.
fn place(name: &str) -> i32 {
    let hash =
        name.bytes().fold(0_i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)));
    hash.checked_abs().unwrap_or(0) % INTERNAL_PARTITIONS
}

/// What is done to a broker.
#[derive(Clone, Copy, Debug)]
enum Act {
    Kill,
    Stop,
    Freeze,
}

/// Strikes so many times, unless the environment says how often.
pub(crate) async fn run(strikes: u64) {
    let Some(mut bed) = Bed::of(BROKERS) else { return };
    let (strikes, seed) = (figure("KILLS", strikes), figure("SEED", 5));
    let mut dice = Dice::new(seed);
    save_both(&bed).await;
    let (alerts, all) = (Alerts::committed(&bed), Alerts::written(&bed));
    let load = Load::start(bed.producer(), "acme", PAUSE);
    let mut replicas = [0, 1].map(|number| {
        let name = format!("replica-{number}");
        let own = [("alerts.instance", name.as_str()), ("kafka.replication_factor", "3")];
        let mut replica = bed.replica(&own);
        replica.launch().unwrap();
        replica
    });
    for replica in &mut replicas {
        replica.wait_until_ready().unwrap();
    }
    for replica in &replicas {
        until("each has half of the partitions", replica, |replica| {
            replica.metric("tidewire_alerts_partitions").unwrap() == f64::from(PARTITIONS / 2)
        });
    }
    alerts.wait_for(alerts.count() + BETWEEN);

    let began = Instant::now();
    let (mut kills, mut longest) = (0, Duration::ZERO);
    for strike in 0..strikes {
        let role = match strike % 4 {
            0 => Role::GroupCoordinator,
            1 => Role::TransactionCoordinator(usize::from(strike % 8 == 1)),
            2 => Role::Leader("changes", i32::try_from(dice.between(0, 3)).unwrap()),
            _ => Role::Leader("alerts", i32::try_from(dice.between(0, 2)).unwrap()),
        };
        // Each of the four is met by each of the three in twelve strikes.
        let act = [Act::Kill, Act::Freeze, Act::Stop][usize::try_from(strike % 3).unwrap()];
        let broker = role.broker(&bed.topics);
        let struck = Instant::now();
        match act {
            Act::Kill => bed.kafka.kill(broker).unwrap(),
            Act::Stop => bed.kafka.stop(broker).unwrap(),
            Act::Freeze => bed.kafka.freeze(broker).unwrap(),
        }
        // Every other time a replica goes in the midst of it, at once or after it has noticed.
        if strike % 2 == 1 {
            let replica = &mut replicas[usize::try_from(dice.between(0, 1)).unwrap()];
            tokio::time::sleep(Duration::from_millis(dice.between(0, 2_000))).await;
            replica.kill();
            revive(replica);
            kills += 1;
        }
        // Two brokers are enough: alerts go on while it is away.
        goes_on(&alerts, &mut replicas);
        longest = longest.max(struck.elapsed());
        match act {
            Act::Freeze => bed.kafka.thaw(broker).unwrap(),
            Act::Kill | Act::Stop => bed.kafka.restart(broker).unwrap(),
        }
        for (topic, partitions) in
            [("changes", PARTITIONS), ("alerts", 3), ("__consumer_offsets", 3)]
        {
            assert!(bed.topics.in_sync_within(topic, partitions, SYNC_LIMIT), "{topic} in sync");
        }
        assert!(bed.topics.in_sync_within("__transaction_state", 3, SYNC_LIMIT), "in sync");
        goes_on(&alerts, &mut replicas);
        println!("{strike}: {act:?} {role:?} (broker {broker}), {:?}", struck.elapsed());
    }
    let lasted = began.elapsed();

    let written = load.stop().await;
    let fresh = write(bed.producer(), "acme", written.len() as u64).await;
    let log = changes(&bed);
    // What was acknowledged stands in the log. That a producer of the test's wrote a change twice is none of the
    // service's business: both records are owed.
    let numbers: BTreeSet<u64> = log.iter().map(|(_, number)| *number).collect();
    assert!(numbers.iter().copied().eq(0..=fresh.1), "{} of {}", numbers.len(), fresh.1 + 1);
    let twice = log.len() - numbers.len();
    let owed: Vec<Alert> = owed(&log);
    alerts.wait_for(owed.len() as u64);
    alerts.wait_for_alert(&("always".to_owned(), fresh.0));
    alerts.judge(&owed, &[]);
    let total =
        |name: &str| -> f64 { replicas.iter().map(|replica| replica.metric(name).unwrap()).sum() };
    let aborted = total("tidewire_alerts_batches_total{outcome=\"aborted\"}");
    let fenced = total("tidewire_alerts_batches_total{outcome=\"fenced\"}");
    for replica in &mut replicas {
        replica.signal("TERM").unwrap();
        assert_eq!(replica.wait(PATIENCE).unwrap(), Some(0), "{}", replica.tail());
    }
    println!(
        "seed {seed}: {strikes} brokers struck and {kills} replicas killed in {lasted:?}, {} changes ({twice} twice), {} alerts owed, \
         0 lost, 0 doubled; {} written and never committed; batches of the last lives: {aborted} aborted, {fenced} \
         fenced; longest from a strike to {BETWEEN} new alerts {longest:?}",
        log.len(),
        owed.len(),
        all.count() - alerts.count(),
    );
}

/// Waits for so many more alerts. No replica ends by itself, whatever becomes of brokers.
fn goes_on(alerts: &Alerts, replicas: &mut [Service]) {
    let (until, enough) = (Instant::now() + PATIENCE, alerts.count() + BETWEEN);
    while !alerts.wait_a_second_for(enough) {
        for replica in &mut *replicas {
            assert_eq!(replica.ended().unwrap(), None, "it ended by itself:\n{}", replica.tail());
        }
        assert!(Instant::now() < until, "{} of {enough} alerts came", alerts.count());
    }
}

/// Starts a replica again, as an orchestrator does: it may end at its start while brokers are away.
fn revive(replica: &mut Service) {
    let until = Instant::now() + PATIENCE;
    loop {
        replica.launch().unwrap();
        match replica.wait_until_ready() {
            Ok(()) => return,
            Err(error) => assert!(Instant::now() < until, "{error:#}"),
        }
        replica.kill();
    }
}
