//! The stage: a member of a consumer group whose outputs and offsets are committed in one transaction.
//!
//! Its owner's thread does everything, also what must be waited for. Between two polls nothing is decided:
//! what the group has changed meanwhile is served by the next poll, before any record.
//!
//! Invariants: a record is handed out only under the membership by which its batch will be committed, so
//! that a commit of an instance that the group has given up is refused by the cluster; positions are taken
//! from nowhere but what the group has committed, so an aborted batch is handed out again, and one whose
//! outcome is unknown just if it was not written; every loss that is known of is told before the records
//! behind it.

mod collect;
mod member;
mod options;
mod start;
mod transactions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaError as RdError;
use tidewire_event::{NextOffset, Partition};
use tidewire_log::{
    Batch, GapReason, LogStage, Mark, NewRecord, StageError, StageEvent, StartedFrom,
};

use self::collect::Collecting;
use self::member::{Change, MemberContext, membership};
pub use self::options::{BeginAt, CommitStep, StageOptions, StepHook};
use self::start::{NotYet, Starts, offsets};
use self::transactions::Transactions;
use crate::context::Notes;
use crate::embedded::random_name;
use crate::positions::Positions;
use crate::{KafkaError, KafkaOptions};

/// Between two tries to find out where to read from.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// An instance that the group has fenced by its name may take its seat again once in so many session timeouts.
/// If it is fenced sooner, another one bears its name: two such fence each other at their next heartbeats.
const RESEAT_SESSIONS: u32 = 2;

/// How long the group may take to tell a fenced instance what has happened, in session timeouts.
const REJOIN_SESSIONS_MAX: u32 = 2;

/// Reads one topic and writes to another.
pub struct Stage {
    kafka: KafkaOptions,
    options: StageOptions,
    notes: Arc<Notes>,
    consumer: BaseConsumer<MemberContext>,
    transactions: Transactions,
    /// Under which it was given `mine`; `None` while the group may have gone on without this instance.
    membership: Option<Arc<ConsumerGroupMetadata>>,
    fenced_at: Option<Instant>,
    /// When it has taken its seat again, the last time.
    reseated_at: Option<Instant>,
    mine: BTreeSet<Partition>,
    /// Of which the owner knows that they are this instance's.
    told: BTreeSet<Partition>,
    /// What is handed out next of each partition.
    positions: Positions,
    /// Whether `positions` are in force.
    reading: bool,
    /// Whether librdkafka has been given the partitions of this membership. That is done once: it does not
    /// stand partitions that are taken away and given again while they are being stopped.
    assigned: bool,
    /// Since when librdkafka has not gone back to where it was told.
    seeking_since: Option<Instant>,
    collecting: BTreeMap<Partition, Collecting>,
    topic_id: Option<String>,
    look_at: Instant,
    reset_errors: usize,
    gaps_told: BTreeMap<Partition, (NextOffset, GapReason)>,
    /// The batch that is handed out.
    open: Option<u64>,
    serial: u64,
    /// A few per partition.
    events: VecDeque<StageEvent>,
    faulted: bool,
}

impl Stage {
    /// Makes a member of the group; returns at once, also when Kafka is away.
    ///
    /// # Errors
    /// [`KafkaError::Property`] or [`KafkaError::Client`].
    pub fn start(kafka: &KafkaOptions, options: StageOptions) -> Result<Self, KafkaError> {
        let notes = Arc::new(Notes::default());
        let consumer = member(kafka, &options, &notes)?;
        let transactions = Transactions::new(
            options.transactions_config(kafka, &random_name())?,
            options.output.clone(),
            options.transaction_timeout,
            Arc::clone(&notes),
            options.on_step.clone(),
        );
        Ok(Self {
            kafka: kafka.clone(),
            options,
            notes,
            consumer,
            transactions,
            membership: None,
            fenced_at: None,
            reseated_at: None,
            mine: BTreeSet::new(),
            told: BTreeSet::new(),
            positions: Positions::default(),
            reading: false,
            assigned: false,
            seeking_since: None,
            collecting: BTreeMap::new(),
            topic_id: None,
            look_at: Instant::now(),
            reset_errors: 0,
            gaps_told: BTreeMap::new(),
            open: None,
            serial: 0,
            events: VecDeque::new(),
            faulted: false,
        })
    }

