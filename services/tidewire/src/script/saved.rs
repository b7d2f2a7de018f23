//! A saved script, for people.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tidewire_wire::frame::event_time;

use crate::table;
use crate::terminal::plain;

/// The columns of the list.
pub(super) const COLUMNS: [&str; 6] =
    ["code", "name", "state", "triggers", "version", "last error"];

/// A line of the list.
pub(super) fn row(script: &Value) -> Value {
    json!({
        "code": script.get("code"),
        "name": script.get("name"),
        "state": state(script),
        "triggers": triggers(script),
        "version": script.get("version"),
        "last error": last_error(script),
    })
}

/// Everything, and its source as it stands.
pub(super) fn page(script: &Value) -> String {
    let value = |name: &str| script.get(name).unwrap_or(&Value::Null);
    let changed = value("changedAt").as_i64().map(|at| event_time(at.saturating_mul(1000)));
    let changed = changed
        .map_or_else(String::new, |at| format!(" by {} at {at} UTC", table::cell(value("author"))));
    let mut lines = vec![
        ("code", table::cell(value("code"))),
        ("name", table::cell(value("name"))),
        ("description", table::cell(value("description"))),
        ("triggers", triggers(script)),
        ("state", state(script).to_owned()),
        ("version", format!("{}{changed}", table::cell(value("version")))),
        ("role", table::cell(value("role"))),
        ("subject", table::cell(value("messageSubject"))),
        ("message", message(script)),
        ("language", table::cell(value("language"))),
    ];
    if let Some(error) = last_error(script) {
        lines.insert(5, ("last error", plain(&error).into_owned()));
    }
    let mut out = String::new();
    // Writing to a String cannot fail.
    for (name, text) in lines {
        let _ = writeln!(out, "{}", format!("{name:<12} {text}").trim_end());
    }
    out.push('\n');
    for line in value("scriptBody").as_str().unwrap_or_default().lines() {
        let line = line.replace('\t', "    ");
        let _ = writeln!(out, "{}", plain(&line));
    }
    out
}

fn message(script: &Value) -> String {
    let value = |name: &str| script.get(name).unwrap_or(&Value::Null);
    let kind = table::cell(value("messageType"));
    if value("buildMessageInScript") == &Value::Bool(true) {
        return format!("{kind}, built by the script");
    }
    format!("{kind}: {}", table::cell(value("alertScriptMessage")))
}

fn state(script: &Value) -> &'static str {
    match script.pointer("/state/enabled") {
        Some(Value::Bool(false)) => "disabled",
        _ => "enabled",
    }
}

fn triggers(script: &Value) -> String {
    let all = script.get("triggers").and_then(Value::as_array).map(Vec::as_slice);
    let word = |trigger: &Value, name: &str| table::cell(trigger.get(name).unwrap_or(&Value::Null));
    let one =
        |trigger: &Value| format!("{} {}", word(trigger, "objectType"), word(trigger, "eventType"));
    all.unwrap_or_default().iter().map(one).collect::<Vec<_>>().join("; ")
}

/// The fault for which it was disabled.
fn last_error(script: &Value) -> Option<String> {
    let error = script.pointer("/state/error").filter(|error| error.is_object())?;
    let number = |name: &str| error.get(name).and_then(Value::as_u64);
    let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let place = match (number("line"), number("column")) {
        (Some(line), Some(column)) => format!(" at {line}:{column}"),
        (Some(line), None) => format!(" at line {line}"),
        _ => String::new(),
    };
    Some(format!("{}{place}: {}", text("kind"), text("reason")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> Value {
        json!({
            "key": 7, "self": "https://x/7", "name": "Result changed", "code": "result-changed",
            "description": "By more than 20,000.",
            "triggers": [
                {"objectType": "Voyage", "eventType": "U"}, {"objectType": "Cargo", "eventType": "*"},
            ],
            "scriptBody": "let a = 1;\n\ta > 1\u{1b}", "messageSubject": "Result",
            "messageType": "String", "buildMessageInScript": false, "alertScriptMessage": "?1 now",
            "language": "rhai", "role": null, "version": 3, "author": "user:7",
            "changedAt": 1_789_392_000, "state": {"enabled": true},
        })
    }

    fn disabled() -> Value {
        let mut script = script();
        script["state"] = json!({"enabled": false, "since": "2026-09-14T13:20:00", "error":
            {"kind": "type", "line": 2, "column": 5, "reason": "no boolean"}});
        script
    }

    #[test]
    fn a_line_of_the_list() {
        assert_eq!(
            row(&disabled()),
            json!({
                "code": "result-changed", "name": "Result changed", "state": "disabled",
                "triggers": "Voyage U; Cargo *", "version": 3,
                "last error": "type at 2:5: no boolean",
            })
        );
        assert_eq!(row(&script())["state"], "enabled");
        assert_eq!(row(&script())["last error"], Value::Null);
    }

    #[test]
    fn a_page() {
        let expected = "\
code         result-changed
name         Result changed
description  By more than 20,000.
triggers     Voyage U; Cargo *
state        disabled
last error   type at 2:5: no boolean
version      3 by user:7 at 2026-09-14T13:20:00 UTC
role         -
subject      Result
message      String: ?1 now
language     rhai

let a = 1;
    a > 1\u{fffd}
";
        assert_eq!(page(&disabled()), expected);
        assert!(!page(&script()).contains("last error"));
    }
}
