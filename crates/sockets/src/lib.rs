//! WebSocket shards on mio.
