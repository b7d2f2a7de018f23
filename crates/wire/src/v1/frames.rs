//! What a server sends: one JSON text each, `type` first.
//!
//! Nothing here knows a transport: the bytes go into a WebSocket frame as they are.

use tidewire_event::FrameId;

use crate::error::ErrorBody;
use crate::frame::{push_event_time, subscription_suffix};
use crate::json::{push_i64, push_string, push_u64};
use crate::request::Protocol;

/// What stands before the body of an event.
pub const EVENT_PREFIX: &[u8] = b"{\"type\":\"event\",";
/// What stands before the body of an object of a snapshot.
pub const SNAPSHOT_PREFIX: &[u8] = b"{\"type\":\"snapshot\",";

/// Why changes may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// Retention removed what was to be read next.
    Retention,
    /// The log contradicts the position: it ends before it, or was cut and written anew.
    Truncated,
    /// The topic was created anew.
    Recreated,
    /// The cursor is another tenant's.
    Tenant,
    /// Rights were taken away, or an object left the caller's sight unseen.
    Rights,
    /// A change could not be read.
    Unreadable,
}

impl GapReason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Retention,
        Self::Truncated,
        Self::Recreated,
        Self::Tenant,
        Self::Rights,
        Self::Unreadable,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Truncated => "truncated",
            Self::Recreated => "recreated",
            Self::Tenant => "tenant",
            Self::Rights => "rights",
            Self::Unreadable => "unreadable",
        }
    }
}

/// The socket is open. `connection` names it in the server's logs; a server that pings says how often.
pub fn push_welcome(out: &mut Vec<u8>, connection: &str, heartbeat_ms: Option<u64>) {
    start(out, "welcome");
    text(out, "protocol", Protocol::TidewireV1.as_str());
    text(out, "connection", connection);
    if let Some(heartbeat_ms) = heartbeat_ms {
        number(out, "heartbeatMs", heartbeat_ms);
    }
    out.push(b'}');
}

/// The subscription counts from `cursor` on.
pub fn push_subscribed(out: &mut Vec<u8>, id: &str, cursor: &str) {
    start(out, "subscribed");
    text(out, "id", id);
    text(out, "cursor", cursor);
    out.push(b'}');
}

/// The subscription is over: none of its events follows.
pub fn push_unsubscribed(out: &mut Vec<u8>, id: &str) {
    start(out, "unsubscribed");
    text(out, "id", id);
    out.push(b'}');
}

/// The subscription has caught up, after so many events.
pub fn push_live(out: &mut Vec<u8>, id: &str, cursor: &str, replayed: u64) {
    start(out, "live");
    text(out, "id", id);
    text(out, "cursor", cursor);
    number(out, "replayed", replayed);
    out.push(b'}');
}

/// Everything that these subscriptions wanted before `cursor` stands before this message.
pub fn push_cursor<'a>(out: &mut Vec<u8>, subs: impl IntoIterator<Item = &'a str>, cursor: &str) {
    start(out, "cursor");
    out.extend_from_slice(b",\"subs\":[");
    for (index, sub) in subs.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_string(out, sub);
    }
    out.push(b']');
    text(out, "cursor", cursor);
    out.push(b'}');
}

/// Changes may be missing.
pub fn push_gap(out: &mut Vec<u8>, sub: &str, reason: GapReason) {
    start(out, "gap");
    text(out, "sub", sub);
    text(out, "reason", reason.as_str());
    out.push(b'}');
}

/// So many events were merged into others since this was last said.
pub fn push_conflated(out: &mut Vec<u8>, sub: &str, n: u64) {
    start(out, "conflated");
    text(out, "sub", sub);
    number(out, "n", n);
    out.push(b'}');
}

/// What the subscriptions of this socket wanted of this record stands before this message.
pub fn push_reached(out: &mut Vec<u8>, id: FrameId) {
    start(out, "reached");
    out.extend_from_slice(b",\"id\":\"");
    push_i64(out, i64::from(id.partition.0));
    out.push(b'-');
    push_i64(out, id.offset.0);
    out.extend_from_slice(b"\"}");
}

/// The token's time is over soon.
pub fn push_token_expiring(out: &mut Vec<u8>, in_ms: u64) {
    start(out, "tokenExpiring");
    number(out, "inMs", in_ms);
    out.push(b'}');
}

/// A new token counts, until this time (milliseconds since the Unix epoch).
pub fn push_token_accepted(out: &mut Vec<u8>, expires_at_ms: i64) {
    start(out, "tokenAccepted");
    out.extend_from_slice(b",\"expiresAt\":\"");
    push_event_time(out, expires_at_ms);
    out.extend_from_slice(b"\"}");
}

/// The socket is about to be closed: connect again after so long.
pub fn push_goaway(out: &mut Vec<u8>, retry_ms: u64) {
    start(out, "goaway");
    number(out, "retryMs", retry_ms);
    out.push(b'}');
}

/// Something is wrong, with one subscription or with the socket: the documented shape behind `type`.
pub fn push_error(out: &mut Vec<u8>, sub: Option<&str>, body: &ErrorBody) {
    start(out, "error");
    if let Some(sub) = sub {
        text(out, "sub", sub);
    }
    out.push(b',');
    out.extend_from_slice(body_members(&body.to_json()));
}

/// The answer to `ping`.
pub fn push_pong(out: &mut Vec<u8>) {
    start(out, "pong");
    out.push(b'}');
}

/// The objects of a snapshot have been sent, so many of them. Where it is not complete there may be
/// more, which the server could not know.
pub fn push_snapshot_end(out: &mut Vec<u8>, sub: &str, complete: bool, objects: u64) {
    start(out, "snapshot");
    text(out, "sub", sub);
    let complete: &[u8] = if complete { b",\"complete\":true" } else { b",\"complete\":false" };
    out.extend_from_slice(complete);
    number(out, "objects", objects);
    out.push(b'}');
}

/// What stands behind [`EVENT_PREFIX`] or [`SNAPSHOT_PREFIX`]: a body of [`crate::frame::EventBody`]
/// without the brace that the prefix has already.
#[must_use]
pub fn body_members(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"{").unwrap_or(body)
}

/// What closes the body of an event: the subscription as in the documented frames, then the client's
/// own name for it.
#[must_use]
pub fn event_suffix(definition_number: u64, self_base: &str, sub: &str) -> Vec<u8> {
    named_suffix(subscription_suffix(definition_number, self_base), sub)
}

/// The same of a suffix that is made already.
#[must_use]
pub fn named_suffix(mut suffix: Vec<u8>, sub: &str) -> Vec<u8> {
    // The brace that closes the message.
    suffix.pop();
    text(&mut suffix, "sub", sub);
    suffix.push(b'}');
    suffix
}

/// The script whose alerts are subscribed to runs no longer, since its version failed too often; `kind` says
/// how. Its alerts come again once it is saved again.
pub fn push_script_disabled(out: &mut Vec<u8>, sub: &str, code: &str, version: u64, kind: &str) {
    start(out, "scriptDisabled");
    text(out, "sub", sub);
    text(out, "scriptCode", code);
    number(out, "version", version);
    text(out, "kind", kind);
    out.push(b'}');
}

fn start(out: &mut Vec<u8>, kind: &str) {
    out.extend_from_slice(b"{\"type\":");
    push_string(out, kind);
}

fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b',');
    push_string(out, name);
    out.push(b':');
    push_string(out, value);
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    out.push(b',');
    push_string(out, name);
    out.push(b':');
    push_u64(out, value);
}
