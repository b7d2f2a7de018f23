//! The fleet from outside: what its changes promise to whoever reads them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::HashMap;

use serde_json::Value;
use tidewire_event::{ObjectKey, ObjectType, Operation, Tenant};
use tidewire_fleet::{Change, Fleet};

const START_MS: i64 = 1_789_393_046_000;

fn fleet(seed: u64, tenant: &str) -> Fleet {
    Fleet::new(seed, START_MS, &Tenant::new(tenant).unwrap())
}

fn run(seed: u64, tenant: &str, count: i64) -> Vec<Change> {
    let mut fleet = fleet(seed, tenant);
    (0..count).map(|n| fleet.next(START_MS + n * 250)).collect()
}

#[test]
fn same_seed_gives_the_same_sequence() {
    let (one, two) = (run(7, "demo", 3_000), run(7, "demo", 3_000));
    assert_eq!(one, two);
    assert_ne!(one, run(8, "demo", 3_000), "another seed is another fleet");
    assert_ne!(one, run(7, "acme", 3_000), "another tenant is another fleet");
}

#[test]
fn every_old_image_is_what_was_told_before() {
    for seed in 0..5 {
        let mut images: HashMap<(ObjectType, ObjectKey), Value> = HashMap::new();
        let mut last = 0;
        for change in run(seed, "demo", 20_000) {
            let id = (change.object_type.clone(), change.key.clone());
            let before = images.remove(&id);
            assert_eq!(change.old, before, "seed {seed}: {change:?}");
            assert_eq!(before.is_some(), change.operation != Operation::Create);
            assert_eq!(change.new.is_some(), change.operation != Operation::Delete);
            for image in change.new.iter().chain(&change.old) {
                assert_eq!(image["key"].to_string(), change.key.to_string());
            }
            for owner in &change.owners {
                assert!(images.contains_key(owner), "seed {seed}: owner {owner:?} of {change:?}");
            }
            assert!(change.version.number > last, "versions rise");
            last = change.version.number;
            if let Some(new) = change.new {
                images.insert(id, new);
            }
        }
    }
}

#[test]
fn the_world_stays_bounded_and_everything_happens() {
    let mut fleet = fleet(3, "demo");
    let mut seen: HashMap<String, usize> = HashMap::new();
    let (mut most, mut moved, mut jumps) = (0, 0, 0);
    for n in 0..100_000 {
        let change = fleet.next(START_MS + n);
        most = most.max(fleet.objects());
        let name = format!("{}{}", change.object_type, change.operation);
        *seen.entry(name).or_default() += 1;
        let (Some(new), Some(old)) = (&change.new, &change.old) else { continue };
        match change.object_type.as_str() {
            "PortCall" if new["voyage"]["key"] != old["voyage"]["key"] => {
                moved += 1;
                let voyages = change.owners.iter().filter(|owner| owner.0.as_str() == "Voyage");
                assert_eq!(voyages.count(), 2, "a moved port call names both voyages");
            }
            "Voyage" => {
                let result = |image: &Value| {
                    image["voyageResult"].to_string().replace('.', "").parse::<i64>().unwrap()
                };
                jumps += usize::from((result(new) - result(old)).abs() > 2_000_000);
            }
            _ => {}
        }
    }
    assert!(most < 2_000, "{most} objects");
    assert!(moved > 100 && jumps > 200, "{moved} calls moved, {jumps} results jumped");
    for object_type in [
        "VoyageHeader",
        "Voyage",
        "PortCall",
        "Cargo",
        "CargoPort",
        "BunkerOrder",
        "BunkerOrderLine",
        "Document",
        "EventLog",
        "DocumentLine",
    ] {
        let updates = object_type != "DocumentLine";
        for operation in ["C", "U", "D"] {
            let count = seen.get(&format!("{object_type}{operation}")).copied().unwrap_or(0);
            assert!(count > 0 || (operation == "U" && !updates), "{object_type} {operation}");
        }
    }
}

#[test]
fn a_ship_arrives_berths_and_departs() {
    let mut told: HashMap<String, Vec<(String, String)>> = HashMap::new();
    for change in run(11, "demo", 30_000) {
        let (Some(new), "PortCall") = (&change.new, change.object_type.as_str()) else { continue };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let logs = new["eventLogs"].as_array().unwrap();
        let dates: Vec<String> = logs.iter().map(|log| text(&log["eventLogDate"])).collect();
        assert!(dates.is_sorted(), "{dates:?}");
        let facts: Vec<(String, String)> = logs
            .iter()
            .filter(|log| log["isDateFixed"] == true)
            .map(|log| (text(&log["event"]["eventCode"]), text(&log["eventLogDate"])))
            .collect();
        assert!(facts.iter().zip(["ARR", "BRT", "DEP"]).all(|(fact, code)| fact.0 == code));
        let before = told.insert(change.key.to_string(), facts.clone()).unwrap_or_default();
        assert!(facts.starts_with(&before), "a fact stays: {before:?} then {facts:?}");
    }
    assert!(told.values().filter(|facts| facts.len() == 3).count() > 50);
}

#[test]
fn the_body_of_a_post_has_the_members_of_the_contract() {
    let body = fleet(1, "demo").next(START_MS + 7).to_json();
    let members: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "objectType",
        "key",
        "operation",
        "new",
        "old",
        "version",
        "epoch",
        "owners",
        "changedBy",
        "changedAt",
        "id",
    ];
    assert_eq!(members, expected);
    assert_eq!(body["changedAt"], "2026-09-14T13:37:26.007Z");
}
