//! One server process and the shell that owns it.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use anyhow::{Context, bail, ensure};

/// How long a server, or a group of them, may take until it serves.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at a server that starts.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Ports are taken from here: below the range that the system gives to outgoing connections, so that a
/// stopped server finds its port free again.
const PORTS: std::ops::Range<u32> = 12_000..20_000;

/// Runs the server given as arguments, prints its pid, and kills it when standard input ends.
const KEEPER: &str = r#""$@" </dev/null >/dev/null 2>&1 & pid=$!
echo "$pid"
read -r _
kill -KILL "$pid"
wait "$pid" 2>/dev/null"#;

pub(super) struct Server {
    program: &'static str,
    config: PathBuf,
    arguments: Vec<String>,
    cli: Vec<String>,
    running: Option<(Child, u32)>,
}

impl Server {
    /// Starts `program` in `folder` with these lines of configuration, and waits until it answers to
    /// `redis-cli` with the arguments `cli`.
    pub(super) fn start(
        program: &'static str,
        folder: &Path,
        config: &[String],
        cli: Vec<String>,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let file = folder.join(format!("{program}.conf"));
        let log = folder.join(format!("{program}.log"));
        let mut lines = vec!["bind 127.0.0.1".to_owned(), format!("dir {}", folder.display())];
        lines.push(format!("logfile {}", log.display()));
        lines.extend_from_slice(config);
        fs::write(&file, lines.join("\n") + "\n")?;
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut server = Self { program, config: file, arguments, cli, running: None };
        server.start_again()?;
        Ok(server)
    }

    pub(super) fn start_again(&mut self) -> anyhow::Result<()> {
        self.stop();
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "sh", self.program]).arg(&self.config).args(&self.arguments);
        if self.program == "redis-server" {
            command.args(["--save", "", "--appendonly", "no"]);
        }
        let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut pid = String::new();
        let output = keeper.stdout.take().context("the keeper has no output")?;
        // Kept by hand from here on: if the pid can't be read, the end of input ends the keeper.
        BufReader::new(output).read_line(&mut pid)?;
        let pid = pid.trim().parse().context("the keeper printed no pid")?;
        self.running = Some((keeper, pid));
        wait_until(|| Ok(self.run(&["PING"]).is_ok_and(|answer| answer == "PONG")))
            .with_context(|| format!("{} does not start: {}", self.program, self.log()))
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(self.config.with_extension("log")).unwrap_or_default();
        text.lines().rev().take(10).collect::<Vec<_>>().join(" | ")
    }

    pub(super) fn stop(&mut self) {
        if let Some((mut keeper, _)) = self.running.take() {
            drop(keeper.stdin.take());
            // It has been told; how it ended does not matter.
            let _ = keeper.wait();
        }
    }

    pub(super) fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let (_, pid) = self.running.as_ref().context("the server is not running")?;
        let status = Command::new("kill").args(["-s", signal, &pid.to_string()]).status()?;
        ensure!(status.success(), "cannot send {signal} to the server");
        Ok(())
    }

    pub(super) fn run(&self, command: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("redis-cli")
            .args(["-e", "--no-auth-warning"])
            .args(&self.cli)
            .args(command)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "redis-cli {command:?}: {text} {error}");
        Ok(text)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits until `done`, or fails after the start timeout.
pub(super) fn wait_until(mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    while !done()? {
        if Instant::now() > deadline {
            bail!("not within {START_TIMEOUT:?}");
        }
        thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}

/// True if all programs are there; else says so, loudly, or fails where the real parts are required.
pub(super) fn installed(programs: &[&str]) -> anyhow::Result<bool> {
    let folders: Vec<PathBuf> =
        env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    for program in programs {
        if !folders.iter().any(|folder| folder.join(program).is_file()) {
            let package = if *program == "redis-sentinel" { *program } else { "redis-server" };
            let missing = format!("no {program} on the path (apt install {package})");
            if env::var_os("TIDEWIRE_TEST_REQUIRE_REAL").is_some_and(|value| value == "1") {
                bail!("{missing}");
            }
            eprintln!("SKIPPED: {missing}");
            return Ok(false);
        }
    }
    Ok(true)
}

/// A port that nobody listens on. Processes start at different places of the range.
pub(super) fn free_port() -> anyhow::Result<u16> {
    static TURN: AtomicU32 = AtomicU32::new(0);
    let size = PORTS.end - PORTS.start;
    for _ in 0..size {
        let turn =
            process::id().wrapping_mul(97).wrapping_add(TURN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(PORTS.start + turn % size)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port in {PORTS:?}")
}
