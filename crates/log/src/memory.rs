//! A stage in memory, for component tests of services: one input, one output, one group.
//!
//! [`MemoryLog`] is the cluster: what tests write, read and break. [`MemoryStage`]s are the instances that
//! share its partitions: partition `p` belongs to instance `p % n` of the `n` that are there. An instance
//! that is dropped has crashed: nothing of its open batch shows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidewire_event::{LeaderEpoch, NextOffset, Offset, Partition, Position};

use crate::{
    Batch, BatchLimits, GapReason, HISTORY_SEGMENT_BYTES, HistoryAnswer, HistoryError,
    HistoryRequest, LogHistory, LogRecord, LogStage, Mark, NewRecord, SegmentBuilder, StageError,
    StageEvent, StartedFrom,
};

/// The cluster.
#[derive(Clone, Debug)]
pub struct MemoryLog(Arc<Cluster>);

#[derive(Debug)]
struct Cluster {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    partitions: Vec<Kept>,
    outputs: Vec<NewRecord>,
    committed: BTreeMap<Partition, Committed>,
    members: Vec<u64>,
    members_ever: u64,
    generation: u64,
    commits: u64,
    failures: VecDeque<StageError>,
}

/// A position of the group, and the note that was committed with it.
#[derive(Clone, Debug)]
struct Committed {
    next: NextOffset,
    note: String,
}

/// The records of a partition that are kept, and the offset of the next.
#[derive(Debug, Default)]
struct Kept {
    records: BTreeMap<i64, NewRecord>,
    end: i64,
}

