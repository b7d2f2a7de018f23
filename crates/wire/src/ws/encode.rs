//! From messages to bytes. Frames of a server are never masked and never fragmented here.

use super::CONTROL_BYTES_MAX;

/// Most bytes in the header of a server's frame.
pub const HEADER_BYTES_MAX: usize = 10;
/// Most bytes in the reason of a close frame: the code takes two.
pub const CLOSE_REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

const FIN_TEXT: u8 = 0x81;
const FIN_CLOSE: u8 = 0x88;
const FIN_PING: u8 = 0x89;
const FIN_PONG: u8 = 0x8a;

/// Appends the header of a text frame with `length` bytes of payload, which the caller appends.
pub fn encode_text_header(out: &mut Vec<u8>, length: usize) {
    out.push(FIN_TEXT);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..126), _) => out.push(length),
        (_, Ok(length)) => {
            out.push(126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Appends a text frame. `payload` is UTF-8.
pub fn push_text(out: &mut Vec<u8>, payload: &[u8]) {
    out.reserve(HEADER_BYTES_MAX + payload.len());
    encode_text_header(out, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a ping; of its payload at most [`CONTROL_BYTES_MAX`] bytes.
pub fn push_ping(out: &mut Vec<u8>, payload: &[u8]) {
    push_control(out, FIN_PING, &[payload]);
}

/// Appends a pong; of its payload at most [`CONTROL_BYTES_MAX`] bytes.
pub fn push_pong(out: &mut Vec<u8>, payload: &[u8]) {
    push_control(out, FIN_PONG, &[payload]);
}

/// Appends a close frame. The reason is clipped to [`CLOSE_REASON_BYTES_MAX`] bytes at the end of a
/// character.
pub fn push_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let end = reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX);
    let reason = reason.get(..end).unwrap_or_default();
    push_control(out, FIN_CLOSE, &[&code.to_be_bytes(), reason.as_bytes()]);
}

fn push_control(out: &mut Vec<u8>, first: u8, parts: &[&[u8]]) {
    let wanted = parts.iter().map(|part| part.len()).sum::<usize>().min(CONTROL_BYTES_MAX);
    let length = u8::try_from(wanted).unwrap_or_default();
    out.extend_from_slice(&[first, length]);
    out.extend(parts.iter().copied().flatten().take(wanted));
}
