//! The alerts service on real Kafka: killed in mid-run, stopped and started beside another, run while brokers
//! fail, and given scripts that mean harm. What stands in the alerts topic, read committed, is held against what is owed: each alert
//! once.

mod bed;
mod brokers;

use std::time::{Duration, Instant};

use bed::{Alert, Alerts, Bed, Load, PARTITIONS, until, write};

pub(crate) use brokers::run as brokers;

use crate::dice::Dice;
use crate::figure;

/// Between two changes.
const PAUSE: Duration = Duration::from_millis(2);
/// Fires over every change, and over every other one.
const ALWAYS: &str = "true";
const EVEN: &str = "dlpObject.speed % 2 == 0";
/// Takes some milliseconds, and fires over every change: its tenant is late nearly all the time.
const DEAR: &str = "let n = 0; while n < 20000 { n += 1; } true";
/// Between two changes of its tenant.
const DEAR_PAUSE: Duration = Duration::from_millis(20);
/// No quota that a busy machine could use up.
const NO_QUOTA: [(&str, &str); 2] =
    [("alerts.cpu_per_second", "10s"), ("alerts.cpu_burst", "600s")];
/// What a replica logs that goes on where somebody was late.
const GOES_ON_LATE: &str = "tenants are late";

/// What is owed of these changes to the two scripts.
fn owed(written: &[(String, u64)]) -> Vec<Alert> {
    let always = written.iter().map(|(id, _)| ("always".to_owned(), id.clone()));
    let even = written.iter().filter(|(_, number)| number % 2 == 0);
    always.chain(even.map(|(id, _)| ("even".to_owned(), id.clone()))).collect()
}

async fn save_both(bed: &Bed) {
    bed.save("acme", "always", ALWAYS).await;
    bed.save("acme", "even", EVEN).await;
}

/// Changes of a tenant with sound scripts and of one with a dear one.
struct Loads {
    acme: Load,
    slow: Load,
}

impl Loads {
    async fn start(bed: &Bed) -> Self {
        save_both(bed).await;
        bed.save("slow", "dear", DEAR).await;
        let acme = Load::start(bed.producer(), "acme", PAUSE);
        Self { acme, slow: Load::start(bed.producer(), "slow", DEAR_PAUSE) }
    }

    /// Ends them; what is owed.
    async fn stop(self) -> Vec<Alert> {
        let slow = self.slow.stop().await;
        let dear = slow.into_iter().map(|(id, _)| ("dear".to_owned(), id));
        owed(&self.acme.stop().await).into_iter().chain(dear).collect()
    }
}

/// One replica, killed again and again while changes go on.
pub(crate) async fn killed() {
    let Some(bed) = Bed::start() else { return };
    let kills = usize::try_from(figure("KILLS", 30)).unwrap();
    let seed = figure("SEED", 5);
    let mut dice = Dice::new(seed);
    let (alerts, all) = (Alerts::committed(&bed), Alerts::written(&bed));
    let loads = Loads::start(&bed).await;
    // One request for each alert: a transaction takes its time, and kills meet it.
    let own = [("alerts.instance", "replica-0"), ("kafka.properties.batch_num_messages", "1")];
    let mut replica = bed.replica(&[&own[..], &NO_QUOTA].concat());
    let (mut slowest, began) = (Duration::ZERO, Instant::now());
    for kill in 0..kills {
        let launched = Instant::now();
        replica.launch().unwrap();
        replica.wait_until_ready().unwrap();
        // Changes are written all the time. A commit has just taken effect, or a transaction is open.
        let when = if kill % 2 == 0 { &alerts } else { &all };
        when.wait_for(when.count() + dice.between(1, 400));
        slowest = slowest.max(launched.elapsed());
        replica.kill();
    }
    let late = replica.log().matches(GOES_ON_LATE).count();
    assert!(late > 0, "no kill met a tenant that was late, so the run proves less than it should");
    let struck = began.elapsed();
    replica.launch().unwrap();
    replica.wait_until_ready().unwrap();
    let owed = loads.stop().await;
    alerts.wait_for(owed.len() as u64);
    // A fresh change goes round, and nothing came after what is owed.
    let fresh = write(bed.producer(), "acme", 1).await;
    alerts.wait_for_alert(&("always".to_owned(), fresh.0.clone()));
    let owed: Vec<Alert> = owed.into_iter().chain([("always".to_owned(), fresh.0)]).collect();
    alerts.judge(&owed, &[]);
    replica.signal("TERM").unwrap();
    assert_eq!(replica.wait(Duration::from_secs(30)).unwrap(), Some(0));
    // Without transactions these would have come twice.
    all.wait_for_alert(&owed[owed.len() - 1]);
    let aborted = all.count() - alerts.count();
    assert!(aborted > 0, "no kill met an open transaction, so the run proves nothing");
    println!(
        "seed {seed}: {kills} kills in {struck:?}, {late} partitions begun anew while a tenant was late, {} alerts owed, 0 lost, \
         0 doubled, {aborted} written and never committed; longest from a start to new alerts {slowest:?}",
        owed.len(),
    );
}