impl MemoryLog {
    /// An input topic with so many partitions, an empty output, and a group that begins at 0.
    #[must_use]
    pub fn new(partitions: usize) -> Self {
        let partitions = (0..partitions).map(|_| Kept::default()).collect();
        let state = State { partitions, ..State::default() };
        Self(Arc::new(Cluster { state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// A new member of the group; everybody's partitions are shared anew.
    #[must_use]
    pub fn stage(&self, limits: BatchLimits) -> MemoryStage {
        let mut state = self.lock();
        state.members_ever += 1;
        let member = state.members_ever;
        state.members.push(member);
        state.generation += 1;
        self.0.changed.notify_all();
        MemoryStage {
            log: self.clone(),
            limits,
            member,
            generation: 0,
            positions: BTreeMap::new(),
            open: None,
            serial: 0,
            events: VecDeque::new(),
        }
    }

    /// Reads the input wherever it is asked.
    #[must_use]
    pub fn history(&self) -> MemoryHistory {
        MemoryHistory(self.clone())
    }

    /// Writes a record to a partition of the input; its offset. `None` if there is no such partition.
    pub fn write(&self, partition: Partition, record: NewRecord) -> Option<Offset> {
        let mut state = self.lock();
        let kept = state.partitions.get_mut(usize::try_from(partition.0).ok()?)?;
        let offset = kept.end;
        kept.records.insert(offset, record);
        kept.end += 1;
        self.0.changed.notify_all();
        Some(Offset(offset))
    }

    /// Leaves a hole in the input, as a transaction's marker does.
    pub fn skip(&self, partition: Partition) {
        let mut state = self.lock();
        let index = usize::try_from(partition.0).unwrap_or(usize::MAX);
        if let Some(kept) = state.partitions.get_mut(index) {
            kept.end += 1;
        }
        self.0.changed.notify_all();
    }

    /// Removes what lies before `first`, as retention does.
    pub fn trim(&self, partition: Partition, first: Offset) {
        let mut state = self.lock();
        let index = usize::try_from(partition.0).unwrap_or(usize::MAX);
        if let Some(kept) = state.partitions.get_mut(index) {
            kept.records = kept.records.split_off(&first.0);
            kept.end = kept.end.max(first.0);
        }
    }

    /// What the next commits answer, without taking effect; in this order.
    pub fn fail_next(&self, error: StageError) {
        self.lock().failures.push_back(error);
    }

    /// Shares the partitions anew, as when another member comes or goes: an open batch is fenced.
    pub fn rebalance(&self) {
        self.lock().generation += 1;
        self.0.changed.notify_all();
    }

    /// All outputs that show, in the order of their commits.
    #[must_use]
    pub fn outputs(&self) -> Vec<NewRecord> {
        self.lock().outputs.clone()
    }

    /// Waits until so many outputs show, up to `wait`; all of them.
    #[must_use]
    pub fn outputs_within(&self, count: usize, wait: Duration) -> Vec<NewRecord> {
        self.wait_until(wait, |state| state.outputs.len() >= count).outputs.clone()
    }

    /// Waits until everything in the input is committed, up to `wait`. True if it is.
    #[must_use]
    pub fn drained_within(&self, wait: Duration) -> bool {
        let drained = |state: &State| {
            (0_i32..).zip(&state.partitions).all(|(partition, kept)| {
                state.committed.get(&Partition(partition)).map_or(0, |at| at.next.0) >= kept.end
            })
        };
        drained(&self.wait_until(wait, drained))
    }

    /// The position that the group has committed.
    #[must_use]
    pub fn committed(&self, partition: Partition) -> Option<NextOffset> {
        self.lock().committed.get(&partition).map(|committed| committed.next)
    }

    /// How many commits took effect.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until(&self, wait: Duration, done: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.0.changed.wait_timeout_while(self.lock(), wait, |state| !done(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl State {
    /// The partitions that belong to this member.
    fn share(&self, member: u64) -> Vec<Partition> {
        let Some(seat) = self.members.iter().position(|known| *known == member) else {
            return Vec::new();
        };
        (0_i32..)
            .zip(0..self.partitions.len())
            .filter(|(_, index)| index % self.members.len() == seat)
            .map(|(partition, _)| Partition(partition))
            .collect()
    }

    fn kept(&self, partition: Partition) -> Option<&Kept> {
        self.partitions.get(usize::try_from(partition.0).ok()?)
    }
}

/// One instance.
#[derive(Debug)]
pub struct MemoryStage {
    log: MemoryLog,
    limits: BatchLimits,
    member: u64,
    generation: u64,
    positions: BTreeMap<Partition, NextOffset>,
    // Of the batch that is handed out: its number and the positions behind it.
    open: Option<(u64, Vec<(Partition, NextOffset)>)>,
    serial: u64,
    events: VecDeque<StageEvent>,
}

impl MemoryStage {
    fn join(&mut self, state: &State) {
        self.generation = state.generation;
        for (partition, _) in std::mem::take(&mut self.positions) {
            self.events.push_back(StageEvent::Revoked { partition, lost: false });
        }
        for partition in state.share(self.member) {
            let committed = state.committed.get(&partition);
            let next = committed.map_or(NextOffset(0), |committed| committed.next);
            let from = committed.map_or(StartedFrom::Beginning, |_| StartedFrom::Committed);
            self.events.push_back(StageEvent::Assigned { partition, next, from });
            self.go_back(partition, state);
        }
    }

    /// Goes on from what is committed.
    fn go_back(&mut self, partition: Partition, state: &State) {
        let start = Committed { next: NextOffset(0), note: String::new() };
        let Committed { next, note } = state.committed.get(&partition).cloned().unwrap_or(start);
        self.positions.insert(partition, next);
        self.events.push_back(StageEvent::Reading { partition, next, note });
    }

    /// What is there of this instance's partitions; positions move past it.
    fn collect(&mut self, state: &State) -> Option<Batch> {
        let mut segments = Vec::new();
        let (mut records, mut bytes) = (0, 0);
        for (partition, next) in &mut self.positions {
            let Some(kept) = state.kept(*partition) else { continue };
            let low = kept.records.first_key_value().map_or(kept.end, |(offset, _)| *offset);
            // A hole at the start of a log that lost nothing is no gap, but no test has one.
            if next.0 < low && !kept.records.contains_key(&next.0) && low > 0 {
                let (partition, reason) = (*partition, GapReason::Retention);
                *next = NextOffset(low);
                self.events.push_back(StageEvent::Gap { partition, next: *next, reason });
                continue;
            }
            let mut builder = SegmentBuilder::new(*partition, *next);
            let mut full = false;
            for (offset, record) in kept.records.range(next.0..) {
                if records >= self.limits.records.max(1) || bytes >= self.limits.bytes {
                    full = true;
                    break;
                }
                let before = builder.bytes();
                builder.push(&lend(*partition, *offset, record));
                bytes += builder.bytes() - before;
                records += 1;
                *next = NextOffset(offset + 1);
            }
            if !full {
                *next = NextOffset(kept.end);
            }
            let segment = builder.finish(Position::at(*next));
            if segment.to().next > segment.from() {
                segments.push(segment);
                if !full {
                    let (partition, next) = (*partition, *next);
                    self.events.push_back(StageEvent::EndOfPartition { partition, next });
                }
            }
        }
        if segments.is_empty() {
            return None;
        }
        self.serial += 1;
        let behind = segments.iter().map(|s| (s.partition(), s.to().next)).collect();
        self.open = Some((self.serial, behind));
        Some(Batch::new(self.serial, segments))
    }
}

fn lend(partition: Partition, offset: i64, record: &NewRecord) -> LogRecord<'_> {
    LogRecord {
        partition,
        offset: Offset(offset),
        leader_epoch: LeaderEpoch::UNKNOWN,
        timestamp_ms: record.timestamp_ms.unwrap_or(-1),
        key: Some(&record.key),
        header: record.header.as_deref(),
        header_count: usize::from(record.header.is_some()),
        payload: record.payload.as_deref(),
    }
}

impl LogStage for MemoryStage {
    fn poll(&mut self, wait: Duration) -> Result<StageEvent, StageError> {
        let deadline = Instant::now() + wait;
        let log = self.log.clone();
        let mut state = log.lock();
        if self.open.take().is_some() {
            for partition in self.positions.keys().copied().collect::<Vec<_>>() {
                self.go_back(partition, &state);
            }
        }
        loop {
            if self.generation != state.generation {
                self.join(&state);
            }
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            if let Some(batch) = self.collect(&state) {
                return Ok(StageEvent::Batch(batch));
            }
            if !self.events.is_empty() {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(StageEvent::Idle);
            }
            let waited = log.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn empty_batch(&mut self) -> Option<Batch> {
        if self.open.is_some() || self.positions.is_empty() {
            return None;
        }
        self.serial += 1;
        self.open = Some((self.serial, Vec::new()));
        Some(Batch::new(self.serial, Vec::new()))
    }

    fn commit_at(
        &mut self,
        batch: &Batch,
        outputs: &[NewRecord],
        marks: &[Mark],
    ) -> Result<(), StageError> {
        let log = self.log.clone();
        let mut state = log.lock();
        if self.open.as_ref().is_none_or(|(serial, _)| *serial != batch.serial()) {
            return Err(StageError::Stale);
        }
        if self.generation != state.generation {
            return Err(StageError::Fenced("the partitions are shared anew".to_owned()));
        }
        if let Some(error) = state.failures.pop_front() {
            return Err(error);
        }
        let (_, behind) = self.open.take().ok_or(StageError::Stale)?;
        state.outputs.extend_from_slice(outputs);
        for (partition, next) in behind {
            state.committed.insert(partition, Committed { next, note: String::new() });
        }
        for Mark { partition, at, note } in marks {
            state.committed.insert(*partition, Committed { next: at.next, note: note.clone() });
        }
        state.commits += 1;
        log.0.changed.notify_all();
        Ok(())
    }

    fn topic_id(&self) -> Option<&str> {
        Some("memory")
    }

    fn lag(&self) -> Vec<(Partition, i64)> {
        let state = self.log.lock();
        let lag = |(partition, next): (&Partition, &NextOffset)| {
            Some((*partition, state.kept(*partition)?.end - next.0))
        };
        self.positions.iter().filter_map(lag).collect()
    }
}

/// The input, as somebody reads it who is no member of the group.
#[derive(Debug)]
pub struct MemoryHistory(MemoryLog);

impl LogHistory for MemoryHistory {
    fn read(&mut self, request: HistoryRequest) -> Result<HistoryAnswer, HistoryError> {
        let HistoryRequest { partition, from } = request;
        let state = self.0.lock();
        let no_partition =
            || HistoryError::Unavailable(format!("there is no partition {partition}"));
        let kept = state.kept(partition).ok_or_else(no_partition)?;
        let low = kept.records.first_key_value().map_or(kept.end, |(offset, _)| *offset);
        if from.next.0 < low {
            let next = NextOffset(low);
            return Ok(HistoryAnswer::Gap { next, reason: GapReason::Retention });
        }
        let mut builder = SegmentBuilder::new(partition, from.next);
        for (offset, record) in kept.records.range(from.next.0..) {
            if builder.bytes() >= HISTORY_SEGMENT_BYTES {
                let to = Position::at(NextOffset(*offset));
                return Ok(HistoryAnswer::Segment(builder.finish(to)));
            }
            builder.push(&lend(partition, *offset, record));
        }
        let to = Position::at(NextOffset(kept.end.max(from.next.0)));
        Ok(HistoryAnswer::Segment(builder.finish(to)))
    }

    fn reset(&mut self) {}
}

impl Drop for MemoryStage {
    fn drop(&mut self) {
        let mut state = self.log.lock();
        state.members.retain(|member| *member != self.member);
        state.generation += 1;
        drop(state);
        self.log.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
