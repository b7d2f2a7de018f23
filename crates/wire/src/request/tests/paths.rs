use tidewire_event::KeyKind;

use super::super::*;
use super::JWT;
use crate::definition::KeySelector;
use crate::error::Refusal;

fn show_token(token: &PathToken) -> &str {
    match token {
        PathToken::Elsewhere => "elsewhere",
        PathToken::Here(token) => token.expose(),
    }
}

/// A path in one line: what it asks for, or the status of its refusal.
fn path(text: &str) -> String {
    match parse_path(text) {
        Ok(SocketPath::V1) => "v1".to_owned(),
        Ok(SocketPath::AlertScript { code, token }) => {
            format!("alert {code:?} {}", show_token(&token))
        }
        Ok(SocketPath::Objects { object_type, events, keys, token }) => {
            let Ok(keys) = resolve_keys(&keys, &|_| None, &[]) else { return "bad keys".into() };
            let keys = match keys {
                KeySelector::Any => "*".to_owned(),
                KeySelector::Keys(keys) => {
                    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join("+")
                }
            };
            format!("{object_type} {events} {keys} {}", show_token(&token))
        }
        Err(refusal) => refusal.status.to_string(),
    }
}

#[test]
fn paths_of_objects() {
    let check = |rest: &str, expected: &str| {
        assert_eq!(path(&format!("{OBJECT_PREFIX}{rest}")), expected, "{rest}");
    };
    check("Voyage/U/1/-", "Voyage U 1 elsewhere");
    check("Voyage/U/1/x.y.z", "Voyage U 1 x.y.z");
    check("Voyage/C/1/-", "Voyage C 1 elsewhere");
    check("Voyage/D/1/-", "Voyage D 1 elsewhere");
    check("Voyage/CREATE/1/-", "Voyage C 1 elsewhere");
    check("Voyage/update/1/-", "Voyage U 1 elsewhere");
    check("Voyage/Delete,c/1/-", "Voyage CD 1 elsewhere");
    check("Voyage/C%2CU/1/-", "Voyage CU 1 elsewhere");
    check("Voyage/%43/1/-", "Voyage C 1 elsewhere");
    check("Voyage/*/*/-", "Voyage CUD * elsewhere");
    check("Voyage/%2A/%2a/-", "Voyage CUD * elsewhere");
    check("*/*/*/-", "* CUD * elsewhere");
    check("%2A/U/9/-", "* U 9 elsewhere");
    check("V%6Fyage/U/1/-", "Voyage U 1 elsewhere");
    check("voyage/U/1/-", "voyage U 1 elsewhere");
    check("Voyage/U/3,1,2,1/-", "Voyage U 1+2+3 elsewhere");
    check("Voyage/U/1/%2D", "Voyage U 1 -");
    check("Voyage/U/1/a%2Eb", "Voyage U 1 a.b");
    check("Voyage/U/1/a+b", "Voyage U 1 a+b");
    check("Crate/U/a%2Fb/-", "Crate U a/b elsewhere");
    check("Crate/U/a%2Cb,c/-", "Crate U a,b+c elsewhere");
    check("Crate/U/a+b/-", "Crate U a+b elsewhere");
    check("Crate/U/%C3%A9,é/-", "Crate U é elsewhere");
    check("Crate/U/%e2%82%ac/-", "Crate U € elsewhere");
    check("No type/U/1/-", "No type U 1 elsewhere");
    for bad in [
        "",
        "/",
        "//",
        "///",
        "Voyage",
        "Voyage/U",
        "Voyage/U/1",
        "Voyage/U/1/-/",
        "Voyage/U/1/a/b",
        "/U/1/-",
        "Voyage//1/-",
        "Voyage/X/1/-",
        "Voyage/C,/1/-",
        "Voyage/,/1/-",
        "Voyage/C U/1/-",
        "Voyage/C,%20U/1/-",
        "Voyage/CU/1/-",
        "Voyage/**/1/-",
        "Voyage/C,*/1/-",
        "Voyage/%/1/-",
        "Voyage/%4/1/-",
        "Voyage/%GG/1/-",
        "Voyage/%FF/1/-",
        "%/U/1/-",
        "%C3/U/1/-",
        "%00/U/1/-",
        "a%0Ab/U/1/-",
        "Voyage/INSERT/1/-",
        "Voyage/1/U/-",
        "Voyage/U/1/-/-",
    ] {
        check(bad, "400");
    }
    check(&format!("{}/U/1/-", "x".repeat(64)), &format!("{} U 1 elsewhere", "x".repeat(64)));
    check(&format!("{}/U/1/-", "x".repeat(65)), "400");
    for bad in ["", ",", "1,", ",1", "1,,2", "1,*", "*,1", "%", "%zz", "%C3", "%00", "a%0D"] {
        check(&format!("Voyage/U/{bad}/-"), "bad keys");
    }
    for bad in ["", "%", "%20", "a%20b", "%00", "é", "%C3%A9", "%FF", "a%0Ab"] {
        check(&format!("Voyage/U/1/{bad}"), "401");
    }
    check(&format!("Voyage/U/1/{}", "t".repeat(TOKEN_BYTES_MAX + 1)), "401");
    check(&format!("Voyage/U/1/{JWT}"), &format!("Voyage U 1 {JWT}"));
}

