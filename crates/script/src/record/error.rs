//! Why a record is refused. The texts reach the author.

use thiserror::Error;

use crate::TemplateError;
use crate::limits::RECORD_BYTES_MAX;
use crate::names::hint;

/// Why a record is refused. A member is named with its path: `triggers[2].eventType`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScriptRecordError {
    /// Too many bytes.
    #[error("the script has {0} bytes, more than {RECORD_BYTES_MAX}")]
    TooLarge(usize),
    /// Not JSON.
    #[error("the script is not JSON: it breaks at line {line}, column {column}")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1 (0 at the end of a line).
        column: usize,
    },
    /// JSON, but not an object.
    #[error("{what} is a JSON object, found {found}")]
    NotAnObject {
        /// The script, or one of its triggers.
        what: String,
        /// What stands there.
        found: &'static str,
    },
    /// A member that must be there.
    #[error("'{0}' is missing")]
    Missing(String),
    /// A member with a value of the wrong kind or size.
    #[error("'{member}' must be {expected}, found {found}")]
    Wrong {
        /// Its path.
        member: String,
        /// What belongs there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A name that no script has.
    #[error("'{name}' is no member of a script{}", hint(.nearest.as_deref()))]
    Unknown {
        /// Its path.
        name: String,
        /// The nearest member, if any is near.
        nearest: Option<String>,
    },
    /// A language that is to come.
    #[error("'language': {0} is not supported yet, use rhai")]
    NotYet(&'static str),
    /// A type that the model does not know.
    #[error("'{member}': unknown object type '{name}'{}", hint(.nearest.as_deref()))]
    UnknownType {
        /// The path of the member.
        member: String,
        /// The type.
        name: String,
        /// The nearest type, if any is near.
        nearest: Option<String>,
    },
    /// The template cannot be used.
    #[error("'alertScriptMessage': {0}")]
    Template(#[source] TemplateError),
}
