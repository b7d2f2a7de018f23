//! Frames as lines that a person reads.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::terminal::plain;

/// A pushed message.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) time: String,
    pub(super) object_type: String,
    pub(super) event_type: String,
    pub(super) key: String,
    /// What the field list shows, without key and link of the object itself.
    pub(super) fields: Map<String, Value>,
}

/// What a text message is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Frame {
    Event(Event),
    /// A session, a gap, a refused field list, a refusal.
    Notice {
        status: u16,
        message: String,
    },
    /// Where the socket could be resumed from (`tidewire.v1`).
    Cursor(String),
    /// It has caught up, after so many events (`tidewire.v1`).
    Live {
        cursor: String,
        replayed: u64,
    },
    /// Changes may be missing (`tidewire.v1`).
    Gap(String),
    /// The server stops; come back after so many milliseconds (`tidewire.v1`).
    GoAway(u64),
    /// Nothing that a person waits for.
    Quiet,
    /// Something this version does not know.
    Other,
}

/// Reads a frame of either mode: those of `tidewire.v1` begin with their type.
pub(super) fn read_frame(text: &str) -> Frame {
    let Ok(Value::Object(mut frame)) = serde_json::from_str(text) else { return Frame::Other };
    let word = |name: &str| frame.get(name).and_then(Value::as_str).map(str::to_owned);
    let number = |name: &str| frame.get(name).and_then(Value::as_u64).unwrap_or_default();
    let reason = || plain(&word("reason").unwrap_or_default()).into_owned();
    match (word("type").as_deref(), word("cursor")) {
        (None | Some("event" | "error"), _) => {}
        (Some("live"), Some(cursor)) => {
            return Frame::Live { cursor, replayed: number("replayed") };
        }
        (Some("subscribed" | "cursor"), Some(cursor)) => return Frame::Cursor(cursor),
        (Some("gap"), _) => return Frame::Gap(reason()),
        (Some("goaway"), _) => return Frame::GoAway(number("retryMs")),
        (Some("welcome" | "tokenExpiring" | "tokenAccepted"), _) => return Frame::Quiet,
        (Some(_), _) => return Frame::Other,
    }
    if let Some(status) = frame.get("statusCode").and_then(Value::as_u64) {
        let message = plain(&word("message").unwrap_or_default()).into_owned();
        return Frame::Notice { status: u16::try_from(status).unwrap_or(0), message };
    }
    let words = (word("id"), word("eventTime"), word("objectType"), word("eventType"));
    let (Some(id), Some(time), Some(object_type), Some(event_type)) = words else {
        return Frame::Other;
    };
    let (key, fields) = match frame.remove("dataloyObject") {
        Some(Value::Object(mut object)) => {
            let key = object.shift_remove("key").unwrap_or(Value::Null);
            object.shift_remove("self");
            (key, object)
        }
        key => (key.unwrap_or(Value::Null), Map::new()),
    };
    Frame::Event(Event { id, time, object_type, event_type, key: show(&key), fields })
}

/// A value: a string bare where it is one word, else quoted.
fn show(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let is_bare =
                |c: char| !c.is_whitespace() && !c.is_control() && !"\"=,[]{}".contains(c);
            if !text.is_empty() && text.chars().all(is_bare) {
                text.clone()
            } else {
                format!("\"{}\"", plain(text).replace('\\', "\\\\").replace('"', "\\\""))
            }
        }
        other => other.to_string(),
    }
}

/// How lines look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    colours: bool,
}

const DIM: &str = "2";
const BOLD: &str = "1";
const CYAN: &str = "36";

impl Style {
    /// Colours on a terminal, unless `NO_COLOR` is set (<https://no-color.org>) or it can show none.
    pub(super) fn for_terminal(is_terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { colours: is_terminal && !refused }
    }

    fn paint(self, out: &mut String, code: &str, text: &str) {
        // Writing to a String cannot fail.
        let _ = if self.colours {
            write!(out, "\x1b[{code}m{text}\x1b[0m")
        } else {
            write!(out, "{text}")
        };
    }

    /// `time  event  type  key  field=value ...`, the first four in columns.
    pub(super) fn line(self, event: &Event) -> String {
        let mut out = String::new();
        let time = event.time.split_once('T').map_or(event.time.as_str(), |(_, time)| time);
        self.paint(&mut out, DIM, &plain(time));
        out.push_str("  ");
        let colour = match event.event_type.as_str() {
            "C" => "32",
            "D" => "31",
            _ => "33",
        };
        self.paint(&mut out, colour, &plain(&event.event_type));
        out.push_str("  ");
        self.paint(&mut out, BOLD, &format!("{:<15}", plain(&event.object_type)));
        out.push(' ');
        self.paint(&mut out, CYAN, &format!("{:<10}", event.key));
        self.fields(&mut out, "", &event.fields);
        out.truncate(out.trim_end().len());
        out
    }

    fn fields(self, out: &mut String, path: &str, fields: &Map<String, Value>) {
        for (name, value) in fields {
            // Links and keys of nested objects help no reader.
            if !path.is_empty() && (name == "self" || name == "key") {
                continue;
            }
            self.field(out, &format!("{path}{}", plain(name)), value);
        }
    }

