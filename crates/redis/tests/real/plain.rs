//! One Redis: the contract, and what stands in it afterwards.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidewire_redis::RedisOptions;
use tidewire_store::contract::{self, Subject};
use tidewire_store::{
    BoxFuture, Claimed, SessionStore, SessionWrite, Store, StoreStatus, TicketStore, WriteOutcome,
};
use tidewire_testkit::redis::Redis;
use tokio::task::JoinSet;

use crate::{AGE, At, Connected, Found as _, STRAYS, options, owner, session};

/// A store and the server under it.
pub(crate) struct Standalone<'a>(pub(crate) &'a Connected, pub(crate) &'a Redis);

impl Subject for Standalone<'_> {
    fn store(&self) -> Arc<dyn Store> {
        self.0.shared()
    }

    fn let_pass(&self, time: Duration) -> BoxFuture<()> {
        self.1.run(&["EVAL", AGE, "0", &time.as_millis().to_string()]).unwrap();
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn keeps_the_contract() {
    let Some(redis) = Redis::start().unwrap() else { return };
    let connected = Connected::to(options(redis.url())).await;
    contract::all(&Standalone(&connected, &redis)).await;
    assert_ne!(redis.run(&["DBSIZE"]).unwrap(), "0");
    assert_eq!(redis.run(&["EVAL", STRAYS, "0"]).unwrap(), "0");
    let health = connected.store.health();
    assert_eq!((health.available, health.errors, health.corrupt), (true, 0, 0));
    assert_eq!(health.detail, None);
}

#[tokio::test]
async fn the_stored_form_is_as_documented() {
    let Some(redis) = Redis::start().unwrap() else { return };
    let connected = Connected::to(options(redis.url())).await;
    let store = &connected.store;
    let at = At(store, session("acme", "main"));
    let owner = at.claim(0xab).await.finds_none();
    store.put([0xcd; 32], r#"{"who":1}"#.into(), Duration::from_secs(60)).await.unwrap();

    let key = "tw:{4:acme}:session:3:ola:4:main:12:Voyage/CUD/*";
    assert_eq!(redis.run(&["HGET", key, "owner"]).unwrap(), "ab".repeat(16));
    assert_eq!(redis.run(&["HGET", key, "number"]).unwrap(), owner.number.to_string());
    assert_eq!(redis.run(&["HGET", key, "position"]).unwrap(), "start");
    assert_eq!(redis.run(&["HGET", key, "new"]).unwrap(), "1");
    at.both(owner, "{}", "p").await.unwrap();
    assert_eq!(redis.run(&["HGET", key, "position"]).unwrap(), "p");
    assert_eq!(redis.run(&["HGET", key, "new"]).unwrap(), "");
    assert_eq!(redis.run(&["HGET", key, "state"]).unwrap(), r#"{"v":1,"fields":"{}"}"#);
    let ticket = format!("tw:ticket:{}", "cd".repeat(32));
    assert_eq!(redis.run(&["GET", &ticket]).unwrap(), r#"{"who":1}"#);
    let ttl = |key: &str| redis.run(&["TTL", key]).unwrap().parse::<u32>().unwrap();
    assert!((80_000..=86_400).contains(&ttl(key)) && (1..=60).contains(&ttl(&ticket)));
    assert_eq!(redis.run(&["DBSIZE"]).unwrap(), "2");

    store.release(session("acme", "main"), owner).await.unwrap();
    assert_eq!(redis.run(&["HGET", key, "owner"]).unwrap(), "");
    assert_eq!(redis.run(&["HGET", key, "number"]).unwrap(), owner.number.to_string());
    assert_eq!(redis.run(&["HLEN", key]).unwrap(), "5");
    assert_eq!(store.take([0xcd; 32]).await, Ok(Some(r#"{"who":1}"#.into())));
    assert_eq!(redis.run(&["DBSIZE"]).unwrap(), "1");
}

#[tokio::test]
async fn of_many_at_once_one_wins() {
    let Some(redis) = Redis::start().unwrap() else { return };
    let replicas =
        [Connected::to(options(redis.url())).await, Connected::to(options(redis.url())).await];
    replicas[0].store.put([1; 32], "{}".into(), Duration::from_secs(60)).await.unwrap();
    let mut takes = JoinSet::new();
    let mut claims = JoinSet::new();
    for number in 1..=50_u8 {
        let store = replicas[usize::from(number % 2)].store.clone();
        takes.spawn(store.take([1; 32]));
        claims.spawn(store.claim(session("acme", "main"), [number; 16], String::new()));
    }
    let taken = takes.join_all().await;
    assert_eq!(taken.iter().filter(|grant| matches!(grant, Ok(Some(_)))).count(), 1);
    assert!(taken.iter().all(Result::is_ok));
    let claimed = claims.join_all().await;
    let claimed: Vec<_> = claimed.into_iter().map(Result::unwrap).collect();
    assert_eq!(claimed.iter().filter(|claimed| claimed.position.is_none()).count(), 1);
    let numbers: HashSet<_> = claimed.iter().map(|claimed| claimed.owner.number).collect();
    assert_eq!(numbers.len(), 50);
    let last = claimed.iter().max_by_key(|claimed| claimed.owner.number).unwrap().owner;
    for Claimed { owner, .. } in claimed {
        let check = SessionWrite::check(session("acme", "main"), owner);
        let outcome = if owner == last { WriteOutcome::Held } else { WriteOutcome::Lost };
        assert_eq!(replicas[0].store.write(vec![check]).await, Ok(vec![outcome]));
    }
}

#[tokio::test]
async fn two_prefixes_do_not_meet() {
    let Some(redis) = Redis::start().unwrap() else { return };
    let of =
        |key_prefix: &str| RedisOptions { key_prefix: key_prefix.into(), ..options(redis.url()) };
    let (one, two) = (Connected::to(of("one")).await, Connected::to(of("two")).await);
    let at = At(&one.store, session("acme", "main"));
    let owner = at.claim(1).await.finds_none();
    At(&two.store, session("acme", "main")).claim(2).await.finds_none();
    assert_eq!(at.check(owner).await, Ok(WriteOutcome::Held));
}

#[tokio::test]
async fn a_claim_that_a_failover_lost_is_taken_back() {
    let Some(redis) = Redis::start().unwrap() else { return };
    let connected = Connected::to(options(redis.url())).await;
    let at = At(&connected.store, session("acme", "main"));
    let key = "tw:{4:acme}:session:3:ola:4:main:12:Voyage/CUD/*";
    let old = at.claim(1).await.finds_none();
    assert_eq!(at.both(old, "old", "old").await, Ok(WriteOutcome::Held));
    let mine = at.claim(2).await.finds("old", "old");
    // The new master has not heard of the last claim.
    let number = old.number.to_string();
    redis.run(&["HSET", key, "owner", &old.nonce_hex(), "number", &number]).unwrap();
    assert_eq!(at.check(mine).await, Ok(WriteOutcome::Behind));
    assert_eq!(redis.run(&["HGET", key, "owner"]).unwrap(), mine.nonce_hex());
    assert_eq!(at.both(old, "late", "late").await, Ok(WriteOutcome::Lost));
    assert_eq!(at.both(mine, "mine", "mine").await, Ok(WriteOutcome::Held));
    at.claim(3).await.finds("mine", "mine");
}

#[tokio::test]
async fn ten_thousand_sessions_are_written_in_one_call() {
    const SESSIONS: usize = 10_000;
    let Some(redis) = Redis::start().unwrap() else { return };
    let response_timeout = Duration::from_secs(2);
    let options = RedisOptions { response_timeout, ..options(redis.url()) };
    let connected = Connected::to(options).await;
    // As long as a cursor of 12 partitions.
    let position = "x".repeat(160);
    let write = |number: usize, fields| SessionWrite {
        fields,
        position: Some(position.clone()),
        ..SessionWrite::check(session(&format!("t{}", number % 50), &number.to_string()), owner(1))
    };
    let rows: [(&str, Vec<SessionWrite>); 3] = [
        ("whole", (0..SESSIONS).map(|number| write(number, Some(Some("{}".into())))).collect()),
        ("position", (0..SESSIONS).map(|number| write(number, None)).collect()),
        (
            "check",
            (0..SESSIONS)
                .map(|number| SessionWrite { position: None, ..write(number, None) })
                .collect(),
        ),
    ];
    for (what, writes) in rows {
        let started = Instant::now();
        let outcomes = connected.store.write(writes).await.unwrap();
        println!("{what}: {SESSIONS} sessions in {:?}", started.elapsed());
        assert!(outcomes.iter().all(|outcome| *outcome == WriteOutcome::Held), "{what}");
    }
    assert_eq!(redis.run(&["DBSIZE"]).unwrap(), SESSIONS.to_string());
}
