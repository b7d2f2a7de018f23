//! The reader: all partitions of one topic, assigned by hand, from numbers.
//!
//! One owner drains it without ever waiting; what must be waited for is asked by a thread of its own
//! (`watch.rs`), whose answers the drain applies. Records are borrowed from librdkafka for the time of
//! the call.
//!
//! Invariants: nothing is handed over before every partition of a complete answer has a number; a record
//! is handed over once, and never below the position of its partition; every loss that librdkafka or the
//! topic's id tells of becomes a `Gap` or `Recreated` before any later record of that partition.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as RdError;
use rdkafka::message::Message;
use rdkafka::types::RDKafkaErrorCode as Code;
use tidewire_event::{NextOffset, Offset, Partition};
use tidewire_log::{GapReason, LogEvent, LogReader};

use crate::context::{Context, Notes};
use crate::positions::{Positions, judge};
use crate::record::lend;
use crate::watch::{Desk, Update, Watcher};
use crate::{KafkaError, KafkaOptions};

/// Answers of the watcher that may wait for the next drain; a full channel makes it wait.
const UPDATES_MAX: usize = 16;

/// Where a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At the last stable offset of each partition as it is at the start.
    End,
    /// At the first record that is kept.
    Earliest,
    /// So many offsets before the end of each partition, or at the first record that is kept. Ready once
    /// it has read up to that end.
    Back {
        /// How many.
        records: u64,
    },
}

type Callback = Arc<dyn Fn() + Send + Sync>;

/// Calls the owner's callback, from librdkafka's threads and the watcher's.
#[derive(Default)]
pub(crate) struct Wake(RwLock<Option<Callback>>);

impl Wake {
    pub(crate) fn call(&self) {
        let callback = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(callback) = callback {
            callback();
        }
    }
}

/// An event that is not a record, waiting to be handed over.
enum Notice {
    Topic(String),
    Assigned(Partition, NextOffset),
    Gap(Partition, NextOffset, GapReason),
    Recreated,
    Fault(String),
    Recovered,
}

/// What librdkafka has to be given.
enum Due {
    /// These partitions beside those that it has.
    New(Vec<Partition>),
    /// All of them, at their positions.
    All,
}

/// Reads one topic.
pub struct Reader {
    consumer: Arc<BaseConsumer<Context>>,
    topic: String,
    topic_id: Option<String>,
    positions: Positions,
    // Up to where a partition is to be read before the reader is ready; those that are not there yet.
    owed: Vec<(Partition, NextOffset)>,
    // At most a few per partition and update.
    notices: VecDeque<Notice>,
    due: Due,
    updates: Receiver<Update>,
    desk: Arc<Desk>,
    wake: Arc<Wake>,
    notes: Arc<Notes>,
    reset_errors: usize,
    faulted: bool,
    fault: u64,
}

impl Reader {
    /// Starts reading `topic`; returns at once, also when Kafka is away. [`LogReader::is_assigned`]
    /// tells when every partition has its number.
    ///
    /// # Errors
    /// [`KafkaError::Property`], [`KafkaError::Client`] or [`KafkaError::Thread`].
    pub fn start(options: &KafkaOptions, topic: &str, at: StartAt) -> Result<Self, KafkaError> {
        let notes = Arc::new(Notes::default());
        let wake = Arc::new(Wake::default());
        let context = Context(Arc::clone(&notes));
        let mut consumer =
            BaseConsumer::from_config_and_context(&options.reader_config()?, context)
                .map_err(KafkaError::Client)?;
        let woken = Arc::clone(&wake);
        consumer.set_nonempty_callback(move || woken.call());
        let consumer = Arc::new(consumer);
        let desk = Arc::new(Desk::default());
        let (sender, updates) = sync_channel(UPDATES_MAX);
        let watcher = Watcher {
            consumer: Arc::clone(&consumer),
            topic: topic.to_owned(),
            start_at: at,
            embedded_id: options.embedded_id.clone(),
            refresh: options.metadata_refresh,
            timeout: options.request_timeout,
            desk: Arc::clone(&desk),
            updates: sender,
            wake: Arc::clone(&wake),
        };
        std::thread::Builder::new()
            .name("kafka-watch".to_owned())
            .spawn(move || watcher.run())
            .map_err(KafkaError::Thread)?;
        Ok(Self {
            consumer,
            topic: topic.to_owned(),
            topic_id: None,
            positions: Positions::default(),
            owed: Vec::new(),
            notices: VecDeque::new(),
            due: Due::New(Vec::new()),
            updates,
            desk,
            wake,
            notes,
            reset_errors: 0,
            faulted: false,
            fault: 0,
        })
    }