/// Two replicas; one is told to stop, comes back, is killed, and comes back.
pub(crate) async fn shared() {
    let Some(bed) = Bed::start() else { return };
    let alerts = Alerts::committed(&bed);
    let loads = Loads::start(&bed).await;
    let mut replicas = [bed.replica(&NO_QUOTA), bed.replica(&NO_QUOTA)];
    for replica in &mut replicas {
        replica.launch().unwrap();
        replica.wait_until_ready().unwrap();
    }
    let has = |partitions: i32| {
        move |replica: &tidewire_testkit::service::Service| {
            replica.metric("tidewire_alerts_partitions").unwrap() == f64::from(partitions)
        }
    };
    let [first, second] = &mut replicas;
    for end in ["TERM", "KILL"] {
        for replica in [&*first, &*second] {
            until("each has half of the partitions", replica, has(PARTITIONS / 2));
        }
        alerts.wait_for(alerts.count() + 500);
        second.signal(end).unwrap();
        let code = second.wait(Duration::from_secs(30)).unwrap();
        assert_eq!(code, (end == "TERM").then_some(0));
        until("one has them all", first, has(PARTITIONS));
        alerts.wait_for(alerts.count() + 500);
        second.launch().unwrap();
        second.wait_until_ready().unwrap();
    }
    for replica in [&*first, &*second] {
        until("each has half of the partitions", replica, has(PARTITIONS / 2));
    }
    let owed = loads.stop().await;
    alerts.wait_for(owed.len() as u64);
    let fresh = write(bed.producer(), "acme", 1).await;
    alerts.wait_for_alert(&("always".to_owned(), fresh.0.clone()));
    let owed: Vec<Alert> = owed.into_iter().chain([("always".to_owned(), fresh.0)]).collect();
    alerts.judge(&owed, &[]);
    let rebalances = first.metric("tidewire_alerts_rebalances_total").unwrap();
    println!("{} alerts owed, 0 lost, 0 doubled, {rebalances} rebalances", owed.len());
}

/// Scripts that mean harm, and neighbours in the same tenant and in another.
pub(crate) async fn hostile() {
    let Some(bed) = Bed::start() else { return };
    const HOSTILE: [(&str, &str); 3] = [
        ("loop", "loop {}"),
        ("bomb", "let a = [0]; loop { a += a; }"),
        ("secret", "throw \"a secret: \" + dlpObject.speed"),
    ];
    save_both(&bed).await;
    for (code, body) in HOSTILE {
        bed.save("evil", code, body).await;
    }
    bed.save("evil", "always", ALWAYS).await;
    let alerts = Alerts::committed(&bed);
    let mut replica = bed.replica(&[]);
    replica.launch().unwrap();
    replica.wait_until_ready().unwrap();
    until("all are known", &replica, |replica| {
        replica.metric("tidewire_alerts_scripts").unwrap() == 6.0
    });
    let loads =
        [Load::start(bed.producer(), "acme", PAUSE), Load::start(bed.producer(), "evil", PAUSE)];
    alerts.wait_for(2_000);
    until("all of them are disabled, and that is written", &replica, |replica| {
        replica.metric("tidewire_alerts_scripts_disabled").unwrap() == 3.0
            && replica.metric("tidewire_alerts_states_unwritten").unwrap() == 0.0
    });
    let [ours, evil] = loads;
    let mut due = owed(&ours.stop().await);
    let evil = evil.stop().await;
    due.extend(evil.iter().map(|(id, _)| ("always".to_owned(), id.clone())));
    alerts.wait_for(due.len() as u64);
    alerts.judge(&due, &[]);
    assert!(!replica.log().contains("a secret"), "no value of an object is logged");
    let restarts = replica.metric("process_start_time_seconds").unwrap();
    // A replica that comes later knows from the control topic what is disabled.
    let mut later = bed.replica(&[]);
    later.launch().unwrap();
    later.wait_until_ready().unwrap();
    assert_eq!(later.metric("tidewire_alerts_scripts_disabled").unwrap(), 3.0);
    assert_eq!(replica.metric("process_start_time_seconds").unwrap(), restarts);
    println!("{} alerts of neighbours, 0 lost, 3 hostile scripts disabled", due.len());
}
