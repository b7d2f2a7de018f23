//! How connections begin: attached by the router's word, then given their stream, or never.

use std::time::Instant;

use mio::{Interest, Token};
use tidewire_router::ConnectionId;
use tracing::error;

use super::Shard;
use super::closing::{drain_code, hint};
use crate::client::Closed;
use crate::handle::Adoption;
use crate::socket::{Phase, Socket};

impl Shard {
    /// Whoever attached a connection hands its stream over or says that it never comes; should that word
    /// overtake the connection, or be lost, it is forgotten after the time that a silent client is given.
    pub(super) fn await_stream(&mut self, id: ConnectionId, now: Instant) {
        let patience = self.options.ping_interval + self.options.pong_timeout;
        self.awaited.push_back((now + patience, id));
    }

    pub(super) fn forget_awaited(&mut self, now: Instant) {
        while let Some(&(until, id)) = self.awaited.front() {
            let slot = self.core.slot(id).filter(|slot| self.sockets.get(*slot).is_none());
            // One that has its stream, or has gone, is no longer waited for.
            if slot.is_some() && until > now {
                return;
            }
            self.awaited.pop_front();
            if let Some(slot) = slot {
                self.closed_early.remove(&id);
                self.forget(slot);
            }
        }
    }

    pub(super) fn adopt(&mut self, adoption: Adoption, now: Instant) {
        let Adoption { id, stream, early, client, permit } = adoption;
        let mut socket = Socket::new(id, stream, client, permit, &self.options, now);
        let Some(slot) = self.core.slot(id) else {
            // Aborted before its stream came.
            socket.tell_closed(Closed::Aborted);
            return;
        };
        let closed_early = self.closed_early.remove(&id);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Some(tcp) = socket.stream.tcp()
            && let Err(e) = self.poll.registry().register(tcp, Token(slot), interest)
        {
            error!(error = %e, connection_id = id.0, "a socket cannot be watched");
            socket.tell_closed(Closed::Aborted);
            self.forget(slot);
            return;
        }
        if let Some(code) = closed_early {
            socket.phase = Phase::Closing;
            socket.health_at = now + self.options.linger;
            socket.tell_closed(Closed::ByUs(code));
        }
        let closing = socket.phase == Phase::Closing;
        let next = socket.health_at;
        self.sockets.insert(slot, socket);
        self.set_timer(slot, next, now);
        self.core.adopt(id);
        if let Some(retry) = self.draining.filter(|_| !closing) {
            let code = drain_code(self.core.framing(slot));
            self.close(slot, code, Some(hint(id, retry)), now);
        }
        if !early.is_empty() {
            let mut early = Vec::from(early);
            self.input(slot, &mut early, now);
        }
        // A TLS session may hold bytes that the socket will never announce.
        self.read(slot, now);
    }

    pub(super) fn abort(&mut self, id: ConnectionId) {
        let Some(slot) = self.core.slot(id) else { return };
        self.closed_early.remove(&id);
        if self.sockets.get(slot).is_some() {
            self.gone(slot, Closed::ByClient(None));
        } else {
            self.forget(slot);
        }
    }
}
