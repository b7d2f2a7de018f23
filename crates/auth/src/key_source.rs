//! An issuer's key set behind a URL: fetched, kept, refreshed.
//!
//! The last good set stays in use, whatever a later fetch brings. A token with an unknown key id may
//! cause a fetch, but no more than one in [`FETCH_INTERVAL_SECONDS`], whoever asks: else a flood of
//! forged tokens would be a flood at the issuer. All who wait share that one fetch.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jsonwebtoken::DecodingKey;
use parking_lot::RwLock;
use tokio::sync::{Mutex, OwnedMutexGuard};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::TokenError;
use crate::key_set::KeySet;

/// Unknown key ids cause at most one fetch in this time.
pub const FETCH_INTERVAL_SECONDS: u64 = 30;
/// A fetch takes no longer, from the look-up of the name to the last byte.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// A key set is no larger.
pub const KEY_SET_BYTES_MAX: u64 = 256 * 1024;
/// How often key sets are fetched anew in the background.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(600);
/// How soon a background fetch that failed is tried again.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(FETCH_INTERVAL_SECONDS);

/// A key, and the generation of the set that it is from.
pub(crate) struct Found {
    pub(crate) key: DecodingKey,
    pub(crate) generation: u64,
}

pub(crate) struct UrlKeys {
    issuer: String,
    url: String,
    agent: ureq::Agent,
    /// The set in use and its generation, which grows when a key was taken back.
    current: RwLock<Option<(Arc<KeySet>, u64)>>,
    gate: Arc<Mutex<Gate>>,
    pub(crate) fetches: AtomicU64,
    pub(crate) fetches_failed: AtomicU64,
}

/// Who holds the gate fetches, or knows what the last fetch brought.
#[derive(Default)]
struct Gate {
    last_attempt: Option<i64>,
    last_failed: bool,
}

impl Gate {
    /// A clock that was set back does not close the gate for long.
    fn may_fetch(&self, now_unix: i64) -> bool {
        self.last_attempt.is_none_or(|last| now_unix.abs_diff(last) >= FETCH_INTERVAL_SECONDS)
    }
}

impl UrlKeys {
    /// Checks the settings; fetches nothing yet.
    pub(crate) fn new(
        issuer: &str,
        url: &str,
        ca_file: Option<&Path>,
        allow_http: bool,
    ) -> Result<Self, String> {
        let uri: ureq::http::Uri = url.parse().map_err(|_| "is not a URL".to_owned())?;
        let authority = uri.authority().ok_or("is not a complete URL: https://host/path")?;
        if authority.as_str().contains('@') {
            return Err("a key set is public: leave user and password out of the URL".to_owned());
        }
        let loopback = is_loopback(authority.host());
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if loopback || allow_http => {}
            Some("http") => {
                return Err("http is for loopback only: whoever can change what comes over that \
                            wire can sign; use https, or set allow_http"
                    .to_owned());
            }
            _ => return Err("starts with neither https:// nor http://".to_owned()),
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
        if let Some(path) = ca_file {
            tls = tls.root_certs(roots(path)?);
        }
        let mut config = ureq::Agent::config_builder()
            .tls_config(tls.build())
            .timeout_global(Some(FETCH_TIMEOUT))
            .max_redirects(0)
            .https_only(uri.scheme_str() == Some("https"));
        if loopback {
            config = config.proxy(None);
        }
        Ok(Self {
            issuer: issuer.to_owned(),
            url: url.to_owned(),
            agent: ureq::Agent::new_with_config(config.build()),
            current: RwLock::new(None),
            gate: Arc::default(),
            fetches: AtomicU64::new(0),
            fetches_failed: AtomicU64::new(0),
        })
    }

