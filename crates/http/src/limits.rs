//! How many connections there are, in all and per client address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// The counts of one listener. Every connection holds permits; what they hold is given back on drop.
#[derive(Debug)]
pub(crate) struct Limits {
    connections_max: usize,
    per_address_max: usize,
    connections: AtomicUsize,
    /// Only addresses with a connection have an entry, so there are at most as many as connections.
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

impl Limits {
    pub(crate) fn new(connections_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self {
            connections_max,
            per_address_max,
            connections: AtomicUsize::new(0),
            addresses: Mutex::default(),
        })
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// A place for one more connection, if there is one.
    pub(crate) fn connection(self: &Arc<Self>) -> Option<ConnectionPermit> {
        let max = self.connections_max;
        self.connections
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |open| {
                (open < max).then_some(open + 1)
            })
            .ok()?;
        Some(ConnectionPermit { limits: Arc::clone(self), address: None })
    }

    /// A place under the cap of one address, if there is one.
    pub(crate) fn address(self: &Arc<Self>, address: IpAddr) -> Option<AddressPermit> {
        let counted = counted_as(address);
        let mut addresses = self.addresses.lock();
        let open = addresses.entry(counted).or_insert(0);
        if *open >= self.per_address_max {
            // With a cap of 0 the entry is new, and nobody would take it away.
            if *open == 0 {
                addresses.remove(&counted);
            }
            return None;
        }
        *open += 1;
        Some(AddressPermit { limits: Arc::clone(self), counted })
    }
}

/// One site gets a whole /64, so single IPv6 addresses bound nobody.
fn counted_as(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & (u128::MAX << 64)).into(),
    }
}

/// A connection's place under the caps, given back on drop.
#[derive(Debug)]
pub struct ConnectionPermit {
    limits: Arc<Limits>,
    address: Option<AddressPermit>,
}

impl ConnectionPermit {
    /// Lets the place under an address' cap live as long as the connection's.
    pub(crate) fn bind(&mut self, address: AddressPermit) {
        self.address = Some(address);
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.limits.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A place under the cap of one address, given back on drop.
#[derive(Debug)]
pub(crate) struct AddressPermit {
    limits: Arc<Limits>,
    counted: IpAddr,
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let mut addresses = self.limits.addresses.lock();
        if let Some(open) = addresses.get_mut(&self.counted) {
            *open -= 1;
            if *open == 0 {
                addresses.remove(&self.counted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let limits = Limits::new(2, 1);
        let first = limits.connection().unwrap();
        let second = limits.connection().unwrap();
        assert!(limits.connection().is_none());
        drop(first);
        assert!(limits.connection().is_some());
        drop(second);
        assert_eq!(limits.connections(), 0);
    }

    #[test]
    fn an_address_is_counted_until_the_connection_ends() {
        let limits = Limits::new(9, 1);
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let mut connection = limits.connection().unwrap();
            connection.bind(limits.address(one.parse().unwrap()).unwrap());
            let refused = limits.address(other.parse().unwrap()).is_none();
            assert_eq!(refused, same, "{one} {other}");
        }
        assert!(limits.addresses.lock().is_empty(), "no entry is left behind");
    }

    #[test]
    fn a_cap_of_nothing_leaves_no_entry() {
        let limits = Limits::new(0, 0);
        assert!(limits.connection().is_none());
        assert!(limits.address("192.0.2.1".parse().unwrap()).is_none());
        assert!(limits.addresses.lock().is_empty());
    }
}
