use serde_json::{Value, json};

use super::*;

fn sound() -> Value {
    json!({
        "name": "Bunker price", "code": "bunker-price", "description": "Too dear.",
        "triggers": [{"objectType": "BunkerOrderLine", "eventType": "C,U"}],
        "scriptBody": "mapResultsForMessage[\"?1\"] = dlpObject.price; dlpObject.price > 700",
        "messageSubject": "Bunkers", "messageType": "String", "buildMessageInScript": false,
        "alertScriptMessage": "Price is ?1", "language": "rhai", "role": null,
    })
}

/// The sound record with one member replaced, or taken away.
fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut record = sound();
    record[name] = value.into();
    record
}

fn without(name: &str) -> Value {
    let mut record = sound();
    record.as_object_mut().unwrap().remove(name);
    record
}

fn check(record: &Value, expected: Result<(), &str>) {
    let read = ScriptRecord::parse(record.to_string().as_bytes());
    let actual = read.map(drop).map_err(|e| e.to_string());
    assert_eq!(actual, expected.map_err(str::to_owned), "{record}");
}

#[test]
fn a_sound_record_is_read_and_written_again() {
    let record = ScriptRecord::parse(sound().to_string().as_bytes()).unwrap();
    assert_eq!(Value::Object(record.members()), sound());
    assert_eq!(ScriptRecord::from_value(&Value::Object(record.members())).unwrap(), record);
    assert!(record.is_triggered_by("BunkerOrderLine", Operation::Create));
    assert!(record.is_triggered_by("BunkerOrderLine", Operation::Update));
    assert!(!record.is_triggered_by("BunkerOrderLine", Operation::Delete));
    assert!(!record.is_triggered_by("BunkerOrder", Operation::Update));
}

#[test]
fn what_may_be_left_out() {
    for name in ["description", "messageSubject", "messageType", "buildMessageInScript"] {
        check(&without(name), Ok(()));
        check(&with(name, Value::Null), Ok(()));
    }
    for name in ["language", "role"] {
        check(&without(name), Ok(()));
        check(&with(name, Value::Null), Ok(()));
    }
    for name in ["name", "code", "triggers", "scriptBody", "alertScriptMessage"] {
        let missing = format!("'{name}' is missing");
        check(&without(name), Err(&missing));
        check(&with(name, Value::Null), Err(&missing));
    }
}

#[test]
fn what_the_server_tells_is_not_read() {
    for name in ["key", "self", "version", "author", "changedAt", "state"] {
        for value in [json!(1), json!("x"), json!({}), Value::Null] {
            check(&with(name, value), Ok(()));
        }
    }
}

#[test]
fn unknown_members_are_refused_by_name() {
    let check = |name: &str, nearest: Option<&str>| {
        let hint = nearest.map(|n| format!(", the nearest known is '{n}'")).unwrap_or_default();
        let text = format!("'{name}' is no member of a script{hint}");
        super::tests::check(&with(name, 1), Err(&text));
    };
    check("scriptbody", Some("scriptBody"));
    check("scriptBdy", Some("scriptBody"));
    check("Code", Some("code"));
    check("trigger", Some("triggers"));
    check("mesageType", Some("messageType"));
    check("alertScriptMesage", Some("alertScriptMessage"));
    check("lang", None);
    check("zzz", None);
    check("", None);
}

#[test]
fn texts_have_sizes() {
    let sizes = [
        ("code", 1, CODE_MAX),
        ("name", 1, 256),
        ("description", 0, 4096),
        ("scriptBody", 1, 65_536),
        ("messageSubject", 0, 512),
        ("alertScriptMessage", 0, 16_384),
        ("role", 1, 128),
    ];
    for (name, min, max) in sizes {
        // Any text is a source here, and the template's slot is named in it.
        check(&with(name, "?1".repeat(max / 2)), Ok(()));
        let text =
            format!("'{name}' must be a text of {min} to {max} bytes, found {} bytes", max + 1);
        check(&with(name, "x".repeat(max + 1)), Err(&text));
        // Bytes count, not characters.
        let text =
            format!("'{name}' must be a text of {min} to {max} bytes, found {} bytes", max + 2);
        check(&with(name, "é".repeat(max / 2 + 1)), Err(&text));
        for (value, found) in [
            (json!(1), "a number"),
            (json!(true), "a boolean"),
            (json!([]), "an array"),
            (json!({}), "an object"),
        ] {
            let text = format!("'{name}' must be a text of {min} to {max} bytes, found {found}");
            check(&with(name, value), Err(&text));
        }
        if min == 1 {
            let text = format!("'{name}' must be a text of 1 to {max} bytes, found 0 bytes");
            check(&with(name, ""), Err(&text));
        }
    }
}

