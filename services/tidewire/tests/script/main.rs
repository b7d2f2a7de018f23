//! `tidewire script`, as a person runs it. What it prints is pinned in `golden`; after a change that is
//! meant, `TIDEWIRE_GOLDEN=write` writes it anew.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails, also in what tests share"
)]

mod registry;
mod trial;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/script").join(name)
}

/// Runs `tidewire script` in the folder of the scripts, and gives code and both outputs in one text.
fn run(arguments: &[&str], input: &str) -> (i32, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidewire"))
        .arg("script")
        .args(arguments)
        .env_clear()
        .current_dir(folder("files"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that does not read it may have ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (said, told) = (text(output.stdout), text(output.stderr));
    let told = if told.is_empty() { told } else { format!("--- stderr\n{told}") };
    (output.status.code().unwrap(), format!("{said}{told}"))
}

/// Holds what is printed against the file of this name.
fn golden(name: &str, found: &str) {
    let path = folder("golden").join(format!("{name}.txt"));
    if std::env::var("TIDEWIRE_GOLDEN").is_ok_and(|how| how == "write") {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{} holds something else", path.display());
}

fn check(name: &str, arguments: &[&str], code: i32) {
    let (ended, found) = run(arguments, "");
    golden(name, &found);
    assert_eq!(ended, code, "{arguments:?}: {found}");
}
