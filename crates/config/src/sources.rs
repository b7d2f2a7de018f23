//! Where a configuration comes from, as raw text.

use std::path::{Path, PathBuf};

/// What environment variables of Tidewire start with: `TIDEWIRE__SECTION__KEY`.
pub const ENV_PREFIX: &str = "TIDEWIRE__";

/// The sources above the defaults, in rising order: file, environment, `--set`, named flags.
#[derive(Clone, Default)]
pub struct Sources {
    pub(crate) file: Option<PathBuf>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) set: Vec<String>,
    pub(crate) flags: Vec<Flag>,
}

/// A flag of a service that stands for a key.
#[derive(Clone)]
pub(crate) struct Flag {
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) value: String,
}

impl Sources {
    /// None: defaults alone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The variables of this process that start with [`ENV_PREFIX`].
    #[must_use]
    pub fn from_env() -> Self {
        Self::new().env(std::env::vars_os().map(|(name, value)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        }))
    }

    /// Adds a file.
    #[must_use]
    pub fn file(mut self, path: Option<&Path>) -> Self {
        self.file = path.map(Path::to_owned);
        self
    }

    /// Adds variables; those without [`ENV_PREFIX`] are left out.
    #[must_use]
    pub fn env(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.env.extend(variables.into_iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)));
        self
    }

    /// Adds what `--set` was given: `section.key=value`.
    #[must_use]
    pub fn set(mut self, assignments: impl IntoIterator<Item = String>) -> Self {
        self.set.extend(assignments);
        self
    }

    /// Adds a flag of a service's own, such as `--port`, which stands for `key`.
    #[must_use]
    pub fn flag(mut self, name: &str, key: &str, value: impl Into<String>) -> Self {
        self.flags.push(Flag { name: name.to_owned(), key: key.to_owned(), value: value.into() });
        self
    }
}
