use tidewire_wire::v1::parse;

use super::{read, refuse, with};

#[test]
fn what_is_no_message() {
    let broken = |at| format!("- 400: the message is not JSON: it breaks at line 1, column {at}");
    for (text, column) in [
        ("", 0),
        ("ping", 1),
        ("{", 1),
        (r#"{"type":"ping"}}"#, 16),
        (r#"{"type":"ping",}"#, 16),
        (r#"{"type":ping}"#, 9),
        (r#"{"type":"ping" "id"}"#, 16),
        ("{'type':'ping'}", 2),
        (r#"{"type":01}"#, 10),
    ] {
        refuse(text, &broken(column));
    }
    let found = |text, what| {
        refuse(text, &format!("- 400: a message is a JSON object, found {what}"));
    };
    found("[]", "an array");
    found("\"ping\"", "a string");
    found("17", "a number");
    found("null", "null");
    found("true", "true or false");
    refuse("{}", "- 400: the member 'type' is missing");
    refuse(r#"{"Type":"ping"}"#, "- 400: the member 'type' is missing");
    refuse(r#"{"type":1}"#, "- 400: 'type' expects the type of a message, found a number");
    refuse(r#"{"type":"ping","type":"ping"}"#, r#"- 400: the member "type" stands twice"#);
    refuse(r#"{"type":"ping","\u0074ype":1}"#, r#"- 400: the member "type" stands twice"#);
    let many: Vec<String> = (0..32).map(|n| format!("\"m{n}\":0")).collect();
    refuse(
        &format!(r#"{{"type":"ping",{}}}"#, many.join(",")),
        "- 400: a message has at most 32 members",
    );
    refuse(&" ".repeat(256 * 1024 + 1), "- 400: a message has at most 262144 bytes");
    let deep = format!(
        r#"{{"type":"fields","id":"a","fields":{}1{}}}"#,
        "[".repeat(9999),
        "]".repeat(9999)
    );
    assert!(read(&deep).unwrap().starts_with("fields a [[["));
}

#[test]
fn unknown_names_and_the_nearest_known() {
    let kind = |text: &str, nearest: &str| {
        let expected = format!(
            "- 400: the message type {text:?} is unknown, the nearest known is '{nearest}'"
        );
        refuse(&format!(r#"{{"type":"{text}"}}"#), &expected);
    };
    kind("subscibe", "subscribe");
    kind("Subscribe", "subscribe");
    kind("unsubscribed", "unsubscribe");
    kind("field", "fields");
    kind("pong", "ping");
    let member = |name: &str, nearest: &str| {
        let expected =
            format!("a 400: 'subscribe' has no member {name:?}, the nearest known is '{nearest}'");
        refuse(&with(&format!("\"{name}\":1")), &expected);
    };
    member("objecttype", "objectType");
    member("event", "events");
    member("key", "keys");
    member("onslow", "onSlow");
    member("snapshots", "snapshot");
    for (kind, member, nearest) in [
        ("unsubscribe", "ID", "id"),
        ("fields", "field", "fields"),
        ("token", "tokens", "token"),
        ("await", "ids", "id"),
        ("ping", "types", "type"),
    ] {
        let text = format!(r#"{{"type":"{kind}","{member}":1}}"#);
        let expected =
            format!("- 400: '{kind}' has no member {member:?}, the nearest known is '{nearest}'");
        refuse(&text, &expected);
    }
}

#[test]
fn wrong_members() {
    let refused = |members: &str, expected: &str| {
        refuse(&with(members), &format!("a 400: {expected}"));
    };
    refuse(r#"{"type":"subscribe"}"#, "- 400: the member 'id' is missing");
    refuse(r#"{"type":"subscribe","id":"a"}"#, "a 400: the member 'objectType' is missing");
    refuse(r#"{"type":"fields","id":"a"}"#, "a 400: the member 'fields' is missing");
    let id = "'id' expects 1 to 64 of A-Z, a-z, 0-9, '_', '.' and '-', found";
    for (value, found) in [
        (r#""""#, "a string"),
        (r#""a b""#, "a string"),
        (r#""é""#, "a string"),
        (r#""a\n""#, "a string"),
        (&format!("\"{}\"", "x".repeat(65)), "a string"),
        ("1", "a number"),
        ("null", "null"),
    ] {
        for kind in ["subscribe", "unsubscribe"] {
            let text = format!(r#"{{"type":"{kind}","id":{value}}}"#);
            refuse(&text, &format!("- 400: {id} {found}"));
        }
    }
    let object_type = "'objectType' expects the name of a type, or \"*\", found";
    for value in [r#""""#, r#""a\u0000""#, &format!("\"{}\"", "x".repeat(65))] {
        let text = format!(r#"{{"type":"subscribe","id":"a","objectType":{value}}}"#);
        refuse(&text, &format!("a 400: {object_type} a string"));
    }
    for value in
        ["\"X\"", "\"\"", "\"C;U\"", "[]", "[1]", "1", "null", "{}", r#"["C","X"]"#, "[[]]"]
    {
        refused(
            &format!("\"events\":{value}"),
            "'events' is malformed: an event type is C, U, D, CREATE, UPDATE, DELETE, a comma list of \
             these, or *, or an array of these",
        );
    }
    for (value, found) in [("null", "null"), ("true", "true or false"), ("{}", "an object")] {
        refused(
            &format!("\"keys\":{value}"),
            &format!("'keys' expects \"*\", a key, or an array of keys, found {found}"),
        );
    }
    refused(r#""keys":[]"#, "'keys' expects \"*\", a key, or an array of keys, found no key");
    let integer = "expects an integer from 0 to 9007199254740991";
    for value in ["-1", "1.0", "1e3", "9007199254740992", "99999999999999999999"] {
        refused(&format!("\"keys\":{value}"), &format!("'keys', key 1 of 1, {integer}"));
        refused(&format!("\"keys\":[1,{value}]"), &format!("'keys', key 2 of 2, {integer}"));
    }
    let text = "expects a text of 1 to 128 bytes without control characters";
    for value in [r#""""#, r#""\t""#, r#""\ud800""#, &format!("\"{}\"", "x".repeat(129))] {
        refused(&format!("\"keys\":{value}"), &format!("'keys', key 1 of 1, {text}"));
    }
    refused(r#""keys":[1,null]"#, "'keys', key 2 of 2, expects a number or a string");
    refused(
        r#""keys":["*"]"#,
        "'keys', key 1 of 1, expects a key: '*' stands alone, not in an array",
    );
    let keys: Vec<String> = (0..101).map(|key| key.to_string()).collect();
    refused(&format!("\"keys\":[{}]", keys.join(",")), "'keys' has at most 100 keys");
    refused(r#""filter":1"#, "'filter' expects an expression as a string, found a number");
    refused(r#""filter":"""#, "'filter' expects 1 to 8192 bytes");
    refused(&format!("\"filter\":\"{}\"", "x".repeat(8193)), "'filter' expects 1 to 8192 bytes");
    for name in ["onlyMainObject", "liveReferences", "snapshot"] {
        let expects = format!("'{name}' expects true or false, found");
        refused(&format!("\"{name}\":\"true\""), &format!("{expects} a string"));
        refused(&format!("\"{name}\":1"), &format!("{expects} a number"));
        refused(&format!("\"{name}\":null"), &format!("{expects} null"));
    }
    let from = "'from' expects \"now\" or a cursor as it was sent";
    for value in [r#""""#, r#""a b""#, r#""a=""#, r#""3-17+""#, r#""é""#] {
        refused(&format!("\"from\":{value}"), from);
    }
    refused(&format!("\"from\":\"{}\"", "A".repeat(96 * 1024 + 1)), from);
    refused(r#""from":0"#, &format!("{from}, found a number"));
    let on_slow = "'onSlow' expects \"disconnect\" or \"conflate\"";
    refused(r#""onSlow":"Conflate""#, on_slow);
    refused(r#""onSlow":true"#, &format!("{on_slow}, found true or false"));
    for value in [
        "1",
        "\"1\"",
        "\"1-\"",
        "\"-1-1\"",
        "\"1-1-1\"",
        "\"01-1\"",
        "\"1-01\"",
        "\"+1-1\"",
        "\"1-+1\"",
        "\"2147483648-1\"",
        "\"1-9223372036854775808\"",
        "\"1-9223372036854775807\"",
        "\" 1-1\"",
        "[]",
    ] {
        let error = read(&format!(r#"{{"type":"await","id":{value}}}"#)).unwrap_err();
        let expected = "- 400: 'id' expects the id of a change, such as \"3-244070007\", found ";
        assert!(error.starts_with(expected), "{value}: {error}");
    }
}

#[test]
fn tokens_are_never_repeated() {
    let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl-_";
    for text in [
        format!(r#"{{"type":"{jwt}"}}"#),
        format!(r#"{{"type":"token","token":"{jwt} "}}"#),
        format!(r#"{{"type":"token","{jwt}":1}}"#),
        format!(r#"{{"type":"ping","{jwt}":1,"{jwt}":2}}"#),
        format!(r#"{{"type":"unsubscribe","id":"{jwt} "}}"#),
        format!(r#"{{"type":"token","token":["{jwt}"]}}"#),
        format!(r#"{{"type":"token","token":{jwt}}}"#),
        with(&format!(r#""from":"{jwt}""#)),
        with(&format!(r#""keys":["{jwt}\n"]"#)),
        with(&format!(r#""events":"{jwt}""#)),
        with(&format!(r#""onSlow":"{jwt}""#)),
    ] {
        let error = parse(&text).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("eyJ") && !shown.contains("c2lnbmF0dXJl"), "{shown}");
    }
    for token in ["\"\"", "1", "null", "\"a b\"", "\"é\"", &format!("\"{}\"", "x".repeat(8193))] {
        refuse(&format!(r#"{{"type":"token","token":{token}}}"#), "- 401: token malformed");
    }
    let held = parse(&format!(r#"{{"type":"token","token":"{jwt}"}}"#)).unwrap();
    assert_eq!(format!("{held:?}"), "Token { token: Token(-) }");
}
