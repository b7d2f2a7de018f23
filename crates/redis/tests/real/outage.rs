//! Redis away: stopped, frozen, not there yet, or something that never answers.

use std::net::TcpListener;
use std::time::Duration;

use tidewire_redis::RedisOptions;
use tidewire_store::WriteOutcome::{Behind, Held, Lost};
use tidewire_store::{SessionStore, SessionWrite, StoreError, StoreStatus, TicketStore};
use tidewire_testkit::redis::Redis;

use crate::{At, Connected, Found as _, options, session, soon};

#[tokio::test]
async fn calls_fail_while_it_is_stopped_and_work_after() {
    let Some(mut redis) = Redis::start().unwrap() else { return };
    let mut connected = Connected::to(options(redis.url())).await;
    let store = connected.store.clone();
    let at = At(&store, session("acme", "main"));
    let one = at.claim(1).await.finds_none();

    redis.stop();
    connected.becomes(false).await;
    assert_eq!(at.claim(2).await, Err(StoreError::Unavailable));
    assert_eq!(store.take([1; 32]).await, Err(StoreError::Unavailable));
    let asked = vec![SessionWrite::check(at.1.clone(), one); 1000];
    assert_eq!(store.write(asked).await, Err(StoreError::Unavailable));
    let health = store.health();
    assert!(!health.available && health.errors >= 3 && health.detail.is_some(), "{health:?}");

    redis.start_again().unwrap();
    connected.becomes(true).await;
    assert_eq!(store.health().detail, None);
    // It came back empty: nobody else's claim stands there, and a whole write puts the session back.
    assert_eq!(at.check(one).await, Ok(Behind));
    assert_eq!(at.both(one, "again", "p").await, Ok(Held));
    let two = at.claim(2).await.finds("again", "p");
    assert!(two.number > one.number);
    assert_eq!(at.check(one).await, Ok(Lost));
}

#[tokio::test]
async fn a_frozen_one_hangs_nobody() {
    let Some(redis) = Redis::start().unwrap() else { return };
    // Only the call can notice it: the next ping is far away.
    let rare = RedisOptions { ping_interval: Duration::from_secs(6), ..options(redis.url()) };
    let mut connected = Connected::to(rare).await;
    redis.freeze().unwrap();
    let claimed = soon(At(&connected.store, session("acme", "main")).claim(1)).await;
    assert_eq!(claimed, Err(StoreError::Unavailable));
    connected.becomes(false).await;
    assert!(connected.store.health().detail.unwrap().contains("no answer within 500ms"));
    redis.thaw().unwrap();
    connected.becomes(true).await;
    At(&connected.store, session("acme", "other")).claim(1).await.finds_none();
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
    let claimed = At(&connected.store, session("acme", "main")).claim(1).await;
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
    let claimed = At(&connected.store, session("acme", "main")).claim(1).await;
    assert_eq!(claimed, Err(StoreError::Refused("OOM".into())));
    assert!(connected.store.available());
}
