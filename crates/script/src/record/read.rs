//! Reads a record from JSON, and names the member that is wrong.

use std::sync::Arc;

use serde_json::{Map, Value};
use tidewire_event::ObjectType;
use tidewire_wire::definition::EventSet;

use super::{Language, MessageType, ScriptRecord, ScriptRecordError as Error, Trigger};
use crate::limits::{
    BODY_BYTES_MAX, CODE_BYTES_MAX, DESCRIPTION_BYTES_MAX, NAME_BYTES_MAX, RECORD_BYTES_MAX,
    ROLE_BYTES_MAX, SUBJECT_BYTES_MAX, TEMPLATE_BYTES_MAX, TRIGGERS_MAX,
};
use crate::names::{clip, nearest};
use crate::template::Template;

/// What a record may hold. Those from `key` on are told by the server and not read, so that what was
/// fetched can be changed and sent back as it is.
const MEMBERS: [&str; 16] = [
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
    "key",
    "self",
    "version",
    "author",
    "changedAt",
];
/// Also told and not read.
const STATE: &str = "state";
const TRIGGER_MEMBERS: [&str; 2] = ["objectType", "eventType"];
/// Most characters of a bad value in an error text.
const SHOWN_CHARS_MAX: usize = 40;

impl ScriptRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// [`ScriptRecordError`](Error): the first thing that is wrong, with the path of the member.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        if json.len() > RECORD_BYTES_MAX {
            return Err(Error::TooLarge(json.len()));
        }
        let value: Value = serde_json::from_slice(json)
            .map_err(|e| Error::Json { line: e.line(), column: e.column() })?;
        Self::from_value(&value)
    }

    /// Reads a record that is part of something larger.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn from_value(value: &Value) -> Result<Self, Error> {
        let all = Members::of(value, "a script", String::new())?;
        all.only(MEMBERS.into_iter().chain([STATE]))?;
        let code = all.need_text("code", 1, CODE_BYTES_MAX)?;
        let record = Self {
            code: Arc::from(all.plain("code", code, CODE_BYTES_MAX)?),
            name: all
                .plain("name", all.need_text("name", 1, NAME_BYTES_MAX)?, NAME_BYTES_MAX)?
                .into(),
            description: all.text("description", 0, DESCRIPTION_BYTES_MAX)?.unwrap_or("").into(),
            triggers: triggers(&all)?,
            body: Arc::from(all.need_text("scriptBody", 1, BODY_BYTES_MAX)?),
            subject: match all.text("messageSubject", 0, SUBJECT_BYTES_MAX)? {
                Some(text) => all.plain("messageSubject", text, SUBJECT_BYTES_MAX)?.into(),
                None => String::new(),
            },
            message_type: message_type(&all)?,
            builds_message: all.flag("buildMessageInScript")?.unwrap_or(false),
            template: all.text("alertScriptMessage", 0, TEMPLATE_BYTES_MAX)?.unwrap_or("").into(),
            language: language(&all)?,
            role: match all.text("role", 1, ROLE_BYTES_MAX)? {
                Some(text) => Some(Arc::from(all.plain("role", text, ROLE_BYTES_MAX)?)),
                None => None,
            },
        };
        record.check_template()?;
        Ok(record)
    }

    /// A template must be there where the script builds no message, and every slot of it must be named
    /// in the source; what a run leaves unset is found when it fires.
    fn check_template(&self) -> Result<(), Error> {
        let template = Template::parse(&self.template).map_err(Error::Template)?;
        if self.builds_message {
            return Ok(());
        }
        if self.template.is_empty() {
            return Err(Error::Missing("alertScriptMessage".to_owned()));
        }
        template.check_source(&self.body).map_err(Error::Template)
    }
}

fn triggers(all: &Members<'_>) -> Result<Vec<Trigger>, Error> {
    let expected = || format!("an array of 1 to {TRIGGERS_MAX} triggers");
    let value = all.get("triggers").ok_or_else(|| Error::Missing("triggers".to_owned()))?;
    let Value::Array(items) = value else { return Err(all.wrong("triggers", expected(), value)) };
    if items.is_empty() || items.len() > TRIGGERS_MAX {
        let found = format!("{} of them", items.len());
        return Err(Error::Wrong { member: "triggers".into(), expected: expected(), found });
    }
    items.iter().enumerate().map(|(index, item)| trigger(index, item)).collect()
}

