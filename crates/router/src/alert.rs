//! What an alert record is shown as: the change that fired it, and the member `alert`.
//!
//! An event is an alert where a subscription to a script's alerts asked for it: no other record is ever read
//! so. It is read once, by the first shard that needs it.

use std::sync::OnceLock;

use thiserror::Error;
use tidewire_event::image::Body;
use tidewire_event::{FrameId, ObjectKey, ObjectType};
use tidewire_script::{AlertError, AlertView};

/// An alert, read.
#[derive(Debug)]
pub struct Alert {
    /// The record of the change that fired it: the `id` of the message.
    pub change: FrameId,
    /// The type of the changed object.
    pub object_type: ObjectType,
    /// The key of the changed object.
    pub key: ObjectKey,
    /// The member `alert`, byte for byte as in the record.
    pub json: Box<[u8]>,
    /// Whether the record holds an image of the change. One that is too large with them goes without.
    pub has_image: bool,
}

/// Why a record is no alert. It is poison, and who waits for its script's alerts is told a gap.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AlertFault {
    /// There is no body, or it is broken.
    #[error("an alert without a body that can be read")]
    NoBody,
    /// A member is missing or of the wrong kind.
    #[error(transparent)]
    Member(#[from] AlertError),
    /// The key of the record is the authority.
    #[error("the body is of another script than the key")]
    OtherScript,
    /// The images are not of the object that the change is said to be of.
    #[error("the images are of another object than the change")]
    OtherObject,
}

/// Read at the first need.
pub(crate) type LazyAlert = OnceLock<Result<Alert, AlertFault>>;

/// Reads the alert of the script that the record's key names.
pub(crate) fn read(script: &ObjectKey, body: Option<&Body>) -> Result<Alert, AlertFault> {
    let body = body.ok_or(AlertFault::NoBody)?;
    let view = AlertView::of(body)?;
    if !matches!(script, ObjectKey::Text(code) if **code == *view.script_code) {
        return Err(AlertFault::OtherScript);
    }
    body.check_key(&view.object_key).map_err(|_| AlertFault::OtherObject)?;
    Ok(Alert {
        change: view.change,
        // It was checked when the view was made.
        object_type: ObjectType::new(&view.object_type).map_err(|_| AlertFault::NoBody)?,
        key: view.object_key,
        json: Box::from(view.alert.raw()),
        has_image: body.new_image().is_some() || body.old_image().is_some(),
    })
}
