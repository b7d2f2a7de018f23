use serde_json::json;
use tidewire_event::Tenant;

use super::*;
use crate::{ScriptError, ScriptErrorKind, ScriptRecord};

pub(crate) fn script(tenant: &str, code: &str, version: u64) -> Script {
    let record = json!({
        "name": "n", "code": code, "triggers": [{"objectType": "Voyage", "eventType": "U"}],
        "scriptBody": "true", "alertScriptMessage": "text",
    });
    let record = ScriptRecord::from_value(&record).unwrap();
    Script::new(Tenant::new(tenant).unwrap(), version, "operator1", 1_790_000_000, record)
}

pub(crate) fn state(tenant: &str, code: &str, version: u64) -> ScriptState {
    let error = ScriptError::new(ScriptErrorKind::Deadline, "too long").at(Some(3), Some(7));
    ScriptState {
        tenant: Tenant::new(tenant).unwrap(),
        code: code.to_owned(),
        version,
        disabled: Disabled { at: 1_790_000_001, error },
    }
}

#[test]
fn both_records_come_back() {
    for (tenant, code) in [("acme", "a"), ("ac/me", "b/c é"), ("a%", "%2F"), ("é", "日本")] {
        let script = script(tenant, code, 7);
        let read = Script::parse(script.key().as_bytes(), script.value().as_bytes());
        assert_eq!(read, Ok(Some(script.clone())));
        let state = state(tenant, code, 7);
        let read = ScriptState::parse(state.key().as_bytes(), state.value().as_bytes());
        assert_eq!(read, Ok(Some(state.clone())));
        // Neither reads the other.
        let read = Script::parse(state.key().as_bytes(), state.value().as_bytes());
        assert_eq!(read, Ok(None));
        let read = ScriptState::parse(script.key().as_bytes(), script.value().as_bytes());
        assert_eq!(read, Ok(None));
        assert_ne!(script.key(), state.key());
        assert_eq!(script.key(), Script::key_of(&script.tenant, code));
        assert_eq!(state.key(), ScriptState::key_of(&state.tenant, code));
    }
}

#[test]
fn the_form_on_the_topic_is_pinned() {
    let script = script("acme", "bunker price", 2);
    assert_eq!(script.key(), "acme/script/bunker%20price");
    assert_eq!(
        script.value(),
        r#"{"v":1,"version":2,"author":"operator1","changedAt":1790000000,"record":{"name":"n","code":"bunker price","description":"","triggers":[{"objectType":"Voyage","eventType":"U"}],"scriptBody":"true","messageSubject":"","messageType":"String","buildMessageInScript":false,"alertScriptMessage":"text","language":"rhai","role":null}}"#
    );
    let state = state("acme", "bunker price", 2);
    assert_eq!(state.key(), "acme/script-state/bunker%20price");
    assert_eq!(
        state.value(),
        r#"{"v":1,"version":2,"at":1790000001,"kind":"deadline","line":3,"column":7,"reason":"too long"}"#
    );
}

#[test]
fn what_is_no_record_is_refused() {
    let script = script("acme", "a", 1);
    let check = |key: &str, value: &str, expected: &str| {
        let read = Script::parse(key.as_bytes(), value.as_bytes()).map_err(|e| e.to_string());
        assert_eq!(read, Err(expected.to_owned()), "{key} {value}");
    };
    let value = script.value();
    let key = "the key is not '<tenant>/<script or script-state>/<code>'";
    for bad in ["", "acme", "acme/script", "acme/script/a/b", "acme/script/", "acme/script/a%0A"] {
        check(bad, &value, key);
    }
    check("acme/script/a b", &value, key);
    check("acme/script/%61", &value, key);
    check("/script/a", &value, "the tenant in the key is not valid");
    check("acme/script/b", &value, "the value is of another script than the key");
    for bad in ["", "{", "[]", "{}", "{\"v\":\"1\"}", "{\"v\":1}"] {
        check("acme/script/a", bad, "the value is not the JSON of a script");
    }
    check(
        "acme/script/a",
        &value.replace("\"v\":1,", "\"v\":2,"),
        "the value has format 2, this version reads 1",
    );
    check(
        "acme/script/a",
        &value.replace("rhai", "groovy"),
        "the script in the value is not valid",
    );
    let other = Script::parse(b"acme/revocation/token/x/1", b"{}");
    assert_eq!(other, Ok(None));
    assert!(Script::parse(&[0xff], b"{}").is_err());
}

#[test]
fn long_texts_are_cut() {
    let long = Script::new(
        Tenant::new("acme").unwrap(),
        1,
        &"é".repeat(200),
        0,
        script("acme", "a", 1).record,
    );
    assert_eq!(long.author.len(), AUTHOR_BYTES_MAX);
    let mut long = state("acme", "a", 1);
    long.disabled.error.reason = "x".repeat(10_000);
    assert!(long.value().len() < 700);
}

#[test]
fn what_the_api_shows() {
    let script = script("acme", "a", 3);
    let shown = script.to_json("https://tide.example.com");
    let names: Vec<&str> = shown.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "key",
            "self",
            "name",
            "code",
            "description",
            "triggers",
            "scriptBody",
            "messageSubject",
            "messageType",
            "buildMessageInScript",
            "alertScriptMessage",
            "language",
            "role",
            "version",
            "author",
            "changedAt"
        ]
    );
    let number = script.number();
    assert_eq!(shown["key"], number);
    assert_eq!(shown["self"], format!("https://tide.example.com/ws/rest/DLPAlertScript/{number}"));
    // It can be changed and sent back as it is.
    let again = ScriptRecord::from_value(&serde_json::Value::Object(shown)).unwrap();
    assert_eq!(again, script.record);
}
