//! A record as the log port lends it.

use rdkafka::message::{BorrowedMessage, Headers, Message};
use tidewire_event::record::HEADER_NAME;
use tidewire_event::{LeaderEpoch, Offset, Partition};
use tidewire_log::LogRecord;

/// Lends what librdkafka holds, with the value of the first `tw` header.
pub(crate) fn lend<'a>(message: &'a BorrowedMessage<'_>) -> LogRecord<'a> {
    let mut header = None;
    let mut header_count = 0;
    if let Some(headers) = message.headers() {
        for one in headers.iter().filter(|one| one.key == HEADER_NAME) {
            if header_count == 0 {
                header = one.value;
            }
            header_count += 1;
        }
    }
    LogRecord {
        partition: Partition(message.partition()),
        offset: Offset(message.offset()),
        leader_epoch: LeaderEpoch(tidewire_topic_id::leader_epoch(message)),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key(),
        header,
        header_count,
        payload: message.payload(),
    }
}
