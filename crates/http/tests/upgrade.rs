//! Sockets and event streams, from the handshake to the hand-over.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{ACCEPT, Gate, LONG, read_answer, read_chunk, read_head, send, start, upgrade};
use futures_util::FutureExt as _;
use tidewire_http::{
    Reply, RequestKind, Site, SocketAnswer, SocketRequest, StatusCode, UpgradeError, Upgraded,
    UpgradedStream,
};
use tokio::sync::{mpsc, oneshot};

type Adopted = Result<Upgraded, UpgradeError>;

fn site(gate: impl Fn(SocketRequest) -> SocketAnswer + Clone + Send + Sync + 'static) -> Site {
    Site::new().gate(Arc::new(Gate(move |request| {
        let gate = gate.clone();
        async move { gate(request) }.boxed()
    })))
}

/// A gate that lets everybody in and passes the streams on.
fn adopting() -> (Site, Receiver<Adopted>) {
    let (sender, receiver) = sync_channel(16);
    (site(move |_| accept(sender.clone(), None)), receiver)
}

fn accept(sender: SyncSender<Adopted>, subprotocol: Option<String>) -> SocketAnswer {
    SocketAnswer::Upgrade {
        subprotocol,
        adopt: Box::new(move |adopted| sender.send(adopted).unwrap()),
    }
}

fn plain(stream: &UpgradedStream) -> &std::net::TcpStream {
    match stream {
        UpgradedStream::Plain(stream) => stream,
        UpgradedStream::Tls(..) => panic!("no TLS here"),
    }
}

#[test]
fn bytes_behind_the_handshake_come_with_the_stream() {
    let (site, adopted) = adopting();
    let server = start(site, |_| {});
    for early in ["", "EARLY", &"x".repeat(5000), &"y".repeat(30_000)] {
        let mut client = server.connect();
        send(&mut client, &(upgrade("/ws/v1", "") + early));
        let head = read_head(&mut client);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.to_lowercase().contains("upgrade: websocket\r\n"), "{head}");
        assert!(head.contains(ACCEPT), "{head}");

        let upgraded = adopted.recv_timeout(LONG).unwrap().unwrap();
        let mut stream = plain(&upgraded.stream);
        // What hyper had not read yet is still in the kernel.
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut rest = vec![0; early.len() - upgraded.early.len()];
        stream.read_exact(&mut rest).unwrap();
        let got = [&upgraded.early[..], &rest].concat();
        assert_eq!(String::from_utf8(got).unwrap(), early);

        stream.write_all(b"hello").unwrap();
        let mut hello = [0; 5];
        client.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello");
    }
}

#[test]
fn a_stream_is_handed_over_as_the_shards_want_it() {
    let (site, adopted) = adopting();
    let server = start(site, |options| options.not_sent_low_water = 12_345);
    let mut client = server.connect();
    send(&mut client, &upgrade("/ws/v1", ""));
    read_head(&mut client);
    let upgraded = adopted.recv_timeout(LONG).unwrap().unwrap();
    let mut stream = plain(&upgraded.stream);
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(stream.nodelay().unwrap());
    #[cfg(target_os = "linux")]
    assert_eq!(socket2::SockRef::from(stream).tcp_notsent_lowat().unwrap(), 12_345);
    assert!(upgraded.early.is_empty());
    assert_eq!(server.handle.counters().handed_over, 1);
}

#[test]
fn a_socket_is_counted_until_its_permit_is_dropped() {
    let (site, adopted) = adopting();
    let server = start(site, |_| {});
    let mut client = server.connect();
    send(&mut client, &upgrade("/ws/v1", ""));
    read_head(&mut client);
    let Upgraded { stream, permit, .. } = adopted.recv_timeout(LONG).unwrap().unwrap();
    drop((stream, client));
    assert_eq!(server.handle.open_connections(), 1);
    drop(permit);
    assert_eq!(server.handle.open_connections(), 0);
}

