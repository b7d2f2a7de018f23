//! The record of an alert in the topic `tidewire.alerts`.
//!
//! It has the shape of a change event, so that the same router carries it to sockets: key
//! `<tenant>/DLPAlertScript/<code>`, percent-encoded like any record key; header `tw` with operation, user
//! and change id of the change that fired it, source `alerts`; timestamp = the time of that change. Body:
//! `{"alert":{"scriptCode","name","subject","messageType","message"},"change":{"id","objectType","key"},
//! "new":...,"old":...}`, the images byte for byte as the change had them.
//!
//! The change id names the record that fired: `<topic id>:<partition>-<offset>`. Whoever publishes an alert
//! a second time publishes the same id under the same key, and readers drop it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidewire_event::image::{Body, Node, NodeKind};
use tidewire_event::{
    FrameId, KeyKind, ObjectKey, ObjectType, OldImage, Operation, RecordHeader, RecordKey, Tenant,
};

use crate::Script;

/// The type in the key of an alert, and of the registry's resource.
pub const ALERT_TYPE: &str = "DLPAlertScript";
/// The source in the header of an alert.
pub const ALERT_SOURCE: &str = "alerts";

/// The record key of the alerts of a script.
#[must_use]
pub fn alert_key(tenant: &Tenant, code: &str) -> String {
    RecordKey::format(tenant.as_str(), ALERT_TYPE, code)
}

/// An alert, as it is published.
#[derive(Clone, Debug)]
pub struct AlertRecord<'a> {
    /// The script that fired.
    pub script: &'a Script,
    /// The message.
    pub message: &'a str,
    /// The id of the topic that holds the change, as text.
    pub topic_id: &'a str,
    /// Where the change stands.
    pub change: FrameId,
    /// The type of the changed object.
    pub object_type: &'a ObjectType,
    /// The key of the changed object.
    pub object_key: &'a ObjectKey,
    /// What happened to it.
    pub operation: Operation,
    /// How much of the old image the change had.
    pub old_image: OldImage,
    /// Who acted.
    pub changed_by: Option<u64>,
    /// The images; `None` for a delete without any.
    pub body: Option<&'a Body>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlertPart<'a> {
    #[serde(borrow)]
    script_code: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    subject: Cow<'a, str>,
    #[serde(borrow)]
    message_type: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

impl AlertRecord<'_> {
    /// The record's key.
    #[must_use]
    pub fn key(&self) -> String {
        alert_key(&self.script.tenant, self.script.code())
    }

    /// The text of the `tw` header.
    #[must_use]
    pub fn header(&self) -> String {
        let header = RecordHeader {
            operation: self.operation,
            version: None,
            old_image: self.old_image,
            owners: Vec::new(),
            change_id: Some(format!("{}:{}", self.topic_id, self.change).into()),
            changed_by: self.changed_by,
            source: Some(ALERT_SOURCE.into()),
        };
        header.format()
    }

    /// The record's value.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        let record = &self.script.record;
        let alert = AlertPart {
            script_code: Cow::Borrowed(&*record.code),
            name: Cow::Borrowed(&record.name),
            subject: Cow::Borrowed(&record.subject),
            message_type: Cow::Borrowed(record.message_type.as_str()),
            message: Cow::Borrowed(self.message),
        };
        let image = |image: Option<Node<'_>>, out: &mut Vec<u8>| {
            out.extend_from_slice(image.map_or(&b"null"[..], |node| node.raw()));
        };
        let mut out = Vec::with_capacity(512 + self.body.map_or(0, |body| body.bytes().len()));
        out.extend_from_slice(b"{\"alert\":");
        out.extend_from_slice(&json(&alert));
        out.extend_from_slice(b",\"change\":{\"id\":");
        out.extend_from_slice(&json(&self.change.to_string()));
        out.extend_from_slice(b",\"objectType\":");
        out.extend_from_slice(&json(&self.object_type.as_str()));
        out.extend_from_slice(b",\"key\":");
        match self.object_key {
            ObjectKey::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
            ObjectKey::Text(text) => out.extend_from_slice(&json(&&**text)),
        }
        out.extend_from_slice(b"},\"new\":");
        image(self.body.and_then(Body::new_image), &mut out);
        out.extend_from_slice(b",\"old\":");
        image(self.body.and_then(Body::old_image), &mut out);
        out.push(b'}');
        out
    }
}

/// Texts always encode.
fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec())
}

/// Why the body of a record is not that of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("'{0}' of an alert's body is missing or of the wrong kind")]
pub struct AlertError(&'static str);

/// An alert's body, read.
#[derive(Clone, Debug)]
pub struct AlertView<'a> {
    /// The member `alert` as it stands: it goes into the frame byte for byte.
    pub alert: Node<'a>,
    /// The script that fired.
    pub script_code: Cow<'a, str>,
    /// The message.
    pub message: Cow<'a, str>,
    /// The change that fired it: the `id` of the frame.
    pub change: FrameId,
    /// The type of the changed object.
    pub object_type: Cow<'a, str>,
    /// The key of the changed object.
    pub object_key: ObjectKey,
}

impl<'a> AlertView<'a> {
    /// Reads the members beside the images, which [`Body`] itself gives.
    ///
    /// # Errors
    /// [`AlertError`] names the member.
    pub fn of(body: &'a Body) -> Result<Self, AlertError> {
        let root = body.document().root();
        let object = |name: &'static str| {
            root.get(name).filter(|node| node.kind() == NodeKind::Object).ok_or(AlertError(name))
        };
        let (alert, change) = (object("alert")?, object("change")?);
        let part: AlertPart<'_> =
            serde_json::from_slice(alert.raw()).map_err(|_| AlertError("alert"))?;
        let text =
            |name: &str, what| change.get(name).and_then(Node::as_str).ok_or(AlertError(what));
        let object_type = text("objectType", "change.objectType")?;
        ObjectType::check(&object_type).map_err(|_| AlertError("change.objectType"))?;
        let key = change.get("key").ok_or(AlertError("change.key"))?;
        let object_key = key.as_key(KeyKind::Integer).or_else(|| key.as_key(KeyKind::Text));
        Ok(Self {
            alert,
            script_code: part.script_code,
            message: part.message,
            change: FrameId::parse(&text("id", "change.id")?).ok_or(AlertError("change.id"))?,
            object_type,
            object_key: object_key.ok_or(AlertError("change.key"))?,
        })
    }
}

#[cfg(test)]
mod tests;
