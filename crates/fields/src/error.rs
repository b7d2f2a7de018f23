//! Why a field list is refused. The texts reach the client in an error frame.

use thiserror::Error;
use tidewire_event::ObjectType;
use tidewire_event::image::NodeKind;

use crate::list::{FIELD_LIST_BYTES_MAX, FIELD_LIST_DEPTH_MAX, FIELD_LIST_NODES_MAX};

/// Why a field list is refused. Paths are dotted, and cut after 200 characters.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FieldListError {
    /// Too many bytes.
    #[error("the field list has {0} bytes, more than {FIELD_LIST_BYTES_MAX}")]
    TooLarge(usize),
    /// The text is not JSON.
    #[error("the field list is not JSON: it breaks at line {line}, column {column}")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1 (0 at the end of a line).
        column: usize,
    },
    /// The text is JSON, but not an object.
    #[error("a field list is a JSON object, found {0}")]
    NotAnObject(NodeKind),
    /// A sub-object lies too deep.
    #[error("'{0}' is nested deeper than {FIELD_LIST_DEPTH_MAX} levels")]
    TooDeep(String),
    /// Too many names in all.
    #[error("the field list names more than {FIELD_LIST_NODES_MAX} fields")]
    TooManyFields,
    /// A leaf that is not `"*"`.
    #[error("'{path}' must be \"*\" or an object, found {found}")]
    Leaf {
        /// Where.
        path: String,
        /// What stands there.
        found: String,
    },
    /// An array, where the plain object form is asked for.
    #[error("'{0}' is an array: write an array's fields in the plain object form")]
    Array(String),
    /// The name `*` stands for the standard fields and has nothing below it.
    #[error("'{0}' must be \"*\": it stands for the standard fields")]
    Star(String),
    /// A name that stands twice in one object.
    #[error("'{0}' stands twice")]
    Duplicate(String),
    /// A name with half of a surrogate pair.
    #[error("a name below '{0}' is not text")]
    Name(String),
    /// A field that the type does not have.
    #[error("unknown field '{path}'{}", hint(.nearest.as_deref()))]
    UnknownField {
        /// Where.
        path: String,
        /// The nearest name that the type has, if any is near.
        nearest: Option<String>,
    },
    /// A field below a plain value.
    #[error("unknown field '{path}': '{parent}' is a plain value without fields")]
    NoFields {
        /// Where.
        path: String,
        /// The field above it.
        parent: String,
    },
    /// The subscription's type is not in the model.
    #[error("unknown object type '{name}'{}", hint(.nearest.as_deref()))]
    UnknownType {
        /// Its name.
        name: String,
        /// The nearest type, if any is near.
        nearest: Option<String>,
    },
    /// A field of a type that the caller may not read.
    #[error("'{path}' is not allowed: you may not read {object_type}{}", views(.minimal))]
    NotReadable {
        /// Where.
        path: String,
        /// The type.
        object_type: ObjectType,
        /// What of it anybody may see.
        minimal: String,
    },
}

impl FieldListError {
    /// The status of the error frame: 401 where a right is missing, else 400.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::NotReadable { .. } => 401,
            _ => 400,
        }
    }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |near| format!(", the nearest known is '{near}'"))
}

fn views(minimal: &str) -> String {
    format!(" beyond key, self{}{minimal}", if minimal.is_empty() { "" } else { ", " })
}
