//! What one subscription was owed against what its client has received, frame by frame.
//!
//! For each partition the judge knows how far the subscription has come; the next event must be the next
//! record that it wants. So nothing is lost, nothing comes twice on one connection, and the order holds.
//! A cursor may claim no more than that. A gap makes the judge forget how far it had come, until an event
//! or a cursor says so again. Merged frames may pass records over if what they say is the sum of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidewire_event::{LeaderEpoch, ObjectKey, Operation, Position, Positions};
use tidewire_wire::definition::Definition;

use crate::log::{Log, Part, Rec};

pub(crate) type Verdict = Result<(), String>;

/// How far a partition has come: the next offset, and in which version of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) next: i64,
    pub(crate) version: usize,
    /// It comes from a position without an epoch: nobody can tell that the log was cut below it.
    pub(crate) is_vague: bool,
}

impl Mark {
    const fn at(next: i64, version: usize) -> Self {
        Self { next, version, is_vague: false }
    }

    pub(crate) const fn of(position: Position, version: usize) -> Self {
        let is_vague = position.epoch.0 == LeaderEpoch::UNKNOWN.0;
        Self { next: position.next.0, version, is_vague }
    }
}

/// Where a subscription stands in all partitions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) life: usize,
    pub(crate) marks: BTreeMap<i32, Mark>,
    /// True behind a gap: of partitions that are not named nothing is known. Else they are at 0.
    pub(crate) loose: bool,
}

/// What a subscription may see.
#[derive(Clone, Debug)]
pub(crate) struct Wants {
    pub(crate) definition: std::sync::Arc<Definition>,
    pub(crate) hidden: bool,
}

impl Wants {
    pub(crate) fn takes(&self, rec: &Rec) -> bool {
        let definition = &self.definition;
        definition.tenant.as_str() == rec.tenant
            && definition.types.matches(rec.object_type)
            && definition.keys.matches(&ObjectKey::Integer(rec.key))
            && definition.events.contains(rec.operation)
            && !(self.hidden && rec.object_type == "Cargo")
    }
}

#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) wants: Wants,
    pub(crate) conflates: bool,
    pub(crate) place: Place,
    /// How far it had come on connections before: a position that was kept may be later than the one that
    /// the last connection began with.
    reached: BTreeMap<i32, Mark>,
    /// A connection before went on from a gap: what its client proved then is not known here, and a store
    /// that fails over may bring it back.
    is_vague: bool,
    /// It was sent what is not in the log any more: a gap has to follow.
    awaits_gap: bool,
    /// Whether its field list was ever changed; else an event that comes again has the same bytes.
    pub(crate) mask_changed: bool,
    bytes: HashMap<usize, Vec<u8>>,
    /// Behind a gap, until a cursor has come: what a merged frame is the sum of may lie before the gap.
    is_unsure: bool,
    /// Of each object, records that were passed over: merged into a later one.
    merged: BTreeMap<(String, u64), Vec<usize>>,
    /// The objects of the snapshot that is coming in.
    pub(crate) snapshot: BTreeSet<usize>,
    pub(crate) events: u64,
    pub(crate) repeats: u64,
    pub(crate) gaps: u64,
    seen: BTreeSet<usize>,
}

impl Place {
    fn mark(&self, partition: i32) -> Option<Mark> {
        let known = self.marks.get(&partition).copied();
        known.or((!self.loose).then_some(Mark::at(0, 0)))
    }

    pub(crate) fn unknown() -> Self {
        Self { loose: true, ..Self::default() }
    }
}

impl Judge {
    pub(crate) fn new(wants: Wants, conflates: bool) -> Self {
        Self {
            wants,
            conflates,
            place: Place::unknown(),
            reached: BTreeMap::new(),
            is_vague: false,
            awaits_gap: false,
            mask_changed: false,
            bytes: HashMap::new(),
            is_unsure: false,
            merged: BTreeMap::new(),
            snapshot: BTreeSet::new(),
            events: 0,
            repeats: 0,
            gaps: 0,
            seen: BTreeSet::new(),
        }
    }

