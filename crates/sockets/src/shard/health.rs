//! Timers: pings and their answers, tokens that expire, what clients want to be called for.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tidewire_wire::error::CloseCode;

use super::inbound::Inbound;
use super::{Shard, wall_ms};
use crate::client::Closed;
use crate::socket::{Health, Phase};
use crate::wheel::{Entry, TICK};

/// Up to so many timers nobody looks whose they are.
pub(super) const TIMERS_MIN: usize = 4096;

impl Shard {
    /// Sets a timer for the next thing that is due: the look at its health, or what its client waits for.
    pub(super) fn set_timer(&mut self, slot: usize, at: Instant, now: Instant) {
        let Some(socket) = self.sockets.get(slot) else { return };
        let mut at = at;
        if socket.phase == Phase::Open {
            let left = socket.client.expires_at().saturating_mul(1000).saturating_sub(wall_ms());
            let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
            at = at.min(now.checked_add(left).unwrap_or(at));
            let wanted = socket.client.wants_time_at().saturating_mul(1000);
            let left = u64::try_from(wanted.saturating_sub(wall_ms())).unwrap_or(0);
            at = at.min(now.checked_add(Duration::from_millis(left)).unwrap_or(at));
        }
        self.wheel.set(at, Entry { slot, connection: socket.id.0 });
        if self.wheel.len() > self.timers_max {
            self.drop_timers();
        }
    }

    /// Drops the timers of connections that have gone: they would stay until they are due, and a crowd
    /// that comes and goes may leave more than ever are connected.
    fn drop_timers(&mut self) {
        let sockets = &mut self.sockets;
        self.wheel.retain(|e| sockets.get(e.slot).is_some_and(|s| s.id.0 == e.connection));
        self.timers_max = (2 * self.wheel.len()).max(TIMERS_MIN);
    }

    /// Does what is due, and tells the counts.
    pub(super) fn timers(&mut self, now: Instant) {
        for entry in self.wheel.due(now) {
            let Some(socket) = self.sockets.get(entry.slot) else { continue };
            if socket.id.0 == entry.connection {
                self.check(entry.slot, now);
            }
        }
        self.forget_awaited(now);
        self.drain_some(now);
        if now >= self.stats_at {
            self.stats_at = now + TICK;
            if self.inbox.room_untold.swap(false, Ordering::SeqCst) {
                self.try_event_streams();
            }
            let mut stats =
                self.outlets.stats.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *stats = self.core.stats();
        }
    }

    /// Tries every event stream: somewhere there is room, and the queue had none for the word of it.
    fn try_event_streams(&mut self) {
        for (slot, socket) in self.sockets.iter() {
            if socket.is_event_stream() {
                self.core.writable(slot);
            }
        }
    }

    fn check(&mut self, slot: usize, now: Instant) {
        let Some(socket) = self.sockets.get(slot) else { return };
        if socket.phase == Phase::Closing {
            // An earlier timer of the same socket may fire before its linger is over.
            let at = socket.health_at;
            if now >= at {
                self.gone(slot, Closed::ByClient(None));
            } else {
                self.set_timer(slot, at, now);
            }
            return;
        }
        if wall_ms() >= socket.client.expires_at().saturating_mul(1000) {
            self.close(slot, CloseCode::TokenExpired, None, now);
            return;
        }
        if wall_ms() >= socket.client.wants_time_at().saturating_mul(1000) {
            let reaction = socket.client.on_time(wall_ms());
            self.react(slot, Inbound::React(reaction), now);
        }
        // Closing has set a timer of its own.
        let Some(socket) = self.sockets.get(slot).filter(|s| s.phase == Phase::Open) else {
            return;
        };
        match socket.check(&self.options, now) {
            Health::Silent => {
                self.gone(slot, Closed::Silent);
                return;
            }
            Health::Ping => self.ping(slot, now),
            Health::Fine => {}
        }
        if let Some(at) = self.sockets.get(slot).map(|s| s.health_at) {
            self.set_timer(slot, at, now);
        }
    }

    fn ping(&mut self, slot: usize, now: Instant) {
        let mut frame = Vec::new();
        if self.sockets.get(slot).is_some_and(|s| s.is_event_stream()) {
            tidewire_wire::sse::push_keep_alive(&mut frame);
        } else {
            let proof = self.core.keep_alive(slot, self.clocks(now));
            tidewire_wire::ws::push_ping(&mut frame, &proof);
        }
        self.core.send(slot, &frame, &mut self.sockets);
    }
}
