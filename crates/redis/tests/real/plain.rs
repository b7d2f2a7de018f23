//! One Redis: the contract, and what stands in it afterwards.

use std::sync::Arc;
use std::time::Duration;

use tidewire_store::contract::{self, Subject};
use tidewire_store::{BoxFuture, SessionStore, Store, StoreStatus, TicketStore};
use tidewire_testkit::redis::Redis;
use tokio::task::JoinSet;

use crate::{AGE, Connected, NEW, STRAYS, options, owner, session};

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
    assert_eq!(store.claim(session("acme", "main"), owner(0xab)).await, Ok(NEW));
    store.save_fields(session("acme", "main"), owner(0xab), Some("{}".into())).await.unwrap();
    store.put([0xcd; 32], r#"{"who":1}"#.into(), Duration::from_secs(60)).await.unwrap();

    let key = "tw:{4:acme}:session:3:ola:4:main:12:Voyage/CUD/*";
    assert_eq!(redis.run(&["HGET", key, "owner"]).unwrap(), "ab".repeat(16));
    assert_eq!(redis.run(&["HGET", key, "state"]).unwrap(), r#"{"v":1,"fields":"{}"}"#);
    let ticket = format!("tw:ticket:{}", "cd".repeat(32));
    assert_eq!(redis.run(&["GET", &ticket]).unwrap(), r#"{"who":1}"#);
    let ttl = |key: &str| redis.run(&["TTL", key]).unwrap().parse::<u32>().unwrap();
    assert!((80_000..=86_400).contains(&ttl(key)) && (1..=60).contains(&ttl(&ticket)));
    assert_eq!(redis.run(&["DBSIZE"]).unwrap(), "2");

    store.release(session("acme", "main"), owner(0xab)).await.unwrap();
    assert_eq!(redis.run(&["HGET", key, "owner"]).unwrap(), "");
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
        claims.spawn(store.claim(session("acme", "main"), owner(number)));
    }
    let taken = takes.join_all().await;
    assert_eq!(taken.iter().filter(|grant| matches!(grant, Ok(Some(_)))).count(), 1);
    assert!(taken.iter().all(Result::is_ok));
    let claimed = claims.join_all().await;
    assert_eq!(claimed.iter().filter(|claimed| **claimed == Ok(NEW)).count(), 1);
    let all = (1..=50).map(|number| (session("acme", "main"), owner(number))).collect();
    let owned = replicas[0].store.still_owned(all).await.unwrap();
    assert_eq!(owned.iter().filter(|owned| **owned).count(), 1);
}

#[tokio::test]
async fn two_prefixes_do_not_meet() {
    let Some(redis) = Redis::start().unwrap() else { return };
    let of = |key_prefix: &str| tidewire_redis::RedisOptions {
        key_prefix: key_prefix.into(),
        ..options(redis.url())
    };
    let (one, two) = (Connected::to(of("one")).await, Connected::to(of("two")).await);
    assert_eq!(one.store.claim(session("acme", "main"), owner(1)).await, Ok(NEW));
    assert_eq!(two.store.claim(session("acme", "main"), owner(2)).await, Ok(NEW));
    let mine = vec![(session("acme", "main"), owner(1))];
    assert_eq!(one.store.still_owned(mine).await, Ok(vec![true]));
}
