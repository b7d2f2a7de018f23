//! Plain routes: what is found, how bodies come and go, what pages of other origins may do.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod common;

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use common::{
    Answer, Gate, LONG, Running, read_answer, read_chunk, read_head, read_to_close, send, start,
};
use futures_util::FutureExt as _;
use tidewire_http::{
    ApiReply, ApiRequest, Line, Method, NDJSON, Reply, Site, SocketAnswer, StatusCode,
};
use tidewire_runtime::{Shutdown, Tasks};
use tokio::sync::mpsc;

async fn echo(request: ApiRequest) -> ApiReply {
    assert!(!format!("{request:?}").contains("secret"));
    let text = format!(
        "{} {} key={} auth={}",
        request.method,
        request.path,
        request.param("key"),
        request.header("authorization").unwrap_or("-"),
    );
    Reply::new(StatusCode::OK, "text/plain", text).header("x-query", request.query).into()
}

async fn collect(request: ApiRequest) -> ApiReply {
    match request.body.collect(10).await {
        Ok(body) => Reply::json(StatusCode::CREATED, body).into(),
        Err(error) => error.into(),
    }
}

/// Answers each line while the next ones are still to come.
async fn lines(mut request: ApiRequest) -> ApiReply {
    let (answers, rest) = mpsc::channel(1);
    Tasks::new(Shutdown::new()).spawn_detached("lines", async move {
        loop {
            let answer = match request.body.line(10).await {
                Ok(Some(Line::Whole(line))) => Bytes::from(format!("{}\n", line.len())),
                Ok(Some(Line::TooLong)) => Bytes::from("too long\n"),
                Ok(None) | Err(_) => break,
            };
            if answers.send(answer).await.is_err() {
                break;
            }
        }
    });
    ApiReply::Stream(Reply::new(StatusCode::OK, NDJSON, ""), rest)
}

fn site() -> Site {
    let internal = Site::new()
        .route(Method::GET, "/health/live", echo)
        .route(Method::POST, "/admin", collect)
        .route(Method::GET, "/broken", |_: ApiRequest| async {
            Reply::empty(StatusCode::OK).header("bad name", "x").header("x-good", "y")
        });
    Site::new()
        .gate(std::sync::Arc::new(Gate(|_| {
            async { SocketAnswer::Refuse(Reply::json(StatusCode::UNAUTHORIZED, "{}")) }.boxed()
        })))
        .route(Method::GET, "/ws/rest/{type}/{key}", echo)
        .cors_route(Method::POST, "/api/v1/tickets", collect)
        .cors_route(Method::POST, "/api/v1/changes", lines)
        .join(internal)
}

fn server() -> Running {
    start(site(), |options| {
        options.allowed_origins.list = vec!["https://app.example".into()];
    })
}

#[test]
fn requests_get_the_answer_of_their_route() {
    let server = server();
    let answer = server
        .ask("GET /ws/rest/Voyage/7%2F8?a=b HTTP/1.1\nHost: x\nAuthorization: Bearer secret\n\n");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, "GET /ws/rest/Voyage/7%2F8 key=7%2F8 auth=Bearer secret");
    assert_eq!(answer.header("x-query"), Some("a=b"));
    assert_eq!(answer.header("content-type"), Some("text/plain"));

    let twice = "GET /health/live HTTP/1.1\nHost: x\nAuthorization: a\nAuthorization: b\n\n";
    assert!(server.ask(twice).body.ends_with("auth=-"), "two of them are none");

    let mut client = server.connect();
    send(&mut client, "HEAD /health/live HTTP/1.1\nHost: x\nConnection: close\n\n");
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 "));
    assert_eq!(read_to_close(&mut client), b"");

    let broken = server.ask("GET /broken HTTP/1.1\nHost: x\n\n");
    assert_eq!((broken.status, broken.header("x-good")), (200, Some("y")));
}