    /// A connection starts at a place that was told from inside: what is before it is not owed.
    pub(crate) fn start(&mut self, place: Place) {
        self.place = place;
        self.is_vague = false;
        self.is_unsure = false;
        self.awaits_gap = false;
        self.reached.clear();
        self.merged.clear();
        self.snapshot.clear();
    }

    /// A session was said to start at a place: what is before it is not owed any more. What was proven on
    /// connections before still is, and a store that fails over may bring it back.
    pub(crate) fn start_session(&mut self, log: &Log, place: Place) {
        let life = &log.lives[place.life];
        let is_vague = self.is_vague || self.place.loose && self.is_unsure;
        let mut reached = std::mem::take(&mut self.reached);
        let before = std::mem::replace(&mut self.place, Place::unknown());
        if before.life == place.life {
            life.extend(&mut reached, before.marks);
        } else {
            reached.clear();
        }
        life.extend(&mut reached, place.marks.clone());
        self.start(place);
        (self.reached, self.is_vague) = (reached, is_vague);
    }

    /// The same at a position from the store.
    pub(crate) fn start_session_at(&mut self, log: &Log, positions: &Positions) {
        let Some(life) = log.life_of(positions.topic()) else { return self.forget() };
        if positions.iter().any(|place| log.lives[life].contradicts(place)) {
            self.forget();
            self.awaits_gap = true;
            return;
        }
        let marks = log.lives[life].marks(positions);
        self.start_session(log, Place { life, marks, loose: false });
    }

    /// What of a stretch is wanted and was not received, in a version of the partition.
    fn owed(&self, log: &Log, part: &Part, version: usize, from: i64, to: i64) -> Vec<usize> {
        if from >= to {
            return Vec::new();
        }
        let stands = |number: &usize| {
            let rec = &log.records[*number];
            let (first, last) = rec.versions;
            first <= version && version <= last && !rec.is_repeat && self.wants.takes(rec)
        };
        part.all.range((from, 0)..(to, 0)).map(|((_, number), ())| *number).filter(stands).collect()
    }

    /// The subscription has come from a mark to an offset, and nothing lies between that it wants; in
    /// one of these versions. Else what lies there, which may have been merged.
    fn pass(
        &self,
        log: &Log,
        part: &Part,
        mark: Mark,
        to: i64,
        may_be: impl Fn(usize) -> bool,
    ) -> Result<usize, Option<(usize, Vec<usize>)>> {
        let mut found = None;
        for version in part.versions(mark).filter(|version| may_be(*version)) {
            let owed = self.owed(log, part, version, mark.next, to);
            if owed.is_empty() {
                return Ok(version);
            }
            // Of versions in which the same was owed the earliest may become any of them still.
            found.get_or_insert((version, owed));
        }
        Err(found)
    }

    pub(crate) fn event(
        &mut self,
        log: &Log,
        number: usize,
        operation: &str,
        bytes: &[u8],
    ) -> Verdict {
        let rec = &log.records[number];
        self.events += 1;
        self.repeats += u64::from(!self.seen.insert(number));
        if !self.wants.takes(rec) {
            return Err(format!("an event that it may not see or does not want: {rec:?}"));
        }
        if !self.conflates && !self.mask_changed {
            let known = self.bytes.entry(number).or_insert_with(|| bytes.to_vec());
            if known != bytes {
                return Err(format!("a repeat of {rec:?} with other bytes"));
            }
        }
        if self.awaits_gap {
            return Ok(());
        }
        if rec.life != self.place.life {
            if !self.place.loose || !self.place.marks.is_empty() {
                return Err(format!("an event of another life of the topic, and no gap: {rec:?}"));
            }
            self.place.life = rec.life;
        }
        let part = &log.lives[rec.life].parts[usize::try_from(rec.partition).unwrap()];
        let version = match self.place.mark(rec.partition) {
            None => rec.versions.0,
            // Its replica does not know yet that this was cut off. It will, and has to say so.
            Some(mark) if rec.versions.1 < mark.version => {
                self.awaits_gap = true;
                return Ok(());
            }
            Some(mark) if rec.offset < mark.next => {
                return Err(format!("again, or out of order: {rec:?} at {mark:?}"));
            }
            Some(mark) => {
                let may_be = |v: usize| rec.versions.0 <= v && v <= rec.versions.1;
                match self.pass(log, part, mark, rec.offset, may_be) {
                    Ok(version) => version,
                    Err(Some((version, owed))) if self.conflates => {
                        self.merge(log, &owed);
                        version
                    }
                    Err(None) if mark.is_vague => rec.versions.0,
                    Err(found) => {
                        return Err(format!(
                            "{rec:?} at {mark:?}, and lost is {:?}",
                            found.map(|(_, owed)| owed
                                .iter()
                                .map(|n| log.records[*n].clone())
                                .collect::<Vec<_>>())
                        ));
                    }
                }
            }
        };
        let next = rec.offset + 1;
        self.place.marks.insert(rec.partition, Mark::at(next, version));
        if self.conflates && self.is_unsure {
            return Ok(());
        }
        let object = (rec.object_type.to_owned(), rec.key);
        let merged = self.merged.remove(&object).unwrap_or_default();
        let operations = merged.iter().map(|n| log.records[*n].operation).chain([rec.operation]);
        let sum = sum(operations).map_err(|error| {
            let merged: Vec<&Rec> = merged.iter().map(|n| &log.records[*n]).collect();
            format!("{error}: {merged:?} and {rec:?}")
        })?;
        if sum.map(Operation::as_str) != Some(operation) {
            return Err(format!("{rec:?} came as {operation}, {sum:?} is the sum of {merged:?}"));
        }
        Ok(())
    }

