//! The only user of redis: the store port of `tidewire-store` against Redis 7 or Valkey, standalone,
//! behind Sentinel or as a Cluster, with or without TLS.
//!
//! [`RedisStore::new`] gives the store and the [`RedisWatch`] that connects it: run
//! [`RedisWatch::run`] as a task for as long as the store is used. Every key, its TTL and what happens
//! when Redis is away stand in `docs/reference/redis.md`.
//!
//! Invariants:
//! - No call waits longer than the response timeout; while Redis is away calls fail at once.
//! - Every change of a session is one script, so it happens whole or not at all.
//! - Every key has a TTL. Nothing is read back that is not checked first.
//! - TLS uses the process's default rustls provider, which the program installs before it connects.

mod connect;
mod link;
mod options;
mod script;
mod session;
mod ticket;
mod watch;

use std::sync::Arc;

use tidewire_store::{StoreHealth, StoreStatus};

use crate::connect::Connector;
use crate::link::Link;
pub use options::{OptionsError, RedisMode, RedisOptions};
pub use watch::RedisWatch;

/// The commands that the user given to Tidewire needs, as an ACL rule writes them.
pub const ACL_COMMANDS: &str =
    "+ping +eval +time +type +hmget +hexists +hset +del +expire +set +getdel";
/// What it needs further when Redis is a Cluster.
pub const ACL_COMMANDS_CLUSTER: &str = "+cluster|slots";
/// What it needs further when Redis is behind Sentinel.
pub const ACL_COMMANDS_SENTINEL: &str = "+role";

/// The store in Redis. Clones share one connection.
#[derive(Clone)]
pub struct RedisStore {
    link: Arc<Link>,
    key_prefix: Arc<str>,
}

impl RedisStore {
    /// Checks the options and gives the store, not connected yet, and the watch that connects it.
    ///
    /// # Errors
    /// [`OptionsError`], which names the option.
    pub fn new(options: RedisOptions) -> Result<(Self, RedisWatch), OptionsError> {
        options.check()?;
        let link = Arc::new(Link::new(options.response_timeout));
        let key_prefix = Arc::from(options.key_prefix.as_str());
        let ping_interval = options.ping_interval;
        let watch = RedisWatch::new(Arc::clone(&link), Connector::new(options), ping_interval);
        Ok((Self { link, key_prefix }, watch))
    }

    /// Follows whether Redis is available; false until the first connection stands.
    #[must_use]
    pub fn watch(&self) -> tokio::sync::watch::Receiver<bool> {
        self.link.subscribe()
    }

    fn key(&self, key: &str) -> String {
        format!("{}:{key}", self.key_prefix)
    }
}

impl StoreStatus for RedisStore {
    fn available(&self) -> bool {
        self.link.available()
    }

    fn health(&self) -> StoreHealth {
        self.link.health()
    }
}
