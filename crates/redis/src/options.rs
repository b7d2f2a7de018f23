//! How to reach Redis: plain data, checked before anything connects.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use thiserror::Error;

/// Most Redis nodes or sentinels in `url`.
const URLS_MAX: usize = 32;
/// Most bytes of a key prefix.
const KEY_PREFIX_BYTES_MAX: usize = 32;
/// Longest wait that may be set: a Redis that hangs must not hang a handshake.
const TIMEOUT_MAX: Duration = Duration::from_secs(2);
/// Longest time between two pings: a half-open connection is noticed within 10 s.
const PING_INTERVAL_MAX: Duration = Duration::from_secs(6);

/// What stands at the addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RedisMode {
    /// One Redis, or a proxy that looks like one.
    #[default]
    Standalone,
    /// Sentinels, which name the master of this service.
    Sentinel {
        /// The service's name, as in `sentinel monitor <name> ...`.
        service: String,
    },
    /// Nodes of a Cluster; one of them that answers is enough to find the others.
    Cluster,
}

/// How to reach Redis. The password may also stand in the URL; it is never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisOptions {
    /// `redis://host:port/db` or `rediss://...` (TLS). Several, separated by commas, name sentinels or
    /// nodes of a cluster; all of them have the same scheme.
    pub url: String,
    /// What stands there.
    pub mode: RedisMode,
    /// The user; else the URL's, else Redis's default user.
    pub username: Option<String>,
    /// A file that holds the password, read at every connect.
    pub password_file: Option<PathBuf>,
    /// A PEM file of the authorities trusted for TLS, in place of the built-in public ones; read at
    /// every connect.
    pub ca_file: Option<PathBuf>,
    /// The user at the sentinels.
    pub sentinel_username: Option<String>,
    /// A file that holds the password at the sentinels, read at every connect.
    pub sentinel_password_file: Option<PathBuf>,
    /// What every key starts with, up to a colon: letters, digits, `_`, `-`, `.`.
    pub key_prefix: String,
    /// How long a connect may take, to one address; at most 2 s.
    pub connect_timeout: Duration,
    /// How long a call may take; at most 2 s.
    pub response_timeout: Duration,
    /// Between two pings; at most 6 s.
    pub ping_interval: Duration,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".into(),
            mode: RedisMode::Standalone,
            username: None,
            password_file: None,
            ca_file: None,
            sentinel_username: None,
            sentinel_password_file: None,
            key_prefix: "tw".into(),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(1),
            ping_interval: Duration::from_secs(2),
        }
    }
}

/// An option that can't be right. Names the option as the configuration does; never repeats a URL.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("redis.{option}: {why}")]
pub struct OptionsError {
    /// The option.
    pub option: &'static str,
    /// What is wrong with it.
    pub why: String,
}

fn wrong(option: &'static str, why: impl Into<String>) -> OptionsError {
    OptionsError { option, why: why.into() }
}

impl RedisOptions {
    /// Checks all that can be checked without a connection.
    ///
    /// # Errors
    /// [`OptionsError`], which names the option.
    pub fn check(&self) -> Result<(), OptionsError> {
        let addresses = self.addresses()?;
        if addresses.len() > 1 && self.mode == RedisMode::Standalone {
            return Err(wrong("url", "several addresses need mode sentinel or cluster"));
        }
        if matches!(&self.mode, RedisMode::Sentinel { service } if service.is_empty()) {
            return Err(wrong("mode", "sentinel needs the name of the service"));
        }
        if self.ca_file.is_some() && !addresses.iter().all(is_tls) {
            return Err(wrong("ca_file", "is for TLS only: use a rediss:// url"));
        }
        let prefix = &self.key_prefix;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
        if prefix.is_empty() || prefix.len() > KEY_PREFIX_BYTES_MAX || !prefix.bytes().all(plain) {
            return Err(wrong("key_prefix", "has 1 to 32 letters, digits, '_', '-' or '.'"));
        }
        for (option, value, max) in [
            ("connect_timeout", self.connect_timeout, TIMEOUT_MAX),
            ("response_timeout", self.response_timeout, TIMEOUT_MAX),
            ("ping_interval", self.ping_interval, PING_INTERVAL_MAX),
        ] {
            if value.is_zero() || value > max {
                return Err(wrong(option, format!("lies above 0 and up to {} s", max.as_secs())));
            }
        }
        Ok(())
    }

