//! What happened to an object.

use std::fmt;

/// The operation of a change event. On the wire it is one letter, as in the VMS webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// The object came into being.
    Create,
    /// The object changed.
    Update,
    /// The object is gone.
    Delete,
}

impl Operation {
    /// `C`, `U` or `D`.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Create => 'C',
            Self::Update => 'U',
            Self::Delete => 'D',
        }
    }

    /// The letter as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "C",
            Self::Update => "U",
            Self::Delete => "D",
        }
    }

    /// Reads exactly `C`, `U` or `D`; anything else is `None`.
    #[must_use]
    pub fn from_letter(text: &str) -> Option<Self> {
        match text {
            "C" => Some(Self::Create),
            "U" => Some(Self::Update),
            "D" => Some(Self::Delete),
            _ => None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