    /// The id of the topic that is being read, once assigned. Another id is another topic, whatever its
    /// name. For the embedded broker: an id of this start of the broker.
    #[must_use]
    pub fn topic_id(&self) -> Option<&str> {
        self.topic_id.as_deref()
    }

    fn apply(&mut self, update: Update) {
        match update {
            Update::Start { topic_id, next, owed } => {
                self.owed = owed;
                self.name_topic(topic_id);
                self.place(next);
                self.due = Due::All;
            }
            Update::New(partitions) => {
                if let Due::New(due) = &mut self.due {
                    due.extend(&partitions);
                }
                self.place(partitions.into_iter().map(|p| (p, NextOffset(0))).collect());
            }
            Update::Recreated { topic_id, partitions } => {
                self.positions.clear();
                self.owed.clear();
                self.reset_errors = 0;
                self.notices.clear();
                self.notices.push_back(Notice::Recreated);
                self.name_topic(topic_id);
                self.place(partitions.into_iter().map(|p| (p, NextOffset(0))).collect());
                self.due = Due::All;
            }
            Update::Marks { marks, errors } => {
                for (partition, next, reason) in judge(&self.positions, &marks, errors) {
                    self.positions.set(partition, next);
                    self.notices.push_back(Notice::Gap(partition, next, reason));
                }
                // Which of them has stopped is not known.
                self.due = Due::All;
            }
            Update::Fault(text) => self.note_fault(text),
            Update::Healthy { fault } if self.faulted && fault == self.fault => {
                self.faulted = false;
                self.notes.clear_error();
                self.notices.push_back(Notice::Recovered);
            }
            Update::Healthy { .. } => {}
        }
    }

    fn name_topic(&mut self, id: String) {
        self.notices.push_back(Notice::Topic(id.clone()));
        self.topic_id = Some(id);
    }

    fn place(&mut self, next: Vec<(Partition, NextOffset)>) {
        for (partition, next) in next {
            self.positions.set(partition, next);
            self.notices.push_back(Notice::Assigned(partition, next));
        }
    }

    /// Assigns what is due, each partition at its position. What librdkafka has fetched ahead of those that
    /// were assigned before is dropped and fetched again: this happens only when something has gone wrong.
    ///
    /// Told twice to stop a partition that has not stopped yet, it aborts the process. So partitions that are
    /// new are added, and what has come together is assigned once; what stops them otherwise follows an
    /// error of one that had started, and none starts before all have stopped.
    fn assign(&mut self) {
        let (new, all) = match std::mem::replace(&mut self.due, Due::New(Vec::new())) {
            Due::New(new) if new.is_empty() => return,
            Due::New(new) => (new, false),
            Due::All => (Vec::new(), true),
        };
        let mut list = TopicPartitionList::new();
        for (partition, next) in self.positions.iter().filter(|(p, _)| all || new.contains(p)) {
            let offset = rdkafka::Offset::Offset(next.0);
            if let Err(error) = list.add_partition_offset(&self.topic, partition.0, offset) {
                tracing::error!(topic = self.topic, %partition, %error, "offset cannot be assigned");
            }
        }
        let assigned = match all {
            true => self.consumer.assign(&list),
            false => self.consumer.incremental_assign(&list),
        };
        if let Err(error) = assigned {
            tracing::error!(topic = self.topic, %error, "partitions cannot be assigned");
            self.note_fault(format!("partitions cannot be assigned: {error}"));
        }
    }

