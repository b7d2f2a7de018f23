//! A source with its identity.

use std::sync::Arc;

use tidewire_script::{Language, Script, SourceId};

/// A source with its identity, by which a worker remembers that it has compiled it.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its identity.
    pub id: SourceId,
    /// Its text.
    pub text: Arc<str>,
}

impl Source {
    /// A source that is no saved script.
    #[must_use]
    pub fn new(language: Language, text: Arc<str>) -> Self {
        Self { id: SourceId::of(language, &text), text }
    }
}

impl From<&Script> for Source {
    fn from(script: &Script) -> Self {
        Self { id: script.source_id(), text: Arc::clone(&script.record.body) }
    }
}
