//! What a client asks for when it connects: path, query, subprotocol.
//!
//! Everything here reads the raw, still percent-encoded text, so that an encoded `/` or `,` keeps its
//! meaning, and refuses with a text that helps the person who wrote the client. Such a text never
//! repeats what could be a token: clients put tokens into the wrong place.

mod keys;
mod path;
mod percent;
mod protocol;
mod query;
mod redact;
mod token;

pub use keys::{RawKeys, resolve_keys};
pub use path::{ALERT_PREFIX, OBJECT_PREFIX, SocketPath, V1_PATH, parse_path};
pub use protocol::{Protocol, Subprotocols, subprotocols};
pub(crate) use query::is_plain_name;
pub use query::{QUERY_BYTES_MAX, SESSION_BYTES_MAX, SocketQuery, parse_query};
pub use redact::redact;
pub(crate) use token::quoted;
pub use token::{PathToken, TOKEN_BYTES_MAX, Token};

#[cfg(test)]
mod tests;
