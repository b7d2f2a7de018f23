//! The built binary: exit codes, an import, and the service from start to SIGTERM on Apache Kafka.
#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tidewire_auth::{MintClaims, TokenMinter, dev_secret, load_secret, unix_now};
use tidewire_testkit::kafka::Kafka;

const SECRET: &str = "a secret of a test, which is long enough for HS256\n";

fn capture(secret: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_capture"));
    command
        .env_clear()
        .env("TIDEWIRE__AUTH__HS256_SECRET_FILE", secret)
        .env("TIDEWIRE__AUTH__ISSUER", "tidewire-dev")
        .env("TIDEWIRE__AUTH__AUDIENCE", "tidewire")
        .env("TIDEWIRE__AUTH__ROLES__PRODUCER", "producer")
        .env("TIDEWIRE__HTTP__LISTEN", "127.0.0.1:0")
        .env("TIDEWIRE__INTERNAL__LISTEN", "127.0.0.1:0")
        .env("TIDEWIRE__KAFKA__BROKERS", "127.0.0.1:1")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn ended(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn folder() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).expect("written");
    (folder, secret)
}

#[test]
fn bad_usage_and_configuration_end_with_64_and_name_everything() {
    let (folder, secret) = folder();
    let check = |args: &[&str], parts: &[&str]| {
        let (code, text) = ended(&capture(&secret, args).output().expect("it runs"));
        assert_eq!(code, Some(64), "{args:?}: {text}");
        for part in parts {
            assert!(text.contains(part), "{args:?}: {part:?} in {text}");
        }
    };
    check(&["--oops"], &["--oops"]);
    check(&["--input", "x"], &["--tenant"]);
    check(&["--tenant", "a\tb", "--input", "x"], &["control characters"]);
    check(&["--tenant", "demo", "--input", "/no/such/file"], &["/no/such/file"]);
    check(
        &["--set", "kafka.brokerz=x", "--set", "capture.in_flight_max=0"],
        &["kafka.brokerz", "kafka.brokers", "capture.in_flight_max"],
    );
    check(&["--set", "kafka.properties.acks=0"], &["acks", "all in-sync replicas"]);
    let model = folder.path().join("model.toml");
    std::fs::write(&model, "format = 1\n").expect("written");
    let model = format!("model.file={}", model.display());
    check(&["--set", &model], &["model.toml", "types"]);

    let development = folder.path().join("dev-secret");
    dev_secret(&development).expect("a secret");
    let secret = format!("auth.hs256_secret_file={}", development.display());
    let open = ["--set", &secret, "--set", "http.listen=0.0.0.0:0"];
    check(&open, &["development secret"]);
}

#[test]
fn version_and_help() {
    let (_folder, secret) = folder();
    for flag in ["--version", "--help"] {
        let output = capture(&secret, &[flag]).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains("capture"));
    }
}

/// Ends the service when a test fails.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn http(address: &str, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!(
        "{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn serves_imports_and_drains_on_apache_kafka() {
    let Some(kafka) = Kafka::shared() else {
        eprintln!("SKIPPED: the capture binary against Apache Kafka");
        return;
    };
    let (_folder, secret) = folder();
    let topic = kafka.topic("binary");
    let brokers = kafka.bootstrap();
    let start = |args: &[&str]| {
        let mut command = capture(&secret, args);
        command
            .env("TIDEWIRE__KAFKA__BROKERS", &brokers)
            .env("TIDEWIRE__KAFKA__CHANGES_TOPIC", &topic);
        command
    };

    let (code, text) = ended(&start(&[]).output().expect("it runs"));
    assert_eq!(code, Some(1), "{text}");
    for part in ["does not exist", "run: kafka-topics.sh", "--partitions 12", "retention.ms="] {
        assert!(text.contains(part), "{part:?} in {text}");
    }

    let create = ["--set", "kafka.create_topics=true", "--set", "kafka.replication_factor=1"];
    let mut service = Service(start(&create).spawn().expect("it runs"));
    let log = BufReader::new(service.0.stderr.take().expect("piped"));
    let mut lines = log.lines();
    let ready = lines
        .by_ref()
        .map(|line| line.expect("UTF-8"))
        .find(|line| line.contains("capture takes changes"))
        .expect("it gets ready");
    let ready: serde_json::Value = serde_json::from_str(&ready).expect("JSON lines");
    let field = |name: &str| {
        let value = ready.get(name).or_else(|| ready.get("fields").and_then(|f| f.get(name)));
        value.and_then(|value| value.as_str()).expect("an address").to_owned()
    };
    let (public, internal) = (field("address"), field("internal"));

    let mut claims = MintClaims::new("demo", unix_now());
    claims.user = Some(7);
    claims.roles = vec!["producer".to_owned()];
    let token = TokenMinter::mint(&load_secret(&secret).expect("it is there"), &claims);
    let post = format!(
        "POST /api/v1/changes HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Bearer {}",
        token.expect("random bytes")
    );
    let body = r#"{"objectType":"Vessel","key":5,"operation":"U","new":{"key":5},"id":"a"}"#;
    let answer = http(&public, &post, body);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let id = answer.split_once("\r\n\r\n").expect("a body").1.to_owned();
    assert!(id.starts_with("{\"id\":\""), "{id}");
    assert!(http(&public, &post, body).ends_with(&id), "the same id, the same answer");

    let ready = http(&internal, "GET /health/ready HTTP/1.1", "");
    assert!(ready.ends_with(r#"{"status":"ready"}"#), "{ready}");
    let metrics = http(&internal, "GET /metrics HTTP/1.1", "");
    for expected in [
        r#"tidewire_capture_changes_total{outcome="written"} 1"#,
        r#"tidewire_capture_changes_total{outcome="repeated"} 1"#,
        "tidewire_ready 1",
        "tidewire_capture_old_image_missing_total 1",
    ] {
        assert!(metrics.contains(expected), "{expected} in {metrics}");
    }

    let import = |text: &str| {
        let mut child = start(&["--input", "-", "--tenant", "demo"]).spawn().expect("it runs");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(text.as_bytes()).expect("taken");
        drop(input);
        ended(&child.wait_with_output().expect("it ends"))
    };
    let (code, text) = import(&format!("{body}\n\n{body}\n"));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("3 lines read, 2 changes written, 0 failed"), "{text}");
    let (code, text) = import(&format!("{body}\noops\n"));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("line 2: not a JSON object"), "{text}");
    assert!(text.contains("not written: line 2"), "{text}");

    let killed = Command::new("kill").arg(service.0.id().to_string()).status().expect("kill");
    assert!(killed.success());
    let rest: Vec<String> = lines.map(|line| line.expect("UTF-8")).collect();
    assert_eq!(service.0.wait().expect("it ends").code(), Some(0), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("every record has its answer")), "{rest:?}");
    assert!(!rest.iter().any(|line| line.contains("Bearer")), "{rest:?}");
}