    /// The key for a token's `kid`, fetching the set if that may help.
    pub(crate) async fn find(
        self: &Arc<Self>,
        kid: Option<&str>,
        now_unix: i64,
    ) -> Result<Found, TokenError> {
        if let Some(found) = self.known(kid) {
            return found;
        }
        let mut gate = Arc::clone(&self.gate).lock_owned().await;
        // Who waited finds what another one fetched.
        if let Some(found) = self.known(kid) {
            return found;
        }
        if gate.may_fetch(now_unix) {
            gate = self.fetch(gate, now_unix).await;
        }
        // An unknown key is a bad token only if the set is fresh: else it may be the issuer's new key.
        let unknown =
            if gate.last_failed { TokenError::KeysUnavailable } else { TokenError::Signature };
        self.known(kid).unwrap_or(Err(unknown))
    }

    /// What the set in use says; `None` if a fetch may say more.
    fn known(&self, kid: Option<&str>) -> Option<Result<Found, TokenError>> {
        let current = self.current.read();
        let (set, generation) = current.as_ref()?;
        match set.find(kid) {
            Some(key) => Some(Ok(Found { key: key.clone(), generation: *generation })),
            None if kid.is_none() => Some(Err(TokenError::Signature)),
            None => None,
        }
    }

    /// Fetches now (the background refresh). True if it brought a set.
    pub(crate) async fn refresh(self: &Arc<Self>, now_unix: i64) -> bool {
        let gate = Arc::clone(&self.gate).lock_owned().await;
        !self.fetch(gate, now_unix).await.last_failed
    }

    /// The blocking part holds the gate: a caller that goes away meanwhile neither loses what comes nor
    /// lets others in. The gate counts as failed until the fetch has succeeded.
    async fn fetch(
        self: &Arc<Self>,
        mut gate: OwnedMutexGuard<Gate>,
        now_unix: i64,
    ) -> OwnedMutexGuard<Gate> {
        gate.last_attempt = Some(now_unix);
        gate.last_failed = true;
        let source = Arc::clone(self);
        let fetched = tokio::task::spawn_blocking(move || {
            gate.last_failed = !source.fetch_blocking();
            gate
        });
        match fetched.await {
            Ok(gate) => gate,
            // Only in a runtime that is ending; the gate still says that it failed.
            Err(_) => Arc::clone(&self.gate).lock_owned().await,
        }
    }

    fn fetch_blocking(&self) -> bool {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        match self.download() {
            Ok(set) => {
                if set.ignored > 0 {
                    tracing::debug!(issuer = %self.issuer, ignored = set.ignored, "keys ignored");
                }
                self.install(set);
                true
            }
            Err(reason) => {
                self.fetches_failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(issuer = %self.issuer, %reason, "key set not fetched");
                false
            }
        }
    }

    fn download(&self) -> Result<KeySet, String> {
        let request = self.agent.get(&self.url).header("accept", "application/json");
        let mut response = request.call().map_err(|error| error.to_string())?;
        if response.status() != 200 {
            return Err(format!("status {}", response.status().as_u16()));
        }
        let body = response.body_mut().with_config().limit(KEY_SET_BYTES_MAX).read_to_vec();
        KeySet::parse(&body.map_err(|error| error.to_string())?).map_err(str::to_owned)
    }

    fn install(&self, set: KeySet) {
        let mut current = self.current.write();
        let generation = match &*current {
            Some((former, generation)) if set.keeps(former) => *generation,
            Some((_, generation)) => generation + 1,
            None => 0,
        };
        *current = Some((Arc::new(set), generation));
    }

    /// The generation of the set in use.
    pub(crate) fn generation(&self) -> u64 {
        self.current.read().as_ref().map_or(0, |(_, generation)| *generation)
    }

    /// Whether a set was ever fetched.
    pub(crate) fn is_loaded(&self) -> bool {
        self.current.read().is_some()
    }

    /// How many entries of the set in use are ignored.
    pub(crate) fn ignored(&self) -> u64 {
        self.current.read().as_ref().map_or(0, |(set, _)| set.ignored)
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn roots(path: &Path) -> Result<RootCerts, String> {
    let problem = |reason: &str| format!("ca_file {}: {reason}", path.display());
    let pem = std::fs::read(path).map_err(|error| problem(&error.to_string()))?;
    let certificates = parse_pem(&pem)
        .map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Ok(certificate),
            _ => Err(problem("holds something else than certificates")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() {
        return Err(problem("holds no certificate"));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}
