use proptest::prelude::*;
use tidewire_event::{KeyKind, ObjectKey, Tenant};
use tidewire_wire::definition::{Definition, KeySelector, TypeSelector};
use tidewire_wire::request::{SocketPath, parse_path, resolve_keys};
use tidewire_wire::v1::{ClientMessage, Keys, SubscribeRequest, parse};

const MEMBERS: [&str; 12] = [
    "type",
    "id",
    "objectType",
    "events",
    "keys",
    "fields",
    "filter",
    "onlyMainObject",
    "liveReferences",
    "snapshot",
    "from",
    "onSlow",
];

fn kind_of(object_type: &str) -> Option<KeyKind> {
    match object_type {
        "Voyage" => Some(KeyKind::Integer),
        "Crate" => Some(KeyKind::Text),
        _ => None,
    }
}

fn request(object_type: &str, members: &str) -> SubscribeRequest {
    let text = format!(r#"{{"type":"subscribe","id":"a","objectType":"{object_type}"{members}}}"#);
    match parse(&text).unwrap() {
        ClientMessage::Subscribe(request) => request,
        other => panic!("{other:?} is no subscribe"),
    }
}

/// One subscription has one number, whichever way it was asked for.
#[test]
fn definitions_are_those_of_the_documented_paths() {
    let tenant = Tenant::new("acme").unwrap();
    let check = |path: &str, object_type: &str, members: &str| {
        let path = format!("/ws/rest/WebSocketObjectSubscription/{path}/-");
        let SocketPath::Objects { object_type: one, events, keys, .. } = parse_path(&path).unwrap()
        else {
            panic!("{path} is about no objects");
        };
        let by_path = Definition {
            tenant: tenant.clone(),
            types: TypeSelector::parse(&one).unwrap(),
            events,
            keys: resolve_keys(&keys, &kind_of, &[]).unwrap(),
            only_main_object: members.contains("onlyMainObject"),
            live_references: !members.contains("liveReferences"),
        };
        let request = request(object_type, members);
        let types = TypeSelector::parse(&request.object_type).unwrap();
        let keys = request.keys.resolve(object_type, &kind_of).unwrap();
        let by_message = request.definition(tenant.clone(), types, keys);
        assert_eq!(by_message, by_path, "{path}");
        assert_eq!(by_message.number(), by_path.number(), "{path}");
    };
    check("Voyage/*/*", "Voyage", "");
    check("Voyage/u,C/42", "Voyage", r#","events":["CREATE","U"],"keys":42"#);
    check("Voyage/U/3,1,2,1", "Voyage", r#","events":"U","keys":[1,2,3]"#);
    check("Crate/D/a%2Cb,7", "Crate", r#","events":"D","keys":["7","a,b"]"#);
    check("*/*/*", "*", r#","onlyMainObject":true"#);
    check("*/*/7,x", "*", r#","keys":["x",7],"liveReferences":false"#);
}

#[test]
fn the_model_decides_which_keys_a_type_has() {
    let resolve = |object_type: &str, keys: &str| {
        let request = request(object_type, &format!(",\"keys\":{keys}"));
        request.keys.resolve(object_type, &kind_of).map_err(|refusal| refusal.to_string())
    };
    let refused = |object_type: &str, keys: &str, expected: &str| {
        assert_eq!(resolve(object_type, keys), Err(format!("400: 'keys', {expected}")));
    };
    refused("Voyage", "[1,\"2\"]", "key 2 of 2, expects a number for this type, found a string");
    refused("Crate", "7", "key 1 of 1, expects a string for this type, found a number");
    assert_eq!(resolve("Crate", "\"*\""), Ok(KeySelector::Any));
    let both = KeySelector::keys(vec![
        ObjectKey::Integer(7),
        ObjectKey::parse("7", KeyKind::Text).unwrap(),
    ]);
    assert_eq!(resolve("Unknown", "[\"7\",7,7]"), Ok(both.unwrap()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_panics(
        text in "(?s).{0,60}",
        members in prop::collection::vec((0..12_usize, r#"[\[\]{}",:0-9a-z\\*-]{0,12}"#), 0..6),
    ) {
        let _ = parse(&text);
        for kind in ["subscribe", "fields", "await", "token"] {
            let rest: String =
                members.iter().map(|(name, value)| format!(",\"{}\":{value}", MEMBERS[*name])).collect();
            if let Ok(ClientMessage::Subscribe(request)) = parse(&format!("{{\"type\":\"{kind}\"{rest}}}")) {
                let _ = request.keys.resolve(&request.object_type, &kind_of);
            }
        }
    }

    #[test]
    fn a_key_reads_as_what_it_is(number in 0..1_u64 << 53, text in "[^\\p{Cc}*]{1,30}") {
        let json = serde_json::to_string(&(number, &text)).unwrap();
        let expected = Keys::Named(vec![
            ObjectKey::Integer(number),
            ObjectKey::parse(&text, KeyKind::Text).unwrap(),
        ]);
        prop_assert_eq!(request("X", &format!(",\"keys\":{json}")).keys, expected);
    }
}
