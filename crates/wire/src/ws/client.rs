//! The client's side: masked frames, for load tools and tests.

use super::header::apply_mask;

/// Appends a whole text message.
pub fn push_masked_text(out: &mut Vec<u8>, mask: [u8; 4], text: &str) {
    push_masked(out, true, 1, mask, text.as_bytes());
}

/// Appends a frame, whatever rule it breaks: `opcode` is taken as it is, its low four bits.
pub fn push_masked(out: &mut Vec<u8>, fin: bool, opcode: u8, mask: [u8; 4], payload: &[u8]) {
    let header = out.len();
    super::encode_text_header(out, payload.len());
    if let Some([first, second]) = out.get_mut(header..header + 2) {
        *first = u8::from(fin) << 7 | opcode & 0x0f;
        *second |= 0x80;
    }
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(out.get_mut(start..).unwrap_or_default(), mask, 0);
}
