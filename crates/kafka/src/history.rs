//! History: stretches of one partition, read by a consumer of its own.
//!
//! A request that starts where the last one ended goes on in what was fetched ahead. Any other place is
//! reached by a *seek*: it alone makes librdkafka compare the leader epoch of the position with the
//! leader's log (an assignment does not), and from that call on nothing fetched before is handed out.
//!
//! Invariants: a segment holds every committed record from where was asked to where it ends; what cannot
//! be read is a gap or an error, never a shorter segment; an error leaves nothing half read behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as RdError;
use rdkafka::types::RDKafkaErrorCode as Code;
use tidewire_event::{LeaderEpoch, NextOffset, Partition, Position};
use tidewire_log::{
    GapReason, HISTORY_SEGMENT_BYTES, HistoryAnswer, HistoryError, HistoryRequest, LogHistory,
    SegmentBuilder,
};

use crate::context::{Context, Notes};
use crate::record::lend;
use crate::{KafkaError, KafkaOptions};

/// Between two tries to seek in a partition whose fetching is just being started.
const SEEK_INTERVAL: Duration = Duration::from_millis(2);

/// Reset errors that may be left from places that were read before.
const STALE_RESETS_MAX: usize = 1;

type Client = BaseConsumer<Context>;

/// Reads stretches of one topic.
pub struct History {
    options: KafkaOptions,
    topic: String,
    notes: Arc<Notes>,
    client: Option<Arc<Client>>,
    // The partition that the client is assigned.
    assigned: Option<Partition>,
    // Where the client hands out next, if it may be read on from there.
    at: Option<(Partition, Position)>,
    builder: SegmentBuilder,
}

/// Why a stretch was not read to its end.
enum Halt {
    /// librdkafka gave the place up.
    Reset,
    /// Nothing came in time, not even an error.
    Silent,
    /// Something is wrong.
    Unavailable(String),
}

struct Collected {
    ended: bool,
    epoch: LeaderEpoch,
}

impl History {
    /// Makes one for this topic; it connects with the first request.
    ///
    /// # Errors
    /// [`KafkaError::Property`].
    pub fn new(options: &KafkaOptions, topic: &str) -> Result<Self, KafkaError> {
        options.history_config()?;
        Ok(Self {
            options: options.clone(),
            topic: topic.to_owned(),
            notes: Arc::new(Notes::default()),
            client: None,
            assigned: None,
            at: None,
            builder: SegmentBuilder::new(Partition(0), NextOffset(0)),
        })
    }

    fn client(&mut self) -> Result<Arc<Client>, Halt> {
        if let Some(client) = &self.client {
            return Ok(Arc::clone(client));
        }
        let context = Context(Arc::clone(&self.notes));
        let made = self.options.history_config().and_then(|config| {
            BaseConsumer::from_config_and_context(&config, context).map_err(KafkaError::Client)
        });
        let client = Arc::new(made.map_err(|error| Halt::Unavailable(error.to_string()))?);
        self.client = Some(Arc::clone(&client));
        Ok(client)
    }

