//! A script of the registry: what is read and written again is the same, in the API's form and in the
//! topic's, and its message is one of its type.

use tidewire_event::Tenant;
use tidewire_script::{Outcome, Registry, Script, ScriptRecord};

pub(crate) fn run(data: &[u8]) {
    // As a record of the control topic: key and value, split at the first line feed.
    if let Some(at) = data.iter().position(|byte| *byte == b'\n') {
        let (key, value) = data.split_at(at);
        let mut registry = Registry::default();
        let _ = registry.apply(key, value.get(1..));
        let _ = registry.apply(key, None);
        assert!(registry.is_empty(), "a tombstone leaves something behind");
    }
    let Ok(record) = ScriptRecord::parse(data) else { return };
    let members = serde_json::Value::Object(record.members());
    assert_eq!(ScriptRecord::from_value(&members).as_ref(), Ok(&record));
    let Ok(tenant) = Tenant::new("t") else { return };
    let script = Script::new(tenant, 1, "author", 0, record);
    let stored = Script::parse(script.key().as_bytes(), script.value().as_bytes());
    assert_eq!(stored.as_ref(), Ok(&Some(script.clone())));
    let results = script.template().slots().map(|slot| (format!("?{slot}"), "x".to_owned()));
    let outcome = Outcome { fired: true, results: results.collect(), message: Some("x".into()) };
    if let Ok(message) = script.message(&outcome) {
        assert_eq!(script.record.message_type.check(&message), Ok(()));
    }
}
