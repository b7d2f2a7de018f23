//! The store against real Redis: every way to reach it, what it does while Redis is away, and what it
//! makes of values that it did not write.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what fails here fails its test"
)]

mod garbage;
mod groups;
mod outage;
mod plain;
mod secure;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tidewire_event::Tenant;
use tidewire_redis::{RedisOptions, RedisStore};
use tidewire_store::{
    Claimed, OwnerToken, SessionId, SessionStore, SessionWrite, StoreError, WriteOutcome,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Only a hang takes this long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Makes every key older by so many milliseconds.
pub(crate) const AGE: &str = "#!lua flags=allow-cross-slot-keys
for _, key in ipairs(redis.call('KEYS', '*')) do
  redis.call('PEXPIRE', key, redis.call('PTTL', key) - ARGV[1])
end
return 'OK'";
/// Counts the keys that have no TTL, or another prefix than `tw:`.
pub(crate) const STRAYS: &str = "#!lua flags=allow-cross-slot-keys
local strays = 0
for _, key in ipairs(redis.call('KEYS', '*')) do
  if redis.call('PTTL', key) < 0 or string.sub(key, 1, 3) ~= 'tw:' then strays = strays + 1 end
end
return strays";

/// A store and the task that keeps it connected.
pub(crate) struct Connected {
    pub(crate) store: RedisStore,
    pub(crate) available: watch::Receiver<bool>,
    _watch: JoinSet<()>,
}

impl Connected {
    /// A store that connects; whether it gets through shows `available`.
    pub(crate) fn start(options: RedisOptions) -> Self {
        let (store, watch) = RedisStore::new(options).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(watch.run());
        Self { available: store.watch(), store, _watch: tasks }
    }

    /// A store that is connected.
    pub(crate) async fn to(options: RedisOptions) -> Self {
        let mut connected = Self::start(options);
        connected.becomes(true).await;
        connected
    }

    pub(crate) async fn becomes(&mut self, available: bool) {
        let change = self.available.wait_for(|now| *now == available);
        soon(change).await.unwrap();
    }

    /// Waits until the health detail contains `text`.
    pub(crate) async fn says(&self, text: &str) {
        use tidewire_store::StoreStatus as _;
        soon(async {
            while !self.store.health().detail.is_some_and(|detail| detail.contains(text)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    pub(crate) fn shared(&self) -> Arc<dyn tidewire_store::Store> {
        Arc::new(self.store.clone())
    }
}

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("hangs")
}

/// Options with short waits.
pub(crate) fn options(url: String) -> RedisOptions {
    RedisOptions {
        url,
        response_timeout: Duration::from_millis(500),
        ping_interval: Duration::from_millis(100),
        ..RedisOptions::default()
    }
}

pub(crate) fn session(tenant: &str, name: &str) -> SessionId {
    SessionId {
        tenant: Tenant::new(tenant).unwrap(),
        principal: "ola".into(),
        name: name.into(),
        definition: "Voyage/CUD/*".into(),
    }
}

/// What a claim must find.
pub(crate) trait Found {
    /// Nothing.
    fn finds_none(self) -> OwnerToken;
    /// This field list and proven position.
    fn finds(self, fields: &str, position: &str) -> OwnerToken;
    /// This field list and start.
    fn finds_new(self, fields: &str, position: &str) -> OwnerToken;
}

impl Found for Result<Claimed, StoreError> {
    fn finds_none(self) -> OwnerToken {
        let claimed = self.unwrap();
        let owner = claimed.owner;
        assert_eq!(claimed, Claimed { owner, fields: None, position: None, proven: false });
        owner
    }

    fn finds(self, fields: &str, position: &str) -> OwnerToken {
        found(self.unwrap(), fields, position, true)
    }

    fn finds_new(self, fields: &str, position: &str) -> OwnerToken {
        found(self.unwrap(), fields, position, false)
    }
}

fn found(claimed: Claimed, fields: &str, position: &str, proven: bool) -> OwnerToken {
    let owner = claimed.owner;
    let (fields, position) = (Some(fields.into()), Some(position.into()));
    assert_eq!(claimed, Claimed { owner, fields, position, proven });
    owner
}

/// A store as a client's socket uses it.
pub(crate) struct At<'a>(pub(crate) &'a RedisStore, pub(crate) SessionId);

impl At<'_> {
    pub(crate) async fn claim(&self, nonce: u8) -> Result<Claimed, StoreError> {
        self.0.claim(self.1.clone(), [nonce; 16], "start".into()).await
    }

    async fn write(&self, write: SessionWrite) -> Result<WriteOutcome, StoreError> {
        Ok(self.0.write(vec![write]).await?[0])
    }

    pub(crate) async fn check(&self, owner: OwnerToken) -> Result<WriteOutcome, StoreError> {
        self.write(SessionWrite::check(self.1.clone(), owner)).await
    }

    pub(crate) async fn both(
        &self,
        owner: OwnerToken,
        fields: &str,
        position: &str,
    ) -> Result<WriteOutcome, StoreError> {
        let (fields, position) = (Some(Some(fields.into())), Some(position.into()));
        let check = SessionWrite::check(self.1.clone(), owner);
        self.write(SessionWrite { fields, position, proven: true, ..check }).await
    }
}

/// A claim that no store gave.
pub(crate) fn owner(number: u8) -> OwnerToken {
    OwnerToken { number: number.into(), nonce: [number; 16] }
}
