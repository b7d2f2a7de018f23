//! The behaviour that every store has, as a suite of checks that panic where it is broken.
//!
//! Every check uses its own tenant, so that one store may serve them all.

use std::sync::Arc;
use std::time::Duration;

use tidewire_event::Tenant;

use crate::{
    BoxFuture, Claimed, FIELDS_BYTES_MAX, GRANT_BYTES_MAX, OwnerToken, SESSION_KEY_BYTES_MAX,
    SESSION_TTL, SessionId, Store, StoreError, WriteOutcome,
};

const SECOND: Duration = Duration::from_secs(1);
/// Slack for a store whose time also passes by itself.
const MINUTE: Duration = Duration::from_secs(60);
const NEW: Claimed = Claimed { existed: false, fields: None };
const BARE: Claimed = Claimed { existed: true, fields: None };

/// A store under test.
pub trait Subject {
    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// Lets everything in the store become older by `time`.
    fn let_pass(&self, time: Duration) -> BoxFuture<()>;
}

/// Runs every check.
pub async fn all(subject: &impl Subject) {
    a_session_survives_its_owner(subject).await;
    the_last_claim_owns(subject).await;
    a_list_is_set_changed_and_reset(subject).await;
    sessions_are_apart(subject).await;
    sessions_expire_and_are_refreshed(subject).await;
    many_are_checked_at_once(subject).await;
    limits_hold(subject).await;
    a_ticket_is_good_once(subject).await;
    tickets_expire(subject).await;
}

fn session(tenant: &str, principal: &str, name: &str, definition: &str) -> SessionId {
    let Ok(tenant) = Tenant::new(tenant) else { panic!("{tenant:?} is not a tenant") };
    let (principal, name) = (principal.into(), name.into());
    SessionId { tenant, principal, name, definition: definition.into() }
}

fn owner(number: u8) -> OwnerToken {
    OwnerToken::from_bytes([number; 16])
}

fn with(fields: &str) -> Claimed {
    Claimed { existed: true, fields: Some(fields.into()) }
}

/// A client that comes back, to whatever replica, has its field list.
pub async fn a_session_survives_its_owner(subject: &impl Subject) {
    let store = subject.store();
    let id = session("survives", "ola", "main", "Voyage/CUD/*");
    assert_eq!(store.claim(id.clone(), owner(1)).await, Ok(NEW));
    let fields = r#"{"a":"*","é":"\u0000","n":1.10}"#;
    let saved = store.save_fields(id.clone(), owner(1), Some(fields.into())).await;
    assert_eq!(saved, Ok(WriteOutcome::Held));
    assert_eq!(store.release(id.clone(), owner(1)).await, Ok(()));
    assert_eq!(store.claim(id.clone(), owner(2)).await, Ok(with(fields)));
    // A release that comes late, or twice, is no harm to the new owner.
    assert_eq!(store.release(id.clone(), owner(1)).await, Ok(()));
    assert_eq!(store.still_owned(vec![(id, owner(2))]).await, Ok(vec![true]));
}

/// Two sockets of one session: the first can write nothing more, and learns it.
pub async fn the_last_claim_owns(subject: &impl Subject) {
    let store = subject.store();
    let id = session("last-claim", "ola", "main", "Voyage/CUD/*");
    assert_eq!(store.claim(id.clone(), owner(1)).await, Ok(NEW));
    assert_eq!(store.claim(id.clone(), owner(2)).await, Ok(BARE));
    let late = store.save_fields(id.clone(), owner(1), Some("late".into())).await;
    assert_eq!(late, Ok(WriteOutcome::Lost));
    let saved = store.save_fields(id.clone(), owner(2), Some("mine".into())).await;
    assert_eq!(saved, Ok(WriteOutcome::Held));
    let both = vec![(id.clone(), owner(1)), (id.clone(), owner(2))];
    assert_eq!(store.still_owned(both).await, Ok(vec![false, true]));
    assert_eq!(store.claim(id.clone(), owner(3)).await, Ok(with("mine")));
    // Once released it is nobody's, not the former owner's again.
    assert_eq!(store.release(id.clone(), owner(3)).await, Ok(()));
    for former in [1, 2, 3] {
        let saved = store.save_fields(id.clone(), owner(former), None).await;
        assert_eq!(saved, Ok(WriteOutcome::Lost), "owner {former}");
        let owned = store.still_owned(vec![(id.clone(), owner(former))]).await;
        assert_eq!(owned, Ok(vec![false]), "owner {former}");
    }
}

