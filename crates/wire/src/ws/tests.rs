use std::ops::ControlFlow;

use proptest::prelude::*;

use super::client::{push_masked, push_masked_text};
use super::*;

const LIMITS: Limits = Limits { frame_bytes_max: 70_000, message_bytes_max: 100_000 };
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What a sink saw, owned.
fn name(message: Message<'_>) -> String {
    match message {
        Message::Text(text) => format!("text {text}"),
        Message::Binary => "binary".to_owned(),
        Message::Ping(bytes) => format!("ping {bytes:?}"),
        Message::Pong(bytes) => format!("pong {bytes:?}"),
        Message::Close { code, reason } => format!("close {code:?} {reason}"),
    }
}

type Outcome = (Vec<String>, Result<(), ProtocolError>);

/// Feeds bytes in pieces of the given sizes, again and again.
fn decode(bytes: &[u8], sizes: &[usize], limits: &Limits) -> Outcome {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    let mut rest = bytes.to_vec();
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let tail = rest.split_off((*size).clamp(1, rest.len()));
        let mut sink = |message: Message<'_>| {
            seen.push(name(message));
            ControlFlow::Continue(())
        };
        if let Err(error) = decoder.feed(&mut rest, limits, &mut sink) {
            let mut nothing = |_: Message<'_>| panic!("a message after an error");
            assert_eq!(decoder.feed(&mut [0x81, 0x80, 0, 0, 0, 0], limits, &mut nothing), Ok(()));
            return (seen, Err(error));
        }
        rest = tail;
    }
    (seen, Ok(()))
}

fn frames(frames: &[(bool, u8, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (fin, opcode, payload) in frames {
        push_masked(&mut out, *fin, *opcode, MASK, payload);
    }
    out
}

/// The same in one read and byte by byte.
fn check(bytes: &[u8], messages: &[&str], result: Result<(), ProtocolError>) {
    for sizes in [[usize::MAX], [1], [3], [7]] {
        let (seen, outcome) = decode(bytes, &sizes, &LIMITS);
        assert_eq!(seen, messages, "{bytes:02x?} by {sizes:?}");
        assert_eq!(outcome, result, "{bytes:02x?} by {sizes:?}");
    }
}

fn check_frames(list: &[(bool, u8, &[u8])], messages: &[&str], result: Result<(), ProtocolError>) {
    check(&frames(list), messages, result);
}

#[test]
fn messages_of_one_frame() {
    check(&[], &[], Ok(()));
    // The example of section 5.7.
    check(
        &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58],
        &["text Hello"],
        Ok(()),
    );
    check_frames(&[(true, TEXT, b"")], &["text "], Ok(()));
    check_frames(&[(true, TEXT, "é💧".as_bytes())], &["text é💧"], Ok(()));
    check_frames(&[(true, BINARY, b"")], &["binary"], Ok(()));
    check_frames(&[(true, BINARY, &[0xff; 300])], &["binary"], Ok(()));
    check_frames(&[(true, PING, b"")], &["ping []"], Ok(()));
    check_frames(&[(true, PING, &[255])], &["ping [255]"], Ok(()));
    check_frames(&[(true, PONG, &[1, 2])], &["pong [1, 2]"], Ok(()));
    check_frames(&[(true, TEXT, b"a"), (true, TEXT, b"b")], &["text a", "text b"], Ok(()));
    for length in [125, 126, 127, 65_535, 65_536, 70_000] {
        let text = "x".repeat(length);
        check_frames(&[(true, TEXT, text.as_bytes())], &[&format!("text {text}")], Ok(()));
    }
}

#[test]
fn fragments() {
    let drop = "💧".as_bytes();
    check_frames(&[(false, TEXT, b"a"), (true, CONTINUATION, b"b")], &["text ab"], Ok(()));
    check_frames(&[(false, TEXT, b""), (true, CONTINUATION, b"")], &["text "], Ok(()));
    check_frames(&[(false, TEXT, b"a"), (true, CONTINUATION, b"")], &["text a"], Ok(()));
    check_frames(&[(false, TEXT, b""), (true, CONTINUATION, b"b")], &["text b"], Ok(()));
    check_frames(&[(false, TEXT, b"unfinished")], &[], Ok(()));
    check_frames(
        &[
            (false, TEXT, &drop[..1]),
            (true, PING, b"x"),
            (false, CONTINUATION, &drop[1..3]),
            (true, PONG, b""),
            (true, CONTINUATION, &drop[3..]),
            (true, TEXT, b"next"),
        ],
        &["ping [120]", "pong []", "text 💧", "text next"],
        Ok(()),
    );
    check_frames(
        &[(false, BINARY, b"a"), (true, CONTINUATION, &[255]), (true, TEXT, b"t")],
        &["binary", "text t"],
        Ok(()),
    );
}

#[test]
fn close_frames_end_the_reading() {
    let after = |payload: &[u8]| frames(&[(true, CLOSE, payload), (true, TEXT, b"never")]);
    check(&after(b""), &["close None "], Ok(()));
    check(&after(&[3, 232]), &["close Some(1000) "], Ok(()));
    check(&after(b"\x0f\xa0bye"), &["close Some(4000) bye"], Ok(()));
    check(&after(&[3]), &[], Err(ProtocolError::CloseLength));
    check(&after(&[3, 232, 0xff]), &[], Err(ProtocolError::BadUtf8));
    let legal = |code: u16| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    for code in (0..=1200).chain([1999, 2000, 2999, 3000, 4999, 5000, 65_535]) {
        let bytes = after(&u16::to_be_bytes(code));
        if legal(code) {
            check(&bytes, &[&format!("close Some({code}) ")], Ok(()));
        } else {
            check(&bytes, &[], Err(ProtocolError::CloseCode(code)));
        }
    }
}

#[test]
fn broken_headers() {
    use ProtocolError as E;
    for bits in 1..8_u8 {
        check(&[0x81 | bits << 4, 0x80, 0, 0, 0, 0], &[], Err(E::ReservedBits));
    }
    for opcode in (3..8).chain(11..16) {
        check(&[0x80 | opcode, 0x80, 0, 0, 0, 0], &[], Err(E::Opcode(opcode)));
        check(&[opcode, 0x80, 0, 0, 0, 0], &[], Err(E::Opcode(opcode)));
    }
    for opcode in [CLOSE, PING, PONG] {
        check(&[opcode, 0x80, 0, 0, 0, 0], &[], Err(E::FragmentedControl));
        check(&[0x80 | opcode, 0xfe, 0, 126], &[], Err(E::LongControl));
        check(&[0x80 | opcode, 0xff], &[], Err(E::LongControl));
    }
    for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
        check(&[0x80 | opcode, 0x00], &[], Err(E::Unmasked));
        check(&[0x80 | opcode, 0x05, b'H', b'e', b'l', b'l', b'o'], &[], Err(E::Unmasked));
    }
    check(&[0x81, 0xfe, 0, 125], &[], Err(E::LengthForm));
    check(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], &[], Err(E::LengthForm));
    check(&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], &[], Err(E::LengthForm));
    check_frames(&[(true, CONTINUATION, b"x")], &[], Err(E::NothingToContinue));
    check_frames(&[(false, CONTINUATION, b"")], &[], Err(E::NothingToContinue));
    check_frames(&[(false, TEXT, b"a"), (true, TEXT, b"b")], &[], Err(E::Interleaved));
    check_frames(&[(false, TEXT, b"a"), (true, BINARY, b"b")], &[], Err(E::Interleaved));
    check_frames(&[(false, BINARY, b"a"), (false, TEXT, b"b")], &["binary"], Err(E::Interleaved));
    // What came before the error was handed out.
    let mut bytes = frames(&[(true, TEXT, b"first"), (true, PING, b"")]);
    bytes.extend_from_slice(&[0xff, 0xff]);
    check(&bytes, &["text first", "ping []"], Err(E::ReservedBits));
}

