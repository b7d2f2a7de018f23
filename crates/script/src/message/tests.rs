use serde_json::json;
use tidewire_event::Tenant;

use super::*;
use crate::ScriptRecord;

fn script(message_type: &str, builds: bool, template: &str) -> Script {
    let record = json!({
        "name": "n", "code": "c", "triggers": [{"objectType": "Voyage", "eventType": "U"}],
        "scriptBody": "\"?1\" \"?2\"", "messageType": message_type, "buildMessageInScript": builds,
        "alertScriptMessage": template,
    });
    let record = ScriptRecord::from_value(&record).unwrap();
    Script::new(Tenant::new("acme").unwrap(), 1, "7", 0, record)
}

fn outcome(one: &str, message: Option<&str>) -> Outcome {
    Outcome {
        fired: true,
        results: vec![("?1".into(), one.into())],
        message: message.map(str::to_owned),
    }
}

#[test]
fn messages() {
    let check = |script: &Script, outcome: &Outcome, expected: Result<&str, &str>| {
        let actual = script.message(outcome).map_err(|e| e.to_string());
        assert_eq!(actual, expected.map(str::to_owned).map_err(str::to_owned));
    };
    check(&script("String", false, "is ?1"), &outcome("5", None), Ok("is 5"));
    check(&script("String", false, "is ?1"), &outcome("5", Some("unused")), Ok("is 5"));
    check(
        &script("String", false, "?2"),
        &outcome("5", None),
        Err("?2 was never set: the script returned true without mapResultsForMessage[\"?2\"]"),
    );
    check(&script("String", true, "?1"), &outcome("5", Some("whole")), Ok("whole"));
    check(&script("String", true, "?1"), &outcome("5", Some("")), Ok(""));
    check(
        &script("String", true, "?1"),
        &outcome("5", None),
        Err("the script returned true without mapMessageFromServer[\"MSG\"]"),
    );
    check(&script("JSON", false, r#"{"a":?1}"#), &outcome("5", None), Ok(r#"{"a":5}"#));
    check(
        &script("JSON", false, r#"{"a":?1}"#),
        &outcome("five", None),
        Err("the message is not JSON: it breaks at line 1, column 7"),
    );
    check(&script("XML", false, "<a>?1</a>"), &outcome("5", None), Ok("<a>5</a>"));
    assert!(script("XML", false, "<a>?1</a>").message(&outcome("<b>", None)).is_err());
}

#[test]
fn json_messages() {
    let check = |text: &str, is_json: bool| {
        assert_eq!(MessageType::Json.check(text).is_ok(), is_json, "{text:?}");
    };
    for good in ["{}", "[]", "1", "\"x\"", "null", " {\"a\": [1, 2.50, {\"b\": null}]} ", "1e400"] {
        check(good, true);
    }
    for bad in
        ["", " ", "{", "{a:1}", "{'a':1}", "{\"a\":1,}", "[1,]", "{} {}", "01", "NaN", "\"\n\""]
    {
        check(bad, false);
    }
    check(&"[".repeat(100_000), false);
}

#[test]
fn any_text_is_a_string_up_to_its_limit() {
    for text in ["", "x", "<", "{", "é\n"] {
        assert_eq!(MessageType::String.check(text), Ok(()));
    }
    for kind in MessageType::ALL {
        let text = "x".repeat(MESSAGE_BYTES_MAX + 1);
        assert_eq!(kind.check(&text), Err(MessageError::TooLong(65_537)));
    }
}
