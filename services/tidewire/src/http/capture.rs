//! Changes on their way to `POST /api/v1/changes`: sent in bulk, answered line by line, tried again where
//! the answer says that it may help.
//!
//! Invariants: what is tried again keeps its order and its ids; a line whose outcome is unknown is tried
//! again only if it has an idempotency key, because else it might be written twice.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::{Bearer, BearerError, HttpClient, HttpError, Reply, chain};

/// The path below the service's URL.
const CHANGES_PATH: &str = "/api/v1/changes";
const NDJSON: &str = "application/x-ndjson";
/// The wait where the answer names none, and the first of a service that cannot be reached.
const PAUSE: Duration = Duration::from_secs(1);
/// Nobody waits longer between two tries, whatever the answer asks for.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// One change as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its number, for whoever asks which one failed.
    pub(crate) number: u64,
    /// The JSON, without a line break.
    pub(crate) text: String,
    has_id: bool,
    object: String,
}

/// The part of a change that this side looks at.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "objectType", borrow, default)]
    object_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
}

impl Line {
    /// Takes a line as it is: what is wrong with it is the service's to say.
    pub(crate) fn new(number: u64, text: String) -> Self {
        let head: Option<Head<'_>> = serde_json::from_str(&text).ok();
        let part = |raw: Option<&RawValue>| raw.map_or("", RawValue::get).to_owned();
        let has_id = head.as_ref().is_some_and(|head| head.id.is_some());
        let object = head.map_or_else(String::new, |head| {
            format!("{}/{}", part(head.object_type), part(head.key))
        });
        Self { number, text, has_id, object }
    }
}

/// What became of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It stands in the log under this id.
    Written(String),
    /// It does not, or nobody knows.
    Failed {
        /// The status of this line.
        status: u16,
        /// Why.
        message: String,
    },
}

/// The answer to one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The number of the line.
    pub(crate) number: u64,
    /// What became of it.
    pub(crate) outcome: Outcome,
}

/// Why sending ended.
#[derive(Debug, Error)]
pub(crate) enum CaptureError {
    /// No token.
    #[error(transparent)]
    Bearer(#[from] BearerError),
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The whole request was refused, for a reason that stays.
    #[error("the service answered {status}: {message}")]
    Refused {
        /// The status.
        status: u16,
        /// The message of its error body.
        message: String,
    },
    /// An answer that does not fit the question.
    #[error("the service's answer cannot be read: {0}")]
    Answer(String),
    /// Waited long enough.
    #[error("given up after {:.0?} of waiting: {reason}", .waited)]
    GivenUp {
        /// How long.
        waited: Duration,
        /// Why it had to wait.
        reason: String,
    },
}

/// How long to go on trying when nothing gets through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience(pub(crate) Option<Duration>);

/// The service, as a producer sees it.
#[derive(Debug)]
pub(crate) struct Capture {
    http: HttpClient,
    bearer: Bearer,
    patience: Patience,
}

/// What a try came to.
struct Tried {
    done: Vec<Answer>,
    again: Vec<Line>,
    pause: Option<Duration>,
    reason: String,
}

impl Capture {
    /// For the service at `base`.
    pub(crate) fn new(base: &str, bearer: Bearer, patience: Patience) -> Result<Self, HttpError> {
        Ok(Self { http: HttpClient::new(base, CHANGES_PATH)?, bearer, patience })
    }

    /// Sends lines, and again those that may yet get through, until each has its answer. `waits` is told
    /// of each wait and its reason. Answers come in no particular order.
    pub(crate) async fn send(
        &mut self,
        lines: Vec<Line>,
        mut waits: impl FnMut(Duration, &str),
    ) -> Result<Vec<Answer>, CaptureError> {
        let mut answers = Vec::with_capacity(lines.len());
        let (mut again, mut stuck_since, mut tries) = (lines, None, 0_u32);
        while !again.is_empty() {
            let tried = self.try_once(again).await?;
            if tried.done.is_empty() {
                tries = tries.saturating_add(1);
            } else {
                (stuck_since, tries) = (None, 0);
            }
            answers.extend(tried.done);
            again = tried.again;
            if again.is_empty() {
                break;
            }
            let since: &mut Instant = stuck_since.get_or_insert_with(Instant::now);
            if let Some(max) = self.patience.0
                && since.elapsed() >= max
            {
                return Err(CaptureError::GivenUp {
                    waited: since.elapsed(),
                    reason: tried.reason,
                });
            }
            let pause = tried.pause.unwrap_or_else(|| backoff(tries)).min(PAUSE_MAX);
            waits(pause, &tried.reason);
            tokio::time::sleep(pause).await;
        }
        Ok(answers)
    }