const CODE_MAX: usize = crate::CODE_BYTES_MAX;

#[test]
fn lines_have_no_control_characters() {
    for (name, max) in [("code", 128), ("name", 256), ("messageSubject", 512), ("role", 128)] {
        for (bad, shown) in [("a\nb", "a b"), ("\0", " "), ("a\u{7f}", "a "), ("\u{85}", " ")] {
            let text = format!(
                "'{name}' must be a text of at most {max} bytes without control characters, found \"{shown}\""
            );
            check(&with(name, bad), Err(&text));
        }
        for good in ["é", "a b", "a/b", "日本", "'\"\\"] {
            check(&with(name, good), Ok(()));
        }
    }
    // The others may have lines.
    check(&with("description", "a\nb"), Ok(()));
    check(&with("alertScriptMessage", "a\nb ?1"), Ok(()));
}

#[test]
fn triggers() {
    let one = |object_type: &str, event_type: &str| {
        with("triggers", json!([{"objectType": object_type, "eventType": event_type}]))
    };
    for good in ["C", "u", "DELETE", "create,Update", "C,U,D", "*"] {
        check(&one("Voyage", good), Ok(()));
    }
    for bad in [" ", "X", "C,", "CU", "C,*", "C;U", "insert", "Ｃ"] {
        let text = format!(
            "'triggers[0].eventType' must be C, U, D, CREATE, UPDATE, DELETE, a comma list of these, or *, found \"{bad}\""
        );
        check(&one("Voyage", bad), Err(&text));
    }
    for bad in ["*", "1a", "a-b", "a b", "é", "_x", &"x".repeat(65)] {
        let shown = crate::names::clip(bad, 40);
        let text = format!(
            "'triggers[0].objectType' must be a type's name (an object type is a letter, then up to 63 letters, digits or '_'), found \"{shown}\""
        );
        check(&one(bad, "C"), Err(&text));
    }
    let none = "'triggers' must be an array of 1 to 50 triggers, found 0 of them";
    check(&with("triggers", json!([])), Err(none));
    let trigger = json!({"objectType": "Voyage", "eventType": "C"});
    check(&with("triggers", vec![trigger.clone(); 50]), Ok(()));
    let many = "'triggers' must be an array of 1 to 50 triggers, found 51 of them";
    check(&with("triggers", vec![trigger.clone(); 51]), Err(many));
    for (value, found) in [(json!("C"), "\"C\""), (json!({}), "an object"), (json!(7), "a number")]
    {
        let text = format!("'triggers' must be an array of 1 to 50 triggers, found {found}");
        check(&with("triggers", value), Err(&text));
    }
    let second = |value: Value| with("triggers", json!([trigger, value]));
    check(&second(json!("x")), Err("'triggers[1]' is a JSON object, found a string"));
    check(&second(json!(null)), Err("'triggers[1]' is a JSON object, found null"));
    check(&second(json!({})), Err("'triggers[1].objectType' is missing"));
    check(&second(json!({"objectType": "A"})), Err("'triggers[1].eventType' is missing"));
    check(
        &second(json!({"objectType": "A", "eventTyp": "C"})),
        Err("'triggers[1].eventTyp' is no member of a script, the nearest known is 'eventType'"),
    );
    check(
        &second(json!({"objectType": 1, "eventType": "C"})),
        Err("'triggers[1].objectType' must be a text of 1 to 256 bytes, found a number"),
    );
}

