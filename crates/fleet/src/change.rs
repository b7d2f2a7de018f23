//! One change, as its producer would send it.

use serde_json::{Value, json};
use tidewire_event::{KeyKind, ObjectKey, ObjectType, Operation, Version};

use crate::time::instant;

/// One change of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The type of the object.
    pub object_type: ObjectType,
    /// Its key: always an integer in this fleet.
    pub key: ObjectKey,
    /// What happened.
    pub operation: Operation,
    /// The whole object as it is now; `None` after a delete.
    pub new: Option<Value>,
    /// The whole object as the change before left it; `None` for a create.
    pub old: Option<Value>,
    /// Rises with every change of the fleet; the epoch names the fleet's run.
    pub version: Version,
    /// The objects above, in the old and in the new image: near ones first.
    pub owners: Vec<(ObjectType, ObjectKey)>,
    /// The key of the user who acted.
    pub changed_by: u64,
    /// When, in milliseconds since the Unix epoch.
    pub changed_at_ms: i64,
}

impl Change {
    /// An idempotency key: it names this change and no other.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}-{}", self.version.epoch, self.version.number)
    }

    /// The body of `POST /api/v1/changes`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let owners = self.owners.iter().map(
            |(object_type, key)| json!({"objectType": object_type.as_str(), "key": json_key(key)}),
        );
        json!({
            "objectType": self.object_type.as_str(),
            "key": json_key(&self.key),
            "operation": self.operation.as_str(),
            "new": self.new,
            "old": self.old,
            "version": number(self.version.number),
            "epoch": self.version.epoch,
            "owners": owners.collect::<Vec<_>>(),
            "changedBy": self.changed_by,
            "changedAt": instant(self.changed_at_ms),
            "id": self.id(),
        })
    }
}

/// A version of the fleet. Its counter stays far below 2^64.
fn number(version: u128) -> Value {
    u64::try_from(version).map_or(Value::Null, Value::from)
}

fn json_key(key: &ObjectKey) -> Value {
    match key {
        ObjectKey::Integer(number) => Value::from(*number),
        ObjectKey::Text(text) => Value::from(&**text),
    }
}

/// A key of the fleet. Its counter stays far below 2^53.
pub(crate) fn object_key(number: u64) -> ObjectKey {
    ObjectKey::parse(&number.to_string(), KeyKind::Integer).unwrap_or(ObjectKey::Integer(number))
}
