//! Caps, deadlines, proxies and binding.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use common::{Gate, LONG, Running, read_answer, read_head, read_to_close, send, start, upgrade};
use futures_util::FutureExt as _;
use tidewire_http::{
    ApiRequest, Method, Reply, Server, ServerOptions, Site, SocketAnswer, StatusCode,
    TrustedProxies, Upgraded,
};

/// Accepts every socket and answers `/peer` with the client's address.
fn site() -> (Site, Receiver<Upgraded>) {
    let (sender, adopted) = sync_channel(64);
    let site = Site::new()
        .gate(Arc::new(Gate(move |_| {
            let sender = sender.clone();
            let adopt =
                Box::new(move |upgraded: Result<_, _>| sender.send(upgraded.unwrap()).unwrap());
            async move { SocketAnswer::Upgrade { subprotocol: None, adopt } }.boxed()
        })))
        .route(Method::GET, "/peer", |request: ApiRequest| async move {
            Reply::new(StatusCode::OK, "text/plain", request.peer.to_string())
        });
    (site, adopted)
}

/// Opens a socket; the status, and what must be kept for it to stay open.
fn open(
    server: &Running,
    adopted: &Receiver<Upgraded>,
    more: &str,
) -> (u16, Option<(TcpStream, Upgraded)>) {
    let mut client = server.connect();
    send(&mut client, &upgrade("/ws/v1", more));
    let answer = read_answer(&mut client);
    if answer.status == 101 {
        return (101, Some((client, adopted.recv_timeout(LONG).unwrap())));
    }
    assert_eq!(answer.header("retry-after"), Some("5"), "{answer:?}");
    let message = match answer.status {
        503 => "too many connections",
        _ => "too many connections from this address",
    };
    answer.assert_error(answer.status, message, "GET", "/ws/v1");
    (answer.status, None)
}

fn trust(options: &mut ServerOptions) {
    options.trusted_proxies = TrustedProxies(vec!["127.0.0.0/8".parse().unwrap()]);
}

#[test]
fn the_cap_on_connections() {
    let (site, adopted) = site();
    let server = start(site, |options| options.connections_max = 2);
    let (first, held_first) = open(&server, &adopted, "");
    let (second, held_second) = open(&server, &adopted, "");
    let (third, _) = open(&server, &adopted, "");
    assert_eq!((first, second, third), (101, 101, 503));
    drop(held_first);
    assert_eq!(open(&server, &adopted, "").0, 101);
    assert_eq!(server.handle.counters().refused_connections, 1);
    drop(held_second);
}

#[test]
fn the_cap_on_an_address() {
    let (site, adopted) = site();
    let server = start(site, |options| options.connections_per_address_max = 1);
    let (first, held) = open(&server, &adopted, "");
    // Whom an untrusted client claims to be changes nothing.
    let (second, _) = open(&server, &adopted, "X-Forwarded-For: 198.51.100.7\n");
    assert_eq!((first, second), (101, 429));
    drop(held);
    assert_eq!(open(&server, &adopted, "").0, 101);
    assert_eq!(server.handle.counters().refused_address, 1);
}

