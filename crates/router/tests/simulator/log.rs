//! The log of the simulation: partitions with holes, retention, leaders that cut it, lives of the topic.
//!
//! Nothing is ever forgotten here: each record says in which *versions* of its partition it stands (a
//! version ends when a leader cuts the log), so that the judge can tell what a client was owed.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use tidewire_event::{
    LeaderEpoch, NextOffset, Offset, Operation, Partition, Position, Positions, TopicId,
};
use tidewire_log::{GapReason, HistoryRequest, LogRecord, SegmentBuilder};
use tidewire_router::HistoryOutcome;
use tidewire_wire::frame::push_event_time;

use crate::judge::Mark;

/// The event time of the first record; each has its own second, by which it is known again.
const TIME_MS: i64 = 1_789_393_046_000;

#[derive(Clone, Debug)]
pub(crate) struct Rec {
    pub(crate) life: usize,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    epoch: i32,
    /// The first and the last version of the partition in which it stands.
    pub(crate) versions: (usize, usize),
    pub(crate) tenant: &'static str,
    pub(crate) object_type: &'static str,
    pub(crate) key: u64,
    pub(crate) operation: Operation,
    /// The same change once more: whoever remembers the first drops it.
    pub(crate) is_repeat: bool,
    change_id: String,
    padding: usize,
    number: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Part {
    /// What retention has left begins here.
    pub(crate) start: i64,
    /// Where the next record goes: the last stable offset.
    pub(crate) end: i64,
    pub(crate) epoch: i32,
    /// Each epoch in the log, with its first offset.
    epochs: Vec<(i32, i64)>,
    pub(crate) version: usize,
    /// Where each version but the first was cut: what stood at or behind it is gone.
    pub(crate) cuts: Vec<i64>,
    /// The leader epoch with which each version but the first begins.
    cut_epochs: Vec<i32>,
    /// By offset and number, all that ever were.
    pub(crate) all: BTreeMap<(i64, usize), ()>,
    /// By offset, what stands now.
    now: BTreeMap<i64, usize>,
}

#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) topic: TopicId,
    pub(crate) parts: Vec<Part>,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) lives: Vec<Life>,
    pub(crate) records: Vec<Rec>,
    by_time: HashMap<String, usize>,
}

/// A record's bytes.
pub(crate) struct Bytes {
    key: String,
    header: String,
    payload: String,
}

impl Rec {
    pub(crate) fn time_ms(&self) -> i64 {
        TIME_MS + i64::try_from(self.number).unwrap() * 1_000
    }

    pub(crate) fn bytes(&self) -> Bytes {
        let Self { tenant, object_type, key, operation, number, .. } = self;
        let padding = "x".repeat(self.padding);
        let image = format!(r#"{{"key":{key},"createdById":{number},"pad":"{padding}"}}"#);
        let payload = match operation {
            Operation::Delete => format!(r#"{{"old":{image}}}"#),
            _ => format!(r#"{{"new":{image}}}"#),
        };
        let mut header = format!("1;{operation};;");
        header += if *operation == Operation::Delete { "full" } else { "none" };
        write!(header, ";;{};;capture", self.change_id).unwrap();
        Bytes { key: format!("{tenant}/{object_type}/{key}"), header, payload }
    }

    pub(crate) fn lend<'a>(&self, bytes: &'a Bytes) -> LogRecord<'a> {
        LogRecord {
            partition: Partition(self.partition),
            offset: Offset(self.offset),
            leader_epoch: LeaderEpoch(self.epoch),
            timestamp_ms: self.time_ms(),
            key: Some(bytes.key.as_bytes()),
            header: Some(bytes.header.as_bytes()),
            header_count: 1,
            payload: Some(bytes.payload.as_bytes()),
        }
    }
}

impl Part {
    /// The offset and number of the first record at or behind an offset.
    pub(crate) fn at_or_behind(&self, offset: i64) -> Option<(i64, usize)> {
        self.now.range(offset.max(self.start)..).next().map(|(offset, number)| (*offset, *number))
    }

    /// What is written next is of the present epoch.
    fn note_epoch(&mut self) {
        if self.epochs.last().is_none_or(|(last, _)| *last < self.epoch) {
            self.epochs.push((self.epoch, self.end));
        }
    }

