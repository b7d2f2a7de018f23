//! Which of a replica's named sessions have to be written, and when.
//!
//! Pure: it neither has a clock nor calls a store. Whoever owns it tells it what happens to sockets, asks
//! [`SessionBook::due`] once a second what to write, writes all of that in one call of the store, and
//! tells the outcome of each to [`SessionBook::done`].
//!
//! What is due:
//! - field lists at once, with the position, so that a session which the store lost comes back whole;
//! - the first proof of a session at once: until it is written, a client that comes back is told that the
//!   session starts, as it may not have been told before;
//! - a position that moved over frames, [`BUSY_WRITE_MS`] after the last;
//! - everything every [`WHOLE_WRITE_MS`]: so idle positions do not fall out of retention, and what a
//!   failover of the store lost is written again; also soon after the claim, and when the store was
//!   behind;
//! - else a write of nothing every [`CHECK_MS`], to learn whether the session was taken;
//! - when a socket has ended: everything, and the release.
//!
//! Invariants:
//! - A position of one life of the topic never goes back, so no older one is written after a newer.
//! - A session is in at most one write at a time. What fails is due again at the next call, in its newest
//!   state.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidewire_event::{Position, Positions};

use crate::{OwnerToken, SessionId, WriteOutcome};

/// How long after its last write a position that moved over frames is written.
pub const BUSY_WRITE_MS: u64 = 5_000;
/// How often field list and position are written, whatever happened.
pub const WHOLE_WRITE_MS: u64 = 60_000;
/// How often ownership is asked for; with one call of `due` a second, every 3 s. A taken session is noticed
/// one answer of the store later.
pub const CHECK_MS: u64 = 2_500;
/// How long the release of a session is tried while the store is away. After that the position that was
/// written last stands.
pub const RELEASE_MS_MAX: u64 = 10 * 60 * 1000;
/// Most releases that wait for the store.
pub const RELEASES_MAX: usize = 50_000;

/// A session to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookWrite {
    /// Whose.
    pub connection: u64,
    /// The session.
    pub id: SessionId,
    /// The claim.
    pub owner: OwnerToken,
    /// See [`SessionWrite::fields`](crate::SessionWrite::fields).
    pub fields: Option<Option<String>>,
    /// The position to be written, if any.
    pub positions: Option<Arc<Positions>>,
    /// See [`Claimed::proven`](crate::Claimed::proven).
    pub proven: bool,
    /// See [`SessionWrite::release`](crate::SessionWrite::release).
    pub release: bool,
}

/// The sessions of the sockets held by this replica, and those whose sockets have ended but whose release
/// is not written yet.
#[derive(Debug, Default)]
pub struct SessionBook {
    held: HashMap<u64, Held>,
    by_session: HashMap<Arc<SessionId>, u64>,
    /// The connections that have ended, in this order.
    leaving: BTreeMap<u64, u64>,
    leaves: u64,
    releases_dropped: u64,
}

#[derive(Debug)]
struct Held {
    id: Arc<SessionId>,
    owner: OwnerToken,
    fields: Option<String>,
    /// The last that the client is proven to have received, or where it starts.
    positions: Option<Arc<Positions>>,
    proven: bool,
    unwritten: Unwritten,
    /// The last write failed: the next is due at once.
    failed: bool,
    in_flight: Option<Sent>,
    times: Times,
    leaving: Option<Leaving>,
}

/// What the store does not have yet, as far as is known.
#[derive(Clone, Copy, Debug, Default)]
struct Unwritten {
    /// The position has moved over frames.
    moved: bool,
    /// Field list and position have to be written at once.
    whole: bool,
}

/// What a write on its way holds.
#[derive(Clone, Copy, Debug)]
struct Sent {
    unwritten: Unwritten,
    release: bool,
}

/// When it was last handed out for writing: at all, with its position, whole.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    any_ms: u64,
    position_ms: u64,
    whole_ms: u64,
}

/// Its socket has ended.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    number: u64,
    /// Since when its release is due.
    since_ms: Option<u64>,
}

