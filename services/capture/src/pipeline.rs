//! Many changes at once: different objects side by side, one object's changes one after the other.
//!
//! The next change of an object is sent only once the one before is in the log, because a change that
//! overtakes a failed one would leave the object in a state that never was. Once a change of an object has
//! failed, later ones of it are not sent and say so.
//!
//! Invariants: every line that was pushed comes out of [`Pipeline::next`] once; at most
//! [`LINES_HELD_MAX`] lines are held.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tidewire_event::{FrameId, Tenant};
use tidewire_log::BoxFuture;

use crate::change::Object;
use crate::intake::{Intake, Outcome, Room};
use crate::{ChangeRequest, Failure};

/// Most lines that are read and not answered yet.
pub const LINES_HELD_MAX: usize = 1_024;

/// What one line came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The line, from 1.
    pub line: u64,
    /// Where its change stands in the log, or why it does not.
    pub result: Result<FrameId, Failure>,
}

/// Sends one change: [`Intake::write`], or that with retries.
pub type Send = Box<dyn Fn(ChangeRequest, Room) -> BoxFuture<Outcome> + std::marker::Send + Sync>;

/// Many changes of one tenant on their way.
pub struct Pipeline {
    intake: Intake,
    send: Send,
    running: FuturesUnordered<BoxFuture<(Object, u64, Outcome)>>,
    /// The objects with a running write, and the lines that wait behind it.
    objects: HashMap<Object, VecDeque<(u64, ChangeRequest, Room)>>,
    /// The first line of an object that failed.
    failed: HashMap<Object, u64>,
    /// Answers that need no write.
    answers: VecDeque<Answer>,
    held: usize,
}

impl Pipeline {
    /// Sends each change once.
    #[must_use]
    pub fn new(intake: &Intake, tenant: &Tenant) -> Self {
        let (to, tenant) = (intake.clone(), tenant.clone());
        Self::with_send(intake, Box::new(move |change, room| to.write(&tenant, change, room)))
    }

    /// Sends each change through `send`.
    #[must_use]
    pub fn with_send(intake: &Intake, send: Send) -> Self {
        Self {
            intake: intake.clone(),
            send,
            running: FuturesUnordered::new(),
            objects: HashMap::new(),
            failed: HashMap::new(),
            answers: VecDeque::new(),
            held: 0,
        }
    }

    /// Whether nothing is held.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.held == 0
    }

    /// Whether no line can be pushed before an answer is taken.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.held >= LINES_HELD_MAX
    }

    /// Takes one line.
    pub fn push(&mut self, line: u64, bytes: Bytes, room: Room) {
        match self.intake.read(bytes) {
            Ok(change) => self.push_change(line, change, room),
            Err((failure, object)) => self.refuse(line, failure, object),
        }
    }

    /// Takes one line's change.
    pub fn push_change(&mut self, line: u64, change: ChangeRequest, room: Room) {
        let object = change.object();
        if let Some(failed) = self.failed.get(&object) {
            let failure = Failure::Skipped { line: *failed };
            self.intake.count(&failure);
            self.refuse(line, failure, None);
            return;
        }
        self.held += 1;
        match self.objects.get_mut(&object) {
            Some(waiting) => waiting.push_back((line, change, room)),
            None => {
                self.objects.insert(object.clone(), VecDeque::new());
                self.start(object, line, change, room);
            }
        }
    }

    /// Answers a line that is not sent. Later lines of its object, where that is known, are not sent either.
    pub fn refuse(&mut self, line: u64, failure: Failure, object: Option<Object>) {
        if let Some(object) = object {
            self.fail(object, line);
        }
        self.held += 1;
        self.answers.push_back(Answer { line, result: Err(failure) });
    }

    /// The next answer, in the order in which they come; `None` if nothing is held. Dropping the future
    /// loses nothing.
    pub async fn next(&mut self) -> Option<Answer> {
        if self.answers.is_empty() {
            let (object, line, result) = self.running.next().await?;
            self.landed(object, line, result);
        }
        let answer = self.answers.pop_front()?;
        self.held -= 1;
        Some(answer)
    }

    fn fail(&mut self, object: Object, line: u64) {
        let first = self.failed.entry(object).or_insert(line);
        *first = line.min(*first);
    }

    fn start(&mut self, object: Object, line: u64, change: ChangeRequest, room: Room) {
        let write = (self.send)(change, room);
        self.running.push(Box::pin(async move { (object, line, write.await) }));
    }

    fn landed(&mut self, object: Object, line: u64, result: Outcome) {
        if result.is_err() {
            self.fail(object.clone(), line);
        }
        self.answers.push_back(Answer { line, result });
        let failed = self.failed.get(&object).copied();
        let waiting = self.objects.remove(&object).unwrap_or_default();
        let mut waiting = waiting.into_iter();
        while let Some((line, change, room)) = waiting.next() {
            // A line that stands before the failed one was whole and is sent: only later ones depend on it.
            if let Some(failed) = failed.filter(|failed| *failed < line) {
                let failure = Failure::Skipped { line: failed };
                self.intake.count(&failure);
                self.answers.push_back(Answer { line, result: Err(failure) });
            } else {
                self.objects.insert(object.clone(), waiting.collect());
                self.start(object, line, change, room);
                return;
            }
        }
    }
}
