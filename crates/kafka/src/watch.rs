//! Asks the cluster what the reader must know and cannot wait for: ends of partitions at start, new
//! partitions, the topic's id, the marks after a reset error, whether a fault has passed.
//!
//! A thread of its own makes the blocking calls, every `metadata_refresh` and when the reader asks; the
//! answers go to the reader through a bounded channel. The reader alone owns positions and assignment:
//! this thread decides nothing but what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use tidewire_event::{NextOffset, Partition};

use crate::context::Context;
use crate::positions::Mark;
use crate::reader::{StartAt, Wake};

/// Between two tries while the cluster does not answer, or a fault lasts.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// What the watcher tells the reader.
#[derive(Debug)]
pub(crate) enum Update {
    /// Every partition is known with a number: read from there.
    Start {
        topic_id: String,
        next: Vec<(Partition, NextOffset)>,
        /// Up to where to read before the reader is ready.
        owed: Vec<(Partition, NextOffset)>,
    },
    /// Partitions that an earlier complete answer lacked: read from 0.
    New(Vec<Partition>),
    /// The topic has another id: read all of these from 0.
    Recreated { topic_id: String, partitions: Vec<Partition> },
    /// The answer to a [`Requests::reset_errors`] of that many.
    Marks { marks: Vec<Mark>, errors: usize },
    /// The cluster does not answer as it should.
    Fault(String),
    /// Every leader answered after the reader's fault with this number.
    Healthy { fault: u64 },
}

/// What the reader asks for. Plain state under a lock, so that asking never blocks or overflows.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    stop: bool,
    /// Reset errors since the last answer, and where the reader stood.
    reset_errors: usize,
    positions: Vec<(Partition, NextOffset)>,
    /// The number of the fault whose end is waited for.
    fault: Option<u64>,
}

/// The reader's side of the requests.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    requests: Mutex<Requests>,
    changed: Condvar,
}

impl Desk {
    pub(crate) fn ask_for_marks(&self, errors: usize, positions: Vec<(Partition, NextOffset)>) {
        let mut requests = self.lock();
        requests.reset_errors += errors;
        requests.positions = positions;
        self.changed.notify_one();
    }

