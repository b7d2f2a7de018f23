//! The message of an alert: made of what a script left behind, and held against its type.

use serde::de::IgnoredAny;
use thiserror::Error;

use crate::limits::MESSAGE_BYTES_MAX;
use crate::record::MessageType;
use crate::{Outcome, Script, TemplateError, xml};

/// Why an alert has no message. It is a fault of the script, counted like any other.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MessageError {
    /// The template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The script was to build the message.
    #[error("the script returned true without mapMessageFromServer[\"MSG\"]")]
    NoMessage,
    /// The message is too long.
    #[error("the message has {0} bytes, more than {MESSAGE_BYTES_MAX}")]
    TooLong(usize),
    /// A message that is to be JSON is none.
    #[error("the message is not JSON: it breaks at line {line}, column {column}")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1 (0 at the end of a line).
        column: usize,
    },
    /// A message that is to be XML is not well-formed.
    #[error("the message is not well-formed XML at byte {at}: {reason}")]
    Xml {
        /// Which byte, from 0.
        at: u64,
        /// What is wrong.
        reason: String,
    },
}

impl MessageType {
    /// Looks whether a text is a message of this type.
    ///
    /// # Errors
    /// [`MessageError`] says where it is not.
    pub fn check(self, text: &str) -> Result<(), MessageError> {
        if text.len() > MESSAGE_BYTES_MAX {
            return Err(MessageError::TooLong(text.len()));
        }
        match self {
            Self::String => Ok(()),
            Self::Json => serde_json::from_str::<IgnoredAny>(text)
                .map(drop)
                .map_err(|e| MessageError::Json { line: e.line(), column: e.column() }),
            Self::Xml => xml::check(text)
                .map_err(|fault| MessageError::Xml { at: fault.at, reason: fault.reason }),
        }
    }
}

impl Script {
    /// The message of a run that fired.
    ///
    /// # Errors
    /// [`MessageError`]: there is no such message, or it is not of the script's type.
    pub fn message(&self, outcome: &Outcome) -> Result<String, MessageError> {
        let text = if self.record.builds_message {
            outcome.message.clone().ok_or(MessageError::NoMessage)?
        } else {
            self.template().render(&outcome.results)?
        };
        self.record.message_type.check(&text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
