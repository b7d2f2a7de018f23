//! `put`, `list`, `show`, `delete` against a registry that answers what a test says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::{golden, run};

/// A request as it came: method, path and query, authorization, body.
#[derive(Debug, PartialEq)]
struct Asked {
    line: String,
    token: String,
    body: Value,
}

/// Answers one request after the other, each on its own connection; then gives what was asked.
fn serve(answers: Vec<(u16, Value)>) -> (String, JoinHandle<Vec<Asked>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let builder = std::thread::Builder::new().name("registry".to_owned());
    let thread = builder.spawn(move || {
        let mut asked = Vec::new();
        for (status, answer) in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(&stream);
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if line.trim().is_empty() {
                    break;
                }
                lines.push(line.trim().to_owned());
            }
            let header = |name: &str| {
                let found = lines.iter().find_map(|line| {
                    let (own, value) = line.split_once(": ")?;
                    own.eq_ignore_ascii_case(name).then(|| value.to_owned())
                });
                found.unwrap_or_default()
            };
            let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            asked.push(Asked {
                line: lines[0].trim_end_matches(" HTTP/1.1").to_owned(),
                token: header("authorization"),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            });
            let text = answer.to_string();
            let head = format!(
                "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                text.len()
            );
            (&stream).write_all(format!("{head}{text}").as_bytes()).unwrap();
        }
        asked
    });
    (url, thread.unwrap())
}

fn saved(code: &str, version: u64, enabled: bool) -> Value {
    let state = if enabled {
        json!({"enabled": true})
    } else {
        json!({"enabled": false, "since": "2026-09-14T13:20:00", "error":
            {"kind": "deadline", "line": 2, "column": 5, "reason": "it took too long"}})
    };
    json!({
        "key": 7, "self": "https://x/7", "name": "A name", "code": code, "description": "",
        "triggers": [{"objectType": "Voyage", "eventType": "C,U"}], "scriptBody": "true\n",
        "messageSubject": "s", "messageType": "String", "buildMessageInScript": false,
        "alertScriptMessage": "text", "language": "rhai", "role": "OPERATOR",
        "version": version, "author": "user:7", "changedAt": 1_789_392_000, "state": state,
    })
}

fn refused(status: u16, message: &str) -> (u16, Value) {
    (status, json!({"statusCode": status, "message": message}))
}

/// Runs a command against the answers.
fn check(
    name: &str,
    arguments: &[&str],
    code: i32,
    answers: Vec<(u16, Value)>,
    expected: &[&str],
) -> Vec<Asked> {
    let (url, thread) = serve(answers);
    let (ended, found) = run(&[arguments, &["--url", &url, "--token", "t0ken"]].concat(), "");
    golden(name, &found.replace(&url, "http://gateway"));
    assert_eq!(ended, code, "{found}");
    let asked = thread.join().unwrap();
    let lines: Vec<&str> = asked.iter().map(|one| one.line.as_str()).collect();
    assert_eq!(lines, expected);
    assert!(asked.iter().all(|one| one.token == "Bearer t0ken"), "{asked:?}");
    asked
}

const ALL: &str = "/ws/rest/DLPAlertScript";

#[test]
fn a_new_script_is_created() {
    let answer = vec![(200, saved("result", 1, true))];
    let asked = check("put-created", &["put", "result.rhai"], 0, answer, &[&format!("POST {ALL}")]);
    let source = include_str!("files/result.rhai");
    assert_eq!(asked[0].body["scriptBody"], source);
    assert_eq!(asked[0].body["triggers"], json!([{"objectType": "Voyage", "eventType": "U"}]));
}

#[test]
fn one_that_is_there_is_replaced_unless_told_otherwise() {
    let (post, put) = (format!("POST {ALL}"), format!("PUT {ALL}/result"));
    let taken = || refused(409, "'code' is that of another script: PUT replaces it");
    let answers = vec![taken(), (200, saved("result", 4, true))];
    check("put-replaced", &["put", "result.json"], 0, answers, &[&post, &put]);
    let create = ["put", "result.json", "--create-only"];
    check("put-create-only", &create, 1, vec![taken()], &[&post]);
}

#[test]
fn what_the_gateway_says_of_the_source_is_shown_in_it() {
    let message = "'scriptBody': line 2, column 12: unknown field 'voyageReslt', the nearest known is 'voyageResult'";
    let post = format!("POST {ALL}");
    check("put-typo", &["put", "typo.rhai"], 1, vec![refused(400, message)], &[&post]);
    let message = "'triggers[0].objectType': unknown object type 'Voyage'";
    check("put-type", &["put", "result.json"], 1, vec![refused(400, message)], &[&post]);
    let message = "script authors only: no role of the token is among auth.roles.script_author";
    check("put-no-right", &["put", "result.json"], 1, vec![refused(403, message)], &[&post]);
}

#[test]
fn what_is_wrong_in_itself_is_not_sent() {
    check("put-no-json", &["put", "no-json.json"], 1, vec![], &[]);
    check("put-no-file", &["put", "absent.rhai"], 64, vec![], &[]);
}

#[test]
fn lists_have_pages() {
    let pages = || {
        vec![
            (200, json!({"scripts": [saved("a b", 1, true)], "next": "a b"})),
            (200, json!({"scripts": [saved("c", 12, false)], "next": null})),
        ]
    };
    let first = format!("GET {ALL}?limit=1000");
    let second = format!("GET {ALL}?limit=1000&after=a%20b");
    check("list", &["list"], 0, pages(), &[&first, &second]);
    check("list-json", &["list", "--json"], 0, pages(), &[&first, &second]);
    check("list-none", &["list"], 1, vec![(200, json!({}))], &[&first]);
}

#[test]
fn one_script() {
    let get = format!("GET {ALL}/a%20b");
    check("show", &["show", "a b"], 0, vec![(200, saved("a b", 2, false))], &[&get]);
    check("show-json", &["show", "a b", "--json"], 0, vec![(200, saved("a b", 2, true))], &[&get]);
    let unknown = vec![refused(404, "no alert script has this code or key")];
    check("show-unknown", &["show", "a b"], 1, unknown, &[&get]);
    let delete = format!("DELETE {ALL}/a%20b");
    check("delete", &["delete", "a b"], 0, vec![(200, json!({"deleted": "a b"}))], &[&delete]);
}
