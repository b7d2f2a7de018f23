//! The reader's end of an event stream: what the HTTP server sends as the body of the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use tidewire_router::ConnectionId;
use tokio::sync::mpsc::{self, Receiver};

use crate::handle::{Command, ShardHandle};
use crate::stream::{EventSender, Stream};

/// Chunks that may wait between a shard and the HTTP server, for one stream. More waits in the
/// connection's own queue, under its bound.
const CHUNKS_MAX: usize = 4;

/// The body of an event stream. Dropping it tells the shard that the client has gone.
#[derive(Debug)]
pub struct EventStreamBody {
    receiver: Receiver<Bytes>,
    blocked: Arc<AtomicBool>,
    connection: ConnectionId,
    shard: ShardHandle,
}

impl EventStreamBody {
    /// Both ends: the stream for the shard, the body for the HTTP server.
    #[must_use]
    pub fn new(connection: ConnectionId, shard: ShardHandle) -> (Stream, Self) {
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        let blocked = Arc::new(AtomicBool::new(false));
        let stream = Stream::Events(EventSender { sender, blocked: Arc::clone(&blocked) });
        (stream, Self { receiver, blocked, connection, shard })
    }

    /// The next chunk; `None` at the end.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let chunk = self.receiver.poll_recv(cx);
        if chunk.is_ready()
            && self.blocked.swap(false, Ordering::SeqCst)
            && !self.shard.try_send(Command::Writable(self.connection))
        {
            // The shard's queue is full, and nobody may ask for another chunk before one comes.
            self.shard.leave_word_of_room();
        }
        chunk
    }
}

impl Drop for EventStreamBody {
    fn drop(&mut self) {
        // Else the shard finds the channel closed at its next write.
        let _ = self.shard.try_send(Command::Abort(self.connection));
    }
}