    /// The addresses in `url`, with the user and password that stand there.
    pub(crate) fn addresses(&self) -> Result<Vec<ConnectionInfo>, OptionsError> {
        let read = |(number, url): (usize, &str)| {
            let at = |why| wrong("url", format!("address {}: {why}", number + 1));
            let info = url.trim().into_connection_info();
            let info = info.map_err(|_| at("is not redis://... or rediss://..."))?;
            match info.addr() {
                ConnectionAddr::Unix(_) => Err(at("sockets of the file system are not supported")),
                ConnectionAddr::TcpTls { insecure: true, .. } => {
                    Err(at("TLS without a check of the certificate is not supported"))
                }
                _ => Ok(info),
            }
        };
        let urls: Vec<&str> = self.url.split(',').take(URLS_MAX + 1).collect();
        if urls.len() > URLS_MAX {
            return Err(wrong("url", format!("has more than {URLS_MAX} addresses")));
        }
        let infos = urls.into_iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        if infos.iter().any(is_tls) && !infos.iter().all(is_tls) {
            return Err(wrong("url", "mixes redis:// and rediss://"));
        }
        Ok(infos)
    }
}

pub(crate) fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

/// The URLs without what stands before the `@`.
fn redacted(urls: &str) -> String {
    let redact = |url: &str| match url.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}://***@{host}"),
            None => url.to_owned(),
        },
        None => "***".to_owned(),
    };
    // A password may hold a comma: what is cut out of one must not be shown.
    if urls.split(',').all(|url| url.contains("://")) {
        urls.split(',').map(redact).collect::<Vec<_>>().join(",")
    } else {
        "***".into()
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("url", &redacted(&self.url))
            .field("mode", &self.mode)
            .field("username", &self.username)
            .field("password_file", &self.password_file)
            .field("ca_file", &self.ca_file)
            .field("sentinel_username", &self.sentinel_username)
            .field("sentinel_password_file", &self.sentinel_password_file)
            .field("key_prefix", &self.key_prefix)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("ping_interval", &self.ping_interval)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut RedisOptions)) -> Result<(), OptionsError> {
        let mut options = RedisOptions::default();
        change(&mut options);
        options.check()
    }

    #[test]
    fn urls_are_checked() {
        let check = |mode: RedisMode, url: &str, right: bool| {
            let checked = with(|o| (o.mode, o.url) = (mode, url.into()));
            assert_eq!(checked.is_ok(), right, "{url}: {checked:?}");
            if let Err(error) = checked {
                assert_eq!(error.option, "url");
                assert!(!error.to_string().contains("secret"), "{error}");
            }
        };
        use RedisMode::{Cluster, Standalone};
        check(Standalone, "redis://localhost", true);
        check(Standalone, "rediss://user:secret@redis.example:6380/3", true);
        check(Cluster, "redis://a:1,redis://b:2, redis://c:3", true);
        for bad in [
            "",
            "localhost",
            "http://a",
            "redis://a,redis://b",
            "unix:///tmp/secret",
            "rediss://a/#insecure",
            "redis://:secret@a:99999",
            "redis://a/secret",
        ] {
            check(Standalone, bad, false);
        }
        check(Cluster, "redis://a,rediss://b", false);
        check(Cluster, &"redis://a,".repeat(40), false);
    }

    #[test]
    fn the_rest_is_checked() {
        type Change = fn(&mut RedisOptions);
        let rows: [(&str, Change); 8] = [
            ("mode", |o| o.mode = RedisMode::Sentinel { service: String::new() }),
            ("ca_file", |o| o.ca_file = Some("ca.pem".into())),
            ("key_prefix", |o| o.key_prefix = String::new()),
            ("key_prefix", |o| o.key_prefix = "a{b".into()),
            ("connect_timeout", |o| o.connect_timeout = Duration::from_millis(2001)),
            ("response_timeout", |o| o.response_timeout = Duration::ZERO),
            ("response_timeout", |o| o.response_timeout = Duration::from_secs(3)),
            ("ping_interval", |o| o.ping_interval = Duration::from_secs(7)),
        ];
        for (option, change) in rows {
            assert_eq!(with(change).unwrap_err().option, option);
        }
        assert_eq!(with(|_| ()), Ok(()));
    }

    #[test]
    fn debug_shows_no_secret() {
        for url in ["redis://u:secret@a:1/0,redis://:secret@b", "redis://u:s,ecret@a", "secret"] {
            let options = RedisOptions { url: url.into(), ..RedisOptions::default() };
            assert!(!format!("{options:?}").contains("ecret"), "{options:?}");
        }
        let shown = format!("{:?}", RedisOptions::default());
        assert!(shown.contains("redis://127.0.0.1:6379"), "{shown}");
    }
}