#[test]
fn what_is_not_there_is_said_in_the_documented_shape() {
    let server = server();
    for (request, status, message, method, uri) in [
        ("GET /x", 404, "no such path", "GET", "/x"),
        ("GET /ws/rest", 404, "no such path", "GET", "/ws/rest"),
        ("GET /api/v1/tickets", 405, "method not allowed", "GET", "/api/v1/tickets"),
        ("DELETE /health/live", 405, "method not allowed", "DELETE", "/health/live"),
        ("PUT /ws/v1", 405, "method not allowed", "PUT", "/ws/v1"),
    ] {
        let answer = server.ask(&format!("{request} HTTP/1.1\nHost: x\n\n"));
        answer.assert_error(status, message, method, uri);
    }
    // A token that strayed into a wrong place is not shown either.
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
    for uri in [format!("/x/{token}"), format!("/x?token={token}"), format!("/{token}/y")] {
        let answer = server.ask(&format!("GET {uri} HTTP/1.1\nHost: x\n\n"));
        assert_eq!(answer.status, 404);
        assert!(!answer.body.contains("eyJ"), "{}", answer.body);
    }
    let allow = |answer: Answer| answer.header("allow").map(str::to_owned);
    let tickets = server.ask("GET /api/v1/tickets HTTP/1.1\nHost: x\n\n");
    assert_eq!(allow(tickets).as_deref(), Some("POST, OPTIONS"));
    let live = server.ask("OPTIONS /health/live HTTP/1.1\nHost: x\n\n");
    assert_eq!(allow(live).as_deref(), Some("GET, HEAD, OPTIONS"));
}

#[test]
fn bodies_have_a_bound_and_a_deadline() {
    let server = server();
    let post = |length: &str, body: &str| {
        format!("POST /api/v1/tickets HTTP/1.1\nHost: x\n{length}\n\n{body}")
    };
    let answer = server.ask(&post("Content-Length: 10", "0123456789"));
    assert_eq!((answer.status, answer.body.as_str()), (201, "0123456789"));
    let answer = server.ask(&post("Transfer-Encoding: chunked", "5\nabcde\n2\nfg\n0\n\n"));
    assert_eq!((answer.status, answer.body.as_str()), (201, "abcdefg"));

    let answer = server.ask(&post("Content-Length: 11", "01234567890"));
    answer.assert_error(413, "the body is longer than 10 bytes", "POST", "/api/v1/tickets");
    let impatient = start(site(), |options| options.stall_timeout = Duration::from_millis(100));
    let answer = impatient.ask(&post("Content-Length: 9", "0123"));
    answer.assert_error(408, "the body did not arrive in time", "POST", "/api/v1/tickets");
    assert_eq!(server.ask(&post("Content-Length: x", "")).status, 400);

    // The answer to a body that is far too long arrives although the client still sends.
    let mut client = server.connect();
    send(&mut client, &post("Content-Length: 8000000", ""));
    client.write_all(&vec![b'x'; 8_000_000]).unwrap();
    assert_eq!(read_answer(&mut client).status, 413);
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let server = server();
    let long = "x".repeat(70_000);
    for request in [
        format!("GET / HTTP/1.1\nHost: x\nX-Long: {long}\n\n"),
        format!("GET /{long} HTTP/1.1\nHost: x\n\n"),
    ] {
        let mut client = server.connect();
        // The server may close before it has all been sent.
        drop(client.write_all(request.replace('\n', "\r\n").as_bytes()));
        let status = read_answer(&mut client).status;
        assert!(matches!(status, 414 | 431), "{status}");
    }
    let fits = "x".repeat(48 * 1024);
    let answer = server.ask(&format!("GET /health/live?{fits} HTTP/1.1\nHost: x\n\n"));
    assert_eq!(answer.status, 200);
}

#[test]
fn lines_are_answered_while_they_come() {
    let server = server();
    let mut client = server.connect();
    send(&mut client, "POST /api/v1/changes HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n");
    let mut head_is_read = false;
    for (line, answer) in
        [("abc\n", "3\n"), ("\n", "0\n"), ("0123456789a\n", "too long\n"), ("0123456789\n", "10\n")]
    {
        client.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).unwrap();
        if !head_is_read {
            assert!(read_head(&mut client).starts_with("HTTP/1.1 200 "));
            head_is_read = true;
        }
        assert_eq!(read_chunk(&mut client).as_deref(), Some(answer));
    }
    client.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(read_chunk(&mut client), None);
    // More lines in all than any buffer on the way holds.
    let body = "abc\n".repeat(500_000);
    let length = body.len();
    let mut writer = client.try_clone().unwrap();
    let sending = std::thread::Builder::new()
        .spawn(move || {
            send(
                &mut writer,
                &format!("POST /api/v1/changes HTTP/1.1\nHost: x\nContent-Length: {length}\n\n"),
            );
            writer.write_all(body.as_bytes()).unwrap();
        })
        .unwrap();
    assert_eq!(read_answer(&mut client).body.lines().count(), 500_000);
    sending.join().unwrap();
}