    /// Where the log's knowledge of an epoch ends (KIP-101); `None` if it never was.
    fn end_of_epoch(&self, epoch: i32) -> i64 {
        let later = self.epochs.iter().find(|(e, _)| *e > epoch);
        later.map_or(self.end, |(_, begins)| *begins)
    }

    /// The first version in which a position can stand.
    pub(crate) fn version_of(&self, position: Position) -> usize {
        match position.epoch {
            LeaderEpoch::UNKNOWN => {
                self.cuts.iter().rposition(|cut| *cut < position.next.0).map_or(0, |at| at + 1)
            }
            epoch => self.cut_epochs.iter().take_while(|begins| **begins <= epoch.0).count(),
        }
    }

    /// The versions that a mark may belong to.
    pub(crate) fn versions(&self, mark: Mark) -> impl Iterator<Item = usize> + '_ {
        let stays = move |version: &usize| {
            let cuts = self.cuts.get(mark.version..*version).unwrap_or_default();
            cuts.iter().all(|cut| *cut >= mark.next)
        };
        (mark.version..=self.version).take_while(stays)
    }

    /// Whether the first mark is behind the other. One that was not cut off since stands in later versions
    /// too.
    fn is_behind(&self, mark: Mark, other: Mark) -> bool {
        let version = mark.version.max(other.version);
        let stands = |mark| self.versions(mark).any(|v| v == version);
        match (stands(mark), stands(other)) {
            (true, true) => mark.next > other.next,
            (stands, _) => stands,
        }
    }

    /// Whether the log was cut below a position since.
    fn was_cut_below(&self, position: Position) -> bool {
        self.cuts.iter().skip(self.version_of(position)).any(|cut| *cut < position.next.0)
    }

    /// Where the log contradicts a position, if it does.
    pub(crate) fn contradiction(&self, position: Position) -> Option<i64> {
        let end = match position.epoch {
            LeaderEpoch::UNKNOWN => self.end,
            LeaderEpoch(epoch) => self.end_of_epoch(epoch),
        };
        (position.next.0 > end).then_some(end)
    }
}

impl Life {
    fn part(&self, partition: Partition) -> &Part {
        &self.parts[usize::try_from(partition.0).unwrap()]
    }

    /// Whether the log was cut below a position since.
    pub(crate) fn contradicts(&self, (partition, position): (Partition, Position)) -> bool {
        self.part(partition).was_cut_below(position)
    }

    /// Of each partition the later mark stays.
    pub(crate) fn extend(&self, reached: &mut BTreeMap<i32, Mark>, marks: BTreeMap<i32, Mark>) {
        for (partition, mark) in marks {
            let known = reached.entry(partition).or_insert(mark);
            if self.part(Partition(partition)).is_behind(mark, *known) {
                *known = mark;
            }
        }
    }

    /// Where positions stand.
    pub(crate) fn marks(&self, positions: &Positions) -> BTreeMap<i32, Mark> {
        let mark = |(partition, position): (Partition, Position)| {
            (partition.0, Mark::of(position, self.part(partition).version_of(position)))
        };
        positions.iter().map(mark).collect()
    }
}

impl Log {
    pub(crate) fn now(&self) -> &Life {
        self.lives.last().unwrap()
    }

    fn now_mut(&mut self) -> &mut Life {
        self.lives.last_mut().unwrap()
    }

    /// The topic is created, or created anew.
    pub(crate) fn create(&mut self, partitions: usize) {
        let topic = format!("topic-{}", self.lives.len()).into();
        let parts = (0..partitions).map(|_| Part::default()).collect();
        self.lives.push(Life { topic, parts });
    }

    pub(crate) fn life_of(&self, topic: &str) -> Option<usize> {
        self.lives.iter().position(|life| *life.topic == *topic)
    }

    pub(crate) fn add_partition(&mut self) {
        self.now_mut().parts.push(Part::default());
    }

    pub(crate) fn append(
        &mut self,
        partition: usize,
        tenant: &'static str,
        object_type: &'static str,
        key: u64,
        operation: Operation,
        padding: usize,
    ) -> usize {
        let partition = i32::try_from(partition).unwrap();
        let number = self.records.len();
        let rec = Rec {
            life: 0,
            partition,
            offset: 0,
            epoch: 0,
            versions: (0, 0),
            tenant,
            object_type,
            key,
            operation,
            is_repeat: false,
            change_id: format!("c{number}"),
            padding,
            number,
        };
        self.put(rec);
        number
    }

