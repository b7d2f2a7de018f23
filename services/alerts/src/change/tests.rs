use super::*;
use std::cell::Cell;
use tidewire_event::{LeaderEpoch, Offset, Partition};
use tidewire_script::ScriptRecord;

const SOUND: &[u8] = b"1;U;;full;;;42;capture";

fn script() -> Arc<Script> {
    let json = br#"{"code":"c","name":"n","triggers":[{"objectType":"Voyage","eventType":"U"}],
        "scriptBody":"true","messageType":"String","alertScriptMessage":"m"}"#;
    let record = ScriptRecord::parse(json).unwrap();
    Arc::new(Script::new(Tenant::new("acme").unwrap(), 1, "a", 0, record))
}

fn record<'a>(
    key: Option<&'a [u8]>,
    header: Option<&'a [u8]>,
    payload: Option<&'a [u8]>,
) -> LogRecord<'a> {
    LogRecord {
        partition: Partition(3),
        offset: Offset(7),
        leader_epoch: LeaderEpoch::UNKNOWN,
        timestamp_ms: 5,
        key,
        header,
        header_count: usize::from(header.is_some()),
        payload,
    }
}

/// What became of it, and whether anybody was asked for scripts.
fn read(
    key: Option<&[u8]>,
    header: Option<&[u8]>,
    payload: Option<&[u8]>,
) -> (Result<Option<Change>, Poison>, bool) {
    let asked = Cell::new(false);
    let change = Change::of(&record(key, header, payload), &Model::vms(), |key, header| {
        asked.set(true);
        let is_it = key.object_type == "Voyage" && header.operation != Operation::Create;
        if is_it { vec![script()] } else { Vec::new() }
    });
    (change, asked.get())
}

#[test]
fn a_change_is_read_whole() {
    let body = br#"{"new":{"key":1},"old":{"key":1}}"#;
    let (change, _) = read(Some(b"acme/Voyage/1"), Some(SOUND), Some(body));
    let change = change.unwrap().unwrap();
    assert_eq!((change.id.to_string(), change.time_ms), ("3-7".to_owned(), 5));
    assert_eq!((change.tenant.as_str(), change.key.to_string()), ("acme", "1".to_owned()));
    assert_eq!((change.old_image, change.has_images), (OldImage::Full, true));
    assert_eq!(change.event.changed_by, Some(42));
    assert_eq!(&change.event.body.bytes()[..], body);
    assert_eq!(change.scripts.len(), 1);
    // A delete without a value has no images.
    let (change, _) = read(Some(b"acme/Voyage/1"), None, None);
    let change = change.unwrap().unwrap();
    assert_eq!((change.event.operation, change.has_images), (Operation::Delete, false));
    assert!(change.event.current().is_none());
}

#[test]
fn the_body_of_what_nobody_wants_is_never_opened() {
    for (key, header) in [("acme/Voyage/1", "1;C;;none"), ("acme/PortCall/1", "1;U;;none")] {
        let (change, asked) = read(Some(key.as_bytes()), Some(header.as_bytes()), Some(b"{{{"));
        assert!(matches!(change, Ok(None)) && asked, "{key} {header}");
    }
}

#[test]
fn poison_is_named_by_its_part() {
    let check = |key: Option<&[u8]>, header: Option<&[u8]>, body: Option<&[u8]>, part| {
        let (change, _) = read(key, header, body);
        let poison = change.err();
        assert_eq!(poison.as_ref().map(|p| p.part), Some(part), "{poison:?}");
    };
    let (key, body): (Option<&[u8]>, Option<&[u8]>) =
        (Some(b"acme/Voyage/1"), Some(br#"{"new":{"key":1}}"#));
    check(None, Some(SOUND), body, PoisonReason::Key);
    check(Some(b"acme/Voyage"), Some(SOUND), body, PoisonReason::Key);
    check(Some(b"acme/Voyage/x"), Some(SOUND), body, PoisonReason::Key);
    check(key, None, body, PoisonReason::Header);
    check(key, Some(b"1;X;;none"), body, PoisonReason::Header);
    check(key, Some(SOUND), None, PoisonReason::Header);
    for broken in ["{", "[]", r#"{"old":null}"#, r#"{"new":{"key":2}}"#, r#"{"new":1}"#] {
        check(key, Some(SOUND), Some(broken.as_bytes()), PoisonReason::Body);
    }
    let mut two = record(key, Some(SOUND), body);
    two.header_count = 2;
    let change = Change::of(&two, &Model::vms(), |_, _| Vec::new());
    assert_eq!(change.err().map(|p| p.part), Some(PoisonReason::Header));
}
