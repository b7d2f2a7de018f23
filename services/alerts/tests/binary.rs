//! The built binary: exit codes and what it says.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::process::{Command, Output};

fn alerts(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_alerts"))
        .env_clear()
        .env("TIDEWIRE__KAFKA__BROKERS", "127.0.0.1:1")
        .env("TIDEWIRE__INTERNAL__LISTEN", "127.0.0.1:0")
        .args(args)
        .output()
        .unwrap()
}

fn check(args: &[&str], code: i32, parts: &[&str]) {
    let output = alerts(args);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    for part in parts {
        assert!(text.contains(part), "{args:?}: {part:?} in {text}");
    }
}

#[test]
fn bad_usage_and_configuration_end_with_64_and_name_everything() {
    check(&["--oops"], 64, &["--oops"]);
    check(
        &[
            "--set",
            "alerts.wrkers=1",
            "--set",
            "alerts.start=middle",
            "--set",
            "alerts.instance=a b",
        ],
        64,
        &["alerts.workers", "alerts.start", "end or earliest", "alerts.instance"],
    );
    check(&["--set", "kafka.properties.acks=0"], 64, &["acks"]);
    check(&["--set", "model.file=/no/such/file"], 64, &["/no/such/file"]);
}

#[test]
fn help_and_version_end_with_0_and_do_not_tell_of_workers() {
    check(&["--version"], 0, &["alerts"]);
    check(&["--help"], 0, &["--config"]);
    let help = alerts(&["--help"]);
    assert!(!String::from_utf8_lossy(&help.stdout).contains("script-worker"));
}

#[test]
fn without_kafka_the_start_fails_with_1() {
    check(&["--set", "kafka.start_timeout=1s"], 1, &["127.0.0.1:1", "kafka.brokers"]);
}
