use serde_json::json;

use super::*;
use crate::ScriptRecord;
use crate::stored::tests::{script, state};

fn tenant(name: &str) -> Tenant {
    Tenant::new(name).unwrap()
}

fn save(registry: &mut Registry, script: &Script) -> Applied {
    registry.apply(script.key().as_bytes(), Some(script.value().as_bytes())).unwrap()
}

fn disable(registry: &mut Registry, state: &ScriptState) -> Applied {
    registry.apply(state.key().as_bytes(), Some(state.value().as_bytes())).unwrap()
}

fn triggered(registry: &Registry, tenant: &str, operation: Operation) -> Vec<String> {
    let scripts = registry.triggered(tenant, "Voyage", operation);
    scripts.iter().map(|script| format!("{}@{}", script.code(), script.version)).collect()
}

fn with_triggers(code: &str, triggers: &[(&str, &str)]) -> Script {
    let triggers: Vec<_> = triggers
        .iter()
        .map(
            |(object_type, event_type)| json!({"objectType": object_type, "eventType": event_type}),
        )
        .collect();
    let record = json!({"name": "n", "code": code, "triggers": triggers, "scriptBody": "true",
        "alertScriptMessage": "text"});
    Script::new(tenant("acme"), 1, "7", 0, ScriptRecord::from_value(&record).unwrap())
}

#[test]
fn scripts_come_and_go() {
    let mut registry = Registry::default();
    let one = script("acme", "a", 1);
    assert_eq!(save(&mut registry, &one), Applied::Saved(Arc::new(one.clone())));
    assert_eq!(save(&mut registry, &one), Applied::Nothing);
    let two = script("acme", "a", 2);
    assert_eq!(save(&mut registry, &two), Applied::Saved(Arc::new(two.clone())));
    assert_eq!(triggered(&registry, "acme", Operation::Update), ["a@2"]);
    // The last record of a key counts: compaction keeps that one.
    assert_eq!(save(&mut registry, &one), Applied::Saved(Arc::new(one.clone())));
    assert_eq!(triggered(&registry, "acme", Operation::Update), ["a@1"]);
    assert_eq!(registry.len(), 1);
    let found = registry.get(&tenant("acme"), "a").unwrap();
    assert_eq!((found.script.version, found.disabled), (1, None));
    assert_eq!(registry.by_number(&tenant("acme"), one.number()).unwrap().script.code(), "a");
    assert!(registry.by_number(&tenant("acme"), 1).is_none());
    let deleted = registry.apply(one.key().as_bytes(), None).unwrap();
    assert_eq!(deleted, Applied::Deleted(tenant("acme"), Arc::from("a")));
    assert_eq!(registry.apply(one.key().as_bytes(), None).unwrap(), Applied::Nothing);
    assert!(registry.is_empty() && registry.tenants.is_empty());
    assert_eq!(triggered(&registry, "acme", Operation::Update), [] as [String; 0]);
}

#[test]
fn tenants_know_nothing_of_each_other() {
    let mut registry = Registry::default();
    save(&mut registry, &script("acme", "a", 1));
    save(&mut registry, &script("other", "a", 5));
    save(&mut registry, &script("other", "b", 1));
    assert_eq!(triggered(&registry, "acme", Operation::Update), ["a@1"]);
    assert_eq!(triggered(&registry, "other", Operation::Update), ["a@5", "b@1"]);
    assert_eq!(triggered(&registry, "nobody", Operation::Update), [] as [String; 0]);
    assert_eq!(registry.get(&tenant("acme"), "b"), None);
    assert_eq!(registry.of_tenant(&tenant("acme")).count(), 1);
    assert_eq!(registry.of_tenant(&tenant("other")).count(), 2);
    registry.apply(Script::key_of(&tenant("other"), "a").as_bytes(), None).unwrap();
    assert_eq!(triggered(&registry, "acme", Operation::Update), ["a@1"]);
}