#[test]
fn the_101_waits_for_the_gate() {
    let (entered, has_entered) = sync_channel(1);
    let (release, released) = oneshot::channel::<()>();
    let released = Mutex::new(Some(released));
    let resolved = Arc::new(AtomicBool::new(false));
    let is_resolved = Arc::clone(&resolved);
    let site = Site::new().gate(Arc::new(Gate(move |_| {
        let (entered, resolved) = (entered.clone(), Arc::clone(&is_resolved));
        let released = released.lock().unwrap().take().unwrap();
        async move {
            entered.send(()).unwrap();
            released.await.unwrap();
            resolved.store(true, Ordering::SeqCst);
            SocketAnswer::Upgrade { subprotocol: Some("vms".into()), adopt: Box::new(drop) }
        }
        .boxed()
    })));
    let server = start(site, |_| {});
    let mut client = server.connect();
    send(&mut client, &upgrade("/ws/v1", "Sec-WebSocket-Protocol: vms, bearer.x\n"));
    has_entered.recv_timeout(LONG).unwrap();
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    client.set_nonblocking(false).unwrap();
    release.send(()).unwrap();
    let head = read_head(&mut client);
    assert!(resolved.load(Ordering::SeqCst));
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-protocol: vms\r\n"), "{head}");
}

#[test]
fn a_client_that_leaves_cancels_the_gate() {
    struct Undo(SyncSender<&'static str>);
    impl Drop for Undo {
        fn drop(&mut self) {
            self.0.send("undone").unwrap();
        }
    }
    let (sender, events) = sync_channel(4);
    let site = Site::new().gate(Arc::new(Gate(move |_| {
        let sender = sender.clone();
        async move {
            let _registered = Undo(sender.clone());
            sender.send("registered").unwrap();
            std::future::pending().await
        }
        .boxed()
    })));
    let server = start(site, |_| {});
    let mut client = server.connect();
    send(&mut client, &upgrade("/ws/v1", ""));
    assert_eq!(events.recv_timeout(LONG), Ok("registered"));
    drop(client);
    assert_eq!(events.recv_timeout(LONG), Ok("undone"));
}

#[test]
fn the_gate_sees_the_request_as_it_was_sent() {
    let (sender, seen) = sync_channel(1);
    let site = site(move |request| {
        assert!(!format!("{request:?}").contains("secret"), "{request:?}");
        sender.send(request).unwrap();
        SocketAnswer::Refuse(Reply::json(StatusCode::UNAUTHORIZED, "{}"))
    });
    let server = start(site, |_| {});
    let path = "/ws/rest/WebSocketObjectSubscription/Voyage/C%2CU/*/secret";
    let answer = server.ask(&upgrade(
        &format!("{path}?fields=%7B%7D&session=a"),
        "Origin: https://vms.example\nAuthorization: Bearer secret\nLast-Event-ID: 7\n\
         Sec-WebSocket-Protocol: vms\nSec-WebSocket-Protocol: bearer.secret\n",
    ));
    assert_eq!((answer.status, answer.body.as_str()), (401, "{}"));
    let request = seen.recv_timeout(LONG).unwrap();
    assert_eq!(request.path, path);
    assert_eq!(request.query, "fields=%7B%7D&session=a");
    assert_eq!(request.method, "GET");
    assert_eq!(request.peer.to_string(), "127.0.0.1");
    assert_eq!(request.host.as_deref(), Some("vms.example"));
    assert_eq!(request.origin.as_deref(), Some("https://vms.example"));
    assert_eq!(request.authorization.as_deref(), Some("Bearer secret"));
    assert_eq!(request.last_event_id.as_deref(), Some("7"));
    assert_eq!(request.subprotocols, ["vms", "bearer.secret"]);
    assert_eq!(request.kind, RequestKind::WebSocket);
}

#[test]
fn what_is_no_handshake_is_refused() {
    let site = site(|request| match request.kind {
        RequestKind::Neither { missing } => {
            SocketAnswer::Refuse(Reply::json(StatusCode::UPGRADE_REQUIRED, missing))
        }
        kind => panic!("taken for {kind:?}"),
    });
    let server = start(site, |_| {});
    for (request, body) in [
        (
            "GET /ws/v1 HTTP/1.1\nHost: x\n\n".to_owned(),
            "Upgrade: websocket (or Accept: text/event-stream)",
        ),
        (
            upgrade("/ws/v1", "").replace("HTTP/1.1", "HTTP/1.0"),
            "Upgrade: websocket (or Accept: text/event-stream)",
        ),
        (upgrade("/ws/v1", "").replace("13", "8"), "Sec-WebSocket-Version: 13"),
    ] {
        let answer = server.ask(&request);
        assert_eq!((answer.status, answer.body.as_str()), (426, body), "{request}");
        assert_eq!(answer.header("sec-websocket-version"), Some("13"), "{request}");
        assert_eq!(answer.header("upgrade"), Some("websocket"), "{request}");
    }
    for method in ["POST", "PUT", "DELETE", "HEAD"] {
        let answer = server.ask(
            &format!("{method} /ws/v1 HTTP/1.1\nHost: x\nConnection: close\n\n")
                .replace("HEAD", "PATCH"),
        );
        assert_eq!(answer.status, 405);
        assert_eq!(answer.header("allow"), Some("GET, OPTIONS"));
    }
}

#[test]
fn an_answer_that_does_not_fit_is_a_bug_and_says_nothing() {
    let (adopted, _keep) = sync_channel(1);
    let server = start(site(move |_| accept(adopted.clone(), None)), |_| {});
    let answer = server.ask("GET /ws/v1 HTTP/1.1\nHost: x\nAccept: text/event-stream\n\n");
    answer.assert_error(500, "internal error", "GET", "/ws/v1");
}

#[test]
fn without_a_gate_socket_paths_are_unknown() {
    let server = start(Site::new(), |_| {});
    let answer =
        server.ask(&upgrade("/ws/rest/WebSocketObjectSubscription/Voyage/C/1/secret.token", ""));
    answer.assert_error(
        404,
        "no such path",
        "GET",
        "/ws/rest/WebSocketObjectSubscription/Voyage/C/1/-",
    );
}

#[test]
fn events_are_streamed_until_either_side_ends() {
    let (sender, sources) = sync_channel(4);
    let site = site(move |request| {
        assert_eq!(request.kind, RequestKind::EventStream);
        let (events, body) = mpsc::channel::<Bytes>(4);
        sender.send(events).unwrap();
        SocketAnswer::Stream { body: Box::new(body) }
    });
    let server = start(site, |options| {
        options.allowed_origins.list = vec!["https://app.example".into()];
    });
    let request =
        "GET /ws/v1 HTTP/1.1\nHost: x\nAccept: text/event-stream\nOrigin: https://app.example\n\n";

    // The source ends.
    let mut client = server.connect();
    send(&mut client, request);
    let events = sources.recv_timeout(LONG).unwrap();
    let head = read_head(&mut client);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
    assert!(head.contains("access-control-allow-origin: https://app.example\r\n"), "{head}");
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        events.blocking_send(Bytes::from(event)).unwrap();
        assert_eq!(read_chunk(&mut client).as_deref(), Some(event));
    }
    drop(events);
    assert_eq!(read_chunk(&mut client), None);

    // The client ends.
    let mut client = server.connect();
    send(&mut client, request);
    let events = sources.recv_timeout(LONG).unwrap();
    read_head(&mut client);
    client.shutdown(Shutdown::Both).unwrap();
    server.runtime.block_on(async { tokio::time::timeout(LONG, events.closed()).await.unwrap() });
}

