//! A replica: the real router and shard cores, a reader of the simulated log, and what a gateway does
//! around them, without threads.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;
use tidewire_event::{LeaderEpoch, NextOffset, Partition, Position, TopicId};
use tidewire_log::{GapReason, HistoryRequest, LogEvent};
use tidewire_model::Model;
use tidewire_router::{
    ConnectionId, Fold, FoldTooLarge, HistoryOutcome, HistoryReply, Notice, Now, Proof, Router,
    ShardCore, ShardItem, ShardSettings, Sink, Snapshot, SnapshotId, Want, Window, Written,
};
use tidewire_store::SessionBook;
use tidewire_wire::definition::Definition;

use crate::link::Links;
use crate::log::Log;

pub(crate) const SHARDS: u16 = 2;
const FOLD_MAX: FoldTooLarge = FoldTooLarge { objects_max: 100_000, bytes_max: 1 << 30 };

/// Where the reader stands in a partition.
#[derive(Clone, Copy, Debug)]
struct At {
    position: Position,
    version: usize,
}

/// Mirrors what `tidewire-kafka` does: numbers at the start, new partitions from 0, the topic's id.
#[derive(Debug, Default)]
struct Reader {
    life: usize,
    at: BTreeMap<i32, At>,
    told: BTreeMap<i32, i64>,
}

#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) core: ShardCore,
    inbox: VecDeque<ShardItem>,
    /// The link of each slot.
    pub(crate) slots: HashMap<usize, usize>,
}

#[derive(Debug)]
struct Asked {
    shard: usize,
    topic: TopicId,
    request: HistoryRequest,
}

#[derive(Debug)]
struct Wanted {
    shard: usize,
    id: ConnectionId,
    number: SnapshotId,
    definition: Arc<Definition>,
}

/// What the world has to act upon.
#[derive(Debug)]
pub(crate) enum News {
    Notice(usize, Notice),
    Proof(Proof),
    Fed(ConnectionId, Arc<Definition>, Snapshot),
}

#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) router: Router,
    pub(crate) shards: Vec<Shard>,
    reader: Reader,
    asked: VecDeque<Asked>,
    wanted: VecDeque<Wanted>,
    pub(crate) book: SessionBook,
    pub(crate) keeper_at: u64,
    pub(crate) wakes_at: u64,
    pub(crate) bound: usize,
    model: Arc<Model>,
}

struct Wire<'a>(&'a mut Links, &'a HashMap<usize, usize>);

impl Sink for Wire<'_> {
    fn write(&mut self, slot: usize, bytes: &[u8]) -> Written {
        self.0.write(self.1[&slot], bytes)
    }
}

impl Replica {
    pub(crate) fn new(settings: &ShardSettings, window_bytes: usize, log: &Log, back: i64) -> Self {
        let window = Arc::new(Window::new(window_bytes));
        let settings = ShardSettings { window: Arc::clone(&window), ..settings.clone() };
        let shard = |_| Shard {
            core: ShardCore::new(settings.clone()),
            inbox: VecDeque::new(),
            slots: HashMap::new(),
        };
        let mut replica = Self {
            router: Router::new(Arc::clone(&settings.model), SHARDS, window),
            shards: (0..SHARDS).map(shard).collect(),
            reader: Reader::default(),
            asked: VecDeque::new(),
            wanted: VecDeque::new(),
            book: SessionBook::new(),
            keeper_at: 0,
            wakes_at: 0,
            bound: settings.limits.queue_bytes_max,
            model: Arc::clone(&settings.model),
        };
        replica.begin(log, Some(back));
        // It is ready once it has read what was there at its start.
        while replica.read(log, 1_000) > 0 {}
        replica
    }

    /// Assigns what there is; `back`: so many records before the end, else from the beginning.
    fn begin(&mut self, log: &Log, back: Option<i64>) {
        let life = log.now();
        self.reader = Reader { life: log.lives.len() - 1, ..Reader::default() };
        self.router.handle(&LogEvent::Topic(&life.topic));
        for (partition, part) in (0..).zip(&life.parts) {
            let next = back.map_or(0, |back| (part.end - back).max(part.start));
            self.assign(partition, next, part.version);
        }
    }

