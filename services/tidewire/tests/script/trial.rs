//! `test`: nobody is asked.

use crate::{check, golden, run};

#[test]
fn a_script_is_run_over_changes() {
    check("test-fires", &["test", "result.json", "--event", "changes.json"], 0);
    // By its source it is the same.
    check("test-fires", &["test", "result.rhai", "--event", "changes.json"], 0);
    check("test-inline", &["test", "inline.json", "--event", "changes.json"], 0);
    check("test-alone", &["test", "fussy.json"], 0);
}

#[test]
fn a_change_may_come_from_standard_input() {
    let change = r#"{"objectType":"Voyage","eventType":"D","old":{"key":1,"referenceNo":"a\"b"}}"#;
    let (code, found) = run(&["test", "inline.json", "--event", "-"], change);
    golden("test-input", &found);
    assert_eq!(code, 0, "{found}");
}

#[test]
fn faults_have_their_place() {
    check("test-typo", &["test", "typo.json"], 1);
    check("test-broken", &["test", "broken.rhai"], 1);
    check("test-endless", &["test", "endless.json"], 1);
    check("test-fussy", &["test", "fussy.json", "--event", "changes.json"], 1);
    check("test-unknown-type", &["test", "unknown-type.json"], 1);
    check("test-no-json", &["test", "no-json.json"], 1);
    check("test-no-source", &["test", "nowhere.json"], 1);
}

#[test]
fn what_cannot_be_read_is_bad_usage() {
    check("test-no-file", &["test", "absent.json"], 64);
    check("test-no-image", &["test", "result.json", "--event", "no-image.json"], 64);
    let (code, found) = run(&["test"], "");
    assert_eq!(code, 64, "{found}");
}

#[test]
fn a_model_of_ones_own() {
    let model = crate::folder("../../../../model/helpdesk.toml");
    let model = model.to_str().unwrap();
    check("test-other-model", &["test", "result.json", "--model", model], 1);
}

#[test]
fn the_samples_pass() {
    let folder = crate::folder("../../../../model/scripts");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let (code, found) = run(&["test", path.to_str().unwrap()], "");
            assert_eq!(code, 0, "{found}");
            assert!(found.contains("passes its dry run"), "{found}");
            count += 1;
        }
    }
    assert_eq!(count, 7);
}

#[test]
fn a_backtest_wants_to_know_since_when() {
    let (code, found) = run(&["backtest", "result.json"], "");
    assert!(code == 64 && found.contains("--since"), "{found}");
    let (code, found) = run(&["backtest", "result.json", "--since", "yesterday"], "");
    assert!(code == 64 && found.contains("2026-09-14T13:37:26"), "{found}");
    check("backtest-type", &["backtest", "result.json", "--since", "1h", "--type", "Cargo"], 64);
    let unknown = ["backtest", "result.json", "--since", "1h", "--set", "kafka.broker=x"];
    let (code, found) = run(&unknown, "");
    assert!(code == 64 && found.contains("kafka.brokers"), "{found}");
    check(
        "backtest-typo",
        &["backtest", "typo.json", "--since", "1h", "--set", "kafka.brokers=127.0.0.1:1"],
        1,
    );
}
