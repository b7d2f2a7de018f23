use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

static KEY: LazyLock<CursorKey> = LazyLock::new(|| CursorKey::derive(b"sixteen bytes or more"));

fn positions(topic: &str, entries: &[(i32, i64, i32)]) -> Positions {
    let mut positions = Positions::new(topic.into());
    for (partition, next, epoch) in entries {
        let position = Position { next: NextOffset(*next), epoch: LeaderEpoch(*epoch) };
        positions.set(Partition(*partition), position);
    }
    positions
}

fn tenant() -> Tenant {
    Tenant::new("acme").unwrap()
}

/// A cursor with a checksum that holds, whatever stands in it.
fn signed(bytes: &[u8]) -> String {
    let mut out = bytes.to_vec();
    out.extend(&KEY.checksum(bytes).as_ref()[..CHECKSUM_BYTES]);
    URL_SAFE_NO_PAD.encode(&out)
}

/// The format must not change under the cursors that clients keep.
#[test]
fn the_format_stands_still() {
    let positions = positions("vX3kQ1", &[(0, 0, -1), (1, 244_070_008, 7), (4, 300, 0)]);
    let text = encode_cursor(&KEY, &tenant(), &positions);
    let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
    let expected =
        b"\x01\x04acme\x06vX3kQ1\x03\x00\x00\x00\x00\xf8\xec\xb0\x74\x08\x02\xac\x02\x01";
    assert_eq!(bytes[..bytes.len() - 16], expected[..]);
    assert_eq!(text, "AQRhY21lBnZYM2tRMQMAAAAA-OywdAgCrAIBILeGdM1XbH7bSaqsW19nrA");
}

#[test]
fn the_largest_cursor_fits() {
    let entries: Vec<_> = (0..4096).map(|p| (p, i64::MAX, i32::MAX)).collect();
    let tenant = Tenant::new(&"t".repeat(64)).unwrap();
    let positions = positions(&"i".repeat(200), &entries);
    let text = encode_cursor(&KEY, &tenant, &positions);
    assert!(text.len() <= CURSOR_BYTES_MAX, "{}", text.len());
    assert_eq!(Cursor::decode(&text, &KEY), Ok(Cursor { tenant, positions }));
}

#[test]
fn refusals() {
    let check = |text: &str, expected: CursorError| {
        assert_eq!(Cursor::decode(text, &KEY), Err(expected), "{text}");
    };
    let good = encode_cursor(&KEY, &tenant(), &positions("t", &[(0, 5, 1)]));
    check("", CursorError::Malformed);
    check("AQ", CursorError::Malformed);
    check("now", CursorError::UnknownFormat(158));
    check("live!", CursorError::NotBase64);
    check(&format!("{good}="), CursorError::NotBase64);
    check(&format!(" {good}"), CursorError::NotBase64);
    check(&good.replacen('A', "+", 1), CursorError::NotBase64);
    check(&"A".repeat(CURSOR_BYTES_MAX + 1), CursorError::TooLong);
    check(&"A".repeat(CURSOR_BYTES_MAX), CursorError::UnknownFormat(0));
    check(&signed(b"\x02\x04acme\x01t\x00"), CursorError::UnknownFormat(2));
    check(&"AQ".repeat(40), CursorError::Checksum);
    let foreign = CursorKey::derive(b"another deployment's secret");
    assert_eq!(Cursor::decode(&good, &foreign), Err(CursorError::Checksum));
}

