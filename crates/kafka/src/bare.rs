//! A bare consumer: the least that reading a topic costs. What a [`crate::Reader`] is measured against,
//! and nothing else.

use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;

use crate::{KafkaError, KafkaOptions};

/// Polls records from the end of a topic on.
pub struct BareConsumer {
    consumer: BaseConsumer,
}

impl BareConsumer {
    /// Assigns partitions 0 to `partitions` - 1 at their ends.
    ///
    /// # Errors
    /// [`KafkaError`] if the client cannot be made or the ends cannot be asked for.
    pub fn start(options: &KafkaOptions, topic: &str, partitions: i32) -> Result<Self, KafkaError> {
        let mut config = options.reader_config()?;
        config.set("enable.partition.eof", "false");
        let consumer: BaseConsumer = config.create().map_err(KafkaError::Client)?;
        let failed = |source| KafkaError::Request { what: format!("assigning {topic}"), source };
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            let ends = consumer.fetch_watermarks(topic, partition, options.request_timeout);
            let (_, end) = ends.map_err(failed)?;
            list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(end))
                .map_err(failed)?;
        }
        consumer.assign(&list).map_err(failed)?;
        Ok(Self { consumer })
    }

    /// Waits for one record and lends its key and value; false if none came. Errors pass by: whoever
    /// measures sees them as records that do not come.
    pub fn poll(&mut self, wait: Duration, take: impl FnOnce(&[u8], &[u8])) -> bool {
        let Some(Ok(message)) = self.consumer.poll(wait) else { return false };
        take(message.key().unwrap_or_default(), message.payload().unwrap_or_default());
        true
    }
}
