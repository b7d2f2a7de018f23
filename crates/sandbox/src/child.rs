//! The worker: reads requests from standard input, runs scripts, writes results to standard output.
//!
//! One thread, and all of its memory belongs to the heap of that thread: what the kernel counts as the
//! process's memory is what scripts use.

mod limits;
mod scripts;

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidewire_event::image::{Body, BodyLimits};
use tidewire_event::{ObjectType, Operation};
use tidewire_script::{
    Engine, Event, NoReferences, References, ScriptError, ScriptErrorKind as Kind,
};

use crate::frame;
use crate::message::{Reply, Request, Slot, State};
use limits::Memory;
pub use limits::cpu_time;
use scripts::Scripts;

/// Results are sent when nothing was for so long: the parent counts a script's time from the last sign.
const SILENCE_MAX: Duration = Duration::from_millis(5);

/// What a worker process does from its start to its end. `make` makes the engine; it gets a clock of CPU
/// time. Returns once the parent closes the pipe.
pub fn worker_main<E: Engine>(make: impl FnOnce(Rc<dyn Fn() -> Duration>) -> E) -> ExitCode {
    let engine = make(Rc::new(cpu_time));
    match serve(engine, &mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // The parent keeps the last lines that a worker said before its end.
            let _ = writeln!(io::stderr(), "script worker: {e}");
            ExitCode::FAILURE
        }
    }
}

fn serve<E: Engine>(engine: E, input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let Some((Request::Limits { memory_max, scripts_memory_max, cpu_seconds_max, yields }, _)) =
        frame::read(input)?
    else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no limits came first"));
    };
    let memory = Memory::limit(memory_max, scripts_memory_max)?;
    limits::close_doors()?;
    if yields {
        limits::yield_to_others()?;
    }
    let mut worker = Worker {
        scripts: Scripts::new(engine),
        memory,
        references: Rc::new(NoReferences),
        cpu_seconds_max,
        out: Vec::new(),
    };
    worker.send(output, &Reply::Ready)?;
    while let Some((request, body)) = frame::read(input)? {
        limits::allow_cpu(worker.cpu_seconds_max)?;
        match request {
            Request::Limits { .. } => {}
            Request::Compile { slot, source } => {
                worker.scripts.load(slot, source);
                let result = worker.scripts.fields(slot, &mut worker.memory);
                let state = worker.state()?;
                worker.send(output, &Reply::Compiled { result, state })?;
            }
            Request::Run {
                object_type,
                operation,
                changed_by,
                load,
                scripts,
                is_careful,
                cpu_max_nanos,
                ends_at_limit,
            } => {
                for (slot, source) in load {
                    worker.scripts.load(slot, source);
                }
                let large = worker.memory.begin_large(body.len())?;
                let event = event(&object_type, operation, changed_by, body);
                worker.memory.end_large(large)?;
                let opened = event.map(|e| worker.scripts.engine().open(&e, &worker.references));
                worker.scripts.limit_cpu(cpu_max_nanos.map(Duration::from_nanos));
                worker.run(output, opened, &scripts, (is_careful, ends_at_limit))?;
                worker.memory.forget_large()?;
            }
        }
    }
    Ok(())
}

fn event(
    object_type: &str,
    operation: char,
    changed_by: Option<u64>,
    body: Vec<u8>,
) -> Result<Event, ScriptError> {
    // What the parent sends has been an event there; nothing of this is a script's fault.
    let bad = |e: String| ScriptError::new(Kind::Unavailable, e);
    let operation = Operation::from_letter(operation.encode_utf8(&mut [0; 4]));
    Ok(Event {
        object_type: ObjectType::new(object_type).map_err(|e| bad(e.to_string()))?,
        operation: operation.ok_or_else(|| bad("no operation".to_owned()))?,
        body: Arc::new(
            Body::parse(Bytes::from(body), BodyLimits::default())
                .map_err(|e| bad(e.to_string()))?,
        ),
        changed_by,
    })
}

struct Worker<E: Engine> {
    scripts: Scripts<E>,
    memory: Memory,
    references: Rc<dyn References>,
    cpu_seconds_max: u64,
    /// The frame that is being written; kept for its room.
    out: Vec<u8>,
}

impl<E: Engine> Worker<E> {
    fn run(
        &mut self,
        output: &mut impl Write,
        opened: Result<E::Opened, ScriptError>,
        scripts: &[Slot],
        (is_careful, ends_at_limit): (bool, bool),
    ) -> io::Result<()> {
        let mut results = Vec::with_capacity(scripts.len());
        let mut said = Instant::now();
        for slot in scripts {
            let result = match &opened {
                Ok(opened) => self.scripts.evaluate(*slot, opened, &mut self.memory),
                Err(e) => Err(e.clone()),
            };
            let is_at_limit = result.as_ref().is_err_and(|error| error.kind.is_limit());
            results.push(match result {
                Ok(outcome) if !outcome.fired => None,
                other => Some(other),
            });
            if is_at_limit && ends_at_limit {
                break;
            }
            if is_careful || said.elapsed() >= SILENCE_MAX {
                let results = std::mem::take(&mut results);
                let state = State { cpu_nanos: nanos(cpu_time()), is_full: false };
                self.send(output, &Reply::Ran { results, is_last: false, state })?;
                said = Instant::now();
            }
        }
        let state = self.state()?;
        self.send(output, &Reply::Ran { results, is_last: true, state })
    }

    fn state(&mut self) -> io::Result<State> {
        Ok(State { cpu_nanos: nanos(cpu_time()), is_full: self.memory.is_full()? })
    }

    fn send(&mut self, output: &mut impl Write, reply: &Reply) -> io::Result<()> {
        self.out.clear();
        frame::write(&mut self.out, reply, &[])?;
        output.write_all(&self.out)?;
        output.flush()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
