//! Values that this store did not write, or wrote in a form it no longer knows.

use tidewire_store::{SessionStore, StoreError, StoreStatus, TicketStore, WriteOutcome};
use tidewire_testkit::redis::Redis;

use crate::{Connected, NEW, STRAYS, options, owner, session, with};

const KEY: &str = "tw:{4:acme}:session:3:ola:4:main:12:Voyage/CUD/*";
const OWNER: &str = "01010101010101010101010101010101";

/// What may stand where a session should.
const ROWS: [&[&str]; 8] = [
    &["SET", KEY, "garbage"],
    &["RPUSH", KEY, "a", "b"],
    &["HSET", KEY, "else", "1"],
    &["HSET", KEY, "state", r#"{"v":1}"#],
    &["HSET", KEY, "owner", OWNER, "state", "{"],
    &["HSET", KEY, "owner", OWNER, "state", r#"{"v":99,"fields":"later"}"#],
    &["HSET", KEY, "owner", OWNER, "state", ""],
    &["HSET", KEY, "owner", OWNER, "state", r#"{"v":1,"fields":7}"#],
];

#[tokio::test]
async fn an_unreadable_session_is_counted_and_starts_anew() {
    let Some(redis) = Redis::start().unwrap() else { return };
    let connected = Connected::to(options(redis.url())).await;
    let store = &connected.store;
    let id = session("acme", "main");
    for (number, row) in (1..).zip(ROWS) {
        redis.run(&["FLUSHALL"]).unwrap();
        redis.run(row).unwrap();
        assert_eq!(store.claim(id.clone(), owner(1)).await, Ok(NEW), "{row:?}");
        assert_eq!(store.health().corrupt, number, "{row:?}");
        let saved = store.save_fields(id.clone(), owner(1), Some("new".into())).await;
        assert_eq!(saved, Ok(WriteOutcome::Held));
        assert_eq!(store.claim(id.clone(), owner(2)).await, Ok(with("new")), "{row:?}");
        assert_eq!(store.health().corrupt, number, "{row:?}");
        assert_eq!(redis.run(&["EVAL", STRAYS, "0"]).unwrap(), "0", "{row:?}");
    }
}

#[tokio::test]
async fn an_unreadable_session_is_nobody_elses() {
    let Some(redis) = Redis::start().unwrap() else { return };
    let connected = Connected::to(options(redis.url())).await;
    let store = &connected.store;
    let id = session("acme", "main");
    for (number, row) in (0..).zip(&ROWS[..4]) {
        redis.run(&["FLUSHALL"]).unwrap();
        redis.run(row).unwrap();
        assert_eq!(store.still_owned(vec![(id.clone(), owner(2))]).await, Ok(vec![true]));
        assert_eq!(store.health().corrupt, 2 * number + 1, "{row:?}");
        assert_eq!(store.release(id.clone(), owner(2)).await, Ok(()), "{row:?}");
        let saved = store.save_fields(id.clone(), owner(2), Some("mine".into())).await;
        assert_eq!(saved, Ok(WriteOutcome::Held), "{row:?}");
        assert_eq!(store.health().corrupt, 2 * number + 2, "{row:?}");
        assert_eq!(store.claim(id.clone(), owner(3)).await, Ok(with("mine")), "{row:?}");
    }
}

#[tokio::test]
async fn an_unreadable_ticket_is_void_and_gone() {
    let Some(redis) = Redis::start().unwrap() else { return };
    let connected = Connected::to(options(redis.url())).await;
    let store = &connected.store;
    let key = format!("tw:ticket:{}", "01".repeat(32));
    let rows: [&[&str]; 3] = [
        &["RPUSH", &key, "a"],
        &["HSET", &key, "a", "b"],
        &["EVAL", r"return redis.call('SET', KEYS[1], '\255\254')", "1", &key],
    ];
    for (number, row) in (1..).zip(rows) {
        redis.run(row).unwrap();
        let taken = store.take([1; 32]).await;
        assert!(matches!(taken, Err(StoreError::Corrupt { what: "ticket", .. })), "{taken:?}");
        assert_eq!(store.health().corrupt, number);
        assert_eq!(store.take([1; 32]).await, Ok(None));
    }
    assert!(store.available());
}
