//! Frames on the pipes: two lengths (big-endian `u32`), a header in JSON, and bytes as they are.
//!
//! The body of an event is such bytes: it is neither quoted nor parsed on its way.

use std::io::{self, Read};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Most bytes of a header: results with long messages, or sources to load.
const HEADER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most bytes behind the header.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
const LENGTHS_BYTES: usize = 8;

/// Appends a frame.
pub(crate) fn write<T: Serialize>(out: &mut Vec<u8>, header: &T, body: &[u8]) -> io::Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTHS_BYTES]);
    serde_json::to_writer(&mut *out, header)?;
    let header_bytes = out.len() - start - LENGTHS_BYTES;
    let lengths = [length(header_bytes, HEADER_BYTES_MAX)?, length(body.len(), BODY_BYTES_MAX)?];
    for (at, length) in [start, start + 4].into_iter().zip(lengths) {
        if let Some(place) = out.get_mut(at..at + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
    out.extend_from_slice(body);
    Ok(())
}

fn length(bytes: usize, max: usize) -> io::Result<u32> {
    u32::try_from(bytes).ok().filter(|_| bytes <= max).ok_or_else(|| bad("a frame is too long"))
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn lengths(bytes: [u8; LENGTHS_BYTES]) -> io::Result<(usize, usize)> {
    let [a, b, c, d, e, f, g, h] = bytes;
    let header = u32::from_be_bytes([a, b, c, d]) as usize;
    let body = u32::from_be_bytes([e, f, g, h]) as usize;
    if header > HEADER_BYTES_MAX || body > BODY_BYTES_MAX {
        return Err(bad("a frame is too long"));
    }
    Ok((header, body))
}

/// Reads a frame in the worker; `None` at the end of the input.
pub(crate) fn read<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<Option<(T, Vec<u8>)>> {
    let mut start = [0; LENGTHS_BYTES];
    match input.read_exact(&mut start) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    }
    let (header, body) = lengths(start)?;
    let mut header = vec![0; header];
    input.read_exact(&mut header)?;
    let mut bytes = vec![0; body];
    input.read_exact(&mut bytes)?;
    Ok(Some((serde_json::from_slice(&header)?, bytes)))
}

/// Reads a frame in the parent: a worker sends none with a body.
pub(crate) async fn receive<T: DeserializeOwned>(
    input: &mut (impl AsyncRead + Unpin),
) -> io::Result<T> {
    let mut start = [0; LENGTHS_BYTES];
    input.read_exact(&mut start).await?;
    let (header, body) = lengths(start)?;
    if body > 0 {
        return Err(bad("a worker's frame has a body"));
    }
    let mut bytes = vec![0; header];
    input.read_exact(&mut bytes).await?;
    Ok(serde_json::from_slice(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        write(&mut bytes, &"one", b"body").unwrap();
        write(&mut bytes, &"two", b"").unwrap();
        let mut input = bytes.as_slice();
        assert_eq!(read(&mut input).unwrap(), Some(("one".to_owned(), b"body".to_vec())));
        assert_eq!(read(&mut input).unwrap(), Some(("two".to_owned(), Vec::new())));
        assert_eq!(read::<String>(&mut input).unwrap(), None);
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        let check = |bytes: &[u8]| {
            assert!(read::<String>(&mut &*bytes).is_err(), "{bytes:?}");
        };
        check(&[0xff; 8]);
        check(&[0, 0, 0, 3, 0, 0, 0, 0, b'x', b'y']);
        check(&[0, 0, 0, 2, 0, 0, 0, 0, b'x', b'y']);
        check(&[0, 0, 0, 2, 0, 0, 0, 9, b'"', b'"', b'x']);
        // A frame that ends in its lengths is the end of the input: the parent is gone.
        assert_eq!(read::<String>(&mut &[0, 0, 0][..]).unwrap(), None);
    }
}
