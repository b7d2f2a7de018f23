//! What the bytes of a message ought to be.
//!
//! A message is held against the ledger by a 64-bit hash of its members, because runs hold millions of
//! them. JSON counts digit for digit; only white space and the spelling of escapes do not.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::ledger::Stored;
use crate::time::event_time;
use crate::{Fields, Object, Operation};

/// A hash of the five members that are the change's own.
pub(crate) fn fingerprint(
    id: &str,
    time: &str,
    kind: &str,
    operation: &str,
    object_json: &str,
) -> u64 {
    // Its keys are fixed: the same on both sides of the comparison.
    let mut hasher = DefaultHasher::new();
    for part in [id, time, kind, operation, object_json] {
        hasher.write(part.as_bytes());
        hasher.write_u8(0xff);
    }
    hasher.finish()
}

/// What a message shows of a change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) id: &'a str,
    pub(crate) object: &'a Object,
    pub(crate) operation: Operation,
    /// Whether the object itself is subscribed, not one above it.
    pub(crate) is_main: bool,
    pub(crate) self_base: &'a str,
}

impl Shown<'_> {
    /// The hash that the message must have; `None` where the field list is not computed here. `image` is
    /// the image that it shows.
    pub(crate) fn fingerprint(&self, change: &Stored, fields: &Fields) -> Option<u64> {
        let image = match self.operation {
            Operation::Delete => change.old.as_deref(),
            Operation::Create | Operation::Update => change.new.as_deref(),
        };
        self.fingerprint_of(image, change.time_ms, fields)
    }

    /// The same with another image.
    pub(crate) fn fingerprint_of(
        &self,
        image: Option<&str>,
        time_ms: i64,
        fields: &Fields,
    ) -> Option<u64> {
        let object = match fields {
            Fields::Reference => self.object.key.as_ref().to_owned(),
            Fields::Plain(names) => self.selected(image, names),
            Fields::Unchecked => return None,
        };
        let (kind, letter) = (&*self.object.kind, self.operation.letter());
        Some(fingerprint(self.id, &event_time(time_ms), kind, letter, &object))
    }

    /// `key`, `self`, and the members of the list that the image has. A change below shows its reference:
    /// a list of leaves has no part for it.
    fn selected(&self, image: Option<&str>, names: &[Arc<str>]) -> String {
        let Object { kind, key } = self.object;
        let link = self_link(self.self_base, kind, key);
        let mut out = format!("{{\"key\":{key},\"self\":{}", Value::String(link));
        let image: Option<Map<String, Value>> =
            image.filter(|_| self.is_main).and_then(|image| serde_json::from_str(image).ok());
        for name in names {
            if let Some(value) = image.as_ref().and_then(|image| image.get(&**name)) {
                out.push_str(&format!(",{}:{value}", Value::from(&**name)));
            }
        }
        out.push('}');
        out
    }
}

/// Where an object is kept: `<base>/ws/rest/<type>/<key>`.
pub(crate) fn self_link(base: &str, kind: &str, key_json: &str) -> String {
    format!("{base}{}", link_path(kind, key_json))
}

/// The same from its first slash.
pub(crate) fn link_path(kind: &str, key_json: &str) -> String {
    let key = match serde_json::from_str(key_json) {
        Ok(Value::String(text)) => percent_encoded(&text),
        _ => key_json.to_owned(),
    };
    format!("/ws/rest/{kind}/{key}")
}

/// RFC 3986, section 2.3: everything but the unreserved characters as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