    /// Serves what the group has changed.
    fn serve_changes(&mut self) {
        while let Some(change) = self.consumer.context().next_change() {
            self.rewind();
            self.fenced_at = None;
            self.assigned = false;
            self.seeking_since = None;
            self.gaps_told.clear();
            let (mine, lost) = match change {
                Change::Assigned(mine) => (mine, false),
                Change::Revoked { lost } => (Vec::new(), lost),
            };
            self.mine = mine.into_iter().collect();
            self.membership =
                if self.mine.is_empty() { None } else { membership(&self.consumer) }.map(Arc::new);
            for partition in std::mem::take(&mut self.told) {
                self.events.push_back(StageEvent::Revoked { partition, lost });
            }
        }
    }

    /// Stops reading; goes on from what the group has committed.
    fn rewind(&mut self) {
        self.reading = false;
        self.open = None;
        self.positions.clear();
        self.collecting.clear();
        let is_of_then = |event: &StageEvent| {
            matches!(event, StageEvent::EndOfPartition { .. } | StageEvent::Reading { .. })
        };
        self.events.retain(|event| !is_of_then(event));
    }

    /// The group has gone on: waits for it to say so.
    fn fence(&mut self) {
        self.rewind();
        self.membership = None;
        self.fenced_at = Some(Instant::now());
    }

    /// Joins anew where the group does not say what has happened.
    fn rejoin_if_forgotten(&mut self) {
        let patience = self.options.session_timeout * REJOIN_SESSIONS_MAX;
        if self.fenced_at.is_some_and(|at| at.elapsed() > patience) {
            self.rejoin("fenced, and not told why");
        }
    }

    /// Takes the seat of this instance again, as a new process under its name would. The group may have lost
    /// what it answered this one: when its coordinator fails in mid-join, it knows the name under another
    /// member id, and that is fatal to a consumer.
    fn take_seat_again(&mut self, error: &RdError) -> Result<(), StageError> {
        let interval = self.options.session_timeout * RESEAT_SESSIONS;
        if self.reseated_at.is_some_and(|at| at.elapsed() < interval) {
            return Err(StageError::Fatal(error.to_string()));
        }
        tracing::warn!(topic = self.options.input, %error, "fenced by its own name, taking the seat again");
        self.reseated_at = Some(Instant::now());
        self.fence();
        self.fenced_at = None;
        self.assigned = false;
        self.seeking_since = None;
        self.mine.clear();
        for partition in std::mem::take(&mut self.told) {
            self.events.push_back(StageEvent::Revoked { partition, lost: true });
        }
        let made = member(&self.kafka, &self.options, &self.notes);
        self.consumer = made.map_err(|error| StageError::Fatal(error.to_string()))?;
        Ok(())
    }

    /// Leaves the group and joins it anew: what librdkafka holds of the partitions is of no use.
    fn rejoin(&mut self, reason: &str) {
        tracing::info!(topic = self.options.input, reason, "joining the group anew");
        self.fence();
        self.consumer.unsubscribe();
        if let Err(error) = self.consumer.subscribe(&[&self.options.input]) {
            self.note_fault(error.to_string());
        }
    }

    /// Finds out where to read from, and reads. False: not yet.
    fn start_reading(&mut self) -> Result<bool, StageError> {
        match self.resolve() {
            Ok(starts) => {
                self.apply(&starts);
                Ok(true)
            }
            Err(NotYet::Waiting) => Ok(false),
            Err(NotYet::Stage(StageError::Fenced(text))) => {
                tracing::debug!(topic = self.options.input, text, "fenced before reading");
                self.fence();
                Ok(false)
            }
            Err(NotYet::Stage(error @ StageError::Fatal(_))) => Err(error),
            Err(NotYet::Stage(error)) => {
                self.note_fault(error.to_string());
                Ok(false)
            }
            Err(NotYet::Fault(text)) => {
                self.note_fault(text);
                Ok(false)
            }
        }
    }

