//! Reads a frame as its documentation describes it, and says what is wrong with it.

use serde_json::{Map, Value};

use crate::payload::{fingerprint, link_path};
use crate::{FrameId, Object, Operation};

/// The members of a message, in this order (the contract's section 2).
const MEMBERS: [&str; 7] = [
    "id",
    "eventTime",
    "objectType",
    "eventType",
    "dataloyObject",
    "dataloyObjectSelf",
    "subscription",
];
/// Above this a number cannot be told apart in JavaScript.
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// A pushed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: FrameId,
    pub(crate) object: Object,
    pub(crate) operation: Operation,
    /// See [`fingerprint`].
    pub(crate) hash: u64,
    /// The number of the subscription's definition.
    pub(crate) definition: u64,
    /// What its `self` links start with.
    pub(crate) base: String,
}

/// What a frame is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A message; in `tidewire.v1` with its subscription, and whether it belongs to a snapshot.
    Message { message: Message, sub: String, in_snapshot: bool },
    /// The documented error shape on a documented socket.
    Notice { status: u16, message: String },
    /// `subscribed`, `live`: cursors of one subscription.
    Subscribed { sub: String, cursor: Option<String> },
    /// See `Subscribed`.
    Live { sub: String, cursor: Option<String> },
    /// A cursor of these subscriptions.
    Cursor { subs: Vec<String>, cursor: String },
    /// Changes may be missing.
    Gap { sub: String },
    /// Changes were merged.
    Conflated { sub: String, count: u64 },
    /// The end of a snapshot.
    SnapshotEnd { sub: String, complete: bool },
    /// The server goes.
    GoAway { retry_ms: u64 },
    /// A refusal in `tidewire.v1`.
    Error { sub: Option<String>, status: u16, message: String },
    /// Nothing that is judged: `welcome`, `pong` and the like.
    Other,
}

/// Reads a frame of the documented mode.
pub(crate) fn read_documented(text: &str) -> Result<Frame, String> {
    let frame = object_of(text)?;
    if let Some(status) = frame.get("statusCode") {
        let status = status_of(status)?;
        return Ok(Frame::Notice { status, message: word(&frame, "message")? });
    }
    let message = message_of(frame)?;
    Ok(Frame::Message { message, sub: String::new(), in_snapshot: false })
}

/// Reads a frame of `tidewire.v1`.
pub(crate) fn read_v1(text: &str) -> Result<Frame, String> {
    let mut frame = object_of(text)?;
    if frame.keys().next().map(String::as_str) != Some("type") {
        return Err("'type' is not the first member".to_owned());
    }
    let kind = word(&frame, "type")?;
    let id = |frame: &Map<String, Value>| word(frame, "id");
    let cursor = |frame: &Map<String, Value>| frame.get("cursor").and_then(text_of);
    Ok(match kind.as_str() {
        "event" => message_v1(frame, false)?,
        "snapshot" if frame.contains_key("complete") => {
            let complete = frame.get("complete").and_then(Value::as_bool);
            let complete = complete.ok_or("'complete' is no boolean")?;
            Frame::SnapshotEnd { sub: word(&frame, "sub")?, complete }
        }
        "snapshot" => message_v1(frame, true)?,
        "subscribed" => Frame::Subscribed { sub: id(&frame)?, cursor: cursor(&frame) },
        "live" => Frame::Live { sub: id(&frame)?, cursor: cursor(&frame) },
        "cursor" => {
            let Some(Value::Array(subs)) = frame.shift_remove("subs") else {
                return Err("'subs' is no array".to_owned());
            };
            let subs: Option<Vec<String>> = subs.iter().map(text_of).collect();
            let subs = subs.ok_or("'subs' holds more than names")?;
            Frame::Cursor { subs, cursor: word(&frame, "cursor")? }
        }
        "gap" => Frame::Gap { sub: word(&frame, "sub")? },
        "conflated" => {
            let count = frame.get("n").and_then(Value::as_u64).ok_or("'n' is no count")?;
            Frame::Conflated { sub: word(&frame, "sub")?, count }
        }
        "goaway" => {
            let retry_ms = frame.get("retryMs").and_then(Value::as_u64);
            Frame::GoAway { retry_ms: retry_ms.unwrap_or_default() }
        }
        "error" => Frame::Error {
            sub: frame.get("sub").and_then(text_of),
            status: frame.get("statusCode").map_or(Ok(0), status_of)?,
            message: frame.get("message").and_then(text_of).unwrap_or_default(),
        },
        _ => Frame::Other,
    })
}

