//! From a record to a change that some script wants to see.
//!
//! Key and header of every record are looked at, as every gateway does, so that what is poison does not
//! depend on who has scripts. The body is opened only where a script is triggered.

use std::sync::Arc;

use bytes::Bytes;
use tidewire_event::image::{Body, BodyError, BodyLimits};
use tidewire_event::{
    FrameId, KeyKind, LeaderEpoch, ObjectKey, ObjectType, OldImage, Operation, Partition,
    RecordError, RecordHeader, RecordKey, Tenant,
};
use tidewire_log::LogRecord;
use tidewire_model::Model;
use tidewire_script::{Event, Script};
use tidewire_telemetry::metrics::PoisonReason;

/// What stands for the body of a delete that has none.
const NO_IMAGES: &[u8] = br#"{"new":null,"old":null}"#;

/// A change and the scripts that it triggers.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) id: FrameId,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) time_ms: i64,
    pub(crate) tenant: Tenant,
    pub(crate) key: ObjectKey,
    pub(crate) old_image: OldImage,
    /// Whether the record had a body.
    pub(crate) has_images: bool,
    pub(crate) event: Event,
    pub(crate) scripts: Vec<Arc<Script>>,
}

/// A record that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Poison {
    pub(crate) part: PoisonReason,
    pub(crate) reason: String,
}

impl From<RecordError> for Poison {
    fn from(error: RecordError) -> Self {
        let part = match error {
            RecordError::NoKey
            | RecordError::KeyShape
            | RecordError::Percent(..)
            | RecordError::Id(..) => PoisonReason::Key,
            _ => PoisonReason::Header,
        };
        Self { part, reason: error.to_string() }
    }
}

impl Poison {
    fn body(reason: impl ToString) -> Self {
        Self { part: PoisonReason::Body, reason: reason.to_string() }
    }
}

impl Change {
    /// Changes of one lane are evaluated in their order.
    pub(crate) fn lane(&self) -> (Partition, Tenant) {
        (self.id.partition, self.tenant.clone())
    }

    /// Reads what is needed of a record, and no more: `triggered` tells the scripts that want it. `None`:
    /// none does.
    pub(crate) fn of(
        record: &LogRecord<'_>,
        model: &Model,
        triggered: impl FnOnce(&RecordKey<'_>, &RecordHeader<'_>) -> Vec<Arc<Script>>,
    ) -> Result<Option<Self>, Poison> {
        if record.header_count > 1 {
            return Err(RecordError::ManyHeaders.into());
        }
        let key = RecordKey::parse(record.key.ok_or(RecordError::NoKey)?)?;
        let header = RecordHeader::of_record(record.header, record.payload.is_some())?;
        let object_key = object_key(&key, model)?;
        let scripts = triggered(&key, &header);
        if scripts.is_empty() {
            return Ok(None);
        }
        let body = body(record.payload, header.operation, &object_key)?;
        let bad_name = |error| RecordError::Id("the key's type", error);
        Ok(Some(Self {
            id: FrameId { partition: record.partition, offset: record.offset },
            leader_epoch: record.leader_epoch,
            time_ms: record.timestamp_ms,
            tenant: Tenant::new(&key.tenant).map_err(bad_name)?,
            key: object_key,
            old_image: header.old_image,
            has_images: record.payload.is_some(),
            event: Event {
                object_type: ObjectType::new(key.object_type).map_err(bad_name)?,
                operation: header.operation,
                body: Arc::new(body),
                changed_by: header.changed_by,
            },
            scripts,
        }))
    }
}

fn object_key(key: &RecordKey<'_>, model: &Model) -> Result<ObjectKey, RecordError> {
    let read = match model.key_kind(key.object_type) {
        Some(KeyKind::Integer) => ObjectKey::parse(&key.key, KeyKind::Integer),
        Some(KeyKind::Text) => ObjectKey::parse(&key.key, KeyKind::Text),
        None => ObjectKey::guess(&key.key),
    };
    read.map_err(|error| RecordError::Id("the object key", error))
}

fn body(payload: Option<&[u8]>, operation: Operation, key: &ObjectKey) -> Result<Body, Poison> {
    let bytes = payload.map_or(Bytes::from_static(NO_IMAGES), Bytes::copy_from_slice);
    let body = Body::parse(bytes, BodyLimits::default()).map_err(|error| match error {
        BodyError::TooLarge { .. } => {
            Poison { part: PoisonReason::Size, reason: error.to_string() }
        }
        other => Poison::body(other),
    })?;
    body.check_key(key).map_err(Poison::body)?;
    if operation != Operation::Delete && body.new_image().is_none() {
        return Err(Poison::body("the body lacks the new image"));
    }
    Ok(body)
}

#[cfg(test)]
mod tests;
