//! One worker process, seen from its parent.

mod cpu;

use std::collections::HashMap;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use tidewire_script::SourceId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout};

use crate::blame::End;
use crate::frame;
use crate::message::{Reply, Request, Slot, State};
use crate::options::WorkerOptions;
use cpu::cpu_of;

/// Bytes of what a worker said before its end that are read.
const LAST_WORDS_BYTES_MAX: u64 = 4096;
/// How long the end of a process is waited for.
const END_MAX: Duration = Duration::from_secs(5);
/// CPU seconds after which the kernel ends a worker whose parent does not.
const CPU_SECONDS_MAX: u64 = 3;
/// The CPU time of a process is looked at again after at least so long.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A worker process. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
    pid: u32,
    loaded: HashMap<SourceId, Slot>,
    state: State,
    /// Whether a request is on its way: then nothing else may be asked.
    is_busy: bool,
}

/// Why a reply did not come.
pub(crate) enum Failed {
    /// The process ended, or was stopped.
    Ended(End),
    /// It says what no worker says.
    Broken,
}

impl Process {
    /// Starts a process and waits until it is ready.
    pub(crate) async fn start(options: &WorkerOptions) -> io::Result<Self> {
        let mut child = Command::new(&options.program)
            .args(&options.arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C in a terminal is for the service: its workers end with their pipes.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let gone = || io::Error::other("the worker has no pipes");
        let mut process = Self {
            stdin: child.stdin.take().ok_or_else(gone)?,
            stdout: child.stdout.take().ok_or_else(gone)?,
            stderr: child.stderr.take().ok_or_else(gone)?,
            pid: child.id().ok_or_else(gone)?,
            child,
            loaded: HashMap::new(),
            state: State::default(),
            is_busy: false,
        };
        let limits = Request::Limits {
            memory_max: options.memory_max,
            scripts_memory_max: options.scripts_memory_max,
            cpu_seconds_max: CPU_SECONDS_MAX,
            yields: options.yields,
        };
        let ready = async {
            process.send(&limits, &[]).await?;
            frame::receive::<Reply>(&mut process.stdout).await
        };
        match timeout(options.start_max, ready).await {
            Ok(Ok(Reply::Ready)) => {
                process.is_busy = false;
                Ok(process)
            }
            Ok(Ok(_)) => Err(io::Error::other("the worker did not say that it is ready")),
            Ok(Err(e)) => {
                let words = process.last_words().await;
                Err(io::Error::new(e.kind(), format!("the worker ended at its start: {words}")))
            }
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the worker is not ready")),
        }
    }

    /// Whether it can be used again.
    pub(crate) const fn is_usable(&self) -> bool {
        !self.is_busy && !self.state.is_full
    }

    /// Whether it holds more than it should.
    pub(crate) const fn is_full(&self) -> bool {
        self.state.is_full
    }

    /// CPU time that it has used since its start, as it said last.
    pub(crate) const fn cpu(&self) -> Duration {
        Duration::from_nanos(self.state.cpu_nanos)
    }

    /// The slot of a source, and whether it must be loaded.
    pub(crate) fn slot(&mut self, id: SourceId) -> (Slot, bool) {
        let next = Slot::try_from(self.loaded.len()).unwrap_or(Slot::MAX);
        match self.loaded.entry(id) {
            std::collections::hash_map::Entry::Occupied(slot) => (*slot.get(), false),
            std::collections::hash_map::Entry::Vacant(place) => (*place.insert(next), true),
        }
    }

    /// Sends a request. An error is not yet told: the reply that does not come will tell more.
    pub(crate) async fn send(&mut self, request: &Request, body: &[u8]) -> io::Result<()> {
        self.is_busy = true;
        let mut bytes = Vec::with_capacity(256 + body.len());
        frame::write(&mut bytes, request, body)?;
        let sent = self.stdin.write_all(&bytes).await;
        match sent {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e),
            _ => Ok(()),
        }
    }

    /// The next reply, if the process gives one before it has used too much.
    pub(crate) async fn reply(
        &mut self,
        options: &WorkerOptions,
        cpu_max: Duration,
    ) -> Result<Reply, Failed> {
        let started = Instant::now();
        let (pid, cpu_before) = (self.pid, self.cpu());
        let mut look_at = started + cpu_max;
        let mut reply = Box::pin(frame::receive::<Reply>(&mut self.stdout));
        let mut used = Duration::ZERO;
        let received = loop {
            tokio::select! {
                biased;
                received = &mut reply => break Some(received),
                () = tokio::time::sleep_until(look_at) => {}
            }
            let cpu = cpu_of(pid).map(|cpu| cpu.saturating_sub(cpu_before));
            used = cpu.unwrap_or_else(|| started.elapsed());
            if used >= cpu_max || started.elapsed() >= options.wall_max {
                break None;
            }
            look_at = Instant::now() + (cpu_max - used).max(LOOK_AGAIN);
        };
        drop(reply);
        match received {
            Some(Ok(reply)) => {
                self.note(&reply);
                Ok(reply)
            }
            Some(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Failed::Ended(self.end(options).await))
            }
            Some(Err(e)) => {
                tracing::error!(pid, error = %e, "a script worker says what none says");
                Err(Failed::Broken)
            }
            None => {
                let _ = self.child.start_kill();
                let _ = timeout(END_MAX, self.child.wait()).await;
                Err(Failed::Ended(End::Stopped { cpu_max, cpu: used }))
            }
        }
    }

    fn note(&mut self, reply: &Reply) {
        match reply {
            Reply::Ready => {}
            Reply::Compiled { state, .. } => {
                self.state = *state;
                self.is_busy = false;
            }
            Reply::Ran { state, is_last, .. } => {
                self.state = *state;
                self.is_busy = !is_last;
            }
        }
    }

    async fn end(&mut self, options: &WorkerOptions) -> End {
        let words = self.last_words().await;
        let status = timeout(END_MAX, self.child.wait()).await.ok().and_then(Result::ok);
        let end = End::of(status, &words, options.memory_max);
        tracing::debug!(pid = self.pid, ?status, %words, "a script worker ended");
        end
    }

    /// What it said before its end, without control characters.
    async fn last_words(&mut self) -> String {
        let mut words = Vec::new();
        let mut stderr = (&mut self.stderr).take(LAST_WORDS_BYTES_MAX);
        let _ = timeout(END_MAX, stderr.read_to_end(&mut words)).await;
        let words = String::from_utf8_lossy(&words);
        words.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    /// The process id, for tests and logs.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }
}