/// The last list counts; no list is a list too; a claim keeps it.
pub async fn a_list_is_set_changed_and_reset(subject: &impl Subject) {
    let store = subject.store();
    let id = session("lists", "ola", "main", "Voyage/CUD/*");
    assert_eq!(store.claim(id.clone(), owner(1)).await, Ok(NEW));
    for fields in [Some("{}"), Some(r#"{"b":"*"}"#), Some(""), None, Some("last")] {
        let fields = fields.map(str::to_owned);
        let saved = store.save_fields(id.clone(), owner(1), fields.clone()).await;
        assert_eq!(saved, Ok(WriteOutcome::Held));
        let claimed = store.claim(id.clone(), owner(1)).await;
        assert_eq!(claimed, Ok(Claimed { existed: true, fields }));
    }
}

/// Another tenant, principal, name or definition is another session, however alike they read.
pub async fn sessions_are_apart(subject: &impl Subject) {
    let store = subject.store();
    let rows = [
        ("apart:a", "b", "c", "d"),
        ("apart", "a:b", "c", "d"),
        ("apart", "a", "b:c", "d"),
        ("apart", "a", "b", "c:d"),
        ("apart", "a:1:b", "c", "d"),
        ("apart}", "a", "b", "d"),
        ("apart", "}a", "b", "d"),
        ("{apart}", "a", "b", "d"),
        ("é", "a", "b", "d"),
    ];
    for (number, (tenant, principal, name, definition)) in (1..).zip(rows) {
        let id = session(tenant, principal, name, definition);
        assert_eq!(store.claim(id.clone(), owner(number)).await, Ok(NEW), "{id:?}");
        let saved = store.save_fields(id, owner(number), Some(number.to_string())).await;
        assert_eq!(saved, Ok(WriteOutcome::Held));
    }
    for (number, (tenant, principal, name, definition)) in (1..=9u8).zip(rows) {
        let id = session(tenant, principal, name, definition);
        let claimed = store.claim(id, owner(number)).await;
        assert_eq!(claimed, Ok(with(&number.to_string())));
    }
}

/// Sessions end with their TTL, and every use starts it anew. One that is gone stays its owner's.
pub async fn sessions_expire_and_are_refreshed(subject: &impl Subject) {
    let store = subject.store();
    let almost = SESSION_TTL - MINUTE;
    let id = session("expires", "ola", "main", "Voyage/CUD/*");
    assert_eq!(store.claim(id.clone(), owner(1)).await, Ok(NEW));
    subject.let_pass(almost).await;
    let saved = store.save_fields(id.clone(), owner(1), Some("kept".into())).await;
    assert_eq!(saved, Ok(WriteOutcome::Held));
    subject.let_pass(almost).await;
    assert_eq!(store.still_owned(vec![(id.clone(), owner(1))]).await, Ok(vec![true]));
    subject.let_pass(almost).await;
    assert_eq!(store.release(id.clone(), owner(1)).await, Ok(()));
    subject.let_pass(almost).await;
    assert_eq!(store.claim(id.clone(), owner(2)).await, Ok(with("kept")));
    subject.let_pass(SESSION_TTL + SECOND).await;
    // Asking after a session that is gone does not make one.
    assert_eq!(store.still_owned(vec![(id.clone(), owner(2))]).await, Ok(vec![true]));
    assert_eq!(store.release(id.clone(), owner(2)).await, Ok(()));
    assert_eq!(store.claim(id.clone(), owner(3)).await, Ok(NEW));
    subject.let_pass(SESSION_TTL + SECOND).await;
    let saved = store.save_fields(id.clone(), owner(3), Some("back".into())).await;
    assert_eq!(saved, Ok(WriteOutcome::Held));
    assert_eq!(store.claim(id, owner(4)).await, Ok(with("back")));
}

/// A replica asks for all its sessions in one call; the answers come in its order.
pub async fn many_are_checked_at_once(subject: &impl Subject) {
    let store = subject.store();
    let mut asked = Vec::new();
    let mut expected = Vec::new();
    for number in 0..1000_u32 {
        let tenant = format!("many-{}", number % 7);
        let id = session(&tenant, "ola", &number.to_string(), "Voyage/CUD/*");
        let taken = number % 3 == 0;
        if number % 5 != 0 {
            let claimed = store.claim(id.clone(), owner(if taken { 2 } else { 1 })).await;
            assert_eq!(claimed, Ok(NEW));
        }
        expected.push(number % 5 == 0 || !taken);
        asked.push((id, owner(1)));
    }
    assert_eq!(store.still_owned(asked).await, Ok(expected));
    assert_eq!(store.still_owned(Vec::new()).await, Ok(Vec::new()));
}

/// What is too large is refused, and the largest that is not is kept.
pub async fn limits_hold(subject: &impl Subject) {
    let store = subject.store();
    let large = |what, bytes, max| StoreError::TooLarge { what, bytes, max };
    let id = session("limits", "ola", "main", "Voyage/CUD/*");
    assert_eq!(store.claim(id.clone(), owner(1)).await, Ok(NEW));
    let most = "x".repeat(FIELDS_BYTES_MAX);
    let saved = store.save_fields(id.clone(), owner(1), Some(most.clone())).await;
    assert_eq!(saved, Ok(WriteOutcome::Held));
    let saved = store.save_fields(id.clone(), owner(1), Some(format!("{most}x"))).await;
    let (bytes, max) = (FIELDS_BYTES_MAX + 1, FIELDS_BYTES_MAX);
    assert_eq!(saved, Err(large("field list", bytes, max)));
    assert_eq!(store.claim(id.clone(), owner(1)).await, Ok(with(&most)));
    let definition = "x".repeat(SESSION_KEY_BYTES_MAX);
    let claimed = store.claim(SessionId { definition, ..id }, owner(1)).await;
    assert!(matches!(claimed, Err(StoreError::TooLarge { what: "session key", .. })));
    let (bytes, max) = (GRANT_BYTES_MAX + 1, GRANT_BYTES_MAX);
    let put = store.put([1; 32], "x".repeat(bytes), SECOND).await;
    assert_eq!(put, Err(large("grant", bytes, max)));
}

/// A ticket opens one connection; another one, or none, opens nothing.
pub async fn a_ticket_is_good_once(subject: &impl Subject) {
    let store = subject.store();
    let grant = r#"{"tenant":"é","n":1.10}"#;
    assert_eq!(store.put([7; 32], grant.into(), 60 * SECOND).await, Ok(()));
    assert_eq!(store.take([8; 32]).await, Ok(None));
    assert_eq!(store.take([7; 32]).await, Ok(Some(grant.into())));
    assert_eq!(store.take([7; 32]).await, Ok(None));
}

/// A ticket is void after its TTL.
pub async fn tickets_expire(subject: &impl Subject) {
    let store = subject.store();
    for number in [9, 10] {
        assert_eq!(store.put([number; 32], "{}".into(), 60 * SECOND).await, Ok(()));
    }
    subject.let_pass(50 * SECOND).await;
    assert_eq!(store.take([9; 32]).await, Ok(Some("{}".into())));
    subject.let_pass(11 * SECOND).await;
    assert_eq!(store.take([10; 32]).await, Ok(None));
}
