//! What can be wrong with a change, and what may become of a sound one.

use thiserror::Error;
use tidewire_event::image::{BodyError, NodeKind};
use tidewire_event::{IdError, Operation, VersionError};
use tidewire_log::WriteError;
use tidewire_telemetry::metrics::CaptureOutcome;

use crate::instant::InstantError;

/// Why a change is refused. The texts are shown to the producer; none holds more than a few characters of
/// what was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// More bytes than `capture.change_max_bytes`.
    #[error("the change has {bytes} bytes, more than {bytes_max}")]
    TooLarge {
        /// How many it has; of a line that was not read to its end, the limit and one.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Not JSON, or nested too deep.
    #[error("not a JSON object: {0}")]
    Json(String),
    /// An array or a text where an object belongs.
    #[error("{what} is a JSON object, this is {kind}")]
    NotAnObject {
        /// `a change` or `an owner`.
        what: &'static str,
        /// What was sent.
        kind: NodeKind,
    },
    /// A member that a change does not have.
    #[error("{what} has no member '{name}'{}", hint(.near.as_deref()))]
    UnknownMember {
        /// `a change` or `an owner`.
        what: &'static str,
        /// The name.
        name: String,
        /// The nearest known one.
        near: Option<String>,
    },
    /// A member that stands twice.
    #[error("'{0}' stands twice")]
    Twice(&'static str),
    /// A member that must be there.
    #[error("'{0}' is missing")]
    Missing(&'static str),
    /// A member of the wrong JSON kind.
    #[error("'{name}' is {kind}, expected {expected}")]
    Kind {
        /// The member.
        name: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        kind: NodeKind,
    },
    /// A member that must be an integer.
    #[error("'{name}' is {got}, expected an integer that is not negative")]
    NotAnInteger {
        /// The member.
        name: &'static str,
        /// What it is.
        got: String,
    },
    /// A type's name with characters that no name has.
    #[error("'{name}' is no name of a type: {source}")]
    Name {
        /// The member.
        name: &'static str,
        /// The rule.
        source: IdError,
    },
    /// A type that the data model does not define.
    #[error("the data model has no type '{name}'{}", hint(.near.as_deref()))]
    UnknownType {
        /// The name.
        name: String,
        /// The nearest known one.
        near: Option<String>,
    },
    /// A key of the wrong kind.
    #[error("'{name}' is {got}, and the key of a {object_type} is {expected}")]
    Key {
        /// The member.
        name: &'static str,
        /// The type.
        object_type: String,
        /// What keys of the type are.
        expected: &'static str,
        /// What was sent.
        got: String,
    },
    /// An operation that does not exist.
    #[error("'operation' is \"{0}\", expected \"C\", \"U\" or \"D\"")]
    Operation(String),
    /// A create or an update without the new image.
    #[error("operation {0} needs 'new', the whole object as it is now")]
    NewMissing(Operation),
    /// A delete with a new image.
    #[error("operation D has no 'new': what the object was goes into 'old'")]
    NewOfDelete,
    /// A create with an old image.
    #[error("operation C has no 'old': an object that existed before is updated (U)")]
    OldOfCreate,
    /// The image is of another object.
    #[error("'{name}' has key {own}, but the change is of key {key}")]
    KeyDisagrees {
        /// `new` or `old`.
        name: &'static str,
        /// The image's key.
        own: String,
        /// The change's key.
        key: String,
    },
    /// An epoch without a version.
    #[error("'epoch' needs a 'version'")]
    EpochAlone,
    /// A version beyond 128 bits.
    #[error("'version' is not below 2^128")]
    VersionTooHigh,
    /// An epoch of the wrong length.
    #[error("'epoch' is not valid: {0}")]
    Epoch(VersionError),
    /// A bad entry of `owners`.
    #[error("'owners', entry {index}: {source}")]
    Owner {
        /// From 0.
        index: usize,
        /// What is wrong with it.
        source: Box<ChangeError>,
    },
    /// Too many owners.
    #[error("the change has {0} or more owners, at most 32 are possible")]
    ManyOwners(usize),
    /// A time that cannot be read.
    #[error("'changedAt' is \"{got}\": {source}")]
    ChangedAt {
        /// What was sent.
        got: String,
        /// Why.
        source: InstantError,
    },
    /// A time in the future.
    #[error("'changedAt' is \"{0}\", more than an hour ahead of this server's clock")]
    Ahead(String),
    /// A bad idempotency key.
    #[error("'id' has 1 to 128 bytes and no control characters")]
    Id,
}

fn hint(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!(", did you mean '{near}'?"))
}

impl From<BodyError> for ChangeError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { bytes, bytes_max } => Self::TooLarge { bytes, bytes_max },
            BodyError::Json { source, .. } => Self::Json(source.to_string()),
            other => Self::Json(other.to_string()),
        }
    }
}