impl SessionBook {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A socket holds a session from here on, with the field list and the position that it starts with;
    /// `proven` as [`Claimed::proven`](crate::Claimed::proven) says.
    /// Returns the connection here that has thereby lost the session and is to be closed: the one that
    /// held it before; or this one, where a later claim of the same session was told first.
    pub fn hold(
        &mut self,
        connection: u64,
        id: SessionId,
        owner: OwnerToken,
        fields: Option<String>,
        (positions, proven): (Option<Arc<Positions>>, bool),
    ) -> Option<u64> {
        let id = Arc::new(id);
        let mut lost = None;
        if let Some(before) = self.by_session.get(&id).copied() {
            if self.held.get(&before).is_some_and(|held| held.owner.number > owner.number) {
                return Some(connection);
            }
            // One whose socket has ended need not be closed, and its release is void.
            lost = self.forget(before).filter(|held| held.leaving.is_none()).map(|_| before);
        }
        let held = Held {
            id: Arc::clone(&id),
            owner,
            fields,
            positions,
            proven,
            // What the claim found may have been unreadable.
            unwritten: Unwritten { moved: false, whole: true },
            failed: false,
            in_flight: None,
            times: Times::default(),
            leaving: None,
        };
        self.by_session.insert(id, connection);
        self.held.insert(connection, held);
        lost
    }

    /// The socket's field list changed; `None`: it has none any more.
    pub fn save_fields(&mut self, connection: u64, fields: Option<String>) {
        if let Some(held) = self.held.get_mut(&connection) {
            held.fields = fields;
            held.unwritten.whole = true;
        }
    }

    /// The socket's client is proven to have received everything before `positions`; `busy`: frames lay
    /// between these and the last.
    pub fn proven(&mut self, connection: u64, positions: Arc<Positions>, busy: bool) {
        if let Some(held) = self.held.get_mut(&connection) {
            held.positions = Some(match held.positions.take() {
                Some(known) => later(known, positions),
                None => positions,
            });
            held.unwritten.moved |= busy;
            held.unwritten.whole |= !std::mem::replace(&mut held.proven, true);
        }
    }

    /// The socket has ended: its session is written once more and given up.
    pub fn release(&mut self, connection: u64) {
        if let Some(held) = self.held.get_mut(&connection)
            && held.leaving.is_none()
        {
            self.leaves += 1;
            held.leaving = Some(Leaving { number: self.leaves, since_ms: None });
            self.leaving.insert(self.leaves, connection);
        }
        while self.leaving.len() > RELEASES_MAX {
            self.drop_first_release();
        }
    }

    /// What is to be written now; to be called once a second.
    pub fn due(&mut self, now_ms: u64) -> Vec<BookWrite> {
        while self.leaving.first_key_value().is_some_and(|(_, connection)| {
            let leaving = self.held.get(connection).and_then(|held| held.leaving);
            let since_ms = leaving.and_then(|leaving| leaving.since_ms);
            since_ms.is_some_and(|since_ms| now_ms.saturating_sub(since_ms) >= RELEASE_MS_MAX)
        }) {
            self.drop_first_release();
        }
        self.hand_out(now_ms, false)
    }

    /// The same before the replica ends: every position that moved is due.
    pub fn due_at_last(&mut self, now_ms: u64) -> Vec<BookWrite> {
        self.hand_out(now_ms, true)
    }

    /// What became of a write that was given out; `Err`: it failed, or nobody knows. True if the session
    /// was taken: its socket is to be closed.
    #[must_use]
    pub fn done(&mut self, connection: u64, outcome: Result<WriteOutcome, ()>) -> bool {
        let Some(held) = self.held.get_mut(&connection) else { return false };
        let Some(sent) = held.in_flight.take() else { return false };
        held.failed = matches!(outcome, Ok(WriteOutcome::Unknown) | Err(()));
        match outcome {
            Ok(WriteOutcome::Lost) => {
                return self.forget(connection).is_some_and(|held| held.leaving.is_none());
            }
            Ok(_) if sent.release => {
                self.forget(connection);
            }
            // A whole write held all that is known.
            Ok(WriteOutcome::Behind) => held.unwritten.whole |= !sent.unwritten.whole,
            Ok(WriteOutcome::Held) => {}
            Ok(WriteOutcome::Unknown) | Err(()) => {
                held.unwritten.moved |= sent.unwritten.moved;
                held.unwritten.whole |= sent.unwritten.whole;
            }
        }
        false
    }

