//! The port to what stands behind a reference.
//!
//! A script may follow a reference further than the image of its event shows it
//! (`dlpObject.voyage.vessel.vesselName` where the image has `voyage` as `{"key","self"}`). The engine
//! asks here once a name is not in the image. Until there is a projection nothing is behind a reference
//! ([`NoReferences`]), and such a name is null.

use std::sync::Arc;

use tidewire_event::image::Document;

/// Looks objects up by type and key.
pub trait References {
    /// The latest image of an object of the event's tenant; `None` where nothing is known of it. `key` is
    /// the plain text of the object's key. Must give the same answer throughout one event.
    fn image(&self, object_type: &str, key: &str) -> Option<Arc<Document>>;
}

/// Nothing is behind any reference.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoReferences;

impl References for NoReferences {
    fn image(&self, _object_type: &str, _key: &str) -> Option<Arc<Document>> {
        None
    }
}
