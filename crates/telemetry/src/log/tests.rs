use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use super::*;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lines(format: LogFormat, filter: &str, log: impl FnOnce()) -> Vec<String> {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = subscriber(format, filter, move || writer.clone()).unwrap();
    tracing::dispatcher::with_default(&subscriber, log);
    let bytes = captured.0.lock().clone();
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

fn json(log: impl FnOnce()) -> Value {
    let lines = lines(LogFormat::Json, "info", log);
    assert_eq!(lines.len(), 1, "one event is one line: {lines:?}");
    serde_json::from_str(&lines[0]).unwrap_or_else(|error| panic!("{error}: {}", lines[0]))
}

#[test]
fn json_has_fixed_members_in_order_and_typed_values() {
    let all = lines(LogFormat::Json, "info", || {
        tracing::info!(target: "tidewire_router", partition = 3, lag = 7_u64, ready = true, share = 0.5, topic = "tidewire.changes", "assigned");
    });
    let tail = all[0].split_once(",\"level\"").unwrap().1;
    assert_eq!(
        tail,
        r#":"INFO","target":"tidewire_router","message":"assigned","partition":3,"lag":7,"ready":true,"share":0.5,"topic":"tidewire.changes"}"#
    );
    let time = serde_json::from_str::<Value>(&all[0]).unwrap()["time"].as_str().unwrap().to_owned();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
}

#[test]
fn text_is_one_plain_line() {
    let all = lines(LogFormat::Text, "info", || {
        tracing::warn!(target: "tidewire_http", error = "not \"right\"", tenant = "demo", "refused\nINFO forged");
    });
    assert_eq!(all.len(), 1);
    assert!(
        all[0].ends_with(
            r#"WARN tidewire_http: refused\nINFO forged error="not \"right\"" tenant=demo"#
        ),
        "{}",
        all[0]
    );
}

#[test]
fn nothing_in_a_value_can_forge_a_line() {
    let line = json(|| tracing::info!(origin = "a\n{\"level\":\"ERROR\"}\u{1b}[2J", "b\r\nc"));
    assert_eq!(line["origin"], "a\n{\"level\":\"ERROR\"}\u{1b}[2J");
    assert_eq!(line["message"], "b\r\nc");
}

#[test]
fn secrets_are_not_shown() {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2lnbmF0dXJl";
    for format in [LogFormat::Json, LogFormat::Text] {
        let all = lines(format, "info", || {
            let span =
                tracing::info_span!("request", ticket = "hush-1", path = %format!("/a/{jwt}"));
            let _inside = span.enter();
            tracing::info!(token = "hush-2", password = 12345, uri = ?format!("/x/{jwt}"), "got {jwt}");
        });
        assert_eq!(all.len(), 1);
        for hidden in ["hush", "12345", "eyJ"] {
            assert!(!all[0].contains(hidden), "{hidden} in {}", all[0]);
        }
        assert!(all[0].contains("/x/[token]"), "{}", all[0]);
    }
}

#[test]
fn values_and_lines_are_bounded() {
    let long = "x".repeat(1 << 20);
    let line = json(|| tracing::info!(a = long, b = %long, c = ?long, "{long}"));
    for member in ["a", "b", "c", "message"] {
        assert!(line[member].as_str().unwrap().len() < VALUE_BYTES_MAX + 8, "{member}");
    }
    // Escaping makes each byte six: 1,024 of them are more than 6 KiB a field.
    let wide = "\u{1}".repeat(VALUE_BYTES_MAX);
    let line = json(|| tracing::info!(a = wide, b = wide, c = wide, d = wide, "too much"));
    assert_eq!(line["truncated"], true);
    assert!(line.get("a").is_some() && line.get("d").is_none());
}

#[test]
fn errors_come_with_their_causes() {
    #[derive(Debug, Error)]
    #[error("cannot read the model")]
    struct Outer(#[source] io::Error);
    let error = Outer(io::Error::other("disk gone"));
    let line = json(|| tracing::error!(error = &error as &dyn std::error::Error, "start failed"));
    assert_eq!(line["error"], "cannot read the model: disk gone");
}

#[test]
fn spans_add_their_fields() {
    let line = json(|| {
        let _outer =
            tracing::info_span!("connection", connection_id = 7, tenant = "demo").entered();
        let _inner = tracing::info_span!("subscription", subscription_id = 9).entered();
        tracing::info!("accepted");
    });
    assert_eq!((&line["connection_id"], &line["subscription_id"]), (&7.into(), &9.into()));
    assert_eq!(line["tenant"], "demo");
}

#[test]
fn numbers_that_json_lacks_are_text() {
    let line = json(|| tracing::info!(share = f64::NAN, "odd"));
    assert_eq!(line["share"], "NaN");
}

#[test]
fn filters() {
    let log = || {
        tracing::debug!(target: "tidewire_router", "a");
        tracing::debug!(target: "tidewire_http", "b");
        tracing::warn!(target: "tidewire_http", "c");
    };
    for (filter, expected) in
        [("info", 1), ("debug", 3), ("off", 0), ("info,tidewire_router=debug", 2), ("error", 0)]
    {
        assert_eq!(lines(LogFormat::Json, filter, log).len(), expected, "{filter}");
    }
    for bad in ["", " ", "info,=", "tidewire=loud", "a=b=c"] {
        let refused = subscriber(LogFormat::Json, bad, io::sink).err();
        assert!(matches!(refused, Some(LogError::Filter(_))), "{bad:?}");
    }
}

#[test]
fn formats() {
    assert_eq!("json".parse::<LogFormat>().unwrap(), LogFormat::Json);
    assert_eq!("text".parse::<LogFormat>().unwrap(), LogFormat::Text);
    let error = "xml".parse::<LogFormat>().unwrap_err();
    assert_eq!(error.to_string(), "log format \"xml\" is neither 'json' nor 'text'");
}
