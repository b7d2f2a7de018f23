//! `POST /api/v1/changes`: one change as JSON, or many as newline-delimited JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tidewire_auth::{Principal, TokenError, Verifier, bearer};
use tidewire_event::Tenant;
use tidewire_http::{ApiHandler, ApiReply, ApiRequest, JSON, NDJSON, Reply, StatusCode};
use tidewire_runtime::{Clock, Shutdown};
use tidewire_telemetry::CommonMetrics;
use tidewire_telemetry::metrics::{RefusalReason, TokenOutcome};
use tidewire_wire::error::Refusal;
use tidewire_wire::json::{push_string, push_u64};

use crate::lines::{LinesMax, send_all};
use crate::pipeline::{Answer, Pipeline};
use crate::{CaptureOptions, Failure, Intake};

/// The path.
pub const CHANGES_PATH: &str = "/api/v1/changes";
/// What a client is told to wait while the service drains: another replica answers then.
const DRAIN_RETRY_S: u32 = 1;
/// What a client is told to wait while nobody can check its token.
const KEYS_RETRY_S: u32 = 5;

/// The handler. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ChangesApi(Arc<Inner>);

struct Inner {
    intake: Intake,
    verifier: Arc<Verifier>,
    options: CaptureOptions,
    metrics: CommonMetrics,
    clock: Clock,
    draining: Shutdown,
}

impl ApiHandler for ChangesApi {
    fn handle(&self, request: ApiRequest) -> BoxFuture<'static, ApiReply> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.answer(request).await.into() })
    }
}

/// What a request is about: how its errors are addressed.
struct Asked {
    method: String,
    uri: String,
}

enum Format {
    One,
    Lines,
}

impl ChangesApi {
    pub(crate) fn new(
        intake: Intake,
        verifier: Arc<Verifier>,
        options: CaptureOptions,
        metrics: CommonMetrics,
        clock: Clock,
        draining: Shutdown,
    ) -> Self {
        Self(Arc::new(Inner { intake, verifier, options, metrics, clock, draining }))
    }
}

impl Inner {
    async fn answer(&self, request: ApiRequest) -> Reply {
        let asked = Asked { method: request.method.to_string(), uri: request.path.clone() };
        let answer = async {
            // A request is not shared between threads, so what is awaited borrows none of it.
            let token = bearer(request.header("authorization")).map(str::to_owned);
            let tenant = self.admit(token.as_deref()).await?;
            match format(&request)? {
                Format::One => self.one(&tenant, request).await,
                Format::Lines => Ok(self.bulk(&tenant, request, &asked).await),
            }
        };
        answer.await.unwrap_or_else(|refusal| self.refuse(&refusal, &asked))
    }

    fn refuse(&self, refusal: &Refusal, asked: &Asked) -> Reply {
        let now_ms = i64::try_from(self.clock.unix_ms()).unwrap_or(i64::MAX);
        let body = refusal.body(now_ms, &asked.method, &asked.uri).to_json();
        let reply = Reply::json(status(refusal.status), body);
        match refusal.retry_after {
            Some(seconds) => reply.retry_after(seconds.into()),
            None if refusal.status == 401 => reply.header("www-authenticate", "Bearer"),
            None => reply,
        }
    }

    /// The tenant for which the caller may speak.
    async fn admit(&self, token: Option<&str>) -> Result<Tenant, Refusal> {
        let refused = |reason: RefusalReason, refusal: Refusal| {
            self.metrics.http_refused.inc(reason);
            refusal
        };
        if self.draining.is_cancelled() {
            let refusal = Refusal::unavailable("the service is shutting down", DRAIN_RETRY_S);
            return Err(refused(RefusalReason::Draining, refusal));
        }
        let principal = match self.principal(token).await {
            Ok(principal) => principal,
            Err(error) => {
                let reason = match error {
                    TokenError::KeysUnavailable => RefusalReason::NotReady,
                    _ => RefusalReason::Token,
                };
                return Err(refused(reason, token_refusal(error)));
            }
        };
        if !self.verifier.roles().may_produce(&principal) {
            let refusal = Refusal::forbidden(
                "the token has no role that may post changes (auth.roles.producer)",
            );
            return Err(refused(RefusalReason::Forbidden, refusal));
        }
        Ok(principal.tenant.clone())
    }

