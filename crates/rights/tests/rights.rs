//! Rights as their users see them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use tidewire_event::Tenant;
use tidewire_rights::{
    DefaultRight, Duty, Principal, RightsOptions, RightsProblem, RoleMap, TypeRights,
};

fn principal(tenant: &str, roles: &[&str]) -> Principal {
    Principal {
        tenant: Tenant::new(tenant).unwrap(),
        id: Principal::id_of(Some(7), "issuer", "subject"),
        user_key: Some(7),
        roles: Principal::sorted(roles.iter().map(|role| (*role).to_owned()).collect()),
        business_units: Vec::new(),
        expires_at: 0,
        issued_at: None,
        token_id: None,
    }
}

fn options(default: DefaultRight, read: &[(&str, &[&str])]) -> RightsOptions {
    let types = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let read = read.iter().map(|(role, names)| ((*role).to_owned(), types(names))).collect();
    RightsOptions { default, read }
}

const READ: &[(&str, &[&str])] = &[
    ("operator", &["Voyage", "PortCall"]),
    ("accountant", &["Document"]),
    ("director", &["*"]),
    ("guest", &[]),
];

#[test]
fn a_role_reads_what_the_rules_name() {
    use DefaultRight::{Deny, Open};
    let check = |default, roles: &[&str], object_type: &str, expected: bool| {
        let rights = TypeRights::new(&options(default, READ)).unwrap();
        let who = principal("acme", roles);
        assert_eq!(
            rights.may_read(&who, object_type),
            expected,
            "{default:?} {roles:?} {object_type}"
        );
        assert_eq!(rights.permission_class(&who).may_read(object_type), expected);
    };
    check(Deny, &[], "Voyage", false);
    check(Deny, &["operator"], "Voyage", true);
    check(Deny, &["operator"], "voyage", false);
    check(Deny, &["operator"], "Document", false);
    check(Deny, &["operator", "accountant"], "Document", true);
    check(Deny, &["guest"], "Voyage", false);
    check(Deny, &["unknown"], "Voyage", false);
    check(Deny, &["operator"], "Vessel", false);
    check(Deny, &["operator"], "*", false);
    check(Deny, &["director"], "Vessel", true);
    check(Deny, &["director", "guest"], "Document", true);
    check(Open, &[], "Voyage", false);
    check(Open, &[], "Vessel", true);
    check(Open, &["operator"], "Voyage", true);
    check(Open, &["operator"], "Document", false);
    check(Open, &["operator"], "Vessel", true);
    check(Open, &["director"], "Document", true);
    check(Open, &["unknown"], "Document", false);
}

#[test]
fn equal_rights_share_a_class_and_tenants_never_do() {
    let rights = TypeRights::new(&options(DefaultRight::Deny, READ)).unwrap();
    let class = |tenant, roles: &[&str]| rights.permission_class(&principal(tenant, roles));
    let operator = class("acme", &["operator"]);
    assert_eq!(operator, class("acme", &["operator", "guest", "unknown"]));
    assert_eq!(operator.id(), class("acme", &["operator"]).id());
    assert_ne!(operator, class("acme", &["accountant"]));
    assert_ne!(operator, class("other", &["operator"]));
    assert_ne!(class("acme", &[]), class("acme", &["director"]));
    let distinct: HashSet<_> =
        [operator.clone(), operator, class("acme", &["director"])].into_iter().collect();
    assert_eq!(distinct.len(), 2);
}

#[test]
fn a_change_of_rules_makes_new_classes_and_leaves_the_old_as_they_were() {
    let rights = TypeRights::new(&options(DefaultRight::Deny, READ)).unwrap();
    let who = principal("acme", &["operator"]);
    let before = rights.permission_class(&who);
    let revision = rights.replace(&options(DefaultRight::Deny, &[])).unwrap();
    assert!(revision > before.revision());
    assert_eq!(rights.revision(), revision);
    let after = rights.permission_class(&who);
    assert_ne!(before, after);
    assert_eq!(after.revision(), revision);
    assert!(before.may_read("Voyage") && !after.may_read("Voyage"));

    let problems = rights.replace(&options(DefaultRight::Open, &[("r", &["a-b", "Ok", ""])]));
    let problem = |name: &str| RightsProblem { role: "r".to_owned(), name: name.to_owned() };
    assert_eq!(problems, Err(vec![problem("a-b"), problem("")]));
    assert_eq!(rights.revision(), revision);
}

