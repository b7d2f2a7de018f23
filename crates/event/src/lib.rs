//! Ids, versions and the change event: the words that every other crate speaks.
//!
//! Pure: no I/O, no clock. The Kafka record that carries a change event is public; its format is
//! described in `docs/reference/change-event.md` and implemented in [`record`].
//!
//! Invariant: a value of a type defined here is valid. The checks stand in the constructors, so code
//! that holds a [`Tenant`] or an [`ObjectKey`] never checks it again.

mod cursor;
mod id;
pub mod image;
mod operation;
mod percent;
mod positions;
pub mod record;
mod self_url;
mod version;

pub use cursor::{CURSOR_BYTES_MAX, Cursor, CursorError, CursorKey, encode_cursor};
pub use id::{
    FrameId, IdError, KEY_BYTES_MAX, KEY_NUMBER_MAX, KeyKind, NAME_BYTES_MAX, NextOffset,
    ObjectKey, ObjectType, Offset, Partition, Tenant,
};
pub use operation::Operation;
pub use percent::{PercentError, decode as percent_decode, encode as percent_encode};
pub use positions::{LeaderEpoch, Position, Positions, TopicId};
pub use record::{OldImage, Owner, RecordError, RecordHeader, RecordKey};
pub use self_url::write_self_url;
pub use version::{Version, VersionError};
