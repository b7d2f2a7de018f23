//! Changes that a person writes down to try a script with: `{"objectType","eventType","new","old","user"}`,
//! one or several in a file.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use tidewire_event::image::{Body, BodyLimits};
use tidewire_event::{ObjectType, Operation};
use tidewire_script::Event;

use super::file;

const MEMBERS: [&str; 5] = ["objectType", "eventType", "new", "old", "user"];
/// More than all changes that somebody tries a script with.
const INPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Reads all events of a file; `-` is standard input. Each with a name for people.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<(String, Event)>> {
    let is_input = path.as_os_str() == "-";
    let (shown, text) = if is_input {
        let mut text = String::new();
        let input = std::io::stdin().lock();
        input.take(INPUT_BYTES_MAX).read_to_string(&mut text).context("standard input")?;
        ("standard input".to_owned(), text)
    } else {
        (path.display().to_string(), file::text(path)?)
    };
    let values: Result<Vec<Value>, _> =
        serde_json::Deserializer::from_str(&text).into_iter::<Value>().collect();
    let values = values.with_context(|| format!("{shown} is not JSON"))?;
    ensure!(!values.is_empty(), "{shown} holds no event");
    let is_one = values.len() == 1;
    let named = |(index, value): (usize, Value)| {
        let name = if is_one { shown.clone() } else { format!("{shown}, event {}", index + 1) };
        let event = event(&value).with_context(|| name.clone())?;
        Ok((name, event))
    };
    values.into_iter().enumerate().map(named).collect()
}

fn event(value: &Value) -> anyhow::Result<Event> {
    let Value::Object(members) = value else { bail!("an event is a JSON object") };
    if let Some(unknown) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        bail!("'{unknown}' is no member of an event: these are {}", MEMBERS.join(", "));
    }
    let object_type = ObjectType::new(word(members, "objectType")?).context("'objectType'")?;
    let operation = operation(word(members, "eventType")?)?;
    let changed_by = match members.get("user") {
        None | Some(Value::Null) => None,
        Some(user) => Some(user.as_u64().ok_or_else(|| anyhow!("'user' is the key of a user"))?),
    };
    let image = |name: &str| members.get(name).unwrap_or(&Value::Null);
    let body = Bytes::from(json!({"new": image("new"), "old": image("old")}).to_string());
    let body = Body::parse(body, BodyLimits::default()).context("'new' and 'old'")?;
    let needed = if operation == Operation::Delete { "old" } else { "new" };
    ensure!(image(needed).is_object(), "'{needed}' is missing: the object");
    Ok(Event { object_type, operation, body: Arc::new(body), changed_by })
}

fn word<'a>(members: &'a Map<String, Value>, name: &str) -> anyhow::Result<&'a str> {
    let value = members.get(name).ok_or_else(|| anyhow!("'{name}' is missing"))?;
    value.as_str().ok_or_else(|| anyhow!("'{name}' is a text"))
}

fn operation(text: &str) -> anyhow::Result<Operation> {
    match text.to_ascii_uppercase().as_str() {
        "C" | "CREATE" => Ok(Operation::Create),
        "U" | "UPDATE" => Ok(Operation::Update),
        "D" | "DELETE" => Ok(Operation::Delete),
        _ => bail!("'eventType' is C, U or D"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_people() {
        let good = r#"{"objectType":"Voyage","eventType":"update","user":7,
            "new":{"key":1,"n":1.50},"old":null}"#;
        let read = event(&serde_json::from_str(good).unwrap()).unwrap();
        assert_eq!((read.operation, read.changed_by), (Operation::Update, Some(7)));
        assert_eq!(read.current().unwrap().raw(), br#"{"key":1,"n":1.50}"#);
        assert!(read.before().is_none_or(|image| image.is_null()));
        let check = |value: Value, expected: &str| {
            let said = format!("{:#}", event(&value).unwrap_err());
            assert!(said.contains(expected), "{value}: {said}");
        };
        check(json!([]), "JSON object");
        check(json!({"eventType": "U", "new": {}}), "'objectType' is missing");
        check(json!({"objectType": 1}), "'objectType' is a text");
        check(json!({"objectType": "Voyage", "eventType": "X"}), "C, U or D");
        check(json!({"objectType": "Voyage", "eventType": "U"}), "'new' is missing");
        check(json!({"objectType": "Voyage", "eventType": "D", "new": {}}), "'old' is missing");
        check(json!({"objectType": "Voyage", "eventType": "U", "new": {}, "user": "x"}), "'user'");
        check(json!({"objectType": "Voyage", "image": {}}), "'image' is no member");
    }
}