    fn merge(&mut self, log: &Log, owed: &[usize]) {
        for number in owed {
            let rec = &log.records[*number];
            self.merged.entry((rec.object_type.to_owned(), rec.key)).or_default().push(*number);
        }
    }

    /// Everything before these positions is said to have been sent.
    pub(crate) fn cursor(&mut self, log: &Log, positions: &Positions) -> Verdict {
        if self.awaits_gap {
            return Ok(());
        }
        let Some(life) = log.life_of(positions.topic()) else {
            return if self.place.loose { Ok(()) } else { Err("a cursor of no topic".into()) };
        };
        if life != self.place.life {
            if !self.place.loose || !self.place.marks.is_empty() {
                return Err("a cursor of another life of the topic, and no gap".into());
            }
            self.place.life = life;
        }
        for (partition, position) in positions.iter() {
            let part = &log.lives[life].parts[usize::try_from(partition.0).unwrap()];
            let next = position.next.0;
            let first = part.version_of(position);
            let Some(mark) = self.place.mark(partition.0) else {
                let mark = Mark::of(position, first);
                self.place.marks.insert(partition.0, mark);
                continue;
            };
            if next < mark.next {
                continue;
            }
            // Without an epoch it may be of any version.
            let is_vague = position.epoch == LeaderEpoch::UNKNOWN;
            let stands = |version| part.versions(Mark::of(position, first)).any(|v| v == version);
            let may_be = |version: usize| is_vague || stands(version);
            let version = match self.pass(log, part, mark, next, may_be) {
                Ok(version) => version,
                Err(Some((version, owed))) if self.conflates => {
                    self.merge(log, &owed);
                    version
                }
                Err(None) if mark.is_vague || is_vague => first,
                // Its replica does not know yet that this was cut off. It will, and has to say so.
                Err(_) if part.versions(Mark::of(position, first)).all(|v| v < mark.version) => {
                    self.awaits_gap = true;
                    return Ok(());
                }
                Err(found) => {
                    return Err(format!(
                        "a cursor at {partition}-{next} of epoch {} covers what was not sent, at {mark:?}, cut at {:?}: {:?}",
                        position.epoch.0,
                        part.cuts,
                        found.map(|(_, owed)| owed
                            .iter()
                            .map(|n| log.records[*n].clone())
                            .collect::<Vec<_>>())
                    ));
                }
            };
            self.place.marks.insert(partition.0, Mark::of(position, version));
        }
        let is_unsure = std::mem::take(&mut self.is_unsure);
        for (object, merged) in std::mem::take(&mut self.merged) {
            if is_unsure {
                break;
            }
            if let Some(left) = sum(merged.iter().map(|n| log.records[*n].operation))? {
                return Err(format!("a cursor covers {object:?}, whose {left} never came"));
            }
        }
        self.place.loose = false;
        Ok(())
    }

