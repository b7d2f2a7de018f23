//! The pool of workers.

mod run;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tidewire_model::Model;
use tidewire_script::{
    Event, Fields, Outcome, Refused, Rehearsal, Script, ScriptError, ScriptErrorKind as Kind,
    ScriptRecord,
};
use tokio::sync::Semaphore;

use crate::message::{Reply, Request};
use crate::options::WorkerOptions;
use crate::process::{Failed, Process};
use crate::source::Source;
use run::Bounds;

/// Why nothing was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WorkersError {
    /// As many calls wait as may.
    #[error("too many evaluations wait for a script worker")]
    Busy,
    /// The workers were closed.
    #[error("the script workers are closed")]
    Closed,
}

/// What scripts came to over one event.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Evaluated {
    /// One result for each script, in their order.
    pub results: Vec<Result<Outcome, ScriptError>>,
    /// CPU time of the workers, for the tenant's quota. A process that was stopped counts in full.
    pub cpu: Duration,
}

/// What has happened since the start, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stats {
    /// Processes that were started.
    pub started: u64,
    /// Processes that could not be started.
    pub start_failures: u64,
    /// Processes that were stopped because a script took too long.
    pub stopped: u64,
    /// Processes that ran out of memory.
    pub out_of_memory: u64,
    /// Processes that ended in some other way.
    pub crashed: u64,
    /// Processes that were replaced because they held too much.
    pub replaced: u64,
}

impl Stats {
    /// Those of two pools.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            started: self.started + other.started,
            start_failures: self.start_failures + other.start_failures,
            stopped: self.stopped + other.stopped,
            out_of_memory: self.out_of_memory + other.out_of_memory,
            crashed: self.crashed + other.crashed,
            replaced: self.replaced + other.replaced,
        }
    }
}

#[derive(Default)]
struct Counts {
    started: AtomicU64,
    start_failures: AtomicU64,
    stopped: AtomicU64,
    out_of_memory: AtomicU64,
    crashed: AtomicU64,
    replaced: AtomicU64,
}

struct Shared {
    options: WorkerOptions,
    /// One permit for each process.
    free: Semaphore,
    /// Processes that nobody uses; fewer than there are permits where one has to be started first.
    idle: Mutex<Vec<Process>>,
    waiting: AtomicUsize,
    counts: Counts,
}

/// A few worker processes. Cheap to clone; the processes end with the last clone.
#[derive(Clone)]
pub struct Workers {
    shared: Arc<Shared>,
}

impl Workers {
    /// Starts the processes.
    ///
    /// # Errors
    /// If one cannot be started: then none would.
    pub async fn start(options: WorkerOptions) -> std::io::Result<Self> {
        let count = options.workers.clamp(1, Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared {
            options,
            free: Semaphore::new(count),
            idle: Mutex::default(),
            waiting: AtomicUsize::new(0),
            counts: Counts::default(),
        });
        for _ in 0..count {
            let process = shared.spawn().await?;
            shared.idle.lock().push(process);
        }
        Ok(Self { shared })
    }

    /// Runs saved scripts over an event, in their order. Waits for a free process. A script whose fault it
    /// was that a process ended has an error, and those behind it have their results all the same.
    ///
    /// Dropped in the middle, the process that ran it is killed.
    ///
    /// # Errors
    /// [`WorkersError`]: nothing was run.
    pub async fn evaluate(
        &self,
        event: &Event,
        scripts: &[Arc<Script>],
    ) -> Result<Evaluated, WorkersError> {
        self.evaluate_sources(event, &sources(scripts)).await
    }

