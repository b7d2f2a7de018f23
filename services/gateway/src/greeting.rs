//! The frames that come before all others: the welcome of `tidewire.v1`, and words about the session.

use std::time::Duration;

use tidewire_router::Framing;
use tidewire_wire::v1::frames;
use tidewire_wire::{sse, ws};

/// The frames that come before all others.
pub(crate) struct Greeting {
    pub(crate) framing: Framing,
    pub(crate) bytes: Vec<u8>,
}

impl Greeting {
    pub(crate) fn welcome(&mut self, connection: &str, heartbeat: Duration) {
        let mut json = Vec::new();
        let heartbeat = u64::try_from(heartbeat.as_millis()).ok();
        frames::push_welcome(&mut json, connection, heartbeat);
        ws::push_text(&mut self.bytes, &json);
    }

    pub(crate) fn session(&mut self, body: &[u8]) {
        self.push("session", body);
    }

    pub(crate) fn error(&mut self, body: &[u8]) {
        self.push("error", body);
    }

    fn push(&mut self, event: &str, body: &[u8]) {
        match self.framing {
            Framing::WebSocket | Framing::V1 => ws::push_text(&mut self.bytes, body),
            Framing::EventStream => sse::push_event(&mut self.bytes, event, &[body]),
        }
    }
}
