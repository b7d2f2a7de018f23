//! The stage's seat in its group.
//!
//! Rebalances are *eager*: all partitions are given back before the group shares them anew, so between an
//! assignment and its revocation the generation does not change. That is what the fence rests on: the
//! group metadata is taken once, right at an assignment, and used for every commit until the revocation.
//! Metadata taken later might be that of a client whom the group has dropped, and such metadata fences
//! nobody.
//!
//! librdkafka is answered at once, with nothing assigned: where to read from must be asked for first, and
//! nothing must wait for that.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::KafkaError as RdError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use tidewire_event::Partition;

use crate::context::{Context, Notes};

/// What the group has decided.
#[derive(Debug)]
pub(super) enum Change {
    Assigned(Vec<Partition>),
    Revoked { lost: bool },
}

/// The context of the stage's consumer. Its callbacks run in the owner's polls.
pub(super) struct MemberContext {
    inner: Context,
    // A few: each is taken before the next poll.
    changes: Mutex<VecDeque<Change>>,
}

impl MemberContext {
    pub(super) fn new(notes: Arc<Notes>) -> Self {
        Self { inner: Context(notes), changes: Mutex::default() }
    }

    pub(super) fn next_change(&self) -> Option<Change> {
        self.lock().pop_front()
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.inner.log(level, facility, text);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.inner.stats_raw(statistics);
    }

    fn error(&self, error: RdError, reason: &str) {
        self.inner.error(error, reason);
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let (answered, change) = match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let partitions = list.elements();
                let partitions = partitions.iter().map(|one| Partition(one.partition())).collect();
                (consumer.assign(&TopicPartitionList::new()), Change::Assigned(partitions))
            }
            _ => {
                // Asked first: giving the partitions back clears the mark.
                let lost = consumer.assignment_lost()
                    || tidewire_topic_id::generation(consumer.client()).is_none();
                (consumer.unassign(), Change::Revoked { lost })
            }
        };
        if let Err(error) = answered {
            // librdkafka itself unassigns when it ends or has met a fatal error, which a poll tells.
            tracing::warn!(%error, "the group could not be answered");
        }
        self.lock().push_back(change);
    }
}

/// The membership under which an assignment was given.
pub(super) fn membership(consumer: &BaseConsumer<MemberContext>) -> Option<ConsumerGroupMetadata> {
    let before = tidewire_topic_id::generation(consumer.client())?;
    let metadata = consumer.group_metadata()?;
    // The same before and after: it is not that of a client that was being dropped.
    (tidewire_topic_id::generation(consumer.client()) == Some(before)).then_some(metadata)
}
