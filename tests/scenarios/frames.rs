//! What breaks RFC 6455 or its limits is closed with the code of the contract, and nobody else notices.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Setup, World, object_path};

/// A socket on which bytes can be written that no client would.
struct Raw(TcpStream);

impl Raw {
    async fn open(world: &World, tenant: &str) -> Self {
        let address = world.public(0);
        let path = object_path("Voyage/U/1", &world.token(tenant, 1, &[]));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="));
        Self(stream)
    }

    /// Code and reason of the close that comes next; and the end of the stream behind it.
    async fn closed(&mut self) -> (u16, String) {
        let read = async {
            assert_eq!(self.0.read_u8().await.unwrap(), 0x88, "a close frame");
            let length = usize::from(self.0.read_u8().await.unwrap());
            let code = self.0.read_u16().await.unwrap();
            let mut reason = vec![0; length - 2];
            self.0.read_exact(&mut reason).await.unwrap();
            (code, String::from_utf8(reason).unwrap())
        };
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("a close in time")
    }
}

/// A masked frame with the given first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let mut out = vec![first];
    match payload.len() {
        length @ 0..126 => out.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_frames_are_closed_with_their_code() {
    let Some(world) = World::shared() else { return };
    let tenant = world.tenant();
    let mut bystander = world.open(0, &tenant, "Voyage/U/1").await;
    let big = vec![b' '; 64 * 1024 + 1];
    let half = vec![b' '; 40 * 1024];
    let fragments = [frame(0x01, &half), frame(0x80, &half)].concat();
    let unmasked = [&[0x81, 4][..], b"ping"].concat();
    // The length alone is enough: nobody waits for the bytes.
    let promised = [&[0x81, 0x80 | 127][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    let split = [frame(0x01, b"\xc3"), frame(0x80, b"\x28")].concat();
    let rows: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("unmasked", unmasked, 1002, "protocol-error"),
        ("a reserved bit", frame(0xc1, b"ping"), 1002, "protocol-error"),
        ("a reserved opcode", frame(0x83, b"ping"), 1002, "protocol-error"),
        ("a continuation of nothing", frame(0x80, b"ping"), 1002, "protocol-error"),
        ("a fragmented ping", frame(0x09, b""), 1002, "protocol-error"),
        ("a ping of 126 bytes", frame(0x89, &[0; 126]), 1002, "protocol-error"),
        ("a close of one byte", frame(0x88, b"x"), 1002, "protocol-error"),
        ("binary", frame(0x82, b"ping"), 1003, "binary-frame"),
        ("empty binary", frame(0x82, b""), 1003, "binary-frame"),
        ("no UTF-8", frame(0x81, b"\xff"), 1007, "bad-utf8"),
        ("an overlong form", frame(0x81, b"\xc0\xaf"), 1007, "bad-utf8"),
        ("a surrogate", frame(0x81, b"\xed\xa0\x80"), 1007, "bad-utf8"),
        ("no UTF-8 over two frames", split, 1007, "bad-utf8"),
        ("a frame too big", frame(0x81, &big), 1009, "too-big"),
        ("a frame that promises a terabyte", promised, 1009, "too-big"),
        ("a message too big", fragments, 1009, "too-big"),
    ];
    for (what, bytes, code, reason) in rows {
        let mut raw = Raw::open(&world, &tenant).await;
        // A socket that is closed in the middle of a large frame does not take the rest.
        let _ = raw.0.write_all(&bytes).await;
        assert_eq!(raw.closed().await, (code, reason.to_owned()), "{what}");
    }
    // What is sound is answered: a ping in the middle of a message, and a close with its own code.
    let mut raw = Raw::open(&world, &tenant).await;
    let sound = [frame(0x01, b"pi"), frame(0x89, b"hello"), frame(0x80, b"ng")].concat();
    raw.0.write_all(&sound).await.unwrap();
    let mut pong = [0; 7];
    raw.0.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"\x8a\x05hello");
    raw.0.write_all(&frame(0x88, &[0x0f, 0xa1])).await.unwrap();
    assert_eq!(raw.closed().await, (4001, String::new()));

    let change = r#"{"objectType":"Voyage","key":1,"operation":"U","new":{"key":1}}"#;
    let id = world.post(&tenant, change).await;
    assert_eq!(bystander.id().await, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deep_binary_or_too_much() {
    let limit = ("gateway.inbound_messages_per_minute", "10".to_owned());
    let Some(world) = World::start(Setup { gateway: vec![limit], ..Setup::default() }) else {
        return;
    };
    let tenant = world.tenant();
    // Deep JSON is a refused field list, no more: the socket stays open.
    let mut socket = world.open(0, &tenant, "Voyage/U/1").await;
    for deep in ["[".repeat(30_000), r#"{"a":"#.repeat(10_000)] {
        socket.say(&deep).await;
        assert_eq!(socket.json().await["statusCode"], 400);
    }
    socket.say_binary(b"{}").await;
    assert_eq!(socket.closed().await, (1003, "binary-frame".to_owned()));
    // Whoever talks too much is over a limit.
    let mut socket = world.open(0, &tenant, "Voyage/U/1").await;
    for _ in 0..11 {
        socket.say("ping").await;
    }
    assert_eq!(socket.closed().await, (4102, "over-limit".to_owned()));
}
