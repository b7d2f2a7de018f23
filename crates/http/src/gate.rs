//! The port through which sockets and event streams are decided and taken over.
//!
//! This crate checks the WebSocket handshake (RFC 6455, section 4.2.1) and speaks HTTP; *whether* a client
//! may come in, and what becomes of its stream, the [`SocketGate`] decides. The answer leaves only after
//! [`SocketGate::open`] has resolved, so a gate that registers first and resolves then has registered
//! before the client's `onopen`.

use std::fmt;
use std::net::IpAddr;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::{ConnectionPermit, Reply};

/// Decides about each request to `/ws/rest/WebSocketObjectSubscription/**`,
/// `/ws/rest/WebSocketAlertScript/**` and `/ws/v1`.
pub trait SocketGate: Send + Sync {
    /// Answers one request. The future is dropped when the client goes away before it resolves: whatever it
    /// has registered by then must be undone by a drop.
    ///
    /// An answer that does not fit the kind of request (an upgrade for what is no WebSocket handshake) is a
    /// bug: the client is told 500.
    fn open(&self, request: SocketRequest) -> BoxFuture<'static, SocketAnswer>;
}

/// What a gate may know of a request. Path, `authorization` and `subprotocols` may hold a token: `Debug`
/// shows none of them.
#[derive(Clone)]
pub struct SocketRequest {
    /// As sent: percent-encoded.
    pub path: String,
    /// Without the `?`; as sent.
    pub query: String,
    /// `GET`: others are refused before the gate is asked.
    pub method: String,
    /// The client's address, as far as trusted proxies tell it.
    pub peer: IpAddr,
    /// The `Host` header.
    pub host: Option<String>,
    /// The `Origin` header.
    pub origin: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The offered subprotocols, in the client's order.
    pub subprotocols: Vec<String>,
    /// The `Last-Event-ID` header.
    pub last_event_id: Option<String>,
    /// What the client wants of this path.
    pub kind: RequestKind,
}

impl fmt::Debug for SocketRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketRequest")
            .field("peer", &self.peer)
            .field("host", &self.host)
            .field("origin", &self.origin)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// A sound WebSocket handshake.
    WebSocket,
    /// `Accept: text/event-stream`.
    EventStream,
    /// Neither: to be refused with 426. A refusal with that status gets the `Upgrade` and
    /// `Sec-WebSocket-Version` headers here.
    Neither {
        /// What a handshake needs and this one lacks, for the message.
        missing: &'static str,
    },
}

/// The decision of a gate.
pub enum SocketAnswer {
    /// A plain HTTP answer before the upgrade.
    Refuse(Reply),
    /// 101 is sent, then `adopt` gets the raw stream.
    Upgrade {
        /// Echoed in `Sec-WebSocket-Protocol`.
        subprotocol: Option<String>,
        /// Called once, outside of any lock; it must not block.
        adopt: Box<dyn FnOnce(Result<Upgraded, UpgradeError>) + Send>,
    },
    /// 200 and `text/event-stream`; the body is what the source gives. What EventSource shall retry is
    /// answered so as well: a source of one `retry:` block that ends.
    Stream {
        /// Whole blocks of the event stream format, blank line included.
        body: Box<dyn EventSource>,
    },
}

impl fmt::Debug for SocketAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse(reply) => f.debug_tuple("Refuse").field(&reply.status).finish(),
            Self::Upgrade { subprotocol, .. } => {
                f.debug_struct("Upgrade").field("subprotocol", subprotocol).finish_non_exhaustive()
            }
            Self::Stream { .. } => f.write_str("Stream"),
        }
    }
}

/// A connection after its 101: nothing of HTTP is left of it.
#[derive(Debug)]
pub struct Upgraded {
    /// The stream.
    pub stream: UpgradedStream,
    /// What the client sent right behind its handshake and was read with it: comes before anything read
    /// from the stream.
    pub early: Bytes,
    /// The connection's place under the caps: hold it until the socket is closed.
    pub permit: ConnectionPermit,
}

/// A non-blocking stream, taken out of tokio.
#[derive(Debug)]
pub enum UpgradedStream {
    /// Plain TCP.
    Plain(std::net::TcpStream),
    /// TCP and the TLS session on it. The session may hold plain bytes that were read (`process_new_packets`
    /// was called) and records that wait to be written (`wants_write`): look at both before waiting for
    /// readiness.
    Tls(std::net::TcpStream, Box<rustls::ServerConnection>),
}

/// Why an accepted upgrade came to nothing. There is nobody left to tell.
#[derive(Debug, Error)]
pub enum UpgradeError {
    /// The client went away, or the 101 could not be written.
    #[error("the client went away before the upgrade was complete")]
    Gone,
    /// The stream could not be taken out of the runtime.
    #[error("the stream could not be handed over")]
    HandOver(#[source] std::io::Error),
}

/// The body of an event stream. It is dropped when the client has gone, or has not read for
/// [`crate::ServerOptions::stall_timeout`]; it is polled only while the client can take more, so its queue
/// is where a slow client shows.
pub trait EventSource: Send {
    /// The next bytes; `None` ends the stream.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>>;
}

impl EventSource for mpsc::Receiver<Bytes> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.poll_recv(cx)
    }
}
