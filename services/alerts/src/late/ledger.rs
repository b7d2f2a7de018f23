//! Which changes are done: of each partition everything before a place, but for what late tenants are owed.
//!
//! The group's position of a partition is the first change that is not done. What else is done behind it
//! goes along as the [note](tidewire_log::Mark) of that position, in the same transaction, so that whoever
//! reads the partition next runs no script over it again: up to where it was read, and from which of its
//! changes on each late tenant waits.
//!
//! Invariants: a change is passed over only if the note in force says that it is done; a tenant is owed
//! everything from its first change that is not done; the position committed lies behind none of those.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use tidewire_event::{
    LeaderEpoch, NextOffset, Offset, Partition, Position, Tenant, percent_decode, percent_encode,
};
use tidewire_log::{LogRecord, Mark, NOTE_BYTES_MAX};

/// The most that two numbers and what stands between them take in a note.
const ENTRY_BYTES: usize = 40;

#[derive(Debug, Default)]
pub(super) struct Ledger {
    partitions: BTreeMap<Partition, Here>,
}

/// One partition.
#[derive(Debug)]
struct Here {
    /// Everything before is done, but for what tenants are owed.
    through: Position,
    /// How far it was read this time; less than `through` while what others have read is read again.
    read: NextOffset,
    owed: BTreeMap<Tenant, Debt>,
    /// Whether the group's position lies before `through`.
    is_behind: bool,
}

/// What a tenant is owed: the places of its changes, each with the leader epoch of its record.
#[derive(Debug, Default)]
struct Debt {
    waiting: VecDeque<Position>,
    /// Everything from there on that is not read yet this time.
    unread: Option<Position>,
}

impl Debt {
    fn first(&self) -> Option<Position> {
        self.waiting.front().copied().or(self.unread)
    }
}

impl Ledger {
    /// The partition is read from there on, where such a note was committed.
    ///
    /// # Errors
    /// The note is none of ours. Then nothing behind the position counts as done.
    pub(super) fn begin(
        &mut self,
        partition: Partition,
        next: NextOffset,
        note: &str,
    ) -> Result<(), String> {
        let start = Here {
            through: Position::at(next),
            read: next,
            owed: BTreeMap::new(),
            is_behind: false,
        };
        let (here, result) = match parse(note) {
            _ if note.is_empty() => (start, Ok(())),
            None => (start, Err(format!("the note of the position is not understood: {note:?}"))),
            Some((through, owed)) => (Here { through, owed, is_behind: true, ..start }, Ok(())),
        };
        self.partitions.insert(partition, here);
        result
    }

    pub(super) fn forget(&mut self, partition: Partition) {
        self.partitions.remove(&partition);
    }

    /// True if the log was cut before the place up to which everything is done, and another leader wrote
    /// this record there: from here on nothing is done.
    pub(super) fn is_cut(&mut self, record: &LogRecord<'_>) -> bool {
        let Some(here) = self.partitions.get_mut(&record.partition) else { return false };
        let (offset, epoch) = (record.offset.0, record.leader_epoch);
        let is_known = here.through.epoch != LeaderEpoch::UNKNOWN;
        if !is_known || offset >= here.through.next.0 || epoch <= here.through.epoch {
            return false;
        }
        here.through = Position { next: NextOffset(offset), epoch };
        true
    }

    /// Whether a change is not done.
    pub(super) fn is_owed(&self, partition: Partition, offset: Offset, tenant: &str) -> bool {
        let Some(here) = self.partitions.get(&partition) else { return true };
        let from = here.owed.get(tenant).and_then(|debt| debt.unread);
        offset.0 >= here.through.next.0 || from.is_some_and(|from| offset.0 >= from.next.0)
    }

    /// Whether changes of the tenant wait.
    pub(super) fn waits(&self, partition: Partition, tenant: &str) -> bool {
        let debt = self.partitions.get(&partition).and_then(|here| here.owed.get(tenant));
        debt.is_some_and(|debt| !debt.waiting.is_empty())
    }

