//! Apache Kafka (KRaft), started from the jars that Maven puts into the target folder.
//!
//! Each broker is a `java` under a small shell that owns it: the shell holds the read end of a pipe
//! whose write end this process holds. When the pipe closes, because the handle is dropped or because
//! the test process died in whatever way, the shell kills its broker and removes its folder. So a
//! static instance leaks nothing, and nothing is ever killed by name.
//!
//! Where Java, Maven or the jars can't be had, [`Kafka::start`] says so loudly and gives `None`; with
//! `TIDEWIRE_TEST_REQUIRE_REAL=1` it is an error.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

/// How long a broker may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(90);
/// Between two looks at a broker that starts.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Ports are taken from here: below the range that the system gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Any base64url UUID will do: each cluster has its own folder.
const CLUSTER_ID: &str = "dGlkZXdpcmV0ZXN0MDAwMQ";

const JVM: [&str; 4] = ["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// Runs the broker given as arguments, prints its pid, then waits for a signal name on standard input;
/// the end of input means KILL and away with the folder.
const KEEPER: &str = r#"
log=$1; folder=$2; shift 2
exec 2>>"$log"
"$@" >>"$log" 2>&1 </dev/null & pid=$!
echo "$pid"
if read -r signal; then kill -"$signal" "$pid"; wait "$pid"
else kill -KILL "$pid"; wait "$pid"; rm -rf "$folder"; rmdir "$(dirname "$folder")" 2>/dev/null
fi
echo gone
"#;

const LOG4J: &str = r#"<Configuration status="warn"><Appenders><Console name="out">
<PatternLayout pattern="%d %p %m (%c)%n%throwable"/></Console></Appenders>
<Loggers><Root level="warn"><AppenderRef ref="out"/></Root></Loggers></Configuration>
"#;

/// A running cluster. Dropping it kills its brokers and removes its folder.
pub struct Kafka {
    folder: PathBuf,
    libs: PathBuf,
    brokers: Vec<Broker>,
    // Last, so that the brokers are gone before the folder is removed.
    _temp: TempDir,
}

struct Broker {
    folder: PathBuf,
    address: SocketAddr,
    keeper: Option<Child>,
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
        let addresses: Vec<_> = self.brokers.iter().map(|b| b.address.to_string()).collect();
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
        let libs = self.libs.clone();
        let broker = self.broker(index)?;
        broker.launch(&libs)?;
        broker.wait_until_ready()
    }

    fn broker(&mut self, index: usize) -> anyhow::Result<&mut Broker> {
        self.brokers.get_mut(index).with_context(|| format!("there is no broker {index}"))
    }

    fn start_from(libs: PathBuf, count: usize) -> anyhow::Result<Self> {
        ensure!(count > 0, "a cluster has at least one broker");
        let temp = tempfile::Builder::new().prefix("tidewire-kafka-").tempdir()?;
        let folder = temp.path().to_owned();
        let ports = free_ports(count * 2)?;
        let (broker_ports, controller_ports) = ports.split_at(count);
        let voters: Vec<_> =
            (1..).zip(controller_ports).map(|(id, p)| format!("{id}@127.0.0.1:{p}")).collect();
        let mut kafka = Self { folder, libs, brokers: Vec::new(), _temp: temp };
        for ((id, port), controller) in (1..).zip(broker_ports).zip(controller_ports) {
            let broker = Broker {
                folder: kafka.folder.join(format!("broker-{id}")),
                address: SocketAddr::from(([127, 0, 0, 1], *port)),
                keeper: None,
            };
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

impl Broker {
    fn write_files(
        &self,
        id: i32,
        controller_port: u16,
        voters: &str,
        count: usize,
    ) -> anyhow::Result<()> {
        fs::create_dir_all(&self.folder)?;
        fs::write(self.folder.join("log4j2.xml"), LOG4J)?;
        let replicas = count.min(3);
        let in_sync = if replicas == 3 { 2 } else { 1 };
        let properties = format!(
            "process.roles=broker,controller\n\
             node.id={id}\n\
             controller.quorum.voters={voters}\n\
             listeners=PLAINTEXT://{address},CONTROLLER://127.0.0.1:{controller_port}\n\
             advertised.listeners=PLAINTEXT://{address}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={data}\n\
             offsets.topic.replication.factor={replicas}\n\
             offsets.topic.num.partitions=3\n\
             transaction.state.log.replication.factor={replicas}\n\
             transaction.state.log.min.isr={in_sync}\n\
             transaction.state.log.num.partitions=3\n\
             default.replication.factor={replicas}\n\
             min.insync.replicas={in_sync}\n\
             group.initial.rebalance.delay.ms=0\n\
             broker.session.timeout.ms=3000\n\
             broker.heartbeat.interval.ms=500\n\
             log.retention.check.interval.ms=1000\n\
             log.initial.task.delay.ms=500\n\
             auto.create.topics.enable=false\n",
            address = self.address,
            data = self.folder.join("data").display(),
        );
        Ok(fs::write(self.folder.join("server.properties"), properties)?)
    }

    fn log(&self) -> PathBuf {
        self.folder.join("broker.log")
    }

    fn java(&self, libs: &Path) -> Vec<String> {
        let mut words = vec!["java".to_owned()];
        words.extend(JVM.map(str::to_owned));
        let log4j = self.folder.join("log4j2.xml");
        words.push(format!("-Dlog4j2.configurationFile={}", log4j.display()));
        words.extend(["-cp".to_owned(), format!("{}/*", libs.display())]);
        words
    }

    fn format(&self, libs: &Path) -> anyhow::Result<Child> {
        let log = File::create(self.log())?;
        let properties = self.folder.join("server.properties");
        let words = self.java(libs);
        let (java, arguments) = words.split_first().context("no command")?;
        Command::new(java)
            .args(arguments)
            .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
            .arg(properties)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("java does not start")
    }

    fn launch(&mut self, libs: &Path) -> anyhow::Result<()> {
        ensure!(self.keeper.is_none(), "the broker runs already");
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "kafka-keeper"])
            .arg(self.log())
            .arg(&self.folder)
            .args(self.java(libs))
            .arg("kafka.Kafka")
            .arg(self.folder.join("server.properties"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("sh does not start")?;
        // The pid line says that the shell owns the broker from here on.
        let mut pid = [0_u8; 1];
        keeper.stdout.as_mut().context("no output")?.read_exact(&mut pid)?;
        self.keeper = Some(keeper);
        Ok(())
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while let Err(error) = ask_api_versions(self.address) {
            if Instant::now() > deadline {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                let tail: Vec<_> = log.lines().rev().take(30).collect();
                let tail: Vec<_> = tail.into_iter().rev().collect();
                bail!("kafka at {} does not answer: {error}\n{}", self.address, tail.join("\n"));
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    fn end(&mut self, signal: &str) -> anyhow::Result<()> {
        let mut keeper = self.keeper.take().context("the broker does not run")?;
        writeln!(keeper.stdin.as_mut().context("no input")?, "{signal}")?;
        keeper.wait()?;
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }
}

/// Sends the one request that every broker answers before any other, so that an answer means that it
/// takes requests (its port is open long before).
fn ask_api_versions(address: SocketAddr) -> anyhow::Result<()> {
    // Length 10; api 18, version 0; correlation 7; client id null.
    const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(&REQUEST)?;
    let mut head = [0_u8; 10];
    stream.read_exact(&mut head)?;
    ensure!(head.ends_with(&[0, 0, 0, 7, 0, 0]), "the answer is not the one expected");
    Ok(())
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

/// The folder with the jars, filled by Maven when it is not, by one process at a time.
fn jars() -> anyhow::Result<PathBuf> {
    Command::new("java")
        .arg("-version")
        .output()
        .context("java is not installed (Debian: openjdk-17-jre-headless)")?;
    let pom = Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/pom.xml");
    let folder = target_folder().join("kafka");
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;
    let (libs, partial, stamp) =
        (folder.join("libs"), folder.join("libs.partial"), folder.join("pom.xml"));
    let wanted = fs::read(&pom)?;
    if libs.is_dir() && fs::read(&stamp).is_ok_and(|had| had == wanted) {
        return Ok(libs);
    }
    let _ = fs::remove_dir_all(&libs);
    let _ = fs::remove_dir_all(&partial);
    let output = Command::new("mvn")
        .args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-f"])
        .arg(&pom)
        .arg(format!("-DoutputDirectory={}", partial.display()))
        .stdin(Stdio::null())
        .output()
        .context("mvn is not installed (Debian: maven)")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout);
        let errors: Vec<_> = text.lines().filter(|line| line.contains("ERROR")).take(3).collect();
        bail!("mvn failed: {}", errors.join(" "));
    }
    fs::rename(&partial, &libs)?;
    fs::write(&stamp, &wanted)?;
    Ok(libs)
}

fn real_parts_required() -> bool {
    std::env::var("TIDEWIRE_TEST_REQUIRE_REAL").is_ok_and(|value| value == "1")
}

fn target_folder() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
    }
}

#[cfg(test)]
mod tests {
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
        let Some(kafka) = Kafka::start(3).unwrap() else { return };
        assert_eq!(kafka.bootstrap().split(',').count(), 3);
        assert_ne!(kafka.topic("a"), kafka.topic("a"));
    }
}