/// Why a change was not written, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// The change is wrong; sending it again does not help.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// Too much waits for Kafka: nothing was sent.
    #[error("too many changes wait for kafka, try again after a moment")]
    Busy,
    /// An earlier change of the same object failed in this bulk.
    #[error("not sent: line {line} changed the same object and failed")]
    Skipped {
        /// The line that failed, from 1.
        line: u64,
    },
    /// Kafka cannot be reached: nothing was sent.
    #[error("kafka is not available, try again later")]
    Unavailable,
    /// Sent, but not acknowledged in time.
    #[error("kafka did not acknowledge in time, the outcome is unknown: {}", advice(*.has_id))]
    Unknown {
        /// Whether the change has an idempotency key.
        has_id: bool,
    },
    /// Larger than the topic takes.
    #[error("the change is larger than the topic takes")]
    TooLargeForTopic,
    /// Kafka refused it for good; the log of the service says why.
    #[error("kafka refused the change, the log of this service says why")]
    Rejected,
    /// The rest of a bulk was not read.
    #[error("a bulk has at most {0} lines: this line and those behind it were not read")]
    ManyLines(u64),
    /// The rest of a bulk was not read, because of its size.
    #[error("a bulk has at most {0} bytes: this line and those behind it were not read")]
    ManyBytes(u64),
    /// The body of a bulk ended too early.
    #[error("{0}: this line and those behind it were not read")]
    BrokenOff(String),
}

const fn advice(has_id: bool) -> &'static str {
    if has_id {
        "send it again with the same 'id'"
    } else {
        "sent again it may stand in the log twice, as it has no 'id'"
    }
}

/// How one failure is answered and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// The HTTP status.
    pub status: u16,
    /// After so many seconds a retry makes sense.
    pub retry_after_s: Option<u64>,
    /// What is counted.
    pub outcome: CaptureOutcome,
}

impl Failure {
    /// What a write came to. `has_id` tells whether a retry can be recognised.
    #[must_use]
    pub fn of_write(error: &WriteError, has_id: bool) -> Self {
        match error {
            WriteError::QueueFull => Self::Busy,
            WriteError::Unavailable => Self::Unavailable,
            WriteError::Unknown => Self::Unknown { has_id },
            WriteError::TooLarge => Self::TooLargeForTopic,
            WriteError::Refused(_) => Self::Rejected,
        }
    }

    /// The one table: failure to status, retry and metric.
    #[must_use]
    pub const fn class(&self) -> Class {
        let (status, retry_after_s, outcome) = match self {
            Self::Change(ChangeError::TooLarge { .. }) | Self::TooLargeForTopic => {
                (413, None, CaptureOutcome::TooLarge)
            }
            Self::ManyLines(_) | Self::ManyBytes(_) => (413, None, CaptureOutcome::Refused),
            Self::Change(_) | Self::BrokenOff(_) => (400, None, CaptureOutcome::Refused),
            Self::Busy => (429, Some(1), CaptureOutcome::Busy),
            Self::Skipped { .. } => (409, None, CaptureOutcome::Skipped),
            Self::Unavailable => (503, Some(5), CaptureOutcome::Failed),
            Self::Unknown { .. } => (503, Some(1), CaptureOutcome::Unknown),
            Self::Rejected => (500, None, CaptureOutcome::Failed),
        };
        Class { status, retry_after_s, outcome }
    }

    /// Whether nothing was sent and a later try may do.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        self.class().retry_after_s.is_some()
    }
}