#[test]
fn other_paths() {
    let check = |text: &str, expected: &str| assert_eq!(path(text), expected, "{text}");
    check("/ws/v1", "v1");
    check("/ws/rest/WebSocketAlertScript/bunker/-", "alert \"bunker\" elsewhere");
    check("/ws/rest/WebSocketAlertScript/bunker%20price/t", "alert \"bunker price\" t");
    check("/ws/rest/WebSocketAlertScript/a%2Fb/t", "alert \"a/b\" t");
    check("/ws/rest/WebSocketAlertScript/a/", "401");
    for bad in ["", "a", "a/b/c", "/t", "%/t", "%0A/t", "a/b/"] {
        check(&format!("{ALERT_PREFIX}{bad}"), "400");
    }
    check(&format!("{ALERT_PREFIX}{}/-", "c".repeat(129)), "400");
    for unknown in [
        "",
        "/",
        "*",
        "/ws",
        "/ws/",
        "/ws/v1/",
        "/ws/v2",
        "/WS/v1",
        "/ws/rest",
        "/ws/rest/",
        "/ws/rest/Voyage/1",
        "/ws/rest/WebSocketObjectSubscription",
        "//ws/v1",
        "ws/v1",
        "/ws/rest/websocketobjectsubscription/Voyage/U/1/-",
        "/ws/rest/WebSocketAlertScript",
        " /ws/v1",
        "/ws/v1 ",
        "/ws/%761",
    ] {
        check(unknown, "404");
    }
}

fn message(refusal: Refusal) -> String {
    refusal.message
}

#[test]
fn refusals_of_paths_help() {
    let check = |text: &str, expected: &str| {
        let refusal = parse_path(text).unwrap_err();
        assert_eq!(message(refusal), expected, "{text}");
    };
    check(
        "/ws/rest/WebSocketObjectSubscription/Voyage/U/1",
        "the path has 3 parts behind WebSocketObjectSubscription, expected 4: \
         {objectType}/{eventType}/{key}/{token} ('-' for a token that comes elsewhere)",
    );
    check(
        "/ws/rest/WebSocketObjectSubscription/Voyage/X/1/-",
        "event type \"X\" is unknown: an event type is C, U, D, CREATE, UPDATE, DELETE, a comma \
         list of these, or *",
    );
    check(
        "/ws/rest/WebSocketObjectSubscription/Voy%zzage/U/1/-",
        "the object type is not percent-encoded UTF-8",
    );
}

