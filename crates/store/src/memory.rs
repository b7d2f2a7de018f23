//! The store of one process: for `tidewire dev` and tests. It ends with the process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::expiring::ExpiringMap;
use crate::{
    BoxFuture, Claimed, GRANT_BYTES_MAX, OwnerToken, SESSION_TTL, SessionId, SessionState,
    SessionStore, SessionWrite, StoreError, StoreHealth, StoreStatus, TicketStore, WriteOutcome,
    check_position, ticket_key,
};

/// Says how much time has passed since a fixed moment; never goes back.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// How much a [`MemoryStore`] holds. Above it drops what would expire first, and counts it.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLimits {
    /// Most sessions.
    pub sessions_max: usize,
    /// Most tickets.
    pub tickets_max: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self { sessions_max: 100_000, tickets_max: 100_000 }
    }
}

/// The in-memory store. Clones share what they hold.
#[derive(Clone)]
pub struct MemoryStore {
    clock: Clock,
    maps: Arc<Mutex<Maps>>,
}

struct Maps {
    claims: u64,
    sessions: ExpiringMap<Session>,
    tickets: ExpiringMap<String>,
}

#[derive(Default)]
struct Session {
    number: u64,
    /// `None`: nobody's.
    nonce: Option<[u8; 16]>,
    state: SessionState,
    position: Option<String>,
    proven: bool,
}

impl MemoryStore {
    /// An empty store on the process's own clock.
    #[must_use]
    pub fn new(limits: MemoryLimits) -> Self {
        let start = Instant::now();
        Self::with_clock(limits, Arc::new(move || start.elapsed()))
    }

    /// An empty store on the caller's clock.
    #[must_use]
    pub fn with_clock(limits: MemoryLimits, clock: Clock) -> Self {
        let maps = Maps {
            claims: 0,
            sessions: ExpiringMap::new(limits.sessions_max),
            tickets: ExpiringMap::new(limits.tickets_max),
        };
        Self { clock, maps: Arc::new(Mutex::new(maps)) }
    }

    /// Runs `step` when the future is polled, under the lock, with the time.
    fn run<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut Maps, Duration) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<Result<T, StoreError>> {
        let store = self.clone();
        Box::pin(async move {
            let now = (store.clock)();
            step(&mut store.maps.lock(), now)
        })
    }
}

impl Maps {
    fn claim(&mut self, key: &str, nonce: [u8; 16], start: String, now: Duration) -> Claimed {
        // Over all sessions, so that it also rises over one that was dropped.
        self.claims += 1;
        let owner = OwnerToken { number: self.claims, nonce };
        if let Some(session) = self.sessions.touch(key, now, now + SESSION_TTL) {
            (session.number, session.nonce) = (owner.number, Some(nonce));
            let (position, proven) = (session.position.clone(), session.proven);
            session.position.get_or_insert(start);
            let fields = session.state.fields.clone();
            return Claimed { owner, fields, position, proven };
        }
        let (number, nonce) = (owner.number, Some(nonce));
        let session = Session { number, nonce, position: Some(start), ..Session::default() };
        self.sessions.put(key, session, now, now + SESSION_TTL);
        Claimed { owner, fields: None, position: None, proven: false }
    }

    fn write(&mut self, write: SessionWrite, now: Duration) -> Result<WriteOutcome, StoreError> {
        let SessionWrite { id, owner, fields, position, proven, release } = write;
        let OwnerToken { number, nonce } = owner;
        let key = id.key()?;
        self.claims = self.claims.max(number);
        let stored = self.sessions.get(&key, now).map(|session| (session.number, session.nonce));
        if stored.is_some_and(|(stored, owner)| {
            stored > number || (stored == number && owner != Some(nonce))
        }) {
            return Ok(WriteOutcome::Lost);
        }
        let current = stored.is_some_and(|(stored, _)| stored == number);
        let whole = fields.is_some() && position.is_some();
        if stored.is_none() {
            if fields.is_none() {
                return Ok(WriteOutcome::Behind);
            }
            self.sessions.put(&key, Session::default(), now, now + SESSION_TTL);
        }
        if let Some(session) = self.sessions.touch(&key, now, now + SESSION_TTL) {
            session.number = number;
            session.nonce = (!release).then_some(nonce);
            if let Some(fields) = fields {
                session.state = SessionState { fields };
            }
            if position.is_some() {
                (session.position, session.proven) = (position, proven);
            }
        }
        Ok(if current || whole { WriteOutcome::Held } else { WriteOutcome::Behind })
    }
}

impl SessionStore for MemoryStore {
    fn claim(
        &self,
        id: SessionId,
        nonce: [u8; 16],
        start: String,
    ) -> BoxFuture<Result<Claimed, StoreError>> {
        self.run(move |maps, now| {
            check_position(&start)?;
            Ok(maps.claim(&id.key()?, nonce, start, now))
        })
    }

    fn write(&self, writes: Vec<SessionWrite>) -> BoxFuture<Result<Vec<WriteOutcome>, StoreError>> {
        self.run(move |maps, now| {
            writes.iter().try_for_each(SessionWrite::check_sizes)?;
            writes.into_iter().map(|write| maps.write(write, now)).collect()
        })
    }
}

impl TicketStore for MemoryStore {
    fn put(
        &self,
        ticket_hash: [u8; 32],
        grant: String,
        ttl: Duration,
    ) -> BoxFuture<Result<(), StoreError>> {
        self.run(move |maps, now| {
            StoreError::check_size("grant", grant.len(), GRANT_BYTES_MAX)?;
            maps.tickets.put(&ticket_key(&ticket_hash), grant, now, now + ttl);
            Ok(())
        })
    }

    fn take(&self, ticket_hash: [u8; 32]) -> BoxFuture<Result<Option<String>, StoreError>> {
        self.run(move |maps, now| Ok(maps.tickets.take(&ticket_key(&ticket_hash), now)))
    }
}

impl StoreStatus for MemoryStore {
    fn health(&self) -> StoreHealth {
        let maps = self.maps.lock();
        let evicted = maps.sessions.evicted() + maps.tickets.evicted();
        StoreHealth { available: true, evicted, ..StoreHealth::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{self, Subject};

    struct Moved(MemoryStore, Arc<Mutex<Duration>>);

    impl Subject for Moved {
        fn store(&self) -> Arc<dyn crate::Store> {
            Arc::new(self.0.clone())
        }

        fn let_pass(&self, time: Duration) -> BoxFuture<()> {
            *self.1.lock() += time;
            Box::pin(std::future::ready(()))
        }
    }

    fn moved(limits: MemoryLimits) -> Moved {
        let time = Arc::new(Mutex::new(Duration::ZERO));
        let read = Arc::clone(&time);
        Moved(MemoryStore::with_clock(limits, Arc::new(move || *read.lock())), time)
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        contract::all(&moved(MemoryLimits::default())).await;
    }

    #[tokio::test]
    async fn a_full_store_drops_and_counts() {
        let subject = moved(MemoryLimits { sessions_max: 2, tickets_max: 2 });
        let store = subject.store();
        for number in 0..5 {
            assert_eq!(store.put([number; 32], "{}".into(), Duration::from_secs(60)).await, Ok(()));
            subject.let_pass(Duration::from_secs(1)).await;
        }
        assert_eq!(store.take([2; 32]).await, Ok(None));
        assert_eq!(store.take([3; 32]).await, Ok(Some("{}".into())));
        assert_eq!(store.health().evicted, 3);
        assert!(store.available());
    }
}
