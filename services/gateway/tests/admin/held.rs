//! A store that keeps a claim waiting, so that a test can act while a socket is between the look at its
//! token and its registration.

use std::sync::Arc;
use std::time::Duration;

use tidewire_store::{
    BoxFuture, Claimed, MemoryLimits, MemoryStore, OwnerToken, SessionId, SessionStore,
    SessionWrite, StoreError, StoreHealth, StoreStatus, TicketStore, WriteOutcome,
};
use tokio::sync::Semaphore;

pub(super) struct HeldStore {
    inner: Arc<MemoryStore>,
    /// One permit for each claim that has come.
    pub(super) came: Arc<Semaphore>,
    /// A claim takes one to go on.
    pub(super) go_on: Arc<Semaphore>,
}

impl HeldStore {
    pub(super) fn new() -> Arc<Self> {
        let inner = Arc::new(MemoryStore::new(MemoryLimits::default()));
        let none = || Arc::new(Semaphore::new(0));
        Arc::new(Self { inner, came: none(), go_on: none() })
    }
}

impl SessionStore for HeldStore {
    fn claim(
        &self,
        id: SessionId,
        nonce: [u8; 16],
        start: String,
    ) -> BoxFuture<Result<Claimed, StoreError>> {
        let (inner, go_on) = (Arc::clone(&self.inner), Arc::clone(&self.go_on));
        self.came.add_permits(1);
        Box::pin(async move {
            go_on.acquire().await.unwrap().forget();
            inner.claim(id, nonce, start).await
        })
    }

    fn write(&self, writes: Vec<SessionWrite>) -> BoxFuture<Result<Vec<WriteOutcome>, StoreError>> {
        self.inner.write(writes)
    }

    fn release(&self, id: SessionId, owner: OwnerToken) -> BoxFuture<Result<(), StoreError>> {
        self.inner.release(id, owner)
    }
}

impl TicketStore for HeldStore {
    fn put(
        &self,
        ticket_hash: [u8; 32],
        grant: String,
        ttl: Duration,
    ) -> BoxFuture<Result<(), StoreError>> {
        self.inner.put(ticket_hash, grant, ttl)
    }

    fn take(&self, ticket_hash: [u8; 32]) -> BoxFuture<Result<Option<String>, StoreError>> {
        self.inner.take(ticket_hash)
    }
}

impl StoreStatus for HeldStore {
    fn health(&self) -> StoreHealth {
        self.inner.health()
    }
}
