//! A client that reads frame by frame and says nothing by itself: no pong either.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Ping(Vec<u8>),
    Other(u8, Vec<u8>),
}

pub(crate) struct Mute(TcpStream);

impl Mute {
    pub(crate) async fn open(address: SocketAddr, path: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        Self(stream)
    }

    pub(crate) async fn frame(&mut self) -> Frame {
        let read = async {
            let first = self.0.read_u8().await.unwrap();
            let length = match self.0.read_u8().await.unwrap() {
                126 => usize::from(self.0.read_u16().await.unwrap()),
                127 => usize::try_from(self.0.read_u64().await.unwrap()).unwrap(),
                length => usize::from(length),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.unwrap();
            match first {
                0x81 => Frame::Text(String::from_utf8(payload).unwrap()),
                0x89 => Frame::Ping(payload),
                other => Frame::Other(other, payload),
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("a frame in time")
    }

    /// The next text, and the pings before it.
    pub(crate) async fn text(&mut self) -> (String, Vec<Vec<u8>>) {
        let mut pings = Vec::new();
        loop {
            match self.frame().await {
                Frame::Text(text) => return (text, pings),
                Frame::Ping(payload) => pings.push(payload),
                Frame::Other(first, payload) => panic!("{first:#x} {payload:?}"),
            }
        }
    }

    /// The payload of the ping that comes next.
    pub(crate) async fn ping(&mut self) -> Vec<u8> {
        match self.frame().await {
            Frame::Ping(payload) => payload,
            other => panic!("expected a ping, got {other:?}"),
        }
    }

    pub(crate) async fn pong(&mut self, payload: &[u8]) {
        let mut frame = vec![0x8a, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        self.0.write_all(&frame).await.unwrap();
    }
}
