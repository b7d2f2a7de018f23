//! The behaviour that every store has, as a suite of checks that panic where it is broken.
//!
//! Every check uses its own tenant, so that one store may serve them all.

use std::sync::Arc;
use std::time::Duration;

use tidewire_event::Tenant;

use crate::WriteOutcome::{self, Behind, Held, Lost};
use crate::{
    BoxFuture, Claimed, FIELDS_BYTES_MAX, GRANT_BYTES_MAX, OwnerToken, POSITION_BYTES_MAX,
    SESSION_KEY_BYTES_MAX, SESSION_TTL, SessionId, SessionWrite, Store, StoreError,
};

const SECOND: Duration = Duration::from_secs(1);
/// Slack for a store whose time also passes by itself.
const MINUTE: Duration = Duration::from_secs(60);
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
    a_forgotten_claim_is_taken_back(subject).await;
    a_lost_session_is_put_back_whole(subject).await;
    a_list_is_set_changed_and_reset(subject).await;
    a_position_moves_alone(subject).await;
    a_start_is_not_proven(subject).await;
    sessions_are_apart(subject).await;
    sessions_expire_and_are_refreshed(subject).await;
    many_are_written_at_once(subject).await;
    limits_hold(subject).await;
    a_ticket_is_good_once(subject).await;
    tickets_expire(subject).await;
}

fn session(tenant: &str, principal: &str, name: &str, definition: &str) -> SessionId {
    let Ok(tenant) = Tenant::new(tenant) else { panic!("{tenant:?} is not a tenant") };
    let (principal, name) = (principal.into(), name.into());
    SessionId { tenant, principal, name, definition: definition.into() }
}

/// A store and one of its sessions.
struct At<'a>(&'a dyn Store, SessionId);

impl At<'_> {
    async fn claim(&self, nonce: u8) -> Claimed {
        match self.0.claim(self.1.clone(), [nonce; 16], format!("start {nonce}")).await {
            Ok(claimed) => {
                assert_eq!(claimed.owner.nonce, [nonce; 16]);
                claimed
            }
            Err(error) => panic!("{error}: {:?}", self.1),
        }
    }

    /// Claims it, which must find just this; a position that begins with `start` is not proven.
    async fn finds(&self, nonce: u8, fields: Option<&str>, position: Option<&str>) -> OwnerToken {
        let claimed = self.claim(nonce).await;
        let proven = position.is_some_and(|position| !position.starts_with("start"));
        let (fields, position) = (fields.map(Into::into), position.map(Into::into));
        let owner = claimed.owner;
        assert_eq!(claimed, Claimed { owner, fields, position, proven }, "{:?}", self.1);
        owner
    }

    /// Claims it, which must find nothing.
    async fn is_new(&self, nonce: u8) -> OwnerToken {
        let claimed = self.claim(nonce).await;
        let owner = claimed.owner;
        let new = Claimed { owner, fields: None, position: None, proven: false };
        assert_eq!(claimed, new, "{:?}", self.1);
        owner
    }

    async fn write(&self, write: SessionWrite) -> WriteOutcome {
        match self.0.write(vec![write]).await.as_deref() {
            Ok([outcome]) => *outcome,
            answer => panic!("{answer:?}: {:?}", self.1),
        }
    }

    async fn check(&self, owner: OwnerToken) -> WriteOutcome {
        self.write(SessionWrite::check(self.1.clone(), owner)).await
    }

    async fn fields(&self, owner: OwnerToken, fields: Option<&str>) -> WriteOutcome {
        let check = SessionWrite::check(self.1.clone(), owner);
        self.write(SessionWrite { fields: Some(fields.map(Into::into)), ..check }).await
    }

    async fn position(&self, owner: OwnerToken, position: &str) -> WriteOutcome {
        let check = SessionWrite::check(self.1.clone(), owner);
        self.write(SessionWrite { position: Some(position.into()), proven: true, ..check }).await
    }

    /// Where it starts, with its list.
    async fn start(&self, owner: OwnerToken, position: &str) -> WriteOutcome {
        let check = SessionWrite::check(self.1.clone(), owner);
        self.write(SessionWrite { fields: Some(None), position: Some(position.into()), ..check })
            .await
    }

    async fn both(&self, owner: OwnerToken, fields: &str, position: &str) -> WriteOutcome {
        let (fields, position) = (Some(Some(fields.into())), Some(position.into()));
        let check = SessionWrite::check(self.1.clone(), owner);
        self.write(SessionWrite { fields, position, proven: true, ..check }).await
    }

    async fn release(&self, owner: OwnerToken) {
        assert_eq!(self.0.release(self.1.clone(), owner).await, Ok(()), "{:?}", self.1);
    }
}

