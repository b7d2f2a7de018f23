//! The verifier: a token in, a principal out.
//!
//! The order of checks is part of the safety: only the issuer's name and the key id are used before the
//! signature is good, and both only to choose among configured keys. What a client is told about times
//! and claims, it is told about tokens that its issuer did sign.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use parking_lot::RwLock;
use serde_json::Value;
use tidewire_event::Tenant;
use tidewire_rights::{Principal, Revocations, RoleMap};

use crate::cache::{Entry, TokenCache, TokenHash, VerifiedBy};
use crate::claims::{PrincipalRules, check_audience, check_times};
use crate::jwt::Jwt;
use crate::key_source::{Found, UrlKeys};
use crate::mapping::Mapping;
use crate::{
    AuthOptions, AuthProblem, IssuerOptions, KeySource, LEEWAY_SECONDS_MAX, REFRESH_INTERVAL,
    RETRY_INTERVAL, TokenError, load_secret,
};

/// The DER of an RSA public key of 2048 bits is no shorter.
const RSA_2048_DER_BYTES_MIN: usize = 266;

/// Verifies tokens. One per process, shared by all threads.
pub struct Verifier {
    issuers: Vec<Issuer>,
    by_name: HashMap<String, usize>,
    rules: PrincipalRules,
    roles: RoleMap,
    leeway: i64,
    token_bytes_max: usize,
    cache: TokenCache,
    /// Judged at each look at a token, also at one that is remembered.
    revocations: RwLock<Revocations>,
}

struct Issuer {
    name: String,
    audiences: Vec<String>,
    tenants: BTreeSet<Tenant>,
    keys: Keys,
}

/// The variant fixes the algorithm.
enum Keys {
    Hs256(DecodingKey),
    Rs256(DecodingKey),
    Rs256Fetched(Arc<UrlKeys>),
}

/// Numbers for metrics and for the health detail; the counters only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifierStats {
    /// Tokens found among those verified before.
    pub cache_hits: u64,
    /// Tokens not found there.
    pub cache_misses: u64,
    /// Tokens forgotten before their end to make room, or dropped after it.
    pub cache_evicted: u64,
    /// Tokens remembered now.
    pub cache_entries: usize,
    /// Fetches of key sets.
    pub key_fetches: u64,
    /// Fetches that brought none.
    pub key_fetches_failed: u64,
    /// Entries of the present key sets that cannot be used.
    pub keys_ignored: u64,
    /// Issuers whose key set was never had: all their tokens are answered 503.
    pub issuers_without_keys: usize,
}

