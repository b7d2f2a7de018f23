//! Tenants whose scripts take long wait by themselves: nobody else's alerts wait for them.
//!
//! A change whose scripts have not all ended within a short time is *late*, and so is everything of its
//! tenant in its partition behind it, until that is done: then the tenant is back in step. What is late is
//! evaluated apart ([`lane`]), and the [`ledger`] keeps which changes are done, so that the group's position
//! can say so. See `docs/adr/0017-late-tenants-wait-alone.md`.

mod lane;
mod ledger;

use std::sync::Arc;
use std::time::Duration;

use tidewire_event::{NextOffset, Partition, Position};
use tidewire_log::{LogRecord, Mark};
use tokio::runtime::Handle;

use self::lane::Lane;
use self::ledger::Ledger;
use crate::change::Change;
use crate::evaluate::{Evaluated, Evaluator};

/// While so many bytes of changes wait, no further batch is read: then everybody waits.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// And while so many do.
const CHANGES_MAX: usize = 20_000;

pub(crate) struct Late {
    ledger: Ledger,
    lane: Lane,
    /// Done, and not committed yet.
    done: Vec<Evaluated>,
}

impl Late {
    pub(crate) fn new(evaluator: Arc<Evaluator>, runtime: Handle) -> Self {
        Self { ledger: Ledger::default(), lane: Lane::new(evaluator, runtime), done: Vec::new() }
    }

    /// The partition is read from there on, where such a note was committed. What was read of it before, and
    /// is not committed, is read again.
    ///
    /// # Errors
    /// The note is none of ours.
    pub(crate) fn begin(
        &mut self,
        partition: Partition,
        next: NextOffset,
        note: &str,
    ) -> Result<(), String> {
        self.forget(partition);
        self.ledger.begin(partition, next, note)
    }

    pub(crate) fn forget(&mut self, partition: Partition) {
        self.ledger.forget(partition);
        self.lane.forget(partition);
        self.done.retain(|done| done.change.id.partition != partition);
    }

    /// See [`Ledger::is_cut`].
    pub(crate) fn is_cut(&mut self, record: &LogRecord<'_>) -> bool {
        self.ledger.is_cut(record)
    }

    /// Whether no script was run over a record's change yet.
    pub(crate) fn is_owed(&self, record: &LogRecord<'_>, tenant: &str) -> bool {
        self.ledger.is_owed(record.partition, record.offset, tenant)
    }

    /// Whether the change has to wait behind others of its tenant.
    pub(crate) fn waits(&self, change: &Change) -> bool {
        self.ledger.waits(change.id.partition, change.tenant.as_str())
    }

    /// Puts a change behind those of its tenant that wait. Gives it back where no further tenant can be
    /// late: then none of its own waits, and it may be evaluated now.
    pub(crate) fn put(&mut self, change: Change) -> Option<Change> {
        let at = Position { next: NextOffset(change.id.offset.0), epoch: change.leader_epoch };
        if !self.ledger.put(change.id.partition, &change.tenant, at) {
            return Some(change);
        }
        self.lane.put(change);
        None
    }

    /// Looks what is done.
    pub(crate) fn look(&mut self) {
        while let Some(evaluated) = self.lane.next_done() {
            self.note(evaluated);
        }
    }

    /// Waits up to `wait` until something may be.
    pub(crate) fn wait(&self, wait: Duration) {
        self.lane.wait_for_done(wait);
    }

    fn note(&mut self, evaluated: Evaluated) {
        let Change { id, tenant, .. } = &evaluated.change;
        self.ledger.done(id.partition, tenant);
        if !self.ledger.waits(id.partition, tenant.as_str()) {
            self.lane.close(id.partition, tenant);
        }
        self.done.push(evaluated);
    }

    /// Whether something is done that is to be committed.
    pub(crate) fn has_done(&self) -> bool {
        !self.done.is_empty()
    }

    /// What is done, to be committed now.
    pub(crate) fn take_done(&mut self) -> Vec<Evaluated> {
        std::mem::take(&mut self.done)
    }

    /// Everything up to there is read, and evaluated or put.
    pub(crate) fn advance(&mut self, partition: Partition, to: Position) {
        self.ledger.advance(partition, to);
    }

    /// Where the group is to be moved to instead of where the stage has read to. To be committed now.
    pub(crate) fn marks(&mut self) -> Vec<Mark> {
        self.ledger.marks()
    }

    /// The first offset that may be read again, if one before `next` may.
    pub(crate) fn first(&self, partition: Partition, next: NextOffset) -> NextOffset {
        self.ledger.first(partition).map_or(next, |first| first.min(next))
    }

    /// Whether no more can wait.
    pub(crate) fn is_full(&self) -> bool {
        self.lane.bytes() >= BYTES_MAX || self.waiting().1 >= CHANGES_MAX
    }

    /// How many tenants wait, once for each partition, and how many of their changes.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        self.ledger.waiting()
    }
}
