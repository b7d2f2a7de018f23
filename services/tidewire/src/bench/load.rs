//! The load client: one thread, one poll, thousands of sockets. It reads and counts frames, answers
//! pings, and never binds a source port.

mod socket;

use std::io::BufRead as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mio::{Events, Interest, Poll, Token, Waker};

use super::child::reply;
use super::protocol::{Answer, Ask, Connect, wall_ns};
use super::tls;
use socket::{Socket, request};

const WAKE: Token = Token(usize::MAX);
/// Handshakes under way at a time.
const WAVE: usize = 64;
/// How long all handshakes of one wish may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// The receive buffer of a socket that is to stall.
const STALLED_RECEIVE_BYTES: usize = 4096;

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
    /// Of sockets of `tidewire.v1`: how many subscriptions have caught up, the last cursor, and the first
    /// word that should not have come.
    live: u64,
    cursor: Option<String>,
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
        live: 0,
        cursor: None,
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
            Ask::Mark => {
                (self.frames, self.bytes, self.first_ns, self.last_ns) = (0, 0, 0, 0);
                self.live = 0;
            }
            Ask::Tell { texts } => self.tell(&texts),
            Ask::Await { frames, limit_ms } => {
                self.wait(events, limit_ms, frames, "frames", |load| load.frames)?;
            }
            Ask::AwaitLive { subscriptions, limit_ms } => {
                let what = "subscriptions that caught up";
                self.wait(events, limit_ms, subscriptions, what, |load| load.live)?;
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
            cursor: self.cursor.clone(),
            sockets: self.sockets.iter().flatten().filter(|s| s.open).count(),
            ..Answer::default()
        })
    }

    /// Turns until so many have come.
    fn wait(
        &mut self,
        events: &mut Events,
        limit_ms: u64,
        wanted: u64,
        what: &str,
        came: impl Fn(&Self) -> u64,
    ) -> Result<()> {
        let until = Instant::now() + Duration::from_millis(limit_ms);
        while came(self) < wanted {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{} of {wanted} {what} came in time", came(self));
            }
            self.turn(events, Some(left))?;
            if let Some(failed) = self.failed.take() {
                bail!("{failed}");
            }
        }
        Ok(())
    }

    /// Sends each socket its text.
    fn tell(&mut self, texts: &[String]) {
        let open = self.sockets.iter_mut().flatten();
        for (socket, text) in open.zip(texts.iter().cycle()) {
            socket.tell(text);
        }
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
                self.open(address, request, connect, tls.clone())?;
                begun += 1;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{} of {} handshakes did not end in time", self.connecting, connect.count);
            }
            self.turn(events, Some(left))?;
            if let Some(failed) = self.failed.take() {
                self.connecting = 0;
                bail!("{failed}");
            }
        }
        Ok(())
    }

    fn open(
        &mut self,
        address: std::net::SocketAddr,
        request: Vec<u8>,
        connect: &Connect,
        tls: Option<Arc<rustls::ClientConfig>>,
    ) -> Result<()> {
        let mut socket = Socket::connect(address, request, connect, tls)?;
        let token = Token(self.sockets.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket.stream, token, interest)?;
        self.connecting += 1;
        self.sockets.push(Some(socket));
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
            if event.is_writable() && !socket.open {
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
                    if let Some(said) = socket.counter.take_said() {
                        self.live += said.live;
                        self.cursor = said.cursor.or(self.cursor.take());
                        self.failed = self.failed.take().or(said.refused);
                    }
                }
                Err(e) => {
                    if !was_open {
                        self.failed = Some(format!("a handshake failed: {e:#}"));
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
