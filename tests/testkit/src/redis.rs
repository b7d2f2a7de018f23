//! Redis, started from the system package: one server, a Cluster of three masters, a master with a
//! replica and a sentinel. All on loopback, without persistence.
//!
//! Each server runs under a small shell that owns it and reads its standard input: when that ends,
//! because the handle is dropped or because the test process died in whatever way, the shell kills its
//! server. Nothing is ever killed by name.
//!
//! Where `redis-server` can't be had, the start says so loudly and gives `None`; with
//! `TIDEWIRE_TEST_REQUIRE_REAL=1` it is an error.

mod groups;
mod server;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

pub use groups::{RedisCluster, RedisSentinel};
use server::{Server, free_port, installed};

/// The password of the user `admin`, whom a server with a user of its own has for the test itself.
const ADMIN_PASSWORD: &str = "admin-of-the-test";

/// How a server is set up.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    /// TLS only, with a certificate for 127.0.0.1 and localhost of an authority made for the occasion.
    pub tls: bool,
    /// Only this user may log in; the default user is off.
    pub user: Option<RedisUser>,
    /// Further lines of the configuration.
    pub config: Vec<String>,
}

/// A user with rights, as an ACL rule writes them.
#[derive(Clone, Debug)]
pub struct RedisUser {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
    /// Keys and commands, such as `~tw:* +get`.
    pub rules: String,
}

/// A running Redis. Dropping it kills it.
pub struct Redis {
    server: Server,
    port: u16,
    tls: bool,
    folder: TempDir,
}

impl Redis {
    /// Starts a plain one. `None`, and a loud word, where there is no `redis-server`.
    ///
    /// # Errors
    /// When it does not start, or is missing though `TIDEWIRE_TEST_REQUIRE_REAL=1`.
    pub fn start() -> anyhow::Result<Option<Self>> {
        Self::start_with(&RedisOptions::default())
    }

    /// Starts one as the options say; otherwise as [`Redis::start`].
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub fn start_with(options: &RedisOptions) -> anyhow::Result<Option<Self>> {
        if !installed(&["redis-server", "redis-cli"])? {
            return Ok(None);
        }
        let folder = tempfile::Builder::new().prefix("tidewire-redis-").tempdir()?;
        let port = free_port()?;
        let mut config = options.config.clone();
        let mut cli = vec!["-h".to_owned(), "127.0.0.1".into(), "-p".into(), port.to_string()];
        if options.tls {
            let certificates = certificates(folder.path())?;
            config.extend([format!("tls-port {port}"), "port 0".into()]);
            config.push("tls-auth-clients no".into());
            for (name, file) in ["cert", "key", "ca-cert"].iter().zip(&certificates) {
                config.push(format!("tls-{name}-file {}", file.display()));
            }
            let ca = folder.path().join("ca.pem").display().to_string();
            cli.extend(["--tls".into(), "--cacert".into(), ca]);
        } else {
            config.push(format!("port {port}"));
        }
        if let Some(RedisUser { name, password, rules }) = &options.user {
            config.push("user default off".into());
            config.push(format!("user admin on >{ADMIN_PASSWORD} ~* &* +@all"));
            config.push(format!("user {name} on >{password} resetchannels -@all {rules}"));
            cli.extend(["--user".into(), "admin".into(), "--pass".into(), ADMIN_PASSWORD.into()]);
        }
        let server = Server::start("redis-server", folder.path(), &config, cli, &[])?;
        Ok(Some(Self { server, port, tls: options.tls, folder }))
    }

    /// Its address: `redis://127.0.0.1:<port>`, or `rediss://`; without user and password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis{}://127.0.0.1:{}", if self.tls { "s" } else { "" }, self.port)
    }

    /// The certificate of the authority; there only with TLS.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A folder of its own, for a test's files; gone with the handle.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills it; what it held is gone. Nothing if it is not running.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Starts it again, empty, at the same address, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.server.start_again()
    }

    /// Freezes it: connections stand, and nothing answers.
    ///
    /// # Errors
    /// When it is not running.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.server.signal("STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it is not running.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.server.signal("CONT")
    }

    /// Runs a command by `redis-cli`, with all rights, and gives its answer without the last line end.
    ///
    /// # Errors
    /// When the server is away or answers with an error.
    pub fn run(&self, command: &[&str]) -> anyhow::Result<String> {
        self.server.run(command)
    }

    /// How many named sessions with such keys (a pattern of `KEYS`) are known to have been told of to their
    /// clients: one that comes back sooner is told once more that its session starts.
    ///
    /// # Errors
    /// When the server is away.
    pub fn sessions_proven(&self, keys: &str) -> anyhow::Result<usize> {
        let count = "local count = 0
            for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
              if redis.call('HGET', key, 'new') == '' then count = count + 1 end
            end
            return count";
        Ok(self.run(&["EVAL", count, "0", keys])?.parse()?)
    }
}

/// Writes `server.pem`, `server.key` and `ca.pem`.
fn certificates(folder: &Path) -> anyhow::Result<[PathBuf; 3]> {
    let mut authority = CertificateParams::new(Vec::new())?;
    // A name of its own: OpenSSL takes a certificate whose subject is its issuer for self-signed.
    authority.distinguished_name.push(DnType::CommonName, "authority of the test");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    let files = ["server.pem", "server.key", "ca.pem"].map(|name| folder.join(name));
    let texts = [certificate.pem(), key.serialize_pem(), authority.pem()];
    for (file, text) in files.iter().zip(texts) {
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(files)
}
