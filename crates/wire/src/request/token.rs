//! Tokens on their way in: kept out of every log line by their type.

use std::fmt;

/// Most bytes of a token or ticket.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// An access token or a one-time ticket, not verified. Its `Debug` shows nothing of it, and it has no
/// `Display`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(Box<str>);

impl Token {
    /// Takes a text for a token, if it may be one: not empty, not too long, visible ASCII only.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let sound = (1..=TOKEN_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic());
        sound.then(|| Self(text.into()))
    }

    /// The text, for the one who verifies it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(-)")
    }
}

/// The token segment of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathToken {
    /// `-`: the token comes as a header, a subprotocol or a ticket in the query.
    Elsewhere,
    /// The token itself, or a ticket.
    Here(Token),
}

/// A word about a part of a request that may be shown: short, and nothing like a token.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN_BYTES_MAX: usize = 24;
    if text.len() <= SHOWN_BYTES_MAX && !looks_like_token(text) {
        format!("{text:?}")
    } else {
        format!("a text of {} bytes", text.len())
    }
}

/// Whether a decoded text might be a token or a ticket, or hold one. A JWT begins with `eyJ` (`{"` in
/// base64); tickets and opaque tokens are long runs of base64url.
pub(super) fn looks_like_token(text: &str) -> bool {
    const OPAQUE_BYTES_MIN: usize = 40;
    let opaque = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    text.contains("eyJ")
        || text.to_ascii_lowercase().contains("bearer")
        || text
            .split(|c: char| !c.is_ascii() || !opaque(c as u8))
            .any(|run| run.len() >= OPAQUE_BYTES_MIN)
}
