//! A child process that does not outlive the test process. A small shell watches over it: it holds the read
//! end of a pipe whose write end this process holds, and kills the child when the pipe closes without a
//! word, that is when the test process has died in whatever way. Nothing is ever killed by name.

use std::io::{self, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context as _, ensure};

const WATCHER: &str = r#"read -r word || kill -KILL "$1""#;

/// A running child. Dropping it kills it.
pub struct Watched {
    child: Child,
    watcher: Option<Child>,
}

impl Watched {
    /// Starts it.
    ///
    /// # Errors
    /// When the program or the watcher does not start.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("{program} does not start"))?;
        // Killed by hand from here on, if there is no watcher for it.
        let mut watched = Self { child, watcher: None };
        let watcher = Command::new("sh")
            .args(["-c", WATCHER, "watcher", &watched.child.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("sh does not start")?;
        watched.watcher = Some(watcher);
        Ok(watched)
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal: `TERM`, `KILL`, `STOP`, `CONT`.
    ///
    /// # Errors
    /// When it can't be sent.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &pid]).status()?;
        ensure!(status.success(), "cannot send {signal} to {pid}");
        Ok(())
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        if status.is_some() {
            self.forget();
        }
        Ok(status)
    }

    /// Its pid means nothing any more: the watcher is sent home.
    fn forget(&mut self) {
        if let Some(mut watcher) = self.watcher.take() {
            if let Some(input) = watcher.stdin.as_mut() {
                let _ = input.write_all(b"over\n");
            }
            let _ = watcher.wait();
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.forget();
    }
}
