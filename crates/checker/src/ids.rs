//! The names of things, as they stand in frames.

use std::fmt;
use std::sync::Arc;

/// A moment: any number that rises, the same for producer and clients. Pauses are told in its unit.
pub type Stamp = u64;

/// Partitions beyond this do not fit.
const PARTITION_BITS: u32 = 16;
const OFFSET_BITS: u32 = 64 - PARTITION_BITS;

/// The `id` of a message: partition and offset of its record. Eight bytes, since runs hold millions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FrameId(u64);

impl FrameId {
    /// `None` where the partition has more than 16 bits or the offset more than 48.
    #[must_use]
    pub fn new(partition: u64, offset: u64) -> Option<Self> {
        let fits = partition >> PARTITION_BITS == 0 && offset >> OFFSET_BITS == 0;
        fits.then_some(Self(partition << OFFSET_BITS | offset))
    }

    /// Reads `partition-offset`; nothing but the plain form counts.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (partition, offset) = text.split_once('-')?;
        let number = |digits: &str| {
            let plain = digits == "0" || !digits.starts_with(['0', '+']);
            digits.parse().ok().filter(|_| plain)
        };
        Self::new(number(partition)?, number(offset)?)
    }

    /// The partition.
    #[must_use]
    pub const fn partition(self) -> u64 {
        self.0 >> OFFSET_BITS
    }

    /// The offset.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self.0 & ((1 << OFFSET_BITS) - 1)
    }
}

impl fmt::Display for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.partition(), self.offset())
    }
}

impl fmt::Debug for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An object of a tenant: its type, and its key as it stands in JSON (`7`, `"T-7"`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    /// The type.
    pub kind: Arc<str>,
    /// The key, a JSON number or string.
    pub key: Arc<str>,
}

impl Object {
    /// Of a key as it stands in JSON.
    #[must_use]
    pub fn new(kind: &str, key: &str) -> Self {
        Self { kind: kind.into(), key: key.into() }
    }

    /// Of an integer key.
    #[must_use]
    pub fn numbered(kind: &str, key: u64) -> Self {
        Self::new(kind, &key.to_string())
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.key)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What happened to an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// `C`
    Create,
    /// `U`
    Update,
    /// `D`
    Delete,
}

impl Operation {
    /// The letter of `eventType`.
    #[must_use]
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Create => "C",
            Self::Update => "U",
            Self::Delete => "D",
        }
    }

    /// Reads the letter.
    #[must_use]
    pub fn of_letter(letter: &str) -> Option<Self> {
        [Self::Create, Self::Update, Self::Delete].into_iter().find(|o| o.letter() == letter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_ids() {
        let check = |text: &str, expected: Option<(u64, u64)>| {
            let id = FrameId::parse(text);
            assert_eq!(id.map(|id| (id.partition(), id.offset())), expected, "{text}");
            if let Some(id) = id {
                assert_eq!(id.to_string(), text);
            }
        };
        check("3-244070007", Some((3, 244_070_007)));
        check("0-0", Some((0, 0)));
        check("65535-281474976710655", Some((65_535, (1 << 48) - 1)));
        for bad in ["", "3", "3-", "-3", "3-4-5", "03-4", "3-04", "+3-4", "65536-0", "x-1", "1--2"]
        {
            check(bad, None);
        }
        check("0-281474976710656", None);
    }
}
