//! What the bench asks of its helpers, one line of JSON each way: the load client, the floor
//! and the engine.

use serde::{Deserialize, Serialize};

/// A wish; each is answered with one [`Answer`] before the next is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Load: opens sockets and waits for their handshakes.
    Connect(Connect),
    /// Load: counts from zero.
    Mark,
    /// Load: answers once so many frames have come since the mark, on all sockets together.
    Await { frames: u64, limit_ms: u64 },
    /// Load: sends a text message on each socket, taken in turn.
    Tell { texts: Vec<String> },
    /// Load: answers once so many subscriptions of `tidewire.v1` have caught up since the mark.
    AwaitLive { subscriptions: u64, limit_ms: u64 },
    /// Load: reads no more from one socket in so many, until it is closed.
    Stall { every: usize },
    /// Load and floor: closes all sockets.
    CloseAll,
    /// Floor: takes so many connections, answers each 101 and adds it to its poll.
    Accept { count: usize },
    /// Floor: one write of `frames` frames of `bytes` bytes each to every socket, from `threads` threads.
    Send { bytes: usize, frames: usize, threads: usize },
    /// Floor: a bare consumer of this topic from here on, at its end.
    Subscribe { brokers: String, topic: String, partitions: i32, fetch_wait_ms: u64 },
    /// Floor: polls so many records; with `bytes`, each is followed by a write to the socket whose number
    /// is the record's key.
    Consume { records: u64, bytes: Option<usize> },
    /// Engine: compiles these, and looks for changes of the fleet with these types and operations.
    Prepare { sources: Vec<String>, triggers: Vec<(String, String)> },
    /// Engine: does this so often, over one change after the other.
    Evaluate { work: Work, calls: u64 },
}

/// What the engine does for one change.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Work {
    /// Reads the body.
    Parse,
    /// Makes the event ready for scripts.
    Open,
    /// Compiles a script of one line.
    Compile,
    /// Makes the event ready and runs all scripts over it.
    Run,
}

/// How to open sockets.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Connect {
    pub(super) address: String,
    pub(super) count: usize,
    /// Paths, taken in turn.
    pub(super) paths: Vec<String>,
    /// Bearer tokens, taken in turn; none for the floor.
    pub(super) tokens: Vec<String>,
    pub(super) event_stream: bool,
    /// Whether they speak `tidewire.v1`.
    pub(super) v1: bool,
    /// Whether they name a session: what they are told of it is no event.
    pub(super) sessions: bool,
    /// The authority to trust, PEM; `None` is plain.
    pub(super) tls_authority: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    pub(super) error: Option<String>,
    pub(super) frames: u64,
    pub(super) bytes: u64,
    /// The first and the last frame since the mark, in nanoseconds since the Unix epoch.
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    /// The last cursor that came.
    pub(super) cursor: Option<String>,
    /// Sockets that are open.
    pub(super) sockets: usize,
    /// Local ports of stalled sockets.
    pub(super) ports: Vec<u16>,
    /// Where the gateway or the floor listens.
    pub(super) address: String,
    /// Where the gateway shows its metrics.
    pub(super) internal: String,
}

/// Nanoseconds since the Unix epoch: the one clock that all processes share.
pub(super) fn wall_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}
