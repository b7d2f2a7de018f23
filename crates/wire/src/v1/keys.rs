//! The keys of a subscription: JSON tells numbers from texts, the model tells which of them it has.

use serde_json::value::RawValue;
use tidewire_event::{KeyKind, ObjectKey};

use super::members::{elements, kind, text_of};
use crate::definition::{KEYS_MAX, KeySelector};
use crate::error::Refusal;

/// What a client may write as `keys`.
const EXPECTED: &str = "\"*\", a key, or an array of keys";
const INTEGER: &str = "an integer from 0 to 9007199254740991";
const TEXT: &str = "a text of 1 to 128 bytes without control characters";

/// Keys as a message has them, for [`Keys::resolve`] once the type is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// All objects of the type.
    All,
    /// 1 to [`KEYS_MAX`] of them, numbers and texts as they were written.
    Named(Vec<ObjectKey>),
}

impl Keys {
    /// Reads the member; absent and `"*"` are all.
    pub(super) fn read(value: Option<&RawValue>) -> Result<Self, Refusal> {
        let Some(value) = value else { return Ok(Self::All) };
        let keys = match kind(value) {
            "a string" if text_of(value).is_some_and(|text| text == "*") => return Ok(Self::All),
            "a string" | "a number" | "an array" => elements(value),
            _ => return Err(super::members::wrong("keys", EXPECTED, value)),
        };
        if keys.is_empty() {
            return Err(Refusal::bad_request(format!("'keys' expects {EXPECTED}, found no key")));
        }
        if keys.len() > KEYS_MAX {
            return Err(Refusal::bad_request(format!("'keys' has at most {KEYS_MAX} keys")));
        }
        let count = keys.len();
        let keys = (1..).zip(keys).map(|(position, key)| read_key(key, position, count));
        Ok(Self::Named(keys.collect::<Result<_, _>>()?))
    }

    /// The keys as the type has them. `kind_of` tells which keys a type has, by its name; `None` (a type
    /// that the model does not know; `*` is never asked for) takes numbers and texts as they are.
    ///
    /// # Errors
    /// 400 says which key is a number that should be a text, or the other way round.
    pub fn resolve(
        &self,
        object_type: &str,
        kind_of: &dyn Fn(&str) -> Option<KeyKind>,
    ) -> Result<KeySelector, Refusal> {
        let Self::Named(keys) = self else { return Ok(KeySelector::Any) };
        let kind = if object_type == "*" { None } else { kind_of(object_type) };
        let fits = |key: &ObjectKey| match kind {
            Some(KeyKind::Integer) => matches!(key, ObjectKey::Integer(_)),
            Some(KeyKind::Text) => matches!(key, ObjectKey::Text(_)),
            None => true,
        };
        if let Some(index) = keys.iter().position(|key| !fits(key)) {
            let (expected, found) = match kind {
                Some(KeyKind::Integer) => ("a number", "a string"),
                _ => ("a string", "a number"),
            };
            let place = place(index + 1, keys.len());
            let text = format!("{place} expects {expected} for this type, found {found}");
            return Err(Refusal::bad_request(text));
        }
        KeySelector::keys(keys.clone()).map_err(|error| Refusal::bad_request(error.to_string()))
    }
}

fn read_key(value: &RawValue, position: usize, count: usize) -> Result<ObjectKey, Refusal> {
    let key = match kind(value) {
        "a number" => ObjectKey::parse(value.get(), KeyKind::Integer).map_err(|_| INTEGER),
        "a string" => match text_of(value) {
            Some(text) if text == "*" => Err("a key: '*' stands alone, not in an array"),
            Some(text) => ObjectKey::parse(&text, KeyKind::Text).map_err(|_| TEXT),
            None => Err(TEXT),
        },
        _ => Err("a number or a string"),
    };
    key.map_err(|expected| {
        Refusal::bad_request(format!("{} expects {expected}", place(position, count)))
    })
}

/// The key itself is not repeated: people put tokens into the wrong place.
fn place(position: usize, count: usize) -> String {
    format!("'keys', key {position} of {count},")
}
