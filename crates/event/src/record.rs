//! The Kafka record of a change: key, `tw` header, body.
//!
//! The key is the authority for tenant, type and object key. Key, header and timestamp hold all that a
//! reference frame needs, so routing never opens the body.

use std::borrow::Cow;
use std::fmt::Write as _;

use thiserror::Error;

use crate::{
    IdError, ObjectType, Operation, PercentError, Tenant, Version, VersionError, percent_decode,
    percent_encode,
};

/// The name of the one header.
pub const HEADER_NAME: &str = "tw";
/// Most owners that one header may name.
pub const OWNERS_MAX: usize = 32;
/// Most bytes in a header.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Most bytes in a change id.
pub const CHANGE_ID_BYTES_MAX: usize = 128;

/// Why a record cannot be used. The text says which part is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The record has no key.
    #[error("the record has no key")]
    NoKey,
    /// The key is not `tenant/type/key`.
    #[error("the record key is not '<tenant>/<type>/<key>' in UTF-8")]
    KeyShape,
    /// A part of key or header is not percent-encoded in the canonical way.
    #[error("{0} is not percent-encoded canonically")]
    Percent(&'static str, #[source] PercentError),
    /// A name or key breaks its rule.
    #[error("{0} is not valid")]
    Id(&'static str, #[source] IdError),
    /// There is a body, but no `tw` header.
    #[error("the record has a value but no 'tw' header")]
    NoHeader,
    /// More than one `tw` header.
    #[error("the record has more than one 'tw' header")]
    ManyHeaders,
    /// The header is not UTF-8, too long, or has too few or too many parts.
    #[error("the 'tw' header is not 4 to 8 parts separated by ';'")]
    HeaderShape,
    /// The header's first part.
    #[error("the 'tw' header has format {0:?}, and this version reads format 1")]
    Format(String),
    /// The header's second part.
    #[error("the 'tw' header has operation {0:?}, expected C, U or D")]
    Operation(String),
    /// The header's third part.
    #[error("the 'tw' header has a bad version")]
    Version(#[source] VersionError),
    /// The header's fourth part.
    #[error("the 'tw' header says {0:?} of the old image, expected full, partial or none")]
    OldImage(String),
    /// The header's fifth part.
    #[error("the 'tw' header has a bad owner, expected '<type>/<key>'")]
    Owner,
    /// More owners than [`OWNERS_MAX`].
    #[error("the 'tw' header names more than 32 owners")]
    ManyOwners,
    /// The header's sixth part.
    #[error("the 'tw' header has a change id of more than 128 bytes")]
    ChangeId,
    /// The header's seventh part.
    #[error("the 'tw' header has a bad 'changed by', expected an integer")]
    ChangedBy,
    /// A record without a value whose header says create or update.
    #[error("a record without a value is a delete, but its 'tw' header says {0}")]
    Tombstone(Operation),
}

/// How much of the old image a record's body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OldImage {
    /// All members, as they were.
    Full,
    /// Some members (a database that logs only the key, say).
    Partial,
    /// Nothing.
    None,
}

impl OldImage {
    /// The header's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial => "partial",
            Self::None => "none",
        }
    }
}

/// The parts of a record key, percent-decoded. The kind of `key` (integer or text) is the model's to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordKey<'a> {
    /// The tenant's name, checked.
    pub tenant: Cow<'a, str>,
    /// The type's name, checked.
    pub object_type: &'a str,
    /// The object's key as plain text, not yet checked against the type's kind.
    pub key: Cow<'a, str>,
}

impl<'a> RecordKey<'a> {
    /// Reads `tenant/type/key`.
    ///
    /// # Errors
    /// [`RecordError::KeyShape`], [`RecordError::Percent`] or [`RecordError::Id`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let text = std::str::from_utf8(bytes).map_err(|_| RecordError::KeyShape)?;
        let mut parts = text.split('/');
        let (Some(tenant), Some(object_type), Some(key), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(RecordError::KeyShape);
        };
        let tenant =
            percent_decode(tenant).map_err(|e| RecordError::Percent("the key's tenant", e))?;
        Tenant::check(&tenant).map_err(|e| RecordError::Id("the key's tenant", e))?;
        // A type's name holds unreserved characters only, so its encoded form is itself.
        ObjectType::check(object_type).map_err(|e| RecordError::Id("the key's type", e))?;
        let key = percent_decode(key).map_err(|e| RecordError::Percent("the object key", e))?;
        if key.is_empty() || key.len() > crate::KEY_BYTES_MAX || key.chars().any(char::is_control) {
            return Err(RecordError::Id("the object key", IdError::TextKey));
        }
        Ok(Self { tenant, object_type, key })
    }

    /// The record key's text for an object. `key` is the plain text of the object key.
    #[must_use]
    pub fn format(tenant: &str, object_type: &str, key: &str) -> String {
        format!("{}/{}/{}", percent_encode(tenant), object_type, percent_encode(key))
    }
}

/// An object that the changed one belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner<'a> {
    /// The owner's type.
    pub object_type: &'a str,
    /// The owner's key as plain text.
    pub key: Cow<'a, str>,
}

