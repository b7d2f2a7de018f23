//! What librdkafka knows and rdkafka's safe API leaves out: the id of a topic, the position of a
//! consumer in one partition, the leader epoch of a record, how to read on at an offset *and* leader
//! epoch, what a group has committed with it, the generation of a group's member, and whether a record
//! that failed was ever sent.
//!
//! Why `unsafe` is allowed in this crate and nowhere else: each of these is a call into the C
//! library that rdkafka binds but does not wrap.
//! - The *topic id* alone tells a topic that was deleted and created again from the old one: librdkafka
//!   reads on in the middle of the new one without an error.
//! - The *position* at the end of a partition lies behind transaction markers, which are never handed
//!   out, so no record's offset tells it. (`BaseConsumer::position` gives it too, for all partitions and
//!   with a trip to another thread: too dear for every end of partition.)
//! - The *leader epoch* (KIP-101, KIP-320) tells a log that was cut and has grown again from the one that
//!   was read: the position alone lies inside both.
//! - The *generation* tells whether a client is a member of its group at all: the group metadata of one
//!   that is none fences nobody, and rdkafka's is opaque.
//! - The *persistence* of a failed record separates "nothing was sent, try again" from "unknown".
//!
//! Invariant: every pointer that the library hands over for keeps is owned by a guard which frees it
//! once; nothing borrowed from a guard leaves its function.

use std::ffi::{CStr, CString, c_char, c_int};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::Client;
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use thiserror::Error;

/// Why a topic's id could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TopicIdError {
    /// The name holds a zero byte.
    #[error("the topic name holds a zero byte")]
    Name,
    /// No answer within the timeout.
    #[error("kafka did not tell the topic's id in time")]
    Timeout,
    /// Kafka, or librdkafka, refused.
    #[error("kafka did not tell the topic's id: {0}")]
    Kafka(RDKafkaErrorCode),
}

/// Asks the cluster for the id of `topic`: 22 characters of base64url. `None` if there is no such topic.
/// Blocks for up to `timeout`; any kind of client will do. librdkafka's mock cluster does not answer.
///
/// # Errors
/// [`TopicIdError`].
pub fn topic_id<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<Option<String>, TopicIdError> {
    let topic = CString::new(topic).map_err(|_| TopicIdError::Name)?;
    let mut names: [*const c_char; 1] = [topic.as_ptr()];
    let rk = client.native_ptr();
    let milliseconds = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);

    // SAFETY: `names` points to one string, which the function copies.
    let collection = unsafe { sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1) };
    let collection = Guard(collection, sys::rd_kafka_TopicCollection_destroy);
    // SAFETY: `rk` is a live client: `client` owns it and is borrowed for the whole function.
    let queue = unsafe { sys::rd_kafka_queue_new(rk) };
    let queue = Guard(queue, sys::rd_kafka_queue_destroy);
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    // SAFETY: as above.
    let options = unsafe { sys::rd_kafka_AdminOptions_new(rk, operation) };
    let options = Guard(options, sys::rd_kafka_AdminOptions_destroy);
    let mut text: [c_char; 128] = [0; 128];
    // SAFETY: `options` is live; `text` is writable for as many bytes as are said.
    let code = unsafe {
        sys::rd_kafka_AdminOptions_set_request_timeout(
            options.0,
            milliseconds,
            text.as_mut_ptr(),
            text.len(),
        )
    };
    check(code)?;
    // SAFETY: all four are live, and the request copies what it needs of the collection and options.
    unsafe { sys::rd_kafka_DescribeTopics(rk, collection.0, options.0, queue.0) };
    // SAFETY: `queue` is live. The event, if there is one, is ours.
    let event = unsafe { sys::rd_kafka_queue_poll(queue.0, milliseconds) };
    if event.is_null() {
        return Err(TopicIdError::Timeout);
    }
    let event = Guard(event, sys::rd_kafka_event_destroy);
    // SAFETY: `event` is live.
    check(unsafe { sys::rd_kafka_event_error(event.0) })?;
    // SAFETY: `event` is live; what is returned is the event seen as a result, or null.
    let result = unsafe { sys::rd_kafka_event_DescribeTopics_result(event.0) };
    if result.is_null() {
        return Err(TopicIdError::Kafka(RDKafkaErrorCode::InvalidType));
    }
    let mut count = 0;
    // SAFETY: `result` lives as long as `event`, and so does the array of `count` topics.
    let topics = unsafe { sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count) };
    if topics.is_null() || count == 0 {
        return Ok(None);
    }
    // SAFETY: the array has at least one element.
    let description = unsafe { *topics };
    // SAFETY: the description lives as long as `event`; its error may be null.
    let error = unsafe { sys::rd_kafka_TopicDescription_error(description) };
    // SAFETY: the function takes null for "no error".
    match check(unsafe { sys::rd_kafka_error_code(error) }) {
        Ok(()) => {}
        Err(TopicIdError::Kafka(
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic,
        )) => return Ok(None),
        Err(error) => return Err(error),
    }
    // SAFETY: the description and its id live as long as `event`.
    let uuid = unsafe { sys::rd_kafka_TopicDescription_topic_id(description) };
    if uuid.is_null() {
        return Ok(None);
    }
    // SAFETY: `uuid` is live; the text is kept inside it.
    let id = unsafe { sys::rd_kafka_Uuid_base64str(uuid) };
    if id.is_null() {
        return Ok(None);
    }
    // SAFETY: a C string that lives as long as `event`; copied before that ends.
    let id = unsafe { CStr::from_ptr(id) };
    Ok(Some(id.to_string_lossy().into_owned()))
}

