//! One event, some scripts, and whatever they do to the process that runs them.
//!
//! A worker says its results when it is done, or has said nothing for some milliseconds. So when it ends
//! in the middle, several scripts may not have been answered, and one of them did it. They are run again
//! in a new process, *carefully*: each answered at once. Then the first without an answer is to blame.
//! Running again is harmless, since a run has no effect but its result.

use std::time::Duration;

use tidewire_script::{Event, Outcome, ScriptError};

use super::{Evaluated, Lease, unavailable};
use crate::blame::End;
use crate::message::{Reply, Request};
use crate::process::Failed;
use crate::source::Source;

/// Most bytes of sources in one request: they are loaded within the memory of one run.
const LOAD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most scripts in one request.
const SCRIPTS_MAX: usize = 4096;

/// Results as they come, the first of them for the first script.
type Results = Vec<Result<Outcome, ScriptError>>;

/// How one request ended.
enum Ended {
    /// All of its scripts have results.
    Whole,
    /// Some have; the process ended.
    Cut(End),
    /// There is no process, or it cannot be spoken with.
    Unavailable,
}

/// Beyond what a run may have, the process gets so much where that is short: a worker says its results only
/// after some milliseconds, and an engine looks at the time only between operations.
const PROCESS_MORE: Duration = Duration::from_millis(15);

/// What ends a run sooner than a worker's own limits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    /// CPU time of each script.
    pub(super) cpu_max: Option<Duration>,
    /// No script is run behind one that reaches a limit.
    pub(super) ends_at_limit: bool,
}

pub(super) async fn run(
    lease: &mut Lease<'_>,
    event: &Event,
    sources: &[Source],
    bounds: Bounds,
) -> Evaluated {
    let mut all = Evaluated { results: Vec::with_capacity(sources.len()), cpu: Duration::ZERO };
    let (mut is_careful, mut was_doubtful, mut failures) = (false, false, 0);
    while let Some(rest) = sources.get(all.results.len()..).filter(|rest| !rest.is_empty()) {
        let answered = all.results.len();
        match request(lease, event, rest, (is_careful, bounds), &mut all).await {
            Ended::Whole => is_careful = false,
            Ended::Cut(end) if bounds.ends_at_limit => {
                lease.shared.count(end.kind());
                all.results.push(Err(end.error()));
            }
            Ended::Cut(end) => {
                lease.shared.count(end.kind());
                let asked = rest.len() - (all.results.len() - answered);
                let is_known = is_careful || asked == 1;
                // Somebody else may have ended the process: once more, then it was the script.
                if is_known && (!end.is_doubtful() || was_doubtful) {
                    all.results.push(Err(end.error()));
                    (is_careful, was_doubtful) = (false, false);
                } else {
                    was_doubtful = is_known && end.is_doubtful();
                    is_careful = true;
                }
            }
            Ended::Unavailable => {
                failures += 1;
                if failures > 1 {
                    all.results.resize_with(sources.len(), || Err(unavailable()));
                }
            }
        }
        let is_limit =
            |result: &Result<_, ScriptError>| result.as_ref().is_err_and(|e| e.kind.is_limit());
        if bounds.ends_at_limit && all.results.last().is_some_and(is_limit) {
            break;
        }
    }
    all
}

/// Sends one request with as many of the scripts as go into one, and takes what comes.
async fn request(
    lease: &mut Lease<'_>,
    event: &Event,
    sources: &[Source],
    (is_careful, Bounds { cpu_max, ends_at_limit }): (bool, Bounds),
    all: &mut Evaluated,
) -> Ended {
    let options = &lease.shared.options;
    let most = cpu_max.map_or(options.cpu_max, |max| options.cpu_max.min(max + PROCESS_MORE));
    let Some(process) = lease.process().await else { return Ended::Unavailable };
    let (mut load, mut scripts, mut bytes) = (Vec::new(), Vec::new(), 0);
    for source in sources.iter().take(SCRIPTS_MAX) {
        bytes += source.text.len();
        if bytes > LOAD_BYTES_MAX && !scripts.is_empty() {
            break;
        }
        let (slot, is_new) = process.slot(source.id);
        if is_new {
            load.push((slot, source.text.to_string()));
        } else {
            bytes -= source.text.len();
        }
        scripts.push(slot);
    }
    let request = Request::Run {
        object_type: event.object_type.to_string(),
        operation: event.operation.letter(),
        changed_by: event.changed_by,
        load,
        scripts,
        is_careful,
        cpu_max_nanos: cpu_max.map(|max| u64::try_from(max.as_nanos()).unwrap_or(u64::MAX)),
        ends_at_limit,
    };
    let cpu_before = process.cpu();
    let ended = match process.send(&request, event.body.bytes()).await {
        Err(_) => Ended::Unavailable,
        Ok(()) => loop {
            match process.reply(options, most).await {
                Ok(Reply::Ran { results, is_last, .. }) => {
                    let results: Results = results
                        .into_iter()
                        .map(|r| r.unwrap_or_else(|| Ok(Outcome::default())))
                        .collect();
                    all.results.extend(results);
                    if is_last {
                        break Ended::Whole;
                    }
                }
                Ok(_) | Err(Failed::Broken) => break Ended::Unavailable,
                Err(Failed::Ended(end)) => break Ended::Cut(end),
            }
        },
    };
    all.cpu += process.cpu().saturating_sub(cpu_before);
    if let Ended::Cut(End::Stopped { cpu, .. }) = &ended {
        all.cpu += *cpu;
    }
    ended
}
