//! The PROXY protocol, version 1: one line in front of everything else, with the client's address.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, section 2.1. Only read from trusted
//! proxies that are configured to send it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// "A 108-byte buffer is always enough to store all the line and a trailing zero."
const LINE_BYTES_MAX: usize = 107;

/// Reads the line and not one byte more. `None`: the proxy does not say whom it speaks for (`UNKNOWN`).
///
/// # Errors
/// The stream ended or failed, or does not begin with a PROXY line.
pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<Option<IpAddr>> {
    let mut line = Vec::with_capacity(LINE_BYTES_MAX);
    loop {
        let mut ahead = [0; LINE_BYTES_MAX];
        let seen = stream.peek(&mut ahead).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let seen = ahead.get(..seen).unwrap_or_default();
        let end = seen.iter().position(|byte| *byte == b'\n');
        // What is peeked is taken at once: the same bytes would wake the next peek again and again.
        let take = end.map_or(seen.len(), |end| end + 1);
        let start = line.len();
        if start + take > LINE_BYTES_MAX {
            return Err(bad_line());
        }
        line.resize(start + take, 0);
        stream.read_exact(line.get_mut(start..).unwrap_or_default()).await?;
        if !line.starts_with(b"PROXY ") && !b"PROXY ".starts_with(&line) {
            return Err(bad_line());
        }
        if end.is_some() {
            return parse(&line).ok_or_else(bad_line);
        }
    }
}

fn bad_line() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no PROXY line of version 1")
}

/// A whole line. The outer `None`: malformed; the inner: `UNKNOWN`.
fn parse(line: &[u8]) -> Option<Option<IpAddr>> {
    let line = std::str::from_utf8(line).ok()?.strip_prefix("PROXY ")?.strip_suffix("\r\n")?;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(None);
    }
    let mut parts = line.split(' ');
    let (family, source, destination) = (parts.next()?, parts.next()?, parts.next()?);
    let (source_port, destination_port) = (parts.next()?, parts.next()?);
    let is_sound = parts.next().is_none()
        && source_port.parse::<u16>().is_ok()
        && destination_port.parse::<u16>().is_ok();
    if !is_sound {
        return None;
    }
    let source: IpAddr = match family {
        "TCP4" => {
            destination.parse::<Ipv4Addr>().ok()?;
            source.parse::<Ipv4Addr>().ok()?.into()
        }
        "TCP6" => {
            destination.parse::<Ipv6Addr>().ok()?;
            source.parse::<Ipv6Addr>().ok()?.into()
        }
        _ => return None,
    };
    Some(Some(source.to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for (line, expected) in [
            ("PROXY TCP4 198.51.100.1 10.0.0.1 56324 443\r\n", Some(Some("198.51.100.1"))),
            ("PROXY TCP6 2001:db8::1 fd00::1 4124 443\r\n", Some(Some("2001:db8::1"))),
            (
                "PROXY TCP6 ::ffff:198.51.100.1 ::ffff:10.0.0.1 4124 443\r\n",
                Some(Some("198.51.100.1")),
            ),
            ("PROXY UNKNOWN\r\n", Some(None)),
            ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", Some(None)),
            ("PROXY UNKNOWNX\r\n", None),
            ("PROXY TCP4 198.51.100.1 10.0.0.1 56324 443\n", None),
            ("PROXY TCP4 198.51.100.1 10.0.0.1 56324\r\n", None),
            ("PROXY TCP4 198.51.100.1 10.0.0.1 56324 443 1\r\n", None),
            ("PROXY TCP4 198.51.100.1 10.0.0.1 66324 443\r\n", None),
            ("PROXY TCP4 2001:db8::1 fd00::1 4124 443\r\n", None),
            ("PROXY TCP6 198.51.100.1 10.0.0.1 4124 443\r\n", None),
            ("PROXY TCP4  198.51.100.1 10.0.0.1 56324 443\r\n", None),
            ("PROXY UDP4 198.51.100.1 10.0.0.1 56324 443\r\n", None),
            ("PROXY \r\n", None),
            ("proxy UNKNOWN\r\n", None),
            ("GET / HTTP/1.1\r\n", None),
            ("", None),
        ] {
            let expected: Option<Option<IpAddr>> =
                expected.map(|known| known.map(|address| address.parse().unwrap()));
            assert_eq!(parse(line.as_bytes()), expected, "{line:?}");
        }
        assert_eq!(parse(b"PROXY UNKNOWN \xff\r\n"), None);
    }
}