    /// A fault begins; further ones while it lasts are not told.
    fn note_fault(&mut self, text: String) {
        if !self.faulted {
            self.faulted = true;
            self.fault += 1;
            self.notices.push_back(Notice::Fault(text));
            self.desk.ask_for_recovery(self.fault);
        }
    }

    fn on_error(&mut self, error: &RdError) {
        match error {
            RdError::MessageConsumption(Code::AutoOffsetReset) => self.reset_errors += 1,
            error => {
                let text = self.notes.last_error().unwrap_or_else(|| error.to_string());
                self.note_fault(text);
                // An answer that was on its way before this error proves nothing.
                self.fault += 1;
                self.desk.ask_for_recovery(self.fault);
            }
        }
    }

    /// The next event that is not a record, if there is one.
    fn notice(&mut self, sink: &mut dyn FnMut(LogEvent<'_>)) -> bool {
        let Some(notice) = self.notices.pop_front() else { return false };
        match notice {
            Notice::Topic(id) => sink(LogEvent::Topic(&id)),
            Notice::Assigned(partition, next) => sink(LogEvent::Assigned { partition, next }),
            Notice::Gap(partition, next, reason) => sink(LogEvent::Gap { partition, next, reason }),
            Notice::Recreated => sink(LogEvent::Recreated),
            Notice::Fault(text) => sink(LogEvent::Fault(&text)),
            Notice::Recovered => sink(LogEvent::Recovered),
        }
        true
    }
}

impl LogReader for Reader {
    fn drain(&mut self, max: usize, sink: &mut dyn FnMut(LogEvent<'_>)) -> usize {
        let mut handed = 0;
        while let Ok(update) = self.updates.try_recv() {
            self.apply(update);
        }
        self.assign();
        while handed < max {
            if self.notice(sink) {
                handed += 1;
                continue;
            }
            let served = self.notes.served();
            match self.consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    let (partition, offset) =
                        (Partition(message.partition()), Offset(message.offset()));
                    if self.positions.pass(partition, offset) {
                        sink(LogEvent::Record(lend(&message)));
                        handed += 1;
                    }
                }
                Some(Err(RdError::PartitionEOF(partition))) => {
                    let passed =
                        tidewire_topic_id::position(self.consumer.client(), &self.topic, partition);
                    let partition = Partition(partition);
                    // An end before what is owed: the log was cut since.
                    self.owed.retain(|(owed, _)| *owed != partition);
                    if let Some(at) = self.positions.get(partition) {
                        let next = passed.map_or(at, |passed| at.max(NextOffset(passed)));
                        self.positions.set(partition, next);
                        sink(LogEvent::EndOfPartition { partition, next });
                        handed += 1;
                    }
                }
                Some(Err(error)) => self.on_error(&error),
                // A log line or an error was served in place of an event: there may be more.
                None if self.notes.served() != served => {}
                None => break,
            }
        }
        if !self.owed.is_empty() {
            let positions = &self.positions;
            self.owed.retain(|(partition, end)| positions.get(*partition) < Some(*end));
        }
        if self.reset_errors > 0 {
            self.desk.ask_for_marks(self.reset_errors, self.positions.iter().collect());
            self.reset_errors = 0;
        }
        handed
    }

    fn lag(&self) -> Vec<(Partition, i64)> {
        self.notes.lag().into_iter().map(|(partition, lag)| (Partition(partition), lag)).collect()
    }

    fn on_ready(&mut self, wake: Arc<dyn Fn() + Send + Sync>) {
        *self.wake.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&wake));
        // What came before has woken nobody.
        wake();
    }

    fn is_assigned(&self) -> bool {
        self.topic_id.is_some() && self.owed.is_empty()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.desk.stop();
    }
}
