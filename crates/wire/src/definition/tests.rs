use std::collections::HashMap;

use proptest::prelude::*;
use tidewire_event::KeyKind;

use super::*;

fn text(key: &str) -> ObjectKey {
    ObjectKey::parse(key, KeyKind::Text).unwrap()
}

fn definition(tenant: &str, object_type: &str, events: &str, keys: Vec<ObjectKey>) -> Definition {
    Definition {
        tenant: Tenant::new(tenant).unwrap(),
        types: TypeSelector::parse(object_type).unwrap(),
        events: EventSet::parse(events).unwrap(),
        keys: if keys.is_empty() { KeySelector::Any } else { KeySelector::keys(keys).unwrap() },
        only_main_object: false,
        live_references: true,
    }
}

/// Clients keep these numbers: a change of any of them is a break of the contract.
#[test]
fn numbers_are_the_same_for_ever() {
    let plain = definition("demo", "Voyage", "*", vec![]);
    let only_main = Definition { only_main_object: true, ..plain.clone() };
    let still = Definition { live_references: false, ..plain.clone() };
    let list = vec![ObjectKey::Integer(7), ObjectKey::Integer(12), ObjectKey::Integer(7)];
    let mut lines = String::new();
    for definition in [
        plain,
        only_main,
        still,
        definition("demo", "*", "C", vec![]),
        definition("demo", "PortCall", "U", vec![ObjectKey::Integer(7_823_672)]),
        definition("demo", "PortCall", "d,c", list),
        definition("a:é;", "Crate", "U", vec![text("x,s1:y"), text("é")]),
        Definition::alerts(Tenant::new("demo").unwrap(), "RESULT").unwrap(),
    ] {
        let _ = writeln!(lines, "{} {}", definition.number(), definition.canonical());
    }
    assert_eq!(lines, include_str!("../../tests/golden/definitions.txt"));
}

#[test]
fn the_hash_is_pinned_and_in_range() {
    // Computed apart from this code, from the published constants.
    let check = |bytes: &[u8], expected: u64| assert_eq!(hash::number(bytes), expected);
    check(b"", 4_538_099_935_291_686);
    check(b"a", 749_148_223_491_675);
    for index in 0..100_000_u64 {
        let number = hash::number(&index.to_le_bytes());
        assert!((1..1 << 53).contains(&number));
    }
}

#[test]
fn what_differs_has_another_text_and_another_number() {
    let mut seen = HashMap::new();
    let names = ["a", "b", "ab", "a:1", "1:a", "a;o*"];
    let types = ["A", "B", "AB", "*"];
    let keys = [
        vec![],
        vec![ObjectKey::Integer(1)],
        vec![text("1")],
        vec![ObjectKey::Integer(1), ObjectKey::Integer(2)],
        vec![ObjectKey::Integer(12)],
        vec![text("1"), text("2")],
        vec![text("1,s1:2")],
        vec![text("*")],
    ];
    for tenant in names {
        for object_type in types {
            for events in ["C", "U", "D", "C,U", "C,D", "U,D", "*"] {
                for keys in &keys {
                    for flags in 0..4 {
                        let definition = Definition {
                            only_main_object: flags & 1 != 0,
                            live_references: flags & 2 != 0,
                            ..definition(tenant, object_type, events, keys.clone())
                        };
                        let number = definition.number();
                        assert_eq!(seen.insert(number, definition), None);
                    }
                }
            }
        }
    }
    assert_eq!(seen.len(), 6 * 4 * 7 * 8 * 4);
}

#[test]
fn alerts_are_asked_for_by_the_code_of_a_script() {
    let tenant = Tenant::new("demo").unwrap();
    let alerts = Definition::alerts(tenant.clone(), "7").unwrap();
    assert_eq!(alerts.alert_script(), Some("7"));
    assert_eq!(definition("demo", "Voyage", "U", vec![text("7")]).alert_script(), None);
    assert_eq!(definition("demo", "*", "*", vec![]).alert_script(), None);
    assert!(Definition::alerts(tenant, "").is_err());
}

#[test]
fn order_and_repetition_of_keys_do_not_matter() {
    let keys = |list: &[u64]| {
        let list = list.iter().copied().map(ObjectKey::Integer).collect();
        definition("t", "A", "U", list)
    };
    assert_eq!(keys(&[3, 1, 2, 1]), keys(&[1, 2, 3]));
    assert_eq!(keys(&[3, 1, 2, 1]).number(), keys(&[1, 2, 3]).number());
}

#[test]
fn lists_of_keys_are_bounded() {
    let list = |count: u64| KeySelector::keys((0..count).map(ObjectKey::Integer).collect());
    assert_eq!(list(0), Err(KeySelectorError::Empty));
    assert!(list(1).is_ok());
    assert!(list(100).is_ok());
    assert_eq!(list(101), Err(KeySelectorError::TooMany));
}

#[test]
fn selectors_match() {
    let keys = KeySelector::keys(vec![text("b"), ObjectKey::Integer(5), text("a")]).unwrap();
    for key in [text("a"), text("b"), ObjectKey::Integer(5)] {
        assert!(keys.matches(&key) && KeySelector::Any.matches(&key));
    }
    for key in [text("5"), text("c"), ObjectKey::Integer(6)] {
        assert!(!keys.matches(&key) && KeySelector::Any.matches(&key));
    }
    let one = TypeSelector::parse("Voyage").unwrap();
    assert!(one.matches("Voyage") && !one.matches("voyage") && !one.matches("VoyageHeader"));
    assert!(TypeSelector::parse("*").unwrap().matches("Voyage"));
    assert!(TypeSelector::parse("Voy age").is_err());
}

fn any_definition() -> impl Strategy<Value = Definition> {
    let key = prop_oneof![
        (0..20_u64).prop_map(ObjectKey::Integer),
        "[0-9,:;si]{1,6}".prop_map(|key| text(&key)),
    ];
    let parts = ("[a:;,0-9]{1,5}", "([AB]{1,2}|\\*)", "(C|U|D|C,U|\\*)");
    (parts, prop::collection::vec(key, 0..4), any::<bool>(), any::<bool>()).prop_map(
        |((tenant, object_type, events), keys, only_main_object, live_references)| Definition {
            only_main_object,
            live_references,
            ..definition(&tenant, &object_type, &events, keys)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_text_is_the_same_where_the_definition_is(a in any_definition(), b in any_definition()) {
        prop_assert_eq!(a == b, a.canonical() == b.canonical());
    }
}