#[test]
fn event_types_are_written_as_they_are_read() {
    let check = |text: &str, expected: &str| {
        let record = with("triggers", json!([{"objectType": "Voyage", "eventType": text}]));
        let members = ScriptRecord::from_value(&record).unwrap().members();
        assert_eq!(members["triggers"][0]["eventType"], expected, "{text}");
    };
    for (text, expected) in [
        ("C", "C"),
        ("u", "U"),
        ("Delete", "D"),
        ("u,c", "C,U"),
        ("D,UPDATE", "U,D"),
        ("C,U,D", "*"),
        ("*", "*"),
        ("C,C", "C"),
    ] {
        check(text, expected);
    }
}

#[test]
fn words() {
    for good in ["String", "string", "XML", "xml", "JSON", "Json"] {
        check(&with("messageType", good), Ok(()));
    }
    for bad in ["text", "X M L", "JSON5"] {
        let text = format!("'messageType' must be String, XML or JSON, found \"{bad}\"");
        check(&with("messageType", bad), Err(&text));
    }
    for good in ["rhai", "Rhai", "RHAI"] {
        check(&with("language", good), Ok(()));
    }
    for groovy in ["groovy", "Groovy", "GROOVY"] {
        check(&with("language", groovy), Err("'language': groovy is not supported yet, use rhai"));
    }
    for bad in ["lua", "javascript", "rhai "] {
        let text = format!("'language' must be rhai, found \"{bad}\"");
        check(&with("language", bad), Err(&text));
    }
    for (bad, found) in
        [(json!("true"), "\"true\""), (json!(1), "a number"), (json!([]), "an array")]
    {
        let text = format!("'buildMessageInScript' must be true or false, found {found}");
        check(&with("buildMessageInScript", bad), Err(&text));
    }
}

#[test]
fn a_template_must_fit_its_script() {
    check(&with("alertScriptMessage", "no slot"), Ok(()));
    check(
        &with("alertScriptMessage", "?1 and ?3"),
        Err("'alertScriptMessage': ?3 is never set: the script does not name \"?3\""),
    );
    check(
        &with("alertScriptMessage", "?10"),
        Err("'alertScriptMessage': ?10 is never set: the script does not name \"?10\""),
    );
    check(&with("alertScriptMessage", "?1000"), Err("'alertScriptMessage': ?1000 is beyond ?999"));
    check(&with("alertScriptMessage", ""), Err("'alertScriptMessage' is missing"));
    let mut built = with("alertScriptMessage", "?7");
    built["buildMessageInScript"] = true.into();
    check(&built, Ok(()));
    built["alertScriptMessage"] = Value::Null;
    check(&built, Ok(()));
}

#[test]
fn what_is_no_record() {
    let check = |json: &str, expected: &str| {
        let error = ScriptRecord::parse(json.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{json:?}");
    };
    check("", "the script is not JSON: it breaks at line 1, column 0");
    check("{\n\"name\":", "the script is not JSON: it breaks at line 2, column 7");
    check("{} {}", "the script is not JSON: it breaks at line 1, column 4");
    check("\"x\"", "a script is a JSON object, found a string");
    check("[]", "a script is a JSON object, found an array");
    check("null", "a script is a JSON object, found null");
    check("7", "a script is a JSON object, found a number");
    check("{}", "'code' is missing");
    let large = format!("\"{}\"", "x".repeat(crate::RECORD_BYTES_MAX));
    check(&large, "the script has 262146 bytes, more than 262144");
    assert!(ScriptRecord::parse(&[0xff, 0xfe]).is_err());
}

#[test]
fn types_are_held_against_the_model() {
    let check = |object_type: &str, expected: Result<(), &str>| {
        let record = with(
            "triggers",
            json!([
                {"objectType": "Voyage", "eventType": "C"},
                {"objectType": object_type, "eventType": "C"},
            ]),
        );
        let record = ScriptRecord::from_value(&record).unwrap();
        let actual = record.check_types(&Model::vms()).map_err(|e| e.to_string());
        assert_eq!(actual, expected.map_err(str::to_owned));
    };
    check("PortCall", Ok(()));
    check(
        "Portcall",
        Err(
            "'triggers[1].objectType': unknown object type 'Portcall', the nearest known is 'PortCall'",
        ),
    );
    check("Zebra", Err("'triggers[1].objectType': unknown object type 'Zebra'"));
}
