//! The floor: what any server must do at least. Accepts, answers 101, adds to a poll, writes; polls a
//! bare consumer.

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use mio::{Interest, Poll, Token};
use tidewire_kafka::{BareConsumer, KafkaOptions};

use super::child::reply;
use super::protocol::{Answer, Ask};

const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// How long a poll for records waits.
const POLL: Duration = Duration::from_millis(100);

/// A part of the sockets, and what to write to each.
type Job = (Vec<mio::net::TcpStream>, Arc<[u8]>);

struct Floor {
    listener: TcpListener,
    poll: Poll,
    sockets: Vec<mio::net::TcpStream>,
    consumer: Option<BareConsumer>,
    /// Threads that write. They live on: the CPU time of one that has ended cannot be told exactly.
    writers: Vec<Writer>,
}

struct Writer {
    jobs: SyncSender<Job>,
    done: Receiver<(Vec<mio::net::TcpStream>, Result<()>)>,
}

impl Writer {
    fn start() -> Result<Self> {
        let (jobs, inbox) = sync_channel::<Job>(1);
        let (outbox, done) = sync_channel(1);
        std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
            while let Ok((mut sockets, bytes)) = inbox.recv() {
                let outcome = sockets.iter_mut().try_for_each(|socket| put(socket, &bytes));
                if outbox.send((sockets, outcome)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { jobs, done })
    }
}

/// Serves wishes until standard input ends.
pub(super) fn run() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    reply(&Answer { address: listener.local_addr()?.to_string(), ..Answer::default() })?;
    let mut floor = Floor {
        listener,
        poll: Poll::new()?,
        sockets: Vec::new(),
        consumer: None,
        writers: Vec::new(),
    };
    for line in std::io::stdin().lock().lines() {
        let answer = serde_json::from_str(&line?).map_err(Into::into).and_then(|a| floor.obey(a));
        let failed =
            |e: anyhow::Error| Answer { error: Some(format!("{e:#}")), ..Answer::default() };
        reply(&answer.unwrap_or_else(failed))?;
    }
    Ok(())
}

impl Floor {
    fn obey(&mut self, ask: Ask) -> Result<Answer> {
        match ask {
            Ask::Accept { count } => self.accept(count)?,
            Ask::Send { bytes, frames, threads } => self.send(&frame(bytes, frames), threads)?,
            Ask::Subscribe { brokers, topic, partitions, fetch_wait_ms } => {
                let mut options = KafkaOptions::new(brokers);
                options.fetch_wait = Duration::from_millis(fetch_wait_ms);
                self.consumer = Some(BareConsumer::start(&options, &topic, partitions)?);
            }
            Ask::Consume { records, bytes } => {
                self.consume(records, bytes.map(|bytes| frame(bytes, 1)).as_deref())?;
            }
            Ask::CloseAll => self.sockets.clear(),
            other => bail!("not for the floor: {other:?}"),
        }
        Ok(Answer { sockets: self.sockets.len(), ..Answer::default() })
    }

    fn accept(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let (mut stream, _) = self.listener.accept()?;
            stream.set_nodelay(true)?;
            handshake(&mut stream)?;
            stream.set_nonblocking(true)?;
            let mut socket = mio::net::TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket, Token(self.sockets.len()), interest)?;
            self.sockets.push(socket);
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8], threads: usize) -> Result<()> {
        while self.writers.len() < threads {
            self.writers.push(Writer::start()?);
        }
        let bytes: Arc<[u8]> = Arc::from(bytes);
        let part = self.sockets.len().div_ceil(threads.max(1)).max(1);
        let mut left = std::mem::take(&mut self.sockets);
        let mut busy = Vec::new();
        for writer in &self.writers {
            let rest = left.split_off(part.min(left.len()));
            let sockets = std::mem::replace(&mut left, rest);
            if !sockets.is_empty() {
                writer.jobs.send((sockets, Arc::clone(&bytes))).context("a writer has ended")?;
                busy.push(writer);
            }
        }
        for writer in busy {
            let (mut sockets, outcome) = writer.done.recv().context("a writer has ended")?;
            outcome?;
            self.sockets.append(&mut sockets);
        }
        Ok(())
    }

    fn consume(&mut self, records: u64, bytes: Option<&[u8]>) -> Result<()> {
        let consumer = self.consumer.as_mut().context("no topic is subscribed")?;
        let sockets = &mut self.sockets;
        let mut outcome = Ok(());
        let mut seen = 0;
        while seen < records {
            seen += u64::from(consumer.poll(POLL, |key, _| {
                let Some(bytes) = bytes else { return };
                let number = key
                    .rsplit(|b| *b == b'/')
                    .next()
                    .and_then(|n| std::str::from_utf8(n).ok()?.parse::<usize>().ok());
                // Keys count from 1.
                if let Some(socket) = number.and_then(|n| sockets.get_mut(n.checked_sub(1)?))
                    && let Err(e) = put(socket, bytes)
                {
                    outcome = Err(e);
                }
            }));
        }
        outcome
    }
}

fn handshake(stream: &mut TcpStream) -> Result<()> {
    let mut head = [0; 4096];
    let mut at = 0;
    while !head.get(..at).unwrap_or_default().ends_with(b"\r\n\r\n") {
        let n = stream.read(head.get_mut(at..).unwrap_or_default())?;
        if n == 0 {
            bail!("a request has no end");
        }
        at += n;
    }
    Ok(stream.write_all(ANSWER)?)
}

fn put(socket: &mut mio::net::TcpStream, bytes: &[u8]) -> Result<()> {
    let n = socket.write(bytes)?;
    if n < bytes.len() {
        bail!("a socket took {n} of {} bytes", bytes.len());
    }
    Ok(())
}

/// So many text frames of so many bytes on the wire each.
fn frame(bytes: usize, frames: usize) -> Vec<u8> {
    let mut one = Vec::with_capacity(bytes);
    // 4 bytes of header from 126 bytes of payload on, else 2.
    let payload = vec![b'x'; bytes.saturating_sub(if bytes >= 130 { 4 } else { 2 })];
    tidewire_wire::ws::push_text(&mut one, &payload);
    one.repeat(frames)
}
