//! What a subscription's client is told outside of events, in the words of its framing.

use std::sync::Arc;

use tidewire_event::{FrameId, ObjectType, Positions, Tenant, encode_cursor};
use tidewire_log::GapReason;
use tidewire_wire::error::{Notice as WireNotice, Refusal};
use tidewire_wire::request::{ALERT_PREFIX, OBJECT_PREFIX};
use tidewire_wire::{sse, v1, ws};

use super::{Now, ShardCore};
use crate::view::{Framing, ViewKey};

/// A word to one subscription.
pub(super) enum Word<'a> {
    /// It is registered; its events start here.
    Subscribed(&'a Positions),
    /// It has ended.
    Unsubscribed,
    /// It has caught up, after so many events.
    Live(&'a Arc<Positions>, u64),
    /// It has been sent everything before these.
    Cursor(&'a Positions),
    /// Changes may be missing.
    Gap(v1::GapReason),
    /// Its type may not be read any more.
    Forbidden(ObjectType),
    /// So many frames were merged away.
    Conflated(u64),
    /// The snapshot is through.
    SnapshotEnd {
        /// Whether it held every object that there is.
        complete: bool,
        /// How many it held.
        objects: u64,
    },
    /// The snapshot cannot be had.
    Refused(&'a Refusal),
}

/// The reason as clients are told it.
pub(super) const fn word_of(reason: GapReason) -> v1::GapReason {
    match reason {
        GapReason::Retention => v1::GapReason::Retention,
        GapReason::Truncated => v1::GapReason::Truncated,
        GapReason::Recreated => v1::GapReason::Recreated,
    }
}

/// Appends a gap, framed.
pub(super) fn push_gap(out: &mut Vec<u8>, key: &ViewKey, reason: v1::GapReason, now: Now) {
    if let (Framing::V1, Some(sub)) = (key.framing, &key.sub) {
        push_v1(out, |json| v1::frames::push_gap(json, sub, reason));
        return;
    }
    let prefix = match key.definition.alert_script() {
        Some(_) => ALERT_PREFIX,
        None => OBJECT_PREFIX,
    };
    let uri = format!("{prefix}{}", key.definition.number());
    let body = WireNotice::Gap.body(now.wall_ms, &uri).to_json();
    match key.framing {
        Framing::WebSocket | Framing::V1 => ws::push_text(out, &body),
        Framing::EventStream => sse::push_event(out, sse::EVENT_ERROR, &[&body]),
    }
}

fn push_v1(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut json = Vec::new();
    write(&mut json);
    ws::push_text(out, &json);
}

/// Appends a cursor, framed.
pub(super) fn push_cursor(out: &mut Vec<u8>, framing: Framing, subs: &[&str], cursor: &str) {
    match framing {
        Framing::WebSocket => {}
        Framing::EventStream => sse::push_id(out, cursor),
        Framing::V1 => {
            push_v1(out, |json| v1::frames::push_cursor(json, subs.iter().copied(), cursor))
        }
    }
}

impl ShardCore {
    /// Says a word to a subscription, behind everything that its connection was given so far.
    pub(super) fn say(&mut self, lane: usize, word: &Word<'_>, now: Now) {
        let Some(known) = self.lanes.get(lane) else { return };
        let (slot, view) = (known.connection, known.view);
        let Some(key) = self.views.get(view).map(|v| v.key.clone()) else { return };
        if matches!(word, Word::Gap(_)) {
            self.stats.gaps += 1;
        }
        let mut frames = Vec::new();
        match key.framing {
            Framing::V1 => self.push_v1_word(&mut frames, &key, word, now),
            Framing::WebSocket | Framing::EventStream => {
                self.push_documented_word(&mut frames, &key, word, now);
            }
        }
        self.tell(slot, &frames);
    }

    fn push_documented_word(
        &mut self,
        out: &mut Vec<u8>,
        key: &ViewKey,
        word: &Word<'_>,
        now: Now,
    ) {
        match word {
            Word::Gap(reason) => push_gap(out, key, *reason, now),
            Word::Subscribed(at) | Word::Cursor(at) => {
                let cursor = self.cursor_text(&key.definition.tenant, at);
                push_cursor(out, key.framing, &[], &cursor);
            }
            Word::Live(at, _) => {
                let cursor = self.cursor_text(&key.definition.tenant, at);
                push_cursor(out, key.framing, &[], &cursor);
            }
            Word::Unsubscribed
            | Word::Forbidden(_)
            | Word::Conflated(_)
            | Word::SnapshotEnd { .. }
            | Word::Refused(_) => {}
        }
    }

    fn push_v1_word(&mut self, out: &mut Vec<u8>, key: &ViewKey, word: &Word<'_>, now: Now) {
        let sub = key.sub.as_deref().unwrap_or_default();
        let tenant = &key.definition.tenant;
        match word {
            Word::Subscribed(at) => {
                let cursor = self.cursor_text(tenant, at);
                push_v1(out, |json| v1::frames::push_subscribed(json, sub, &cursor));
            }
            Word::Unsubscribed => push_v1(out, |json| v1::frames::push_unsubscribed(json, sub)),
            Word::Live(at, replayed) => {
                let cursor = self.cursor_text(tenant, at);
                push_v1(out, |json| v1::frames::push_live(json, sub, &cursor, *replayed));
            }
            Word::Cursor(at) => {
                let cursor = self.cursor_text(tenant, at);
                push_cursor(out, Framing::V1, &[sub], &cursor);
            }
            Word::Gap(reason) => push_gap(out, key, *reason, now),
            Word::Forbidden(object_type) => {
                let refusal = Refusal::forbidden(format!("type {object_type} is not allowed"));
                push_refusal(out, sub, &refusal, now);
            }
            Word::Conflated(count) => {
                push_v1(out, |json| v1::frames::push_conflated(json, sub, *count))
            }
            Word::SnapshotEnd { complete, objects } => {
                push_v1(out, |json| v1::frames::push_snapshot_end(json, sub, *complete, *objects));
            }
            Word::Refused(refusal) => push_refusal(out, sub, refusal, now),
        }
    }

    /// The text of a cursor; that of the shard's own positions is made once.
    pub(super) fn cursor_text(&mut self, tenant: &Tenant, at: &Positions) -> Arc<str> {
        let is_own = *at == self.positions;
        if is_own && let Some(text) = self.cursors.get(tenant) {
            return Arc::clone(text);
        }
        let text: Arc<str> = encode_cursor(&self.settings.cursor_key, tenant, at).into();
        if is_own {
            self.cursors.insert(tenant.clone(), Arc::clone(&text));
        }
        text
    }

    /// Tells a connection that a record has passed all its subscriptions.
    pub(super) fn say_reached(&mut self, slot: usize, id: FrameId) {
        let mut frames = Vec::new();
        push_v1(&mut frames, |json| v1::frames::push_reached(json, id));
        self.tell(slot, &frames);
    }
}

fn push_refusal(out: &mut Vec<u8>, sub: &str, refusal: &Refusal, now: Now) {
    let body = refusal.body(now.wall_ms, "GET", tidewire_wire::request::V1_PATH);
    push_v1(out, |json| v1::frames::push_error(json, Some(sub), &body));
}
