//! A bad graph is refused, with a message that names the arrow.

use serde_json::{Value, json};

use super::metadata::parse;
use super::rules::judge;

/// Metadata of the crates that the rows need, with one dependency more.
fn metadata(from: &str, to: &str, kind: Value) -> Value {
    let folders = [
        ("tidewire-event", "crates/event"),
        ("tidewire-wire", "crates/wire"),
        ("tidewire-fields", "crates/fields"),
        ("tidewire-router", "crates/router"),
        ("tidewire-store", "crates/store"),
        ("tidewire-kafka", "crates/kafka"),
        ("tidewire-topic-id", "crates/topic-id"),
        ("tidewire-redis", "crates/redis"),
        ("tidewire-http", "crates/http"),
        ("tidewire-config", "crates/config"),
        ("tidewire-runtime", "crates/runtime"),
        ("tidewire-checker", "crates/checker"),
        ("tidewire-assembly", "crates/assembly"),
        ("tidewire-gateway", "services/gateway"),
        ("tidewire-capture", "services/capture"),
        ("tidewire", "services/tidewire"),
        ("tidewire-tests", "tests"),
        ("tidewire-testkit", "tests/testkit"),
        ("xtask", "xtask"),
    ];
    let packages: Vec<Value> = folders
        .iter()
        .map(|(name, folder)| {
            let any = if *name == "tidewire-checker" { "serde_json" } else { "thiserror" };
            let mut dependencies = vec![json!({"name": any, "kind": null})];
            if *name == from {
                dependencies.push(json!({"name": to, "kind": kind}));
            }
            json!({
                "name": name,
                "manifest_path": format!("/somewhere/{folder}/Cargo.toml"),
                "dependencies": dependencies,
            })
        })
        .collect();
    json!({"workspace_root": "/somewhere", "packages": packages})
}

fn problems(from: &str, to: &str, kind: Value) -> Vec<String> {
    judge(&parse(&metadata(from, to, kind)).unwrap())
}

#[test]
fn refuses_arrows_that_point_outward() {
    let rows = [
        (
            "tidewire-fields",
            "tidewire-router",
            "(ring 0) -> tidewire-router (ring 1): ring 0 may use ring 0 only",
        ),
        (
            "tidewire-wire",
            "tidewire-runtime",
            "(ring 0) -> tidewire-runtime (ring 3): ring 0 may use ring 0 only",
        ),
        ("tidewire-wire", "rand", "(ring 0) -> rand (from outside): ring 0 may use base64, "),
        ("tidewire-event", "tokio", "(ring 0) -> tokio (from outside): ring 0 may use base64, "),
        (
            "tidewire-router",
            "tidewire-kafka",
            "(ring 1) -> tidewire-kafka (ring 2): ring 1 may use rings 0 and 1 only",
        ),
        (
            "tidewire-store",
            "tidewire-config",
            "(ring 1) -> tidewire-config (ring 3): ring 1 may use rings 0 and 1 only",
        ),
        ("tidewire-router", "tokio", "(ring 1) -> tokio (from outside): ring 1 does no I/O"),
        ("tidewire-router", "mio", "(ring 1) -> mio (from outside): ring 1 does no I/O"),
        ("tidewire-router", "rdkafka", "(ring 1) -> rdkafka (from outside): only tidewire-kafka, "),
        (
            "tidewire-http",
            "tidewire-kafka",
            "(ring 2) -> tidewire-kafka (ring 2): ring 2 may use rings 0, 1 and 3, never another adapter",
        ),
        (
            "tidewire-topic-id",
            "tidewire-kafka",
            "(ring 2) -> tidewire-kafka (ring 2): ring 2 may use",
        ),
        (
            "tidewire-http",
            "tidewire-assembly",
            "(ring 2) -> tidewire-assembly (assembly): ring 2 may use",
        ),
        (
            "tidewire-http",
            "redis",
            "(ring 2) -> redis (from outside): only tidewire-redis may use it",
        ),
        (
            "tidewire-redis",
            "rdkafka",
            "(ring 2) -> rdkafka (from outside): only tidewire-kafka, tidewire-topic-id, tidewire may use it",
        ),
        (
            "tidewire-redis",
            "warp",
            "(ring 2) -> warp (from outside): only tidewire-http may use it",
        ),
        (
            "tidewire-redis",
            "hyper",
            "(ring 2) -> hyper (from outside): only tidewire-http may use it",
        ),
        (
            "tidewire-runtime",
            "tidewire-config",
            "(ring 3) -> tidewire-config (ring 3): ring 3 may use ids",
        ),
        (
            "tidewire-config",
            "tidewire-fields",
            "(ring 3) -> tidewire-fields (ring 0): ring 3 may use ids",
        ),
        (
            "tidewire-assembly",
            "tidewire-gateway",
            "(assembly) -> tidewire-gateway (a service): assembly may use all rings",
        ),
        (
            "tidewire-gateway",
            "tidewire-capture",
            "(a service) -> tidewire-capture (a service): nothing but the tidewire binary",
        ),
        (
            "tidewire-gateway",
            "tidewire",
            "(a service) -> tidewire (a service): nothing but the tidewire binary",
        ),
        (
            "tidewire-gateway",
            "rdkafka",
            "(a service) -> rdkafka (from outside): only tidewire-kafka, ",
        ),
        (
            "tidewire-kafka",
            "tidewire-gateway",
            "(ring 2) -> tidewire-gateway (a service): ring 2 may use",
        ),
        (
            "tidewire-gateway",
            "tidewire-testkit",
            "(a service) -> tidewire-testkit (tests): nothing but",
        ),
        (
            "tidewire-tests",
            "tidewire-gateway",
            "(tests) -> tidewire-gateway (a service): tests may use",
        ),
        (
            "tidewire-checker",
            "tidewire-event",
            "(the judge) -> tidewire-event (ring 0): the judge may use no crate of this project",
        ),
        (
            "tidewire-checker",
            "rand",
            "(the judge) -> rand (from outside): the judge may use serde_json only",
        ),
        (
            "tidewire-router",
            "tidewire-checker",
            "(ring 1) -> tidewire-checker (the judge): ring 1 may use rings 0 and 1 only",
        ),
        (
            "xtask",
            "tidewire-kafka",
            "(xtask) -> tidewire-kafka (ring 2): xtask may use rings 0 and 3 only",
        ),
    ];
    for (from, to, message) in rows {
        for kind in [Value::Null, json!("build")] {
            let found = problems(from, to, kind);
            assert_eq!(found.len(), 1, "{from} -> {to}: {found:?}");
            let wanted = format!("{from} {message}");
            assert!(found.iter().all(|text| text.starts_with(&wanted)), "{found:?} for {wanted}");
        }
        assert_eq!(problems(from, to, json!("dev")), [""; 0], "dev-dependencies are free");
    }
}

