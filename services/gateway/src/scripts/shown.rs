//! Scripts as the API shows them.

use serde_json::{Map, Value, json};
use tidewire_script::{Disabled, Found};
use tidewire_wire::frame::event_time;

use crate::shared::Shared;

/// The record, then `state`: whether it runs, and if not, since when and why.
pub(super) fn shown(shared: &Shared, found: &Found) -> Map<String, Value> {
    let mut out = found.script.to_json(shared.links.base(&found.script.tenant));
    out.insert("state".to_owned(), state(found.disabled.as_deref()));
    out
}

fn state(disabled: Option<&Disabled>) -> Value {
    let Some(Disabled { at, error }) = disabled else { return json!({"enabled": true}) };
    json!({
        "enabled": false,
        "since": event_time(at.saturating_mul(1000)).to_string(),
        "error": {
            "kind": error.kind.as_str(),
            "line": error.line,
            "column": error.column,
            "reason": error.reason,
        },
    })
}