/// The next offset that a consumer will hand out of a partition it is assigned: behind the last record
/// and every marker that it has passed. `None` while it has passed nothing. Does not block.
#[must_use]
pub fn position<C: ClientContext>(client: &Client<C>, topic: &str, partition: i32) -> Option<i64> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(topic, partition);
    // SAFETY: client and list are live and borrowed for the call, which fills the list in.
    let code = unsafe { sys::rd_kafka_position(client.native_ptr(), list.ptr()) };
    check(code).ok()?;
    match list.find_partition(topic, partition)?.offset() {
        Offset::Offset(next) => Some(next),
        _ => None,
    }
}

/// The epoch of the leader that wrote the record; -1 where the broker does not tell. Costs a field's read.
#[must_use]
pub fn leader_epoch(message: &BorrowedMessage<'_>) -> i32 {
    // SAFETY: the message is borrowed, so its pointer is live.
    unsafe { sys::rd_kafka_message_leader_epoch(message.ptr()) }
}

/// Adds a partition that is to be read from `offset` on, behind a record of that leader epoch (-1: not
/// known). With an epoch librdkafka first asks the leader whether its log still holds that epoch up to
/// the offset, and reports a reset error if it does not.
///
/// # Errors
/// [`RDKafkaErrorCode::InvalidArgument`] for an offset that is none.
pub fn add_partition(
    list: &mut TopicPartitionList,
    topic: &str,
    partition: i32,
    offset: i64,
    leader_epoch: i32,
) -> Result<(), RDKafkaErrorCode> {
    let name = CString::new(topic).map_err(|_| RDKafkaErrorCode::InvalidArgument)?;
    let added = list.add_partition_offset(topic, partition, Offset::Offset(offset));
    added.map_err(|_| RDKafkaErrorCode::InvalidArgument)?;
    // SAFETY: the list is live and borrowed for the call; the name is a C string that outlives it.
    let element =
        unsafe { sys::rd_kafka_topic_partition_list_find(list.ptr(), name.as_ptr(), partition) };
    if element.is_null() {
        return Err(RDKafkaErrorCode::InvalidArgument);
    }
    // SAFETY: the element is one of the list, which is live and not changed meanwhile.
    unsafe { sys::rd_kafka_topic_partition_set_leader_epoch(element, leader_epoch) };
    Ok(())
}

/// What a group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub next: i64,
    /// The leader epoch that was committed with it; -1: none.
    pub leader_epoch: i32,
    /// The text that was committed with it. Any program may commit any bytes.
    pub metadata: Vec<u8>,
}

