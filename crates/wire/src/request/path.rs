//! The socket paths.

use tidewire_event::NAME_BYTES_MAX;

use super::keys::RawKeys;
use super::percent::decode;
use super::token::{PathToken, Token, quoted};
use crate::definition::EventSet;
use crate::error::Refusal;

/// What stands before `{objectType}/{eventType}/{key}/{token}` (documented).
pub const OBJECT_PREFIX: &str = "/ws/rest/WebSocketObjectSubscription/";
/// What stands before `{scriptCode}/{token}` (documented).
pub const ALERT_PREFIX: &str = "/ws/rest/WebSocketAlertScript/";
/// The path of `tidewire.v1` (ours).
pub const V1_PATH: &str = "/ws/v1";

/// Most bytes of a script's code.
const SCRIPT_CODE_BYTES_MAX: usize = 128;

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketPath<'a> {
    /// Changes of objects.
    Objects {
        /// A type's name, percent-decoded, or `*`. Whether the model knows it is not yet asked.
        object_type: String,
        /// Which operations.
        events: EventSet,
        /// Which objects: for [`super::resolve_keys`], once the type is known.
        keys: RawKeys<'a>,
        /// Where the token is.
        token: PathToken,
    },
    /// Alerts of one script.
    AlertScript {
        /// The script's code, percent-decoded.
        code: String,
        /// Where the token is.
        token: PathToken,
    },
    /// `tidewire.v1` with no subscription yet.
    V1,
}

/// Reads the path of a request, as it came: percent-encoded, without the query.
///
/// # Errors
/// 404 for a path that is none of these; 400 for one that is malformed; 401 where the token's segment
/// is empty or no token.
pub fn parse_path(path: &str) -> Result<SocketPath<'_>, Refusal> {
    if path == V1_PATH {
        return Ok(SocketPath::V1);
    }
    if let Some(rest) = path.strip_prefix(OBJECT_PREFIX) {
        return parse_objects(rest);
    }
    if let Some(rest) = path.strip_prefix(ALERT_PREFIX) {
        return parse_alert(rest);
    }
    Err(Refusal::not_found(format!(
        "no socket has this path, expected {OBJECT_PREFIX}..., {ALERT_PREFIX}... or {V1_PATH}"
    )))
}

fn parse_objects(rest: &str) -> Result<SocketPath<'_>, Refusal> {
    let mut parts = rest.split('/');
    let (Some(object_type), Some(events), Some(keys), Some(token), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::bad_request(format!(
            "the path has {} parts behind WebSocketObjectSubscription, expected 4: \
             {{objectType}}/{{eventType}}/{{key}}/{{token}} ('-' for a token that comes elsewhere)",
            rest.split('/').count()
        )));
    };
    let object_type = name(object_type, "object type", NAME_BYTES_MAX)?;
    let decoded = decode(events).map_err(|e| bad("event type", e))?;
    let events = EventSet::parse(&decoded).map_err(|error| {
        Refusal::bad_request(format!("event type {} is unknown: {error}", quoted(&decoded)))
    })?;
    let keys = RawKeys::new(&object_type, keys);
    Ok(SocketPath::Objects { object_type, events, keys, token: parse_token(token)? })
}

fn parse_alert(rest: &str) -> Result<SocketPath<'_>, Refusal> {
    let mut parts = rest.split('/');
    let (Some(code), Some(token), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Refusal::bad_request(format!(
            "the path has {} parts behind WebSocketAlertScript, expected 2: \
             {{scriptCode}}/{{token}} ('-' for a token that comes elsewhere)",
            rest.split('/').count()
        )));
    };
    let code = name(code, "script code", SCRIPT_CODE_BYTES_MAX)?;
    Ok(SocketPath::AlertScript { code, token: parse_token(token)? })
}

fn name(raw: &str, what: &str, bytes_max: usize) -> Result<String, Refusal> {
    let name = decode(raw).map_err(|e| bad(what, e))?;
    if name.is_empty() || name.len() > bytes_max || name.chars().any(char::is_control) {
        return Err(Refusal::bad_request(format!(
            "the {what} is not a text of 1 to {bytes_max} bytes without control characters"
        )));
    }
    Ok(name.into_owned())
}

fn parse_token(raw: &str) -> Result<PathToken, Refusal> {
    if raw.is_empty() {
        return Err(Refusal::unauthorized(
            "token missing: put it behind the key, or '-' there and the token in a header",
        ));
    }
    if raw == "-" {
        return Ok(PathToken::Elsewhere);
    }
    decode(raw)
        .ok()
        .and_then(|token| Token::new(&token))
        .map(PathToken::Here)
        .ok_or_else(|| Refusal::unauthorized("token malformed"))
}

fn bad(what: &str, error: impl std::fmt::Display) -> Refusal {
    Refusal::bad_request(format!("the {what} {error}"))
}