impl Verifier {
    /// Reads the files that the options name and checks everything; fetches nothing yet.
    ///
    /// # Errors
    /// All problems at once, by setting.
    pub fn new(options: &AuthOptions) -> Result<Self, Vec<AuthProblem>> {
        let mut problems = Vec::new();
        if options.leeway_seconds > LEEWAY_SECONDS_MAX {
            problems.push(AuthProblem::new("auth.leeway_seconds", "is at most 30"));
        }
        if options.token_bytes_max == 0 {
            problems.push(AuthProblem::new("auth.token_bytes_max", "is at least 1"));
        }
        if options.issuers.is_empty() {
            problems.push(AuthProblem::new("auth.issuers", "names no issuer: nobody can log in"));
        }
        let mut issuers: Vec<Issuer> = Vec::new();
        let mut tenants_of = HashMap::new();
        for (index, issuer) in options.issuers.iter().enumerate() {
            let at = format!("auth.issuers[{index}]");
            let development_secret_allowed = options.development_secret_allowed;
            let issuer = Issuer::new(&at, issuer, development_secret_allowed, &mut problems);
            if tenants_of.insert(issuer.name.clone(), issuer.tenants.clone()).is_some() {
                problems.push(AuthProblem::new(at + ".issuer", "another issuer has this name"));
            }
            issuers.push(issuer);
        }
        let tenant = options.tenant.as_deref().map(Tenant::new).transpose();
        if let Err(error) = &tenant {
            problems.push(AuthProblem::new("auth.tenant", error.to_string()));
        }
        let mapping = Mapping::new(&options.mapping, &tenants_of, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let by_name =
            issuers.iter().enumerate().map(|(index, own)| (own.name.clone(), index)).collect();
        let tenant = tenant.ok().flatten();
        Ok(Self {
            issuers,
            by_name,
            rules: PrincipalRules { names: options.claims.clone(), mapping, tenant },
            roles: options.roles.clone(),
            leeway: options.leeway_seconds.into(),
            token_bytes_max: options.token_bytes_max,
            cache: TokenCache::new(options.verified_tokens_max),
            revocations: RwLock::default(),
        })
    }

    /// Which roles carry which duty.
    #[must_use]
    pub fn roles(&self) -> &RoleMap {
        &self.roles
    }

    /// The revocations that tokens are held against. Empty until somebody fills it: the service that
    /// follows the control topic.
    #[must_use]
    pub fn revocations(&self) -> &RwLock<Revocations> {
        &self.revocations
    }

    /// Whether the token that the principal comes from was revoked. [`Verifier::verify`] has looked at
    /// that already; a ticket, or a socket that was registered meanwhile, is looked at with this.
    #[must_use]
    pub fn is_revoked(&self, principal: &Principal, now_unix: i64) -> bool {
        self.revocations.read().is_revoked(principal, now_unix)
    }

    /// The principal of a token that was verified before, is not over and not revoked. Never waits.
    #[must_use]
    pub fn verify_cached(&self, token: &str, now_unix: i64) -> Option<Arc<Principal>> {
        if token.is_empty() || token.len() > self.token_bytes_max {
            return None;
        }
        let principal = self.cached(TokenHash::of(token), now_unix)?;
        (!self.is_revoked(&principal, now_unix)).then_some(principal)
    }

    /// The principal that the token speaks for. Waits only where a key set has to be fetched.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn verify(&self, token: &str, now_unix: i64) -> Result<Arc<Principal>, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        if token.len() > self.token_bytes_max {
            return Err(TokenError::Malformed);
        }
        let hash = TokenHash::of(token);
        let principal = match self.cached(hash, now_unix) {
            Some(principal) => principal,
            None => {
                let (principal, verified_by) = self.check(token, now_unix).await?;
                let principal = Arc::new(principal);
                self.cache.insert(hash, Entry { principal: Arc::clone(&principal), verified_by });
                principal
            }
        };
        if self.is_revoked(&principal, now_unix) {
            return Err(TokenError::Revoked);
        }
        Ok(principal)
    }

    fn cached(&self, hash: TokenHash, now_unix: i64) -> Option<Arc<Principal>> {
        self.cache.get(hash, now_unix, |by| {
            self.issuers.get(by.issuer).is_some_and(|issuer| issuer.generation() == by.generation)
        })
    }

    async fn check(
        &self,
        token: &str,
        now_unix: i64,
    ) -> Result<(Principal, VerifiedBy), TokenError> {
        let jwt = Jwt::parse(token)?;
        let Some(Value::String(name)) = jwt.claims.get("iss") else {
            return Err(TokenError::Claims);
        };
        let index = *self.by_name.get(name).ok_or(TokenError::Issuer)?;
        let issuer = self.issuers.get(index).ok_or(TokenError::Issuer)?;
        let algorithm = issuer.algorithm();
        if jwt.algorithm != algorithm_name(algorithm) {
            return Err(TokenError::Signature);
        }
        let Found { key, generation } = issuer.key(jwt.kid.as_deref(), now_unix).await?;
        let signed = crypto::verify(jwt.signature, jwt.signed.as_bytes(), &key, algorithm);
        if !signed.unwrap_or(false) {
            return Err(TokenError::Signature);
        }
        let expires_at = check_times(&jwt.claims, now_unix, self.leeway)?;
        check_audience(&jwt.claims, &issuer.audiences)?;
        let principal =
            self.rules.principal(&jwt.claims, &issuer.name, &issuer.tenants, expires_at)?;
        Ok((principal, VerifiedBy { issuer: index, generation }))
    }

    /// Fetches all key sets now: a service does so once at start, so that the first socket need not wait.
    /// True if all came.
    pub async fn refresh_keys(&self, now_unix: i64) -> bool {
        let mut all = true;
        for issuer in &self.issuers {
            if let Keys::Rs256Fetched(source) = &issuer.keys {
                all &= source.refresh(now_unix).await;
            }
        }
        all
    }

    /// Keeps the key sets fresh, for ever: a named task of the service.
    pub async fn keep_keys_fresh(&self) {
        loop {
            let fresh = self.refresh_keys(unix_now()).await;
            tokio::time::sleep(if fresh { REFRESH_INTERVAL } else { RETRY_INTERVAL }).await;
        }
    }

    /// Numbers for metrics.
    #[must_use]
    pub fn stats(&self) -> VerifierStats {
        let mut stats = VerifierStats {
            cache_hits: self.cache.hits(),
            cache_misses: self.cache.misses(),
            cache_evicted: self.cache.evicted(),
            cache_entries: self.cache.len(),
            ..VerifierStats::default()
        };
        for issuer in &self.issuers {
            if let Keys::Rs256Fetched(source) = &issuer.keys {
                stats.key_fetches += source.fetches.load(Ordering::Relaxed);
                stats.key_fetches_failed += source.fetches_failed.load(Ordering::Relaxed);
                stats.keys_ignored += source.ignored();
                stats.issuers_without_keys += usize::from(!source.is_loaded());
            }
        }
        stats
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("issuers", &self.by_name.keys())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Issuer {
    /// Reports what is wrong and goes on with a stand-in, so that all problems are found at once.
    fn new(
        at: &str,
        options: &IssuerOptions,
        development_secret_allowed: bool,
        problems: &mut Vec<AuthProblem>,
    ) -> Self {
        let mut problem = |field: &str, text: String| {
            problems.push(AuthProblem::new(format!("{at}.{field}"), text));
        };
        let name = &options.issuer;
        // `|` ends the issuer in the stable name of a principal.
        if name.is_empty() || name.contains('|') || name.contains(char::is_control) {
            problem("issuer", "is empty or has a '|' or a control character".to_owned());
        }
        if options.audiences.is_empty() || options.audiences.iter().any(String::is_empty) {
            problem("audiences", "names no audience, or an empty one".to_owned());
        }
        let mut tenants = BTreeSet::new();
        for tenant in &options.tenants {
            match Tenant::new(tenant) {
                Ok(tenant) => {
                    tenants.insert(tenant);
                }
                Err(error) => problem("tenants", format!("{tenant:?}: {error}")),
            }
        }
        let keys = keys(name, &options.key, development_secret_allowed).unwrap_or_else(|text| {
            problem("key", text);
            // Never used: a verifier with a problem is not made.
            Keys::Hs256(DecodingKey::from_secret(&[]))
        });
        Self { name: name.clone(), audiences: options.audiences.clone(), tenants, keys }
    }

    fn algorithm(&self) -> Algorithm {
        match &self.keys {
            Keys::Hs256(_) => Algorithm::HS256,
            Keys::Rs256(_) | Keys::Rs256Fetched(_) => Algorithm::RS256,
        }
    }

    async fn key(&self, kid: Option<&str>, now_unix: i64) -> Result<Found, TokenError> {
        match &self.keys {
            Keys::Hs256(key) | Keys::Rs256(key) => Ok(Found { key: key.clone(), generation: 0 }),
            Keys::Rs256Fetched(source) => source.find(kid, now_unix).await,
        }
    }

    fn generation(&self) -> u64 {
        match &self.keys {
            Keys::Hs256(_) | Keys::Rs256(_) => 0,
            Keys::Rs256Fetched(source) => source.generation(),
        }
    }
}

fn algorithm_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HS256 => "HS256",
        _ => "RS256",
    }
}