    async fn principal(&self, token: Option<&str>) -> Result<Arc<Principal>, TokenError> {
        let now_unix = i64::try_from(self.clock.unix_ms() / 1_000).unwrap_or(i64::MAX);
        if let Some(known) = token
            && let Some(principal) = self.verifier.verify_cached(known, now_unix)
        {
            self.metrics.tokens.inc(TokenOutcome::Remembered);
            return Ok(principal);
        }
        let result = match token {
            Some(token) => self.verifier.verify(token, now_unix).await,
            None => Err(TokenError::Missing),
        };
        self.metrics.tokens.inc(token_outcome(&result));
        result
    }

    async fn one(&self, tenant: &Tenant, request: ApiRequest) -> Result<Reply, Refusal> {
        let bytes_max = self.intake.change_bytes_max();
        let body = request.body.collect(bytes_max).await.map_err(|error| body_refusal(&error))?;
        // Room first: a change that cannot be sent need not be read.
        let written = match self.intake.try_room(body.len()) {
            Ok(room) => match self.intake.read(body) {
                Ok(change) => self.intake.write(tenant, change, room).await,
                Err((failure, _)) => Err(failure),
            },
            Err(failure) => {
                self.intake.count(&failure);
                Err(failure)
            }
        };
        match written {
            Ok(frame) => Ok(Reply::json(StatusCode::OK, format!("{{\"id\":\"{frame}\"}}"))),
            Err(failure) => Err(refusal_of(&failure)),
        }
    }

    /// One answer line for each line, in order. The answer is collected, because its status depends on
    /// the last line; `capture.bulk_lines_max` bounds it.
    async fn bulk(&self, tenant: &Tenant, request: ApiRequest, asked: &Asked) -> Reply {
        let mut body = request.body;
        let pipeline = Pipeline::new(&self.intake, tenant);
        let mut answers: BTreeMap<u64, Answer> = BTreeMap::new();
        let max =
            LinesMax { lines: self.options.bulk_lines_max, bytes: self.options.bulk_bytes_max };
        send_all(&self.intake, pipeline, &mut body, max, |answer| {
            answers.insert(answer.line, answer);
            true
        })
        .await;
        if answers.is_empty() {
            return self.refuse(&Refusal::bad_request("the body holds no change"), asked);
        }
        let mut out = Vec::with_capacity(answers.len() * 40);
        let mut written = 0;
        for answer in answers.values() {
            written += usize::from(answer.result.is_ok());
            push_answer(&mut out, answer);
        }
        let failures = answers.values().filter_map(|answer| answer.result.as_ref().err());
        let (code, retry_after) = bulk_status(written, failures);
        let reply = Reply::new(status(code), NDJSON, out);
        match retry_after {
            Some(seconds) => reply.retry_after(seconds),
            None => reply,
        }
    }
}

/// 200 = all, 207 = some, 400 = none; but where none was written only because Kafka is slow or away, the
/// status says that, since a 400 would tell the producer to give up.
fn bulk_status<'a>(
    written: usize,
    failures: impl Iterator<Item = &'a Failure>,
) -> (u16, Option<u64>) {
    let mut failed = 0;
    let mut passing: Option<(u16, u64)> = None;
    let mut all_passing = true;
    for failure in failures {
        failed += 1;
        match (failure, failure.class()) {
            (Failure::Skipped { .. }, _) => {}
            (_, class) => match class.retry_after_s {
                Some(seconds) => passing = passing.max(Some((class.status, seconds))),
                None => all_passing = false,
            },
        }
    }
    match (written, failed) {
        (_, 0) => (200, None),
        (0, _) => match passing.filter(|_| all_passing) {
            Some((status, seconds)) => (status, Some(seconds)),
            None => (400, None),
        },
        _ => (207, None),
    }
}

