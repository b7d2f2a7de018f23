//! Section `redis`.

use std::path::PathBuf;
use std::time::Duration;

use super::seconds;
use crate::reader::Reader;
use crate::secret::Secret;

/// How Redis is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisMode {
    /// One server.
    Standalone,
    /// Sentinels name the master.
    Sentinel,
    /// A cluster.
    Cluster,
}

/// Section `redis`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the key of the same name in defaults.toml")]
pub struct Redis {
    pub url: Secret,
    pub username: Option<String>,
    pub password_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub mode: RedisMode,
    pub sentinel_master: String,
    pub sentinel_username: Option<String>,
    pub sentinel_password_file: Option<PathBuf>,
    pub key_prefix: String,
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
}

pub(super) fn redis(r: &Reader) -> Option<Redis> {
    let mode = r.choice(
        "redis.mode",
        &[
            ("standalone", RedisMode::Standalone),
            ("sentinel", RedisMode::Sentinel),
            ("cluster", RedisMode::Cluster),
        ],
        RedisMode::Standalone,
    );
    let sentinel_master = r.text("redis.sentinel_master");
    if mode == RedisMode::Sentinel && sentinel_master.is_empty() {
        r.problem("redis.sentinel_master", "is required with redis.mode = \"sentinel\"");
    }
    let timeout = |key: &str| r.duration(key, Duration::from_millis(10)..=seconds(2));
    let redis = Redis {
        url: Secret::new(r.text("redis.url")),
        username: r.optional("redis.username"),
        password_file: r.file("redis.password_file"),
        ca_file: r.file("redis.ca_file"),
        mode,
        sentinel_master,
        sentinel_username: r.optional("redis.sentinel_username"),
        sentinel_password_file: r.file("redis.sentinel_password_file"),
        key_prefix: r.text("redis.key_prefix"),
        connect_timeout: timeout("redis.connect_timeout"),
        response_timeout: timeout("redis.response_timeout"),
    };
    let url = redis.url.expose();
    if url.is_empty() {
        return None;
    }
    if !url.starts_with("redis://") && !url.starts_with("rediss://") {
        // Not shown: a URL may hold a password.
        r.problem("redis.url", "is not a URL that starts with redis:// or rediss://");
    }
    if redis.ca_file.is_some() && !url.starts_with("rediss://") {
        r.problem("redis.ca_file", "is of use only with a redis.url that starts with rediss://");
    }
    Some(redis)
}
