//! Percent-decoding of requests (RFC 3986, section 2.1): any valid encoding is accepted, canonical or
//! not, since clients' libraries differ in what they encode.

use std::borrow::Cow;

use thiserror::Error;

/// A part of a request is not percent-encoded UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is not percent-encoded UTF-8")]
pub(super) struct NotDecodable;

/// Decodes a part of a path.
pub(super) fn decode(text: &str) -> Result<Cow<'_, str>, NotDecodable> {
    decode_with(text, b'+')
}

/// Decodes a name or a value of a query, where `+` is a space, as browsers write it.
pub(super) fn decode_query(text: &str) -> Result<Cow<'_, str>, NotDecodable> {
    decode_with(text, b' ')
}

fn decode_with(text: &str, plus: u8) -> Result<Cow<'_, str>, NotDecodable> {
    if !text.bytes().any(|b| b == b'%' || b == b'+') {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || {
                    let digit = char::from(bytes.next()?).to_digit(16)?;
                    u8::try_from(digit).ok()
                };
                let high = digit().ok_or(NotDecodable)?;
                let low = digit().ok_or(NotDecodable)?;
                high << 4 | low
            }
            b'+' => plus,
            other => other,
        });
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| NotDecodable)
}
