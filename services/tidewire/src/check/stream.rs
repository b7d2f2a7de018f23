//! One event stream: HTTP/1.1 as far as a stream of events needs it (RFC 9112), and the events in it
//! (WHATWG HTML, section 9.2).

use std::collections::VecDeque;
use std::time::Duration;

use tidewire_auth::SecretText;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::socket::{Came, OPEN_MAX, Refused, SILENCE_MAX};
use crate::http::retry_after;

const HEAD_BYTES_MAX: usize = 64 * 1024;
/// No line is longer.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An open stream.
pub(super) struct EventStream {
    stream: TcpStream,
    chunks: Option<Chunks>,
    events: Events,
    came: VecDeque<Came>,
}

impl EventStream {
    /// Connects; goes on from a cursor where there is one.
    pub(super) async fn open(
        gateway: &str,
        path: &str,
        cursor: Option<&str>,
        token: &SecretText,
    ) -> Result<Self, Refused> {
        let open = Self::connect(gateway, path, cursor, token);
        tokio::time::timeout(OPEN_MAX, open).await.unwrap_or(Err(Refused::Unreachable))
    }

    async fn connect(
        gateway: &str,
        path: &str,
        cursor: Option<&str>,
        token: &SecretText,
    ) -> Result<Self, Refused> {
        let lost = |_| Refused::Unreachable;
        // TLS is not spoken here: checks of event streams run beside the gateways.
        let host = gateway.strip_prefix("http://").ok_or(Refused::Unreachable)?;
        let (host, base) = host.split_at(host.find('/').unwrap_or(host.len()));
        let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let mut stream = TcpStream::connect(address).await.map_err(lost)?;
        let resume =
            cursor.map(|cursor| format!("Last-Event-ID: {cursor}\r\n")).unwrap_or_default();
        let request = format!(
            "GET {base}{path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\
             Authorization: Bearer {}\r\n{resume}\r\n",
            token.expose()
        );
        stream.write_all(request.as_bytes()).await.map_err(lost)?;
        let mut head = Vec::new();
        let end = loop {
            if let Some(at) = head.windows(4).position(|end| end == b"\r\n\r\n") {
                break at;
            }
            if head.len() > HEAD_BYTES_MAX || stream.read_buf(&mut head).await.map_err(lost)? == 0 {
                return Err(Refused::Unreachable);
            }
        };
        let body = head.split_off(end + 4);
        let head = String::from_utf8_lossy(&head).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let header = |name: &str| {
            head.lines().filter_map(|line| line.split_once(':')).find_map(|(own, value)| {
                own.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        if status != 200 {
            return Err(Refused::Status(
                status,
                header("retry-after").and_then(|v| retry_after(&v)),
            ));
        }
        let is_chunked =
            header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        let chunks = is_chunked.then(Chunks::default);
        let mut opened = Self { stream, chunks, events: Events::default(), came: VecDeque::new() };
        opened.take(&body).map_err(|()| Refused::Unreachable)?;
        Ok(opened)
    }

    /// What comes next. Losing the future loses nothing.
    pub(super) async fn next(&mut self) -> Came {
        let end = || Came::Closed(None, String::new());
        loop {
            if let Some(came) = self.came.pop_front() {
                return came;
            }
            if self.chunks.as_ref().is_some_and(|chunks| chunks.is_over) {
                return end();
            }
            let mut bytes = Vec::with_capacity(16 * 1024);
            match tokio::time::timeout(SILENCE_MAX, self.stream.read_buf(&mut bytes)).await {
                Ok(Ok(1..)) if self.take(&bytes).is_ok() => {}
                _ => return end(),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), ()> {
        let mut body = Vec::new();
        match &mut self.chunks {
            Some(chunks) => chunks.take(bytes, &mut body)?,
            None => body.extend_from_slice(bytes),
        }
        self.events.take(&body, &mut self.came)
    }
}

/// The chunked transfer coding.
#[derive(Debug, Default)]
struct Chunks {
    /// Bytes of the present chunk that are still to come.
    left: usize,
    line: Vec<u8>,
    /// The line break behind a chunk is still to come.
    is_behind: bool,
    is_over: bool,
}

impl Chunks {
    fn take(&mut self, mut bytes: &[u8], body: &mut Vec<u8>) -> Result<(), ()> {
        while !bytes.is_empty() && !self.is_over {
            if self.left > 0 {
                let (own, rest) = bytes.split_at(self.left.min(bytes.len()));
                body.extend_from_slice(own);
                self.left -= own.len();
                self.is_behind = self.left == 0;
                bytes = rest;
                continue;
            }
            let Some((first, rest)) = bytes.split_first() else { break };
            bytes = rest;
            if *first != b'\n' {
                self.line.push(*first);
                if self.line.len() > HEAD_BYTES_MAX {
                    return Err(());
                }
                continue;
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
            if std::mem::take(&mut self.is_behind) {
                continue;
            }
            let size = line.split(';').next().unwrap_or_default().trim();
            self.left = usize::from_str_radix(size, 16).map_err(drop)?;
            self.is_over = self.left == 0;
        }
        Ok(())
    }
}

/// The events of a stream.
#[derive(Debug, Default)]
struct Events {
    line: Vec<u8>,
    data: String,
    id: Option<String>,
}

impl Events {
    fn take(&mut self, bytes: &[u8], came: &mut VecDeque<Came>) -> Result<(), ()> {
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() > LINE_BYTES_MAX {
                    return Err(());
                }
                continue;
            }
            let line = String::from_utf8(std::mem::take(&mut self.line)).map_err(drop)?;
            self.line(&line, came);
        }
        Ok(())
    }

    fn line(&mut self, line: &str, came: &mut VecDeque<Came>) {
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            if let Some(text) = data.strip_suffix('\n') {
                came.push_back(Came::Text(text.to_owned()));
            }
            came.extend(self.id.take().map(Came::Id));
            return;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" => self.id = Some(value.to_owned()),
            "retry" => {
                came.extend(value.parse().ok().map(|ms| Came::Retry(Duration::from_millis(ms))));
            }
            // What an event is called tells nothing that its data does not.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str], chunked: bool) -> Vec<String> {
        let (mut chunks, mut events, mut came) =
            (Chunks::default(), Events::default(), VecDeque::new());
        for piece in pieces {
            let mut body = Vec::new();
            if chunked {
                chunks.take(piece.as_bytes(), &mut body).unwrap();
            } else {
                body.extend_from_slice(piece.as_bytes());
            }
            events.take(&body, &mut came).unwrap();
        }
        came.into_iter().map(|came| format!("{came:?}")).collect()
    }

    #[test]
    fn events() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(read(&[text], false), expected, "{text:?}");
            let bytes: Vec<String> = text.chars().map(String::from).collect();
            let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
            assert_eq!(read(&bytes, false), expected, "{text:?} byte by byte");
        };
        check("data: {}\n\n", &[r#"Text("{}")"#]);
        check("data: {\ndata: }\n\n", &[r#"Text("{\n}")"#]);
        check("id: abc\n\n", &[r#"Id("abc")"#]);
        check("event: error\ndata: x\n\n", &[r#"Text("x")"#]);
        check("retry: 1500\n\n", &["Retry(1.5s)"]);
        check(":\n\n", &[]);
        check("data: x\n", &[]);
    }

    #[test]
    fn chunks() {
        let check = |pieces: &[&str], expected: &[&str]| assert_eq!(read(pieces, true), expected);
        check(&["6\r\ndata: \r\n3\r\nx\n\n\r\n0\r\n\r\n"], &[r#"Text("x")"#]);
        check(&["6\r\nda", "ta: \r", "\n3", "\r\nx\n\n\r\n"], &[r#"Text("x")"#]);
        let mut chunks = Chunks::default();
        chunks.take(b"0\r\n\r\n", &mut Vec::new()).unwrap();
        assert!(chunks.is_over);
        assert!(Chunks::default().take(b"xyz\r\n", &mut Vec::new()).is_err());
    }
}
