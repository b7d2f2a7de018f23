//! The members of a message: names once each, values as they came until somebody asks for one.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::Refusal;
use crate::nearest::hint;
use crate::request::quoted;

/// Most members of a message, known or not.
const MEMBERS_MAX: usize = 32;

/// The members of one message, in their order. Names are distinct.
pub(super) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads a message.
    pub(super) fn read(text: &'a str) -> Result<Self, Refusal> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| not_json(&error))?;
        if !raw.get().starts_with('{') {
            let found = kind(raw);
            return Err(Refusal::bad_request(format!("a message is a JSON object, found {found}")));
        }
        let mut reader = serde_json::Deserializer::from_str(raw.get());
        reader.deserialize_map(Collect).map_err(|error| not_json(&error))?
    }

    /// A member's value.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// A member's value that must be there.
    pub(super) fn need(&self, name: &str) -> Result<&'a RawValue, Refusal> {
        self.get(name)
            .ok_or_else(|| Refusal::bad_request(format!("the member '{name}' is missing")))
    }

    /// A text, if the member is there.
    pub(super) fn text(&self, name: &str, expected: &str) -> Result<Option<String>, Refusal> {
        let Some(value) = self.get(name) else { return Ok(None) };
        text_of(value).map(Some).ok_or_else(|| wrong(name, expected, value))
    }

    /// A flag, if the member is there.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.get() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(wrong(name, "true or false", value)),
        }
    }

    /// Refuses members that are not known.
    pub(super) fn only(&self, message: &str, known: &[&str]) -> Result<(), Refusal> {
        let stranger =
            self.0.iter().map(|(name, _)| name).find(|name| !known.contains(&name.as_str()));
        stranger.map_or(Ok(()), |name| {
            let (name, hint) = (quoted(name), hint(name, known));
            Err(Refusal::bad_request(format!("'{message}' has no member {name}{hint}")))
        })
    }
}

/// Only where it broke is told: what stands there may be anything.
fn not_json(error: &serde_json::Error) -> Refusal {
    let (line, column) = (error.line(), error.column());
    Refusal::bad_request(format!(
        "the message is not JSON: it breaks at line {line}, column {column}"
    ))
}

/// What a member should have been; what it was is told by its kind alone.
pub(super) fn wrong(name: &str, expected: &str, found: &RawValue) -> Refusal {
    Refusal::bad_request(format!("'{name}' expects {expected}, found {}", kind(found)))
}

/// What a value is, in words.
pub(super) fn kind(value: &RawValue) -> &'static str {
    match value.get().bytes().next() {
        Some(b'"') => "a string",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// A string's text. `None` for any other value, and for half of a surrogate pair, which is no text.
pub(super) fn text_of(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// The elements of an array, or the value itself where it is none.
pub(super) fn elements<'a>(value: &'a RawValue) -> Vec<&'a RawValue> {
    serde_json::from_str::<Vec<&'a RawValue>>(value.get()).unwrap_or_else(|_| vec![value])
}

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Result<Members<'de>, Refusal>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut members: Vec<(String, &RawValue)> = Vec::new();
        let mut refusal = None;
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            // The first refusal counts; the rest is read on, or the reader would call it no JSON.
            if refusal.is_some() {
                continue;
            }
            if members.iter().any(|(known, _)| *known == name) {
                let name = quoted(&name);
                refusal = Some(Refusal::bad_request(format!("the member {name} stands twice")));
            } else if members.len() == MEMBERS_MAX {
                let text = format!("a message has at most {MEMBERS_MAX} members");
                refusal = Some(Refusal::bad_request(text));
            } else {
                members.push((name, value));
            }
        }
        Ok(refusal.map_or(Ok(Members(members)), Err))
    }
}
