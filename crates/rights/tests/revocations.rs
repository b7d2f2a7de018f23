//! Revocations and kicks: the record, whom it means, and the set that is folded from the topic.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use proptest::prelude::*;
use tidewire_event::Tenant;
use tidewire_rights::{
    Action, Applied, NOTE_BYTES_MAX, Principal, REVOCATIONS_MAX, Revocation, RevocationError,
    Revocations, SWEEP_GRACE_SECONDS, TARGET_ID_BYTES_MAX, Target, TargetError, TargetKind,
};

use Action::{Kick, Revoke};

const AT: i64 = 1_789_392_000;
const UNTIL: i64 = AT + 3600;

fn revocation(action: Action, tenant: &str, kind: TargetKind, id: &str) -> Revocation {
    let target = Target::new(action, Tenant::new(tenant).unwrap(), kind, id).unwrap();
    Revocation { target, at: AT, until: UNTIL, by: "user:1".into(), reason: String::new() }
}

fn principal(tenant: &str, user: u64, token: Option<&str>, issued_at: Option<i64>) -> Principal {
    Principal {
        tenant: Tenant::new(tenant).unwrap(),
        id: Principal::id_of(Some(user), "", ""),
        user_key: Some(user),
        roles: Vec::new(),
        business_units: Vec::new(),
        expires_at: i64::MAX,
        issued_at,
        token_id: token.map(str::to_owned),
    }
}

fn apply(set: &mut Revocations, one: &Revocation, now: i64) -> Applied {
    set.apply(one.key().as_bytes(), Some(one.value().as_bytes()), now).unwrap()
}

fn lift(set: &mut Revocations, one: &Revocation, now: i64) -> Applied {
    set.apply(one.key().as_bytes(), None, now).unwrap()
}

#[test]
fn a_record_byte_for_byte() {
    let mut one = revocation(Revoke, "a/b", TargetKind::Principal, "sub:https://id/|anna b");
    one.reason = "left \"us\"".to_owned();
    assert_eq!(
        one.key(),
        "a%2Fb/revocation/principal/sub%3Ahttps%3A%2F%2Fid%2F%7Canna%20b/1789392000"
    );
    assert_eq!(
        one.value(),
        r#"{"v":1,"kind":"principal","id":"sub:https://id/|anna b","at":1789392000,"until":1789395600,"by":"user:1","reason":"left \"us\""}"#
    );
    assert_eq!(Revocation::parse(one.key().as_bytes(), one.value().as_bytes()), Ok(Some(one)));
}

