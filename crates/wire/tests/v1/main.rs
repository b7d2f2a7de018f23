//! Messages of `tidewire.v1` clients: what is read, what is refused and with which words.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap as tests do")]

mod definitions;
mod refusals;

use tidewire_event::ObjectKey;
use tidewire_wire::v1::{ClientMessage, Keys, OnSlow, Start, SubscribeRequest, parse};

/// A message in few words; a refusal as `sub status: text`.
fn read(text: &str) -> Result<String, String> {
    let message = parse(text).map_err(|error| {
        let sub = error.sub.unwrap_or_else(|| "-".to_owned());
        format!("{sub} {}", error.refusal)
    })?;
    Ok(match message {
        ClientMessage::Subscribe(request) => subscribe(&request),
        ClientMessage::Unsubscribe { id } => format!("unsubscribe {id}"),
        ClientMessage::Fields { id, fields } => format!("fields {id} {fields}"),
        ClientMessage::Token { token } => format!("token {}", token.expose()),
        ClientMessage::Await { id } => format!("await {id}"),
        ClientMessage::Ping => "ping".to_owned(),
    })
}

fn subscribe(request: &SubscribeRequest) -> String {
    let mut out = format!("{} {} {}", request.id, request.object_type, request.events);
    match &request.keys {
        Keys::All => out.push_str(" *"),
        Keys::Named(keys) => {
            for key in keys {
                match key {
                    ObjectKey::Integer(number) => out.push_str(&format!(" {number}")),
                    ObjectKey::Text(text) => out.push_str(&format!(" {text:?}")),
                }
            }
        }
    }
    for (name, text) in [("fields", &request.fields), ("filter", &request.filter)] {
        if let Some(text) = text {
            out.push_str(&format!(" {name}={text}"));
        }
    }
    let flags = [
        ("main", request.only_main_object),
        ("still", !request.live_references),
        ("snapshot", request.snapshot),
        ("conflate", request.on_slow == OnSlow::Conflate),
    ];
    for (name, _) in flags.into_iter().filter(|(_, on)| *on) {
        out = out + " " + name;
    }
    if let Start::Cursor(cursor) = &request.from {
        out = out + " from=" + cursor;
    }
    out
}

fn check(text: &str, expected: &str) {
    assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
}

fn refuse(text: &str, expected: &str) {
    assert_eq!(read(text).as_ref().map_err(String::as_str), Err(expected), "{text}");
}

/// A `subscribe` with these members more.
fn with(members: &str) -> String {
    format!(r#"{{"type":"subscribe","id":"a","objectType":"Voyage",{members}}}"#)
}

#[test]
fn messages() {
    check(r#"{"type":"subscribe","id":"a","objectType":"Voyage"}"#, "a Voyage CUD *");
    check(
        r#" { "objectType" : "*" , "id" : "A-z_0.9" , "type" : "subscribe" } "#,
        "A-z_0.9 * CUD *",
    );
    check(r#"{"type":"unsubscribe","id":"a"}"#, "unsubscribe a");
    check(r#"{"type":"fields","id":"a","fields":{"b":"*"}}"#, r#"fields a {"b":"*"}"#);
    check(r#"{"type":"fields","id":"a","fields": { "b" : 1 } }"#, r#"fields a { "b" : 1 }"#);
    check(r#"{"type":"fields","id":"a","fields":17}"#, "fields a 17");
    check(r#"{"type":"token","token":"a.b-c_d~e"}"#, "token a.b-c_d~e");
    check(r#"{"type":"await","id":"3-244070007"}"#, "await 3-244070007");
    check(r#"{"type":"await","id":"0-0"}"#, "await 0-0");
    check(r#"{"type":"ping"}"#, "ping");
    check(r#"{"\u0074ype":"\u0070ing"}"#, "ping");
    check(&format!(r#"{{"type":"unsubscribe","id":"{}"}}"#, "x".repeat(64)), &{
        format!("unsubscribe {}", "x".repeat(64))
    });
}

#[test]
fn members_of_subscribe() {
    let check = |members: &str, expected: &str| check(&with(members), expected);
    for events in [r#""*""#, r#""C,U,D""#, r#"["C","U","D"]"#, r#"["create","Update","DELETE"]"#] {
        check(&format!(r#""events":{events}"#), "a Voyage CUD *");
    }
    check(r#""events":"u""#, "a Voyage U *");
    check(r#""events":["D"]"#, "a Voyage D *");
    check(r#""events":["D","C","d"]"#, "a Voyage CD *");
    check(r#""keys":"*""#, "a Voyage CUD *");
    check(r#""keys":7"#, "a Voyage CUD 7");
    check(r#""keys":"seven""#, r#"a Voyage CUD "seven""#);
    check(r#""keys":"a,b""#, r#"a Voyage CUD "a,b""#);
    check(r#""keys":"7""#, r#"a Voyage CUD "7""#);
    check(r#""keys":[0, 9007199254740991]"#, "a Voyage CUD 0 9007199254740991");
    check(r#""keys":["a","\u00e9\"",1]"#, r#"a Voyage CUD "a" "é\"" 1"#);
    check(
        r#""fields":{"port":{"portName":"*"}}"#,
        r#"a Voyage CUD * fields={"port":{"portName":"*"}}"#,
    );
    check(r#""filter":"a = \"b\"""#, r#"a Voyage CUD * filter=a = "b""#);
    check(r#""onlyMainObject":true"#, "a Voyage CUD * main");
    check(r#""onlyMainObject":false"#, "a Voyage CUD *");
    check(r#""liveReferences":false"#, "a Voyage CUD * still");
    check(r#""snapshot":true"#, "a Voyage CUD * snapshot");
    check(r#""onSlow":"conflate""#, "a Voyage CUD * conflate");
    check(r#""onSlow":"disconnect""#, "a Voyage CUD *");
    check(r#""from":"now""#, "a Voyage CUD *");
    check(r#""from":"AQRh-_0""#, "a Voyage CUD * from=AQRh-_0");
    let longest = "A".repeat(96 * 1024);
    check(&format!(r#""from":"{longest}""#), &format!("a Voyage CUD * from={longest}"));
    let keys: Vec<String> = (0..100).map(|key| key.to_string()).collect();
    check(&format!(r#""keys":[{}]"#, keys.join(",")), &format!("a Voyage CUD {}", keys.join(" ")));
}
