//! `POST /api/v1/changes` over a real loopback listener.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use support::{FakeLog, NOW_MS, vessel};
use tidewire_auth::{AuthOptions, MintClaims, Secret, TokenMinter, Verifier, dev_secret};
use tidewire_capture::{Capture, CaptureOptions, Parts};
use tidewire_http::{Server, ServerHandle, ServerOptions};
use tidewire_log::{LogWriter, WriteError};
use tidewire_model::Model;
use tidewire_runtime::{Clock, Shutdown, Tasks};
use tidewire_telemetry::{CaptureMetrics, CommonMetrics, Registry};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

struct Site {
    log: Arc<FakeLog>,
    capture: Capture,
    secret: Secret,
    common: CommonMetrics,
    server: ServerHandle,
    tasks: Tasks,
    _folder: tempfile::TempDir,
}

async fn site(options: CaptureOptions) -> Site {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    let secret = dev_secret(&path).expect("a secret");
    let log = FakeLog::new();
    let registry = Registry::new();
    let common = CommonMetrics::register(&registry).expect("first");
    let parts = Parts {
        writer: Arc::clone(&log) as Arc<dyn LogWriter>,
        verifier: Arc::new(Verifier::new(&AuthOptions::development(&path)).expect("sound")),
        model: Arc::new(Model::vms()),
        metrics: CaptureMetrics::register(&registry).expect("first"),
        common: common.clone(),
        clock: Clock::manual(NOW_MS),
    };
    let capture = Capture::start(options, parts);
    let tasks = Tasks::new(Shutdown::new());
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = ServerOptions::new("http", listen);
    let server = Server::bind(options).await.expect("a port");
    let server = server.serve(capture.site(), &tasks, tasks.shutdown().clone());
    Site { log, capture, secret, common, server, tasks, _folder: folder }
}

impl Site {
    fn token(&self, roles: &[&str]) -> String {
        let issued_at = i64::try_from(NOW_MS / 1_000).expect("small");
        let mut claims = MintClaims::new("demo", issued_at);
        claims.roles = roles.iter().map(|role| (*role).to_owned()).collect();
        format!("Bearer {}", TokenMinter::mint(&self.secret, &claims).expect("random bytes"))
    }

    async fn post(&self, content_type: &str, body: &str) -> (u16, String, String) {
        self.send(Some(&self.token(&["producer"])), content_type, body).await
    }

