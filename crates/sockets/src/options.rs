//! What all shards are told at start.

use std::time::Duration;

use tidewire_wire::ws::Limits;

/// Bounds and intervals of the sockets.
#[derive(Clone, Copy, Debug)]
pub struct ShardOptions {
    /// Bounds of what clients send.
    pub limits: Limits,
    /// Every socket is pinged so often, spread over the interval; event streams get a comment.
    pub ping_interval: Duration,
    /// A socket from which nothing comes for so long after a ping is gone.
    pub pong_timeout: Duration,
    /// How long a socket that is being closed may take to take its last bytes and answer.
    pub linger: Duration,
    /// Most messages that a client may send in a minute.
    pub inbound_messages_per_minute: u32,
    /// How many commands may wait for a shard; then the router waits.
    pub commands_max: usize,
}
