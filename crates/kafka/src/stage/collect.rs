//! Collecting a batch: what is there of the partitions that are read, within the limits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError as RdError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::types::RDKafkaErrorCode as Code;
use tidewire_event::{LeaderEpoch, NextOffset, Offset, Partition, Position};
use tidewire_log::{Batch, SegmentBuilder, StageError, StageEvent};

use super::Stage;
use crate::positions::Positions;
use crate::record::lend;

/// What is being collected of one partition.
pub(super) struct Collecting {
    builder: SegmentBuilder,
    from: NextOffset,
    epoch: LeaderEpoch,
}

impl Collecting {
    /// Nothing yet; what is committed ends at `from`.
    pub(super) fn new(partition: Partition, from: NextOffset, epoch: LeaderEpoch) -> Self {
        Self { builder: SegmentBuilder::new(partition, from), from, epoch }
    }
}

impl Stage {
    /// Collects a batch. `None`: there was none until then, or something else came up.
    pub(super) fn collect(&mut self, deadline: Instant) -> Result<Option<Batch>, StageError> {
        let limits = self.options.batch;
        let (mut records, mut bytes, mut moved) = (0, 0, false);
        let mut until = deadline;
        let mut ends = Vec::new();
        while records < limits.records.max(1) && bytes < limits.bytes {
            let wait = if moved {
                Duration::ZERO
            } else {
                until.saturating_duration_since(Instant::now())
            };
            let served = self.notes.served();
            let polled = self.consumer.poll(wait);
            if self.consumer.context().has_changes() {
                return Ok(None);
            }
            match polled {
                Some(Ok(message)) => {
                    let grown = take(&message, &mut self.positions, &mut self.collecting);
                    if let Some(grown) = grown {
                        if records == 0 {
                            until = Instant::now() + limits.time;
                        }
                        records += 1;
                        bytes += grown;
                        moved = true;
                    }
                }
                Some(Err(RdError::PartitionEOF(partition))) => {
                    if let Some((end, passed)) = self.pass_end(Partition(partition)) {
                        moved |= passed;
                        ends.push(end);
                    }
                }
                Some(Err(RdError::MessageConsumption(Code::AutoOffsetReset))) => {
                    self.reset_errors += 1;
                    break;
                }
                Some(Err(error @ RdError::MessageConsumptionFatal(Code::FencedInstanceId))) => {
                    self.take_seat_again(&error)?;
                    return Ok(None);
                }
                Some(Err(error @ RdError::MessageConsumptionFatal(_))) => {
                    return Err(StageError::Fatal(error.to_string()));
                }
                Some(Err(error)) => {
                    let text = self.notes.last_error().unwrap_or_else(|| error.to_string());
                    self.note_fault(text);
                    break;
                }
                // A log line or an error was served in place of an event: there may be more. Also when the
                // time is up, or an owner who seldom polls would get nothing but such.
                None if self.notes.served() != served => continue,
                None => break,
            }
            if Instant::now() >= until || (!moved && !ends.is_empty()) {
                break;
            }
        }
        self.events.extend(ends);
        Ok(if moved { self.finish() } else { None })
    }

    /// The end of a partition: the event, and whether the position has moved over holes.
    fn pass_end(&mut self, partition: Partition) -> Option<(StageEvent, bool)> {
        if !self.reading {
            return None;
        }
        let at = self.positions.get(partition)?;
        let topic = &self.options.input;
        let passed = tidewire_topic_id::position(self.consumer.client(), topic, partition.0);
        let next = passed.map_or(at, |passed| at.max(NextOffset(passed)));
        self.positions.set(partition, next);
        let moved = self.collecting.get(&partition).is_some_and(|one| next > one.from);
        Some((StageEvent::EndOfPartition { partition, next }, moved))
    }

    /// Makes a batch of what is collected.
    fn finish(&mut self) -> Option<Batch> {
        let mut segments = Vec::new();
        for (partition, one) in &mut self.collecting {
            let Some(next) = self.positions.get(*partition) else { continue };
            // Also where a gap is passed over and no record has come: its end is to be committed.
            if next > one.from {
                segments.push(one.builder.finish(Position { next, epoch: one.epoch }));
                one.from = next;
            }
        }
        if segments.is_empty() {
            return None;
        }
        self.serial += 1;
        self.open = Some(self.serial);
        Some(Batch::new(self.serial, segments))
    }
}

/// Takes a record into the batch; how many bytes it has added. `None`: it was handed out before, or its
/// partition is not read.
fn take(
    message: &BorrowedMessage<'_>,
    positions: &mut Positions,
    collecting: &mut BTreeMap<Partition, Collecting>,
) -> Option<usize> {
    let partition = Partition(message.partition());
    let one = collecting.get_mut(&partition)?;
    if !positions.pass(partition, Offset(message.offset())) {
        return None;
    }
    let record = lend(message);
    let before = one.builder.bytes();
    one.epoch = record.leader_epoch;
    one.builder.push(&record);
    Some(one.builder.bytes() - before)
}
