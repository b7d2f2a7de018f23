//! Answers, as plain data: what handlers and gates return.

use bytes::Bytes;
use tokio::sync::mpsc;
use warp::http::StatusCode;

/// `application/json`.
pub const JSON: &str = "application/json";
/// `application/x-ndjson`.
pub const NDJSON: &str = "application/x-ndjson";

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status; 101 is no reply.
    pub status: StatusCode,
    /// Further headers. One whose name or value HTTP does not allow is left out and logged: a bug.
    pub headers: Vec<(&'static str, String)>,
    /// `Content-Type`; empty = none.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// An answer with a body of the given kind.
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), content_type, body: body.into() }
    }

    /// An answer with a JSON body.
    pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::new(status, JSON, body)
    }

    /// An answer without a body.
    #[must_use]
    pub const fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), content_type: "", body: Bytes::new() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds `Retry-After`, at least one second.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header("retry-after", seconds.max(1).to_string())
    }
}

/// The answer of an [`crate::ApiHandler`].
#[derive(Debug)]
pub enum ApiReply {
    /// All of it at once.
    Whole(Reply),
    /// Status, headers and the first bytes now, the rest as it comes (chunked). The channel's bound is the
    /// handler's: a client that does not read fills it. The receiver is dropped when the client has gone.
    Stream(Reply, mpsc::Receiver<Bytes>),
    /// The documented error body for this request; the message is shown to the client.
    Error(StatusCode, String),
}

impl From<Reply> for ApiReply {
    fn from(reply: Reply) -> Self {
        Self::Whole(reply)
    }
}