#[test]
fn an_event_stream_over_a_cap_is_told_to_come_again() {
    let (site, adopted) = site();
    let server = start(site, |options| {
        options.connections_per_address_max = 1;
        options.allowed_origins.list = vec!["https://app.example".into()];
    });
    let (_, held) = open(&server, &adopted, "");
    let answer = server.ask(
        "GET /ws/rest/WebSocketObjectSubscription/Voyage/U/1/- HTTP/1.1\nHost: x\n\
         Origin: https://app.example\nAccept: text/event-stream\n\n",
    );
    assert_eq!((answer.status, answer.body.as_str()), (200, "retry: 5000\n\n"), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
    // Anything else is refused as ever.
    let other = server.ask("GET /peer HTTP/1.1\nHost: x\nAccept: text/event-stream\n\n");
    assert_eq!(other.status, 429);
    drop(held);
}

#[test]
fn behind_a_trusted_proxy_each_client_has_its_own_cap() {
    let (site, adopted) = site();
    let server = start(site, |options| {
        options.connections_per_address_max = 1;
        trust(options);
    });
    let one = "X-Forwarded-For: 198.51.100.1\n";
    let two = "X-Forwarded-For: 198.51.100.1, 198.51.100.2\n";
    let (first, held_one) = open(&server, &adopted, one);
    let (again, _) = open(&server, &adopted, one);
    let (other, held_two) = open(&server, &adopted, two);
    assert_eq!((first, again, other), (101, 429, 101));
    // The proxy itself, where it does not say for whom it speaks, is never capped.
    let silent: Vec<_> = (0..3).map(|_| open(&server, &adopted, "")).collect();
    assert!(silent.iter().all(|(status, _)| *status == 101));
    drop((held_one, held_two));
    assert_eq!(open(&server, &adopted, one).0, 101);

    // One connection of the proxy carries requests of many clients.
    let mut proxy = server.connect();
    for client in ["203.0.113.1", "203.0.113.2", "203.0.113.1"] {
        send(&mut proxy, &format!("GET /peer HTTP/1.1\nHost: x\nX-Forwarded-For: {client}\n\n"));
        assert_eq!(read_answer(&mut proxy).body, client);
    }
}

#[test]
fn the_proxy_line() {
    let (site, _adopted) = site();
    let server = start(site, |options| {
        options.proxy_protocol = true;
        options.connections_per_address_max = 1;
        options.header_timeout = Duration::from_secs(2);
        trust(options);
    });
    let request = "GET /peer HTTP/1.1\nHost: x\n\n";
    let line = "PROXY TCP4 198.51.100.1 10.0.0.1 5000 443\n";
    let mut first = server.connect();
    send(&mut first, &format!("{line}{request}"));
    assert_eq!(read_answer(&mut first).body, "198.51.100.1");
    // The first one is still open.
    let refused = server.ask(&format!("{line}{request}"));
    refused.assert_error(429, "too many connections from this address", "GET", "/peer");
    assert_eq!(server.ask(&format!("PROXY UNKNOWN\n{request}")).body, "127.0.0.1");
    // In pieces, and with another trusted proxy behind the first.
    let mut pieces = server.connect();
    pieces.write_all(b"PROXY TCP4 127.0.0.9 ").unwrap();
    pieces.write_all(b"10.0.0.1 5000 443\r").unwrap();
    pieces.write_all(b"\n").unwrap();
    send(&mut pieces, "GET /peer HTTP/1.1\nHost: x\nX-Forwarded-For: 203.0.113.5\n\n");
    assert_eq!(read_answer(&mut pieces).body, "203.0.113.5");
    for wrong in [request, "PROXY TCP4 x\n", "PROXY", &"P".repeat(200)] {
        let mut client = server.connect();
        send(&mut client, wrong);
        assert_eq!(read_to_close(&mut client), b"", "{wrong}");
    }
}

#[test]
fn whoever_sends_its_head_too_slowly_is_closed() {
    let (site, _adopted) = site();
    let server = start(site, |options| options.header_timeout = Duration::from_millis(500));
    for start in ["", "GET /peer HT", "GET /peer HTTP/1.1\r\nHost: x\r\n"] {
        let mut client = server.connect();
        client.write_all(start.as_bytes()).unwrap();
        let said = String::from_utf8(read_to_close(&mut client)).unwrap();
        assert!(!said.contains("200 OK"), "{said}");
    }
    // A connection that is kept alive and says nothing more, too.
    let mut client = server.connect();
    send(&mut client, "GET /peer HTTP/1.1\nHost: x\n\n");
    assert_eq!(read_answer(&mut client).status, 200);
    read_to_close(&mut client);
}

#[test]
fn an_accept_rate_delays_and_loses_nobody() {
    let (site, _adopted) = site();
    let server = start(site, |options| options.accepts_per_second = 20);
    for _ in 0..30 {
        assert_eq!(server.ask("GET /peer HTTP/1.1\nHost: x\n\n").status, 200);
    }
    assert_eq!(server.handle.counters().accepted, 30);
}

#[test]
fn a_listener_that_stops_leaves_connections_alone() {
    let (site, _adopted) = site();
    let server = start(site, |_| {});
    let mut client = server.connect();
    send(&mut client, "GET /peer HTTP/1.1\nHost: x\n\n");
    assert_eq!(read_answer(&mut client).status, 200);
    server.handle.stop_accepting();
    while TcpStream::connect(server.handle.local_addr()).is_ok() {}
    send(&mut client, "GET /peer HTTP/1.1\nHost: x\n\n");
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 "));
}

#[test]
fn an_address_in_use_is_named() {
    let (site, _adopted) = site();
    let server = start(site, |_| {});
    let taken = server.handle.local_addr();
    let mut options = common::options();
    options.listen = taken;
    let error = server.runtime.block_on(Server::bind(options)).err().unwrap();
    assert!(error.is_address_in_use());
    assert_eq!(error.to_string(), format!("address {taken} (http.listen) is in use"));

    let options = ServerOptions::new("internal", "192.0.2.1:1".parse().unwrap());
    let error = server.runtime.block_on(Server::bind(options)).err().unwrap();
    assert!(!error.is_address_in_use());
    assert_eq!(error.to_string(), "cannot listen on 192.0.2.1:1 (internal.listen)");
}
