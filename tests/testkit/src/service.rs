//! The built services as child processes: on free ports of loopback, configured by the environment, with
//! their log in a file that is shown when the test fails.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use crate::http;
use crate::ports::free_port;
use crate::watched::Watched;

/// How long a service may take until it is ready.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at a service.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Lines of the log that are shown when a test fails.
const LINES_SHOWN: usize = 40;

/// A service with a public and an internal port.
pub struct Service {
    binary: &'static str,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    public: SocketAddr,
    internal: SocketAddr,
    folder: TempDir,
    running: Option<Watched>,
}

impl Service {
    /// Starts `target/release/<binary>` and waits until it is ready. The ports are added to the
    /// environment, which is otherwise empty.
    ///
    /// # Errors
    /// When the binary is missing, ends, or is not ready in time; the log is part of the error.
    pub fn start(binary: &'static str, environment: &[(String, String)]) -> anyhow::Result<Self> {
        let mut service = Self::prepare(binary, environment)?;
        service.launch()?;
        service.wait_until_ready()?;
        Ok(service)
    }

    /// As [`Service::start`], but starts nothing yet.
    ///
    /// # Errors
    /// When there is no folder or no port for it.
    pub fn prepare(binary: &'static str, environment: &[(String, String)]) -> anyhow::Result<Self> {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (public, internal) = (loopback(free_port()?), loopback(free_port()?));
        let mut environment = environment.to_vec();
        environment.push(("TIDEWIRE__HTTP__LISTEN".to_owned(), public.to_string()));
        environment.push(("TIDEWIRE__INTERNAL__LISTEN".to_owned(), internal.to_string()));
        let folder = tempfile::Builder::new().prefix("tidewire-service-").tempdir()?;
        let arguments = Vec::new();
        Ok(Self { binary, arguments, environment, public, internal, folder, running: None })
    }

    /// The arguments with which it is started.
    #[must_use]
    pub fn with_arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self
    }

    /// Starts the process, on the ports it had before, and does not wait.
    ///
    /// # Errors
    /// When the binary is missing, or the service runs already.
    pub fn launch(&mut self) -> anyhow::Result<()> {
        ensure!(self.running.is_none(), "{} runs already", self.binary);
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let running = Watched::start(
            Command::new(binary(self.binary)?)
                .args(&self.arguments)
                .current_dir(self.folder.path())
                .env_clear()
                .envs(self.environment.iter().map(|(name, value)| (name, value)))
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log),
        )?;
        self.running = Some(running);
        Ok(())
    }

    /// Waits until `/health/ready` answers 200.
    ///
    /// # Errors
    /// When the process ends, or is not ready in time.
    pub fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + START_TIMEOUT;
        while !self.health().is_ok_and(|answer| answer.status == 200) {
            if let Some(code) = self.ended()? {
                bail!("{} ended with {code:?} before it was ready:\n{}", self.binary, self.tail());
            }
            ensure!(
                Instant::now() < until,
                "{} is not ready in time:\n{}",
                self.binary,
                self.tail()
            );
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// Where it runs; gone with the handle.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The public address.
    #[must_use]
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    /// The internal address: health and metrics.
    #[must_use]
    pub fn internal(&self) -> SocketAddr {
        self.internal
    }

    /// The answer of `/health/ready`.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn health(&self) -> anyhow::Result<http::Response> {
        http::request(self.internal, "GET", "/health/ready", &[], b"")
    }

    /// The value of a metric, with its labels as the text format writes them; 0 where it is absent.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let answer = http::request(self.internal, "GET", "/metrics", &[], b"")?;
        let line = answer.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.map(str::parse).transpose()?.unwrap_or(0.0))
    }

    /// How much of its memory is resident now, in bytes.
    ///
    /// # Errors
    /// When it does not run, or the system does not say.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let pid = self.running.as_ref().context("it does not run")?.id();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = line.context("no VmRSS")?.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }

    /// Everything that it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// The end of the log.
    #[must_use]
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let shown = lines.len().saturating_sub(LINES_SHOWN);
        lines.get(shown..).unwrap_or_default().join("\n")
    }

    /// Sends a signal: `TERM`, `KILL`, `STOP`, `CONT`.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        self.running.as_ref().context("it does not run")?.signal(signal)
    }

    /// The exit code, if it has ended: `Some(None)` is an end by a signal.
    ///
    /// # Errors
    /// When it was not started.
    pub fn ended(&mut self) -> anyhow::Result<Option<Option<i32>>> {
        let running = self.running.as_mut().context("it was not started")?;
        let status = running.ended()?;
        if status.is_some() {
            self.running = None;
        }
        Ok(status.map(|status| status.code()))
    }

    /// Waits for its end and gives the exit code; `None` is an end by a signal.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<Option<i32>> {
        let until = Instant::now() + limit;
        loop {
            if let Some(code) = self.ended()? {
                return Ok(code);
            }
            ensure!(
                Instant::now() < until,
                "{} did not end within {limit:?}:\n{}",
                self.binary,
                self.tail()
            );
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Tells it to stop, waits for its end, and starts it again on the same ports, as a rolling deploy does
    /// with one replica.
    ///
    /// # Errors
    /// When it does not end with 0 in time, or is not ready in time.
    pub fn roll(&mut self, limit: Duration) -> anyhow::Result<()> {
        self.signal("TERM")?;
        let code = self.wait(limit)?;
        ensure!(code == Some(0), "{} ended with {code:?}:\n{}", self.binary, self.tail());
        self.launch()?;
        self.wait_until_ready()
    }

    /// Kills it at once, as a crash does.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Whether it was started, and neither was killed nor is known to have ended.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join(format!("{}.log", self.binary))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {} at {}:\n{}", self.binary, self.public, self.tail());
        }
    }
}

/// The path of a built binary.
///
/// # Errors
/// When it has not been built.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let path = target_folder().join("release").join(name);
    // Absolute: services run in folders of their own.
    path.canonicalize().with_context(|| {
        format!("{} is missing: run 'make test', which builds the services first", path.display())
    })
}

/// Where cargo puts what it builds, and the test kit what it fetches.
#[must_use]
pub fn target_folder() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_binary_says_what_to_run() {
        let error = binary("no-such-service").unwrap_err().to_string();
        assert!(error.ends_with("run 'make test', which builds the services first"), "{error}");
    }
}