    async fn try_once(&mut self, lines: Vec<Line>) -> Result<Tried, CaptureError> {
        let token = self.bearer.token()?;
        let mut body = String::with_capacity(lines.iter().map(|line| line.text.len() + 1).sum());
        for line in &lines {
            body.push_str(&line.text);
            body.push('\n');
        }
        match self.http.post(NDJSON, token.expose(), body).await {
            Ok(reply) => judge(lines, &reply),
            Err(error) => lost(lines, error),
        }
    }
}

/// A growing wait, with a random part so that producers that failed together come back apart.
fn backoff(tries: u32) -> Duration {
    let max = PAUSE.saturating_mul(1 << tries.min(5));
    max.mul_f64(rand::rng().random_range(0.5..1.0))
}

/// No answer. Lines that may have been written can be sent again only under an id.
fn lost(lines: Vec<Line>, error: HttpError) -> Result<Tried, CaptureError> {
    let unsent = matches!(error, HttpError::Unreachable { .. });
    if !unsent && lines.iter().any(|line| !line.has_id) {
        return Err(error.into());
    }
    let reason = chain(&error);
    Ok(Tried { done: Vec::new(), again: lines, pause: None, reason })
}

#[derive(Deserialize)]
struct AnswerLine {
    line: usize,
    id: Option<String>,
    error: Option<AnswerError>,
}

#[derive(Deserialize)]
struct AnswerError {
    #[serde(rename = "statusCode")]
    status: u16,
    message: String,
}

/// Whether a line, or a request, may get through later.
const fn is_passing(status: u16) -> bool {
    matches!(status, 429 | 503)
}

fn judge(lines: Vec<Line>, reply: &Reply) -> Result<Tried, CaptureError> {
    if !reply.content_type.starts_with(NDJSON) {
        let message = refusal_message(&reply.body);
        if !is_passing(reply.status) {
            return Err(CaptureError::Refused { status: reply.status, message });
        }
        // Refused as a whole: no line was read.
        let (done, pause) = (Vec::new(), reply.retry_after);
        return Ok(Tried { done, again: lines, pause, reason: message });
    }
    let mut answers: Vec<Option<AnswerLine>> = lines.iter().map(|_| None).collect();
    for text in reply.body.lines() {
        let answer: AnswerLine =
            serde_json::from_str(text).map_err(|error| CaptureError::Answer(error.to_string()))?;
        let place = answer.line.checked_sub(1).and_then(|index| answers.get_mut(index));
        let place = place.ok_or_else(|| {
            CaptureError::Answer(format!("it answers line {}, which was not sent", answer.line))
        })?;
        *place = Some(answer);
    }
    let mut tried = Tried {
        done: Vec::new(),
        again: Vec::new(),
        pause: reply.retry_after,
        reason: String::new(),
    };
    let mut waiting: HashSet<String> = HashSet::new();
    for (line, answer) in lines.into_iter().zip(answers) {
        sort(line, answer, &mut waiting, &mut tried)?;
    }
    Ok(tried)
}

fn sort(
    line: Line,
    answer: Option<AnswerLine>,
    waiting: &mut HashSet<String>,
    tried: &mut Tried,
) -> Result<(), CaptureError> {
    let missing = || CaptureError::Answer(format!("line {} has no answer", line.number));
    let answer = answer.ok_or_else(missing)?;
    let outcome = match (answer.id, answer.error) {
        (Some(id), None) => Outcome::Written(id),
        (_, Some(error)) => {
            // 409: an earlier change of the same object did not get through in this bulk.
            let follows = error.status == 409 && waiting.contains(&line.object);
            // 429: nothing was sent. 503: it may have been.
            let passing = error.status == 429 || (error.status == 503 && line.has_id);
            if follows || passing {
                if passing || tried.reason.is_empty() {
                    tried.reason = error.message;
                }
                waiting.insert(line.object.clone());
                tried.again.push(line);
                return Ok(());
            }
            Outcome::Failed { status: error.status, message: error.message }
        }
        (None, None) => return Err(missing()),
    };
    tried.done.push(Answer { number: line.number, outcome });
    Ok(())
}

/// The message of an error body, or what came instead.
fn refusal_message(body: &str) -> String {
    #[derive(Deserialize)]
    struct Body {
        message: String,
    }
    const SHOWN_CHARS_MAX: usize = 200;
    match serde_json::from_str::<Body>(body) {
        Ok(body) => body.message,
        Err(_) => body.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect(),
    }
}

#[cfg(test)]
mod tests;