    fn apply(&mut self, starts: &Starts) {
        let mut list = TopicPartitionList::with_capacity(starts.partitions.len());
        for (partition, start) in &starts.partitions {
            let (next, epoch) = (start.at.next.0, start.at.epoch.0);
            let topic = &self.options.input;
            let added =
                tidewire_topic_id::add_partition(&mut list, topic, partition.0, next, epoch);
            if let Err(error) = added {
                self.note_fault(format!("offset {next} cannot be assigned: {error}"));
                return;
            }
        }
        if let Err(text) = self.go_to(list) {
            self.note_fault(text);
            return;
        }
        self.reading = true;
        self.reset_errors = 0;
        let other = |known: &String| *known != starts.topic_id;
        let void = starts.partitions.values().any(|start| start.from == StartedFrom::Recreated);
        let anew = self.topic_id.as_ref().map_or(void, other);
        if anew {
            self.gaps_told.clear();
            self.events.push_back(StageEvent::Recreated);
        }
        self.topic_id = Some(starts.topic_id.clone());
        for (partition, start) in &starts.partitions {
            let (partition, next) = (*partition, start.at.next);
            self.positions.set(partition, next);
            let collecting = Collecting::new(partition, start.committed, start.at.epoch);
            self.collecting.insert(partition, collecting);
            if self.told.insert(partition) || anew {
                let from = start.from;
                self.events.push_back(StageEvent::Assigned { partition, next, from });
            }
            let note = start.note.clone();
            self.events.push_back(StageEvent::Reading { partition, next, note });
            if let Some(reason) = start.gap
                && self.gaps_told.insert(partition, (next, reason)) != Some((next, reason))
            {
                self.events.push_back(StageEvent::Gap { partition, next, reason });
            }
        }
        self.note_recovery();
    }

    /// Makes librdkafka read from there.
    fn go_to(&mut self, list: TopicPartitionList) -> Result<(), String> {
        if !self.assigned {
            let assigned = self.consumer.assign(&list);
            assigned.map_err(|error| format!("partitions cannot be assigned: {error}"))?;
            self.assigned = true;
            return Ok(());
        }
        let since = *self.seeking_since.get_or_insert_with(Instant::now);
        let sought = self.consumer.seek_partitions(list, self.kafka.request_timeout);
        let failed = match &sought {
            Ok(list) => list.elements().iter().find_map(|element| element.error().err()),
            Err(error) => Some(error.clone()),
        };
        match failed {
            None => self.seeking_since = None,
            Some(error) if since.elapsed() < self.options.session_timeout => {
                return Err(format!("partitions cannot be sought: {error}"));
            }
            Some(error) => {
                self.seeking_since = None;
                self.rejoin("partitions cannot be sought");
                return Err(format!("partitions cannot be sought: {error}"));
            }
        }
        Ok(())
    }

    /// Looks whether the topic is still the same, and the cluster answers.
    fn look(&mut self) {
        self.look_at = Instant::now() + self.kafka.metadata_refresh;
        match self.ask_topic_id() {
            Ok(id) if self.topic_id.as_ref().is_some_and(|known| *known != id) => {
                self.rejoin("the topic was created anew");
            }
            Ok(_) if self.faulted => {
                let answered: Result<Vec<_>, _> =
                    self.mine.iter().map(|partition| self.ask_marks(*partition)).collect();
                if answered.is_ok() {
                    self.note_recovery();
                }
            }
            Err(NotYet::Fault(text)) => self.note_fault(text),
            _ => {}
        }
    }

    fn note_fault(&mut self, text: String) {
        if !self.faulted {
            self.faulted = true;
            self.events.push_back(StageEvent::Fault(text));
        }
    }

    fn note_recovery(&mut self) {
        if self.faulted {
            self.faulted = false;
            self.notes.clear_error();
            self.events.push_back(StageEvent::Recovered);
        }
    }
}

