//! Who the client is, where proxies stand between.
//!
//! A proxy's word is taken only when the proxy is trusted, and of a chain only the part that trusted
//! proxies wrote: everything to the left of that is the client's own claim.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;
use warp::http::HeaderMap;

use crate::headers;

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    prefix_bits: u8,
}

/// A text that is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("'{0}' is no address and no range such as 10.0.0.0/8")]
pub struct BadRange(String);

impl FromStr for AddressRange {
    type Err = BadRange;

    fn from_str(text: &str) -> Result<Self, BadRange> {
        let bad = || BadRange(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| bad())?;
        let width = if first.is_ipv4() { 32 } else { 128 };
        let prefix_bits = bits.unwrap_or(width);
        if prefix_bits > width {
            return Err(bad());
        }
        let range = Self { first, prefix_bits };
        // `10.1.2.3/8` is more likely a slip than a wish.
        if range.masked(first) == Some(first) { Ok(range) } else { Err(bad()) }
    }
}

impl AddressRange {
    /// Whether the range holds an address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.masked(address) == Some(self.first)
    }

    /// The address without its host bits; `None` where it is of the other family.
    fn masked(&self, address: IpAddr) -> Option<IpAddr> {
        let bits = u32::from(self.prefix_bits);
        match (self.first, address) {
            (IpAddr::V4(_), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                Some(Ipv4Addr::from(u32::from(address) & mask).into())
            }
            (IpAddr::V6(_), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
                Some(Ipv6Addr::from(u128::from(address) & mask).into())
            }
            _ => None,
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_bits)
    }
}

/// The proxies whose word is taken (`http.trusted_proxies`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(pub Vec<AddressRange>);

/// An address that a connection or request is taken to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// False for a trusted proxy that did not say whom it speaks for: its address stands for any number of
    /// clients, so no cap applies to it.
    pub(crate) is_known: bool,
}

impl TrustedProxies {
    /// Whether an address belongs to a trusted proxy.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(address))
    }

    /// The client behind `peer`, from the `X-Forwarded-For` lines of a request.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let mut client = Client { address: peer, is_known: !self.contains(peer) };
        if client.is_known {
            return client;
        }
        // Each proxy appends whom it heard: the last entry was written by the peer, the one before it by
        // whoever the last entry names, and so on for as long as that one is trusted too.
        let entries: Vec<&str> = headers::list(headers, "x-forwarded-for").collect();
        for entry in entries.iter().rev() {
            let Some(address) = parse_entry(entry) else { break };
            client = Client { address, is_known: true };
            if !self.contains(address) {
                break;
            }
        }
        client
    }
}

/// An entry of `X-Forwarded-For`: an address, by some proxies with a port.
fn parse_entry(entry: &str) -> Option<IpAddr> {
    if let Ok(address) = entry.parse::<IpAddr>() {
        return Some(canonical(address));
    }
    if let Ok(address) = entry.parse::<std::net::SocketAddr>() {
        return Some(canonical(address.ip()));
    }
    let inner = entry.strip_prefix('[')?.strip_suffix(']')?;
    inner.parse::<Ipv6Addr>().ok().map(|address| canonical(address.into()))
}

/// An IPv4 address as itself, also where a dual-stack socket shows it as IPv6.
pub(crate) const fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.0/25", "192.0.2.127", "192.0.2.128"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("fd00::/8", "fdff::1", "fc00::1"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
        ] {
            let range: AddressRange = text.parse().unwrap();
            assert!(range.contains(inside.parse().unwrap()), "{text} holds {inside}");
            assert!(!range.contains(outside.parse().unwrap()), "{text} does not hold {outside}");
        }
        for text in [
            "",
            "x",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/",
            "10.1.0.0/8",
            "::/129",
            "/8",
            "10.0.0/8",
        ] {
            assert!(text.parse::<AddressRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn clients() {
        let proxies =
            TrustedProxies(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        for (peer, forwarded, client, is_known) in [
            // An untrusted peer is the client, whatever it claims.
            ("203.0.113.9", &[][..], "203.0.113.9", true),
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9", true),
            ("203.0.113.9", &["10.0.0.1"], "203.0.113.9", true),
            // A trusted one speaks for its client.
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1", true),
            ("fd00::1", &["2001:db8::5"], "2001:db8::5", true),
            ("10.0.0.1", &["198.51.100.1:55012"], "198.51.100.1", true),
            ("10.0.0.1", &["[2001:db8::5]:443"], "2001:db8::5", true),
            ("10.0.0.1", &["[2001:db8::5]"], "2001:db8::5", true),
            ("10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1", true),
            // Through two proxies.
            ("10.0.0.1", &["198.51.100.1, 10.0.0.2"], "198.51.100.1", true),
            ("10.0.0.1", &["198.51.100.1", "10.0.0.2"], "198.51.100.1", true),
            ("10.0.0.1", &["10.9.9.9, 10.0.0.2"], "10.9.9.9", true),
            // What stands left of the first untrusted address is the client's own claim.
            ("10.0.0.1", &["192.0.2.1, 198.51.100.1"], "198.51.100.1", true),
            ("10.0.0.1", &["10.0.0.9, 198.51.100.1"], "198.51.100.1", true),
            ("10.0.0.1", &["192.0.2.1", "198.51.100.1"], "198.51.100.1", true),
            ("10.0.0.1", &["192.0.2.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1", true),
            ("10.0.0.1", &["garbage, 198.51.100.1"], "198.51.100.1", true),
            // An entry that is no address ends what can be believed.
            ("10.0.0.1", &["192.0.2.1, garbage, 10.0.0.2"], "10.0.0.2", true),
            ("10.0.0.1", &["192.0.2.1, unknown"], "10.0.0.1", false),
            // A proxy that does not say: nobody is counted.
            ("10.0.0.1", &[], "10.0.0.1", false),
            ("10.0.0.1", &[""], "10.0.0.1", false),
            ("10.0.0.1", &[" , "], "10.0.0.1", false),
        ] {
            let mut headers = HeaderMap::new();
            for line in forwarded {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            let expected = Client { address: client.parse().unwrap(), is_known };
            assert_eq!(
                proxies.client(peer.parse().unwrap(), &headers),
                expected,
                "{peer} {forwarded:?}"
            );
        }
    }
}
