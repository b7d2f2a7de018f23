//! `docs/reference/change-event.schema.json` says what capture takes and writes.
//!
//! The check knows the keywords that the schema uses and refuses any other, so that nothing in the schema
//! goes unchecked.
#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tidewire_capture::record::record;
use tidewire_capture::{ChangeRequest, ChangeRules};
use tidewire_event::{ObjectType, Tenant};
use tidewire_fleet::Fleet;
use tidewire_model::Model;

const NOW_MS: i64 = 1_789_393_046_000;

fn schema() -> Value {
    let text = include_str!("../../../docs/reference/change-event.schema.json");
    serde_json::from_str(text).expect("JSON")
}

fn is_valid(root: &Value, schema: &Value, value: &Value) -> bool {
    let valid = |schema: &Value| is_valid(root, schema, value);
    let length = |text: &str| text.chars().count() as u64;
    let number = |limit: &Value| limit.as_u64().expect("a limit");
    let rules = schema.as_object().expect("a schema");
    rules.iter().all(|(keyword, rule)| match keyword.as_str() {
        "$schema" | "$id" | "$defs" | "title" | "description" | "then" | "else" => true,
        "$ref" => {
            let path = rule.as_str().and_then(|path| path.strip_prefix('#')).expect("a path");
            valid(root.pointer(path).expect("the definition"))
        }
        "type" => {
            let types = rule.as_array().map_or(std::slice::from_ref(rule), Vec::as_slice);
            types.iter().any(|name| match name.as_str().expect("a type") {
                "null" => value.is_null(),
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => {
                    let text = value.to_string();
                    value.is_number() && !text.contains(['.', 'e', 'E'])
                }
                other => panic!("type {other}"),
            })
        }
        "const" => value == rule,
        "enum" => rule.as_array().expect("a list").contains(value),
        "not" => !valid(rule),
        "oneOf" => rule.as_array().expect("a list").iter().filter(|s| valid(s)).count() == 1,
        "allOf" => rule.as_array().expect("a list").iter().all(valid),
        "if" => valid(rules.get(if valid(rule) { "then" } else { "else" }).unwrap_or(&json!({}))),
        "required" => {
            let names = rule.as_array().expect("a list");
            let has = |name: &Value| value.get(name.as_str().expect("a name")).is_some();
            !value.is_object() || names.iter().all(has)
        }
        "properties" => value.as_object().is_none_or(|members| {
            members.iter().all(|(name, member)| {
                rule.get(name).is_none_or(|schema| is_valid(root, schema, member))
            })
        }),
        "additionalProperties" => value.as_object().is_none_or(|members| {
            assert_eq!(rule, false);
            members.keys().all(|name| rules["properties"].get(name).is_some())
        }),
        "items" => value.as_array().is_none_or(|v| v.iter().all(|v| is_valid(root, rule, v))),
        "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= number(rule)),
        "minLength" => value.as_str().is_none_or(|text| length(text) >= number(rule)),
        "maxLength" => value.as_str().is_none_or(|text| length(text) <= number(rule)),
        "minimum" => !value.is_number() || !value.to_string().starts_with('-'),
        "maximum" => !value.is_number() || value.as_u64().is_some_and(|v| v <= number(rule)),
        "pattern" => value.as_str().is_none_or(|text| match rule.as_str().expect("a pattern") {
            name if name.starts_with("^[A-Za-z]") => ObjectType::new(text).is_ok(),
            time if time.starts_with("^[0-9]{4}-") => {
                use tidewire_capture::instant::{InstantError, parse};
                parse(text) != Err(InstantError::Shape)
            }
            other => panic!("pattern {other}"),
        }),
        other => panic!("keyword {other}"),
    })
}

fn parse(text: &str) -> Result<ChangeRequest, String> {
    let rules = ChangeRules { model: Arc::new(Model::vms()), change_bytes_max: 1 << 20 };
    let body = Bytes::copy_from_slice(text.as_bytes());
    ChangeRequest::parse(body, &rules, NOW_MS).map_err(|rejected| rejected.error.to_string())
}

#[test]
fn changes_and_values_of_the_fleet_are_valid() {
    let (root, tenant) = (schema(), Tenant::new("demo").expect("a tenant"));
    let mut fleet = Fleet::new(2, NOW_MS, &tenant);
    for _ in 0..5_000 {
        let change = fleet.next(NOW_MS).to_json();
        assert!(is_valid(&root, &root, &change), "{change}");
        let record = record(&tenant, &parse(&change.to_string()).expect("sound"));
        let value = serde_json::from_slice(&record.payload.expect("a value")).expect("JSON");
        assert!(is_valid(&root, &root, &value), "{value}");
    }
}

#[test]
fn the_schema_and_capture_agree() {
    let root = schema();
    let check = |members: &str, expected: bool| {
        let text = format!(r#"{{"objectType":"Vessel","key":5,{members}}}"#);
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(is_valid(&root, &root["$defs"]["change"], &value), expected, "schema: {text}");
        let taken = parse(&text);
        assert_eq!(taken.is_ok(), expected, "capture: {text}: {taken:?}");
    };
    let update = |members: &str| format!(r#""operation":"U","new":{{}},{members}"#);
    for (members, expected) in [
        (r#""operation":"C","new":{}"#, true),
        (r#""operation":"C","new":{},"old":null"#, true),
        (r#""operation":"C","new":{},"old":{}"#, false),
        (r#""operation":"C","new":null"#, false),
        (r#""operation":"U","old":{}"#, false),
        (r#""operation":"U","new":[]"#, false),
        (r#""operation":"D"}"#.trim_end_matches('}'), true),
        (r#""operation":"D","new":null,"old":{}"#, true),
        (r#""operation":"D","new":{}"#, false),
        (r#""operation":"X","new":{}"#, false),
    ] {
        check(members, expected);
    }
    for (members, expected) in [
        (r#""version":0,"epoch":"x""#, true),
        (r#""version":-1"#, false),
        (r#""version":1.5"#, false),
        (r#""version":1,"epoch":"""#, false),
        (r#""owners":[{"objectType":"Voyage","key":1}]"#, true),
        (r#""owners":[{"objectType":"Voyage","key":1,"x":1}]"#, false),
        (r#""owners":[{"objectType":"Voyage"}]"#, false),
        (r#""owners":[{"objectType":"Voyage","key":9007199254740992}]"#, false),
        (r#""owners":{}"#, false),
        (r#""changedBy":42"#, true),
        (r#""changedBy":"42""#, false),
        (r#""changedAt":"2026-09-14T13:37:26""#, true),
        (r#""changedAt":"2026-09-14""#, false),
        (r#""changedAt":5"#, false),
        (r#""id":"a""#, true),
        (r#""id":"""#, false),
        (
            r#""id":null,"owners":null,"version":null,"epoch":null,"changedBy":null,"changedAt":null"#,
            true,
        ),
        (r#""tenant":"x""#, false),
    ] {
        check(&update(members), expected);
    }
}
