//! TLS that the shard drives itself.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use socket2::SockRef;
use tidewire_router::Framing;
use tidewire_sockets::{Command, ShardOptions, Stream};
use tidewire_wire::error::CloseCode;

use crate::bed::{Bed, Peer, Watch, options};

/// So many bytes of a client the kernel keeps, at the least.
const RECEIVE_BYTES: usize = 100_000;

type TlsPeer = Peer<rustls::StreamOwned<ClientConnection, TcpStream>>;

fn connect(bed: &mut Bed) -> (TlsPeer, Watch) {
    let id = bed.attach(Framing::WebSocket, true);
    let made = rcgen::generate_simple_self_signed([String::from("localhost")]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = Box::new(ServerConnection::new(Arc::new(server)).unwrap());
    let (mut ours, theirs) = bed.pair();
    SockRef::from(&theirs).set_send_buffer_size(16 * 1024).unwrap();
    SockRef::from(&theirs).set_recv_buffer_size(2 * RECEIVE_BYTES).unwrap();
    // The handshake is the HTTP server's affair: it is done before the hand-over.
    while client.is_handshaking() || server.is_handshaking() {
        while client.wants_write() {
            client.write_tls(&mut ours).unwrap();
        }
        let mut socket = &theirs;
        match server.read_tls(&mut socket) {
            Ok(_) => _ = server.process_new_packets().unwrap(),
            Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::WouldBlock),
        }
        while server.wants_write() {
            server.write_tls(&mut socket).unwrap();
        }
        if client.is_handshaking() {
            client.read_tls(&mut ours).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    let watch = bed.adopt(id, Stream::tls(theirs, server), &[], i64::MAX);
    (Peer::new(rustls::StreamOwned::new(client, ours)), watch)
}

#[test]
fn both_ways_and_a_burst() {
    let mut bed = Bed::new(options(), 64 << 20);
    let (mut peer, watch) = connect(&mut bed);
    peer.send(1, b"hello");
    assert_eq!(watch.text(), "hello");
    peer.send(1, b"tell");
    assert_eq!(peer.text(), r#"{"told":true}"#);
    // More than every buffer on the way holds; the client reads only then.
    (0..1_500).for_each(|_| bed.event(8_000));
    for n in 0..1_500 {
        assert!(peer.text().contains(&format!("\"0-{}\"", 1_000 + n)));
    }
    peer.send(9, b"still here");
    assert_eq!(peer.frame(), (10, b"still here".to_vec()));
    peer.send(8, &[3, 232]);
    assert_eq!(peer.close().0, 1000);
    peer.stream.conn.send_close_notify();
    drop(peer);
    watch.gone();
    bed.left(1);
    bed.assert_empty();
}

/// All of it lies in the kernel and in the session before the shard looks: no further readiness is told.
#[test]
fn more_input_than_a_turn_reads() {
    let options = ShardOptions { inbound_messages_per_minute: u32::MAX, ..options() };
    let mut bed = Bed::new(options, 1 << 20);
    let (mut peer, watch) = connect(&mut bed);
    peer.send(1, b"wait");
    assert_eq!(watch.text(), "wait");
    for n in 0..RECEIVE_BYTES / 1000 {
        peer.send(1, format!("{n:0>900}").as_bytes());
    }
    watch.gate.send(()).unwrap();
    for n in 0..RECEIVE_BYTES / 1000 {
        assert_eq!(watch.text(), format!("{n:0>900}"));
    }
}

/// The session holds back what the socket does not take: the last frames wait for it.
#[test]
fn closing_behind_a_full_socket_loses_nothing() {
    for events in [1, 3, 50, 400] {
        let mut bed = Bed::new(options(), 64 << 20);
        let (mut peer, watch) = connect(&mut bed);
        (0..events).for_each(|_| bed.event(8_000));
        bed.shard().send(Command::Close(tidewire_router::ConnectionId(1), CloseCode::Unavailable));
        let _ = watch.closed();
        for n in 0..events {
            assert!(peer.text().contains(&format!("\"0-{}\"", 1_000 + n)));
        }
        assert_eq!(peer.close(), (4103, String::from("unavailable")));
        drop(peer);
        watch.gone();
    }
}