#[test]
fn a_stream_that_nobody_reads_is_dropped() {
    let (sender, sources) = sync_channel(1);
    let site = site(move |_| {
        let (events, body) = mpsc::channel::<Bytes>(4);
        sender.send(events).unwrap();
        SocketAnswer::Stream { body: Box::new(body) }
    });
    let server = start(site, |options| {
        options.stall_timeout = std::time::Duration::from_millis(100);
    });
    let mut client = server.connect();
    send(&mut client, "GET /ws/v1 HTTP/1.1\nHost: x\nAccept: text/event-stream\n\n");
    let events = sources.recv_timeout(LONG).unwrap();
    read_head(&mut client);
    // More than any socket buffer holds: the source is dropped, or this never ends.
    while events.blocking_send(Bytes::from(vec![b'x'; 64 * 1024])).is_ok() {}
    drop(client);
}

#[test]
fn a_refused_client_may_go_on_with_its_connection() {
    let refusing = site(|_| SocketAnswer::Refuse(Reply::json(StatusCode::NOT_FOUND, "{}")));
    let server = start(refusing, |_| {});
    let mut client = server.connect();
    for _ in 0..3 {
        send(&mut client, &upgrade("/ws/v1", ""));
        assert_eq!(read_answer(&mut client).status, 404);
    }
}
