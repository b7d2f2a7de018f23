//! What the tests of several modules begin with.

use std::sync::Arc;

use tidewire_event::Tenant;
use tidewire_script::{Script, ScriptRecord};

/// A script over updates of voyages.
pub(crate) fn script(tenant: &str, code: &str) -> Arc<Script> {
    let json = format!(
        r#"{{"code":"{code}","name":"n","triggers":[{{"objectType":"Voyage","eventType":"U"}}],
        "scriptBody":"true","messageType":"String","alertScriptMessage":"m"}}"#
    );
    let record = ScriptRecord::parse(json.as_bytes()).unwrap();
    Arc::new(Script::new(Tenant::new(tenant).unwrap(), 1, "a", 0, record))
}
