//! The store against real Redis: every way to reach it, what it does while Redis is away, and what it
//! makes of values that it did not write.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails its test")]

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
use tidewire_store::{Claimed, OwnerToken, SessionId};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Only a hang takes this long.
const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const NEW: Claimed = Claimed { existed: false, fields: None };
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

pub(crate) fn owner(number: u8) -> OwnerToken {
    OwnerToken::from_bytes([number; 16])
}

pub(crate) fn with(fields: &str) -> Claimed {
    Claimed { existed: true, fields: Some(fields.into()) }
}