/// A client that comes back, to whatever replica, has its field list and its position.
pub async fn a_session_survives_its_owner(subject: &impl Subject) {
    let store = subject.store();
    let at = At(&*store, session("survives", "ola", "main", "Voyage/CUD/*"));
    let one = at.is_new(1).await;
    let fields = r#"{"a":"*","é":"\u0000","n":1.10}"#;
    assert_eq!(at.fields(one, Some(fields)).await, Held);
    assert_eq!(at.position(one, "p é \u{1}").await, Held);
    at.release(one).await;
    let two = at.finds(2, Some(fields), Some("p é \u{1}")).await;
    assert!(two.number > one.number);
    // A release that comes late, or twice, is no harm to the new owner.
    at.release(one).await;
    assert_eq!(at.check(two).await, Held);
    // The last write and the release in one step.
    let check = SessionWrite::check(at.1.clone(), two);
    let last = SessionWrite { position: Some("q".into()), proven: true, release: true, ..check };
    assert_eq!(at.write(last.clone()).await, Held);
    assert_eq!(at.write(last).await, Lost);
    at.finds(3, Some(fields), Some("q")).await;
}

/// Two sockets of one session: the first can write nothing more, and learns it.
pub async fn the_last_claim_owns(subject: &impl Subject) {
    let store = subject.store();
    let at = At(&*store, session("last-claim", "ola", "main", "Voyage/CUD/*"));
    let one = at.is_new(1).await;
    // The same nonce again is another claim all the same.
    for former in [one, at.finds(1, None, Some("start 1")).await] {
        let two = at.finds(2, None, Some("start 1")).await;
        assert!(two.number > former.number);
        assert_eq!(at.both(former, "late", "late").await, Lost);
        assert_eq!(at.check(former).await, Lost);
        // Of claims with one number, the one that stands there owns it.
        assert_eq!(at.check(OwnerToken { nonce: [9; 16], ..two }).await, Lost);
    }
    let three = at.finds(3, None, Some("start 1")).await;
    assert_eq!(at.both(three, "mine", "mine").await, Held);
    let four = at.finds(4, Some("mine"), Some("mine")).await;
    // Once released it is nobody's, not the former owner's again.
    at.release(four).await;
    for former in [one, three, four] {
        assert_eq!(at.both(former, "late", "late").await, Lost, "{former:?}");
        assert_eq!(at.check(former).await, Lost, "{former:?}");
    }
    at.finds(5, Some("mine"), Some("mine")).await;
}

/// A store that went back to before a claim gives the session back at the next write.
pub async fn a_forgotten_claim_is_taken_back(subject: &impl Subject) {
    let store = subject.store();
    let later = |owner: OwnerToken| OwnerToken { number: owner.number + 5, nonce: [7; 16] };
    for released in [false, true] {
        let name = released.to_string();
        let at = At(&*store, session("forgotten", "ola", &name, "Voyage/CUD/*"));
        let old = at.is_new(1).await;
        assert_eq!(at.both(old, "old", "old").await, Held);
        if released {
            at.release(old).await;
        }
        // What stands there is an older claim's: the owner is told so until it has written both.
        let mine = later(old);
        assert_eq!(at.check(mine).await, Behind);
        assert_eq!(at.check(old).await, Lost);
        assert_eq!(at.check(mine).await, Held);
        let mine = later(mine);
        assert_eq!(at.both(mine, "mine", "mine").await, Held);
        assert_eq!(at.check(mine).await, Held);
        let mine = later(mine);
        assert_eq!(at.position(mine, "moved").await, Behind);
        assert_eq!(at.fields(mine, Some("mine too")).await, Held);
        let next = at.finds(2, Some("mine too"), Some("moved")).await;
        assert!(next.number > mine.number);
        assert_eq!(at.check(mine).await, Lost);
        // A release of a forgotten claim holds against the older one.
        let mine = later(next);
        at.release(mine).await;
        assert_eq!(at.check(next).await, Lost);
    }
}

