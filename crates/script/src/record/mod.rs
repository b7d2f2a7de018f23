//! The record of an alert script, as the registry's API speaks it (contract.md, section 7).
//!
//! `{"key","self","name","code","description","triggers":[{"objectType","eventType"}],"scriptBody",
//! "messageSubject","messageType","buildMessageInScript","alertScriptMessage","language","role"}`. The
//! names are the documented ones of the VMS; the JSON is Tidewire's own. `key` and `self` are told and
//! never read.

mod error;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::sync::Arc;

use tidewire_event::{ObjectType, Operation};
use tidewire_model::Model;
use tidewire_wire::definition::EventSet;

pub use error::ScriptRecordError;

/// The language of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Language {
    /// Rhai, with the documented variables.
    #[default]
    Rhai,
}

impl Language {
    /// The word in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rhai => "rhai",
        }
    }
}

/// What a message is, and so what its text must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum MessageType {
    /// Any text.
    #[default]
    String,
    /// One well-formed XML document.
    Xml,
    /// One JSON value.
    Json,
}

impl MessageType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::String, Self::Xml, Self::Json];

    /// The word in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::Xml => "XML",
            Self::Json => "JSON",
        }
    }

    /// Reads the word, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|word| word.as_str().eq_ignore_ascii_case(text))
    }
}

/// What makes a script run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// The type of the changed object itself; a change below it is none of it.
    pub object_type: ObjectType,
    /// The operations.
    pub events: EventSet,
}

/// A script as its author wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptRecord {
    /// Its unique name in the tenant: 1 to 128 bytes without control characters.
    pub code: Arc<str>,
    /// Its name for people.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What makes it run: 1 to 50.
    pub triggers: Vec<Trigger>,
    /// The source: the inside of a function that returns a boolean.
    pub body: Arc<str>,
    /// The subject of the message.
    pub subject: String,
    /// What the message is.
    pub message_type: MessageType,
    /// Whether the script builds the whole message (`MSG`), so that the template is not used.
    pub builds_message: bool,
    /// The template, in which `?1` stands for a result.
    pub template: String,
    /// The language of the source.
    pub language: Language,
    /// Who may subscribe, beside the rights to what the script reads.
    pub role: Option<Arc<str>>,
}

impl ScriptRecord {
    /// Whether a change of this type and operation makes it run.
    #[must_use]
    pub fn is_triggered_by(&self, object_type: &str, operation: Operation) -> bool {
        self.triggers
            .iter()
            .any(|t| t.object_type.as_str() == object_type && t.events.contains(operation))
    }

    /// Looks whether the model knows the triggers' types.
    ///
    /// # Errors
    /// [`ScriptRecordError::UnknownType`] names the first that it does not know, and the nearest.
    pub fn check_types(&self, model: &Model) -> Result<(), ScriptRecordError> {
        for (index, trigger) in self.triggers.iter().enumerate() {
            let name = trigger.object_type.as_str();
            if !model.is_known(name) {
                let nearest = model.nearest_type(name).map(ToString::to_string);
                return Err(ScriptRecordError::UnknownType {
                    member: format!("triggers[{index}].objectType"),
                    name: name.to_owned(),
                    nearest,
                });
            }
        }
        Ok(())
    }
}
