//! From a change to the record of `docs/reference/change-event.md`.

use bytes::{BufMut, Bytes, BytesMut};
use tidewire_event::{OldImage, Owner, RecordHeader, RecordKey, Tenant};
use tidewire_log::NewRecord;

use crate::ChangeRequest;

/// What the header names as the source.
pub const SOURCE: &str = "capture";

/// The record of a change.
#[must_use]
pub fn record(tenant: &Tenant, change: &ChangeRequest) -> NewRecord {
    let key = change.key.to_string();
    let owners = change.owners.iter();
    let header = RecordHeader {
        operation: change.operation,
        version: change.version.clone(),
        old_image: if change.old.is_some() { OldImage::Full } else { OldImage::None },
        owners: owners
            .map(|(object_type, key)| Owner {
                object_type: object_type.as_str(),
                key: key.to_string().into(),
            })
            .collect(),
        change_id: change.id.as_deref().map(Into::into),
        changed_by: change.changed_by,
        source: Some(SOURCE.into()),
    };
    let key = RecordKey::format(tenant.as_str(), change.object_type.as_str(), &key);
    NewRecord {
        key: key.into(),
        header: Some(header.format().into()),
        timestamp_ms: Some(change.changed_at_ms),
        payload: Some(body(change.new.as_ref(), change.old.as_ref())),
    }
}

/// `{"new":...,"old":...}`: the images as they came.
fn body(new: Option<&Bytes>, old: Option<&Bytes>) -> Bytes {
    const NULL: &[u8] = b"null";
    let (new, old) = (new.map_or(NULL, |b| b), old.map_or(NULL, |b| b));
    let mut out = BytesMut::with_capacity(new.len() + old.len() + 16);
    out.put_slice(b"{\"new\":");
    out.put_slice(new);
    out.put_slice(b",\"old\":");
    out.put_slice(old);
    out.put_slice(b"}");
    out.freeze()
}
