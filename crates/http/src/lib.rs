//! HTTP: the only user of warp and hyper.
//!
//! One [`Server`] is one listener with its accept loop, caps, TLS and warp filters; a [`Site`] says what it
//! serves: a [`SocketGate`] that decides about sockets and event streams, and plain routes. A socket leaves
//! HTTP altogether: after the 101 its raw stream and the bytes already read belong to whoever the gate
//! named, and neither a task nor a buffer stays behind.
//!
//! Invariants: a 101 or 200 leaves only after the gate has resolved; every refusal carries the documented
//! error body; a path or query is logged or shown only redacted; every connection is counted under the caps
//! until its permit is dropped, also after it was handed over.

mod address;
mod api;
mod body;
mod connection;
mod cors;
mod exchange;
mod filters;
mod gate;
mod handshake;
mod headers;
mod limits;
mod listener;
mod options;
mod origin;
mod plain;
mod proxy_line;
mod reply;
mod routes;
mod server;
mod site;
mod sockets;
mod stream;
mod tls;

pub use address::{AddressRange, BadRange, TrustedProxies};
pub use api::{ApiHandler, ApiRequest};
pub use body::{ApiBody, BodyError, Line};
pub use gate::{
    EventSource, RequestKind, SocketAnswer, SocketGate, SocketRequest, UpgradeError, Upgraded,
    UpgradedStream,
};
pub use limits::ConnectionPermit;
pub use options::{BindError, ServerOptions, TlsFiles};
pub use origin::AllowedOrigins;
pub use reply::{ApiReply, JSON, NDJSON, Reply};
pub use server::{Counters, REFUSALS_MAX, Server, ServerHandle};
pub use site::{ApiRoute, Site};
pub use warp::http::{HeaderMap, Method, StatusCode};