fn object_of(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(frame)) => Ok(frame),
        Ok(_) => Err("no JSON object".to_owned()),
        Err(error) => Err(format!("no JSON: {error}")),
    }
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn word(frame: &Map<String, Value>, name: &str) -> Result<String, String> {
    frame.get(name).and_then(text_of).ok_or_else(|| format!("'{name}' is no text"))
}

fn status_of(value: &Value) -> Result<u16, String> {
    let status = value.as_u64().and_then(|status| u16::try_from(status).ok());
    status.ok_or_else(|| "'statusCode' is no status".to_owned())
}

/// `type`, the seven members, perhaps `changed`, and `sub` at the end.
fn message_v1(mut frame: Map<String, Value>, in_snapshot: bool) -> Result<Frame, String> {
    if frame.keys().next_back().map(String::as_str) != Some("sub") {
        return Err("'sub' is not the last member".to_owned());
    }
    let sub = word(&frame, "sub")?;
    for extra in ["type", "sub", "changed"] {
        frame.shift_remove(extra);
    }
    Ok(Frame::Message { message: message_of(frame)?, sub, in_snapshot })
}

fn message_of(mut frame: Map<String, Value>) -> Result<Message, String> {
    if !frame.keys().map(String::as_str).eq(MEMBERS) {
        let names: Vec<&str> = frame.keys().map(String::as_str).collect();
        return Err(format!("the members are {}", names.join(", ")));
    }
    let id_text = word(&frame, "id")?;
    let id = FrameId::parse(&id_text).ok_or_else(|| format!("'{id_text}' is no id"))?;
    let kind = word(&frame, "objectType")?;
    let letter = word(&frame, "eventType")?;
    let operation =
        Operation::of_letter(&letter).ok_or_else(|| format!("'{letter}' is no event type"))?;
    let value = frame.shift_remove("dataloyObject").unwrap_or_default();
    let key = match &value {
        Value::Object(object) => object.get("key").cloned().unwrap_or_default(),
        key => key.clone(),
    };
    if !(key.is_number() || key.is_string()) {
        return Err("the object has no key".to_owned());
    }
    let key = key.to_string();
    let link = word(&frame, "dataloyObjectSelf")?;
    let base = link.strip_suffix(&link_path(&kind, &key));
    let base = base.ok_or_else(|| format!("'{link}' is not the link of {kind} {key}"))?.to_owned();
    let definition = definition_of(&frame, &base)?;
    let time = word(&frame, "eventTime")?;
    let hash = fingerprint(&id_text, &time, &kind, &letter, &value.to_string());
    Ok(Message { id, object: Object::new(&kind, &key), operation, hash, definition, base })
}

