//! What can be wrong with a script or with a run of it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScriptErrorKind {
    /// The source is not a script of its language.
    Compile,
    /// A value of the wrong kind: also a script that returns no boolean.
    Type,
    /// The script itself gave up (`throw`), or a value cannot be computed (a division by zero, say).
    Runtime,
    /// More operations than allowed.
    Operations,
    /// A text, array, map or nesting larger than allowed.
    Size,
    /// More time than allowed.
    Deadline,
    /// More memory than allowed.
    Memory,
    /// It ended the process that ran it.
    Crash,
    /// The alert that it fired has no message.
    Message,
    /// There was no process to run it: no fault of the script.
    Unavailable,
}

impl ScriptErrorKind {
    /// The word for API, metric and log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Compile => "compile",
            Self::Type => "type",
            Self::Runtime => "runtime",
            Self::Operations => "operations",
            Self::Size => "size",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Crash => "crash",
            Self::Message => "message",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether the script is to blame, so that the fault counts towards disabling it.
    #[must_use]
    pub const fn is_fault_of_script(self) -> bool {
        !matches!(self, Self::Unavailable)
    }

    /// Whether the run has reached a limit, and so was as dear as a run can be.
    #[must_use]
    pub const fn is_limit(self) -> bool {
        matches!(self, Self::Deadline | Self::Operations | Self::Memory | Self::Crash)
    }
}

impl fmt::Display for ScriptErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A fault, with its place in the source where there is one. The text is for the script's author: it
/// holds nothing of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptError {
    /// What kind of fault.
    pub kind: ScriptErrorKind,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Column, from 1.
    pub column: Option<u32>,
    /// What is wrong.
    pub reason: String,
}

impl ScriptError {
    /// A fault without a place.
    #[must_use]
    pub fn new(kind: ScriptErrorKind, reason: impl Into<String>) -> Self {
        Self { kind, line: None, column: None, reason: reason.into() }
    }

    /// The same fault at a place.
    #[must_use]
    pub fn at(mut self, line: Option<u32>, column: Option<u32>) -> Self {
        (self.line, self.column) = (line, column);
        self
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (Some(line), Some(column)) => {
                write!(f, "line {line}, column {column}: {}", self.reason)
            }
            (Some(line), None) => write!(f, "line {line}: {}", self.reason),
            _ => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for ScriptError {}
