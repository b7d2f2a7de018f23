//! The definition of a subscription: what makes two subscriptions the same.
//!
//! Everything that decides which changes a socket gets is here, and nothing else: field lists and
//! rights shape the body of a frame, not its suffix. The number of a definition is what clients see as
//! `subscription.key`; it is a hash, so that every replica gives the same one without asking anybody.

mod events;
mod hash;

use std::fmt::Write as _;
use std::sync::Arc;

use thiserror::Error;
use tidewire_event::{IdError, KeyKind, ObjectKey, ObjectType, Tenant};

pub use events::{EventSet, EventSetError};

/// Most keys that one subscription may name.
pub const KEYS_MAX: usize = 100;

/// The type under which alerts are subscribed to: the key of a definition is then the code of a script.
pub const ALERT_TYPE: &str = "DLPAlertScript";

/// Which types a subscription is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TypeSelector {
    /// One type.
    One(ObjectType),
    /// Every type that the caller may read: `*`.
    Any,
}

impl TypeSelector {
    /// Reads a type's name or `*`.
    ///
    /// # Errors
    /// [`IdError::ObjectType`].
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text == "*" { Ok(Self::Any) } else { ObjectType::new(text).map(Self::One) }
    }

    /// Whether a type is meant.
    #[must_use]
    pub fn matches(&self, object_type: &str) -> bool {
        match self {
            Self::One(one) => one.as_str() == object_type,
            Self::Any => true,
        }
    }
}

/// Why a list of keys is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeySelectorError {
    /// No key at all.
    #[error("a list of keys needs at least one key")]
    Empty,
    /// More than [`KEYS_MAX`].
    #[error("a list of keys has at most {KEYS_MAX} keys")]
    TooMany,
}

/// Which objects of the types a subscription is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeySelector {
    /// All of them: `*`.
    Any,
    /// The named ones: 1 to [`KEYS_MAX`], sorted, each once. [`KeySelector::keys`] sees to that.
    Keys(Arc<[ObjectKey]>),
}

impl KeySelector {
    /// Selects the named objects; order and repetition do not matter.
    ///
    /// # Errors
    /// [`KeySelectorError`].
    pub fn keys(mut keys: Vec<ObjectKey>) -> Result<Self, KeySelectorError> {
        keys.sort_unstable();
        keys.dedup();
        match keys.len() {
            0 => Err(KeySelectorError::Empty),
            1..=KEYS_MAX => Ok(Self::Keys(keys.into())),
            _ => Err(KeySelectorError::TooMany),
        }
    }

    /// Whether an object is meant.
    #[must_use]
    pub fn matches(&self, key: &ObjectKey) -> bool {
        match self {
            Self::Any => true,
            Self::Keys(keys) => keys.binary_search(key).is_ok(),
        }
    }
}

/// What a subscription asks for. Cloning it copies no text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Definition {
    /// Whose changes.
    pub tenant: Tenant,
    /// Of which types.
    pub types: TypeSelector,
    /// Which operations.
    pub events: EventSet,
    /// On which objects.
    pub keys: KeySelector,
    /// Whether changes of objects below are left out.
    pub only_main_object: bool,
    /// Whether a change of a referenced object that a field list shows is told.
    pub live_references: bool,
}

impl Definition {
    /// The alerts of one script.
    ///
    /// # Errors
    /// [`IdError::TextKey`]: no script has such a code.
    pub fn alerts(tenant: Tenant, code: &str) -> Result<Self, IdError> {
        let code = ObjectKey::parse(code, KeyKind::Text)?;
        Ok(Self {
            tenant,
            types: TypeSelector::One(ObjectType::new(ALERT_TYPE)?),
            events: EventSet::ALL,
            keys: KeySelector::Keys(Arc::from([code])),
            only_main_object: true,
            live_references: true,
        })
    }

    /// The code of the script whose alerts are asked for; `None`: it is about objects.
    #[must_use]
    pub fn alert_script(&self) -> Option<&str> {
        let (TypeSelector::One(one), KeySelector::Keys(keys)) = (&self.types, &self.keys) else {
            return None;
        };
        match &keys[..] {
            [ObjectKey::Text(code)] if one.as_str() == ALERT_TYPE => Some(code),
            _ => None,
        }
    }

    /// The text that the number is a hash of. Names and keys stand behind their length in bytes, so two
    /// definitions never share a text. Changing it changes every number: never do.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut out = String::with_capacity(64);
        out.push_str("1;t");
        push_counted(&mut out, self.tenant.as_str());
        match &self.types {
            TypeSelector::Any => out.push_str(";o*"),
            TypeSelector::One(one) => {
                out.push_str(";o");
                push_counted(&mut out, one.as_str());
            }
        }
        let _ = write!(out, ";e{}", self.events);
        match &self.keys {
            KeySelector::Any => out.push_str(";k*"),
            KeySelector::Keys(keys) => {
                let _ = write!(out, ";k{}", keys.len());
                for key in keys.iter() {
                    match key {
                        ObjectKey::Integer(number) => {
                            let _ = write!(out, ",i{number}");
                        }
                        ObjectKey::Text(text) => {
                            out.push_str(",s");
                            push_counted(&mut out, text);
                        }
                    }
                }
            }
        }
        let flag = |on: bool| if on { '1' } else { '0' };
        let _ = write!(out, ";m{};r{}", flag(self.only_main_object), flag(self.live_references));
        out
    }

    /// The number that stands for this definition on every replica, for ever: from 1 to 2^53 - 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        hash::number(self.canonical().as_bytes())
    }
}

fn push_counted(out: &mut String, text: &str) {
    let _ = write!(out, "{}:{text}", text.len());
}

#[cfg(test)]
mod tests;