/// A consumer that joins the group.
fn member(
    kafka: &KafkaOptions,
    options: &StageOptions,
    notes: &Arc<Notes>,
) -> Result<BaseConsumer<MemberContext>, KafkaError> {
    let context = MemberContext::new(Arc::clone(notes));
    let config = options.member_config(kafka)?;
    let consumer: BaseConsumer<MemberContext> =
        BaseConsumer::from_config_and_context(&config, context).map_err(KafkaError::Client)?;
    consumer.subscribe(&[&options.input]).map_err(KafkaError::Client)?;
    Ok(consumer)
}

/// The embedded broker takes the offsets of a transaction and forgets them, so there they are committed to
/// the group as well, just before the transaction is. It also shows what was aborted: a rebalance in
/// mid-commit doubles a batch there. Exactly once is what a real cluster gives.
fn commit_to_embedded(
    consumer: &BaseConsumer<MemberContext>,
    kafka: &KafkaOptions,
    offsets: &TopicPartitionList,
) -> Result<(), RdError> {
    match kafka.embedded_id {
        Some(_) => consumer.commit(offsets, CommitMode::Sync),
        None => Ok(()),
    }
}

impl LogStage for Stage {
    fn poll(&mut self, wait: Duration) -> Result<StageEvent, StageError> {
        let deadline = Instant::now() + wait;
        if self.open.is_some() {
            self.rewind();
        }
        loop {
            self.transactions.serve();
            self.serve_changes();
            if self.reset_errors > 0 && self.reading {
                self.rejoin("a position is not in the log");
            }
            if self.reading && Instant::now() >= self.look_at {
                self.look();
            }
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let ready = self.reading || (self.membership.is_some() && self.start_reading()?);
            if !self.events.is_empty() {
                continue;
            }
            self.rejoin_if_forgotten();
            let until =
                if ready { deadline } else { deadline.min(Instant::now() + RETRY_INTERVAL) };
            if let Some(batch) = self.collect(until.min(self.look_at.max(Instant::now())))? {
                return Ok(StageEvent::Batch(batch));
            }
            if Instant::now() >= deadline
                && self.events.is_empty()
                && !self.consumer.context().has_changes()
            {
                return Ok(StageEvent::Idle);
            }
        }
    }

    fn empty_batch(&mut self) -> Option<Batch> {
        if !self.reading || self.open.is_some() {
            return None;
        }
        self.serial += 1;
        self.open = Some(self.serial);
        Some(Batch::new(self.serial, Vec::new()))
    }

    fn commit_at(
        &mut self,
        batch: &Batch,
        outputs: &[NewRecord],
        marks: &[Mark],
    ) -> Result<(), StageError> {
        if self.open != Some(batch.serial()) {
            return Err(StageError::Stale);
        }
        let (Some(membership), Some(id)) = (&self.membership, &self.topic_id) else {
            self.rewind();
            return Err(StageError::Fenced("not a member of the group".to_owned()));
        };
        let is_marked = |partition| marks.iter().any(|mark| mark.partition == partition);
        let moved = batch.segments().iter().filter(|segment| !is_marked(segment.partition()));
        let marked = marks.iter().filter(|mark| self.mine.contains(&mark.partition));
        let positions = moved
            .map(|segment| (segment.partition(), segment.to(), ""))
            .chain(marked.map(|mark| (mark.partition, mark.at, mark.note.as_str())));
        let also = |offsets: &_| commit_to_embedded(&self.consumer, &self.kafka, offsets);
        let written = offsets(&self.options.input, id, positions)
            .and_then(|offsets| self.transactions.write(outputs, &offsets, membership, also));
        match &written {
            Ok(()) => self.open = None,
            // The batch may be committed with other outputs.
            Err(StageError::Refused { .. }) => {}
            Err(StageError::Fenced(_)) => self.fence(),
            Err(_) => self.rewind(),
        }
        written
    }

    fn topic_id(&self) -> Option<&str> {
        self.topic_id.as_deref()
    }

    fn lag(&self) -> Vec<(Partition, i64)> {
        let mine = |(partition, _): &(Partition, i64)| self.told.contains(partition);
        let lag = self.notes.lag().into_iter();
        lag.map(|(partition, lag)| (Partition(partition), lag)).filter(mine).collect()
    }
}