fn keys(issuer: &str, source: &KeySource, development_allowed: bool) -> Result<Keys, String> {
    match source {
        KeySource::Hs256SecretFile(path) => {
            let secret = load_secret(path).map_err(|error| with_source(&error))?;
            if secret.is_development() && !development_allowed {
                return Err(format!(
                    "{}: the development secret is for `tidewire dev` and for loopback; name a \
                     secret of your own or a key set",
                    path.display()
                ));
            }
            Ok(Keys::Hs256(DecodingKey::from_secret(secret.key())))
        }
        KeySource::PemFile(path) => {
            let problem = |reason: &str| format!("{}: {reason}", path.display());
            let pem = std::fs::read(path).map_err(|error| problem(&error.to_string()))?;
            if pem.windows(7).any(|word| word == b"PRIVATE") {
                return Err(problem("holds a private key; the verifier needs the public one"));
            }
            let key = DecodingKey::from_rsa_pem(&pem)
                .map_err(|_| problem("holds no RSA public key in PEM"))?;
            let long = key.try_get_as_bytes().is_ok_and(|der| der.len() >= RSA_2048_DER_BYTES_MIN);
            if !long {
                return Err(problem("holds an RSA key of fewer than 2048 bits"));
            }
            Ok(Keys::Rs256(key))
        }
        KeySource::Jwks { url, ca_file, allow_http } => {
            let source = UrlKeys::new(issuer, url, ca_file.as_deref(), *allow_http);
            source.map(|source| Keys::Rs256Fetched(Arc::new(source)))
        }
    }
}

fn with_source(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The wall clock in unix seconds; 0 before 1970.
#[must_use]
pub fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
