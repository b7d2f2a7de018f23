//! Helpers in processes of their own: the same program in another role, asked over its standard input.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::process;
use super::protocol::{Answer, Ask};

/// A running helper; it ends when this is dropped.
pub(super) struct Child {
    role: &'static str,
    process: Process,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Starts this program in a role.
    pub(super) fn start(role: &'static str, arguments: &[String]) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        Self::of(&program, role, arguments)
    }

    /// Starts an earlier build of this program in a role.
    pub(super) fn of(program: &Path, role: &'static str, arguments: &[String]) -> Result<Self> {
        let mut process = Command::new(program)
            .args(["bench", "--role", role])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start the {role}"))?;
        let output = process.stdout.take().context("no standard output")?;
        let input = process.stdin.take();
        Ok(Self { role, process, input, output: BufReader::new(output) })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(super) fn cpu_ns(&self) -> Result<u64> {
        process::cpu_ns(self.pid())
    }

    pub(super) fn resident_bytes(&self) -> Result<u64> {
        process::resident_bytes(self.pid())
    }

    /// The next line that it prints.
    pub(super) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("the {} has ended", self.role);
        }
        Ok(line.trim_end().to_owned())
    }

    /// Asks, without waiting for the answer.
    pub(super) fn begin(&mut self, ask: &Ask) -> Result<()> {
        let mut line = serde_json::to_string(ask)?;
        line.push('\n');
        let input = self.input.as_mut().context("it was told to end")?;
        input.write_all(line.as_bytes()).with_context(|| format!("the {} has ended", self.role))
    }

    /// The answer to what was asked.
    pub(super) fn answer(&mut self) -> Result<Answer> {
        let answer: Answer = serde_json::from_str(&self.line()?)?;
        match answer.error {
            Some(error) => bail!("the {} says: {error}", self.role),
            None => Ok(answer),
        }
    }

    pub(super) fn ask(&mut self, ask: &Ask) -> Result<Answer> {
        self.begin(ask)?;
        self.answer()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.input.take());
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Answers on standard output.
pub(super) fn reply(answer: &Answer) -> Result<()> {
    let mut line = serde_json::to_string(answer)?;
    line.push('\n');
    let mut output = std::io::stdout().lock();
    output.write_all(line.as_bytes())?;
    Ok(output.flush()?)
}
