//! One broker process and the shell that owns it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

/// How long a broker may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(90);
/// Between two looks at a broker that starts.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Any base64url UUID will do: each cluster has its own folder.
const CLUSTER_ID: &str = "dGlkZXdpcmV0ZXN0MDAwMQ";

/// What a broker may take of the machine: three of them share two cores with all that is tested.
const JVM: [&str; 4] = ["-Xms128m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

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
"#;

const LOG4J: &str = r#"<Configuration status="warn"><Appenders><Console name="out">
<PatternLayout pattern="%d %p %m (%c)%n%throwable"/></Console></Appenders>
<Loggers><Root level="warn"><AppenderRef ref="out"/></Root></Loggers></Configuration>
"#;

/// A broker that runs, or ran, in a folder of its own.
pub(super) struct Broker {
    folder: PathBuf,
    address: SocketAddr,
    running: Option<Running>,
}

struct Running {
    keeper: Child,
    pid: u32,
}

impl Broker {
    pub(super) fn new(folder: PathBuf, port: u16) -> Self {
        Self { folder, address: SocketAddr::from(([127, 0, 0, 1], port)), running: None }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn runs(&self) -> bool {
        self.running.is_some()
    }

    pub(super) fn write_files(
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
             transaction.abort.timed.out.transaction.cleanup.interval.ms=500\n\
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

    pub(super) fn log(&self) -> PathBuf {
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

    pub(super) fn format(&self, libs: &Path) -> anyhow::Result<Child> {
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

    pub(super) fn launch(&mut self, libs: &Path) -> anyhow::Result<()> {
        ensure!(self.running.is_none(), "the broker runs already");
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
        let mut pid = String::new();
        BufReader::new(keeper.stdout.take().context("no output")?).read_line(&mut pid)?;
        let pid = pid.trim().parse().context("the keeper printed no pid")?;
        self.running = Some(Running { keeper, pid });
        Ok(())
    }

    pub(super) fn wait_until_ready(&mut self) -> anyhow::Result<()> {
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

    /// Ends it with this signal and waits for its end.
    pub(super) fn end(&mut self, signal: &str) -> anyhow::Result<()> {
        let mut keeper = self.running.take().context("the broker does not run")?.keeper;
        writeln!(keeper.stdin.as_mut().context("no input")?, "{signal}")?;
        keeper.wait()?;
        Ok(())
    }

    /// Sends a signal that does not end it.
    pub(super) fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.running.as_ref().context("the broker does not run")?.pid;
        let status = Command::new("kill").args(["-s", signal, &pid.to_string()]).status()?;
        ensure!(status.success(), "cannot send {signal} to the broker");
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(Running { mut keeper, .. }) = self.running.take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }
}

/// Sends the one request that every broker answers before any other, so that an answer means that it
/// takes requests (its port is open long before).
pub(super) fn ask_api_versions(address: SocketAddr) -> anyhow::Result<()> {
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
