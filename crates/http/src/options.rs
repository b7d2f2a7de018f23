//! What a server is told before it binds, and why binding may fail.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::{AllowedOrigins, TrustedProxies};

/// Everything that configuration decides about one listener.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The section of the configuration that these options come from (`http`, `internal`): errors and log
    /// lines name their settings with it.
    pub section: &'static str,
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Certificate and key; `None` speaks plain HTTP (TLS ends at the proxy).
    pub tls: Option<TlsFiles>,
    /// A whole request head, a TLS handshake and a PROXY line must each arrive within this time; an idle
    /// kept-alive connection is closed after it.
    pub header_timeout: Duration,
    /// A connection on which nothing moves for this time in the middle of a body, in either direction, is
    /// given up.
    pub stall_timeout: Duration,
    /// Connections of this listener, sockets that were handed over included; further ones are answered
    /// 503. Such an answer needs a connection too: at most [`crate::REFUSALS_MAX`] of them at a time.
    pub connections_max: usize,
    /// The same for one client address (IPv6: one /64); further ones are answered 429.
    pub connections_per_address_max: usize,
    /// New connections a second, with a burst of the same size; more than that wait in the kernel's
    /// backlog. 0 = no limit.
    pub accepts_per_second: u32,
    /// The longest request body that [`crate::ApiBody::collect`] takes where the caller names no lower
    /// bound. A body that is read line by line may be of any length.
    pub body_bytes_max: usize,
    /// Proxies whose word about the client's address is taken.
    pub trusted_proxies: TrustedProxies,
    /// A trusted proxy starts each connection with a PROXY line (version 1). Never guessed: whoever is
    /// not expected to send one could be made to by its clients.
    pub proxy_protocol: bool,
    /// Origins that browsers may come from.
    pub allowed_origins: AllowedOrigins,
    /// `TCP_NOTSENT_LOWAT` in bytes, set on the listener and inherited (Linux only): how much the kernel
    /// takes of what it cannot send yet before a write blocks.
    pub not_sent_low_water: u32,
}

impl ServerOptions {
    /// The defaults, for one section of the configuration and one address.
    #[must_use]
    pub fn new(section: &'static str, listen: SocketAddr) -> Self {
        Self {
            section,
            listen,
            tls: None,
            header_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            connections_max: 16_384,
            connections_per_address_max: 1_024,
            accepts_per_second: 0,
            body_bytes_max: 1024 * 1024,
            trusted_proxies: TrustedProxies::default(),
            proxy_protocol: false,
            allowed_origins: AllowedOrigins::default(),
            not_sent_low_water: 16 * 1024,
        }
    }
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and its chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why a server could not be bound. Each names the setting to look at.
#[derive(Debug, Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error("address {address} ({section}.listen) is in use")]
    AddressInUse {
        /// Section of the configuration.
        section: &'static str,
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The operating system refuses the address for another reason.
    #[error("cannot listen on {address} ({section}.listen)")]
    Listen {
        /// Section of the configuration.
        section: &'static str,
        /// The address that was asked for.
        address: SocketAddr,
        /// What it said.
        source: io::Error,
    },
    /// A certificate or key file cannot be read, or holds no PEM of its kind.
    #[error("cannot use {} ({section}.tls.{setting})", path.display())]
    TlsFile {
        /// Section of the configuration.
        section: &'static str,
        /// `certificate` or `key`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Certificate and key do not make a server: of different pairs, say.
    #[error("certificate and key ({section}.tls) do not fit")]
    Tls {
        /// Section of the configuration.
        section: &'static str,
        /// Why.
        source: rustls::Error,
    },
}

impl BindError {
    /// Whether another listener holds the address: `dev` takes any free port then.
    #[must_use]
    pub const fn is_address_in_use(&self) -> bool {
        matches!(self, Self::AddressInUse { .. })
    }
}