/// What the list, an answer to a question for committed offsets, says of a partition. `None`: nothing is
/// committed.
#[must_use]
pub fn committed(list: &TopicPartitionList, topic: &str, partition: i32) -> Option<Committed> {
    let name = CString::new(topic).ok()?;
    // SAFETY: the list is live and borrowed for the call; the name is a C string that outlives it.
    let element =
        unsafe { sys::rd_kafka_topic_partition_list_find(list.ptr(), name.as_ptr(), partition) };
    if element.is_null() {
        return None;
    }
    // SAFETY: the element is one of the list, which is live and not changed meanwhile.
    let leader_epoch = unsafe { sys::rd_kafka_topic_partition_get_leader_epoch(element) };
    // SAFETY: as above, for as long as the list is borrowed.
    let element = unsafe { &*element };
    if element.offset < 0 {
        return None;
    }
    let (data, size) = (element.metadata.cast::<u8>(), element.metadata_size);
    let metadata = if data.is_null() || size == 0 {
        Vec::new()
    } else {
        // SAFETY: the list owns so many bytes there, and they are copied at once.
        unsafe { std::slice::from_raw_parts(data, size) }.to_vec()
    };
    Some(Committed { next: element.offset, leader_epoch, metadata })
}

/// The generation of the group in which this consumer is a member; `None` if it is none now, or the client
/// is ending. Waits for the client's own thread, not for the cluster.
#[must_use]
pub fn generation<C: ClientContext>(client: &Client<C>) -> Option<i32> {
    // SAFETY: the client is live and borrowed for the call. What is returned is ours, or null.
    let metadata = unsafe { sys::rd_kafka_consumer_group_metadata(client.native_ptr()) };
    if metadata.is_null() {
        return None;
    }
    let metadata = Guard(metadata, sys::rd_kafka_consumer_group_metadata_destroy);
    // SAFETY: the guard keeps it live.
    let generation = unsafe { sys::rd_kafka_consumer_group_metadata_generation_id(metadata.0) };
    // SAFETY: as above; the text is the metadata's own.
    let member = unsafe { sys::rd_kafka_consumer_group_metadata_member_id(metadata.0) };
    if member.is_null() || generation < 0 {
        return None;
    }
    // SAFETY: a C string that lives as long as the guard.
    let member = unsafe { CStr::from_ptr(member) };
    (!member.is_empty()).then_some(generation)
}

/// True if a record whose delivery failed was certainly never written: it may be sent again without
/// standing in the log twice. For use in a delivery callback.
#[must_use]
pub fn never_written(message: &BorrowedMessage<'_>) -> bool {
    // SAFETY: the message is borrowed, so its pointer is live.
    let status = unsafe { sys::rd_kafka_message_status(message.ptr()) };
    status == sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}

fn check(code: sys::rd_kafka_resp_err_t) -> Result<(), TopicIdError> {
    match code {
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TIMED_OUT => Err(TopicIdError::Timeout),
        code => Err(TopicIdError::Kafka(code.into())),
    }
}

/// Owns one pointer and the function that frees it.
struct Guard<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the pointer is the guard's own, freed here and only here, by its own function.
            unsafe { (self.1)(self.0) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rdkafka::ClientConfig;
    use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
    use rdkafka::client::DefaultClientContext;
    use tidewire_testkit::kafka::Kafka;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn the_id_changes_when_a_topic_is_created_again() -> anyhow::Result<()> {
        let Some(kafka) = Kafka::shared() else { return Ok(()) };
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).create()?;
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        let topic = kafka.topic("topic-id");
        assert_eq!(topic_id(admin.inner(), &topic, TIMEOUT)?, None);

        let mut before = None;
        for _ in 0..2 {
            let new = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
            admin.create_topics([&new], &options).await?;
            // The broker hears of it a moment after the controller has answered.
            let deadline = Instant::now() + TIMEOUT;
            let mut id = None;
            while id.is_none() || id == before {
                assert!(Instant::now() < deadline, "still {id:?}");
                id = topic_id(admin.inner(), &topic, TIMEOUT)?;
            }
            assert_eq!(id.as_ref().map(String::len), Some(22));
            assert_eq!(topic_id(admin.inner(), &topic, TIMEOUT)?, id);
            before = id;
            admin.delete_topics(&[&topic], &options).await?;
        }
        Ok(())
    }

    #[test]
    fn a_cluster_that_is_away_is_a_timeout() -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", "127.0.0.1:1").create()?;
        let answer = topic_id(admin.inner(), "t", Duration::from_millis(300));
        assert_eq!(answer, Err(TopicIdError::Timeout));
        assert_eq!(topic_id(admin.inner(), "a\0b", TIMEOUT), Err(TopicIdError::Name));
        Ok(())
    }
}