fn trigger(index: usize, item: &Value) -> Result<Trigger, Error> {
    let one = Members::of(item, "a trigger", format!("triggers[{index}]."))?;
    one.only(TRIGGER_MEMBERS)?;
    let need = |name: &str| one.need_text(name, 1, NAME_BYTES_MAX);
    let (type_text, event_text) = (need("objectType")?, need("eventType")?);
    let wrong = |name: &str, text: &str, expected: String| Error::Wrong {
        member: one.path(name),
        expected,
        found: quoted(text),
    };
    let object_type = ObjectType::new(type_text)
        .map_err(|e| wrong("objectType", type_text, format!("a type's name ({e})")))?;
    let events = EventSet::parse(event_text).map_err(|_| {
        let expected = "C, U, D, CREATE, UPDATE, DELETE, a comma list of these, or *";
        wrong("eventType", event_text, expected.to_owned())
    })?;
    Ok(Trigger { object_type, events })
}

fn message_type(all: &Members<'_>) -> Result<MessageType, Error> {
    let Some(text) = all.text("messageType", 1, NAME_BYTES_MAX)? else {
        return Ok(MessageType::default());
    };
    MessageType::parse(text).ok_or_else(|| Error::Wrong {
        member: "messageType".into(),
        expected: "String, XML or JSON".into(),
        found: quoted(text),
    })
}

fn language(all: &Members<'_>) -> Result<Language, Error> {
    let text = all.text("language", 1, NAME_BYTES_MAX)?.unwrap_or(Language::Rhai.as_str());
    if text.eq_ignore_ascii_case("groovy") {
        return Err(Error::NotYet("groovy"));
    }
    if text.eq_ignore_ascii_case(Language::Rhai.as_str()) {
        return Ok(Language::Rhai);
    }
    Err(Error::Wrong { member: "language".into(), expected: "rhai".into(), found: quoted(text) })
}

/// The members of one object of the record.
struct Members<'a> {
    map: &'a Map<String, Value>,
    /// What stands before a name in an error text: `triggers[2].`, or nothing.
    prefix: String,
}

impl<'a> Members<'a> {
    fn of(value: &'a Value, what: &str, prefix: String) -> Result<Self, Error> {
        let Value::Object(map) = value else {
            let place = prefix.trim_end_matches('.');
            let what = if place.is_empty() { what.to_owned() } else { format!("'{place}'") };
            return Err(Error::NotAnObject { what, found: kind(value) });
        };
        Ok(Self { map, prefix })
    }

    fn path(&self, name: &str) -> String {
        format!("{}{}", self.prefix, clip(name, SHOWN_CHARS_MAX))
    }

    fn only(&self, known: impl IntoIterator<Item = &'static str> + Clone) -> Result<(), Error> {
        for name in self.map.keys() {
            if !known.clone().into_iter().any(|k| k == name) {
                let near = nearest(name, known).map(str::to_owned);
                return Err(Error::Unknown { name: self.path(name), nearest: near });
            }
        }
        Ok(())
    }

    /// A member; null counts as absent.
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn wrong(&self, name: &str, expected: String, value: &Value) -> Error {
        let found = match value {
            Value::String(text) => quoted(text),
            other => kind(other).to_owned(),
        };
        Error::Wrong { member: self.path(name), expected, found }
    }

    fn text(&self, name: &str, min: usize, max: usize) -> Result<Option<&'a str>, Error> {
        let expected = || format!("a text of {min} to {max} bytes");
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if (min..=max).contains(&text.len()) => Ok(Some(text)),
            Some(Value::String(text)) => Err(Error::Wrong {
                member: self.path(name),
                expected: expected(),
                found: format!("{} bytes", text.len()),
            }),
            Some(other) => Err(self.wrong(name, expected(), other)),
        }
    }

    fn need_text(&self, name: &str, min: usize, max: usize) -> Result<&'a str, Error> {
        self.text(name, min, max)?.ok_or_else(|| Error::Missing(self.path(name)))
    }

    /// A text of one line: it stands in keys, subjects and headlines.
    fn plain(&self, name: &str, text: &'a str, max: usize) -> Result<&'a str, Error> {
        if text.chars().any(char::is_control) {
            let expected = format!("a text of at most {max} bytes without control characters");
            let found = quoted(text);
            return Err(Error::Wrong { member: self.path(name), expected, found });
        }
        Ok(text)
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(self.wrong(name, "true or false".to_owned(), other)),
        }
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", clip(text, SHOWN_CHARS_MAX))
}
