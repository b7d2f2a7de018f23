//! A change event on its way from the router to the shards.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tidewire_event::image::{Body, BodyError, BodyLimits};
use tidewire_event::{
    FrameId, KeyKind, LeaderEpoch, ObjectKey, ObjectType, OldImage, Operation, Tenant,
};
use tidewire_rights::PermissionClass;

use crate::alert::{self, Alert, AlertFault, LazyAlert};

/// Tenant and type of a route; one allocation shared by all events of the pair.
#[derive(Debug, PartialEq, Eq)]
pub struct TypeRoute {
    /// The tenant.
    pub tenant: Tenant,
    /// The type.
    pub object_type: ObjectType,
    /// What the model says of the type's keys; `None` for a type it does not know.
    pub key_kind: Option<KeyKind>,
    /// Whether the records are alerts: somebody asked for them as such.
    pub is_alert: bool,
}

impl TypeRoute {
    /// Reads the plain text of a key of this type.
    pub(crate) fn parse_key(&self, text: &str) -> Option<ObjectKey> {
        match self.key_kind {
            Some(kind) => ObjectKey::parse(text, kind).ok(),
            None => ObjectKey::guess(text).ok(),
        }
    }
}

/// An object above the changed one, as the record names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRef {
    /// The owner's type.
    pub object_type: ObjectType,
    /// The owner's key.
    pub key: ObjectKey,
}

/// A change event that somebody here wants. Shared by all shards; immutable but for the body, which is
/// parsed by the first shard that needs it.
#[derive(Debug)]
pub struct RoutedEvent {
    /// Partition and offset of the record.
    pub id: FrameId,
    /// The leader epoch that the record was written in.
    pub epoch: LeaderEpoch,
    /// The event time, in milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// What happened.
    pub operation: Operation,
    /// Tenant and type.
    pub route: Arc<TypeRoute>,
    /// The object's key.
    pub key: ObjectKey,
    /// How complete the old image in the body is.
    pub old_image: OldImage,
    /// The owners that the record names; empty where it names none.
    pub owners: Box<[OwnerRef]>,
    /// True if somebody here subscribes to a type above, and the images may tell owners that the record
    /// does not name.
    pub look_for_owners: bool,
    payload: Option<Bytes>,
    body: OnceLock<Result<Option<Body>, BodyError>>,
    /// `None` for a change.
    alert: Option<Box<LazyAlert>>,
    reported: AtomicBool,
}

impl RoutedEvent {
    /// Makes an event; `payload` is the record's value.
    #[must_use]
    #[expect(
        clippy::too_many_arguments,
        reason = "a record has that many parts, each of its own type"
    )]
    pub fn new(
        id: FrameId,
        epoch: LeaderEpoch,
        time_ms: i64,
        operation: Operation,
        route: Arc<TypeRoute>,
        key: ObjectKey,
        old_image: OldImage,
        owners: Box<[OwnerRef]>,
        look_for_owners: bool,
        payload: Option<Bytes>,
    ) -> Self {
        let (body, reported) = (OnceLock::new(), AtomicBool::new(false));
        let alert = route.is_alert.then(Box::default);
        Self {
            id,
            epoch,
            time_ms,
            operation,
            route,
            key,
            old_image,
            owners,
            look_for_owners,
            payload,
            body,
            alert,
            reported,
        }
    }

    /// Whether the text stands anywhere in the payload: a cheap look before a parse.
    pub(crate) fn mentions(&self, text: &str) -> bool {
        self.payload.as_ref().is_some_and(|p| memchr::memmem::find(p, text.as_bytes()).is_some())
    }

    /// The payload as it came.
    #[must_use]
    pub const fn payload(&self) -> Option<&Bytes> {
        self.payload.as_ref()
    }

    /// True for the first of the shards that finds the body broken.
    pub(crate) fn is_first_report(&self) -> bool {
        !self.reported.swap(true, Ordering::Relaxed)
    }

    /// The parsed body: `None` for a record without a value.
    ///
    /// # Errors
    /// [`BodyError`] if the body is broken or of another object; the same for every caller.
    pub fn body(&self) -> Result<Option<&Body>, &BodyError> {
        let parsed = self.body.get_or_init(|| {
            let parse = |payload| {
                let body = Body::parse(payload, BodyLimits::default())?;
                // The key of an alert is its script's; its images are looked at where it is read.
                if self.alert.is_none() {
                    body.check_key(&self.key)?;
                }
                Ok(body)
            };
            self.payload.clone().map(parse).transpose()
        });
        parsed.as_ref().map(Option::as_ref)
    }

    /// What an alert is about; `None` for a change.
    ///
    /// # Errors
    /// [`AlertFault`]: it cannot be read as an alert; the same for every caller.
    pub fn alert(&self) -> Option<Result<&Alert, &AlertFault>> {
        let lazy = self.alert.as_ref()?;
        let read = || alert::read(&self.key, self.body().unwrap_or_default());
        Some(lazy.get_or_init(read).as_ref())
    }

    /// Whether a class may read the object that the event shows. Of an alert that cannot be read whoever
    /// subscribed to it is told a gap.
    pub(crate) fn is_readable_by(&self, class: &PermissionClass) -> bool {
        match self.alert() {
            None => class.may_read(self.route.object_type.as_str()),
            Some(Ok(alert)) => class.may_read(alert.object_type.as_str()),
            Some(Err(_)) => true,
        }
    }
}