#[test]
fn pages_of_other_origins() {
    let server = server();
    let app = Some("https://app.example");
    let evil = Some("https://evil.example");
    let here = Some("https://vms.example");
    for (request, origin, status, allowed) in [
        ("POST /api/v1/tickets", None, 201, None),
        ("POST /api/v1/tickets", app, 201, app),
        ("POST /api/v1/tickets", here, 201, here),
        ("POST /api/v1/tickets", evil, 403, None),
        ("POST /api/v1/tickets", Some("null"), 403, None),
        // Without CORS the page's request is served, but it may not read the answer.
        ("POST /admin", app, 201, None),
        ("POST /admin", evil, 403, None),
        ("GET /x", evil, 404, None),
        // Sockets: the gate decides about the origin; a permitted page may read its refusal.
        ("GET /ws/v1", app, 401, app),
        ("GET /ws/v1", evil, 401, None),
    ] {
        let origin_line = origin.map_or(String::new(), |origin| format!("Origin: {origin}\n"));
        let answer = server.ask(&format!(
            "{request} HTTP/1.1\nHost: vms.example\n{origin_line}Content-Length: 2\n\n{{}}"
        ));
        assert_eq!(answer.status, status, "{request} {origin:?}");
        let got = answer.header("access-control-allow-origin");
        assert_eq!(got, allowed, "{request} {origin:?}");
        if allowed.is_some() {
            assert_eq!(answer.header("vary"), Some("origin"), "{request} {origin:?}");
        }
    }
    let foreign = server.ask(
        "POST /admin HTTP/1.1\nHost: vms.example\nOrigin: https://evil.example\nContent-Length: 0\n\n",
    );
    foreign.assert_error(403, "origin not allowed", "POST", "/admin");
}

#[test]
fn preflights() {
    let server = server();
    for (path, origin, status, methods) in [
        ("/api/v1/tickets", "https://app.example", 204, Some("POST, OPTIONS")),
        ("/api/v1/changes", "https://app.example", 204, Some("POST, OPTIONS")),
        ("/ws/v1", "https://app.example", 204, Some("GET, OPTIONS")),
        (
            "/ws/rest/WebSocketObjectSubscription/Voyage/C/1/-",
            "https://app.example",
            204,
            Some("GET, OPTIONS"),
        ),
        ("/admin", "https://app.example", 204, None),
        ("/api/v1/tickets", "https://evil.example", 403, None),
        ("/ws/v1", "https://evil.example", 403, None),
        ("/x", "https://app.example", 404, None),
    ] {
        let answer = server.ask(&format!(
            "OPTIONS {path} HTTP/1.1\nHost: vms.example\nOrigin: {origin}\n\
             Access-Control-Request-Method: POST\nAccess-Control-Request-Headers: authorization\n\n"
        ));
        assert_eq!(answer.status, status, "{path} {origin}");
        assert_eq!(answer.header("access-control-allow-methods"), methods, "{path} {origin}");
        let headers = methods.map(|_| "authorization, content-type, last-event-id");
        assert_eq!(answer.header("access-control-allow-headers"), headers, "{path} {origin}");
        let allowed = methods.map(|_| origin);
        assert_eq!(answer.header("access-control-allow-origin"), allowed, "{path} {origin}");
    }
}

#[test]
fn a_drain_ends_idle_connections_and_finishes_requests() {
    let (entered, has_entered) = std::sync::mpsc::sync_channel(1);
    let go = Shutdown::new();
    let wait = go.clone();
    let site = site().route(Method::GET, "/slow", move |_: ApiRequest| {
        let (entered, wait) = (entered.clone(), wait.clone());
        async move {
            entered.send(()).unwrap();
            wait.cancelled().await;
            Reply::new(StatusCode::OK, "text/plain", "done")
        }
    });
    let server = start(site, |_| {});
    let mut idle = server.connect();
    send(&mut idle, "GET /health/live HTTP/1.1\nHost: x\n\n");
    assert_eq!(read_answer(&mut idle).status, 200);
    let mut slow = server.connect();
    send(&mut slow, "GET /slow HTTP/1.1\nHost: x\n\n");
    has_entered.recv_timeout(LONG).unwrap();

    server.shutdown.cancel();
    assert_eq!(read_to_close(&mut idle), b"");
    go.cancel();
    assert_eq!(read_answer(&mut slow).body, "done");
    assert_eq!(read_to_close(&mut slow), b"");
    assert!(server.runtime.block_on(server.tasks.join_all(LONG)).is_empty());
    assert_eq!(server.handle.open_connections(), 0);
    assert!(std::net::TcpStream::connect(server.handle.local_addr()).is_err());
}