/// Under a checksum that holds: what a faulty writer might have made.
#[test]
fn a_signed_body_is_read_strictly() {
    let check = |body: &[u8], sound: bool| {
        let bytes = [b"\x01\x01a\x01t", body].concat();
        let answer = Cursor::decode(&signed(&bytes), &KEY);
        assert_eq!(answer.is_ok(), sound, "{body:?}: {answer:?}");
        assert!(sound || answer == Err(CursorError::Malformed), "{body:?}: {answer:?}");
    };
    check(b"\x00", true);
    check(b"\x01\x00\x05\x00", true);
    check(b"\x01\xff\x1f\x05\x00", true);
    check(b"", false);
    check(b"\x01", false);
    check(b"\x01\x00\x05", false);
    check(b"\x00\x00", false);
    check(b"\x01\x00\x05\x00\x00", false);
    check(b"\x01\x80\x20\x05\x00", false); // partition 4096
    check(b"\x02\xff\x1f\x05\x00\x00\x05\x00", false); // 4095, then 4096
    check(b"\x81\x20\x00\x00\x00", false); // 4097 entries
    check(b"\x01\x80\x00\x05\x00", false); // 0 in two bytes
    check(b"\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", false); // 2^64 - 1
    check(b"\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00", true); // 2^63 - 1
    check(b"\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\x00", false); // 65 bits
    check(b"\x01\x00\x05\x80\x80\x80\x80\x08", true); // epoch 2^31 - 1
    check(b"\x01\x00\x05\x81\x80\x80\x80\x08", false); // epoch 2^31
    check(b"\x01\xff\xff\xff\xff\x0f\x05\x00", false); // partition 2^32 - 1
    for bytes in [&b"\x01\x00\x01t\x00"[..], b"\x01\x01\n\x01t\x00", b"\x01\x01a\x01\xff\x00"] {
        assert_eq!(Cursor::decode(&signed(bytes), &KEY), Err(CursorError::Malformed));
    }
}

#[test]
fn debug_shows_no_key() {
    assert_eq!(format!("{:?}", *KEY), "CursorKey(-)");
}

#[test]
#[should_panic(expected = "too short")]
fn a_short_secret_is_no_secret() {
    let _ = CursorKey::derive(b"fifteen bytes..");
}

prop_compose! {
    fn any_positions()(
        topic in "[A-Za-z0-9_-]{0,22}",
        entries in prop::collection::btree_map(
            prop_oneof![0..12_i32, 0..4096_i32],
            (prop_oneof![0..300_i64, 0..=i64::MAX], prop_oneof![-1..9_i32, -1..=i32::MAX]),
            0..40,
        ),
    ) -> Positions {
        let entries: Vec<_> = entries.into_iter().map(|(p, (next, epoch))| (p, next, epoch)).collect();
        positions(&topic, &entries)
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(positions in any_positions(), name in "[^\\p{Cc}]{1,16}") {
        let tenant = Tenant::new(&name).unwrap();
        let text = encode_cursor(&KEY, &tenant, &positions);
        let cursor = Cursor::decode(&text, &KEY).unwrap();
        prop_assert_eq!(&encode_cursor(&KEY, &cursor.tenant, &cursor.positions), &text);
        prop_assert_eq!(cursor, Cursor { tenant, positions });
    }

    #[test]
    fn a_changed_one_is_refused(positions in any_positions(), at: prop::sample::Index, bit in 0..8) {
        let text = encode_cursor(&KEY, &tenant(), &positions);
        let mut bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        *at.get_mut(&mut bytes) ^= 1_u8 << bit;
        prop_assert!(Cursor::decode(&URL_SAFE_NO_PAD.encode(&bytes), &KEY).is_err());
        let mut letters = text.into_bytes();
        *at.get_mut(&mut letters) ^= 1_u8 << (bit % 7);
        prop_assert!(Cursor::decode(std::str::from_utf8(&letters).unwrap(), &KEY).is_err());
        letters.truncate(at.index(letters.len()));
        prop_assert!(Cursor::decode(&String::from_utf8_lossy(&letters), &KEY).is_err());
    }

    #[test]
    fn nothing_panics(text in "(?s).{0,60}", body in prop::collection::vec(any::<u8>(), 0..60)) {
        prop_assert!(Cursor::decode(&text, &KEY).is_err());
        prop_assert!(Cursor::decode(&URL_SAFE_NO_PAD.encode(&body), &KEY).is_err());
        let body = [&[FORMAT][..], &body].concat();
        if let Ok(cursor) = Cursor::decode(&signed(&body), &KEY) {
            prop_assert_eq!(encode_cursor(&KEY, &cursor.tenant, &cursor.positions), signed(&body));
        }
    }
}
