//! Ids: tenants, types, keys, partitions and offsets.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// Most bytes in a tenant's or a type's name.
pub const NAME_BYTES_MAX: usize = 64;
/// Most bytes in a string key.
pub const KEY_BYTES_MAX: usize = 128;
/// Integer keys lie below this (2^53), so that a browser reads them without loss.
pub const KEY_NUMBER_MAX: u64 = 1 << 53;

/// Why an id is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdError {
    /// A tenant's name.
    #[error("a tenant has 1 to 64 bytes and no control characters")]
    Tenant,
    /// A type's name.
    #[error("an object type is a letter, then up to 63 letters, digits or '_'")]
    ObjectType,
    /// An integer key.
    #[error("a key of this type is an integer from 0 to 9007199254740991, without leading zeros")]
    IntegerKey,
    /// A string key.
    #[error("a key of this type is a text of 1 to 128 bytes without control characters")]
    TextKey,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $error:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Makes one from its text.
            ///
            /// # Errors
            /// [`IdError`] if the text breaks the rule.
            pub fn new(text: &str) -> Result<Self, IdError> {
                Self::check(text)?;
                Ok(Self(Arc::from(text)))
            }

            /// Looks whether the text follows the rule, without making anything of it.
            ///
            /// # Errors
            /// [`IdError`] if the text breaks the rule.
            pub fn check(text: &str) -> Result<(), IdError> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(()) } else { Err(IdError::$error) }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// A tenant: 1 to 64 bytes, no control characters. Part of every route, store key and cache key.
    Tenant, Tenant,
    |t| !t.is_empty() && t.len() <= NAME_BYTES_MAX && !t.chars().any(char::is_control)
);
name!(
    /// The name of a type of the data model, such as `PortCall`. Case-sensitive.
    ObjectType, ObjectType,
    |t| t.len() <= NAME_BYTES_MAX
        && t.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
        && t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
);

/// Which keys a type has; the data model says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum KeyKind {
    /// An integer below 2^53 (a number in JSON).
    #[default]
    Integer,
    /// A text of up to 128 bytes (a string in JSON).
    Text,
}

/// The key of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKey {
    /// An integer below 2^53.
    Integer(u64),
    /// A text of 1 to 128 bytes.
    Text(Arc<str>),
}

impl ObjectKey {
    /// Reads a key of the given kind from its plain (percent-decoded) text.
    ///
    /// # Errors
    /// [`IdError::IntegerKey`] or [`IdError::TextKey`].
    pub fn parse(text: &str, kind: KeyKind) -> Result<Self, IdError> {
        match kind {
            KeyKind::Integer => {
                let plain = !text.is_empty()
                    && text.len() <= 16
                    && text.bytes().all(|b| b.is_ascii_digit())
                    && (text == "0" || !text.starts_with('0'));
                let number = text.parse().ok().filter(|n| plain && *n < KEY_NUMBER_MAX);
                number.map(Self::Integer).ok_or(IdError::IntegerKey)
            }
            KeyKind::Text => {
                if text.is_empty()
                    || text.len() > KEY_BYTES_MAX
                    || text.chars().any(char::is_control)
                {
                    return Err(IdError::TextKey);
                }
                Ok(Self::Text(Arc::from(text)))
            }
        }
    }

    /// Reads a key whose type the model does not know: what looks like an integer is one.
    ///
    /// # Errors
    /// [`IdError::TextKey`].
    pub fn guess(text: &str) -> Result<Self, IdError> {
        Self::parse(text, KeyKind::Integer).or_else(|_| Self::parse(text, KeyKind::Text))
    }
}

impl fmt::Display for ObjectKey {
    /// The plain text, neither percent-encoded nor quoted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A partition of a topic. Kafka numbers them from 0 in an `i32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(pub i32);

/// The offset of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Offset(pub i64);

/// The offset of the next record to read: one more than the last record read. Offsets have holes
/// (transaction markers), so no record need stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NextOffset(pub i64);

impl Offset {
    /// The next offset after this record was read.
    #[must_use]
    pub const fn next(self) -> NextOffset {
        NextOffset(self.0 + 1)
    }
}

macro_rules! number_display {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
number_display!(Partition, Offset, NextOffset);

/// The id of a frame and of a published change: partition and offset of the record, `3-244070007`.
/// Stable across replicas and replays in one life of the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId {
    /// Where the record stands.
    pub partition: Partition,
    /// Its offset there.
    pub offset: Offset,
}

impl FrameId {
    /// Reads `3-244070007`: two plain numbers, exactly as they are written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (partition, offset) = text.split_once('-')?;
        let id = Self {
            partition: Partition(partition.parse().ok()?),
            offset: Offset(offset.parse().ok()?),
        };
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.partition, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integer_keys_are_plain_and_below_2_to_53() {
        let check = |text: &str, expected: Option<u64>| {
            let key = ObjectKey::parse(text, KeyKind::Integer).ok();
            assert_eq!(key, expected.map(ObjectKey::Integer), "{text:?}");
        };
        check("0", Some(0));
        check("7823672", Some(7_823_672));
        check("9007199254740991", Some(KEY_NUMBER_MAX - 1));
        for bad in ["", "9007199254740992", "007", "+1", "-1", "1.0", "1e3", " 1", "１", "*"] {
            check(bad, None);
        }
    }

    #[test]
    fn frame_ids_have_one_spelling() {
        let check = |text: &str, is_id: bool| {
            assert_eq!(FrameId::parse(text).map(|id| id.to_string()), is_id.then(|| text.into()));
        };
        check("3-244070007", true);
        check("0-0", true);
        check("2147483647-9223372036854775807", true);
        for bad in ["", "-", "3", "3-", "-3", "03-1", "3-01", "+3-1", "3-1-1", "3--", "a-1", "3_1"]
        {
            check(bad, false);
        }
    }

    #[test]
    fn names_are_checked() {
        assert!(ObjectType::new("PortCall").is_ok());
        for bad in ["", "1A", "_x", "a-b", "é", &"x".repeat(65)] {
            assert_eq!(ObjectType::new(bad), Err(IdError::ObjectType), "{bad:?}");
        }
        assert!(Tenant::new("acme/é").is_ok());
        assert_eq!(Tenant::new("a\nb"), Err(IdError::Tenant));
    }
}
