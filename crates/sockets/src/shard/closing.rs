//! How connections end: closed with a code, drained, gone.

use std::time::{Duration, Instant};

use tidewire_router::{ConnectionId, Framing, Keep};
use tidewire_wire::error::CloseCode;

use super::Shard;
use crate::client::Closed;
use crate::socket::{Phase, spread};

/// All connections on their way out.
pub(super) struct Drain {
    pub(super) slots: Vec<(usize, ConnectionId)>,
    pub(super) total: usize,
    pub(super) started: Instant,
    pub(super) window: Duration,
    pub(super) retry: Duration,
}

impl Shard {
    /// Closes a connection with a code; `retry` is the hint of a drain.
    pub(super) fn close(
        &mut self,
        slot: usize,
        code: CloseCode,
        retry: Option<Duration>,
        now: Instant,
    ) {
        // None: it is closing already.
        let Some(framing) = self.core.framing(slot) else { return };
        let last = last_words(framing, code, retry);
        let keep = match code {
            CloseCode::Slow | CloseCode::Revoked | CloseCode::Forbidden => Keep::Nothing,
            _ => Keep::Pending,
        };
        if self.sockets.get(slot).is_some() {
            self.begin_close(slot, Closed::ByUs(code), keep, &last, now);
        } else if let Some(id) = self.core.id(slot) {
            // Its stream is still to come, and is told then.
            let clocks = self.clocks(now);
            self.core.close(slot, keep, &last, clocks);
            self.closed_early.insert(id, code);
        }
    }

    pub(super) fn begin_close(
        &mut self,
        slot: usize,
        why: Closed,
        keep: Keep,
        last: &[u8],
        now: Instant,
    ) {
        let Some(socket) = self.sockets.get(slot) else { return };
        if socket.phase == Phase::Closing {
            return;
        }
        socket.phase = Phase::Closing;
        socket.tell_closed(why);
        let at = now + self.options.linger;
        socket.health_at = at;
        let clocks = self.clocks(now);
        self.core.close(slot, keep, last, clocks);
        self.set_timer(slot, at, now);
    }

    /// Ends our half of a stream to which all is written.
    pub(super) fn finish(&mut self, slot: usize) {
        let Some(socket) = self.sockets.get(slot) else { return };
        socket.finished = socket.stream.finish();
        if socket.finished && socket.ended {
            self.gone(slot, Closed::ByClient(None));
        }
    }

    /// The stream is gone: forgets all of the connection.
    pub(super) fn gone(&mut self, slot: usize, why: Closed) {
        if let Some(mut socket) = self.sockets.remove(slot) {
            socket.tell_closed(why);
            if let Some(tcp) = socket.stream.tcp() {
                // It is closed with the drop below; that ends the watch as well.
                let _ = self.poll.registry().deregister(tcp);
            }
        }
        self.forget(slot);
    }

    pub(super) fn forget(&mut self, slot: usize) {
        self.core.remove(slot);
    }

    /// Closes as many as are due by now, evenly over the window.
    pub(super) fn drain_some(&mut self, now: Instant) {
        let Some(mut drain) = self.drain.take() else { return };
        let passed = now.saturating_duration_since(drain.started);
        let part = if drain.window.is_zero() {
            1.0
        } else {
            (passed.as_secs_f64() / drain.window.as_secs_f64()).min(1.0)
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a count of sockets"
        )]
        let keep = drain.total - (drain.total as f64 * part).ceil() as usize;
        while drain.slots.len() > keep {
            let Some((slot, id)) = drain.slots.pop() else { break };
            let retry = hint(id, drain.retry);
            if self.sockets.get(slot).is_some_and(|s| s.id == id) {
                let code = drain_code(self.core.framing(slot));
                self.close(slot, code, Some(retry), now);
            }
        }
        if !drain.slots.is_empty() {
            self.drain = Some(drain);
        }
    }
}

/// The code that a drain closes with.
pub(super) const fn drain_code(framing: Option<Framing>) -> CloseCode {
    match framing {
        Some(Framing::V1) => CloseCode::Drain,
        _ => CloseCode::Restart,
    }
}

/// When a drained client should come back: not at once, and not all together.
pub(super) fn hint(id: ConnectionId, retry: Duration) -> Duration {
    retry + spread(id, retry)
}

/// The bytes that end a connection.
fn last_words(framing: Framing, code: CloseCode, retry: Option<Duration>) -> Vec<u8> {
    let mut last = Vec::new();
    match (framing, retry) {
        (Framing::WebSocket, Some(retry)) => {
            let reason = format!("retry in {} ms", retry.as_millis());
            tidewire_wire::ws::push_close(&mut last, code.number(), &reason);
        }
        (Framing::V1, Some(retry)) => {
            let mut goaway = Vec::new();
            let retry_ms = u64::try_from(retry.as_millis()).unwrap_or(u64::MAX);
            tidewire_wire::v1::frames::push_goaway(&mut goaway, retry_ms);
            tidewire_wire::ws::push_text(&mut last, &goaway);
            tidewire_wire::ws::push_close(&mut last, code.number(), code.name());
        }
        (Framing::WebSocket | Framing::V1, None) => {
            tidewire_wire::ws::push_close(&mut last, code.number(), code.name());
        }
        (Framing::EventStream, retry) => {
            let retry = retry.map_or(0, |r| u64::try_from(r.as_millis()).unwrap_or(0));
            tidewire_wire::sse::push_retry(&mut last, retry.max(1));
        }
    }
    last
}