    /// How many sessions there are, also those that wait for their release.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Of how many sessions the last write that is over has failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.held.values().filter(|held| held.failed).count()
    }

    /// How many releases were given up, since the store was away for too long or too many waited.
    #[must_use]
    pub const fn releases_dropped(&self) -> u64 {
        self.releases_dropped
    }

    fn hand_out(&mut self, now_ms: u64, last: bool) -> Vec<BookWrite> {
        let mut writes = Vec::new();
        for (connection, held) in &mut self.held {
            if let Some(sent) = held.wants(now_ms, last) {
                writes.push(held.hand_out(*connection, sent, now_ms));
            }
        }
        writes
    }

    fn drop_first_release(&mut self) {
        if let Some((_, connection)) = self.leaving.pop_first() {
            self.forget(connection);
            self.releases_dropped += 1;
        }
    }

    fn forget(&mut self, connection: u64) -> Option<Held> {
        let held = self.held.remove(&connection)?;
        if self.by_session.get(&held.id) == Some(&connection) {
            self.by_session.remove(&held.id);
        }
        if let Some(leaving) = held.leaving {
            self.leaving.remove(&leaving.number);
        }
        Some(held)
    }
}

impl Held {
    /// What has to be written now, if anything.
    fn wants(&self, now_ms: u64, last: bool) -> Option<Sent> {
        if self.in_flight.is_some() {
            return None;
        }
        let passed = |since_ms: u64, ms: u64| now_ms.saturating_sub(since_ms) >= ms;
        let release = self.leaving.is_some();
        let whole = self.unwritten.whole || release || passed(self.times.whole_ms, WHOLE_WRITE_MS);
        let moved = self.unwritten.moved
            && (last || self.failed || passed(self.times.position_ms, BUSY_WRITE_MS));
        if !(whole || moved || self.failed || passed(self.times.any_ms, CHECK_MS)) {
            return None;
        }
        let unwritten = Unwritten { whole, moved: self.unwritten.moved && (whole || moved) };
        Some(Sent { unwritten, release })
    }

    fn hand_out(&mut self, connection: u64, sent: Sent, now_ms: u64) -> BookWrite {
        let Unwritten { whole, moved } = sent.unwritten;
        let with_position = whole || moved;
        self.in_flight = Some(sent);
        self.unwritten.whole = false;
        self.times.any_ms = now_ms;
        if with_position {
            self.unwritten.moved = false;
            self.times.position_ms = now_ms;
        }
        if whole {
            self.times.whole_ms = now_ms;
        }
        if let Some(leaving) = &mut self.leaving {
            leaving.since_ms.get_or_insert(now_ms);
        }
        BookWrite {
            connection,
            id: SessionId::clone(&self.id),
            owner: self.owner,
            fields: whole.then(|| self.fields.clone()),
            positions: self.positions.clone().filter(|_| with_position),
            proven: self.proven,
            release: sent.release,
        }
    }
}

/// Both proofs hold, so the later offset of each partition does. Of two lives of the topic, the one that
/// was told last.
fn later(known: Arc<Positions>, told: Arc<Positions>) -> Arc<Positions> {
    let covers = |(partition, at): (_, Position)| {
        told.get(partition).is_some_and(|told| told.next >= at.next)
    };
    if known.topic() != told.topic() || known.iter().all(covers) {
        return told;
    }
    let mut merged = Positions::clone(&known);
    merged.advance_all(&told);
    Arc::new(merged)
}

#[cfg(test)]
mod tests;
