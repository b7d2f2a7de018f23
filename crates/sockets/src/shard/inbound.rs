//! What clients send: read, understood, acted upon.

use std::ops::ControlFlow;
use std::time::Instant;

use tidewire_router::Keep;
use tidewire_wire::error::CloseCode;
use tidewire_wire::ws::Message;
use tracing::debug;

use super::{Shard, wall_ms};
use crate::client::{Closed, Reaction};
use crate::socket::Phase;
use crate::stream::ReadOutcome;

/// Reads from one socket in a turn; the rest waits for the next one.
const READS_PER_TURN: usize = 8;

/// What a client's bytes led to.
pub(super) enum Inbound {
    React(Reaction),
    Pong(Vec<u8>),
    Proof(Vec<u8>),
    Close(Option<u16>),
    Refuse(CloseCode),
}

impl Shard {
    pub(super) fn read(&mut self, slot: usize, now: Instant) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut turns = READS_PER_TURN;
        while let Some(socket) = self.sockets.get(slot).filter(|s| !s.ended) {
            if turns == 0 {
                self.read_again.push(slot);
                break;
            }
            turns -= 1;
            match socket.stream.read(&mut buffer) {
                ReadOutcome::Bytes(n) => {
                    if let Some(bytes) = buffer.get_mut(..n) {
                        self.input(slot, bytes, now);
                    }
                }
                ReadOutcome::Blocked => break,
                // A client that said goodbye may have ended its half already: it still gets the answer.
                ReadOutcome::Ended if socket.phase == Phase::Closing && !socket.finished => {
                    socket.ended = true;
                }
                ReadOutcome::Ended => {
                    self.gone(slot, Closed::ByClient(None));
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    pub(super) fn input(&mut self, slot: usize, bytes: &mut [u8], now: Instant) {
        let Some(socket) = self.sockets.get(slot) else { return };
        socket.heard = true;
        if socket.phase != Phase::Open {
            return;
        }
        let mut inbound = Vec::new();
        let mut decoder = std::mem::take(&mut socket.decoder);
        let per_minute = self.options.inbound_messages_per_minute;
        let fed = decoder.feed(bytes, &self.options.limits, &mut |message| {
            let counts = matches!(message, Message::Text(_) | Message::Ping(_));
            if counts && !socket.may_speak(per_minute, now) {
                inbound.push(Inbound::Refuse(CloseCode::OverLimit));
                return ControlFlow::Break(());
            }
            match message {
                Message::Text(text) => {
                    inbound.push(Inbound::React(socket.client.on_text(text, wall_ms())));
                }
                Message::Binary => {
                    inbound.push(Inbound::Refuse(CloseCode::BinaryFrame));
                    return ControlFlow::Break(());
                }
                Message::Ping(payload) => inbound.push(Inbound::Pong(payload.to_vec())),
                Message::Pong([]) => {}
                Message::Pong(payload) => inbound.push(Inbound::Proof(payload.to_vec())),
                Message::Close { code, .. } => inbound.push(Inbound::Close(code)),
            }
            ControlFlow::Continue(())
        });
        socket.decoder = decoder;
        if let Err(e) = fed {
            debug!(error = %e, connection_id = socket.id.0, "a client broke the protocol");
            inbound.push(Inbound::Refuse(CloseCode::from(e)));
        }
        for what in inbound {
            self.react(slot, what, now);
        }
    }

    pub(super) fn react(&mut self, slot: usize, what: Inbound, now: Instant) {
        let mut frame = Vec::new();
        match what {
            Inbound::React(Reaction::Ignore) => {}
            Inbound::React(Reaction::SetMask(sub, mask)) => {
                self.core.set_mask(slot, sub.as_deref(), mask);
            }
            Inbound::React(Reaction::Await(id)) => self.core.await_record(slot, id),
            Inbound::React(Reaction::Close(code)) => self.close(slot, code, None, now),
            Inbound::Proof(payload) => self.core.pong(slot, &payload),
            Inbound::React(Reaction::Tell(json)) => {
                tidewire_wire::ws::push_text(&mut frame, &json);
                self.core.send(slot, &frame, &mut self.sockets);
            }
            Inbound::Pong(payload) => {
                tidewire_wire::ws::push_pong(&mut frame, &payload);
                self.core.send(slot, &frame, &mut self.sockets);
            }
            Inbound::Close(code) => {
                // RFC 6455, section 5.5.1: the answer echoes the code.
                tidewire_wire::ws::push_close(&mut frame, code.unwrap_or(1000), "");
                self.begin_close(slot, Closed::ByClient(code), Keep::Nothing, &frame, now);
            }
            Inbound::Refuse(code) => self.close(slot, code, None, now),
        }
    }
}
