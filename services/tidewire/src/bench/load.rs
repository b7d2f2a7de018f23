//! The load client: one thread, one poll, thousands of sockets. It reads and counts frames, answers
//! pings, and never binds a source port.

use std::collections::HashMap;
use std::io::{BufRead as _, Read as _, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use super::child::reply;
use super::frames::Counter;
use super::protocol::{Answer, Ask, Connect, wall_ns};
use super::tls;

const WAKE: Token = Token(usize::MAX);
/// Handshakes under way at a time.
const WAVE: usize = 64;
/// How long all handshakes of one wish may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// The receive buffer of a socket that is to stall.
const STALLED_RECEIVE_BYTES: usize = 4096;

struct Socket {
    stream: TcpStream,
    tls: Option<Box<rustls::ClientConnection>>,
    request: Vec<u8>,
    head: Vec<u8>,
    open: bool,
    stalled: bool,
    counter: Counter,
}

struct Load {
    poll: Poll,
    sockets: Vec<Option<Socket>>,
    asks: Receiver<Ask>,
    buffer: Vec<u8>,
    frames: u64,
    bytes: u64,
    first_ns: u64,
    last_ns: u64,
    connecting: usize,
    failed: Option<String>,
}

/// Serves wishes until standard input ends.
pub(super) fn run() -> Result<()> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKE)?;
    let (sender, asks) = sync_channel(1);
    std::thread::Builder::new().name("asks".to_owned()).spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let ask = line.ok().and_then(|line| serde_json::from_str(&line).ok());
            let Some(ask) = ask else { break };
            if sender.send(ask).is_err() || waker.wake().is_err() {
                break;
            }
        }
        drop(sender);
        // The loop looks at its channel once more, and ends.
        let _ = waker.wake();
    })?;
    let mut load = Load {
        poll,
        sockets: Vec::new(),
        asks,
        buffer: vec![0; 256 * 1024],
        frames: 0,
        bytes: 0,
        first_ns: 0,
        last_ns: 0,
        connecting: 0,
        failed: None,
    };
    load.serve()
}

impl Load {
    fn serve(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.asks.try_recv() {
                Ok(ask) => {
                    let answer = self.obey(ask, &mut events);
                    reply(&answer.unwrap_or_else(|e| Answer {
                        error: Some(format!("{e:#}")),
                        ..Answer::default()
                    }))?;
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => self.turn(&mut events, None)?,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }

    fn obey(&mut self, ask: Ask, events: &mut Events) -> Result<Answer> {
        match ask {
            Ask::Connect(connect) => self.connect(&connect, events)?,
            Ask::Mark => (self.frames, self.bytes, self.first_ns, self.last_ns) = (0, 0, 0, 0),
            Ask::Await { frames, limit_ms } => {
                let until = Instant::now() + Duration::from_millis(limit_ms);
                while self.frames < frames {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        bail!("{} of {frames} frames came in time", self.frames);
                    }
                    self.turn(events, Some(left))?;
                }
            }
            Ask::Stall { every } => return self.stall(every),
            Ask::CloseAll => self.sockets.clear(),
            other => bail!("not for the load client: {other:?}"),
        }
        Ok(Answer {
            frames: self.frames,
            bytes: self.bytes,
            first_ns: self.first_ns,
            last_ns: self.last_ns,
            sockets: self.sockets.iter().flatten().filter(|s| s.open).count(),
            ..Answer::default()
        })
    }

    fn stall(&mut self, every: usize) -> Result<Answer> {
        let mut ports = Vec::new();
        for socket in self.sockets.iter_mut().flatten().step_by(every.max(1)) {
            socket.stalled = true;
            let small = socket2::SockRef::from(&socket.stream);
            small.set_recv_buffer_size(STALLED_RECEIVE_BYTES)?;
            ports.push(socket.stream.local_addr()?.port());
        }
        Ok(Answer { ports, ..Answer::default() })
    }

    fn connect(&mut self, connect: &Connect, events: &mut Events) -> Result<()> {
        let address = connect.address.parse().context("not an address")?;
        let tls = connect.tls_authority.as_deref().map(tls::client).transpose()?;
        let until = Instant::now() + CONNECT_LIMIT;
        let mut begun = 0;
        while begun < connect.count || self.connecting > 0 {
            while begun < connect.count && self.connecting < WAVE {
                let request = request(connect, begun);
                self.open(address, request, connect.event_stream, tls.clone())?;
                begun += 1;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{} of {} handshakes did not end in time", self.connecting, connect.count);
            }
            self.turn(events, Some(left))?;
            if let Some(failed) = self.failed.take() {
                self.connecting = 0;
                bail!("a handshake failed: {failed}");
            }
        }
        Ok(())
    }

    fn open(
        &mut self,
        address: std::net::SocketAddr,
        request: Vec<u8>,
        event_stream: bool,
        tls: Option<Arc<rustls::ClientConfig>>,
    ) -> Result<()> {
        let mut stream = TcpStream::connect(address)?;
        let token = Token(self.sockets.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, token, interest)?;
        self.connecting += 1;
        self.sockets.push(Some(Socket {
            stream,
            tls: tls.map(tls::session).transpose()?,
            request,
            head: Vec::new(),
            open: false,
            stalled: false,
            counter: Counter::new(event_stream),
        }));
        Ok(())
    }

    fn turn(&mut self, events: &mut Events, wait: Option<Duration>) -> Result<()> {
        if let Err(e) = self.poll.poll(events, wait)
            && e.kind() != std::io::ErrorKind::Interrupted
        {
            return Err(e.into());
        }
        let before = self.frames;
        for event in events.iter() {
            let Token(slot) = event.token();
            let Some(place) = self.sockets.get_mut(slot) else { continue };
            let Some(socket) = place else { continue };
            if event.is_writable() && !socket.open && !socket.request.is_empty() {
                socket.say();
            }
            if !event.is_readable() || socket.stalled {
                continue;
            }
            let was_open = socket.open;
            match socket.read(&mut self.buffer) {
                Ok((frames, bytes)) => {
                    if frames > 0 && self.first_ns == 0 {
                        self.first_ns = wall_ns();
                    }
                    self.frames += frames;
                    self.bytes += bytes;
                    if !was_open && socket.open {
                        self.connecting -= 1;
                    }
                }
                Err(e) => {
                    if !was_open {
                        self.failed = Some(format!("{e:#}"));
                    }
                    *place = None;
                }
            }
        }
        if self.frames > before {
            self.last_ns = wall_ns();
        }
        Ok(())
    }
}

impl Socket {
    /// Sends the request, once connected.
    fn say(&mut self) {
        let request = std::mem::take(&mut self.request);
        self.send(&request);
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
    fn read(&mut self, buffer: &mut [u8]) -> Result<(u64, u64)> {
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
        for _ in 0..self.counter.take_pings() {
            // An empty pong, masked with zeros.
            self.send(&[0x8A, 0x80, 0, 0, 0, 0]);
        }
        Ok((frames, bytes))
    }
}

fn request(connect: &Connect, number: usize) -> Vec<u8> {
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
    }
    let lines: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET {path} HTTP/1.1\r\n{lines}\r\n").into_bytes()
}
