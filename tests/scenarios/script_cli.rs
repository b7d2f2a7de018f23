//! `tidewire script` against a real gateway and a real change topic.

use std::process::{Command, Output};

use serde_json::{Value, json};
use tidewire_auth::unix_now;
use tidewire_testkit::service::binary;
use tidewire_wire::frame::event_time;

use crate::support::World;

fn sample(name: &str) -> String {
    format!("{}/../model/scripts/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A time so many minutes ago.
fn ago(minutes: i64) -> String {
    event_time((unix_now() - minutes * 60) * 1000).to_string()
}

/// Runs the command; code, standard output, standard error.
fn tidewire(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(binary("tidewire").unwrap())
        .arg("script")
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    let Output { status, stdout, stderr } = output;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// The same, which has to go well.
fn done(arguments: &[&str]) -> String {
    let (code, said, told) = tidewire(arguments);
    assert_eq!(code, 0, "{arguments:?}: {said}{told}");
    said
}

fn result(key: u64, before: u64, after: u64, at: &str) -> String {
    let image = |result: u64| json!({"key": key, "referenceNo": "KIT-1", "voyageResult": result});
    json!({"objectType": "Voyage", "key": key, "operation": "U", "changedAt": at,
        "old": image(before), "new": image(after)})
    .to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_is_saved_shown_and_deleted() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let token = world.token(&tenant, 7, &["script-author"]);
    let url = format!("http://{}", world.public(0));
    let access = ["--url", url.as_str(), "--token", token.as_str()];
    let ends = |arguments: &[&str]| tidewire(&[arguments, access.as_slice()].concat());
    let with = |arguments: &[&str]| done(&[arguments, access.as_slice()].concat());
    let file = sample("result-changed.rhai");
    assert_eq!(with(&["put", &file]), "created result-changed, version 1\n");
    assert_eq!(with(&["put", &file]), "replaced result-changed, version 2\n");
    let (code, _, told) = ends(&["put", &file, "--create-only"]);
    assert!(code == 1 && told.contains("409"), "{told}");
    let list = with(&["list"]);
    let row: Vec<&str> = list.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["result-changed", "Result", "changed", "enabled", "Voyage", "U", "2", "-"]);
    assert!(with(&["show", "result-changed"]).contains("let change = dlpObject.voyageResult"));

    // What is shown can be changed and put again; what is wrong with it is told with its place.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shown.json");
    let mut shown: Value =
        serde_json::from_str(&with(&["show", "result-changed", "--json"])).unwrap();
    shown["scriptBody"] = json!("let a = 1;\ndlpObject.voyageReslt > a");
    shown["alertScriptMessage"] = json!("text");
    std::fs::write(&path, shown.to_string()).unwrap();
    let (code, _, told) = ends(&["put", path.to_str().unwrap()]);
    assert_eq!(code, 1, "{told}");
    let place = "shown.json: scriptBody:2:11: unknown field 'voyageReslt'";
    assert!(told.contains(place) && told.contains("   2 | dlpObject.voyageReslt > a"), "{told}");

    assert_eq!(with(&["delete", "result-changed"]), "deleted result-changed\n");
    let (code, _, told) = ends(&["show", "result-changed"]);
    assert!(code == 1 && told.contains("404"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backtest_finds_what_would_have_fired() {
    let Some(world) = World::shared() else { return };
    let [tenant, other] = [world.tenant(), world.tenant()];
    let times = [180, 120, 60].map(ago);
    let between = ago(90);
    let lines = [
        result(1, 100_000, 50_000, &times[0]),
        result(2, 100_000, 100_001, &times[1]),
        result(3, 10_000, 70_000, &times[2]),
    ];
    let ids = world.post_lines(&tenant, &lines.join("\n")).await;
    world.post(&other, &lines[0]).await;
    let brokers = format!("kafka.brokers={}", world.bootstrap());
    let topic = format!("kafka.changes_topic={}", world.topic);
    let file = sample("result-changed.json");
    let test = |more: &[&str]| {
        let fixed =
            ["backtest", &file, "--json", "--tenant", &tenant, "--set", &brokers, "--set", &topic];
        let (code, said, told) = tidewire(&[fixed.as_slice(), more].concat());
        assert_eq!(code, 0, "{more:?}: {told}");
        let matches: Vec<Value> =
            said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (matches, told)
    };
    let (all, told) = test(&["--since", "start"]);
    let first = json!({"id": ids[0], "eventTime": times[0], "objectType": "Voyage",
        "eventType": "U", "dataloyObject": 1,
        "message": "KIT-1: result changed by -50000 to 50000"});
    let second = json!({"id": ids[2], "eventTime": times[2], "objectType": "Voyage",
        "eventType": "U", "dataloyObject": 3, "message": "KIT-1: result changed by 60000 to 70000"});
    assert_eq!(all, [first.clone(), second.clone()], "{told}");
    assert!(told.contains("would have fired 2 times in 3 runs"), "{told}");
    let (early, _) = test(&["--since", "start", "--until", &between]);
    assert_eq!(early, std::slice::from_ref(&first));
    let (late, _) = test(&["--since", &between, "--type", "Voyage"]);
    assert_eq!(late, [second]);
    let (one, told) = test(&["--since", "start", "--max-matches", "1"]);
    assert_eq!(one, [first], "{told}");
    assert!(told.contains("stopped by --max-matches 1"), "{told}");
}
