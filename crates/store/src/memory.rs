//! The store of one process: for `tidewire dev` and tests. It ends with the process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::expiring::ExpiringMap;
use crate::{
    BoxFuture, Claimed, FIELDS_BYTES_MAX, GRANT_BYTES_MAX, OwnerToken, SESSION_TTL, SessionId,
    SessionState, SessionStore, StoreError, StoreHealth, StoreStatus, TicketStore, WriteOutcome,
    ticket_key,
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
    sessions: ExpiringMap<Session>,
    tickets: ExpiringMap<String>,
}

struct Session {
    owner: Option<OwnerToken>,
    state: SessionState,
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

impl SessionStore for MemoryStore {
    fn claim(&self, id: SessionId, owner: OwnerToken) -> BoxFuture<Result<Claimed, StoreError>> {
        self.run(move |maps, now| {
            let key = id.key()?;
            let expires = now + SESSION_TTL;
            if let Some(session) = maps.sessions.touch(&key, now, expires) {
                session.owner = Some(owner);
                return Ok(Claimed { existed: true, fields: session.state.fields.clone() });
            }
            let session = Session { owner: Some(owner), state: SessionState::default() };
            maps.sessions.put(&key, session, now, expires);
            Ok(Claimed { existed: false, fields: None })
        })
    }

    fn save_fields(
        &self,
        id: SessionId,
        owner: OwnerToken,
        fields: Option<String>,
    ) -> BoxFuture<Result<WriteOutcome, StoreError>> {
        self.run(move |maps, now| {
            let bytes = fields.as_ref().map_or(0, String::len);
            StoreError::check_size("field list", bytes, FIELDS_BYTES_MAX)?;
            let key = id.key()?;
            if maps.sessions.get(&key, now).is_some_and(|session| session.owner != Some(owner)) {
                return Ok(WriteOutcome::Lost);
            }
            let session = Session { owner: Some(owner), state: SessionState { fields } };
            maps.sessions.put(&key, session, now, now + SESSION_TTL);
            Ok(WriteOutcome::Held)
        })
    }

    fn still_owned(
        &self,
        sessions: Vec<(SessionId, OwnerToken)>,
    ) -> BoxFuture<Result<Vec<bool>, StoreError>> {
        self.run(move |maps, now| {
            let check = |(id, owner): (SessionId, OwnerToken)| {
                let key = id.key()?;
                let found = maps.sessions.get(&key, now).map(|session| session.owner);
                let owned = found.is_none_or(|stored| stored == Some(owner));
                if owned {
                    maps.sessions.touch(&key, now, now + SESSION_TTL);
                }
                Ok(owned)
            };
            sessions.into_iter().map(check).collect()
        })
    }

    fn release(&self, id: SessionId, owner: OwnerToken) -> BoxFuture<Result<(), StoreError>> {
        self.run(move |maps, now| {
            let key = id.key()?;
            if maps.sessions.get(&key, now).is_some_and(|session| session.owner == Some(owner))
                && let Some(session) = maps.sessions.touch(&key, now, now + SESSION_TTL)
            {
                session.owner = None;
            }
            Ok(())
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
