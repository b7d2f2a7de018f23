//! Newline-delimited JSON from a file or standard input.
//!
//! Unlike a request, a file waits: while Kafka is slow or away its lines are tried again until they are
//! written or the process is told to stop, and nothing is dropped. A line without an `id` is given one for
//! the time of the run, so that a retry after an unknown outcome can be recognised by readers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidewire_event::Tenant;
use tidewire_runtime::Shutdown;
use tokio::io::AsyncRead;

use crate::lines::{FileLines, LinesMax, send_all};
use crate::pipeline::Pipeline;
use crate::{ChangeRequest, Failure, Intake, Outcome, Room};

/// After so many failed lines the rest is not read.
pub const FAILED_LINES_MAX: usize = 1_000;
/// The pause before the first retry; it doubles from retry to retry.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Between two lines about the progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// What became of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Lines read, blank ones included.
    pub read: u64,
    /// Changes in the log.
    pub written: u64,
    /// The lines that failed, and why.
    pub failed: BTreeMap<u64, String>,
    /// The rest was not read: told to stop, or too many failures.
    pub is_cut_short: bool,
}

/// Sends every line of `reader`. Each line of progress and each failure is handed to `say`.
pub async fn import(
    intake: &Intake,
    tenant: &Tenant,
    reader: impl AsyncRead + Unpin + Send,
    run: &str,
    shutdown: &Shutdown,
    mut say: impl FnMut(String) + Send,
) -> Report {
    let patient = Patient {
        intake: intake.clone(),
        tenant: tenant.clone(),
        run: Arc::from(run),
        changes: Arc::default(),
        shutdown: shutdown.clone(),
    };
    let pipeline = Pipeline::with_send(
        intake,
        Box::new(move |change, room| Box::pin(patient.clone().send(change, room))),
    );
    let mut report = Report::default();
    let mut told = Instant::now();
    let read = send_all(intake, pipeline, &mut FileLines::new(reader), LinesMax::NONE, |answer| {
        match answer.result {
            Ok(_) => report.written += 1,
            Err(failure) => {
                say(format!("line {}: {failure}", answer.line));
                report.failed.insert(answer.line, failure.to_string());
            }
        }
        if told.elapsed() >= PROGRESS_INTERVAL {
            told = Instant::now();
            say(format!("{} changes written, {} failed", report.written, report.failed.len()));
        }
        let goes_on = report.failed.len() < FAILED_LINES_MAX && !shutdown.is_cancelled();
        report.is_cut_short |= !goes_on;
        goes_on
    })
    .await;
    report.read = read;
    report
}

/// Sends a change until it is written, is refused for good, or the process is told to stop.
#[derive(Clone)]
struct Patient {
    intake: Intake,
    tenant: Tenant,
    run: Arc<str>,
    changes: Arc<AtomicU64>,
    shutdown: Shutdown,
}

impl Patient {
    async fn send(self, mut change: ChangeRequest, room: Room) -> Outcome {
        if change.id.is_none() {
            let number = self.changes.fetch_add(1, Ordering::Relaxed);
            change.id = Some(Arc::from(format!("{}-{number}", self.run)));
        }
        let image = |image: &Option<bytes::Bytes>| image.as_ref().map_or(0, bytes::Bytes::len);
        let bytes = image(&change.new) + image(&change.old);
        let (mut room, mut pause) = (room, RETRY_PAUSE);
        loop {
            let outcome = self.intake.write(&self.tenant, change.clone(), room).await;
            match outcome {
                Err(failure) if failure.is_passing() && !self.shutdown.is_cancelled() => {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.shutdown.cancelled() => return Err(failure),
                    }
                }
                outcome => return outcome,
            }
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
            room = tokio::select! {
                room = self.intake.room(bytes) => room?,
                () = self.shutdown.cancelled() => return Err(Failure::Busy),
            };
        }
    }
}

impl Report {
    /// Whether every line is in the log.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && !self.is_cut_short
    }

    /// What the person at the terminal is told: what was done, and how to go on.
    #[must_use]
    pub fn summary(&self, input: &str) -> String {
        let mut out = format!(
            "{} lines read, {} changes written, {} failed",
            self.read,
            self.written,
            self.failed.len()
        );
        if !self.failed.is_empty() {
            let lines: Vec<String> = self.failed.keys().map(ToString::to_string).collect();
            let _ = write!(out, "\nnot written: line {}", lines.join(", "));
            let _ = write!(
                out,
                "\nto go on: correct these lines and send them alone, in their order; sending the whole \
                 input again is safe only where every line has an 'id' and less than \
                 capture.idempotency_ttl has passed in one running service"
            );
        }
        if self.is_cut_short {
            let next = self.read + 1;
            let source = if input == "-" { "the input" } else { input };
            let _ = write!(
                out,
                "\nnot read: {source} from line {next} on; to go on there: tail -n +{next}"
            );
        }
        out
    }
}