#[test]
fn texts_that_are_not_utf8() {
    let bad: [&[u8]; 12] = [
        b"\xff",
        b"\x80",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"a\xc3",
        b"\xe2\x82",
        b"\xf0\x9f\x92",
        b"ok \xfe",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    ];
    for payload in bad {
        check_frames(&[(true, TEXT, payload)], &[], Err(ProtocolError::BadUtf8));
        for cut in 0..=payload.len() {
            let (a, b) = payload.split_at(cut);
            let list = [(false, TEXT, a), (true, CONTINUATION, b), (true, TEXT, b"never")];
            check_frames(&list, &[], Err(ProtocolError::BadUtf8));
        }
    }
}

#[test]
fn utf8_is_refused_before_the_message_ends() {
    // Ten bytes announced, two sent: no continuation can make 0xc3 0x28 a character.
    let mut bytes = vec![0x81, 0x8a, 0, 0, 0, 0, 0xc3];
    check(&bytes, &[], Ok(()));
    bytes.push(0x28);
    check(&bytes, &[], Err(ProtocolError::BadUtf8));
}

#[test]
fn limits_are_told_by_the_header() {
    let big = |max| Err(ProtocolError::TooBig { max });
    let header = |length: u64| {
        let mut bytes = vec![0x81, 0xff];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&MASK);
        bytes
    };
    check(&header(70_000), &[], Ok(()));
    check(&header(70_001), &[], big(70_000));
    check(&header(u64::MAX >> 1), &[], big(70_000));
    let part = [b'x'; 50_000];
    check_frames(
        &[(false, TEXT, &part), (true, CONTINUATION, &part)],
        &[&format!("text {}", "x".repeat(100_000))],
        Ok(()),
    );
    let mut bytes = frames(&[(false, BINARY, &part), (false, CONTINUATION, &part)]);
    bytes.extend_from_slice(&[0x80, 0x81, 0, 0, 0, 0]);
    check(&bytes, &["binary"], big(100_000));
}