/// `{"key":n,"self":"<base>/ws/rest/WebSocketObjectSubscription/<n>"}`
fn definition_of(frame: &Map<String, Value>, base: &str) -> Result<u64, String> {
    let Some(Value::Object(subscription)) = frame.get("subscription") else {
        return Err("'subscription' is no object".to_owned());
    };
    let number = subscription.get("key").and_then(Value::as_u64);
    let number = number.filter(|number| *number <= NUMBER_MAX);
    let number = number.ok_or("the subscription's key is no integer below 2^53")?;
    let link = format!("{base}{}", link_path("WebSocketObjectSubscription", &number.to_string()));
    let names = subscription.keys().map(String::as_str);
    if !names.eq(["key", "self"]) || word(subscription, "self")? != link {
        return Err("'subscription' is not key and link".to_owned());
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"id":"3-7","eventTime":"2026-09-14T13:37:26","objectType":"PortCall","eventType":"U","dataloyObject":5,"dataloyObjectSelf":"https://x/ws/rest/PortCall/5","subscription":{"key":9,"self":"https://x/ws/rest/WebSocketObjectSubscription/9"}}"#;

    fn message(frame: Frame) -> Message {
        match frame {
            Frame::Message { message, .. } => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_is_read() {
        let read = message(read_documented(GOOD).unwrap());
        assert_eq!(read.id, FrameId::parse("3-7").unwrap());
        assert_eq!(read.object, Object::numbered("PortCall", 5));
        assert_eq!((read.operation, read.definition), (Operation::Update, 9));
        assert_eq!(read.base, "https://x");
        let body = GOOD.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
        for (kind, in_snapshot) in [("event", false), ("snapshot", true)] {
            let text = format!("{{\"type\":\"{kind}\",{body},\"sub\":\"a\"}}");
            let expected =
                Frame::Message { message: read.clone(), sub: "a".to_owned(), in_snapshot };
            assert_eq!(read_v1(&text), Ok(expected), "{text}");
        }
        // White space does not count, digits do.
        let spaced = GOOD.replace("\":", "\" : ");
        assert_eq!(message(read_documented(&spaced).unwrap()), read);
        let object = |json: &str| {
            let text = GOOD.replace("\"dataloyObject\":5", &format!("\"dataloyObject\":{json}"));
            message(read_documented(&text).unwrap()).hash
        };
        assert_eq!(object(r#"{"key":5,"a":1.50}"#), object(r#"{"key": 5, "a": 1.50}"#));
        assert_ne!(object(r#"{"key":5,"a":1.50}"#), object(r#"{"key":5,"a":1.5}"#));
    }

    #[test]
    fn what_is_wrong_with_a_message() {
        let check = |from: &str, to: &str, expected: &str| {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let error = read_documented(&text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("3-7", "3-07", "is no id");
        check("\"U\"", "\"u\"", "is no event type");
        check("\"dataloyObject\":5", "\"dataloyObject\":{\"self\":\"x\"}", "has no key");
        check("\"dataloyObject\":5", "\"dataloyObject\":6", "is not the link of PortCall 6");
        check("\"id\":\"3-7\",", "", "the members are eventTime");
        check("\"key\":9", "\"key\":9007199254740992", "below 2^53");
        check("Subscription/9", "Subscription/8", "not key and link");
        check("{", "[", "no JSON");
        check("\"eventTime\":", "\"time\":", "the members are id, time");
    }

    #[test]
    fn other_frames() {
        let check = |text: &str, expected: Result<Frame, &str>| {
            assert_eq!(read_v1(text), expected.map_err(str::to_owned), "{text}");
        };
        let (sub, cursor) = (|| "a".to_owned(), || "x".to_owned());
        check(
            r#"{"type":"subscribed","id":"a","cursor":"x"}"#,
            Ok(Frame::Subscribed { sub: sub(), cursor: Some(cursor()) }),
        );
        check(
            r#"{"type":"live","id":"a","cursor":"x","replayed":3}"#,
            Ok(Frame::Live { sub: sub(), cursor: Some(cursor()) }),
        );
        check(
            r#"{"type":"cursor","subs":["a"],"cursor":"x"}"#,
            Ok(Frame::Cursor { subs: vec![sub()], cursor: cursor() }),
        );
        check(r#"{"type":"gap","sub":"a","reason":"retention"}"#, Ok(Frame::Gap { sub: sub() }));
        check(
            r#"{"type":"conflated","sub":"a","n":3}"#,
            Ok(Frame::Conflated { sub: sub(), count: 3 }),
        );
        check(
            r#"{"type":"snapshot","sub":"a","complete":false,"objects":2}"#,
            Ok(Frame::SnapshotEnd { sub: sub(), complete: false }),
        );
        check(r#"{"type":"goaway","retryMs":20}"#, Ok(Frame::GoAway { retry_ms: 20 }));
        check(
            r#"{"type":"error","sub":"a","statusCode":400,"message":"x"}"#,
            Ok(Frame::Error { sub: Some(sub()), status: 400, message: cursor() }),
        );
        check(r#"{"type":"pong"}"#, Ok(Frame::Other));
        check(r#"{"id":"a","type":"subscribed"}"#, Err("'type' is not the first member"));
        check(r#"{"type":"cursor","subs":"a","cursor":"x"}"#, Err("'subs' is no array"));
        check(r#"{"type":"gap"}"#, Err("'sub' is no text"));
        check("[]", Err("no JSON object"));
        let notice = r#"{"statusCode":410,"statusText":"Gone","message":"gap"}"#;
        let expected = Frame::Notice { status: 410, message: "gap".to_owned() };
        assert_eq!(read_documented(notice), Ok(expected));
    }
}
