//! One socket of the load client.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, bail};
use mio::net::TcpStream;

use crate::bench::frames::Counter;
use crate::bench::protocol::Connect;
use crate::bench::tls;

pub(super) struct Socket {
    pub(super) stream: TcpStream,
    tls: Option<Box<rustls::ClientConnection>>,
    request: Vec<u8>,
    head: Vec<u8>,
    pub(super) open: bool,
    pub(super) stalled: bool,
    pub(super) counter: Counter,
}

impl Socket {
    pub(super) fn connect(
        address: SocketAddr,
        request: Vec<u8>,
        connect: &Connect,
        tls: Option<Arc<rustls::ClientConfig>>,
    ) -> Result<Self> {
        Ok(Self {
            stream: TcpStream::connect(address)?,
            tls: tls.map(tls::session).transpose()?,
            request,
            head: Vec::new(),
            open: false,
            stalled: false,
            counter: Counter::new(connect.event_stream, connect.v1 || connect.sessions),
        })
    }

    /// Sends the request, if that is still to be done; the stream is connected.
    pub(super) fn say(&mut self) {
        if !self.request.is_empty() {
            let request = std::mem::take(&mut self.request);
            self.send(&request);
        }
    }

    /// Sends a text message, masked with zeros.
    pub(super) fn tell(&mut self, text: &str) {
        let mut frame = vec![0x81];
        match (u8::try_from(text.len()), u16::try_from(text.len())) {
            (Ok(short @ ..126), _) => frame.push(0x80 | short),
            (_, Ok(long)) => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&long.to_be_bytes());
            }
            // No server takes that much.
            (_, Err(_)) => return,
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(text.as_bytes());
        self.send(&frame);
    }

    /// Sends a little: a request or a pong always fits.
    fn send(&mut self, bytes: &[u8]) {
        // A socket that is gone tells so when it is read.
        match &mut self.tls {
            None => drop(self.stream.write(bytes)),
            Some(session) => {
                let _ = session.writer().write_all(bytes);
                while session.wants_write() && session.write_tls(&mut self.stream).is_ok() {}
            }
        }
    }

    /// Reads all there is; frames and bytes of them.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<(u64, u64)> {
        let (mut frames, mut bytes) = (0, 0);
        loop {
            let room = buffer.len();
            let read = match &mut self.tls {
                None => self.stream.read(buffer),
                Some(session) => tls::read(session, &mut self.stream, buffer),
            };
            let n = match read {
                Ok(0) => bail!("the server closed"),
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            };
            let fresh = buffer.get(..n).unwrap_or_default();
            if self.open {
                bytes += n as u64;
                frames += self.counter.feed(fresh);
            } else {
                self.head.extend_from_slice(fresh);
                let Some(at) = self.head.windows(4).position(|w| w == b"\r\n\r\n") else {
                    continue;
                };
                let head = std::mem::take(&mut self.head);
                if !(head.starts_with(b"HTTP/1.1 101") || head.starts_with(b"HTTP/1.1 200")) {
                    bail!("{}", String::from_utf8_lossy(&head));
                }
                self.open = true;
                let rest = head.get(at + 4..).unwrap_or_default();
                bytes += rest.len() as u64;
                frames += self.counter.feed(rest);
            }
            // Less than fits was all there is; what comes next is told anew. A TLS session may hold more.
            if n < room && self.tls.is_none() {
                break;
            }
        }
        for payload in self.counter.take_pings() {
            // A pong with the ping's payload, masked with zeros; control frames hold at most 125 bytes.
            let length = u8::try_from(payload.len()).unwrap_or(0) & 0x7F;
            let mut pong = vec![0x8A, 0x80 | length, 0, 0, 0, 0];
            pong.extend_from_slice(&payload);
            self.send(&pong);
        }
        Ok((frames, bytes))
    }
}

/// The request of the socket with this number.
pub(super) fn request(connect: &Connect, number: usize) -> Vec<u8> {
    let turn = |list: &[String]| list.get(number % list.len().max(1)).cloned().unwrap_or_default();
    let path = turn(&connect.paths);
    let mut headers = HashMap::from([("Host", connect.address.clone())]);
    if !connect.tokens.is_empty() {
        headers.insert("Authorization", format!("Bearer {}", turn(&connect.tokens)));
    }
    if connect.event_stream {
        headers.insert("Accept", "text/event-stream".to_owned());
    } else {
        headers.insert("Connection", "Upgrade".to_owned());
        headers.insert("Upgrade", "websocket".to_owned());
        headers.insert("Sec-WebSocket-Version", "13".to_owned());
        headers.insert("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==".to_owned());
        if connect.v1 {
            headers.insert("Sec-WebSocket-Protocol", "tidewire.v1".to_owned());
        }
    }
    let lines: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET {path} HTTP/1.1\r\n{lines}\r\n").into_bytes()
}
