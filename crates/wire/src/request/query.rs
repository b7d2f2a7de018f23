//! The query of a socket's URL (ours).

use std::borrow::Cow;

use super::percent::decode_query;
use super::token::{Token, quoted};
use crate::error::Refusal;
use crate::nearest::hint;

/// Most bytes of a query: a field list of 16 KiB, each byte percent-encoded, and room for the rest.
pub const QUERY_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of a session's name.
pub const SESSION_BYTES_MAX: usize = 64;
/// Most bytes of a position to resume from: a cursor over some thousand partitions.
const LAST_EVENT_ID_BYTES_MAX: usize = 48 * 1024;

/// The names that are known.
pub(super) const NAMES: [&str; 8] = [
    "session",
    "fields",
    "refuse",
    "onlyMainObject",
    "liveReferences",
    "lastEventId",
    "filter",
    "ticket",
];

/// What the query says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketQuery {
    /// The session's name: 1 to 64 of `A-Za-z0-9_.-`.
    pub session: Option<String>,
    /// A field list, decoded, not yet read.
    pub fields: Option<String>,
    /// `refuse=close`: a refusal is an accepted upgrade, an error frame and a close.
    pub refuse_close: bool,
    /// Whether changes of objects below are left out; off by default.
    pub only_main_object: bool,
    /// Whether changes of referenced objects are told; on by default.
    pub live_references: bool,
    /// Where to resume (Server-Sent Events).
    pub last_event_id: Option<String>,
    /// A filter, decoded, not yet read.
    pub filter: Option<String>,
    /// A one-time ticket.
    pub ticket: Option<Token>,
}

impl Default for SocketQuery {
    fn default() -> Self {
        Self {
            session: None,
            fields: None,
            refuse_close: false,
            only_main_object: false,
            live_references: true,
            last_event_id: None,
            filter: None,
            ticket: None,
        }
    }
}

/// Reads what stands behind the `?`, as it came; empty where there is none.
///
/// # Errors
/// 400 names the parameter. A bad ticket is 401, as a bad token is.
pub fn parse_query(raw: &str) -> Result<SocketQuery, Refusal> {
    if raw.len() > QUERY_BYTES_MAX {
        return Err(Refusal::bad_request(format!(
            "the query has more than {QUERY_BYTES_MAX} bytes"
        )));
    }
    let mut query = SocketQuery::default();
    let mut seen = Vec::with_capacity(NAMES.len());
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode_query(name)
            .map_err(|e| Refusal::bad_request(format!("a query parameter's name {e}")))?;
        let name = known(&name)?;
        if seen.contains(&name) {
            return Err(Refusal::bad_request(format!("query parameter '{name}' is given twice")));
        }
        seen.push(name);
        let value = decode_query(value)
            .map_err(|e| Refusal::bad_request(format!("query parameter '{name}' {e}")))?;
        query.set(name, value)?;
    }
    Ok(query)
}

impl SocketQuery {
    fn set(&mut self, name: &'static str, value: Cow<'_, str>) -> Result<(), Refusal> {
        match name {
            "session" => self.session = Some(session(value)?),
            "fields" => self.fields = Some(filled(name, value)?),
            "refuse" => {
                if value != "close" {
                    return Err(expected(name, "'close'"));
                }
                self.refuse_close = true;
            }
            "onlyMainObject" => self.only_main_object = boolean(name, &value)?,
            "liveReferences" => self.live_references = boolean(name, &value)?,
            "lastEventId" => self.last_event_id = Some(position(name, value)?),
            "filter" => self.filter = Some(filled(name, value)?),
            _ => {
                let ticket = Token::new(&value);
                let ticket = ticket.ok_or_else(|| Refusal::unauthorized("ticket malformed"))?;
                self.ticket = Some(ticket);
            }
        }
        Ok(())
    }
}

fn session(value: Cow<'_, str>) -> Result<String, Refusal> {
    if is_plain_name(&value, SESSION_BYTES_MAX) {
        Ok(value.into_owned())
    } else {
        Err(expected("session", "1 to 64 of A-Z, a-z, 0-9, '_', '.' and '-'"))
    }
}

/// Whether a name that a client chose has 1 to `bytes_max` of `A-Za-z0-9_.-`.
pub(crate) fn is_plain_name(name: &str, bytes_max: usize) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (1..=bytes_max).contains(&name.len()) && name.bytes().all(legal)
}

fn filled(name: &str, value: Cow<'_, str>) -> Result<String, Refusal> {
    if value.is_empty() { Err(expected(name, "a value")) } else { Ok(value.into_owned()) }
}

fn position(name: &str, value: Cow<'_, str>) -> Result<String, Refusal> {
    let sound = (1..=LAST_EVENT_ID_BYTES_MAX).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_graphic());
    if sound { Ok(value.into_owned()) } else { Err(expected(name, "the id of an event")) }
}

fn boolean(name: &str, value: &str) -> Result<bool, Refusal> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(expected(name, "'true' or 'false'")),
    }
}

fn expected(name: &str, what: &str) -> Refusal {
    Refusal::bad_request(format!("query parameter '{name}' expects {what}"))
}

fn known(name: &str) -> Result<&'static str, Refusal> {
    NAMES.into_iter().find(|known| *known == name).ok_or_else(|| {
        let hint = hint(name, &NAMES);
        Refusal::bad_request(format!("query parameter {} is unknown{hint}", quoted(name)))
    })
}