/// The `tw` header, borrowed from the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader<'a> {
    /// What happened.
    pub operation: Operation,
    /// The version of the new image, if the producer gave one.
    pub version: Option<Version>,
    /// How much of the old image the body holds.
    pub old_image: OldImage,
    /// The owners that the producer named. Checked; in the record's order.
    pub owners: Vec<Owner<'a>>,
    /// The producer's idempotency key.
    pub change_id: Option<Cow<'a, str>>,
    /// Who made the change: the key of a user.
    pub changed_by: Option<u64>,
    /// What produced the record, such as `capture`.
    pub source: Option<Cow<'a, str>>,
}

impl<'a> RecordHeader<'a> {
    /// The header of a record that has none: only a record without a value may lack it.
    #[must_use]
    pub const fn tombstone() -> Self {
        Self {
            operation: Operation::Delete,
            version: None,
            old_image: OldImage::None,
            owners: Vec::new(),
            change_id: None,
            changed_by: None,
            source: None,
        }
    }

    /// Reads the header of a record; `has_value` tells whether the record has a body.
    ///
    /// # Errors
    /// [`RecordError`]: the record is poison.
    pub fn of_record(header: Option<&'a [u8]>, has_value: bool) -> Result<Self, RecordError> {
        match header {
            None if has_value => Err(RecordError::NoHeader),
            None => Ok(Self::tombstone()),
            Some(bytes) => {
                let header = Self::parse(bytes)?;
                if !has_value && header.operation != Operation::Delete {
                    return Err(RecordError::Tombstone(header.operation));
                }
                Ok(header)
            }
        }
    }

    /// Reads `1;operation;version;old-image;owners;change-id;changed-by;source`; the parts from
    /// `owners` on may be absent.
    ///
    /// # Errors
    /// [`RecordError`] names the part.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        if bytes.len() > HEADER_BYTES_MAX {
            return Err(RecordError::HeaderShape);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| RecordError::HeaderShape)?;
        let mut parts = text.split(';');
        let (Some(format), Some(operation), Some(version), Some(old_image)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(RecordError::HeaderShape);
        };
        let (owners, change_id, changed_by, source) =
            (parts.next(), parts.next(), parts.next(), parts.next());
        if parts.next().is_some() {
            return Err(RecordError::HeaderShape);
        }
        if format != "1" {
            return Err(RecordError::Format(clip(format)));
        }
        let operation = Operation::from_letter(operation)
            .ok_or_else(|| RecordError::Operation(clip(operation)))?;
        let version = match version {
            "" => None,
            text => Some(Version::parse(text).map_err(RecordError::Version)?),
        };
        let old_image = match old_image {
            "full" => OldImage::Full,
            "partial" => OldImage::Partial,
            "none" => OldImage::None,
            other => return Err(RecordError::OldImage(clip(other))),
        };
        let change_id = optional(change_id, "the change id")?;
        if change_id.as_ref().is_some_and(|id| id.len() > CHANGE_ID_BYTES_MAX) {
            return Err(RecordError::ChangeId);
        }
        let changed_by = match changed_by.unwrap_or("") {
            "" => None,
            text => Some(text.parse().map_err(|_| RecordError::ChangedBy)?),
        };
        Ok(Self {
            operation,
            version,
            old_image,
            owners: parse_owners(owners.unwrap_or(""))?,
            change_id,
            changed_by,
            source: optional(source, "the source")?,
        })
    }

    /// The header's text.
    #[must_use]
    pub fn format(&self) -> String {
        let mut out = format!("1;{};", self.operation);
        if let Some(version) = &self.version {
            let _ = write!(out, "{version}");
        }
        let _ = write!(out, ";{};", self.old_image.as_str());
        for (index, owner) in self.owners.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(out, "{comma}{}/{}", owner.object_type, percent_encode(&owner.key));
        }
        let change_id = self.change_id.as_deref().map(percent_encode).unwrap_or_default();
        let changed_by = self.changed_by.map(|n| n.to_string()).unwrap_or_default();
        let source = self.source.as_deref().map(percent_encode).unwrap_or_default();
        let _ = write!(out, ";{change_id};{changed_by};{source}");
        out
    }
}

fn parse_owners(text: &str) -> Result<Vec<Owner<'_>>, RecordError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut owners = Vec::new();
    for part in text.split(',') {
        if owners.len() == OWNERS_MAX {
            return Err(RecordError::ManyOwners);
        }
        let (object_type, key) = part.split_once('/').ok_or(RecordError::Owner)?;
        ObjectType::check(object_type).map_err(|_| RecordError::Owner)?;
        let key = percent_decode(key).map_err(|_| RecordError::Owner)?;
        if key.is_empty() || key.len() > crate::KEY_BYTES_MAX {
            return Err(RecordError::Owner);
        }
        owners.push(Owner { object_type, key });
    }
    Ok(owners)
}

fn optional<'a>(
    part: Option<&'a str>,
    name: &'static str,
) -> Result<Option<Cow<'a, str>>, RecordError> {
    match part.unwrap_or("") {
        "" => Ok(None),
        text => percent_decode(text).map(Some).map_err(|e| RecordError::Percent(name, e)),
    }
}

/// A short piece of bad input for an error text.
fn clip(text: &str) -> String {
    text.chars().take(32).collect()
}
