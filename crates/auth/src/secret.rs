//! Secrets: text that never shows itself, and the files that hold it.
//!
//! A secret file holds one line. The development secret is marked ([`DEV_SECRET_MARKER`]), so that a
//! service outside `dev` and loopback recognises and refuses it.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

/// What the development secret's file starts with. The key is what follows.
pub const DEV_SECRET_MARKER: &str = "tidewire-dev-secret:";
/// HS256 wants a key at least as long as its hash (RFC 7518, 3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// No secret is longer than this.
const SECRET_FILE_BYTES_MAX: u64 = 4096;
const DEV_SECRET_BYTES: usize = 32;

/// Text that `Debug` does not show, and that has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Arc<str>);

impl SecretText {
    /// Wraps the text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text itself: for the place that needs it, never for a message.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A key for HS256 from a file.
#[derive(Clone, Debug)]
pub struct Secret {
    key: SecretText,
    development: bool,
}

impl Secret {
    /// The bytes that sign.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.key.expose().as_bytes()
    }

    /// Whether the file is marked as the development secret.
    #[must_use]
    pub fn is_development(&self) -> bool {
        self.development
    }
}

/// Why a secret cannot be had.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file or its folder.
    #[error("{}: cannot {action}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Others on this machine can read the development secret.
    #[error("{0}: others can read this secret (mode {mode:04o}); run: chmod 600 {0}", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// What the file holds is not a secret.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// The operating system gives no random bytes.
    #[error("no random bytes from the operating system")]
    Random(#[source] getrandom::Error),
}

/// Reads a secret file: one line of at least [`SECRET_BYTES_MIN`] bytes. A development secret must be
/// readable by its owner alone; any other file's mode is its operator's business (mounted secrets).
///
/// # Errors
/// [`SecretError`]; no text of the file is in it.
pub fn load_secret(path: &Path) -> Result<Secret, SecretError> {
    let io = |action| move |source| SecretError::Io { path: path.to_owned(), action, source };
    let content = |problem| SecretError::Content { path: path.to_owned(), problem };
    let file = File::open(path).map_err(io("open the file"))?;
    let mode = file.metadata().map_err(io("read the mode"))?.permissions().mode() & 0o7777;
    let mut bytes = Vec::new();
    file.take(SECRET_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io("read the file"))?;
    let text = String::from_utf8(bytes).map_err(|_| content("is not UTF-8 text"))?;
    let line = text.trim();
    let (key, development) = match line.strip_prefix(DEV_SECRET_MARKER) {
        Some(key) => (key, true),
        None => (line, false),
    };
    if development && mode & 0o077 != 0 {
        return Err(SecretError::Readable { path: path.to_owned(), mode });
    }
    if text.len() as u64 > SECRET_FILE_BYTES_MAX || key.contains(char::is_control) {
        return Err(content("a secret is one line of at most 4096 bytes"));
    }
    if key.len() < SECRET_BYTES_MIN {
        return Err(content("a secret has at least 32 bytes"));
    }
    Ok(Secret { key: SecretText::new(key), development })
}

/// The development secret: made on first use (file of mode 0600, folders too), read ever after. Two
/// processes that start together get the same one.
///
/// # Errors
/// [`SecretError`]: others can read the file, or it holds some other secret.
pub fn dev_secret(path: &Path) -> Result<Secret, SecretError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path)?,
        _ => {}
    }
    let secret = load_secret(path)?;
    if secret.development {
        return Ok(secret);
    }
    let problem = "is not a development secret; remove the file or name another";
    Err(SecretError::Content { path: path.to_owned(), problem })
}

fn create(path: &Path) -> Result<(), SecretError> {
    let io = |action| move |source| SecretError::Io { path: path.to_owned(), action, source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(io("create the folder"))?;
    }
    // A link to a finished file appears at once or not at all: nobody reads half a secret.
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", random_hex::<8>()?));
    let draft = PathBuf::from(draft);
    let text = format!("{DEV_SECRET_MARKER}{}\n", random_hex::<DEV_SECRET_BYTES>()?);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    let linked = written.and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    // The draft is of no use either way; that it cannot be removed harms nobody.
    let _ = fs::remove_file(&draft);
    linked.map_err(io("create the file"))
}

/// `N` random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], SecretError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(SecretError::Random)?;
    Ok(bytes)
}

pub(crate) fn random_hex<const N: usize>() -> Result<String, SecretError> {
    Ok(hex(&random::<N>()?))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
