//! Frames as the contract writes them.

use crate::{Change, Fields, Mode, Object, Operation, Subscription};

/// What `self` links start with.
pub(super) const BASE: &str = "https://vms.example.com";

/// Which image a message shows, and what else is odd about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looks<'a> {
    pub(super) image: Option<&'a str>,
    pub(super) operation: Operation,
    pub(super) is_main: bool,
    /// Shows one field more.
    pub(super) shows_more: bool,
    /// Shows the object although there is no field list.
    pub(super) shows_object: bool,
}

fn link(object: &Object) -> String {
    format!("{BASE}/ws/rest/{}/{}", object.kind, object.key)
}

/// The text of a message, without its subscription and the braces around it.
pub(super) fn body(
    change: &Change,
    id: &str,
    subscription: &Subscription,
    looks: Looks<'_>,
) -> String {
    let Object { kind, key } = &change.object;
    let own = link(&change.object);
    let mut object = format!(r#"{{"key":{key},"self":"{own}""#);
    let image: serde_json::Value =
        looks.image.and_then(|image| serde_json::from_str(image).ok()).unwrap_or_default();
    let mut names: Vec<&str> = match &subscription.fields {
        Fields::Plain(names) => names.iter().map(|name| &**name).collect(),
        Fields::Reference | Fields::Unchecked => vec!["seq"],
    };
    if looks.shows_more {
        names.push("secret");
    }
    for name in names {
        if let Some(value) = image.get(name).filter(|_| looks.is_main) {
            object.push_str(&format!(r#","{name}":{value}"#));
        }
    }
    object.push('}');
    let shows_object = matches!(subscription.fields, Fields::Plain(_)) || looks.shows_object;
    let shown = if shows_object { object } else { key.to_string() };
    let (time, letter) = (crate::time::event_time(change.time_ms), looks.operation.letter());
    format!(
        r#""id":"{id}","eventTime":"{time}","objectType":"{kind}","eventType":"{letter}","dataloyObject":{shown},"dataloyObjectSelf":"{own}""#
    )
}

/// The whole frame.
pub(super) fn frame(body: &str, mode: Mode, sub: &str, definition: u64, kind: &str) -> String {
    let tail = format!(
        r#""subscription":{{"key":{definition},"self":"{BASE}/ws/rest/WebSocketObjectSubscription/{definition}"}}"#
    );
    match mode {
        Mode::V1 => format!(r#"{{"type":"{kind}",{body},{tail},"sub":"{sub}"}}"#),
        Mode::Plain | Mode::Session | Mode::Sse => format!("{{{body},{tail}}}"),
    }
}

/// The documented error shape, as far as anybody reads it.
pub(super) fn notice(status: u16, message: &str) -> String {
    format!(r#"{{"statusCode":{status},"statusText":"","message":"{message}"}}"#)
}