    pub(crate) fn ask_for_recovery(&self, fault: u64) {
        self.lock().fault = Some(fault);
        self.changed.notify_one();
    }

    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_one();
    }

    fn stopped(&self) -> bool {
        self.lock().stop
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something new is asked, or `until`.
    fn wait(&self, until: Instant, seen_fault: Option<u64>) {
        let mut requests = self.lock();
        while !requests.stop && requests.reset_errors == 0 && requests.fault == seen_fault {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return };
            let waited = self.changed.wait_timeout(requests, left);
            requests = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

pub(crate) struct Watcher {
    pub(crate) consumer: Arc<BaseConsumer<Context>>,
    pub(crate) topic: String,
    pub(crate) start_at: StartAt,
    pub(crate) embedded_id: Option<String>,
    pub(crate) refresh: Duration,
    pub(crate) timeout: Duration,
    pub(crate) desk: Arc<Desk>,
    pub(crate) updates: SyncSender<Update>,
    pub(crate) wake: Arc<Wake>,
}

/// Where reading a partition starts, and where its log ended then.
struct Stretch {
    start: NextOffset,
    end: NextOffset,
}

/// Why a look failed; goes to the log and to the router as a fault.
type Fault = String;

impl Watcher {
    /// Runs until the reader is gone.
    pub(crate) fn run(self) {
        let Some((mut topic_id, mut known)) = self.start() else { return };
        let mut seen_fault = None;
        loop {
            let interval = if seen_fault.is_some() { RETRY_INTERVAL } else { self.refresh };
            self.desk.wait(Instant::now() + interval, seen_fault);
            if self.desk.stopped() {
                return;
            }
            seen_fault = self.desk.lock().fault;
            let told = match self.look(&mut topic_id, &mut known) {
                Ok(()) => self.answer(&known),
                Err(fault) => {
                    let told = self.tell(Update::Fault(fault));
                    // A request that stands would end the next wait at once.
                    std::thread::sleep(RETRY_INTERVAL);
                    told
                }
            };
            if told.is_none() {
                return;
            }
        }
    }

    /// Hands an update over; `None` once the reader is gone.
    fn tell(&self, update: Update) -> Option<()> {
        self.updates.send(update).ok()?;
        self.wake.call();
        Some(())
    }

    /// Resolves every partition of the first complete answer to a number, however long that takes.
    fn start(&self) -> Option<(String, BTreeSet<Partition>)> {
        let mut resolved = BTreeMap::new();
        let mut known: Option<BTreeSet<Partition>> = None;
        let mut topic_id = None;
        let mut last_fault = None;
        loop {
            if self.desk.stopped() {
                return None;
            }
            match self.resolve(&mut topic_id, &mut known, &mut resolved) {
                Ok(true) => break,
                Ok(false) => {}
                Err(fault) => {
                    if last_fault.as_ref() != Some(&fault) {
                        self.tell(Update::Fault(fault.clone()))?;
                        last_fault = Some(fault);
                    }
                    let fault = self.desk.lock().fault;
                    self.desk.wait(Instant::now() + RETRY_INTERVAL, fault);
                }
            }
        }
        let (topic_id, known) = (topic_id?, known?);
        let owed = match self.start_at {
            StartAt::Back { .. } => resolved.iter().map(|(p, stretch)| (*p, stretch.end)).collect(),
            StartAt::End | StartAt::Earliest => Vec::new(),
        };
        let next = resolved.into_iter().map(|(p, stretch)| (p, stretch.start)).collect();
        self.tell(Update::Start { topic_id: topic_id.clone(), next, owed })?;
        Some((topic_id, known))
    }

    /// One try. True when every partition is resolved and the topic is still the same.
    fn resolve(
        &self,
        topic_id: &mut Option<String>,
        known: &mut Option<BTreeSet<Partition>>,
        resolved: &mut BTreeMap<Partition, Stretch>,
    ) -> Result<bool, Fault> {
        let id = self.topic_id()?;
        if topic_id.as_ref() != Some(&id) {
            *topic_id = Some(id.clone());
            *known = None;
            resolved.clear();
        }
        let partitions = self.partitions()?;
        match known {
            None => *known = Some(partitions),
            Some(known) => {
                for partition in partitions {
                    if known.insert(partition) {
                        let (start, end) = (NextOffset(0), NextOffset(0));
                        resolved.insert(partition, Stretch { start, end });
                    }
                }
            }
        }
        for partition in known.iter().flatten() {
            if !resolved.contains_key(partition) {
                let (low, high) = self.marks(*partition)?;
                let start = match self.start_at {
                    StartAt::End => high,
                    StartAt::Earliest => low,
                    StartAt::Back { records } => {
                        let back = i64::try_from(records).unwrap_or(i64::MAX);
                        low.max(NextOffset(high.0.saturating_sub(back)))
                    }
                };
                resolved.insert(*partition, Stretch { start, end: high });
            }
        }
        // Offsets of one topic under the id of another would skip records.
        Ok(self.topic_id()? == id)
    }

    /// Looks for another topic id and for new partitions.
    fn look(&self, topic_id: &mut String, known: &mut BTreeSet<Partition>) -> Result<(), Fault> {
        let id = self.topic_id()?;
        let partitions = self.partitions()?;
        let gone = "the reader is gone".to_owned();
        if id != *topic_id {
            if self.topic_id()? != id {
                return Err("the topic is being created anew".to_owned());
            }
            topic_id.clone_from(&id);
            known.clone_from(&partitions);
            // What the old topic's positions ran into is answered by this.
            self.desk.lock().reset_errors = 0;
            let partitions = partitions.into_iter().collect();
            return self.tell(Update::Recreated { topic_id: id, partitions }).ok_or(gone);
        }
        let new: Vec<_> = partitions.difference(known).copied().collect();
        if !new.is_empty() {
            known.extend(&new);
            self.tell(Update::New(new)).ok_or(gone)?;
        }
        Ok(())
    }

    /// Answers what the reader has asked; `None` once it is gone.
    fn answer(&self, known: &BTreeSet<Partition>) -> Option<()> {
        let (errors, positions, fault) = {
            let requests = self.desk.lock();
            (requests.reset_errors, requests.positions.clone(), requests.fault)
        };
        if errors == 0 && fault.is_none() {
            return Some(());
        }
        let marks: Result<BTreeMap<_, _>, Fault> =
            known.iter().map(|p| self.marks(*p).map(|marks| (*p, marks))).collect();
        let marks = match marks {
            Ok(marks) => marks,
            Err(fault) => return self.tell(Update::Fault(fault)),
        };
        if errors > 0 {
            let at = |(partition, asked): (Partition, NextOffset)| {
                let (low, high) = *marks.get(&partition)?;
                Some(Mark { partition, asked, low, high })
            };
            let marks = positions.into_iter().filter_map(at).collect();
            self.desk.lock().reset_errors -= errors;
            self.tell(Update::Marks { marks, errors })?;
        }
        if let Some(fault) = fault {
            let mut requests = self.desk.lock();
            if requests.fault == Some(fault) {
                requests.fault = None;
            }
            drop(requests);
            self.tell(Update::Healthy { fault })?;
        }
        Some(())
    }

    fn topic_id(&self) -> Result<String, Fault> {
        if let Some(id) = &self.embedded_id {
            return Ok(id.clone());
        }
        match tidewire_topic_id::topic_id(self.consumer.client(), &self.topic, self.timeout) {
            Ok(Some(id)) => Ok(id),
            Ok(None) => Err(format!("topic {} does not exist", self.topic)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The partitions, if the answer is complete. One without a leader is there all the same.
    fn partitions(&self) -> Result<BTreeSet<Partition>, Fault> {
        let metadata = self
            .consumer
            .fetch_metadata(Some(&self.topic), self.timeout)
            .map_err(|error| error.to_string())?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let topic = topic.ok_or_else(|| format!("topic {} is not told of", self.topic))?;
        if let Some(code) = topic.error() {
            return Err(format!("topic {}: {code:?}", self.topic));
        }
        let partitions: BTreeSet<_> =
            topic.partitions().iter().map(|p| Partition(p.id())).collect();
        let complete = partitions.iter().zip(0..).all(|(partition, id)| partition.0 == id);
        if partitions.is_empty() || !complete {
            return Err(format!("topic {}: not all partitions are told of", self.topic));
        }
        Ok(partitions)
    }

    /// The first offset that is kept and the last stable one. librdkafka asks with the isolation level
    /// of the client, which is `read_committed`.
    fn marks(&self, partition: Partition) -> Result<(NextOffset, NextOffset), Fault> {
        match self.consumer.fetch_watermarks(&self.topic, partition.0, self.timeout) {
            Ok((low, high)) if low >= 0 && high >= low => Ok((NextOffset(low), NextOffset(high))),
            Ok((low, high)) => {
                Err(format!("{} [{partition}]: strange offsets {low} to {high}", self.topic))
            }
            Err(error) => Err(format!("{} [{partition}]: {error}", self.topic)),
        }
    }
}
