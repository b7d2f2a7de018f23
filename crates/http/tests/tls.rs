//! TLS: the session that is handed over works, and files that do not are named.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod common;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use common::{Gate, LONG, read_answer, read_head, read_to_close, send, start, upgrade};
use futures_util::FutureExt as _;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tidewire_http::{
    ApiRequest, Method, Reply, Server, Site, SocketAnswer, StatusCode, TlsFiles, UpgradedStream,
};

struct Files {
    _folder: tempfile::TempDir,
    tls: TlsFiles,
    other_key: PathBuf,
    client: Arc<ClientConfig>,
}

fn files() -> Files {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let tls = TlsFiles {
        certificate: write("certificate.pem", made.cert.pem()),
        key: write("key.pem", made.signing_key.serialize_pem()),
    };
    let other_key = write("other.pem", other.signing_key.serialize_pem());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Files { _folder: folder, tls, other_key, client: Arc::new(client) }
}

type Client = StreamOwned<ClientConnection, std::net::TcpStream>;

fn secure(files: &Files, stream: std::net::TcpStream) -> Client {
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::clone(&files.client), name).unwrap();
    StreamOwned::new(session, stream)
}

#[test]
fn the_session_that_is_handed_over_works() {
    let files = files();
    let (sender, adopted) = sync_channel(1);
    let site = Site::new()
        .gate(Arc::new(Gate(move |_| {
            let sender = sender.clone();
            let adopt =
                Box::new(move |upgraded: Result<_, _>| sender.send(upgraded.unwrap()).unwrap());
            async move { SocketAnswer::Upgrade { subprotocol: None, adopt } }.boxed()
        })))
        .route(Method::GET, "/", |_: ApiRequest| async { Reply::new(StatusCode::OK, "", "plain") });
    let server = start(site, |options| options.tls = Some(files.tls.clone()));

    let mut client = secure(&files, server.connect());
    send(&mut client, "GET / HTTP/1.1\nHost: x\n\n");
    assert_eq!(read_answer(&mut client).body, "plain");
    // On the same connection, with bytes right behind the handshake.
    send(&mut client, &(upgrade("/ws/v1", "") + "EARLY"));
    assert!(read_head(&mut client).starts_with("HTTP/1.1 101 "));

    let upgraded = adopted.recv_timeout(LONG).unwrap();
    let UpgradedStream::Tls(stream, session) = upgraded.stream else { panic!("not TLS") };
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut socket = StreamOwned::new(*session, stream);
    let mut early = upgraded.early.to_vec();
    while early.len() < 5 {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        early.extend(byte);
    }
    assert_eq!(early, b"EARLY");
    for text in ["one", "two"] {
        socket.write_all(text.as_bytes()).unwrap();
        let mut got = [0; 3];
        client.read_exact(&mut got).unwrap();
        assert_eq!(got, text.as_bytes());
        client.write_all(text.as_bytes()).unwrap();
        client.flush().unwrap();
        socket.read_exact(&mut got).unwrap();
        assert_eq!(got, text.as_bytes());
    }
}

#[test]
fn whoever_does_not_shake_hands_is_closed() {
    let files = files();
    let server = start(Site::new(), |options| {
        options.tls = Some(files.tls.clone());
        options.header_timeout = Duration::from_millis(200);
    });
    for text in ["", "GET / HTTP/1.1\r\n\r\n"] {
        let mut client = server.connect();
        client.write_all(text.as_bytes()).unwrap();
        read_to_close(&mut client);
    }
    while server.handle.counters().tls_failed < 2 {
        std::thread::yield_now();
    }
    assert_eq!(server.handle.open_connections(), 0);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let files = files();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let missing = PathBuf::from("/nonexistent/file.pem");
    let (certificate, key) = (files.tls.certificate.clone(), files.tls.key.clone());
    for (certificate, key, expected) in [
        (
            missing.clone(),
            key.clone(),
            "cannot use /nonexistent/file.pem (http.tls.certificate)".to_owned(),
        ),
        (
            certificate.clone(),
            missing,
            "cannot use /nonexistent/file.pem (http.tls.key)".to_owned(),
        ),
        (key.clone(), key.clone(), format!("cannot use {} (http.tls.certificate)", key.display())),
        (
            certificate.clone(),
            certificate.clone(),
            format!("cannot use {} (http.tls.key)", certificate.display()),
        ),
        (
            certificate.clone(),
            files.other_key.clone(),
            "certificate and key (http.tls) do not fit".to_owned(),
        ),
    ] {
        let mut options = common::options();
        options.tls = Some(TlsFiles { certificate, key });
        let error = runtime.block_on(Server::bind(options)).err().unwrap();
        assert_eq!(error.to_string(), expected);
    }
}
