//! A bad configuration: exit code 64, every bad setting named at once, no secret shown. A cluster that is not
//! as it should be: exit code 1 and the command to run.

use std::process::{Command, Output};

use tidewire_testkit::kafka::Kafka;
use tidewire_testkit::service::binary;

use crate::support::log::create_topic;

const SERVICES: [&str; 2] = ["gateway", "capture"];

fn run(service: &str, settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary(service).unwrap());
    command.env_clear();
    for (name, value) in settings {
        let name = name.replace('.', "__").to_uppercase();
        command.env(format!("TIDEWIRE__{name}"), value);
    }
    command.output().unwrap()
}

/// Code and error output.
fn ended(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn every_bad_setting_is_named_at_once() {
    for service in SERVICES {
        let bad = [
            ("kafka.brokerz", "x"),
            ("http.listen", "nowhere"),
            ("http.header_timeout", "soon"),
            ("gateway.ping_interval", "1h"),
            ("capture.in_flight_max", "-1"),
            ("auth.hs256_secret_file", "/no/such/file"),
            ("kafka.properties.sasl_password", "hunter2-hunter2"),
            ("log.level", "info"),
        ];
        let (code, text) = ended(&run(service, &bad));
        assert_eq!(code, Some(64), "{service}: {text}");
        for name in [
            "did you mean kafka.brokers",
            "http.listen",
            "http.header_timeout",
            "gateway.ping_interval",
            "capture.in_flight_max",
            "kafka.properties.sasl.password",
            "auth.issuer",
        ] {
            assert!(text.contains(name), "{service}: {name} in {text}");
        }
        assert!(!text.contains("hunter2"), "{service}: a secret in {text}");
        assert!(!text.contains("log.level"), "{service}: {text}");
    }
}

#[test]
fn usage_version_and_help() {
    for service in SERVICES {
        for (flag, code) in [("--version", 0), ("--help", 0), ("--oops", 64)] {
            let output = Command::new(binary(service).unwrap()).arg(flag).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{service} {flag}");
            let shown = String::from_utf8_lossy(&output.stdout);
            assert_eq!(shown.contains(service), code == 0, "{service} {flag}: {shown}");
        }
    }
}

#[test]
fn a_topic_that_is_missing_or_compacted_is_told_with_the_command() {
    let Some(kafka) = Kafka::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "a secret of a test, which is long enough for HS256").unwrap();
    let bootstrap = kafka.bootstrap();
    let (missing, compacted) = (kafka.topic("missing"), kafka.topic("compacted"));
    create_topic(&bootstrap, &compacted, 1, "compact");
    for service in SERVICES {
        for (topic, parts) in [
            (&missing, ["does not exist", "run: kafka-topics.sh", "--create"]),
            (&compacted, ["cleanup.policy", "run: kafka-configs.sh", "delete"]),
        ] {
            let settings = [
                ("kafka.brokers", bootstrap.as_str()),
                ("kafka.changes_topic", topic),
                ("auth.hs256_secret_file", secret.to_str().unwrap()),
                ("auth.issuer", "i"),
                ("auth.audience", "a"),
                ("http.listen", "127.0.0.1:0"),
                ("internal.listen", "127.0.0.1:0"),
            ];
            let (code, text) = ended(&run(service, &settings));
            assert_eq!(code, Some(1), "{service} {topic}: {text}");
            for part in parts {
                assert!(text.contains(part), "{service}: {part} in {text}");
            }
            assert!(text.contains(topic.as_str()), "{service}: {text}");
        }
    }
}
