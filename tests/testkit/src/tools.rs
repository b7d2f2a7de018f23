//! Foreign clients that tests run: Node with Playwright's core and Chromium, Python with confluent-kafka.
//!
//! What comes from a package registry is put into the target folder, by one process at a time. Where a part
//! can't be had, the test says so loudly and skips; with `TIDEWIRE_TEST_REQUIRE_REAL=1` it is an error.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, bail};

use crate::service::target_folder;

/// The version of `playwright-core` (npm).
const PLAYWRIGHT: &str = "1.65.1";
/// The version of `confluent-kafka` (PyPI).
const CONFLUENT_KAFKA: &str = "2.16.1";
/// Where Debian puts Chromium.
const CHROMIUM: &str = "/usr/bin/chromium";

/// Node with Playwright's core, and a Chromium for it.
#[derive(Debug)]
pub struct Browser {
    node: PathBuf,
}

impl Browser {
    /// Finds it. `None`: not to be had here, and said so on standard error.
    ///
    /// # Errors
    /// If a part is missing and `TIDEWIRE_TEST_REQUIRE_REAL=1`.
    pub fn find() -> anyhow::Result<Option<Self>> {
        skip_unless_required("no browser", Self::prepare())
    }

    fn prepare() -> anyhow::Result<Self> {
        if !Path::new(CHROMIUM).is_file() {
            bail!("{CHROMIUM} is missing (Debian: chromium)");
        }
        runs("node", "--version").context("node is not installed (Debian: nodejs)")?;
        let package = format!("playwright-core@{PLAYWRIGHT}");
        let node = fetched("node", &package, |folder| {
            Command::new("npm")
                .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
                .arg(folder)
                .arg(&package)
                .stdin(Stdio::null())
                .output()
                .context("npm is not installed (Debian: npm)")
        })?;
        Ok(Self { node })
    }

    /// Runs a script (CommonJS) in which `chromium` is a launched browser and `args` are the arguments.
    /// What it prints is the result.
    ///
    /// # Errors
    /// When the script fails: its error output.
    pub fn run(&self, script: &str, args: &[&str]) -> anyhow::Result<String> {
        const FLAGS: &str = "'--no-sandbox','--disable-gpu','--disable-quic','--no-first-run',\
            '--disable-background-networking','--disable-component-update','--disable-sync'";
        let script = format!(
            "const pw = require('playwright-core'); const args = process.argv.slice(1);\n\
             (async () => {{\n\
               const chromium = await pw.chromium.launch(\n\
                 {{ executablePath: '{CHROMIUM}', args: [{FLAGS}] }});\n\
               try {{ {script}\n }} finally {{ await chromium.close(); }}\n\
             }})().catch(error => {{ console.error(error); process.exit(1); }});"
        );
        let output = Command::new("node")
            .current_dir(&self.node)
            .args(["-e", &script, "--"])
            .args(args)
            .stdin(Stdio::null())
            .output()?;
        printed(output)
    }
}

/// Python with confluent-kafka, in an environment of its own.
#[derive(Debug)]
pub struct Python {
    program: PathBuf,
}

impl Python {
    /// Finds it. `None`: not to be had here, and said so on standard error.
    ///
    /// # Errors
    /// If a part is missing and `TIDEWIRE_TEST_REQUIRE_REAL=1`.
    pub fn find() -> anyhow::Result<Option<Self>> {
        skip_unless_required("no Python with confluent-kafka", Self::prepare())
    }

    fn prepare() -> anyhow::Result<Self> {
        let package = format!("confluent-kafka=={CONFLUENT_KAFKA}");
        let folder = fetched("venv", &package, |folder| {
            let made = Command::new("python3")
                .args(["-m", "venv"])
                .arg(folder)
                .output()
                .context("python3 is not installed (Debian: python3-venv)")?;
            if !made.status.success() {
                return Ok(made);
            }
            Ok(Command::new(folder.join("bin/python"))
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .arg(&package)
                .stdin(Stdio::null())
                .output()?)
        })?;
        Ok(Self { program: folder.join("bin/python") })
    }

    /// Runs a script with arguments. What it prints is the result.
    ///
    /// # Errors
    /// When the script fails: its error output.
    pub fn run(&self, script: &str, args: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.program);
        printed(command.args(["-c", script]).args(args).stdin(Stdio::null()).output()?)
    }
}

/// Runs a Java program of one source file against the jars of a folder.
///
/// # Errors
/// When it does not compile or fails: its error output.
pub fn run_java(libs: &Path, source: &Path, args: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new("java");
    command.arg("-cp").arg(format!("{}/*", libs.display())).arg(source).args(args);
    printed(command.stdin(Stdio::null()).output().context("java is not installed")?)
}

/// True if the program is there. Else says so, loudly, or fails where the real parts are required.
///
/// # Errors
/// If it is missing and `TIDEWIRE_TEST_REQUIRE_REAL=1`.
pub fn program(name: &str, flag: &str, package: &str) -> anyhow::Result<bool> {
    let there = runs(name, flag).with_context(|| format!("{name} (Debian: {package})"));
    Ok(skip_unless_required("missing program", there)?.is_some())
}

/// The result, or `None` and a loud word.
fn skip_unless_required<T>(what: &str, result: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    match result {
        Ok(part) => Ok(Some(part)),
        Err(error) if std::env::var("TIDEWIRE_TEST_REQUIRE_REAL").is_ok_and(|v| v == "1") => {
            Err(error.context(format!("{what}, but it is required")))
        }
        Err(error) => {
            eprintln!("SKIPPED: {what}: {error:#}");
            Ok(None)
        }
    }
}

fn runs(program: &str, flag: &str) -> anyhow::Result<()> {
    Command::new(program).arg(flag).stdin(Stdio::null()).output()?;
    Ok(())
}

/// The folder `target/<name>` with this package in it; `install` fills it where it has another one.
fn fetched(
    name: &str,
    package: &str,
    install: impl FnOnce(&Path) -> anyhow::Result<Output>,
) -> anyhow::Result<PathBuf> {
    let target = target_folder();
    fs::create_dir_all(&target)?;
    let target = target.canonicalize()?;
    let lock = File::create(target.join(format!("{name}.lock")))?;
    lock.lock()?;
    let (folder, stamp) = (target.join(name), target.join(name).join("installed"));
    if fs::read_to_string(&stamp).is_ok_and(|had| had == package) {
        return Ok(folder);
    }
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let output = install(&folder)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("{package} can't be installed: {}", text.lines().last().unwrap_or_default());
    }
    fs::write(&stamp, package)?;
    Ok(folder)
}

fn printed(output: Output) -> anyhow::Result<String> {
    if !output.status.success() {
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}
