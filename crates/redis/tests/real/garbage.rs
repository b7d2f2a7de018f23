//! Values that this store did not write, or wrote in a form it no longer knows.

use tidewire_store::WriteOutcome::{Behind, Held, Lost};
use tidewire_store::{POSITION_BYTES_MAX, SessionStore, StoreError, StoreStatus, TicketStore};
use tidewire_testkit::redis::Redis;

use crate::{At, Connected, Found as _, STRAYS, options, owner, session};

const KEY: &str = "tw:{4:acme}:session:3:ola:4:main:12:Voyage/CUD/*";
const OWNER: &str = "01010101010101010101010101010101";

/// What may stand where a session should; the last four can only be told to be no session by reading
/// their JSON, which a write does not do.
const ROWS: [&[&str]; 12] = [
    &["SET", KEY, "garbage"],
    &["RPUSH", KEY, "a", "b"],
    &["HSET", KEY, "else", "1"],
    &["HSET", KEY, "state", r#"{"v":1}"#],
    &["HSET", KEY, "owner", OWNER, "number", "1"],
    &["HSET", KEY, "owner", OWNER, "state", r#"{"v":1}"#, "number", "x"],
    &["HSET", KEY, "owner", OWNER, "state", r#"{"v":1}"#, "number", "-1"],
    &["HSET", KEY, "owner", OWNER, "state", r#"{"v":1}"#, "number", "9999999999999999"],
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
    let at = At(store, session("acme", "main"));
    for (number, row) in (1..).zip(ROWS) {
        redis.run(&["FLUSHALL"]).unwrap();
        redis.run(row).unwrap();
        let one = at.claim(1).await.finds_none();
        assert_eq!(store.health().corrupt, number, "{row:?}");
        assert_eq!(redis.run(&["HGET", KEY, "position"]).unwrap(), "start", "{row:?}");
        assert_eq!(at.both(one, "new", "p").await, Ok(Held), "{row:?}");
        at.claim(2).await.finds("new", "p");
        assert_eq!(store.health().corrupt, number, "{row:?}");
        assert_eq!(redis.run(&["EVAL", STRAYS, "0"]).unwrap(), "0", "{row:?}");
    }
}

#[tokio::test]
async fn an_unreadable_session_is_nobody_elses() {
    let Some(redis) = Redis::start().unwrap() else { return };
    let connected = Connected::to(options(redis.url())).await;
    let store = &connected.store;
    let at = At(store, session("acme", "main"));
    for (number, row) in (0..).zip(&ROWS[..8]) {
        redis.run(&["FLUSHALL"]).unwrap();
        redis.run(row).unwrap();
        assert_eq!(at.check(owner(2)).await, Ok(Behind), "{row:?}");
        assert_eq!(store.health().corrupt, 3 * number + 1, "{row:?}");
        assert_eq!(store.release(at.1.clone(), owner(2)).await, Ok(()), "{row:?}");
        assert_eq!(at.both(owner(2), "mine", "p").await, Ok(Held), "{row:?}");
        assert_eq!(store.health().corrupt, 3 * number + 3, "{row:?}");
        at.claim(3).await.finds("mine", "p");
    }
}

#[tokio::test]
async fn a_session_of_an_earlier_release_is_read_and_owned() {
    let Some(redis) = Redis::start().unwrap() else { return };
    let connected = Connected::to(options(redis.url())).await;
    let store = &connected.store;
    let at = At(store, session("acme", "main"));
    let old: &[&str] = &["HSET", KEY, "owner", OWNER, "state", r#"{"v":1,"fields":"old"}"#];
    redis.run(old).unwrap();
    let claimed = at.claim(2).await.unwrap();
    assert!(claimed.owner.number > 0, "{claimed:?}");
    assert_eq!((claimed.fields.as_deref(), claimed.position), (Some("old"), None));
    at.claim(3).await.finds_new("old", "start");
    // A gateway of that release takes it, and leaves the number as it is.
    let three = at.claim(3).await.finds_new("old", "start");
    redis.run(old).unwrap();
    assert_eq!(at.check(three).await, Ok(Lost));
    // One that stands there without a number is older than any claim.
    redis.run(&["DEL", KEY]).unwrap();
    redis.run(old).unwrap();
    assert_eq!(at.check(three).await, Ok(Behind));
    assert_eq!(store.health().corrupt, 0);
}

#[tokio::test]
async fn an_unreadable_position_is_none() {
    let Some(redis) = Redis::start().unwrap() else { return };
    let connected = Connected::to(options(redis.url())).await;
    let store = &connected.store;
    let at = At(store, session("acme", "main"));
    at.claim(1).await.finds_none();
    redis.run(&["HSET", KEY, "position", &"x".repeat(POSITION_BYTES_MAX + 1)]).unwrap();
    assert_eq!(at.claim(1).await.unwrap().position, None);
    assert_eq!(redis.run(&["HGET", KEY, "position"]).unwrap(), "start");
    let set = r"return redis.call('HSET', KEYS[1], 'position', '\255\254')";
    redis.run(&["EVAL", set, "1", KEY]).unwrap();
    let claimed = at.claim(1).await.unwrap();
    assert_eq!((claimed.position, claimed.proven), (None, false));
    assert_eq!(store.health().corrupt, 1);
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
