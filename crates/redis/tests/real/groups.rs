//! Redis in the plural: a Cluster, and a failover by Sentinel.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidewire_redis::{
    ACL_COMMANDS, ACL_COMMANDS_CLUSTER, ACL_COMMANDS_SENTINEL, RedisMode, RedisOptions,
};
use tidewire_store::WriteOutcome::{Held, Lost, Unknown};
use tidewire_store::contract::{self, Subject};
use tidewire_store::{BoxFuture, SessionStore, SessionWrite, Store, StoreStatus};
use tidewire_testkit::redis::{RedisCluster, RedisSentinel};

use crate::{AGE, At, Connected, Found as _, STRAYS, options, owner, session, soon};

struct Clustered<'a>(&'a Connected, &'a RedisCluster);

impl Subject for Clustered<'_> {
    fn store(&self) -> Arc<dyn Store> {
        self.0.shared()
    }

    fn let_pass(&self, time: Duration) -> BoxFuture<()> {
        self.1.run(&["EVAL", AGE, "0", &time.as_millis().to_string()]).unwrap();
        Box::pin(std::future::ready(()))
    }
}

/// The user that the reference page asks for, as arguments of `ACL`.
fn user(further: &'static str) -> Vec<&'static str> {
    let commands = ACL_COMMANDS.split(' ').chain([further]);
    ["ACL", "SETUSER", "tidewire", "on", ">pass", "~tw:*", "resetchannels", "-@all"]
        .into_iter()
        .chain(commands)
        .collect()
}

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    let Some(cluster) = RedisCluster::start().unwrap() else { return };
    cluster.run(&user(ACL_COMMANDS_CLUSTER)).unwrap();
    let url = cluster.url().replace("redis://", "redis://tidewire:pass@");
    let options = RedisOptions { mode: RedisMode::Cluster, ..options(url) };
    let connected = Connected::to(options).await;
    contract::all(&Clustered(&connected, &cluster)).await;
    // The tenants are spread over all nodes, and nothing else lies there.
    assert!(cluster.run(&["DBSIZE"]).unwrap().iter().all(|size| size != "0"));
    assert!(cluster.run(&["EVAL", STRAYS, "0"]).unwrap().iter().all(|strays| strays == "0"));
    assert_eq!(connected.store.health().errors, 0);
}

#[tokio::test]
async fn a_node_that_hangs_holds_up_its_own_tenants_only() {
    const TENANTS: usize = 600;
    let Some(cluster) = RedisCluster::start().unwrap() else { return };
    let url = cluster.url();
    let node = url.split(',').next().unwrap().to_owned();
    let options = RedisOptions { mode: RedisMode::Cluster, ..options(url) };
    let response_timeout = options.response_timeout;
    let connected = Connected::to(options).await;
    let store = &connected.store;
    let writes: Vec<_> = (0..TENANTS)
        .map(|number| SessionWrite {
            fields: Some(None),
            position: Some("p".into()),
            ..SessionWrite::check(session(&format!("t{number}"), "main"), owner(1))
        })
        .collect();
    assert_eq!(store.write(writes.clone()).await, Ok(vec![Held; TENANTS]));

    let mut node = redis::Client::open(node).unwrap().get_connection().unwrap();
    redis::cmd("CLIENT").arg("PAUSE").arg(4000).arg("ALL").exec(&mut node).unwrap();
    let started = Instant::now();
    let outcomes = soon(store.write(writes.clone())).await.unwrap();
    let limit = 5 * response_timeout;
    assert!(started.elapsed() < limit, "{:?}", started.elapsed());
    let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    assert_eq!(count(Held) + count(Unknown), TENANTS);
    assert!(count(Held) > 0 && count(Unknown) > 0, "{} held", count(Held));
    // It wakes up, and all are written again.
    soon(async {
        while store.write(writes.clone()).await != Ok(vec![Held; TENANTS]) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn ten_thousand_sessions_are_written_to_a_cluster_in_one_call() {
    let Some(cluster) = RedisCluster::start().unwrap() else { return };
    let response_timeout = Duration::from_secs(2);
    let mode = RedisMode::Cluster;
    let options = RedisOptions { mode, response_timeout, ..options(cluster.url()) };
    let connected = Connected::to(options).await;
    for tenants in [50, 10_000] {
        let started = Instant::now();
        let writes = (0..10_000)
            .map(|number| SessionWrite {
                fields: Some(None),
                position: Some("x".repeat(160)),
                ..SessionWrite::check(
                    session(&format!("t{}", number % tenants), &number.to_string()),
                    owner(1),
                )
            })
            .collect();
        let outcomes = connected.store.write(writes).await.unwrap();
        println!("cluster, {tenants} tenants: 10000 sessions in {:?}", started.elapsed());
        assert!(outcomes.iter().all(|outcome| *outcome == Held));
    }
}

#[tokio::test]
async fn a_failover_by_sentinel_keeps_the_session() {
    let Some(mut sentinel) = RedisSentinel::start().unwrap() else { return };
    sentinel.run(&user(ACL_COMMANDS_SENTINEL)).unwrap();
    // The user is for the servers; the sentinel of this test asks for none.
    let username = Some("tidewire".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let password_file = Some(folder.path().join("password"));
    std::fs::write(folder.path().join("password"), "pass").unwrap();
    let service = RedisSentinel::SERVICE.to_owned();
    let mode = RedisMode::Sentinel { service };
    let options = RedisOptions { mode, username, password_file, ..options(sentinel.url()) };
    let mut connected = Connected::to(options).await;
    let store = connected.store.clone();
    let at = At(&store, session("acme", "main"));
    let one = at.claim(1).await.finds_none();
    assert_eq!(at.both(one, "kept", "p").await, Ok(Held));
    sentinel.replicated().unwrap();

    let moved = tokio::task::spawn_blocking(move || sentinel.fail_over().map(|()| sentinel));
    connected.becomes(false).await;
    let _sentinel = soon(moved).await.unwrap().unwrap();
    connected.becomes(true).await;
    assert_eq!(at.check(one).await, Ok(Held));
    let two = at.claim(2).await.finds("kept", "p");
    assert!(two.number > one.number);
    assert_eq!(at.check(one).await, Ok(Lost));
}
