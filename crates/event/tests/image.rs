//! The tape of a body, judged against `serde_json::Value` and by hand-written rows.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;
use tidewire_event::image::{Body, BodyError, BodyLimits, Document, Node, NodeKind};
use tidewire_event::{KeyKind, ObjectKey};

fn document(text: &str) -> Document {
    Document::parse(Bytes::copy_from_slice(text.as_bytes()), BodyLimits::default()).unwrap()
}

fn body(text: &str) -> Result<Body, BodyError> {
    Body::parse(Bytes::copy_from_slice(text.as_bytes()), BodyLimits::default())
}

/// Rebuilds what serde_json would have read. Numbers keep their digits (`arbitrary_precision`).
fn value(node: Node<'_>) -> Value {
    match node.kind() {
        NodeKind::Null => Value::Null,
        NodeKind::Bool | NodeKind::Number => serde_json::from_slice(node.raw()).unwrap(),
        NodeKind::String => Value::String(node.as_str().unwrap().into_owned()),
        NodeKind::Array => Value::Array(node.elements().map(value).collect()),
        NodeKind::Object => Value::Object(
            node.members().map(|(name, v)| (name.text().unwrap().into_owned(), value(v))).collect(),
        ),
    }
}

#[test]
fn images_keep_every_byte() {
    let check = |text: &str, new: Option<&str>, old: Option<&str>| {
        let body = body(text).unwrap();
        let raw =
            |node: Option<Node<'_>>| node.map(|n| String::from_utf8(n.raw().to_vec()).unwrap());
        assert_eq!(raw(body.new_image()).as_deref(), new, "{text}");
        assert_eq!(raw(body.old_image()).as_deref(), old, "{text}");
    };
    check(r#"{"new":{"a":1},"old":null}"#, Some(r#"{"a":1}"#), None);
    check(r#"{"old":{"a":1},"new":{}}"#, Some("{}"), Some(r#"{"a":1}"#));
    check("{}", None, None);
    check(r#"{"new":null}"#, None, None);
    check(r#"{"new":{"a":1},"new":{"a":2}}"#, Some(r#"{"a":2}"#), None);
    check(r#"{"new":{"a":1},"new":null}"#, None, None);
    check(r#"{"n\u0065w":{"a":1},"x":[{"new":{}}]}"#, Some(r#"{"a":1}"#), None);
    check(" \n{ \"new\" :\t{ \"a\" : 1.10 } \r\n, \"old\":null } ", Some("{ \"a\" : 1.10 }"), None);
    check(r#"{"extra":"}{","new":{"s":"\"]}\\"}}"#, Some(r#"{"s":"\"]}\\"}"#), None);
}

#[test]
fn values_are_found_by_decoded_name() {
    let check = |text: &str, name: &str, expected: Option<&str>| {
        let document = document(text);
        let found = document.root().get(name).map(|n| String::from_utf8(n.raw().to_vec()).unwrap());
        assert_eq!(found.as_deref(), expected, "{name:?} in {text}");
    };
    for number in
        ["0", "-0", "1.0", "1.00", "1e5", "1E+400", "-0.0e-7", "12345678901234567890123", "0.1000"]
    {
        check(&format!(r#"{{"a":{number},"b":1}}"#), "a", Some(number));
        check(&format!(r#"{{"b":[],"a":{number}}}"#), "a", Some(number));
    }
    for string in [
        r#""""#,
        r#""x""#,
        r#""\u00e9é\n""#,
        r#""\\""#,
        r#""\"""#,
        r#""\\\"""#,
        r#""\ud800""#,
        r#""}],:{[""#,
    ] {
        check(&format!(r#"{{"a":{string},"b":1}}"#), "a", Some(string));
    }
    check(r#"{"a":{"a":1}}"#, "a", Some(r#"{"a":1}"#));
    check(r#"{"b":{"a":1}}"#, "a", None);
    check(r#"{"b":"a"}"#, "a", None);
    check(r#"{"a":1,"a":2,"a":3}"#, "a", Some("3"));
    check(r#"{"\u0061":1}"#, "a", Some("1"));
    check(r#"{"a":1,"\u0061":2}"#, "a", Some("2"));
    check(r#"{"\ud800":1}"#, "a", None);
    check(r#"{"":1}"#, "", Some("1"));
    check(r#"{"é\"":true}"#, "é\"", Some("true"));
    check("[1]", "a", None);
    check("1", "a", None);
    check("null", "", None);
}

#[test]
fn a_body_of_another_object_is_told() {
    let check = |text: &str, key: ObjectKey, expected: bool| {
        assert_eq!(body(text).unwrap().check_key(&key).is_ok(), expected, "{text} for {key}");
    };
    let (one, text) = (|| ObjectKey::Integer(1), || ObjectKey::Text("A/1".into()));
    check(r#"{"new":{"key":1},"old":{"key":1}}"#, one(), true);
    check(r#"{"new":{},"old":null}"#, one(), true);
    check(r#"{"new":{"key":"1"}}"#, one(), true);
    check(r#"{"new":{"key":2},"old":{"key":1}}"#, one(), false);
    check(r#"{"new":{"key":1},"old":{"key":2}}"#, one(), false);
    check(r#"{"new":{"key":1.0}}"#, one(), false);
    check(r#"{"new":{"key":null}}"#, one(), false);
    check(r#"{"new":{"key":"A\/1"}}"#, text(), true);
    check(r#"{"new":{"key":"A/2"}}"#, text(), false);
    check(r#"{"new":{"key":1}}"#, ObjectKey::Text("1".into()), true);
}

#[test]
fn keys_are_read_by_kind() {
    let check = |text: &str, kind: KeyKind, expected: Option<&str>| {
        let key = document(text).root().as_key(kind).map(|key| key.to_string());
        assert_eq!(key.as_deref(), expected, "{text} as {kind:?}");
    };
    check("7823672", KeyKind::Integer, Some("7823672"));
    check("9007199254740991", KeyKind::Integer, Some("9007199254740991"));
    for bad in ["9007199254740992", "-1", "1.0", "1e3", "-0", "\"1\"", "null", "{}", "[]", "true"] {
        check(bad, KeyKind::Integer, None);
    }
    check("\"T-1\"", KeyKind::Text, Some("T-1"));
    check(r#""\u0041""#, KeyKind::Text, Some("A"));
    for bad in ["\"\"", r#""\n""#, r#""\ud800""#, "1", "null", "[]"] {
        check(bad, KeyKind::Text, None);
    }
    let long = format!("\"{}\"", "x".repeat(129));
    check(&long, KeyKind::Text, None);
    assert_eq!(document("3").root().as_key(KeyKind::Integer), Some(ObjectKey::Integer(3)));
}

#[test]
fn broken_bodies_are_refused_with_the_place() {
    let check = |text: &[u8], expected: &str| {
        let limits = BodyLimits { bytes_max: 2000, depth_max: 128 };
        let error = Body::parse(Bytes::copy_from_slice(text), limits).unwrap_err();
        assert_eq!(error.to_string(), expected, "{}", String::from_utf8_lossy(text));
    };
    check(b"", "the JSON is broken at line 1, column 0");
    check(b"{", "the JSON is broken at line 1, column 1");
    check(b"{\"new\":{}", "the JSON is broken at line 1, column 9");
    check(b"{\"new\":\n{]}", "the JSON is broken at line 2, column 2");
    check(b"{}{}", "the JSON is broken at line 1, column 3");
    check(b"{\"a\":01}", "the JSON is broken at line 1, column 7");
    check(b"{\"a\":NaN}", "the JSON is broken at line 1, column 6");
    check(b"{\"a\":1,}", "the JSON is broken at line 1, column 8");
    check(b"{'a':1}", "the JSON is broken at line 1, column 2");
    check(b"{\"a\":\"\x01\"}", "the JSON is broken at line 1, column 6");
    check(b"{\"a\":\"\xff\"}", "the JSON is not UTF-8 from byte 6 on");
    check(b"\xef\xbb\xbf{}", "the JSON is broken at line 1, column 1");
    check(b"[]", "the body is an array, expected an object with 'new' and 'old'");
    check(b"null", "the body is null, expected an object with 'new' and 'old'");
    check(b"\"x\"", "the body is a string, expected an object with 'new' and 'old'");
    check(b"1", "the body is a number, expected an object with 'new' and 'old'");
    check(b"{\"new\":1}", "'new' is a number, expected an object or null");
    check(b"{\"new\":[]}", "'new' is an array, expected an object or null");
    check(b"{\"old\":\"x\"}", "'old' is a string, expected an object or null");
    check(b"{\"old\":false}", "'old' is a boolean, expected an object or null");
    check(&[b' '; 2001], "the JSON has 2001 bytes, more than 2000");
    let deep = |levels: usize| {
        format!("{{\"new\":{}{}}}", "{\"a\":".repeat(levels - 1), "}".repeat(levels - 1))
    };
    let valid = |levels| deep(levels).replacen("{\"a\":}", "{\"a\":1}", 1);
    assert!(body(&valid(128)).is_ok());
    check(valid(129).as_bytes(), "the JSON is nested deeper than 128 levels at byte 642");
}

#[test]
fn hostile_shapes_end_in_time_and_in_bounds() {
    let depth = 1_000_000;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let text = format!("{{\"new\":{}1{}}}", open.repeat(depth), close.repeat(depth));
        assert!(matches!(body(&text), Err(BodyError::TooDeep { .. })), "{open}");
        assert!(body(&open.repeat(depth)).is_err());
    }
    let wide: String = (0..200_000).map(|n| format!("\"m{n}\":{n},")).collect();
    let body = body(&format!("{{\"new\":{{{wide}\"last\":1}}}}")).unwrap();
    let image = body.new_image().unwrap();
    assert_eq!(image.members().count(), 200_001);
    assert_eq!(image.get("m199999").unwrap().raw(), b"199999");
}

#[test]
fn a_body_is_shared_between_threads() {
    fn check<T: Send + Sync + Clone>() {}
    check::<Body>();
    check::<Document>();
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?"
            .prop_map(|n| serde_json::from_str(&n).unwrap()),
        ".{0,12}".prop_map(Value::String),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec((".{0,4}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_serde_json(expected in json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&expected) } else { serde_json::to_string(&expected) };
        let document = document(&text.unwrap());
        prop_assert_eq!(value(document.root()), expected);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let ours = Document::parse(Bytes::from(bytes.clone()), BodyLimits::default());
        if serde_json::from_slice::<Value>(&bytes).is_ok() {
            prop_assert!(ours.is_ok());
        }
    }

    #[test]
    fn random_json_like_text_agrees(text in "[\\[\\]{}\":,0-9a-b.eE+\\- \\\\untrlfasd]{0,24}") {
        let ours = Document::parse(Bytes::from(text.clone()), BodyLimits::default());
        if let Ok(expected) = serde_json::from_str::<Value>(&text) {
            prop_assert_eq!(value(ours.unwrap().root()), expected);
        }
    }
}