    fn assign(&mut self, partition: i32, next: i64, version: usize) {
        let at = At { position: Position::at(NextOffset(next)), version };
        self.reader.at.insert(partition, at);
        let next = NextOffset(next);
        self.router.handle(&LogEvent::Assigned { partition: Partition(partition), next });
    }

    /// Which version of a partition is read.
    pub(crate) fn version(&self, partition: i32) -> usize {
        self.reader.at.get(&partition).map_or(0, |at| at.version)
    }

    pub(crate) fn knows_epoch(&self, partition: usize) -> bool {
        let at = i32::try_from(partition).ok().and_then(|number| self.reader.at.get(&number));
        at.is_some_and(|at| at.position.epoch != LeaderEpoch::UNKNOWN)
    }

    pub(crate) const fn life(&self) -> usize {
        self.reader.life
    }

    /// Looks at the topic's id and its partitions.
    fn look(&mut self, log: &Log) {
        if self.reader.life + 1 != log.lives.len() {
            self.router.handle(&LogEvent::Recreated);
            self.begin(log, None);
            return;
        }
        for partition in self.reader.at.len()..log.now().parts.len() {
            self.assign(i32::try_from(partition).unwrap(), 0, 0);
        }
    }

    /// Reads so many records at most; how many there were.
    fn read(&mut self, log: &Log, records: usize) -> usize {
        if self.reader.life + 1 != log.lives.len() {
            return 0;
        }
        let mut read = 0;
        for (number, part) in (0..).zip(&log.now().parts) {
            let Some(at) = self.reader.at.get_mut(&number) else { continue };
            let partition = Partition(number);
            let mut gap =
                (at.position.next.0 < part.start).then_some((part.start, GapReason::Retention));
            if at.version != part.version {
                at.version = part.version;
                let end = part.contradiction(at.position);
                gap = end.map(|end| (end.max(part.start), GapReason::Truncated)).or(gap);
            }
            if let Some((next, reason)) = gap {
                at.position = Position::at(NextOffset(next));
                let next = NextOffset(next);
                self.router.handle(&LogEvent::Gap { partition, next, reason });
                continue;
            }
            while read < records
                && let Some((_, found)) = part.at_or_behind(at.position.next.0)
            {
                let rec = &log.records[found];
                let bytes = rec.bytes();
                let record = rec.lend(&bytes);
                let epoch = record.leader_epoch;
                at.position = Position { next: record.offset.next(), epoch };
                self.router.handle(&LogEvent::Record(record));
                read += 1;
            }
            let through = part.at_or_behind(at.position.next.0).is_none();
            if through && self.reader.told.get(&number) != Some(&part.end) {
                self.reader.told.insert(number, part.end);
                at.position.next = NextOffset(part.end.max(at.position.next.0));
                let next = at.position.next;
                self.router.handle(&LogEvent::EndOfPartition { partition, next });
            }
        }
        read
    }

    /// One turn of its threads. `calm`: nothing is put off.
    pub(crate) fn turn(
        &mut self,
        log: &Log,
        links: &mut Links,
        random: &mut StdRng,
        now: Now,
        calm: bool,
    ) -> Vec<News> {
        let mut news = Vec::new();
        if calm || random.random_range(0..8) == 0 {
            self.look(log);
        }
        let records = if calm { 1_000 } else { random.random_range(0..20) };
        self.read(log, records);
        if calm || random.random_range(0..3) == 0 {
            self.router.tick();
        }
        for (index, shard) in (0..).zip(&mut self.shards) {
            shard.inbox.extend(self.router.take_batch(index));
        }
        self.answer(log, random, now, calm, &mut news);
        for index in 0..self.shards.len() {
            // Threads run by themselves: one may be behind.
            if calm || random.random_range(0..4) > 0 {
                let items = if calm { usize::MAX } else { random.random_range(0..30) };
                self.turn_shard(index, items, links, random, now, &mut news);
            }
        }
        news
    }

