//! Which offsets of a topic lie between a moment and now.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as RdError;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use tidewire_event::{NextOffset, Partition};
use tidewire_log::Stretch;

use crate::{KafkaError, KafkaOptions};

/// The range of each partition from the first record whose timestamp is not before `since_ms`
/// (milliseconds since the Unix epoch; `None`: from the first that is kept) up to the last stable offset of
/// now. Records are in the order of the log, not of their timestamps: a later one may be older. The
/// embedded broker cannot look for times, so there it is everything. Blocks.
///
/// # Errors
/// [`KafkaError`]: the cluster does not answer, or there is no such topic.
pub fn stretches(
    options: &KafkaOptions,
    topic: &str,
    since_ms: Option<i64>,
) -> Result<Vec<Stretch>, KafkaError> {
    let timeout = options.request_timeout;
    let failed = |what: &'static str| {
        let what = format!("{what} of topic {topic}");
        move |source: RdError| KafkaError::Request { what, source }
    };
    let consumer: BaseConsumer = options.history_config()?.create().map_err(KafkaError::Client)?;
    let metadata = consumer.fetch_metadata(Some(topic), timeout).map_err(failed("partitions"))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    match found.and_then(rdkafka::metadata::MetadataTopic::error).map(Code::from) {
        None => {}
        Some(Code::UnknownTopicOrPartition) => return Err(KafkaError::NoTopic(topic.to_owned())),
        Some(error) => return Err(failed("partitions")(RdError::MetadataFetch(error))),
    }
    let mut stretches = Vec::new();
    for partition in found.map(|found| found.partitions()).unwrap_or_default() {
        let marks = consumer.fetch_watermarks(topic, partition.id(), timeout);
        let (low, high) = marks.map_err(failed("offsets"))?;
        let (partition, from, to) = (Partition(partition.id()), NextOffset(low), NextOffset(high));
        stretches.push(Stretch { partition, from, to });
    }
    let Some(since_ms) = since_ms.filter(|_| options.embedded_id.is_none()) else {
        return Ok(stretches);
    };
    let mut times = TopicPartitionList::with_capacity(stretches.len());
    for stretch in &stretches {
        let at = Offset::Offset(since_ms.max(0));
        let added = times.add_partition_offset(topic, stretch.partition.0, at);
        added.map_err(failed("offsets by time"))?;
    }
    let found = consumer.offsets_for_times(times, timeout).map_err(failed("offsets by time"))?;
    for stretch in &mut stretches {
        let element = found.find_partition(topic, stretch.partition.0);
        match element.map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => {
                stretch.from = NextOffset(offset.clamp(stretch.from.0, stretch.to.0));
            }
            // Nothing is so young.
            _ => stretch.from = stretch.to,
        }
    }
    Ok(stretches)
}
