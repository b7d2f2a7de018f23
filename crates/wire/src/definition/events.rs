//! Sets of operations: the `eventType` of a subscription.

use std::fmt;

use thiserror::Error;
use tidewire_event::Operation;

/// A set of operations, never empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventSet(u8);

/// Why an event type is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an event type is C, U, D, CREATE, UPDATE, DELETE, a comma list of these, or *")]
pub struct EventSetError;

impl EventSet {
    /// Every operation.
    pub const ALL: Self = Self(0b111);

    /// A set of one operation.
    #[must_use]
    pub const fn of(operation: Operation) -> Self {
        Self(match operation {
            Operation::Create => 0b001,
            Operation::Update => 0b010,
            Operation::Delete => 0b100,
        })
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the operation is in the set.
    #[must_use]
    pub const fn contains(self, operation: Operation) -> bool {
        self.0 & Self::of(operation).0 != 0
    }

    /// Reads plain (percent-decoded) text: `*`, or letters and words in any case, separated by commas.
    ///
    /// # Errors
    /// [`EventSetError`].
    pub fn parse(text: &str) -> Result<Self, EventSetError> {
        if text == "*" {
            return Ok(Self::ALL);
        }
        let mut set = Self(0);
        for part in text.split(',') {
            let operation = match part.to_ascii_uppercase().as_str() {
                "C" | "CREATE" => Operation::Create,
                "U" | "UPDATE" => Operation::Update,
                "D" | "DELETE" => Operation::Delete,
                _ => return Err(EventSetError),
            };
            set = set.union(Self::of(operation));
        }
        Ok(set)
    }
}

impl fmt::Display for EventSet {
    /// The letters of the set in the order `CUD`, without separators.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        [Operation::Create, Operation::Update, Operation::Delete]
            .into_iter()
            .filter(|operation| self.contains(*operation))
            .try_for_each(|operation| f.write_str(operation.as_str()))
    }
}

impl fmt::Debug for EventSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventSet({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_types() {
        let check = |text: &str, expected: Option<&str>| {
            let actual = EventSet::parse(text).ok().map(|set| set.to_string());
            assert_eq!(actual.as_deref(), expected, "{text:?}");
        };
        let words = [
            ("C", ["C", "c", "CREATE", "create", "Create", "cReAtE"]),
            ("U", ["U", "u", "UPDATE", "update", "Update", "uPDATe"]),
            ("D", ["D", "d", "DELETE", "delete", "Delete", "DElete"]),
        ];
        for (letter, spellings) in words {
            for spelling in spellings {
                check(spelling, Some(letter));
                check(&format!("{spelling},{letter}"), Some(letter));
                check(&format!("{spelling},"), None);
                check(&format!(",{spelling}"), None);
                check(&format!(" {spelling}"), None);
                check(&format!("{spelling} "), None);
                check(&format!("{spelling}{spelling}"), None);
                check(&format!("{spelling},*"), None);
                check(&format!("*,{spelling}"), None);
                check(&format!("{spelling};{spelling}"), None);
                for (other, more) in words {
                    let mut both = [letter, other];
                    both.sort_by_key(|l| "CUD".find(l));
                    let both = if letter == other { letter.to_owned() } else { both.concat() };
                    for more in more {
                        check(&format!("{spelling},{more}"), Some(&both));
                    }
                }
            }
        }
        check("*", Some("CUD"));
        check("D,U,C", Some("CUD"));
        check("u,d", Some("UD"));
        check("C,U,D,C,U,D", Some("CUD"));
        for bad in ["", ",", "X", "CU", "CUD", "**", "INSERT", "C|U", "C.U", "Ｃ", "ｃreate", "c\0"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn a_set_holds_what_it_was_made_of() {
        let both = EventSet::of(Operation::Create).union(EventSet::of(Operation::Delete));
        assert!(both.contains(Operation::Create) && both.contains(Operation::Delete));
        assert!(!both.contains(Operation::Update));
    }
}