    /// As [`Self::evaluate`], but each run has so little CPU time: one that needs more has an error of kind
    /// `deadline`.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub async fn evaluate_within(
        &self,
        event: &Event,
        scripts: &[Arc<Script>],
        cpu_max: Duration,
    ) -> Result<Evaluated, WorkersError> {
        self.run(event, &sources(scripts), Bounds { cpu_max: Some(cpu_max), ends_at_limit: false })
            .await
    }

    /// As [`Self::evaluate_within`], but nothing is run behind the first script that reaches a limit: its
    /// error is the last result then. Where that ended a process, the error stands for whichever of the
    /// scripts without a result has done it.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub async fn evaluate_up_to_limit(
        &self,
        event: &Event,
        scripts: &[Arc<Script>],
        cpu_max: Duration,
    ) -> Result<Evaluated, WorkersError> {
        self.run(event, &sources(scripts), Bounds { cpu_max: Some(cpu_max), ends_at_limit: true })
            .await
    }

    /// Runs sources over an event, in their order; as [`Self::evaluate`].
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub async fn evaluate_sources(
        &self,
        event: &Event,
        sources: &[Source],
    ) -> Result<Evaluated, WorkersError> {
        self.run(event, sources, Bounds::default()).await
    }

    async fn run(
        &self,
        event: &Event,
        sources: &[Source],
        bounds: Bounds,
    ) -> Result<Evaluated, WorkersError> {
        if sources.is_empty() {
            return Ok(Evaluated::default());
        }
        let mut lease = self.lease().await?;
        Ok(run::run(&mut lease, event, sources, bounds).await)
    }

    /// Compiles a source, and tells what it reads.
    ///
    /// # Errors
    /// [`WorkersError`] where it was not tried; within, what is wrong with the source.
    pub async fn compile(
        &self,
        source: &Source,
    ) -> Result<Result<Fields, ScriptError>, WorkersError> {
        let mut lease = self.lease().await?;
        let options = &self.shared.options;
        let Some(process) = lease.process().await else { return Ok(Err(unavailable())) };
        let (slot, _) = process.slot(source.id);
        let request = Request::Compile { slot, source: source.text.to_string() };
        if process.send(&request, &[]).await.is_err() {
            return Ok(Err(unavailable()));
        }
        Ok(match process.reply(options, options.cpu_max).await {
            Ok(Reply::Compiled { result, .. }) => result,
            Ok(_) | Err(Failed::Broken) => Err(unavailable()),
            Err(Failed::Ended(end)) => {
                self.shared.count(end.kind());
                Err(end.error())
            }
        })
    }

    /// Compiles a record's script and dry-runs it against made-up objects of the model: what the registry
    /// asks before it saves.
    ///
    /// # Errors
    /// [`WorkersError`] where it was not tried; within, what the author has to look at.
    pub async fn rehearse(
        &self,
        record: &ScriptRecord,
        model: &Model,
    ) -> Result<Result<Fields, Refused>, WorkersError> {
        let source = Source::new(record.language, Arc::clone(&record.body));
        let fields = match self.compile(&source).await? {
            Ok(fields) => fields,
            Err(error) => return Ok(Err(Refused { error, sample: None })),
        };
        let rehearsal = match Rehearsal::new(record, &fields, model) {
            Ok(rehearsal) => rehearsal,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut results = Vec::new();
        for event in rehearsal.events() {
            let evaluated = self.evaluate_sources(event, std::slice::from_ref(&source)).await?;
            results.extend(evaluated.results);
        }
        Ok(rehearsal.judge(&results).map(|()| fields))
    }

    /// What has happened since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counts = &self.shared.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            started: read(&counts.started),
            start_failures: read(&counts.start_failures),
            stopped: read(&counts.stopped),
            out_of_memory: read(&counts.out_of_memory),
            crashed: read(&counts.crashed),
            replaced: read(&counts.replaced),
        }
    }

    /// The ids of the processes that nobody uses right now.
    #[must_use]
    pub fn idle_pids(&self) -> Vec<u32> {
        self.shared.idle.lock().iter().map(Process::pid).collect()
    }

    /// Lets nobody wait any more. The processes end with the last clone.
    pub fn close(&self) {
        self.shared.free.close();
    }

    async fn lease(&self) -> Result<Lease<'_>, WorkersError> {
        let shared = &*self.shared;
        let permit = match shared.free.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                let waiting = Waiting::new(shared)?;
                let permit = shared.free.acquire().await.map_err(|_| WorkersError::Closed)?;
                drop(waiting);
                permit
            }
        };
        let process = shared.idle.lock().pop();
        Ok(Lease { shared, process, _permit: permit })
    }
}

/// Somebody who waits.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared) -> Result<Self, WorkersError> {
        let waiting = Self(shared);
        if shared.waiting.fetch_add(1, Ordering::Relaxed) >= shared.options.waiting_max {
            return Err(WorkersError::Busy);
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to one process, with the process if there is one.
struct Lease<'a> {
    shared: &'a Shared,
    process: Option<Process>,
    _permit: tokio::sync::SemaphorePermit<'a>,
}

impl Lease<'_> {
    /// The process; one is started where there is none that can be used.
    async fn process(&mut self) -> Option<&mut Process> {
        if self.process.as_ref().is_some_and(|process| !process.is_usable()) {
            self.process = None;
        }
        if self.process.is_none() {
            match self.shared.spawn().await {
                Ok(process) => self.process = Some(process),
                Err(e) => {
                    self.shared.counts.start_failures.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(error = %e, "no script worker could be started");
                }
            }
        }
        self.process.as_mut()
    }
}

impl Drop for Lease<'_> {
    /// Gives the process back. One that was left in the middle of something is killed.
    fn drop(&mut self) {
        let Some(process) = self.process.take() else { return };
        if process.is_usable() {
            self.shared.idle.lock().push(process);
        } else if process.is_full() {
            self.shared.counts.replaced.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Shared {
    async fn spawn(&self) -> std::io::Result<Process> {
        let process = Process::start(&self.options).await?;
        self.counts.started.fetch_add(1, Ordering::Relaxed);
        Ok(process)
    }

    fn count(&self, kind: Kind) {
        let count = match kind {
            Kind::Deadline => &self.counts.stopped,
            Kind::Memory => &self.counts.out_of_memory,
            _ => &self.counts.crashed,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn sources(scripts: &[Arc<Script>]) -> Vec<Source> {
    scripts.iter().map(|script| Source::from(&**script)).collect()
}

fn unavailable() -> ScriptError {
    ScriptError::new(Kind::Unavailable, "no script worker could run it")
}
