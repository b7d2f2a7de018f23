//! The pushed message (documented for webhooks; these seven members in this order are ours).
//!
//! A message is a *body*, the same for every socket with one field list and one permission class, and a
//! *suffix*, the same for every socket of one definition. What differs per definition comes last, so
//! that one encoded body serves them all: body + suffix is the whole message, byte for byte.

mod time;

use tidewire_event::{FrameId, ObjectKey, Operation, percent_encode};

use crate::json::{push_i64, push_string, push_text, push_u64};

pub use time::{event_time, push_event_time};

/// Where the VMS keeps its objects, below the base of `self` links.
const REST_PATH: &str = "/ws/rest/";
/// The type that a subscription's `self` link names.
const SUBSCRIPTION_TYPE: &str = "WebSocketObjectSubscription";
/// The type that the `self` link of a subscription to alerts names.
const ALERT_SUBSCRIPTION_TYPE: &str = "WebSocketAlertScript";

/// What stands as `dataloyObject`.
#[derive(Clone, Copy, Debug)]
pub enum ObjectValue<'a> {
    /// The reference: a number or a string.
    Key(&'a ObjectKey),
    /// The object with the fields of a list; bytes of one JSON value, taken as they are.
    Json(&'a [u8]),
}

/// The part of a message that its definition does not touch.
#[derive(Clone, Copy, Debug)]
pub struct EventBody<'a> {
    /// Partition and offset of the record.
    pub id: FrameId,
    /// The record's timestamp: milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// The type of the object that the message names.
    pub object_type: &'a str,
    /// What happened to it.
    pub event: Operation,
    /// What stands as `dataloyObject`.
    pub object: ObjectValue<'a>,
    /// The object's key, for the `self` link.
    pub key: &'a ObjectKey,
    /// The base of `self` links, without a slash at its end.
    pub self_base: &'a str,
}

impl EventBody<'_> {
    /// Appends the body: an open JSON object, up to and including `dataloyObjectSelf`.
    /// [`subscription_suffix`] closes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":\"");
        push_i64(out, i64::from(self.id.partition.0));
        out.push(b'-');
        push_i64(out, self.id.offset.0);
        out.extend_from_slice(b"\",\"eventTime\":\"");
        push_event_time(out, self.time_ms);
        out.extend_from_slice(b"\",\"objectType\":\"");
        push_text(out, self.object_type);
        out.extend_from_slice(b"\",\"eventType\":\"");
        out.extend_from_slice(self.event.as_str().as_bytes());
        out.extend_from_slice(b"\",\"dataloyObject\":");
        match self.object {
            ObjectValue::Key(key) => push_key(out, key),
            ObjectValue::Json(json) => out.extend_from_slice(json),
        }
        out.extend_from_slice(b",\"dataloyObjectSelf\":");
        object_self(out, self.self_base, self.object_type, self.key);
    }
}

/// What closes the body of an event: the subscription's definition number and its `self` link.
#[must_use]
pub fn subscription_suffix(definition_number: u64, self_base: &str) -> Vec<u8> {
    suffix(SUBSCRIPTION_TYPE, definition_number, self_base)
}

/// The same for a subscription to the alerts of a script.
#[must_use]
pub fn alert_suffix(definition_number: u64, self_base: &str) -> Vec<u8> {
    suffix(ALERT_SUBSCRIPTION_TYPE, definition_number, self_base)
}

/// Appends the member `alert` to a body; `alert` is the bytes of one JSON object, taken as they are.
pub fn push_alert(out: &mut Vec<u8>, alert: &[u8]) {
    out.extend_from_slice(b",\"alert\":");
    out.extend_from_slice(alert);
}

fn suffix(resource: &str, definition_number: u64, self_base: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(self_base.len() + 100);
    out.extend_from_slice(b",\"subscription\":{\"key\":");
    push_u64(&mut out, definition_number);
    out.extend_from_slice(b",\"self\":");
    object_self(&mut out, self_base, resource, &ObjectKey::Integer(definition_number));
    out.extend_from_slice(b"}}");
    out
}

/// Appends a key as a JSON value: an integer as a number, a text as a string.
pub fn push_key(out: &mut Vec<u8>, key: &ObjectKey) {
    match key {
        ObjectKey::Integer(number) => push_u64(out, *number),
        ObjectKey::Text(text) => push_string(out, text),
    }
}

/// Appends an object's `self` link as a JSON string with its quotes.
pub fn object_self(out: &mut Vec<u8>, self_base: &str, object_type: &str, key: &ObjectKey) {
    out.push(b'"');
    match key {
        ObjectKey::Integer(number) => {
            push_type_url(out, self_base, object_type);
            push_u64(out, *number);
        }
        ObjectKey::Text(text) => write_self_url(out, self_base, object_type, text),
    }
    out.push(b'"');
}

/// Appends the URL of an object, `<self_base>/ws/rest/<type>/<key>`, as the inside of a JSON string:
/// the key (its plain text) is percent-encoded here. For the `self` links of nested objects, too.
pub fn write_self_url(out: &mut Vec<u8>, self_base: &str, object_type: &str, key_text: &str) {
    push_type_url(out, self_base, object_type);
    out.extend_from_slice(percent_encode(key_text).as_bytes());
}

fn push_type_url(out: &mut Vec<u8>, self_base: &str, object_type: &str) {
    push_text(out, self_base);
    out.extend_from_slice(REST_PATH.as_bytes());
    push_text(out, object_type);
    out.push(b'/');
}
