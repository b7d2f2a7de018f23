//! The jars, fetched by Maven.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::service::target_folder;

/// The folder with the jars, filled by Maven when it is not, by one process at a time.
pub(super) fn jars() -> anyhow::Result<PathBuf> {
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