#[test]
fn bad_records_are_told_apart() {
    let good = revocation(Revoke, "acme", TargetKind::Token, "t1");
    let (key, value) = (good.key(), good.value());
    let check = |key: &str, value: &str, expected: Result<bool, RevocationError>| {
        let parsed = Revocation::parse(key.as_bytes(), value.as_bytes());
        assert_eq!(parsed.map(|one| one.is_some()), expected, "{key} {value}");
        let mut set = Revocations::default();
        let applied = set.apply(key.as_bytes(), Some(value.as_bytes()), AT);
        assert_eq!(applied.is_ok(), expected.is_ok(), "{key} {value}");
        assert_eq!(set.len(), usize::from(expected == Ok(true)), "{key} {value}");
    };
    check(&key, &value, Ok(true));
    // Other records of the topic, of whatever form.
    for other in ["acme/rule/5", "acme/script/x/y/z/1", "/x", "acme/"] {
        check(other, "", Ok(false));
    }
    for bad in [
        "",
        "acme",
        "acme/revocation",
        "acme/revocation/token",
        "acme/revocation/token/t1",
        "acme/revocation/token/t1/",
        "acme/revocation/token/t1/x",
        "acme/revocation/token/t1/+1",
        "acme/revocation/token/t1/01",
        "acme/revocation/token/t1/1/2",
        "acme/revocation/tokens/t1/1",
        "acme/revocation/token/t%31/1",
        "acme/revocation/token/t 1/1",
        "acme/revocation/token/t%2f/1",
        "ac me/revocation/token/t1/1",
    ] {
        check(bad, &value, Err(RevocationError::Key));
    }
    let target = |error| Err(RevocationError::Target(error));
    check("acme/revocation/token//1", &value, target(TargetError::Id));
    check("acme/revocation/token/a%0Ab/1", &value, target(TargetError::Id));
    check("acme/revocation/tenant/beta/1", &value, target(TargetError::OtherTenant));
    check("acme/revocation/socket/r-1/1", &value, target(TargetError::Socket));
    let long = "x".repeat(TARGET_ID_BYTES_MAX + 1);
    check(&format!("acme/kick/token/{long}/1"), &value, target(TargetError::Id));
    for bad in ["", "{", "[]", "null", "{}", r#"{"v":"1"}"#, r#"{"v":1,"kind":7}"#, "{\"v\":1} x"] {
        check(&key, bad, Err(RevocationError::Value));
    }
    check(&key, r#"{"v":2,"kind":7}"#, Err(RevocationError::Format(2)));
    let changed = |from: &str, to: &str| value.replace(from, to);
    check(&key, &changed("token", "tenant"), Err(RevocationError::Disagrees("kind")));
    check(&key, &changed("t1", "t2"), Err(RevocationError::Disagrees("id")));
    check(&key, &changed("000,", "001,"), Err(RevocationError::Disagrees("time")));
    let long = "x".repeat(NOTE_BYTES_MAX + 1);
    check(&key, &changed("user:1", &long), Err(RevocationError::Value));
    // What a later version adds is no harm.
    check(&key, &changed("\"v\":1", "\"v\":1,\"more\":[]"), Ok(true));
}

#[test]
fn whom_a_record_means() {
    use TargetKind::{Principal as User, Socket, Tenant as Whole, Token};
    let check = |action, tenant: &str, kind, id: &str, principal: &Principal, expected: bool| {
        let one = revocation(action, tenant, kind, id);
        assert_eq!(one.concerns(principal), expected, "{one:?} {principal:?}");
        let mut set = Revocations::default();
        apply(&mut set, &one, AT);
        let revoked = expected && action == Revoke;
        assert_eq!(set.is_revoked(principal, UNTIL - 1), revoked, "{one:?} {principal:?}");
        assert!(!set.is_revoked(principal, UNTIL), "it is over: {one:?}");
    };
    let before = principal("acme", 7, Some("t1"), Some(AT - 1));
    let same_second = principal("acme", 7, Some("t1"), Some(AT));
    let after = principal("acme", 7, Some("t1"), Some(AT + 1));
    let no_iat = principal("acme", 7, None, None);
    let other = principal("acme", 8, Some("t2"), Some(AT - 1));
    let foreign = principal("beta", 7, Some("t1"), Some(AT - 1));
    for action in [Revoke, Kick] {
        for (principal, token, user, whole) in [
            (&before, true, true, true),
            (&same_second, true, true, true),
            // A token of later; a kick closes it all the same.
            (&after, true, action == Kick, action == Kick),
            (&no_iat, false, true, true),
            (&other, false, false, true),
            (&foreign, false, false, false),
        ] {
            check(action, "acme", Token, "t1", principal, token);
            check(action, "acme", User, "user:7", principal, user);
            check(action, "acme", Whole, "acme", principal, whole);
            check(action, "beta", Whole, "beta", principal, principal.tenant.as_str() == "beta");
        }
    }
    check(Kick, "acme", Socket, "replica-1", &before, false);
}

#[test]
fn records_are_folded_by_key() {
    let mut set = Revocations::default();
    let one = revocation(Revoke, "acme", TargetKind::Principal, "user:7");
    let later = Revocation { at: AT + 10, ..one.clone() };
    let longer = Revocation { until: UNTIL + 1, ..one.clone() };
    assert!(matches!(apply(&mut set, &one, AT), Applied::New(new) if *new == one));
    assert_eq!(apply(&mut set, &one, AT), Applied::Known);
    assert!(matches!(apply(&mut set, &longer, AT), Applied::New(_)), "the same key, another text");
    assert!(matches!(apply(&mut set, &later, AT), Applied::New(_)));
    assert_eq!(set.len(), 2);
    assert_eq!(set.of_target(&one.target).len(), 2);
    let kick = revocation(Kick, "acme", TargetKind::Principal, "user:7");
    apply(&mut set, &kick, AT);
    let beta = revocation(Revoke, "beta", TargetKind::Tenant, "beta");
    apply(&mut set, &beta, AT);
    let listed = |tenant: Option<&str>| {
        let tenant = tenant.map(|tenant| Tenant::new(tenant).unwrap());
        let found = set.in_force(tenant.as_ref(), AT);
        found.iter().map(|one| (**one).clone()).collect::<Vec<_>>()
    };
    assert_eq!(listed(None), [longer.clone(), later.clone(), beta.clone()]);
    assert_eq!(listed(Some("beta")), [beta]);
    assert_eq!(listed(Some("gamma")), []);

    // The later one alone still means who was issued before it.
    let user = principal("acme", 7, None, Some(AT + 5));
    assert!(set.is_revoked(&user, AT + 20));
    assert_eq!(lift(&mut set, &one, AT), Applied::Lifted);
    assert!(set.is_revoked(&user, AT + 20));
    assert_eq!(lift(&mut set, &later, AT), Applied::Lifted);
    assert!(!set.is_revoked(&user, AT + 20));
    assert_eq!(lift(&mut set, &later, AT), Applied::Lifted, "twice is no harm");
    assert_eq!(set.apply(b"acme/rule/5", None, AT), Ok(Applied::Other));
    assert_eq!(set.apply(b"acme/kick/x/y/1", None, AT), Err(RevocationError::Key));
    assert_eq!(set.len(), 2, "the kick and the other tenant");
}

#[test]
fn what_is_over_is_forgotten_and_cleared_away_later() {
    let mut set = Revocations::default();
    let over = revocation(Revoke, "acme", TargetKind::Token, "t0");
    assert_eq!(apply(&mut set, &over, UNTIL), Applied::Ended, "read after its end");
    assert!(set.is_empty());
    let kick = revocation(Kick, "acme", TargetKind::Tenant, "acme");
    let later = Revocation { at: AT + 1, until: UNTIL + 1, ..kick.clone() };
    apply(&mut set, &kick, AT);
    apply(&mut set, &later, AT);
    assert_eq!(set.sweep(UNTIL, 10), Vec::<String>::new(), "a clock may be behind");
    assert_eq!(set.len(), 1);
    let grace = UNTIL + SWEEP_GRACE_SECONDS;
    assert_eq!(set.sweep(grace, 10), [kick.key(), over.key()]);
    assert_eq!(set.sweep(grace, 1), [kick.key()], "told until the tombstone is read");
    lift(&mut set, &kick, grace);
    assert_eq!(set.sweep(grace, 10), [over.key()]);
    assert_eq!(set.sweep(grace + 1, 10), [later.key(), over.key()]);
    assert!(set.is_empty());
}

#[test]
fn there_is_a_bound() {
    let mut set = Revocations::default();
    for number in 0..REVOCATIONS_MAX {
        let one = revocation(Revoke, "acme", TargetKind::Token, &format!("t{number}"));
        assert!(matches!(apply(&mut set, &one, AT), Applied::New(_)));
    }
    let more = revocation(Revoke, "acme", TargetKind::Token, "more");
    let refused = set.apply(more.key().as_bytes(), Some(more.value().as_bytes()), AT);
    assert_eq!(refused, Err(RevocationError::Full));
    assert!(!set.is_revoked(&principal("acme", 1, Some("more"), None), AT));
    let first = revocation(Revoke, "acme", TargetKind::Token, "t0");
    assert_eq!(apply(&mut set, &first, AT), Applied::Known, "what is there stays");
    lift(&mut set, &first, AT);
    assert!(matches!(apply(&mut set, &more, AT), Applied::New(_)));
}

proptest! {
    #[test]
    fn any_target_comes_back(tenant in "[^\\p{Cc}]{1,16}", id in "[^\\p{Cc}]{1,40}", at in any::<i64>()) {
        let target = Target::new(Revoke, Tenant::new(&tenant).unwrap(), TargetKind::Token, &id);
        let one = Revocation { target: target.unwrap(), at, until: i64::MAX, by: String::new(), reason: id };
        let parsed = Revocation::parse(one.key().as_bytes(), one.value().as_bytes());
        prop_assert_eq!(parsed, Ok(Some(one)));
    }

    #[test]
    fn no_bytes_make_it_panic(key in any::<Vec<u8>>(), value in proptest::option::of(any::<Vec<u8>>())) {
        let mut set = Revocations::default();
        // An error and a foreign record are both fine.
        let _ = set.apply(&key, value.as_deref(), AT);
        prop_assert!(set.is_empty());
    }
}
