//! Text made safe for a log line: capped, escaped, without tokens.

use std::borrow::Cow;
use std::fmt::{self, Write};

use super::VALUE_BYTES_MAX;

const JWT_START: &str = "eyJ";
/// A JWT is at least this long: header, payload and signature of the shortest kind.
const JWT_BYTES_MIN: usize = 20;

/// Writes `value` capped and escaped as the inside of a JSON string. The same escapes do for text lines.
pub(super) fn write_safe(out: &mut impl Write, value: &str) -> fmt::Result {
    let (kept, cut) = cap(value);
    for character in hide_tokens(kept).chars() {
        match character {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            // Control characters of ASCII and Latin-1, line separators, and the marks that turn the
            // direction of text: each can make a viewer show something else than what was logged.
            '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                write!(out, "\\u{:04x}", u32::from(character))?;
            }
            _ if character.is_control() => write!(out, "\\u{:04x}", u32::from(character))?,
            _ => out.write_char(character)?,
        }
    }
    if cut { out.write_char('…') } else { Ok(()) }
}

fn cap(value: &str) -> (&str, bool) {
    if value.len() <= VALUE_BYTES_MAX {
        return (value, false);
    }
    let end = value.floor_char_boundary(VALUE_BYTES_MAX);
    (value.get(..end).unwrap_or_default(), true)
}

/// Replaces what looks like a JWT: `eyJ`, then token characters with a dot among them.
fn hide_tokens(value: &str) -> Cow<'_, str> {
    if !value.contains(JWT_START) {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.find(JWT_START).and_then(|at| rest.split_at_checked(at))
    {
        out.push_str(before);
        let of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let end = after.find(|c| !of_token(c)).unwrap_or(after.len());
        let (token, tail) = after.split_at_checked(end).unwrap_or((after, ""));
        out.push_str(if token.len() >= JWT_BYTES_MIN { "[token]" } else { token });
        rest = tail;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &str) {
        let mut out = String::new();
        write_safe(&mut out, input).unwrap();
        assert_eq!(out, expected, "input {input:?}");
    }

    #[test]
    fn escapes_what_could_forge_a_line() {
        check("plain words, ümlaut, 船", "plain words, ümlaut, 船");
        check("a\"b\\c", r#"a\"b\\c"#);
        check("a\nb\r\tc", r"a\nb\r\tc");
        check("\u{1b}[31mred\u{0}", r"\u001b[31mred\u0000");
        check("\u{7f}\u{9b}", r"\u007f\u009b");
        check("a\u{2028}b\u{202e}c\u{2066}d", r"a\u2028b\u202ec\u2066d");
        check("", "");
    }

    #[test]
    fn caps_at_a_character() {
        let exact = "x".repeat(VALUE_BYTES_MAX);
        check(&exact, &exact);
        check(&format!("{exact}y"), &format!("{exact}…"));
        let umlauts = "ü".repeat(VALUE_BYTES_MAX);
        check(&umlauts, &format!("{}…", "ü".repeat(VALUE_BYTES_MAX / 2)));
        let odd = format!("x{umlauts}");
        check(&odd, &format!("x{}…", "ü".repeat(VALUE_BYTES_MAX / 2 - 1)));
    }

    #[test]
    fn hides_tokens() {
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2lnbmF0dXJl_-x";
        check(token, "[token]");
        check(&format!("/ws/rest/A/U/1/{token}?x=1"), "/ws/rest/A/U/1/[token]?x=1");
        check(&format!("{token} and {token}"), "[token] and [token]");
        check("eyJ alone is a word", "eyJ alone is a word");
        check("xeyJeyJ", "xeyJeyJ");
        // Cut in its middle by the cap, it is still hidden.
        let long = format!("{}{token}", "x".repeat(VALUE_BYTES_MAX - 30));
        check(&long, &format!("{}[token]…", "x".repeat(VALUE_BYTES_MAX - 30)));
    }
}
