//! From a record to an event that somebody wants: the same for what comes live and what is read again.

use bytes::Bytes;
use tidewire_event::{FrameId, ObjectType, RecordError, RecordHeader, RecordKey, percent_encode};
use tidewire_log::LogRecord;

use crate::event::{OwnerRef, RoutedEvent};
use crate::interest::InterestTable;
use crate::recent::{Judgement, Recent};

/// The `source` of records whose header names every owner that the images tell.
pub const SOURCE_CAPTURE: &str = "capture";

/// What became of a record.
#[derive(Debug)]
pub(crate) enum Decoded {
    /// Nobody in the table wants it.
    Unwanted,
    /// A change that was taken before.
    Repeated,
    /// Older than what was taken of its object before.
    Stale,
    /// An event, and the shards that want it.
    Event(Box<RoutedEvent>, u64),
}

/// Reads what is needed of a record, and no more.
///
/// # Errors
/// The record is poison.
pub(crate) fn decode(
    interest: &InterestTable,
    recent: &mut Recent,
    record: &LogRecord<'_>,
) -> Result<Decoded, RecordError> {
    if record.header_count > 1 {
        return Err(RecordError::ManyHeaders);
    }
    let raw_key = record.key.ok_or(RecordError::NoKey)?;
    let key = RecordKey::parse(raw_key)?;
    let header = RecordHeader::of_record(record.header, record.payload.is_some())?;
    interest.check_key(key.object_type, &key.key)?;
    // The table is keyed by the record key's own spelling; `parse` has accepted only that.
    let tenant = percent_encode(&key.tenant);
    let raw_object = percent_encode(&key.key);
    let wanted = interest.wanted(&tenant, key.object_type, &raw_object, &header.owners);
    let Some(wanted) = wanted else {
        if interest.is_empty() {
            // Before anybody has come, while the window is being filled: what is published again later is
            // known then, whoever comes.
            recent.judge(raw_key, &header);
        }
        return Ok(Decoded::Unwanted);
    };
    let mut shards = wanted.direct | wanted.named;
    // Capture has read the images: its list of owners is whole. Of another producer's records the
    // shards look into the images themselves, and share one parse.
    let look_for_owners = wanted.from_above != 0
        && record.payload.is_some()
        && header.source.as_deref() != Some(SOURCE_CAPTURE);
    if look_for_owners {
        shards |= wanted.from_above;
    }
    if shards == 0 {
        return Ok(Decoded::Unwanted);
    }
    let object_key = wanted
        .route
        .parse_key(&key.key)
        .ok_or(RecordError::Id("the object key", tidewire_event::IdError::IntegerKey))?;
    let owners = if wanted.named | wanted.from_above == 0 {
        Vec::new()
    } else {
        owners_of(interest, &header)?
    };
    match recent.judge(raw_key, &header) {
        Judgement::Fresh => {}
        Judgement::Repeated => return Ok(Decoded::Repeated),
        Judgement::Stale => return Ok(Decoded::Stale),
    }
    let event = RoutedEvent::new(
        FrameId { partition: record.partition, offset: record.offset },
        record.leader_epoch,
        record.timestamp_ms,
        header.operation,
        wanted.route,
        object_key,
        header.old_image,
        owners.into_boxed_slice(),
        look_for_owners,
        record.payload.map(Bytes::copy_from_slice),
    );
    Ok(Decoded::Event(Box::new(event), shards))
}

/// The owners that the header names, read by the model.
fn owners_of(
    interest: &InterestTable,
    header: &RecordHeader<'_>,
) -> Result<Vec<OwnerRef>, RecordError> {
    let mut owners = Vec::with_capacity(header.owners.len());
    for owner in &header.owners {
        let object_type = ObjectType::new(owner.object_type).map_err(|_| RecordError::Owner)?;
        let key = interest.parse_key(&object_type, &owner.key).ok_or(RecordError::Owner)?;
        owners.push(OwnerRef { object_type, key });
    }
    Ok(owners)
}
