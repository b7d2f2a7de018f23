//! Versions of objects: (epoch, number).

use std::fmt;

use thiserror::Error;

/// The version of one object's image.
///
/// The epoch names one life of the numbering: cluster, slot and timeline for a database, the topic id
/// for the log's own order, the producer's word for an application. Within an epoch the higher number
/// is newer; between epochs the record that stands later in the log is. The number is wide enough for a
/// commit LSN with an ordinal behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// 1 to 128 bytes, any text without control characters.
    pub epoch: String,
    /// Rises with every change of the object within the epoch.
    pub number: u128,
}

/// Why a version is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VersionError {
    /// No `:` between epoch and number.
    #[error("a version is '<epoch>:<number>'")]
    NoSeparator,
    /// The epoch is empty, too long or holds control characters.
    #[error("the epoch of a version has 1 to 128 bytes and no control characters")]
    BadEpoch,
    /// The number is not a decimal integer below 2^128.
    #[error("the number of a version is a decimal integer below 2^128")]
    BadNumber,
}

impl Version {
    /// Most bytes that an epoch may have.
    pub const EPOCH_BYTES_MAX: usize = 128;

    /// Makes a version.
    ///
    /// # Errors
    /// [`VersionError::BadEpoch`].
    pub fn new(epoch: &str, number: u128) -> Result<Self, VersionError> {
        if epoch.is_empty()
            || epoch.len() > Self::EPOCH_BYTES_MAX
            || epoch.chars().any(char::is_control)
        {
            return Err(VersionError::BadEpoch);
        }
        Ok(Self { epoch: epoch.to_owned(), number })
    }

    /// Reads the header form, `epoch:number` with the epoch percent-encoded.
    ///
    /// # Errors
    /// [`VersionError`].
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        let (epoch, number) = text.split_once(':').ok_or(VersionError::NoSeparator)?;
        let epoch = crate::percent_decode(epoch).map_err(|_| VersionError::BadEpoch)?;
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(VersionError::BadNumber);
        }
        let number = number.parse().map_err(|_| VersionError::BadNumber)?;
        Self::new(&epoch, number)
    }
}

impl fmt::Display for Version {
    /// The header form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", crate::percent_encode(&self.epoch), self.number)
    }
}