    fn field(self, out: &mut String, path: &str, value: &Value) {
        let inner = |value: &Value| match value {
            Value::Object(members) => members.keys().any(|name| name != "self" && name != "key"),
            _ => false,
        };
        match value {
            Value::Object(members) if inner(value) => {
                self.fields(out, &format!("{path}."), members);
            }
            Value::Array(items) if items.iter().any(inner) => {
                for (index, item) in items.iter().enumerate() {
                    self.field(out, &format!("{path}[{index}]"), item);
                }
            }
            _ => {
                out.push_str("  ");
                self.paint(out, DIM, &format!("{path}="));
                out.push_str(&reference(value).unwrap_or_else(|| show(value)));
            }
        }
    }
}

/// An object of which only key and link are shown is its key; an array of those its keys.
fn reference(value: &Value) -> Option<String> {
    match value {
        Value::Object(members) => members.get("key").map(show),
        Value::Array(items) => {
            let keys: Vec<String> =
                items.iter().map(|i| reference(i).unwrap_or_else(|| show(i))).collect();
            Some(format!("[{}]", keys.join(",")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { colours: false };

    fn message(object: &str) -> String {
        format!(
            r#"{{"id":"3-24","eventTime":"2026-09-14T13:37:26","objectType":"PortCall","eventType":"U","dataloyObject":{object},"dataloyObjectSelf":"https://x/1","subscription":{{"key":1,"self":"https://x/2"}}}}"#
        )
    }

    #[test]
    fn lines() {
        let check = |object: &str, expected: &str| {
            let Frame::Event(event) = read_frame(&message(object)) else { panic!("{object}") };
            let expected = format!("13:37:26  U  PortCall        {expected}");
            assert_eq!(PLAIN.line(&event), expected, "{object}");
        };
        check("7823672", "7823672");
        check(r#""T-7""#, "T-7");
        check(r#"{"key":7,"self":"https://x"}"#, "7");
        check(
            r#"{"key":7,"self":"s","speed":12.50,"agent":null}"#,
            "7           speed=12.50  agent=null",
        );
        check(
            r#"{"key":7,"self":"s","port":{"key":11,"self":"p","portName":"Port Said","unCode":"EGPSD"}}"#,
            r#"7           port.portName="Port Said"  port.unCode=EGPSD"#,
        );
        check(r#"{"key":7,"voyage":{"key":9,"self":"v"}}"#, "7           voyage=9");
        check(
            r#"{"key":7,"cargos":[{"key":1,"self":"a"},{"key":2,"self":"b"}]}"#,
            "7           cargos=[1,2]",
        );
        check(r#"{"key":7,"tcs":[]}"#, "7           tcs=[]");
        check(
            r#"{"key":7,"logs":[{"key":1,"event":{"eventCode":"ARR"}},{"key":2,"event":{"eventCode":"DEP"}}]}"#,
            "7           logs[0].event.eventCode=ARR  logs[1].event.eventCode=DEP",
        );
        check(
            r#"{"key":7,"big":123456789012345678901234567890.10}"#,
            "7           big=123456789012345678901234567890.10",
        );
        check(r#"{"key":7,"note":"a \"b\""}"#, r#"7           note="a \"b\"""#);
        check(r#"{"key":7,"note":""}"#, r#"7           note="""#);
    }

    #[test]
    fn nothing_commands_the_terminal() {
        let text = message(r#"{"key":"\u001b[2J","a\u009b":"x\u001b]0;t\u0007\ny"}"#);
        let Frame::Event(event) = read_frame(&text) else { panic!("{text}") };
        assert!(!PLAIN.line(&event).contains(char::is_control), "{:?}", PLAIN.line(&event));
    }

    #[test]
    fn colours_are_for_terminals() {
        let Frame::Event(event) = read_frame(&message("7")) else { panic!() };
        assert!(!PLAIN.line(&event).contains('\x1b'));
        assert!(Style { colours: true }.line(&event).contains("\x1b[33mU\x1b[0m"));
        assert!(!Style::for_terminal(false).colours);
    }

    #[test]
    fn other_frames() {
        let check = |text: &str, expected: Frame| assert_eq!(read_frame(text), expected, "{text}");
        check(r#"{"type":"subscribed","id":"0","cursor":"c"}"#, Frame::Cursor("c".into()));
        check(r#"{"type":"cursor","subs":["0"],"cursor":"d"}"#, Frame::Cursor("d".into()));
        let live = Frame::Live { cursor: "e".into(), replayed: 3 };
        check(r#"{"type":"live","id":"0","cursor":"e","replayed":3}"#, live);
        check(r#"{"type":"gap","sub":"0","reason":"retention"}"#, Frame::Gap("retention".into()));
        check(r#"{"type":"goaway","retryMs":700}"#, Frame::GoAway(700));
        check(r#"{"type":"welcome","protocol":"tidewire.v1"}"#, Frame::Quiet);
        check(r#"{"type":"later"}"#, Frame::Other);
        check(
            r#"{"type":"error","statusCode":401,"message":"Token expired."}"#,
            Frame::Notice { status: 401, message: "Token expired.".into() },
        );
        check(
            r#"{"statusCode":410,"statusText":"Gone","message":"gap","date":"2026-09-14T13:37:26"}"#,
            Frame::Notice { status: 410, message: "gap".into() },
        );
        for other in ["", "x", "[]", "{}", r#"{"id":"1-2"}"#, "\"ping\""] {
            check(other, Frame::Other);
        }
    }
}
