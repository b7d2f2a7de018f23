//! The documented error body.

use crate::frame::push_event_time;
use crate::json::{push_string, push_u64};

/// Every status that an answer or a frame may have, with its text (RFC 9110, section 15, and the IANA
/// registry). Each has a page in `docs/errors`.
pub const STATUSES: &[(u16, &str)] = &[
    (200, "OK"),
    (207, "Multi-Status"),
    (307, "Temporary Redirect"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (408, "Request Timeout"),
    (409, "Conflict"),
    (410, "Gone"),
    (413, "Content Too Large"),
    (415, "Unsupported Media Type"),
    (426, "Upgrade Required"),
    (429, "Too Many Requests"),
    (431, "Request Header Fields Too Large"),
    (500, "Internal Server Error"),
    (503, "Service Unavailable"),
];

/// The text of a status; `Unknown` for one that is never sent.
#[must_use]
pub fn status_text(status: u16) -> &'static str {
    STATUSES.iter().find(|(known, _)| *known == status).map_or("Unknown", |(_, text)| text)
}

/// The page of a status, from the root of the project.
#[must_use]
pub fn status_page(status: u16) -> String {
    let name = status_text(status).to_ascii_lowercase().replace(' ', "-");
    format!("docs/errors/{status}-{name}.md")
}

/// The class of a status, in the words of JAX-RS, which the documented sample uses.
const fn status_family(status: u16) -> &'static str {
    match status {
        100..=199 => "INFORMATIONAL",
        200..=299 => "SUCCESSFUL",
        300..=399 => "REDIRECTION",
        400..=499 => "CLIENT_ERROR",
        500..=599 => "SERVER_ERROR",
        _ => "OTHER",
    }
}

/// What a socket is told outside of events (ours). The message is the part that clients compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The named session was found: field list and position are those it had.
    SessionResumed,
    /// The named session is new, expired or lost: it starts here.
    SessionStarts,
    /// The store is away: this socket is live from here and cannot be resumed.
    SessionNotAvailable,
    /// Changes may be missing: fetch anew. The socket goes on.
    Gap,
}

impl Notice {
    /// Its status.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::SessionResumed => 200,
            Self::SessionStarts | Self::Gap => 410,
            Self::SessionNotAvailable => 503,
        }
    }

    /// Its message.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::SessionResumed => "session resumed",
            Self::SessionStarts => "session starts now",
            Self::SessionNotAvailable => "session not available",
            Self::Gap => "gap",
        }
    }

    /// The frame. The method is that of the handshake; `uri` is the socket's redacted one.
    #[must_use]
    pub fn body(self, date_ms: i64, uri: &str) -> ErrorBody {
        ErrorBody {
            status: self.status(),
            message: self.message().to_owned(),
            date_ms,
            method: "GET".to_owned(),
            uri: uri.to_owned(),
        }
    }
}

/// An error in the documented shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorBody {
    /// The HTTP status.
    pub status: u16,
    /// What is wrong, for a person.
    pub message: String,
    /// When: milliseconds since the Unix epoch.
    pub date_ms: i64,
    /// The request's method.
    pub method: String,
    /// The request's path and query, without the token: see [`crate::request::redact`].
    pub uri: String,
}

impl ErrorBody {
    /// Appends the JSON: exactly the documented members in the documented order.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"statusCode\":");
        push_u64(out, u64::from(self.status));
        out.extend_from_slice(b",\"statusText\":");
        push_string(out, status_text(self.status));
        out.extend_from_slice(b",\"message\":");
        push_string(out, &self.message);
        out.extend_from_slice(b",\"date\":\"");
        push_event_time(out, self.date_ms);
        out.extend_from_slice(b"\",\"statusFamily\":");
        push_string(out, status_family(self.status));
        out.extend_from_slice(b",\"method\":");
        push_string(out, &self.method);
        out.extend_from_slice(b",\"uri\":");
        push_string(out, &self.uri);
        out.push(b'}');
    }

    /// The JSON on its own.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(200 + self.message.len() + self.uri.len());
        self.encode(&mut out);
        out
    }
}
