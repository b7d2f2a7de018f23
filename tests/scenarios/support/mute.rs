//! A client that reads frame by frame and answers no ping by itself. A pong that nobody asked for says now and
//! then that it is there, however long the test waits for something else; it proves nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Mutex;

use crate::support::Task;

const PATIENCE: Duration = Duration::from_secs(30);
/// How often it says that it is there: within `gateway.pong_timeout`.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Ping(Vec<u8>),
    Other(u8, Vec<u8>),
}

pub(crate) struct Mute {
    reader: OwnedReadHalf,
    writer: Arc<Mutex<OwnedWriteHalf>>,
    _alive: Task<()>,
}

async fn pong(writer: &Mutex<OwnedWriteHalf>, payload: &[u8]) -> std::io::Result<()> {
    let mut frame = vec![0x8a, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    writer.lock().await.write_all(&frame).await
}

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
        let (reader, writer) = stream.into_split();
        let writer = Arc::new(Mutex::new(writer));
        let own = Arc::clone(&writer);
        let alive = Task::start(async move {
            while pong(&own, b"").await.is_ok() {
                tokio::time::sleep(SIGN_OF_LIFE).await;
            }
        });
        Self { reader, writer, _alive: alive }
    }

    pub(crate) async fn frame(&mut self) -> Frame {
        let read = async {
            let first = self.reader.read_u8().await.unwrap();
            let length = match self.reader.read_u8().await.unwrap() {
                126 => usize::from(self.reader.read_u16().await.unwrap()),
                127 => usize::try_from(self.reader.read_u64().await.unwrap()).unwrap(),
                length => usize::from(length),
            };
            let mut payload = vec![0; length];
            self.reader.read_exact(&mut payload).await.unwrap();
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
        pong(&self.writer, payload).await.unwrap();
    }
}
