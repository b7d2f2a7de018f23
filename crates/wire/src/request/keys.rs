//! The key segment: one key, a list of keys, or a word for all.

use std::borrow::Cow;

use tidewire_event::{KeyKind, ObjectKey};

use super::percent::decode;
use crate::definition::{KEYS_MAX, KeySelector};
use crate::error::Refusal;

/// Keys as the path has them; what they are depends on the type, which only the model knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawKeys<'a> {
    object_type: String,
    /// Percent-encoded.
    text: &'a str,
}

impl<'a> RawKeys<'a> {
    /// The key segment of a path, percent-encoded, and the type that it stands beside (`*` for any).
    #[must_use]
    pub fn new(object_type: &str, text: &'a str) -> Self {
        Self { object_type: object_type.to_owned(), text }
    }
}

/// Reads the keys. `kind_of` tells which keys a type has, by its name; `None` (a type that the model
/// does not know; `*` is never asked for) takes what looks like an integer for one, key by key.
/// `all_words` mean `*`, too.
///
/// A list is split at its bare commas; a text key's own comma is written `%2C`. Integer keys hold no
/// commas, so for them an encoded one separates as well.
///
/// # Errors
/// 400 says which key is wrong, and why.
pub fn resolve_keys(
    raw: &RawKeys<'_>,
    kind_of: &dyn Fn(&str) -> Option<KeyKind>,
    all_words: &[String],
) -> Result<KeySelector, Refusal> {
    let whole = decode_key(raw.text)?;
    if whole == "*" || all_words.iter().any(|word| *word == whole) {
        return Ok(KeySelector::Any);
    }
    let kind = if raw.object_type == "*" { None } else { kind_of(&raw.object_type) };
    let parts: Vec<&str> = if kind == Some(KeyKind::Integer) {
        whole.split(',').take(KEYS_MAX + 1).collect()
    } else {
        raw.text.split(',').take(KEYS_MAX + 1).collect()
    };
    if parts.len() > KEYS_MAX {
        return Err(Refusal::bad_request(format!("a list of keys has at most {KEYS_MAX} keys")));
    }
    let mut keys = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        if *part == "*" {
            return Err(Refusal::bad_request("'*' stands alone, not in a list of keys"));
        }
        let key = match kind {
            // Decoded already, and a digit is never a '%'.
            Some(KeyKind::Integer) => ObjectKey::parse(part, KeyKind::Integer),
            Some(KeyKind::Text) => ObjectKey::parse(&decode_key(part)?, KeyKind::Text),
            None => ObjectKey::guess(&decode_key(part)?),
        };
        keys.push(key.map_err(|_| refuse(kind, index + 1, parts.len()))?);
    }
    KeySelector::keys(keys).map_err(|error| Refusal::bad_request(error.to_string()))
}

fn decode_key(text: &str) -> Result<Cow<'_, str>, Refusal> {
    decode(text).map_err(|error| Refusal::bad_request(format!("the key {error}")))
}

/// The key itself is not repeated: a path with one part too few has its token here.
fn refuse(kind: Option<KeyKind>, position: usize, count: usize) -> Refusal {
    let expected = match kind {
        Some(KeyKind::Integer) => "an integer from 0 to 9007199254740991",
        _ => "a text of 1 to 128 bytes without control characters",
    };
    let star = if count > 1 { "" } else { ", a comma list of these, or *" };
    Refusal::bad_request(format!("key {position} of {count} is not {expected}{star}"))
}
