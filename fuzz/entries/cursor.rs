//! A cursor, as text: nothing that the fuzzer makes up is let in, and what is signed is read strictly.

use std::sync::LazyLock;

use tidewire_event::{
    Cursor, CursorKey, LeaderEpoch, NextOffset, Partition, Position, Positions, Tenant,
    encode_cursor,
};

static KEY: LazyLock<CursorKey> =
    LazyLock::new(|| CursorKey::derive(b"a secret that no input knows"));

pub(crate) fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(Cursor::decode(text, &KEY).is_err(), "a cursor out of nowhere is let in: {text}");
    }
    // The same bytes as a place: 14 of them an entry.
    let Ok(tenant) = Tenant::new("t") else { return };
    let mut positions = Positions::new("topic".into());
    for entry in data.as_chunks::<14>().0 {
        let [p, q, offset @ .., a, b, c, d] = entry;
        let next = NextOffset(i64::from_be_bytes(*offset) & i64::MAX);
        let epoch = LeaderEpoch((i32::from_be_bytes([*a, *b, *c, *d]) & i32::MAX) - 1);
        let partition = Partition(i32::from(u16::from_be_bytes([*p, *q])));
        positions.set(partition, Position { next, epoch });
    }
    let text = encode_cursor(&KEY, &tenant, &positions);
    assert_eq!(Cursor::decode(&text, &KEY), Ok(Cursor { tenant, positions }));
}
