//! The bench runs and gives its rows. What it measures is not looked at: machines differ.

use std::process::Command;

#[expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
fn check(groups: &[&str], rows: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tidewire"))
        .args(["bench", "--quick"])
        .args(groups.iter().flat_map(|group| ["--only", group]))
        .arg("--write")
        .arg(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let page = std::fs::read_to_string(folder.path().join("results.md")).unwrap();
    for row in rows {
        let line = format!("| {row} | ");
        assert!(text.contains(&line) && page.contains(&line), "{row} is missing in {text}\n{said}");
    }
    assert!(!text.contains("not measured"), "{text}\n{said}");
    assert!(page.contains("- machine: ") && page.contains("- commit: "), "{page}");
}

#[test]
fn a_quick_run_gives_a_row_for_each_figure() {
    check(&["fan-out"], &["fan-out-1k", "burst-1k", "fan-out-10k", "last", "burst-10k"]);
}

#[test]
fn clients_that_resume_are_given_what_they_missed() {
    check(&["resume", "storm"], &["resume-window", "resume-kafka", "storm-window", "storm-kafka"]);
}

#[test]
fn an_unknown_group_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidewire"))
        .args(["bench", "--only", "fan-in"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("fan-in"), "{said}");
}