#[test]
fn keys() {
    let integer = Some(KeyKind::Integer);
    let text = Some(KeyKind::Text);
    let check = |raw: &str, kind: Option<KeyKind>, words: &[&str], expected: Option<&str>| {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        let keys = resolve_keys(&RawKeys::new("Crate", raw), &|_| kind, &words).ok();
        let shown = keys.map(|keys| match keys {
            KeySelector::Any => "*".to_owned(),
            KeySelector::Keys(keys) => format!("{keys:?}"),
        });
        assert_eq!(shown.as_deref(), expected, "{raw} {kind:?} {words:?}");
    };
    for kind in [integer, text, None] {
        check("*", kind, &[], Some("*"));
        check("%2A", kind, &[], Some("*"));
        check("", kind, &[], None);
        check("", kind, &[""], Some("*"));
        check("%", kind, &[], None);
        check("%F", kind, &[], None);
        check("%FF", kind, &[], None);
        check("%C3,%A9", kind, &[], None);
        for word in ["0", "-1", "null"] {
            check(word, kind, &["0", "-1", "null"], Some("*"));
        }
        check("%2D1", kind, &["-1"], Some("*"));
        check("*,*", kind, &[], None);
        check("1,*", kind, &[], None);
    }
    for kind in [integer, None] {
        check("0", kind, &[], Some("[Integer(0)]"));
        check("0,1", kind, &["0"], Some("[Integer(0), Integer(1)]"));
        check("7823672", kind, &[], Some("[Integer(7823672)]"));
        check("%37", kind, &[], Some("[Integer(7)]"));
        check("9007199254740991", kind, &[], Some("[Integer(9007199254740991)]"));
        check("2,1,2", kind, &[], Some("[Integer(1), Integer(2)]"));
    }
    check("1%2C2", integer, &[], Some("[Integer(1), Integer(2)]"));
    check("1%2C2", None, &[], Some("[Text(\"1,2\")]"));
    for bad in [
        "-1",
        "+1",
        "01",
        "1.0",
        "1e3",
        "0x1",
        "a",
        " 1",
        "1 ",
        "%201",
        "1,",
        ",1",
        "1,,2",
        "1,a",
        "9007199254740992",
        "99999999999999999999",
        "null",
        "١",
        "1;2",
        "1%00",
    ] {
        check(bad, integer, &[], None);
    }
    check("9007199254740992", None, &[], Some("[Text(\"9007199254740992\")]"));
    check("-1", None, &[], Some("[Text(\"-1\")]"));
    check("a,1", None, &[], Some("[Integer(1), Text(\"a\")]"));
    check("01,1", None, &[], Some("[Integer(1), Text(\"01\")]"));
    check("1", text, &[], Some("[Text(\"1\")]"));
    check("b,a,b", text, &[], Some("[Text(\"a\"), Text(\"b\")]"));
    check("a%2Cb", text, &[], Some("[Text(\"a,b\")]"));
    check("a%2cb,%41", text, &[], Some("[Text(\"A\"), Text(\"a,b\")]"));
    check("a%2Fb%20c%25", text, &[], Some("[Text(\"a/b c%\")]"));
    check("a+b", text, &[], Some("[Text(\"a+b\")]"));
    check("Z%C3%BCrich", text, &[], Some("[Text(\"Zürich\")]"));
    check("Zürich", text, &[], Some("[Text(\"Zürich\")]"));
    check("a,%2A", text, &[], Some("[Text(\"*\"), Text(\"a\")]"));
    for bad in ["a,", ",a", "a,,b", "%00", "a%0A", "%7F", "%C2%80"] {
        check(bad, text, &[], None);
    }
    let long = "k".repeat(128);
    check(&long, text, &[], Some(&format!("[Text({long:?})]")));
    check(&"k".repeat(129), text, &[], None);
    check(&"%6B".repeat(128), text, &[], Some(&format!("[Text({long:?})]")));
}

#[test]
fn a_list_holds_100_keys() {
    let list = |count: usize, kind| {
        let raw = (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        resolve_keys(&RawKeys::new("A", &raw), &|_| kind, &[]).map_err(message)
    };
    for kind in [Some(KeyKind::Integer), Some(KeyKind::Text), None] {
        assert!(list(100, kind).is_ok());
        assert_eq!(list(101, kind).unwrap_err(), "a list of keys has at most 100 keys");
        assert!(list(100_000, kind).is_err());
    }
}

#[test]
fn the_kind_is_asked_by_type_and_never_of_any() {
    let asked = std::cell::RefCell::new(Vec::new());
    let kind_of = |name: &str| {
        asked.borrow_mut().push(name.to_owned());
        Some(KeyKind::Text)
    };
    let any = resolve_keys(&RawKeys::new("*", "1,a"), &kind_of, &[]).unwrap();
    assert_eq!(format!("{any:?}"), "Keys([Integer(1), Text(\"a\")])");
    let one = resolve_keys(&RawKeys::new("Crate", "1"), &kind_of, &[]).unwrap();
    assert_eq!(format!("{one:?}"), "Keys([Text(\"1\")])");
    assert_eq!(asked.into_inner(), ["Crate"]);
}

#[test]
fn refusals_of_keys_name_the_place() {
    let check = |raw: &str, kind: KeyKind, expected: &str| {
        let refusal = resolve_keys(&RawKeys::new("A", raw), &|_| Some(kind), &[]).unwrap_err();
        assert_eq!(refusal.status, 400);
        assert_eq!(message(refusal), expected, "{raw}");
    };
    check("1,x,3", KeyKind::Integer, "key 2 of 3 is not an integer from 0 to 9007199254740991");
    check(
        JWT,
        KeyKind::Integer,
        "key 1 of 1 is not an integer from 0 to 9007199254740991, a comma list of these, or *",
    );
    check("1,*", KeyKind::Integer, "'*' stands alone, not in a list of keys");
    check("a%", KeyKind::Text, "the key is not percent-encoded UTF-8");
}
