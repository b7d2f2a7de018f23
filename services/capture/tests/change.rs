//! Bodies of changes: what is taken, what is refused, and with which words.

use std::sync::Arc;

use bytes::Bytes;
use tidewire_capture::{ChangeRequest, ChangeRules};
use tidewire_model::{Model, UnknownTypes};

const NOW_MS: i64 = 1_789_393_046_000;

fn rules(model: Model) -> ChangeRules {
    ChangeRules { model: Arc::new(model), change_bytes_max: 2_000 }
}

fn parse(model: Model, body: &str) -> Result<ChangeRequest, String> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    ChangeRequest::parse(body, &rules(model), NOW_MS).map_err(|rejected| rejected.error.to_string())
}

fn refused(body: &str, expected: &str) {
    let error = parse(Model::vms(), body).err();
    assert_eq!(error.as_deref(), Some(expected), "{body}");
}

/// A sound update of a vessel, with its members replaced or added to.
fn vessel(members: &str) -> String {
    format!(r#"{{"objectType":"Vessel","key":5,"operation":"U","new":{{}},{members}}}"#)
}

#[test]
fn a_full_change() {
    let body = r#"{ "objectType" : "PortCall", "key":7823672, "operation":"U",
        "new":{"key":7823672,"speed":12.50,"voyage":{"key":2}}, "old":{"key":7823672,"voyage":{"key":1}},
        "version":17,"epoch":"e/1","owners":[{"objectType":"BunkerOrder","key":9},{"key":2,"objectType":"Voyage"}],
        "changedBy":42,"changedAt":"2026-09-14T15:37:25.5+02:00","id":"a;b" }"#;
    let change = parse(Model::vms(), body).unwrap();
    assert_eq!(change.object_type.as_str(), "PortCall");
    assert_eq!(change.key.to_string(), "7823672");
    assert_eq!(
        change.new.as_deref(),
        Some(&br#"{"key":7823672,"speed":12.50,"voyage":{"key":2}}"#[..])
    );
    assert_eq!(change.old.as_deref(), Some(&br#"{"key":7823672,"voyage":{"key":1}}"#[..]));
    assert_eq!(change.version.map(|v| v.to_string()).as_deref(), Some("e%2F1:17"));
    let owners: Vec<String> = change.owners.iter().map(|(t, k)| format!("{t}/{k}")).collect();
    assert_eq!(owners, ["Voyage/2", "Voyage/1", "BunkerOrder/9"], "old and new, each once");
    assert_eq!(change.changed_by, Some(42));
    assert_eq!(change.changed_at_ms, NOW_MS - 500);
    assert_eq!(change.id.as_deref(), Some("a;b"));
}

#[test]
fn taken() {
    for body in [
        r#"{"objectType":"Vessel","key":0,"operation":"C","new":{}}"#,
        r#"{"objectType":"Vessel","key":0,"operation":"C","new":{},"old":null}"#,
        r#"{"objectType":"Vessel","key":9007199254740991,"operation":"U","new":{}}"#,
        r#"{"objectType":"Vessel","key":1,"operation":"U","new":{},"old":{}}"#,
        r#"{"objectType":"Vessel","key":1,"operation":"D"}"#,
        r#"{"objectType":"Vessel","key":1,"operation":"D","new":null,"old":{}}"#,
        r#"{"objectType":"Vessel","key":1,"operation":"D","old":{"key":1}}"#,
        "\t{\"objectType\":\"V\\u0065ssel\",\"key\":1,\r\n\"operation\":\"\\u0044\"} ",
    ] {
        let change = parse(Model::vms(), body).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!(change.changed_at_ms, NOW_MS, "now, where the producer does not say");
    }
    for members in [
        r#""version":0"#,
        r#""version":340282366920938463463374607431768211455,"epoch":"x""#,
        r#""version":null,"epoch":null,"owners":null,"changedBy":null,"changedAt":null,"id":null"#,
        r#""owners":[]"#,
        r#""changedBy":0"#,
        r#""changedAt":"2026-09-14T14:37:26Z""#,
        r#""changedAt":"1970-01-01T00:00:00""#,
    ] {
        parse(Model::vms(), &vessel(members)).unwrap_or_else(|error| panic!("{members}: {error}"));
    }
    let change = parse(Model::vms(), &vessel(r#""version":3"#)).unwrap();
    assert_eq!(change.version.map(|v| v.to_string()).as_deref(), Some("0:3"), "the default epoch");
}

#[test]
fn refused_shapes() {
    refused("", "not a JSON object: EOF while parsing a value at line 1 column 0");
    refused("{", "not a JSON object: EOF while parsing an object at line 1 column 1");
    refused(r#"{"key":1,}"#, "not a JSON object: key must be a string at line 1 column 10");
    refused("{} {}", "not a JSON object: trailing characters at line 1 column 4");
    refused("[]", "a change is a JSON object, this is an array");
    refused("null", "a change is a JSON object, this is null");
    refused("7", "a change is a JSON object, this is a number");
    refused("{}", "'objectType' is missing");
    refused(r#"{"objectType":null}"#, "'objectType' is missing");
    refused(r#"{"objectType":"Vessel"}"#, "'key' is missing");
    refused(r#"{"objectType":"Vessel","key":5}"#, "'operation' is missing");
    refused(
        r#"{"objecttype":"Vessel"}"#,
        "a change has no member 'objecttype', did you mean 'objectType'?",
    );
    refused(
        &vessel(r#""changeAt":"x""#),
        "a change has no member 'changeAt', did you mean 'changedAt'?",
    );
    refused(&vessel(r#""tenant":"x""#), "a change has no member 'tenant'");
    refused(&vessel(r#""id":"a","id":"a""#), "'id' stands twice");
    refused(&vessel(r#""id":"a","\u0069d":"a""#), "'id' stands twice");
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    refused(&deep, "not a JSON object: the JSON is nested deeper than 128 levels at byte 128");
    refused(
        &vessel(&format!(r#""id":"{}""#, "x".repeat(2_000))),
        "the change has 2064 bytes, more than 2000",
    );
}

#[test]
fn refused_types_and_keys() {
    let typed =
        |object_type: &str| format!(r#"{{"objectType":{object_type},"key":1,"operation":"D"}}"#);
    refused(&typed("7"), "'objectType' is a number, expected a string");
    refused(
        &typed(r#""Port-Call""#),
        "'objectType' is no name of a type: an object type is a letter, then up to 63 letters, digits or '_'",
    );
    refused(
        &typed(r#""portcall""#),
        "the data model has no type 'portcall', did you mean 'PortCall'?",
    );
    refused(&typed(r#""Elephant""#), "the data model has no type 'Elephant'");
    let keyed = |key: &str| format!(r#"{{"objectType":"Vessel","key":{key},"operation":"D"}}"#);
    let integer = "and the key of a Vessel is an integer from 0 to 9007199254740991";
    for key in ["-1", "1.0", "1e3", "9007199254740992", "\"5\"", "true", "[5]", "{\"a\":1}"] {
        refused(&keyed(key), &format!("'key' is {key}, {integer}"));
    }
}

#[test]
fn refused_operations_and_images() {
    let body = |rest: &str| format!(r#"{{"objectType":"Vessel","key":5,"operation":{rest}}}"#);
    refused(&body("\"c\""), "'operation' is \"c\", expected \"C\", \"U\" or \"D\"");
    refused(&body("\"UPDATE\""), "'operation' is \"UPDATE\", expected \"C\", \"U\" or \"D\"");
    refused(&body("1"), "'operation' is a number, expected a string");
    refused(&body("\"C\""), "operation C needs 'new', the whole object as it is now");
    refused(&body("\"U\",\"old\":{}"), "operation U needs 'new', the whole object as it is now");
    refused(&body("\"U\",\"new\":null"), "operation U needs 'new', the whole object as it is now");
    refused(
        &body("\"C\",\"new\":{},\"old\":{}"),
        "operation C has no 'old': an object that existed before is updated (U)",
    );
    refused(
        &body("\"D\",\"new\":{}"),
        "operation D has no 'new': what the object was goes into 'old'",
    );
    refused(&body("\"U\",\"new\":[]"), "'new' is an array, expected an object or null");
    refused(&body("\"U\",\"new\":{},\"old\":5"), "'old' is a number, expected an object or null");
    refused(&body("\"U\",\"new\":{\"key\":6}"), "'new' has key 6, but the change is of key 5");
    refused(
        &body("\"U\",\"new\":{\"key\":\"5\"}"),
        "'new' has key \"5\", but the change is of key 5",
    );
    refused(
        &body("\"U\",\"new\":{},\"old\":{\"key\":null}"),
        "'old' has key null, but the change is of key 5",
    );
}

#[test]
fn refused_versions_owners_and_the_rest() {
    refused(&vessel(r#""epoch":"e""#), "'epoch' needs a 'version'");
    for version in ["-1", "1.5", "1e3", "\"1\"", "true"] {
        let expected = format!("'version' is {version}, expected an integer that is not negative");
        refused(&vessel(&format!(r#""version":{version}"#)), &expected);
    }
    refused(
        &vessel(r#""version":340282366920938463463374607431768211456"#),
        "'version' is not below 2^128",
    );
    let epoch =
        "'epoch' is not valid: the epoch of a version has 1 to 128 bytes and no control characters";
    refused(&vessel(r#""version":1,"epoch":"""#), epoch);
    refused(&vessel(&format!(r#""version":1,"epoch":"{}""#, "x".repeat(129))), epoch);
    refused(&vessel(r#""version":1,"epoch":2"#), "'epoch' is a number, expected a string");
    refused(&vessel(r#""owners":{}"#), "'owners' is an object, expected an array");
    refused(
        &vessel(r#""owners":[5]"#),
        "'owners', entry 0: an owner is a JSON object, this is a number",
    );
    refused(
        &vessel(r#""owners":[{"objectType":"Voyage","key":1},{"objectType":"Voyage"}]"#),
        "'owners', entry 1: 'key' is missing",
    );
    refused(
        &vessel(r#""owners":[{"objectType":"Voyge","key":1}]"#),
        "'owners', entry 0: the data model has no type 'Voyge', did you mean 'Voyage'?",
    );
    refused(
        &vessel(r#""owners":[{"type":"Voyage","key":1}]"#),
        "'owners', entry 0: an owner has no member 'type'",
    );
    let owners: Vec<String> =
        (0..33).map(|key| format!(r#"{{"objectType":"Voyage","key":{key}}}"#)).collect();
    refused(
        &vessel(&format!(r#""owners":[{}]"#, owners.join(","))),
        "the change has 33 or more owners, at most 32 are possible",
    );
    for by in ["-1", "\"7\"", "1.0", "9007199254740992"] {
        let expected = format!("'changedBy' is {by}, expected an integer that is not negative");
        refused(&vessel(&format!(r#""changedBy":{by}"#)), &expected);
    }
    refused(&vessel(r#""changedAt":1789393046"#), "'changedAt' is a number, expected a string");
    refused(
        &vessel(r#""changedAt":"yesterday""#),
        "'changedAt' is \"yesterday\": expected a time like 2026-09-14T13:37:26.123Z (no zone means UTC)",
    );
    refused(
        &vessel(r#""changedAt":"2026-02-30T00:00:00""#),
        "'changedAt' is \"2026-02-30T00:00:00\": no such date or time",
    );
    refused(
        &vessel(r#""changedAt":"2026-09-14T14:37:26.001Z""#),
        "'changedAt' is \"2026-09-14T14:37:26.001Z\", more than an hour ahead of this server's clock",
    );
    for id in [r#""""#.to_owned(), format!("\"{}\"", "x".repeat(129)), r#""a\nb""#.to_owned()] {
        refused(
            &vessel(&format!(r#""id":{id}"#)),
            "'id' has 1 to 128 bytes and no control characters",
        );
    }
    refused(
        &vessel(r#""id":"\ud800""#),
        "'id' is a string, expected one without half a surrogate pair",
    );
}

#[test]
fn string_keys_and_unknown_types() {
    let comment = r#"{"objectType":"Comment","key":"c/1","operation":"U",
        "new":{"key":"c/1","ticket":{"key":"T-9"},"parent":null},"old":{"ticket":{"key":"T-8"}}}"#;
    let change = parse(Model::sample_helpdesk(), comment).unwrap();
    assert_eq!(change.key.to_string(), "c/1");
    let owners: Vec<String> = change.owners.iter().map(|(t, k)| format!("{t}/{k}")).collect();
    assert_eq!(owners, ["Ticket/T-9", "Ticket/T-8"]);
    let error =
        parse(Model::sample_helpdesk(), r#"{"objectType":"Ticket","key":9,"operation":"D"}"#);
    let expected = "'key' is 9, and the key of a Ticket is a string of 1 to 128 bytes without control characters";
    assert_eq!(error.unwrap_err(), expected);

    let open = || Model::vms().with_unknown_types(UnknownTypes::Accept);
    for (key, expected) in [("7", "7"), ("\"a b\"", "a b"), ("\"7\"", "7")] {
        let body = format!(
            r#"{{"objectType":"Elephant","key":{key},"operation":"U","new":{{"key":{key}}}}}"#
        );
        assert_eq!(parse(open(), &body).unwrap().key.to_string(), expected);
    }
}

#[test]
fn a_refused_change_names_its_object_where_it_can() {
    let object = |body: &str| {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let rejected = ChangeRequest::parse(body, &rules(Model::vms()), NOW_MS).unwrap_err();
        rejected.object.map(|(object_type, key)| format!("{object_type}/{key}"))
    };
    let known = Some("Vessel/5".to_owned());
    assert_eq!(object(r#"{"objectType":"Vessel","key":5,"operation":"X"}"#), known);
    assert_eq!(object(r#"{"objectType":"Vessel","key":5,"oops":1}"#), known);
    assert_eq!(object(r#"{"objectType":"Vessel","key":"5"}"#), None);
    assert_eq!(object("{"), None);
}

proptest::proptest! {
    #[test]
    fn never_panics(text in "[{}\\[\\]\":,a-zA-Z0-9. \\\\]{0,80}") {
        let _ = parse(Model::vms(), &text);
    }

    #[test]
    fn images_pass_through_byte_for_byte(number in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", space in "[ \t]{0,3}") {
        let image = format!("{{{space}\"a\":{space}{number},\"b\":[{number}{space}]}}");
        let body = format!(r#"{{"objectType":"Vessel","key":5,"operation":"U","new":{image}}}"#);
        let change = parse(Model::vms(), &body).unwrap();
        proptest::prop_assert_eq!(change.new.as_deref(), Some(image.as_bytes()));
    }
}