#[test]
fn classes_are_bounded_and_unused_ones_make_room() {
    let rights = TypeRights::with_classes_max(&RightsOptions::open(), 100).unwrap();
    let class = |n: usize| rights.permission_class(&principal(&format!("t{n}"), &[]));
    for n in 0..1000 {
        drop(class(n));
    }
    assert!(rights.stats().classes <= 100);
    assert_eq!(rights.stats().classes_unshared, 0);

    let held: Vec<_> = (0..150).map(class).collect();
    assert_eq!(rights.stats().classes, 100);
    assert_eq!(rights.stats().classes_unshared, 50);
    assert_eq!(held[3], class(3));
    assert_ne!(held[149], class(149));
    assert!(held[149].may_read("Voyage"));
    drop(held);
    let again = class(149);
    assert_eq!(again, class(149));
}

#[test]
fn duties_are_configuration() {
    let who = principal("acme", &["producer", "admin", "script-author", "loader"]);
    for duty in [Duty::Producer, Duty::Admin, Duty::ScriptAuthor] {
        assert!(!RoleMap::default().may(duty, &who), "{duty:?}");
        assert!(RoleMap::development().may(duty, &who), "{duty:?}");
        assert!(!RoleMap::development().may(duty, &principal("acme", &["loader"])), "{duty:?}");
    }
    let check = |json: &str, expected: bool| {
        let roles: RoleMap = serde_json::from_str(json).unwrap();
        assert_eq!(roles.may_produce(&who), expected, "{json}");
    };
    check("{}", false);
    check(r#"{"producer":"loader"}"#, true);
    check(r#"{"producer":"a, loader"}"#, true);
    check(r#"{"producer":["a","loader"]}"#, true);
    check(r#"{"producer":"load"}"#, false);
    check(r#"{"producer":""}"#, false);
    check(r#"{"admin":"loader"}"#, false);
    assert!(serde_json::from_str::<RoleMap>(r#"{"producr":"x"}"#).is_err());
}

#[test]
fn options_are_read_as_they_are_written() {
    let read: RightsOptions =
        serde_json::from_str(r#"{"default":"open","read":{"operator":["Voyage","*"]}}"#).unwrap();
    assert_eq!(read, options(DefaultRight::Open, &[("operator", &["Voyage", "*"])]));
    assert_eq!(read.named_types().collect::<Vec<_>>(), ["Voyage"]);
    assert_eq!(serde_json::from_str::<RightsOptions>("{}").unwrap().default, DefaultRight::Deny);
    for bad in [r#"{"default":"maybe"}"#, r#"{"reed":{}}"#] {
        assert!(serde_json::from_str::<RightsOptions>(bad).is_err(), "{bad}");
    }
}

#[test]
fn ids_are_stable() {
    assert_eq!(&*Principal::id_of(Some(7), "i", "s"), "user:7");
    assert_eq!(&*Principal::id_of(None, "https://id", "s|x"), "sub:https://id|s|x");
}

proptest! {
    /// The plain sentence of the contract, judged type by type, against the canonical sets.
    #[test]
    fn classes_agree_with_the_rule(
        open: bool,
        read in prop::collection::btree_map("[a-c]", prop::collection::vec("[A-D]|\\*", 0..3), 0..3),
        roles in prop::collection::vec("[a-d]", 0..4),
    ) {
        let default = if open { DefaultRight::Open } else { DefaultRight::Deny };
        let rules: BTreeMap<String, Vec<String>> = read.clone();
        let rights = TypeRights::new(&RightsOptions { default, read }).unwrap();
        let names: Vec<&str> = roles.iter().map(String::as_str).collect();
        let class = rights.permission_class(&principal("acme", &names));
        for object_type in ["A", "B", "C", "D", "E"] {
            let has = |role: &String, name: &str| rules.get(role).is_some_and(|t| t.iter().any(|t| t == name));
            let granted = roles.iter().any(|role| has(role, "*") || has(role, object_type));
            let ruled = rules.keys().any(|role| has(role, object_type));
            prop_assert_eq!(class.may_read(object_type), granted || (open && !ruled));
        }
    }
}