    /// A change that was read is to wait, behind those of its tenant that do. False: of another tenant
    /// the note has no room to tell.
    pub(super) fn put(&mut self, partition: Partition, tenant: &Tenant, at: Position) -> bool {
        let Some(here) = self.partitions.get_mut(&partition) else { return false };
        if !here.owed.contains_key(tenant.as_str())
            && note(here).len() + percent_encode(tenant.as_str()).len() + ENTRY_BYTES
                > NOTE_BYTES_MAX
        {
            return false;
        }
        here.owed.entry(tenant.clone()).or_default().waiting.push_back(at);
        true
    }

    /// The first change of a tenant that waited is done.
    pub(super) fn done(&mut self, partition: Partition, tenant: &Tenant) {
        let Some(here) = self.partitions.get_mut(&partition) else { return };
        if let Some(debt) = here.owed.get_mut(tenant.as_str()) {
            debt.waiting.pop_front();
            if debt.first().is_none() {
                here.owed.remove(tenant.as_str());
            }
        }
    }

    /// Everything up to there is read, and done or put.
    pub(super) fn advance(&mut self, partition: Partition, to: Position) {
        let Some(here) = self.partitions.get_mut(&partition) else { return };
        here.read = to.next;
        let is_new = to.next >= here.through.next;
        if is_new {
            here.through = to;
        }
        here.owed.retain(|_, debt| {
            debt.unread = match debt.unread {
                Some(_) if is_new => None,
                Some(from) if from.next < to.next => Some(to),
                unread => unread,
            };
            debt.first().is_some()
        });
    }

    /// Where the group is to be moved to instead of where the stage has read to.
    pub(super) fn marks(&mut self) -> Vec<Mark> {
        let mark = |(partition, here): (&Partition, &mut Here)| {
            let was_behind = here.is_behind;
            here.is_behind = !here.owed.is_empty();
            let is_needed = here.is_behind || was_behind || here.read < here.through.next;
            let first = here.owed.values().filter_map(Debt::first).min_by_key(|at| at.next);
            let (partition, at) = (*partition, first.unwrap_or(here.through));
            is_needed.then(|| Mark { partition, at, note: note(here) })
        };
        self.partitions.iter_mut().filter_map(mark).collect()
    }

    /// The first offset that may be handed out again.
    pub(super) fn first(&self, partition: Partition) -> Option<NextOffset> {
        let here = self.partitions.get(&partition)?;
        here.owed.values().filter_map(Debt::first).map(|at| at.next).min()
    }

    /// How many tenants wait, once for each partition, and how many of their changes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let debts = self.partitions.values().flat_map(|here| here.owed.values());
        let waiting = debts.map(|debt| debt.waiting.len()).filter(|waiting| *waiting > 0);
        waiting.fold((0, 0), |(tenants, changes), waiting| (tenants + 1, changes + waiting))
    }
}

/// `offset:epoch`, and for each tenant that is owed something `tenant@offset:epoch`, with blanks between
/// them; nothing where none is.
fn note(here: &Here) -> String {
    let mut text = String::new();
    let owed = here.owed.iter().filter_map(|(tenant, debt)| Some((tenant, debt.first()?)));
    for (tenant, at) in owed {
        if text.is_empty() {
            let Position { next, epoch } = here.through;
            // Writing to a text does not fail, here and below.
            let _ = write!(text, "{}:{}", next.0, epoch.0);
        }
        let tenant = percent_encode(tenant.as_str());
        let _ = write!(text, " {tenant}@{}:{}", at.next.0, at.epoch.0);
    }
    text
}

/// `None`: it is not such a note.
fn parse(note: &str) -> Option<(Position, BTreeMap<Tenant, Debt>)> {
    let position = |text: &str| {
        let (next, epoch) = text.split_once(':')?;
        let (next, epoch) = (NextOffset(next.parse().ok()?), LeaderEpoch(epoch.parse().ok()?));
        Some(Position { next, epoch })
    };
    let mut parts = note.split(' ');
    let through = position(parts.next()?)?;
    let owed = parts.map(|part| {
        let (tenant, at) = part.split_once('@')?;
        let debt = Debt { unread: Some(position(at)?), ..Debt::default() };
        Some((Tenant::new(&percent_decode(tenant).ok()?).ok()?, debt))
    });
    Some((through, owed.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests;