/// `{"line":n,"id":"partition-offset"}` or `{"line":n,"error":{"statusCode":s,"message":"..."}}`.
fn push_answer(out: &mut Vec<u8>, answer: &Answer) {
    out.extend_from_slice(b"{\"line\":");
    push_u64(out, answer.line);
    match &answer.result {
        Ok(frame) => out.extend_from_slice(format!(",\"id\":\"{frame}\"}}\n").as_bytes()),
        Err(failure) => {
            out.extend_from_slice(b",\"error\":{\"statusCode\":");
            push_u64(out, failure.class().status.into());
            out.extend_from_slice(b",\"message\":");
            push_string(out, &failure.to_string());
            out.extend_from_slice(b"}}\n");
        }
    }
}

fn format(request: &ApiRequest) -> Result<Format, Refusal> {
    let content_type = request.header("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case(JSON) {
        Ok(Format::One)
    } else if media_type.eq_ignore_ascii_case(NDJSON) {
        Ok(Format::Lines)
    } else {
        let message = format!("the content type is {JSON} (one change) or {NDJSON} (many)");
        Err(Refusal { status: 415, message, retry_after: None })
    }
}

const fn token_outcome(result: &Result<Arc<Principal>, TokenError>) -> TokenOutcome {
    match result {
        Ok(_) => TokenOutcome::Verified,
        Err(TokenError::Missing) => TokenOutcome::Missing,
        Err(TokenError::Malformed | TokenError::Claims) => TokenOutcome::Malformed,
        Err(TokenError::Expired | TokenError::NotYetValid) => TokenOutcome::Expired,
        Err(TokenError::Signature) => TokenOutcome::Signature,
        Err(TokenError::Revoked) => TokenOutcome::Revoked,
        Err(TokenError::Issuer | TokenError::Audience | TokenError::Tenant) => TokenOutcome::Issuer,
        Err(TokenError::KeysUnavailable) => TokenOutcome::UnknownKey,
    }
}

fn token_refusal(error: TokenError) -> Refusal {
    match error {
        TokenError::KeysUnavailable => Refusal::unavailable(error.message(), KEYS_RETRY_S),
        _ => Refusal::unauthorized(error.message()),
    }
}

fn body_refusal(error: &tidewire_http::BodyError) -> Refusal {
    use tidewire_http::BodyError;
    let status = match error {
        BodyError::TooLong { .. } => 413,
        BodyError::Stalled => 408,
        BodyError::Broken => 400,
    };
    Refusal { status, message: error.to_string(), retry_after: None }
}

fn refusal_of(failure: &Failure) -> Refusal {
    let class = failure.class();
    let retry_after = class.retry_after_s.and_then(|seconds| u32::try_from(seconds).ok());
    Refusal { status: class.status, message: failure.to_string(), retry_after }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChangeError;

    #[test]
    fn statuses_of_bulks() {
        let wrong = || Failure::Change(ChangeError::Id);
        let skipped = || Failure::Skipped { line: 1 };
        let unknown = || Failure::Unknown { has_id: true };
        let check = |written, failures: &[Failure], expected: (u16, Option<u64>)| {
            assert_eq!(bulk_status(written, failures.iter()), expected, "{failures:?}");
        };
        check(3, &[], (200, None));
        check(1, &[wrong()], (207, None));
        check(1, &[Failure::Unavailable], (207, None));
        check(0, &[wrong()], (400, None));
        check(0, &[wrong(), skipped()], (400, None));
        check(0, &[wrong(), Failure::Unavailable], (400, None));
        check(0, &[Failure::Unavailable, skipped()], (503, Some(5)));
        check(0, &[Failure::Busy], (429, Some(1)));
        check(0, &[Failure::Busy, unknown()], (503, Some(1)));
        check(0, &[Failure::Rejected], (400, None));
    }
}