#[test]
fn lets_arrows_that_point_inward_be() {
    let rows = [
        ("tidewire-fields", "tidewire-event"),
        ("tidewire-wire", "serde_json"),
        ("tidewire-router", "tidewire-fields"),
        ("tidewire-router", "tidewire-store"),
        ("tidewire-store", "parking_lot"),
        ("tidewire-kafka", "tidewire-topic-id"),
        ("tidewire-kafka", "rdkafka"),
        ("tidewire-topic-id", "rdkafka"),
        ("tidewire-redis", "tidewire-store"),
        ("tidewire-redis", "redis"),
        ("tidewire-http", "tidewire-runtime"),
        ("tidewire-http", "warp"),
        ("tidewire-runtime", "tidewire-event"),
        ("tidewire-runtime", "tokio"),
        ("tidewire-assembly", "tidewire-kafka"),
        ("tidewire-gateway", "tidewire-assembly"),
        ("tidewire-gateway", "tidewire-kafka"),
        ("tidewire", "tidewire-gateway"),
        ("tidewire", "tidewire-checker"),
        ("tidewire-tests", "tidewire-checker"),
        ("tidewire", "rdkafka"),
        ("xtask", "tidewire-config"),
    ];
    for (from, to) in rows {
        assert_eq!(problems(from, to, Value::Null), [""; 0], "{from} -> {to}");
    }
}

#[test]
fn refuses_a_crate_without_a_ring() {
    let mut metadata = metadata("tidewire-gateway", "tidewire-utils", Value::Null);
    metadata["packages"].as_array_mut().unwrap().push(json!({
        "name": "tidewire-utils",
        "manifest_path": "/somewhere/crates/utils/Cargo.toml",
        "dependencies": [],
    }));
    let found = judge(&parse(&metadata).unwrap());
    assert_eq!(
        found,
        ["tidewire-utils in crates/utils has no ring: give it one in xtask/src/layers/rules.rs"]
    );
}

#[test]
fn says_what_is_wrong_with_metadata() {
    for (metadata, wanted) in [
        (json!({}), "cargo metadata lacks workspace_root"),
        (json!({"workspace_root": "/x"}), "cargo metadata lacks packages"),
        (json!({"workspace_root": "/x", "packages": [{}]}), "cargo metadata lacks name"),
        (
            json!({"workspace_root": "/x", "packages": [
                {"name": "a", "manifest_path": "/y/Cargo.toml", "dependencies": []}]}),
            "a is outside the workspace: /y/Cargo.toml",
        ),
    ] {
        let error = parse(&metadata).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), wanted);
    }
}