/// A session that the store has lost comes back with its field list, or not at all.
pub async fn a_lost_session_is_put_back_whole(subject: &impl Subject) {
    let store = subject.store();
    let lose = || subject.let_pass(SESSION_TTL + SECOND);
    let at = At(&*store, session("put-back", "ola", "main", "Voyage/CUD/*"));
    let one = at.is_new(1).await;
    assert_eq!(at.both(one, "f", "p").await, Held);
    lose().await;
    assert_eq!(at.check(one).await, Behind);
    assert_eq!(at.position(one, "p").await, Behind);
    at.release(one).await;
    let two = at.is_new(2).await;
    // The store forgot the number as well; the later claim still has the higher one.
    assert!(two.number > one.number);
    lose().await;
    assert_eq!(at.both(two, "f", "p").await, Held);
    let three = at.finds(3, Some("f"), Some("p")).await;
    assert_eq!(at.check(two).await, Lost);
    lose().await;
    assert_eq!(at.fields(three, Some("f")).await, Behind);
    assert_eq!(at.position(three, "q").await, Held);
    at.finds(4, Some("f"), Some("q")).await;
    // Put back without a position, it is given a start.
    lose().await;
    assert_eq!(at.fields(three, None).await, Behind);
    at.finds(5, None, None).await;
    at.finds(6, None, Some("start 5")).await;
}

/// The last list counts; no list is a list too; a claim keeps it.
pub async fn a_list_is_set_changed_and_reset(subject: &impl Subject) {
    let store = subject.store();
    let at = At(&*store, session("lists", "ola", "main", "Voyage/CUD/*"));
    let mut owner = at.is_new(1).await;
    for fields in [Some("{}"), Some(r#"{"b":"*"}"#), Some(""), None, Some("last")] {
        assert_eq!(at.fields(owner, fields).await, Held);
        owner = at.finds(1, fields, Some("start 1")).await;
    }
}

/// The last position counts, backwards too: the store does not look into it. The list stays.
pub async fn a_position_moves_alone(subject: &impl Subject) {
    let store = subject.store();
    let at = At(&*store, session("positions", "ola", "main", "Voyage/CUD/*"));
    let mut owner = at.is_new(1).await;
    assert_eq!(at.fields(owner, Some("list")).await, Held);
    for position in ["2", "1", "=", "", "\u{0}", "é"] {
        assert_eq!(at.position(owner, position).await, Held);
        owner = at.finds(1, Some("list"), Some(position)).await;
    }
}

/// Until a proven position is written, each claim finds where the session started; also where the store had
/// lost it.
pub async fn a_start_is_not_proven(subject: &impl Subject) {
    let store = subject.store();
    let at = At(&*store, session("starts", "ola", "main", "Voyage/CUD/*"));
    let one = at.is_new(1).await;
    assert_eq!(at.start(one, "start 0").await, Held);
    at.release(one).await;
    let two = at.finds(2, None, Some("start 0")).await;
    assert_eq!(at.check(two).await, Held);
    let two = at.finds(2, None, Some("start 0")).await;
    assert_eq!(at.position(two, "p").await, Held);
    let three = at.finds(3, None, Some("p")).await;
    // A claim that could not read it starts it anew.
    assert_eq!(at.start(three, "start 3").await, Held);
    let four = at.finds(4, None, Some("start 3")).await;
    subject.let_pass(SESSION_TTL + SECOND).await;
    assert_eq!(at.start(four, "start 4").await, Held);
    let five = at.finds(5, None, Some("start 4")).await;
    subject.let_pass(SESSION_TTL + SECOND).await;
    assert_eq!(at.both(five, "f", "p").await, Held);
    at.finds(6, Some("f"), Some("p")).await;
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
        let at = At(&*store, session(tenant, principal, name, definition));
        let owner = at.is_new(number).await;
        assert_eq!(at.fields(owner, Some(&number.to_string())).await, Held);
    }
    for (number, (tenant, principal, name, definition)) in (1..=9u8).zip(rows) {
        let at = At(&*store, session(tenant, principal, name, definition));
        let (fields, position) = (number.to_string(), format!("start {number}"));
        at.finds(number, Some(&fields), Some(&position)).await;
    }
}

