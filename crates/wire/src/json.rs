//! Writing JSON by hand, where a frame is put together from parts.
//!
//! Strings are escaped as RFC 8259, section 7, asks and no further: `"`, `\` and the control characters
//! below 0x20, with the short forms where there are any. That is what `serde_json` writes, too.

/// Appends a string with its quotes.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_text(out, text);
    out.push(b'"');
}

/// Appends the inside of a string: escaped, without quotes.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|b| needs_escape(*b)) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, tail)) = tail.split_first() else { return };
        push_escape(out, *byte);
        rest = tail;
    }
    out.extend_from_slice(rest);
}

const fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let low = byte & 15;
            let low = if low < 10 { b'0' + low } else { b'a' + low - 10 };
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), low]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends a decimal number.
pub fn push_u64(out: &mut Vec<u8>, number: u64) {
    const DIGITS_MAX: usize = 20;
    let mut digits = [0; DIGITS_MAX];
    let mut first = DIGITS_MAX;
    let mut rest = number;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (rest % 10) as u8;
        first -= 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// Appends a decimal number, with a sign where it is negative.
pub fn push_i64(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    push_u64(out, number.unsigned_abs());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn string(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        push_string(&mut out, text);
        out
    }

    #[test]
    fn every_control_character_is_escaped() {
        let all: String = (0..=0x7f_u8).map(char::from).collect();
        assert_eq!(string(&all), serde_json::to_vec(&all).unwrap());
    }

    proptest! {
        #[test]
        fn strings_are_what_serde_json_writes(text in "(?s).{0,40}") {
            prop_assert_eq!(string(&text), serde_json::to_vec(&text).unwrap());
        }

        #[test]
        fn numbers_are_what_display_writes(a in any::<u64>(), shift in 0..64_u32, b in any::<i64>()) {
            let (a, b) = (a >> shift, b >> shift);
            let mut out = Vec::new();
            push_u64(&mut out, a);
            out.push(b' ');
            push_i64(&mut out, b);
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("{a} {b}"));
        }
    }

    #[test]
    fn the_ends_of_the_number_range() {
        let check = |number: i64, expected: &str| {
            let mut out = Vec::new();
            push_i64(&mut out, number);
            assert_eq!(out, expected.as_bytes());
        };
        check(0, "0");
        check(-1, "-1");
        check(i64::MAX, "9223372036854775807");
        check(i64::MIN, "-9223372036854775808");
    }
}
