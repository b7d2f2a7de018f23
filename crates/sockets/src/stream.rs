//! The byte streams that shards write to.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use mio::net::TcpStream;
use rustls::ServerConnection;
use tidewire_router::Written;
use tokio::sync::mpsc::{Sender, error::TrySendError};

/// Plain bytes that a TLS session takes ahead of the socket.
const TLS_BUFFER_BYTES_MAX: usize = 32 * 1024;

/// A connection's stream.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP, non-blocking.
    Plain(TcpStream),
    /// TLS over TCP, driven by the shard.
    Tls(TcpStream, Box<ServerConnection>),
    /// An event stream of the HTTP server.
    Events(EventSender),
}

/// The shard's end of an event stream.
#[derive(Debug)]
pub struct EventSender {
    pub(crate) sender: Sender<Bytes>,
    /// Set when the shard found the channel full: the reader then tells the shard of room.
    pub(crate) blocked: Arc<AtomicBool>,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for now.
    Blocked,
    /// The end, or an error.
    Ended,
}

impl Stream {
    /// Takes over a TCP stream that is non-blocking already.
    #[must_use]
    pub fn plain(stream: std::net::TcpStream) -> Self {
        Self::Plain(TcpStream::from_std(stream))
    }

    /// Takes over a TLS session.
    #[must_use]
    pub fn tls(stream: std::net::TcpStream, mut session: Box<ServerConnection>) -> Self {
        session.set_buffer_limit(Some(TLS_BUFFER_BYTES_MAX));
        Self::Tls(TcpStream::from_std(stream), session)
    }

    pub(crate) const fn tcp(&mut self) -> Option<&mut TcpStream> {
        match self {
            Self::Plain(tcp) | Self::Tls(tcp, _) => Some(tcp),
            Self::Events(_) => None,
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8], shared: &mut SharedBytes) -> Written {
        match self {
            Self::Plain(tcp) => {
                write_all(bytes.len(), |from| tcp.write(bytes.get(from..).unwrap_or_default()))
            }
            Self::Tls(tcp, session) => write_tls(tcp, session, bytes),
            Self::Events(events) => events.write(bytes, shared),
        }
    }

    /// Sends what a TLS session holds back; true if nothing is left.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Tls(tcp, session) => flush_tls(tcp, session),
            Self::Plain(_) | Self::Events(_) => Ok(true),
        }
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> ReadOutcome {
        match self {
            Self::Plain(tcp) => loop {
                match tcp.read(buffer) {
                    Ok(0) => return ReadOutcome::Ended,
                    Ok(n) => return ReadOutcome::Bytes(n),
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(e) if e.kind() == ErrorKind::WouldBlock => return ReadOutcome::Blocked,
                    Err(_) => return ReadOutcome::Ended,
                }
            },
            Self::Tls(tcp, session) => read_tls(tcp, session, buffer),
            Self::Events(_) => ReadOutcome::Blocked,
        }
    }

    /// Says that nothing more will be written; false if the socket has no room for the word yet.
    pub(crate) fn finish(&mut self) -> bool {
        if let Self::Tls(tcp, session) = self {
            session.send_close_notify();
            if matches!(flush_tls(tcp, session), Ok(false)) {
                return false;
            }
        }
        if let Some(tcp) = self.tcp() {
            // It may be gone already.
            let _ = tcp.shutdown(Shutdown::Write);
        }
        true
    }
}

fn write_all(total: usize, mut write: impl FnMut(usize) -> io::Result<usize>) -> Written {
    let mut done = 0;
    while done < total {
        match write(done) {
            Ok(0) => return Written::Failed,
            // A short write means that the socket is full: asking again would only say so.
            Ok(n) => {
                done += n;
                if done < total {
                    return Written::Partial(done);
                }
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Written::Partial(done),
            Err(_) => return Written::Failed,
        }
    }
    Written::All
}

fn flush_tls(tcp: &mut TcpStream, session: &mut ServerConnection) -> io::Result<bool> {
    while session.wants_write() {
        match session.write_tls(tcp) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

fn write_tls(tcp: &mut TcpStream, session: &mut ServerConnection, bytes: &[u8]) -> Written {
    let mut done = 0;
    loop {
        match flush_tls(tcp, session) {
            Ok(true) if done == bytes.len() => return Written::All,
            Ok(true) => {}
            // What the session holds is on its way: the socket's next readiness flushes it.
            Ok(false) => return Written::Partial(done),
            Err(_) => return Written::Failed,
        }
        match session.writer().write(bytes.get(done..).unwrap_or_default()) {
            Ok(n) => done += n,
            Err(_) => return Written::Failed,
        }
    }
}

fn read_tls(tcp: &mut TcpStream, session: &mut ServerConnection, buffer: &mut [u8]) -> ReadOutcome {
    loop {
        match session.reader().read(buffer) {
            Ok(0) => return ReadOutcome::Ended,
            Ok(n) => return ReadOutcome::Bytes(n),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return ReadOutcome::Ended,
        }
        match session.read_tls(tcp) {
            Ok(0) => return ReadOutcome::Ended,
            Ok(_) => {
                if session.process_new_packets().is_err() {
                    // The alert that says why.
                    let _ = flush_tls(tcp, session);
                    return ReadOutcome::Ended;
                }
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                // What came may have wanted an answer (a new key); a full socket sends it when it has room.
                return match flush_tls(tcp, session) {
                    Ok(_) => ReadOutcome::Blocked,
                    Err(_) => ReadOutcome::Ended,
                };
            }
            Err(_) => return ReadOutcome::Ended,
        }
    }
}

impl EventSender {
    fn write(&self, bytes: &[u8], shared: &mut SharedBytes) -> Written {
        let mut bytes = shared.share(bytes);
        // Twice: the reader may have made room between the first try and the flag.
        for _ in 0..2 {
            match self.sender.try_send(bytes) {
                Ok(()) => return Written::All,
                Err(TrySendError::Closed(_)) => return Written::Failed,
                Err(TrySendError::Full(back)) => {
                    bytes = back;
                    self.blocked.store(true, Ordering::SeqCst);
                }
            }
        }
        Written::Partial(0)
    }
}

/// The bytes that were shared last: the event streams of a view are given the same bytes one after
/// another.
#[derive(Debug, Default)]
pub(crate) struct SharedBytes(Bytes);

impl SharedBytes {
    fn share(&mut self, bytes: &[u8]) -> Bytes {
        if self.0 != bytes {
            self.0 = Bytes::copy_from_slice(bytes);
        }
        self.0.clone()
    }
}