    /// A connection goes on from a position that was kept: it may not claim too much either; what lies
    /// behind it may come again.
    pub(crate) fn resume(&mut self, log: &Log, positions: &Positions) -> Verdict {
        self.awaits_gap = false;
        // Frames of the connection before may have been merged, and are sent anew.
        self.merged.clear();
        let life = log.life_of(positions.topic());
        if life.is_some_and(|life| life < self.place.life) {
            // Of before a gap that it was told meanwhile: it will be told again.
            self.place = Place { life: life.unwrap(), ..Place::unknown() };
            self.reached.clear();
        }
        let marks = std::mem::take(&mut self.place.marks);
        log.lives[self.place.life].extend(&mut self.reached, marks);
        self.is_vague |= self.place.loose;
        if self.is_vague {
            self.place.loose = true;
        } else {
            self.place.marks.clone_from(&self.reached);
        }
        if life.is_some_and(|life| positions.iter().any(|at| log.lives[life].contradicts(at))) {
            // The log was cut below it. Its replica may not know yet; then it will, and has to say so.
            self.forget();
            self.awaits_gap = true;
            return Ok(());
        }
        self.cursor(log, positions)?;
        self.snapshot.clear();
        self.place.marks = log.lives[self.place.life].marks(positions);
        Ok(())
    }

    /// A gap was declared; `is_loss`: changes may be missing, and not only for want of rights.
    pub(crate) fn gap(&mut self, is_loss: bool) {
        self.gaps += u64::from(is_loss);
        self.forget();
    }

    /// Nothing is known any more of how far it has come.
    pub(crate) fn forget(&mut self) {
        self.awaits_gap = false;
        self.is_unsure = true;
        self.place = Place { life: self.place.life, ..Place::unknown() };
        self.reached.clear();
        self.merged.clear();
        self.snapshot.clear();
    }

    /// All is calm: nothing that stands in the log may be missing.
    pub(crate) fn finish(&mut self, log: &Log) -> Verdict {
        if self.awaits_gap {
            return Err("what was cut off was sent, and no gap followed".into());
        }
        let life = log.lives.len() - 1;
        if self.place.life != life {
            let nothing = log.lives[life].parts.iter().all(|part| part.end == 0);
            return if nothing || self.place.loose {
                Ok(())
            } else {
                Err("it was never told that the topic was created anew".into())
            };
        }
        for (partition, part) in (0..).zip(&log.lives[life].parts) {
            let Some(mark) = self.place.mark(partition) else { continue };
            if mark.next > part.end && part.cuts.iter().all(|cut| *cut >= mark.next) {
                return Err(format!("{partition}: {mark:?} is behind the end"));
            }
            match self.pass(log, part, mark, part.end, |version| version == part.version) {
                Ok(_) => {}
                Err(None) if mark.is_vague => {}
                Err(Some((_, owed))) if self.conflates => self.merge(log, &owed),
                Err(found) => {
                    return Err(format!(
                        "at the end {partition} is at {mark:?} of {}, version {} {:?}, and lost is {:?}",
                        part.end,
                        part.version,
                        part.cuts,
                        found.map(|(_, owed)| owed
                            .iter()
                            .map(|n| log.records[*n].clone())
                            .collect::<Vec<_>>())
                    ));
                }
            }
        }
        for (object, merged) in &self.merged {
            if self.is_unsure {
                break;
            }
            if let Some(left) = sum(merged.iter().map(|n| log.records[*n].operation))? {
                return Err(format!("the {left} of {object:?} never came"));
            }
        }
        Ok(())
    }
}

/// What changes of one object come to, one behind the other.
fn sum(operations: impl IntoIterator<Item = Operation>) -> Result<Option<Operation>, String> {
    use Operation::{Create, Delete, Update};
    let mut sum = None;
    for operation in operations {
        sum = match (sum, operation) {
            (None, operation) => Some(operation),
            (Some(Create), Update) => Some(Create),
            (Some(Create), Delete) => None,
            (Some(Update), Update) => Some(Update),
            (Some(Update), Delete) => Some(Delete),
            (Some(older), newer) => return Err(format!("{older} and {newer} were merged")),
        };
    }
    Ok(sum)
}
