//! Writes a record as JSON, its members in the order of the contract.

use serde_json::{Map, Value, json};
use tidewire_event::Operation;
use tidewire_wire::definition::EventSet;

use super::{ScriptRecord, Trigger};

impl ScriptRecord {
    /// The members that the author wrote, without `key` and `self`.
    #[must_use]
    pub fn members(&self) -> Map<String, Value> {
        let triggers: Vec<Value> = self.triggers.iter().map(trigger).collect();
        let mut out = Map::new();
        for (name, value) in [
            ("name", Value::from(self.name.as_str())),
            ("code", Value::from(&*self.code)),
            ("description", Value::from(self.description.as_str())),
            ("triggers", Value::from(triggers)),
            ("scriptBody", Value::from(&*self.body)),
            ("messageSubject", Value::from(self.subject.as_str())),
            ("messageType", Value::from(self.message_type.as_str())),
            ("buildMessageInScript", Value::from(self.builds_message)),
            ("alertScriptMessage", Value::from(self.template.as_str())),
            ("language", Value::from(self.language.as_str())),
            ("role", self.role.as_deref().map_or(Value::Null, Value::from)),
        ] {
            out.insert(name.to_owned(), value);
        }
        out
    }
}

fn trigger(trigger: &Trigger) -> Value {
    json!({"objectType": trigger.object_type.as_str(), "eventType": events(trigger.events)})
}

/// The letters with commas, which is what is read again; `*` for all.
fn events(events: EventSet) -> String {
    if events == EventSet::ALL {
        return "*".to_owned();
    }
    let all = [Operation::Create, Operation::Update, Operation::Delete];
    let letters = all.into_iter().filter(|operation| events.contains(*operation));
    letters.map(Operation::as_str).collect::<Vec<_>>().join(",")
}