#[test]
fn a_flood_of_empty_fragments_ends() {
    let allowed = EMPTY_FRAGMENTS_MAX as usize;
    let mut list: Vec<(bool, u8, &[u8])> = vec![(false, TEXT, b"")];
    list.resize(allowed, (false, CONTINUATION, b""));
    let mut whole = list.clone();
    whole.push((true, CONTINUATION, b"x"));
    check_frames(&whole, &["text x"], Ok(()));
    list.push((false, CONTINUATION, b""));
    check_frames(&list, &[], Err(ProtocolError::EmptyFragments));
}

#[test]
fn a_sink_that_breaks_ends_the_reading() {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    let mut bytes = frames(&[(true, TEXT, b"1"), (true, BINARY, b"2"), (true, TEXT, b"3")]);
    let mut sink = |message: Message<'_>| {
        seen.push(name(message));
        if message == Message::Binary { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    assert_eq!(decoder.feed(&mut bytes, &LIMITS, &mut sink), Ok(()));
    let mut more = frames(&[(true, TEXT, b"4")]);
    assert_eq!(decoder.feed(&mut more, &LIMITS, &mut sink), Ok(()));
    assert_eq!(seen, ["text 1", "binary"]);
}

#[test]
fn a_connection_that_waits_owns_nothing() {
    assert!(size_of::<Decoder>() <= 16);
    let mut decoder = Decoder::default();
    let mut sink = |_: Message<'_>| ControlFlow::Continue(());
    let bytes = frames(&[(false, TEXT, b"a"), (true, PING, b"p"), (true, CONTINUATION, b"b")]);
    for (index, byte) in bytes.iter().enumerate() {
        decoder.feed(&mut [*byte], &LIMITS, &mut sink).unwrap();
        assert_eq!(decoder.is_idle(), index + 1 == bytes.len(), "after byte {index}");
    }
}

#[test]
fn codes_of_errors() {
    assert_eq!(ProtocolError::Unmasked.code(), 1002);
    assert_eq!(ProtocolError::CloseCode(1005).code(), 1002);
    assert_eq!(ProtocolError::BadUtf8.code(), 1007);
    assert_eq!(ProtocolError::TooBig { max: 1 }.code(), 1009);
}

/// Frames of which most are sound: sequences of them reach deep into the decoder.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![Just(TEXT), Just(CONTINUATION), Just(BINARY), Just(PING), 0..16_u8];
    let text = prop_oneof!["[aé💧]{0,12}".prop_map(String::into_bytes), any::<Vec<u8>>()];
    (prop::bool::weighted(0.6), opcode, any::<[u8; 4]>(), text).prop_map(
        |(fin, opcode, mask, mut payload)| {
            payload.truncate(130);
            let mut out = Vec::new();
            push_masked(&mut out, fin, opcode, mask, &payload);
            out
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn cutting_changes_nothing(
        frames in prop::collection::vec(any_frame(), 0..8),
        sizes in prop::collection::vec(1..20_usize, 1..6),
        lost in 0..6_usize,
    ) {
        let mut bytes = frames.concat();
        bytes.truncate(bytes.len().saturating_sub(lost));
        let limits = Limits { frame_bytes_max: 100, message_bytes_max: 150 };
        prop_assert_eq!(
            decode(&bytes, &sizes, &limits),
            decode(&bytes, &[usize::MAX], &limits)
        );
    }

    #[test]
    fn random_bytes_never_panic(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x81), Just(0x80)], 0..200),
        sizes in prop::collection::vec(1..20_usize, 1..6),
    ) {
        prop_assert_eq!(
            decode(&bytes, &sizes, &LIMITS),
            decode(&bytes, &[usize::MAX], &LIMITS)
        );
    }

    #[test]
    fn what_a_client_sends_is_read(
        texts in prop::collection::vec("(?s).{0,200}", 0..5),
        mask in any::<[u8; 4]>(),
        size in 1..400_usize,
    ) {
        let mut bytes = Vec::new();
        for text in &texts {
            push_masked_text(&mut bytes, mask, text);
        }
        let expected = texts.iter().map(|text| format!("text {text}")).collect();
        prop_assert_eq!(decode(&bytes, &[size], &LIMITS), (expected, Ok(())));
    }

    #[test]
    fn a_mask_may_be_applied_in_pieces(
        mut bytes in any::<Vec<u8>>(),
        mask in any::<[u8; 4]>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let expected: Vec<u8> =
            bytes.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        let cut = cut.index(bytes.len() + 1);
        let (first, second) = bytes.split_at_mut(cut);
        header::apply_mask(first, mask, 0);
        header::apply_mask(second, mask, cut);
        prop_assert_eq!(bytes, expected);
    }
}
