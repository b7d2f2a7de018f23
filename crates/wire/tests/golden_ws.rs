//! Frames of the server, byte for byte; those of RFC 6455, section 5.7, among them.

#![expect(clippy::expect_used, reason = "helpers of tests panic as tests do")]

use tidewire_wire::ws;

fn frame(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    match name {
        "text-hello" => ws::push_text(&mut out, b"Hello"),
        "text-empty" => ws::push_text(&mut out, b""),
        "text-header-125" => ws::encode_text_header(&mut out, 125),
        "text-header-126" => ws::encode_text_header(&mut out, 126),
        "text-header-256" => ws::encode_text_header(&mut out, 256),
        "text-header-65535" => ws::encode_text_header(&mut out, 65_535),
        "text-header-65536" => ws::encode_text_header(&mut out, 65_536),
        "ping-hello" => ws::push_ping(&mut out, b"Hello"),
        "ping-empty" => ws::push_ping(&mut out, b""),
        "pong-hello" => ws::push_pong(&mut out, b"Hello"),
        "close-1012" => ws::push_close(&mut out, 1012, "retry in 1500 ms"),
        "close-4001" => ws::push_close(&mut out, 4001, "token-invalid"),
        "close-1000" => ws::push_close(&mut out, 1000, ""),
        other => panic!("no frame is called {other:?}"),
    }
    out
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hex digit");
    let (pairs, _) = text.as_bytes().as_chunks();
    pairs
        .iter()
        .map(|[high, low]| u8::try_from(digit(*high) << 4 | digit(*low)).expect("a byte"))
        .collect()
}

#[test]
fn frames_are_what_the_fixture_says() {
    let mut rows = 0;
    for line in include_str!("golden/ws-frames.txt").lines().filter(|l| !l.starts_with('#')) {
        let (name, bytes) = line.split_once(' ').expect("a name and bytes");
        assert_eq!(frame(name), hex(bytes), "{name}");
        rows += 1;
    }
    assert_eq!(rows, 13);
}

#[test]
fn control_frames_are_clipped() {
    let mut out = Vec::new();
    ws::push_ping(&mut out, &[7; 200]);
    assert_eq!(out, [&[0x89, 125][..], &[7; 125]].concat());
    let check = |reason: &str, kept: usize| {
        let mut out = Vec::new();
        ws::push_close(&mut out, 4000, reason);
        let length = u8::try_from(kept + 2).expect("a control frame is short");
        let expected = [&[0x88, length, 0x0f, 0xa0][..], &reason.as_bytes()[..kept]].concat();
        assert_eq!(out, expected, "{reason}");
    };
    check(&"x".repeat(123), 123);
    check(&"x".repeat(124), 123);
    check(&"é".repeat(62), 122);
    check(&"💧".repeat(31), 120);
}