    /// Makes the client hand out this place next.
    fn seek(&mut self, request: HistoryRequest, deadline: Instant) -> Result<(), Halt> {
        let HistoryRequest { partition, from } = request;
        let client = self.client()?;
        let mut place = TopicPartitionList::with_capacity(1);
        let (offset, epoch) = (from.next.0, from.epoch.0);
        tidewire_topic_id::add_partition(&mut place, &self.topic, partition.0, offset, epoch)
            .map_err(|code| Halt::Unavailable(format!("offset {}: {code}", from.next)))?;
        if self.assigned.replace(partition) != Some(partition) {
            client.assign(&place).map_err(unavailable)?;
        }
        // It may be paused.
        client.resume(&place).map_err(unavailable)?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let done = client.seek_partitions(place.clone(), left).map_err(unavailable)?;
            match done.elements().first().map_or(Ok(()), |element| element.error()) {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(unavailable(error)),
                // The assignment is under way: what it hands out meanwhile is of no use. Unless it has
                // failed, now or before while it read ahead.
                Err(_) => {
                    if client.poll(SEEK_INTERVAL).is_some_and(|polled| is_reset(&polled)) {
                        return Err(Halt::Reset);
                    }
                }
            }
        }
    }

    /// Collects records into the builder. Tells whether the end of the log was reached, and the leader
    /// epoch there.
    fn collect(&mut self, request: HistoryRequest, deadline: Instant) -> Result<Collected, Halt> {
        let HistoryRequest { partition, from } = request;
        let mut epoch = from.epoch;
        let mut last_error = None;
        let client = self.client()?;
        while self.builder.bytes() < HISTORY_SEGMENT_BYTES {
            let left = deadline.saturating_duration_since(Instant::now());
            match client.poll(left) {
                Some(Ok(message)) => {
                    let record = lend(&message);
                    if record.partition == partition && record.offset.0 >= from.next.0 {
                        epoch = record.leader_epoch;
                        self.builder.push(&record);
                    }
                }
                Some(Err(RdError::PartitionEOF(ended))) if ended == partition.0 => {
                    return Ok(Collected { ended: true, epoch });
                }
                Some(Err(RdError::PartitionEOF(_))) => {}
                polled if polled.as_ref().is_some_and(is_reset) => return Err(Halt::Reset),
                // Passing ones; librdkafka goes on by itself.
                Some(Err(error)) => last_error = Some(error),
                // What has come is worth having; whoever asks on learns more.
                None if left.is_zero() && !self.builder.is_empty() => break,
                None if left.is_zero() => {
                    return Err(last_error.map_or(Halt::Silent, unavailable));
                }
                // A log line was served.
                None => {}
            }
        }
        Ok(Collected { ended: false, epoch })
    }

    /// Reads one stretch.
    fn stretch(&mut self, request: HistoryRequest) -> Result<HistoryAnswer, Halt> {
        let HistoryRequest { partition, from } = request;
        let deadline = Instant::now() + self.options.request_timeout;
        self.builder.restart(partition, from.next);
        if self.at.take() != Some((partition, from)) {
            self.seek(request, deadline)?;
        }
        let Collected { ended, epoch } = self.collect(request, deadline)?;
        let client = self.client()?;
        let passed = tidewire_topic_id::position(client.client(), &self.topic, partition.0);
        let next = passed.map_or(from.next, |passed| from.next.max(NextOffset(passed)));
        let to = Position { next, epoch };
        let segment = self.builder.finish(to);
        if ended {
            // The same end is not told twice, and nobody reads here for now.
            self.rest();
        } else {
            self.at = Some((partition, to));
        }
        Ok(HistoryAnswer::Segment(segment))
    }

    /// Stops fetching until the next seek.
    fn rest(&mut self) {
        self.at = None;
        let (Some(client), Some(partition)) = (&self.client, self.assigned) else { return };
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.topic, partition.0);
        if let Err(error) = client.pause(&list) {
            tracing::debug!(topic = self.topic, %partition, %error, "history is not paused");
            self.assigned = None;
        }
    }

    /// The gap at a place that lies outside of what the log holds now.
    fn judge(&self, request: HistoryRequest) -> Result<Option<HistoryAnswer>, Halt> {
        let HistoryRequest { partition, from } = request;
        let Some(client) = &self.client else { return Ok(None) };
        let marks = client.fetch_watermarks(&self.topic, partition.0, self.options.request_timeout);
        let (low, high) = marks.map_err(unavailable)?;
        let gap = |next, reason| Some(HistoryAnswer::Gap { next: NextOffset(next), reason });
        Ok(match from.next.0 {
            next if next < low => gap(low, GapReason::Retention),
            next if next > high => gap(high, GapReason::Truncated),
            _ => None,
        })
    }

    fn answer(&mut self, request: HistoryRequest) -> Result<HistoryAnswer, Halt> {
        let mut resets = 0;
        loop {
            let halt = match self.stretch(request) {
                Ok(answer) => return Ok(answer),
                Err(halt) => halt,
            };
            // After a reset error only an assignment starts the partition again.
            self.reset();
            if let Halt::Unavailable(_) = halt {
                return Err(halt);
            }
            if let Some(gap) = self.judge(request)? {
                return Ok(gap);
            }
            match halt {
                // An error does not say where it happened: it may be left from another place.
                Halt::Reset if resets < STALE_RESETS_MAX => resets += 1,
                // Cut, and grown again past the position.
                Halt::Reset => {
                    let (next, reason) = (request.from.next, GapReason::Truncated);
                    return Ok(HistoryAnswer::Gap { next, reason });
                }
                halt => return Err(halt),
            }
        }
    }
}

impl LogHistory for History {
    fn read(&mut self, request: HistoryRequest) -> Result<HistoryAnswer, HistoryError> {
        self.notes.clear_error();
        self.answer(request).map_err(|halt| {
            let text = match halt {
                Halt::Unavailable(text) => text,
                Halt::Silent | Halt::Reset => "no answer in time".to_owned(),
            };
            HistoryError::Unavailable(self.notes.last_error().unwrap_or(text))
        })
    }

    fn reset(&mut self) {
        self.rest();
        self.assigned = None;
    }
}

fn is_reset<T>(polled: &Result<T, RdError>) -> bool {
    matches!(polled, Err(RdError::MessageConsumption(Code::AutoOffsetReset)))
}

fn unavailable(error: RdError) -> Halt {
    Halt::Unavailable(error.to_string())
}