#[test]
fn triggers_choose_in_the_order_of_codes() {
    let mut registry = Registry::default();
    save(&mut registry, &with_triggers("c", &[("Voyage", "*")]));
    save(&mut registry, &with_triggers("a", &[("Voyage", "C"), ("Voyage", "C,U")]));
    save(&mut registry, &with_triggers("b", &[("PortCall", "U"), ("Voyage", "D")]));
    save(&mut registry, &with_triggers("B", &[("Voyage", "U")]));
    assert_eq!(triggered(&registry, "acme", Operation::Create), ["a@1", "c@1"]);
    assert_eq!(triggered(&registry, "acme", Operation::Update), ["B@1", "a@1", "c@1"]);
    assert_eq!(triggered(&registry, "acme", Operation::Delete), ["b@1", "c@1"]);
    assert_eq!(registry.triggered("acme", "PortCall", Operation::Update).len(), 1);
    assert_eq!(registry.triggered("acme", "PortCall", Operation::Create).len(), 0);
    assert_eq!(registry.triggered("acme", "Cargo", Operation::Update).len(), 0);
    // Saved with other triggers, it leaves the former.
    save(&mut registry, &with_triggers("c", &[("Cargo", "U")]));
    assert_eq!(triggered(&registry, "acme", Operation::Update), ["B@1", "a@1"]);
    assert_eq!(registry.triggered("acme", "Cargo", Operation::Update).len(), 1);
    for code in ["a", "b", "B", "c"] {
        registry.apply(Script::key_of(&tenant("acme"), code).as_bytes(), None).unwrap();
    }
    assert!(registry.tenants.is_empty());
}

#[test]
fn a_state_disables_its_version_only() {
    let mut registry = Registry::default();
    save(&mut registry, &script("acme", "a", 1));
    save(&mut registry, &script("acme", "b", 1));
    let state_of = |version| state("acme", "a", version);
    let disabled = Arc::new(state_of(1).disabled);
    let script_a = registry.get(&tenant("acme"), "a").unwrap().script;
    assert_eq!(
        disable(&mut registry, &state_of(1)),
        Applied::Disabled(Arc::clone(&script_a), Arc::clone(&disabled))
    );
    assert_eq!(disable(&mut registry, &state_of(1)), Applied::Nothing);
    assert_eq!(triggered(&registry, "acme", Operation::Update), ["b@1"]);
    assert_eq!(registry.get(&tenant("acme"), "a").unwrap().disabled, Some(disabled));
    // A new version runs.
    save(&mut registry, &script("acme", "a", 2));
    assert_eq!(triggered(&registry, "acme", Operation::Update), ["a@2", "b@1"]);
    // Whoever disables late disables what is gone.
    assert_eq!(disable(&mut registry, &state_of(1)), Applied::Nothing);
    assert_eq!(triggered(&registry, "acme", Operation::Update), ["a@2", "b@1"]);
    disable(&mut registry, &state_of(2));
    assert_eq!(triggered(&registry, "acme", Operation::Update), ["b@1"]);
    // A tombstone enables it again.
    let key = ScriptState::key_of(&tenant("acme"), "a");
    assert!(matches!(registry.apply(key.as_bytes(), None).unwrap(), Applied::Enabled(_)));
    assert_eq!(triggered(&registry, "acme", Operation::Update), ["a@2", "b@1"]);
    assert_eq!(registry.apply(key.as_bytes(), None).unwrap(), Applied::Nothing);
}

#[test]
fn script_and_state_may_come_in_either_order() {
    let mut registry = Registry::default();
    assert_eq!(disable(&mut registry, &state("acme", "a", 1)), Applied::Nothing);
    assert_eq!(registry.len(), 0);
    save(&mut registry, &script("acme", "a", 1));
    assert_eq!(triggered(&registry, "acme", Operation::Update), [] as [String; 0]);
    assert!(registry.get(&tenant("acme"), "a").unwrap().disabled.is_some());
}

#[test]
fn what_is_not_read_changes_nothing() {
    let mut registry = Registry::default();
    save(&mut registry, &script("acme", "a", 1));
    assert!(registry.apply(b"acme/script/a", Some(b"{}")).is_err());
    assert!(registry.apply(b"acme/script", None).is_err());
    assert_eq!(registry.apply(b"acme/kick/token/a/1", Some(b"{}")), Ok(Applied::Other));
    assert_eq!(registry.apply(b"acme/kick/token/a/1", None), Ok(Applied::Other));
    assert_eq!(triggered(&registry, "acme", Operation::Update), ["a@1"]);
    assert!(registry.apply(b"other/script/a", Some(b"{}")).is_err());
    assert_eq!(registry.tenants.len(), 1, "a tenant without scripts is not kept");
}
