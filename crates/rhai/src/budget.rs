//! What a run has used, and may use: operations and CPU time.
//!
//! Operations are counted here as well as by Rhai, which forgets those of a closure that a native function
//! calls, and knows nothing of what a native function does in a loop.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use rhai::{Dynamic, EvalAltResult, Position};

use crate::ScriptLimits;

/// The clock is looked at once in so many operations: a reading costs more than they do.
const OPERATIONS_PER_LOOK: u64 = 128;
/// And, where it is told when runs begin, once in so many of these: what the runs before it have used since
/// counts as a run's own, and must stay far below the shortest time that one may have.
const RUNS_PER_LOOK: u32 = 32;

/// How much CPU time the process, or the thread, has used.
pub(crate) type Clock = Rc<dyn Fn() -> Duration>;

/// A limit that a run has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Its operations.
    Operations,
    /// Its time.
    Time,
}

impl Limit {
    /// As Rhai carries it out of a run.
    pub(crate) fn token(self) -> Dynamic {
        Dynamic::from(self)
    }

    /// Of what Rhai has carried out.
    pub(crate) fn of_token(token: &Dynamic) -> Option<Self> {
        token.read_lock::<Self>().map(|limit| *limit)
    }
}

impl From<Limit> for Box<EvalAltResult> {
    fn from(limit: Limit) -> Self {
        EvalAltResult::ErrorTerminated(limit.token(), Position::NONE).into()
    }
}

/// What bounds a run.
pub(crate) struct Budget {
    clock: Clock,
    operations_max: u64,
    /// Operations that the run has left, those before the next look not counted.
    left: Cell<u64>,
    /// Operations before the clock is looked at.
    before_look: Cell<u64>,
    /// What a run may use.
    cpu_max: Cell<Duration>,
    /// What the clock showed last, where it is told when a run, or some short ones, begin. It is not looked
    /// at for each: that costs as much as a short run.
    last: Cell<Option<Duration>>,
    runs_before_look: Cell<u32>,
    /// What the clock must not pass; none until it was looked at.
    deadline: Cell<Option<Duration>>,
}

impl Budget {
    pub(crate) fn new(limits: &ScriptLimits, clock: Clock) -> Self {
        Self {
            clock,
            operations_max: limits.operations_max,
            left: Cell::new(0),
            before_look: Cell::new(0),
            cpu_max: Cell::new(limits.cpu_max),
            last: Cell::new(None),
            runs_before_look: Cell::new(RUNS_PER_LOOK),
            deadline: Cell::new(None),
        }
    }

    /// Runs begin now that may use so much each.
    pub(crate) fn begin(&self, cpu_max: Duration) {
        self.cpu_max.set(cpu_max);
        self.last.set(Some((self.clock)()));
        self.runs_before_look.set(RUNS_PER_LOOK);
    }

    /// A run begins. What the runs before it have used since the last look counts as its own.
    pub(crate) fn begin_run(&self) {
        self.left.set(self.operations_max);
        self.before_look.set(OPERATIONS_PER_LOOK);
        if self.last.get().is_some() {
            let runs = self.runs_before_look.get();
            self.runs_before_look.set(runs.checked_sub(1).unwrap_or(RUNS_PER_LOOK));
            if runs == 0 {
                self.last.set(Some((self.clock)()));
            }
        }
        self.deadline.set(self.last.get().map(|last| last + self.cpu_max.get()));
    }

    /// Counts operations of the run.
    #[inline]
    pub(crate) fn count(&self, operations: u64) -> Result<(), Limit> {
        let before_look = self.before_look.get();
        if operations < before_look {
            self.before_look.set(before_look - operations);
            return Ok(());
        }
        self.look(operations)
    }

    #[cold]
    fn look(&self, operations: u64) -> Result<(), Limit> {
        let used = operations.saturating_add(OPERATIONS_PER_LOOK - self.before_look.get());
        self.before_look.set(OPERATIONS_PER_LOOK);
        let left = self.left.get().checked_sub(used).ok_or(Limit::Operations)?;
        self.left.set(left);
        if self.is_over((self.clock)()) { Err(Limit::Time) } else { Ok(()) }
    }

    fn is_over(&self, now: Duration) -> bool {
        if self.last.get().is_some() {
            self.last.set(Some(now));
        }
        match self.deadline.get() {
            Some(deadline) => now > deadline,
            None => {
                self.deadline.set(Some(now + self.cpu_max.get()));
                false
            }
        }
    }
}
