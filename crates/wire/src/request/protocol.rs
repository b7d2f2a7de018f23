//! `Sec-WebSocket-Protocol` (ours): which frames, and a token where browsers can put one.

use super::token::Token;
use crate::error::Refusal;

/// What marks the token among the offered subprotocols.
const BEARER_PREFIX: &str = "bearer.";

/// A subprotocol that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `vms`: the documented frames.
    Vms,
    /// `tidewire.v1`.
    TidewireV1,
}

impl Protocol {
    /// The name, as it is echoed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vms => "vms",
            Self::TidewireV1 => "tidewire.v1",
        }
    }
}

/// What was offered and is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subprotocols {
    /// The one to echo: the first known one. The bearer one is never echoed. Without one the
    /// documented frames are spoken.
    pub echo: Option<Protocol>,
    /// The token or ticket of `bearer.<token>`.
    pub bearer: Option<Token>,
}

/// Reads the values of all `Sec-WebSocket-Protocol` headers. Names that nobody here knows are passed
/// over.
///
/// # Errors
/// 401 for a malformed token; 400 for two tokens, or for one without a subprotocol to echo (a browser
/// would close the socket again without a word).
pub fn subprotocols<'a>(
    header_values: impl IntoIterator<Item = &'a str>,
) -> Result<Subprotocols, Refusal> {
    let mut chosen = Subprotocols::default();
    for offered in header_values.into_iter().flat_map(|value| value.split(',')).map(str::trim) {
        if let Some(token) = offered.strip_prefix(BEARER_PREFIX) {
            let token = Token::new(token)
                .ok_or_else(|| Refusal::unauthorized("token malformed in the subprotocol"))?;
            if chosen.bearer.replace(token).is_some() {
                return Err(Refusal::bad_request("more than one 'bearer.' subprotocol"));
            }
            continue;
        }
        let mut known = [Protocol::Vms, Protocol::TidewireV1].into_iter();
        let known = known.find(|protocol| protocol.as_str() == offered);
        chosen.echo = chosen.echo.or(known);
    }
    if chosen.bearer.is_some() && chosen.echo.is_none() {
        return Err(Refusal::bad_request(
            "the subprotocol 'bearer.<token>' needs 'vms' or 'tidewire.v1' beside it",
        ));
    }
    Ok(chosen)
}
