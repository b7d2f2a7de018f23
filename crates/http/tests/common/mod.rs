//! A server on loopback and clients that speak HTTP by hand.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tidewire_http::{
    Server, ServerHandle, ServerOptions, Site, SocketAnswer, SocketGate, SocketRequest,
};
use tidewire_runtime::{Shutdown, Tasks};
use tokio::runtime::Runtime;

/// A test that waits this long for something has failed.
pub(crate) const LONG: Duration = Duration::from_secs(20);
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub(crate) struct Running {
    pub(crate) runtime: Runtime,
    pub(crate) tasks: Tasks,
    pub(crate) shutdown: Shutdown,
    pub(crate) handle: ServerHandle,
}

pub(crate) fn options() -> ServerOptions {
    ServerOptions::new("http", "127.0.0.1:0".parse().unwrap())
}

pub(crate) fn start(site: Site, adjust: impl FnOnce(&mut ServerOptions)) -> Running {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut options = options();
    adjust(&mut options);
    let guard = runtime.enter();
    let server = runtime.block_on(Server::bind(options)).unwrap();
    let shutdown = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone());
    let handle = server.serve(site, &tasks, shutdown.clone());
    drop(guard);
    Running { runtime, tasks, shutdown, handle }
}

impl Running {
    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.handle.local_addr())
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        send(&mut stream, request);
        read_answer(&mut stream)
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// Sends a request written with bare line feeds.
pub(crate) fn send(stream: &mut impl Write, request: &str) {
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).unwrap();
}

pub(crate) fn upgrade(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\nHost: vms.example\nUpgrade: websocket\nConnection: Upgrade\n\
         Sec-WebSocket-Version: 13\nSec-WebSocket-Key: {KEY}\n{more}\n"
    )
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// Checks the documented error body.
    pub(crate) fn assert_error(&self, status: u16, message: &str, method: &str, uri: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let start = format!("{{\"statusCode\":{status},\"statusText\":\"");
        assert!(self.body.starts_with(&start), "{self:?}");
        assert!(self.body.contains(&format!("\"message\":\"{message}\"")), "{self:?}");
        let end = format!("\"method\":\"{method}\",\"uri\":\"{uri}\"}}");
        assert!(self.body.ends_with(&end), "{self:?}");
    }
}

/// Reads up to the end of a head.
pub(crate) fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let read = stream.read(&mut byte).unwrap();
        assert_eq!(read, 1, "ended in the head: {:?}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Reads one answer, whatever its framing.
pub(crate) fn read_answer(stream: &mut impl Read) -> Answer {
    let head = read_head(stream);
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, head, body: String::new() };
    if answer.header("transfer-encoding") == Some("chunked") {
        while let Some(chunk) = read_chunk(stream) {
            answer.body.push_str(&chunk);
        }
    } else if let Some(length) = answer.header("content-length") {
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        answer.body = String::from_utf8(body).unwrap();
    }
    answer
}

/// One chunk of a chunked body; `None` at its end.
pub(crate) fn read_chunk(stream: &mut impl Read) -> Option<String> {
    let length = usize::from_str_radix(read_line(stream).trim(), 16).unwrap();
    let mut chunk = vec![0; length + 2];
    stream.read_exact(&mut chunk).unwrap();
    chunk.truncate(length);
    (length > 0).then(|| String::from_utf8(chunk).unwrap())
}

fn read_line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// Waits until the server closes; what it still says is returned.
pub(crate) fn read_to_close(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => rest,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => rest,
        Err(error) => panic!("not closed: {error}"),
    }
}

/// A gate made of a function.
pub(crate) struct Gate<F>(pub(crate) F);

impl<F> SocketGate for Gate<F>
where
    F: Fn(SocketRequest) -> BoxFuture<'static, SocketAnswer> + Send + Sync,
{
    fn open(&self, request: SocketRequest) -> BoxFuture<'static, SocketAnswer> {
        (self.0)(request)
    }
}
