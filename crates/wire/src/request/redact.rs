//! Paths and queries without tokens, for log lines and for `uri` in error bodies.
//!
//! What is kept is what is known to be harmless, not the other way round: a token may stand in any
//! place that a client mistook for the right one.

use super::path::{ALERT_PREFIX, OBJECT_PREFIX};
use super::percent::{decode, decode_query};
use super::query::NAMES;
use super::token::looks_like_token;

/// What stands for what is left out.
const LEFT_OUT: &str = "-";
/// How many segments of a path that is no socket's are shown: `/ws/rest/{type}/{key}`.
const OTHER_SEGMENTS_MAX: usize = 4;
/// Most bytes of an unknown parameter's name that is shown.
const NAME_BYTES_MAX: usize = 20;

/// Takes tokens out of a raw path with its query: the token's segment becomes `-`, and so does
/// whatever else might be a token, a ticket among them. Never fails, whatever the text is.
#[must_use]
pub fn redact(path_and_query: &str) -> String {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let mut out = String::with_capacity(path_and_query.len());
    redact_path(&mut out, path);
    if let Some(query) = query {
        out.push('?');
        for (index, pair) in query.split('&').enumerate() {
            if index > 0 {
                out.push('&');
            }
            redact_pair(&mut out, pair);
        }
    }
    out
}

fn redact_path(out: &mut String, path: &str) {
    let sockets = [(OBJECT_PREFIX, 3), (ALERT_PREFIX, 1)];
    let socket = sockets
        .into_iter()
        .find_map(|(prefix, kept)| path.strip_prefix(prefix).map(|rest| (prefix, rest, kept)));
    let (rest, kept) = match socket {
        Some((prefix, rest, kept)) => {
            out.push_str(prefix);
            (rest, kept)
        }
        None => match path.strip_prefix('/') {
            Some(rest) => {
                out.push('/');
                (rest, OTHER_SEGMENTS_MAX)
            }
            None => (path, OTHER_SEGMENTS_MAX),
        },
    };
    for (index, segment) in rest.split('/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        let shown = index < kept && decode(segment).is_ok_and(|text| !looks_like_token(&text));
        out.push_str(if shown || segment.is_empty() { segment } else { LEFT_OUT });
    }
}

fn redact_pair(out: &mut String, pair: &str) {
    let (name, value) = match pair.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (pair, None),
    };
    let decoded = decode_query(name).unwrap_or_default();
    let known = NAMES.contains(&&*decoded);
    let name_shown = known
        || name.len() <= NAME_BYTES_MAX
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
            && !looks_like_token(name);
    out.push_str(if name_shown { name } else { LEFT_OUT });
    let Some(value) = value else { return };
    out.push('=');
    let harmless = decoded != "ticket" && known;
    let shown = harmless && decode_query(value).is_ok_and(|text| !looks_like_token(&text));
    out.push_str(if shown || value.is_empty() { value } else { LEFT_OUT });
}
