//! The header of a client's frame (RFC 6455, section 5.2).

use super::{CONTROL_BYTES_MAX, ProtocolError};

/// What a frame is. Reserved opcodes have no name here: they are errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    pub(crate) const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A header that breaks no rule by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    pub(crate) opcode: Opcode,
    pub(crate) mask: [u8; 4],
    /// Bytes of payload.
    pub(crate) length: u64,
}

impl Header {
    /// Reads a header from the start of `bytes` and says how many bytes it took; `None` if it does not
    /// end there. What is wrong is told as soon as the bytes that say so are there.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some((&first, bytes)) = bytes.split_first() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let fin = first & 0x80 != 0;
        let bits = first & 0x0f;
        let opcode = Opcode::from_bits(bits).ok_or(ProtocolError::Opcode(bits))?;
        if opcode.is_control() && !fin {
            return Err(ProtocolError::FragmentedControl);
        }
        let Some((&second, bytes)) = bytes.split_first() else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(ProtocolError::Unmasked);
        }
        let short = second & 0x7f;
        if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
            return Err(ProtocolError::LongControl);
        }
        let (length, bytes, length_bytes) = match short {
            126 => {
                let Some((long, bytes)) = bytes.split_first_chunk() else { return Ok(None) };
                (u64::from(u16::from_be_bytes(*long)), bytes, 2)
            }
            127 => {
                let Some((long, bytes)) = bytes.split_first_chunk() else { return Ok(None) };
                (u64::from_be_bytes(*long), bytes, 8)
            }
            short => (u64::from(short), bytes, 0),
        };
        let shortest = match length {
            0..126 => 0,
            126..0x1_0000 => 2,
            _ => 8,
        };
        if length_bytes != shortest || length >> 63 != 0 {
            return Err(ProtocolError::LengthForm);
        }
        let Some(mask) = bytes.first_chunk() else { return Ok(None) };
        let header = Self { fin, opcode, mask: *mask, length };
        Ok(Some((header, 2 + length_bytes + mask.len())))
    }
}

/// Applies a mask (section 5.3) to bytes that begin `offset` bytes into the payload. Masking and
/// unmasking are the same.
pub(crate) fn apply_mask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut mask = mask;
    mask.rotate_left(offset % 4);
    let wide = u64::from(u32::from_ne_bytes(mask));
    let wide = wide << 32 | wide;
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}
