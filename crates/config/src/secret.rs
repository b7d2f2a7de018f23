//! Text that is never shown.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Most bytes of a secret's file: a private key or a certificate chain fits, a wrong path to something
/// huge does not fill the memory.
pub const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A password, a shared key, a URL with one in it. Neither `Debug` nor `Display` show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a secret could not be read.
#[derive(Debug)]
pub struct SecretError {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Io(io::Error),
    TooLarge,
    NotText,
    Empty,
}

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads a secret from a file; one line break at its end does not belong to it.
    ///
    /// # Errors
    /// A file that cannot be read, is empty, larger than [`SECRET_BYTES_MAX`], or not UTF-8.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let failed = |cause| SecretError { path: path.to_owned(), cause };
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| failed(Cause::Io(error)))?;
        if bytes.len() as u64 > SECRET_BYTES_MAX {
            return Err(failed(Cause::TooLarge));
        }
        let text = String::from_utf8(bytes).map_err(|_| failed(Cause::NotText))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(failed(Cause::Empty));
        }
        Ok(Self::new(text))
    }

    /// The secret itself, to be handed to what needs it and to nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.cause {
            Cause::Io(error) => write!(f, "cannot read {path}: {}", error.kind()),
            Cause::TooLarge => write!(f, "{path} is larger than {SECRET_BYTES_MAX} bytes"),
            Cause::NotText => write!(f, "{path} is not UTF-8"),
            Cause::Empty => write!(f, "{path} is empty"),
        }
    }
}

impl Error for SecretError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Cause::Io(error) => Some(error),
            Cause::TooLarge | Cause::NotText | Cause::Empty => None,
        }
    }
}
