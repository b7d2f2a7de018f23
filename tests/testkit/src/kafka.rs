//! Apache Kafka (KRaft), started from the jars that Maven puts into the target folder.
//!
//! Each broker is a `java` under a small shell that owns it: the shell holds the read end of a pipe
//! whose write end this process holds. When the pipe closes, because the handle is dropped or because
//! the test process died in whatever way, the shell kills its broker and removes its folder. So a
//! static instance leaks nothing, and nothing is ever killed by name.
//!
//! Where Java, Maven or the jars can't be had, [`Kafka::start`] says so loudly and gives `None`; with
//! `TIDEWIRE_TEST_REQUIRE_REAL=1` it is an error.

mod broker;
mod jars;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::service::target_folder;
use broker::Broker;
use jars::jars;

/// Ports are taken from here: below the range that the system gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A running cluster. Dropping it kills its brokers and removes its folder.
pub struct Kafka {
    folder: PathBuf,
    libs: PathBuf,
    brokers: Vec<Broker>,
    // Last, so that the brokers are gone before the folder is removed.
    _temp: TempDir,
}

impl Kafka {
    /// Starts a cluster of so many brokers (1 or 3 make sense), each also a controller. Waits until
    /// every broker answers a request. `None`: not to be had here, and said so on standard error.
    ///
    /// # Errors
    /// If the brokers cannot be started although all parts are there; or if a part is missing and
    /// `TIDEWIRE_TEST_REQUIRE_REAL=1`.
    pub fn start(brokers: usize) -> anyhow::Result<Option<Self>> {
        match jars() {
            Ok(libs) => Self::start_from(libs, brokers).map(Some),
            Err(error) if real_parts_required() => Err(error.context("apache kafka is required")),
            Err(error) => {
                eprintln!("SKIPPED: no Apache Kafka: {error:#}");
                Ok(None)
            }
        }
    }

    /// One broker shared by the tests of this process, started by the first who asks.
    ///
    /// # Panics
    /// If the broker cannot be started although all parts are there, or is required.
    #[must_use]
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Kafka>> = OnceLock::new();
        let start = || match Self::start(1) {
            Ok(kafka) => kafka,
            Err(error) => panic!("apache kafka does not start: {error:#}"),
        };
        SHARED.get_or_init(start).as_ref()
    }

    /// The value for `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<_> = self.brokers.iter().map(|b| b.address().to_string()).collect();
        addresses.join(",")
    }

    /// The folder with the jars: `java -cp '<libs>/*'` runs Kafka's tools and Java clients.
    #[must_use]
    pub fn libs(&self) -> &Path {
        &self.libs
    }

    /// A topic name that nobody else uses.
    #[must_use]
    pub fn topic(&self, prefix: &str) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("{prefix}-{}-{number}", std::process::id())
    }

    /// Kills broker `index` (from 0) at once, as a crash does.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self, index: usize) -> anyhow::Result<()> {
        self.broker(index)?.end("KILL")
    }

    /// Shuts broker `index` (from 0) down in an orderly way and waits for its end.
    ///
    /// # Errors
    /// If it does not run.
    pub fn stop(&mut self, index: usize) -> anyhow::Result<()> {
        self.broker(index)?.end("TERM")
    }

    /// Starts broker `index` (from 0) again with its data and ports, and waits until it answers.
    ///
    /// # Errors
    /// If it runs, or does not come up.
    pub fn restart(&mut self, index: usize) -> anyhow::Result<()> {
        self.launch(index)?;
        self.wait_until_ready(index)
    }

    /// Starts broker `index` (from 0) again as [`Kafka::restart`] does, but does not wait.
    ///
    /// # Errors
    /// If it runs.
    pub fn launch(&mut self, index: usize) -> anyhow::Result<()> {
        let libs = self.libs.clone();
        self.broker(index)?.launch(&libs)
    }

    /// Waits until broker `index` (from 0) answers.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn wait_until_ready(&mut self, index: usize) -> anyhow::Result<()> {
        self.broker(index)?.wait_until_ready()
    }

    /// Freezes broker `index` (from 0): connections stand, and nothing answers.
    ///
    /// # Errors
    /// If it does not run.
    pub fn freeze(&mut self, index: usize) -> anyhow::Result<()> {
        self.broker(index)?.signal("STOP")
    }

    /// Lets broker `index` (from 0) go on.
    ///
    /// # Errors
    /// If it does not run.
    pub fn thaw(&mut self, index: usize) -> anyhow::Result<()> {
        self.broker(index)?.signal("CONT")
    }

    /// How many brokers there are, running or not.
    #[must_use]
    pub fn size(&self) -> usize {
        self.brokers.len()
    }

    /// Whether broker `index` (from 0) has been started and not been ended.
    #[must_use]
    pub fn runs(&self, index: usize) -> bool {
        self.brokers.get(index).is_some_and(Broker::runs)
    }

    /// What broker `index` (from 0) has logged so far.
    #[must_use]
    pub fn log(&self, index: usize) -> String {
        let log = self.brokers.get(index).map(|broker| fs::read(broker.log()).unwrap_or_default());
        String::from_utf8_lossy(&log.unwrap_or_default()).into_owned()
    }

    fn broker(&mut self, index: usize) -> anyhow::Result<&mut Broker> {
        self.brokers.get_mut(index).with_context(|| format!("there is no broker {index}"))
    }

    fn start_from(libs: PathBuf, count: usize) -> anyhow::Result<Self> {
        ensure!(count > 0, "a cluster has at least one broker");
        let parent = target_folder().join("tmp");
        fs::create_dir_all(&parent)?;
        // Absolute: the keeper's folder is not promised.
        let parent = parent.canonicalize()?;
        let temp = tempfile::Builder::new().prefix("tidewire-kafka-").tempdir_in(parent)?;
        let folder = temp.path().to_owned();
        let ports = free_ports(count * 2)?;
        let (broker_ports, controller_ports) = ports.split_at(count);
        let voters: Vec<_> =
            (1..).zip(controller_ports).map(|(id, p)| format!("{id}@127.0.0.1:{p}")).collect();
        let mut kafka = Self { folder, libs, brokers: Vec::new(), _temp: temp };
        for ((id, port), controller) in (1..).zip(broker_ports).zip(controller_ports) {
            let broker = Broker::new(kafka.folder.join(format!("broker-{id}")), *port);
            broker.write_files(id, *controller, &voters.join(","), count)?;
            kafka.brokers.push(broker);
        }
        let formats: Vec<_> =
            kafka.brokers.iter().map(|b| b.format(&kafka.libs)).collect::<Result<_, _>>()?;
        for mut format in formats {
            ensure!(format.wait()?.success(), "formatting kafka's storage failed");
        }
        for broker in &mut kafka.brokers {
            broker.launch(&kafka.libs)?;
        }
        kafka.brokers.iter_mut().try_for_each(Broker::wait_until_ready)?;
        Ok(kafka)
    }
}

fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    use std::hash::{BuildHasher, Hasher};
    let mut held = Vec::new();
    let mut ports = Vec::new();
    let seed = std::collections::hash_map::RandomState::new().build_hasher().finish();
    let width = u64::from(PORTS.end - PORTS.start);
    for step in 0..width {
        if ports.len() == count {
            break;
        }
        let port = PORTS.start + u16::try_from(seed.wrapping_add(step) % width)?;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            held.push(listener);
            ports.push(port);
        }
    }
    ensure!(ports.len() == count, "no free ports from {} to {}", PORTS.start, PORTS.end);
    Ok(ports)
}

fn real_parts_required() -> bool {
    std::env::var("TIDEWIRE_TEST_REQUIRE_REAL").is_ok_and(|value| value == "1")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::broker::ask_api_versions;
    use super::*;

    #[test]
    fn a_broker_is_killed_stopped_and_started_again() {
        let Some(mut kafka) = Kafka::start(1).unwrap() else { return };
        let address: SocketAddr = kafka.bootstrap().parse().unwrap();
        let folder = kafka.folder.clone();
        for end in [Kafka::kill, Kafka::stop] {
            end(&mut kafka, 0).unwrap();
            assert!(ask_api_versions(address).is_err());
            assert!(end(&mut kafka, 0).is_err(), "it is not running");
            kafka.restart(0).unwrap();
            assert!(ask_api_versions(address).is_ok());
        }
        drop(kafka);
        assert!(ask_api_versions(address).is_err());
        assert!(!folder.exists());
    }

    #[test]
    fn three_brokers_are_one_cluster() {
        let Some(mut kafka) = Kafka::start(3).unwrap() else { return };
        let bootstrap = kafka.bootstrap();
        let addresses: Vec<SocketAddr> = bootstrap.split(',').map(|a| a.parse().unwrap()).collect();
        assert_eq!((addresses.len(), kafka.size()), (3, 3));
        kafka.freeze(1).unwrap();
        assert!(ask_api_versions(addresses[1]).is_err(), "connections stand, nothing answers");
        kafka.thaw(1).unwrap();
        assert!(ask_api_versions(addresses[1]).is_ok());
        kafka.freeze(2).unwrap();
        kafka.kill(2).unwrap();
        assert_eq!([0, 1, 2].map(|index| kafka.runs(index)), [true, true, false]);
        assert!(ask_api_versions(addresses[0]).is_ok());
        assert_ne!(kafka.topic("a"), kafka.topic("a"));
    }
}
