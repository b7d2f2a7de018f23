//! Section `redis`.

use std::sync::Arc;

use tidewire_config::{self as config, RedisMode as Configured, Settings};
use tidewire_redis::{RedisMode, RedisOptions, RedisStore};
use tidewire_runtime::Tasks;
use tidewire_store::Store;

use crate::start::StartError;

/// The options of the store.
#[must_use]
pub(crate) fn redis_options(redis: &config::Redis) -> RedisOptions {
    RedisOptions {
        url: redis.url.expose().to_owned(),
        mode: match redis.mode {
            Configured::Standalone => RedisMode::Standalone,
            Configured::Sentinel => RedisMode::Sentinel { service: redis.sentinel_master.clone() },
            Configured::Cluster => RedisMode::Cluster,
        },
        username: redis.username.clone(),
        password_file: redis.password_file.clone(),
        ca_file: redis.ca_file.clone(),
        sentinel_username: redis.sentinel_username.clone(),
        sentinel_password_file: redis.sentinel_password_file.clone(),
        key_prefix: redis.key_prefix.clone(),
        connect_timeout: redis.connect_timeout,
        response_timeout: redis.response_timeout,
        ..RedisOptions::default()
    }
}

/// The store, watched by a task of its own; `None` where none is configured. It connects by itself.
///
/// # Errors
/// An option that cannot be right.
pub fn start_store(
    settings: &Settings,
    tasks: &Tasks,
) -> Result<Option<Arc<dyn Store>>, StartError> {
    let Some(redis) = &settings.redis else { return Ok(None) };
    let (store, watch) = RedisStore::new(redis_options(redis))
        .map_err(|e| StartError::Values(vec![e.to_string()]))?;
    let shutdown = tasks.shutdown().clone();
    tasks.spawn("redis", async move {
        tokio::select! {
            () = watch.run() => {}
            () = shutdown.cancelled() => {}
        }
    });
    Ok(Some(Arc::new(store)))
}
