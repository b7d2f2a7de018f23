//! Percent-encoding with one canonical form (RFC 3986, section 2.3).
//!
//! The partition of a record is a hash of its key's bytes, so an object must have one spelling only:
//! the unreserved characters `A-Z a-z 0-9 - . _ ~` stand for themselves, every other byte is `%` and
//! two upper-case hex digits. [`decode`] refuses any other spelling.

use std::borrow::Cow;

use thiserror::Error;

/// Why a percent-encoded part is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PercentError {
    /// A byte that must be encoded stands bare.
    #[error("byte 0x{0:02x} must be percent-encoded")]
    Bare(u8),
    /// `%` without two upper-case hex digits behind it.
    #[error("'%' must be followed by two upper-case hex digits")]
    BadEscape,
    /// An unreserved character is encoded, which gives it a second spelling.
    #[error("'{0}' must not be percent-encoded")]
    Needless(char),
    /// The decoded bytes are not UTF-8.
    #[error("the decoded text is not UTF-8")]
    NotUtf8,
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Encodes one part. Borrows where nothing needs encoding.
#[must_use]
pub fn encode(text: &str) -> Cow<'_, str> {
    if text.bytes().all(is_unreserved) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if is_unreserved(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                let digit = char::from_digit(u32::from(nibble), 16).unwrap_or('0');
                out.push(digit.to_ascii_uppercase());
            }
        }
    }
    Cow::Owned(out)
}

/// Decodes one part, accepting only the canonical spelling.
///
/// # Errors
/// [`PercentError`] says what is wrong; the caller knows which part it was.
pub fn decode(text: &str) -> Result<Cow<'_, str>, PercentError> {
    if text.bytes().all(is_unreserved) {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = bytes.next().and_then(hex).ok_or(PercentError::BadEscape)?;
            let low = bytes.next().and_then(hex).ok_or(PercentError::BadEscape)?;
            let decoded = high << 4 | low;
            if is_unreserved(decoded) {
                return Err(PercentError::Needless(char::from(decoded)));
            }
            out.push(decoded);
        } else if is_unreserved(byte) {
            out.push(byte);
        } else {
            return Err(PercentError::Bare(byte));
        }
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| PercentError::NotUtf8)
}

const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_second_spellings() {
        assert_eq!(decode("a%2Fb").as_deref(), Ok("a/b"));
        assert_eq!(decode("a%2fb"), Err(PercentError::BadEscape));
        assert_eq!(decode("%41"), Err(PercentError::Needless('A')));
        assert_eq!(decode("a b"), Err(PercentError::Bare(b' ')));
        assert_eq!(decode("%F"), Err(PercentError::BadEscape));
        assert_eq!(decode("%FF"), Err(PercentError::NotUtf8));
    }

    proptest! {
        #[test]
        fn decodes_what_it_encoded(text in ".*") {
            let encoded = encode(&text).into_owned();
            let decoded = decode(&encoded);
            prop_assert_eq!(decoded.as_deref(), Ok(text.as_str()));
        }

        #[test]
        fn has_one_spelling(text in "[%a-zA-Z0-9/ ]{0,12}") {
            if let Ok(decoded) = decode(&text) {
                let again = encode(&decoded).into_owned();
                prop_assert_eq!(again, text);
            }
        }
    }
}
