//! Why a request is refused, before anybody knows where and when.

use thiserror::Error;

use super::{CloseCode, ErrorBody};

/// A refusal: it becomes an HTTP answer, or with `?refuse=close` and in `tidewire.v1` an error frame
/// and a close code.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{status}: {message}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What is wrong, for the person who wrote the client. Never holds a token.
    pub message: String,
    /// Seconds until a new try makes sense; the header `Retry-After`.
    pub retry_after: Option<u32>,
}

macro_rules! constructor {
    ($($(#[$doc:meta])* $name:ident = $status:literal;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(message: impl Into<String>) -> Self {
            Self { status: $status, message: message.into(), retry_after: None }
        }
    )*};
}

impl Refusal {
    constructor! {
        /// 400: path, event type, key, query or body is malformed.
        bad_request = 400;
        /// 401: the token is missing or not valid.
        unauthorized = 401;
        /// 403: type, script or Origin is not allowed.
        forbidden = 403;
        /// 404: no such type, script or path.
        not_found = 404;
        /// 405: the path has no such method.
        method_not_allowed = 405;
        /// 408: the body did not arrive in time.
        timeout = 408;
        /// 409: something else has the name, or was saved in between.
        conflict = 409;
        /// 413: the body is too large.
        too_large = 413;
        /// 426: neither an upgrade nor `Accept: text/event-stream`.
        upgrade_required = 426;
        /// 500: a fault of ours. The message says no more than that.
        internal = 500;
    }

    /// 429: over a limit; try again after so many seconds.
    #[must_use]
    pub fn too_many(message: impl Into<String>, retry_after: u32) -> Self {
        Self { status: 429, message: message.into(), retry_after: Some(retry_after) }
    }

    /// 503: draining or not ready; try again after so many seconds.
    #[must_use]
    pub fn unavailable(message: impl Into<String>, retry_after: u32) -> Self {
        Self { status: 503, message: message.into(), retry_after: Some(retry_after) }
    }

    /// The close code that says the same on a socket.
    #[must_use]
    pub const fn close_code(&self) -> CloseCode {
        CloseCode::of_status(self.status)
    }

    /// The body. `uri` is the redacted one.
    #[must_use]
    pub fn body(&self, date_ms: i64, method: &str, uri: &str) -> ErrorBody {
        ErrorBody {
            status: self.status,
            message: self.message.clone(),
            date_ms,
            method: method.to_owned(),
            uri: uri.to_owned(),
        }
    }
}
