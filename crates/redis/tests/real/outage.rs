//! Redis away: stopped, frozen, not there yet, or something that never answers.

use std::net::TcpListener;
use std::time::Duration;

use tidewire_redis::RedisOptions;
use tidewire_store::{SessionStore, StoreError, StoreStatus, TicketStore, WriteOutcome};
use tidewire_testkit::redis::Redis;

use crate::{Connected, NEW, options, owner, session, soon, with};

#[tokio::test]
async fn calls_fail_while_it_is_stopped_and_work_after() {
    let Some(mut redis) = Redis::start().unwrap() else { return };
    let mut connected = Connected::to(options(redis.url())).await;
    let store = connected.store.clone();
    let id = session("acme", "main");
    assert_eq!(store.claim(id.clone(), owner(1)).await, Ok(NEW));

    redis.stop();
    connected.becomes(false).await;
    assert_eq!(store.claim(id.clone(), owner(2)).await, Err(StoreError::Unavailable));
    assert_eq!(store.take([1; 32]).await, Err(StoreError::Unavailable));
    let asked = vec![(id.clone(), owner(1)); 1000];
    assert_eq!(store.still_owned(asked).await, Err(StoreError::Unavailable));
    let health = store.health();
    assert!(!health.available && health.errors >= 3 && health.detail.is_some(), "{health:?}");

    redis.start_again().unwrap();
    connected.becomes(true).await;
    assert_eq!(store.health().detail, None);
    // It came back empty: nobody else's claim stands there, and the next save puts the session back.
    assert_eq!(store.still_owned(vec![(id.clone(), owner(1))]).await, Ok(vec![true]));
    let saved = store.save_fields(id.clone(), owner(1), Some("again".into())).await;
    assert_eq!(saved, Ok(WriteOutcome::Held));
    assert_eq!(store.claim(id, owner(2)).await, Ok(with("again")));
}

#[tokio::test]
async fn a_frozen_one_hangs_nobody() {
    let Some(redis) = Redis::start().unwrap() else { return };
    // Only the call can notice it: the next ping is far away.
    let rare = RedisOptions { ping_interval: Duration::from_secs(6), ..options(redis.url()) };
    let mut connected = Connected::to(rare).await;
    redis.freeze().unwrap();
    let claimed = soon(connected.store.claim(session("acme", "main"), owner(1))).await;
    assert_eq!(claimed, Err(StoreError::Unavailable));
    connected.becomes(false).await;
    assert!(connected.store.health().detail.unwrap().contains("no answer within 500ms"));
    redis.thaw().unwrap();
    connected.becomes(true).await;
    assert!(connected.store.claim(session("acme", "other"), owner(1)).await.is_ok());
}

#[tokio::test]
async fn a_frozen_one_is_noticed_without_a_call() {
    let Some(redis) = Redis::start().unwrap() else { return };
    let mut connected = Connected::to(options(redis.url())).await;
    redis.freeze().unwrap();
    connected.becomes(false).await;
    redis.thaw().unwrap();
    connected.becomes(true).await;
}

#[tokio::test]
async fn it_may_come_later() {
    let Some(mut redis) = Redis::start().unwrap() else { return };
    redis.stop();
    let mut connected = Connected::start(options(redis.url()));
    let claimed = connected.store.claim(session("acme", "main"), owner(1)).await;
    assert_eq!(claimed, Err(StoreError::Unavailable));
    connected.says("refused").await;
    redis.start_again().unwrap();
    connected.becomes(true).await;
}

#[tokio::test]
async fn what_never_answers_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let connect_timeout = Duration::from_millis(200);
    let connected = Connected::start(RedisOptions { connect_timeout, ..options(url) });
    connected.says("timed out").await;
    assert!(!connected.store.available());
}

#[tokio::test]
async fn a_full_one_refuses_and_stays() {
    let Some(redis) = Redis::start().unwrap() else { return };
    let connected = Connected::to(options(redis.url())).await;
    redis.run(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    let claimed = connected.store.claim(session("acme", "main"), owner(1)).await;
    assert_eq!(claimed, Err(StoreError::Refused("OOM".into())));
    assert!(connected.store.available());
}
