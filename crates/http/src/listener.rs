//! The listening socket and the pace at which it is emptied.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::{BindError, ServerOptions};

/// Connections that wait in the kernel, over a burst or a pause of the accept loop.
const BACKLOG: i32 = 4096;

pub(crate) fn listen(options: &ServerOptions) -> Result<TcpListener, BindError> {
    let (section, address) = (options.section, options.listen);
    open(address, options.not_sent_low_water).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::AddressInUse { section, address },
        _ => BindError::Listen { section, address, source },
    })
}

/// What is set here is inherited by every accepted connection, which saves two system calls on each.
fn open(address: SocketAddr, not_sent_low_water: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_tcp_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(not_sent_low_water)?;
    #[cfg(not(target_os = "linux"))]
    let _ = not_sent_low_water;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// A rate with a burst of one second: who waits, waits in the kernel's backlog.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: u32,
    /// When the bucket would be empty if nothing more came: each accept moves it on by its share.
    spent_until: Instant,
}

impl Pace {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second, spent_until: Instant::now() }
    }

    /// Takes one; returns when the taker may go on, if that is not at once.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        let share = Duration::from_secs(1).checked_div(self.per_second)?;
        let burst = Duration::from_secs(1);
        let may_start = self.spent_until;
        let refilled = now.checked_sub(burst).unwrap_or(now);
        self.spent_until = may_start.max(refilled) + share;
        (self.spent_until > now).then_some(self.spent_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `tries` may go on at `at`, all asked at once after a second of rest.
    fn at_once(per_second: u32, tries: usize) -> usize {
        let start = Instant::now();
        let mut pace = Pace { per_second, spent_until: start };
        let now = start + Duration::from_secs(5);
        (0..tries).filter(|_| pace.take(now).is_none()).count()
    }

    #[test]
    fn a_burst_of_a_second_then_the_rate() {
        for (per_second, tries, expected) in
            [(0, 1000, 1000), (1, 10, 1), (100, 50, 50), (100, 1000, 100)]
        {
            assert_eq!(at_once(per_second, tries), expected, "{per_second}/s");
        }
        let start = Instant::now();
        let mut pace = Pace { per_second: 4, spent_until: start };
        let waits: Vec<_> =
            (0..3).map(|_| pace.take(start).map(|until| (until - start).as_millis())).collect();
        assert_eq!(waits, [Some(250), Some(500), Some(750)]);
    }
}
