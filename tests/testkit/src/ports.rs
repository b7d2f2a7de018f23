//! Free ports for the services that tests start.

use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range that the system gives to outgoing connections, and beside those that the other parts
/// take: a service that was stopped finds its port free again.
const PORTS: std::ops::Range<u32> = 9_100..12_000;

/// A port of loopback that nobody listens on and that this process was not given before. Processes start at
/// different places of the range.
///
/// # Errors
/// When there is none.
pub fn free_port() -> anyhow::Result<u16> {
    static TURN: AtomicU32 = AtomicU32::new(0);
    let size = PORTS.end - PORTS.start;
    for _ in 0..size {
        let turn =
            process::id().wrapping_mul(131).wrapping_add(TURN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(PORTS.start + turn % size)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no free port in {PORTS:?}")
}
