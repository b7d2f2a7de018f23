//! Varints and counted texts.

/// Most bytes of a varint that holds 64 bits.
const VARINT_BYTES_MAX: u32 = 10;

/// Appends a number, seven bits to a byte, the lowest first.
pub(super) fn push_varint(out: &mut Vec<u8>, number: u64) {
    let mut rest = number;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push((rest & 0x7f) as u8);
}

/// Appends a text behind its length in bytes.
pub(super) fn push_text(out: &mut Vec<u8>, text: &str) {
    push_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// What is left to read. Everything answers `None` where the bytes are not what a writer makes.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// Reads a number in its shortest form.
    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for index in 0..VARINT_BYTES_MAX {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits << (7 * index);
            if shifted >> (7 * index) != bits {
                return None;
            }
            number |= shifted;
            if byte & 0x80 == 0 {
                let shortest = *byte != 0 || index == 0;
                return shortest.then_some(number);
            }
        }
        None
    }

    /// Reads a text behind its length.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}