    /// Status, head and body.
    async fn send(
        &self,
        authorization: Option<&str>,
        content_type: &str,
        body: &str,
    ) -> (u16, String, String) {
        let mut head = format!(
            "POST /api/v1/changes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Length: {}\r\n",
            body.len()
        );
        if let Some(authorization) = authorization {
            head += &format!("Authorization: {authorization}\r\n");
        }
        if !content_type.is_empty() {
            head += &format!("Content-Type: {content_type}\r\n");
        }
        let mut stream = TcpStream::connect(self.server.local_addr()).await.expect("it listens");
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        let answer = String::from_utf8(answer).expect("UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
        (status, head.to_ascii_lowercase(), body.to_owned())
    }
}

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

#[tokio::test]
async fn one_change() {
    let site = site(CaptureOptions::default()).await;
    let (status, head, body) = site.post("application/json; charset=utf-8", &vessel(1, "")).await;
    assert_eq!((status, body.as_str()), (200, r#"{"id":"0-0"}"#));
    assert!(head.contains("content-type: application/json"), "{head}");
    let record = site.log.records().remove(0);
    assert_eq!(record.key, "demo/Vessel/1", "the tenant comes from the token");
    assert_eq!(record.payload.as_deref(), Some(&br#"{"new":{"key":1},"old":null}"#[..]));
    site.tasks.shutdown().cancel();
}

#[tokio::test]
async fn refusals_have_the_documented_body() {
    let site = site(CaptureOptions { change_bytes_max: 300, ..CaptureOptions::default() }).await;
    let good = site.token(&["producer"]);
    let reader = site.token(&["admin"]);
    let text = "the content type is application/json (one change) or application/x-ndjson (many)";
    let long = vessel(1, &format!(r#","id":"{}""#, "x".repeat(300)));
    let rows: [(Option<&str>, &str, &str, u16, &str); 9] = [
        (None, JSON, "{}", 401, "Token missing."),
        (Some("Basic abc"), JSON, "{}", 401, "Token missing."),
        (Some("Bearer abc"), JSON, "{}", 401, "Token malformed."),
        (
            Some(&reader),
            JSON,
            "{}",
            403,
            "the token has no role that may post changes (auth.roles.producer)",
        ),
        (Some(&good), "", "{}", 415, text),
        (Some(&good), "text/plain", "{}", 415, text),
        (Some(&good), JSON, "{}", 400, "'objectType' is missing"),
        (Some(&good), JSON, &long, 413, "the body is longer than 300 bytes"),
        (Some(&good), NDJSON, "\n \n", 400, "the body holds no change"),
    ];
    for (authorization, content_type, body, status, message) in rows {
        let (got, head, text) = site.send(authorization, content_type, body).await;
        let error: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((got, error["message"].as_str()), (status, Some(message)), "{text}");
        assert_eq!(error["statusCode"], status);
        assert_eq!(error["date"], "2026-09-14T13:37:26");
        assert_eq!(error["method"], "POST");
        assert_eq!(error["uri"], "/api/v1/changes");
        assert_eq!(head.contains("www-authenticate: bearer"), status == 401, "{head}");
    }
    assert!(site.log.records().is_empty());
    site.tasks.shutdown().cancel();
}

#[tokio::test]
async fn kafka_away_or_slow() {
    let site = site(CaptureOptions::default()).await;
    let unknown = "kafka did not acknowledge in time, the outcome is unknown: ";
    for (error, body, status, retry, message) in [
        (
            WriteError::QueueFull,
            vessel(1, ""),
            429,
            "1",
            "too many changes wait for kafka, try again after a moment".to_owned(),
        ),
        (
            WriteError::Unavailable,
            vessel(1, ""),
            503,
            "5",
            "kafka is not available, try again later".to_owned(),
        ),
        (
            WriteError::Unknown,
            vessel(1, r#","id":"a""#),
            503,
            "1",
            format!("{unknown}send it again with the same 'id'"),
        ),
        (
            WriteError::Unknown,
            vessel(1, ""),
            503,
            "1",
            format!("{unknown}sent again it may stand in the log twice, as it has no 'id'"),
        ),
        (
            WriteError::TooLarge,
            vessel(1, ""),
            413,
            "",
            "the change is larger than the topic takes".to_owned(),
        ),
        (
            WriteError::Refused("secret detail".to_owned()),
            vessel(1, ""),
            500,
            "",
            "kafka refused the change, the log of this service says why".to_owned(),
        ),
    ] {
        site.log.fail_next("Vessel/1", error);
        let (got, head, text) = site.post(JSON, &body).await;
        let body: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((got, body["message"].as_str()), (status, Some(message.as_str())));
        let told = head.contains(&format!("retry-after: {retry}\r\n"));
        assert_eq!(told, !retry.is_empty(), "{head}");
    }
    site.tasks.shutdown().cancel();
}

#[tokio::test]
async fn bulks_answer_line_by_line_in_order() {
    let site = site(CaptureOptions { bulk_lines_max: 5, ..CaptureOptions::default() }).await;
    let all = format!("{}\n\n{}\n", vessel(1, ""), vessel(2, ""));
    let (status, head, body) = site.post(NDJSON, &all).await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/x-ndjson"), "{head}");
    assert_eq!(body, "{\"line\":1,\"id\":\"0-0\"}\n{\"line\":3,\"id\":\"0-1\"}\n");

    site.log.fail_next("Vessel/1", WriteError::Unavailable);
    let some = [vessel(1, ""), vessel(2, ""), vessel(1, ""), "{\"a\":\"\\\"\"}".to_owned()];
    let (status, _, body) = site.post(NDJSON, &some.join("\n")).await;
    assert_eq!(status, 207);
    let expected = concat!(
        r#"{"line":1,"error":{"statusCode":503,"message":"kafka is not available, try again later"}}"#,
        "\n",
        r#"{"line":2,"id":"0-3"}"#,
        "\n",
        r#"{"line":3,"error":{"statusCode":409,"message":"not sent: line 1 changed the same object and failed"}}"#,
        "\n",
        r#"{"line":4,"error":{"statusCode":400,"message":"a change has no member 'a'"}}"#,
        "\n",
    );
    assert_eq!(body, expected);

    let (status, _, body) = site.post(NDJSON, "{}").await;
    assert_eq!(status, 400);
    let expected =
        "{\"line\":1,\"error\":{\"statusCode\":400,\"message\":\"'objectType' is missing\"}}\n";
    assert_eq!(body, expected);

    site.log.fail_next("Vessel/9", WriteError::Unavailable);
    let (status, head, _) = site.post(NDJSON, &vessel(9, "")).await;
    assert_eq!(status, 503);
    assert!(head.contains("retry-after: 5\r\n"), "{head}");

    let many: Vec<String> = (1..=9).map(|key| vessel(key, "")).collect();
    let (status, _, body) = site.post(NDJSON, &many.join("\n")).await;
    assert_eq!((status, body.lines().count()), (207, 6));
    assert!(body.lines().last().unwrap().contains("at most 5 lines"), "{body}");
    site.tasks.shutdown().cancel();
}

#[tokio::test]
async fn a_drain_refuses_and_finishes() {
    let site = site(CaptureOptions::default()).await;
    site.log.hold();
    let body = vessel(1, "");
    let driver = async {
        site.log.until(1).await;
        site.capture.drain();
        let (status, head, _) = site.post(JSON, &vessel(2, "")).await;
        assert_eq!(status, 503);
        assert!(head.contains("retry-after: 1\r\n"), "{head}");
        site.log.answer(0, None);
    };
    let ((status, _, _), ()) = tokio::join!(site.post(JSON, &body), driver);
    assert_eq!(status, 200, "what was under way is finished");
    assert_eq!(site.log.records().len(), 1);
    let draining = tidewire_telemetry::metrics::RefusalReason::Draining;
    assert_eq!(site.common.http_refused.get(draining), 1);
    site.tasks.shutdown().cancel();
}