    /// The producer publishes a change again.
    pub(crate) fn append_again(&mut self, number: usize) {
        let rec = Rec { is_repeat: true, ..self.records[number].clone() };
        if usize::try_from(rec.partition).unwrap() < self.now().parts.len() {
            self.put(rec);
        }
    }

    fn put(&mut self, mut rec: Rec) {
        let (life, number) = (self.lives.len() - 1, self.records.len());
        let part = &mut self.now_mut().parts[usize::try_from(rec.partition).unwrap()];
        part.note_epoch();
        (rec.life, rec.offset, rec.epoch, rec.number) = (life, part.end, part.epoch, number);
        rec.versions = (part.version, usize::MAX);
        part.all.insert((rec.offset, number), ());
        part.now.insert(rec.offset, number);
        part.end += 1;
        let mut time = Vec::new();
        push_event_time(&mut time, rec.time_ms());
        self.by_time.insert(String::from_utf8(time).unwrap(), number);
        self.records.push(rec);
    }

    /// Markers, or what was aborted: offsets without records. Nobody sees their epoch: a position behind those
    /// of a new leader has the epoch of the old one, contradicts the log, and is told a gap. With
    /// `after_record` there are none before the first record of an epoch.
    pub(crate) fn hole(&mut self, partition: usize, length: i64, after_record: bool) {
        let part = &mut self.now_mut().parts[partition];
        if after_record && part.epochs.last().is_none_or(|(last, _)| *last < part.epoch) {
            return;
        }
        part.note_epoch();
        part.end += length;
    }

    /// Another leader, with the same log.
    pub(crate) fn elect(&mut self, partition: usize) {
        self.now_mut().parts[partition].epoch += 1;
    }

    /// The producer publishes anew what a leader has cut off.
    pub(crate) fn append_anew(&mut self, number: usize) -> usize {
        self.put(self.records[number].clone());
        self.records.len() - 1
    }

    /// Another leader, who lacks the end of the log. Returns what was cut off, in order.
    pub(crate) fn cut(&mut self, partition: usize, records: i64) -> Vec<usize> {
        let part = self.lives.last_mut().unwrap().parts.get_mut(partition).unwrap();
        let at = (part.end - records).max(part.start);
        let gone: Vec<usize> = part.now.split_off(&at).into_values().collect();
        for number in &gone {
            self.records[*number].versions.1 = part.version;
        }
        part.epochs.retain(|(_, begins)| *begins < at);
        part.end = at;
        part.epoch += 1;
        part.version += 1;
        part.cuts.push(at);
        part.cut_epochs.push(part.epoch);
        gone
    }

    pub(crate) fn retain_from(&mut self, partition: usize, offset: i64) {
        let part = &mut self.now_mut().parts[partition];
        part.start = offset.clamp(part.start, part.end);
    }

    pub(crate) fn by_time(&self, time: &str) -> Option<usize> {
        self.by_time.get(time).copied()
    }

    /// What a history thread answers.
    pub(crate) fn history(&self, request: HistoryRequest, records: usize) -> HistoryOutcome {
        let HistoryRequest { partition, from } = request;
        let part = usize::try_from(partition.0).ok().and_then(|p| self.now().parts.get(p));
        let Some(part) = part else { return HistoryOutcome::Unavailable };
        let gap = |next, reason| HistoryOutcome::Gap { next: NextOffset(next), reason };
        if let Some(end) = part.contradiction(from) {
            return gap(end.max(part.start), GapReason::Truncated);
        }
        if from.next.0 < part.start {
            return gap(part.start, GapReason::Retention);
        }
        let mut builder = SegmentBuilder::new(partition, from.next);
        let mut to = from;
        for (_, number) in part.now.range(from.next.0..).take(records) {
            let rec = &self.records[*number];
            builder.push(&rec.lend(&rec.bytes()));
            to = Position { next: Offset(rec.offset).next(), epoch: LeaderEpoch(rec.epoch) };
        }
        if part.now.range(to.next.0..).next().is_none() {
            to.next = NextOffset(part.end.max(to.next.0));
        }
        HistoryOutcome::Segment(std::sync::Arc::new(builder.finish(to)))
    }
}