/// Sessions end with their TTL, and every use by the owner starts it anew.
pub async fn sessions_expire_and_are_refreshed(subject: &impl Subject) {
    let store = subject.store();
    let almost = SESSION_TTL - MINUTE;
    let at = At(&*store, session("expires", "ola", "main", "Voyage/CUD/*"));
    let one = at.is_new(1).await;
    subject.let_pass(almost).await;
    assert_eq!(at.fields(one, Some("kept")).await, Held);
    subject.let_pass(almost).await;
    assert_eq!(at.position(one, "kept").await, Held);
    subject.let_pass(almost).await;
    assert_eq!(at.check(one).await, Held);
    subject.let_pass(almost).await;
    at.release(one).await;
    subject.let_pass(almost).await;
    let two = at.finds(2, Some("kept"), Some("kept")).await;
    subject.let_pass(almost).await;
    assert_eq!(at.check(one).await, Lost);
    subject.let_pass(2 * MINUTE).await;
    assert_eq!(at.check(two).await, Behind, "who lost it keeps nothing alive");
    at.is_new(3).await;
}

/// A replica writes all its sessions in one call; the answers come in its order.
pub async fn many_are_written_at_once(subject: &impl Subject) {
    let store = subject.store();
    let mut writes = Vec::new();
    let mut expected = Vec::new();
    for number in 0..1000_u32 {
        let tenant = format!("many-{}", number % 7);
        let id = session(&tenant, "ola", &number.to_string(), "Voyage/CUD/*");
        let at = At(&*store, id.clone());
        let mut owner = OwnerToken { number: 1, nonce: [1; 16] };
        let outcome = match number % 5 {
            0 => Behind,
            _ if number % 3 == 0 => {
                owner = at.is_new(1).await;
                at.claim(2).await;
                Lost
            }
            _ => {
                owner = at.is_new(1).await;
                Held
            }
        };
        expected.push(outcome);
        let write = SessionWrite::check(id, owner);
        writes.push(match number % 4 {
            0 => write,
            1 => SessionWrite { position: Some(number.to_string()), proven: true, ..write },
            2 => SessionWrite { fields: Some(Some(number.to_string())), ..write },
            _ => {
                let position = Some("x".into());
                SessionWrite { fields: Some(None), position, proven: true, ..write }
            }
        });
        if number % 4 == 3 && outcome == Behind {
            expected.pop();
            expected.push(Held);
        }
    }
    assert_eq!(store.write(writes).await, Ok(expected));
    assert_eq!(store.write(Vec::new()).await, Ok(Vec::new()));
    for (number, fields, position) in
        [(1_u32, None, "1"), (2, Some("2"), "start 1"), (7, None, "x")]
    {
        let id =
            session(&format!("many-{}", number % 7), "ola", &number.to_string(), "Voyage/CUD/*");
        At(&*store, id).finds(3, fields, Some(position)).await;
    }
}

/// What is too large is refused, and the largest that is not is kept.
pub async fn limits_hold(subject: &impl Subject) {
    let store = subject.store();
    let large = |what, max: usize| StoreError::TooLarge { what, bytes: max + 1, max };
    let id = session("limits", "ola", "main", "Voyage/CUD/*");
    let at = At(&*store, id.clone());
    let owner = at.is_new(1).await;
    let fields = "x".repeat(FIELDS_BYTES_MAX);
    let position = "y".repeat(POSITION_BYTES_MAX);
    assert_eq!(at.both(owner, &fields, &position).await, Held);
    let check = SessionWrite::check(id.clone(), owner);
    let more = Some(Some(format!("{fields}x")));
    let written = store.write(vec![SessionWrite { fields: more, ..check.clone() }]).await;
    assert_eq!(written, Err(large("field list", FIELDS_BYTES_MAX)));
    let more = format!("{position}y");
    let write = SessionWrite { position: Some(more.clone()), ..check };
    let written = store.write(vec![write]).await;
    assert_eq!(written, Err(large("position", POSITION_BYTES_MAX)));
    let claimed = store.claim(id.clone(), [2; 16], more).await;
    assert_eq!(claimed, Err(large("position", POSITION_BYTES_MAX)));
    at.finds(1, Some(&fields), Some(&position)).await;
    let definition = "x".repeat(SESSION_KEY_BYTES_MAX);
    let claimed = store.claim(SessionId { definition, ..id }, [1; 16], String::new()).await;
    assert!(matches!(claimed, Err(StoreError::TooLarge { what: "session key", .. })));
    let put = store.put([1; 32], "x".repeat(GRANT_BYTES_MAX + 1), SECOND).await;
    assert_eq!(put, Err(large("grant", GRANT_BYTES_MAX)));
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
