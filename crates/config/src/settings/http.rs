//! Sections `http` and `internal`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::seconds;
use super::url::is_http_url;
use crate::reader::Reader;

/// Section `http`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Http {
    pub listen: SocketAddr,
    pub allowed_origins: Vec<String>,
    pub trusted_proxies: Vec<IpRange>,
    pub proxy_protocol: bool,
    pub header_timeout: Duration,
    pub stall_timeout: Duration,
    pub body_bytes_max: usize,
    pub connections_max: usize,
    pub connections_per_address_max: usize,
    pub connections_per_tenant_max: usize,
    pub connections_per_principal_max: usize,
    pub accepts_per_second: u32,
    pub tls: Option<Tls>,
}

/// Section `http.tls`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Tls {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

/// An address, or a network in CIDR form; checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpRange(pub String);

/// Section `internal`.
#[derive(Clone, Debug)]
pub struct Internal {
    /// Address and port.
    pub listen: SocketAddr,
}

pub(super) fn http(r: &Reader) -> Http {
    let tls = match (r.file("http.tls.cert_file"), r.file("http.tls.key_file")) {
        (Some(cert_file), Some(key_file)) => Some(Tls { cert_file, key_file }),
        (None, None) => None,
        (Some(_), None) => {
            r.problem("http.tls.key_file", "is required beside http.tls.cert_file");
            None
        }
        (None, Some(_)) => {
            r.problem("http.tls.cert_file", "is required beside http.tls.key_file");
            None
        }
    };
    Http {
        listen: address(r, "http.listen"),
        allowed_origins: r.parsed_list(
            "http.allowed_origins",
            "an origin: scheme, host and port without a path, such as https://app.example.com",
            |text| is_origin(text).then(|| text.to_owned()),
        ),
        trusted_proxies: r.parsed_list(
            "http.trusted_proxies",
            "an address or a network such as 10.0.0.0/8",
            |text| is_range(text).then(|| IpRange(text.to_owned())),
        ),
        proxy_protocol: r.truth("http.proxy_protocol"),
        header_timeout: r.duration("http.header_timeout", seconds(1)..=seconds(300)),
        stall_timeout: r.duration("http.stall_timeout", seconds(1)..=seconds(300)),
        body_bytes_max: r.size("http.body_bytes_max", 1024..=1 << 30),
        connections_max: r.number("http.connections_max", 1..=10_000_000),
        connections_per_address_max: r.number("http.connections_per_address_max", 1..=10_000_000),
        connections_per_tenant_max: r.number("http.connections_per_tenant_max", 1..=10_000_000),
        connections_per_principal_max: r
            .number("http.connections_per_principal_max", 1..=10_000_000),
        accepts_per_second: r.number("http.accepts_per_second", 1..=1_000_000),
        tls,
    }
}

pub(super) fn address(r: &Reader, key: &str) -> SocketAddr {
    let text = r.text(key);
    text.parse().unwrap_or_else(|_| {
        r.problem(key, format!("{text:?} is not address:port, such as 0.0.0.0:8080"));
        SocketAddr::from(([127, 0, 0, 1], 0))
    })
}

fn is_origin(text: &str) -> bool {
    let rest = text.split_once("://").map(|(_, rest)| rest);
    is_http_url(text) && rest.is_some_and(|rest| !rest.contains(['/', '?', '#', '@', '*']))
}

fn is_range(text: &str) -> bool {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}