    fn turn_shard(
        &mut self,
        index: usize,
        items: usize,
        links: &mut Links,
        random: &mut StdRng,
        now: Now,
        news: &mut Vec<News>,
    ) {
        let Shard { core, inbox, slots } = &mut self.shards[index];
        for item in inbox.drain(..items.min(inbox.len())) {
            core.apply(item, now);
        }
        core.replay(now);
        core.settle(now);
        for want in core.take_wants() {
            match want {
                Want::History { topic, request } => {
                    self.asked.push_back(Asked { shard: index, topic, request });
                }
                Want::Snapshot { id, snapshot: number, definition } => {
                    self.wanted.push_back(Wanted { shard: index, id, number, definition });
                }
            }
        }
        news.extend(core.take_proofs().into_iter().map(News::Proof));
        let writes = random.random_range(1..60);
        core.flush(writes, &mut Wire(links, slots));
        news.extend(core.take_notices().into_iter().map(|notice| News::Notice(index, notice)));
        for detached in core.take_detached() {
            self.router.detach(u16::try_from(index).unwrap(), &detached.definition);
        }
    }

    /// Answers what the shards have asked for: history, snapshots.
    fn answer(
        &mut self,
        log: &Log,
        random: &mut StdRng,
        now: Now,
        calm: bool,
        news: &mut Vec<News>,
    ) {
        for _ in 0..self.asked.len() {
            if !calm && random.random_range(0..3) == 0 {
                break;
            }
            let Some(Asked { shard, topic, request }) = self.asked.pop_front() else { break };
            let away = !calm && random.random_range(0..10) == 0;
            let outcome = if away || log.now().topic != topic {
                HistoryOutcome::Unavailable
            } else {
                log.history(request, random.random_range(1..60))
            };
            self.shards[shard].core.history(&HistoryReply { topic, request, outcome }, now);
        }
        for _ in 0..self.wanted.len() {
            if !calm && random.random_range(0..3) == 0 {
                break;
            }
            let Some(wanted) = self.wanted.pop_front() else { break };
            let snapshot = self.fold(log, &wanted.definition);
            let core = &mut self.shards[wanted.shard].core;
            if core.snapshot(wanted.id, wanted.number, Ok(snapshot.clone()), now) {
                news.push(News::Fed(wanted.id, wanted.definition, snapshot));
            }
        }
    }

    /// The objects as they stood where the router stands.
    fn fold(&mut self, log: &Log, definition: &Definition) -> Snapshot {
        let positions = self.router.share();
        let mut fold = Fold::new(Arc::clone(&self.model), definition, FOLD_MAX);
        if let Some(life) = log.life_of(positions.topic()) {
            for (partition, end) in positions.iter() {
                let part = &log.lives[life].parts[usize::try_from(partition.0).unwrap()];
                let mut at = part.start;
                while let Some((offset, number)) = part.at_or_behind(at)
                    && offset < end.next.0
                {
                    let rec = &log.records[number];
                    fold.take(&rec.lend(&rec.bytes())).unwrap();
                    at = offset + 1;
                }
            }
        }
        Snapshot { objects: fold.finish(), positions, complete: false }
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.core.stats().queued_bytes).sum()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shards.iter().map(|shard| shard.core.stats().connections).sum()
    }

    pub(crate) fn readers(&self) -> usize {
        self.shards.iter().map(|shard| shard.core.stats().readers).sum()
    }

    /// Those who have not caught up, and where the shards stand.
    pub(crate) fn describe_readers(&self) -> String {
        let mut text = String::new();
        for shard in &self.shards {
            let core = format!("{:#?}", shard.core);
            let core = core.split_whitespace().collect::<Vec<_>>().join(" ");
            for reader in core.split("Some(Reader {").skip(1) {
                text.extend(reader.chars().take(900));
                text += "\n";
            }
            let far = core.rsplit("pass: {").next().unwrap_or_default();
            text.extend(far.chars().take(300));
        }
        text
    }

    /// Whether everything that was asked is answered and everything is applied.
    pub(crate) fn is_idle(&self) -> bool {
        self.asked.is_empty() && self.shards.iter().all(|shard| shard.inbox.is_empty())
    }

    /// Wire and core of a shard, for what an owner sends by itself.
    pub(crate) fn send(&mut self, shard: usize, slot: usize, frame: &[u8], links: &mut Links) {
        let Shard { core, slots, .. } = &mut self.shards[shard];
        core.send(slot, frame, &mut Wire(links, slots));
    }
}
