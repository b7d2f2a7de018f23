//! Records that cannot be used, and changes that were published twice.

use tidewire_event::RecordError;
use tidewire_model::Model;
use tidewire_router::{Framing, OnSlow, Routed, Subscription};

use crate::harness::{Record, Replica, definition, mask, opening, subscription};

const HEADER: &str = "1;U;;none";

/// What a record is refused for, by the name of the error.
#[track_caller]
fn check(record: &Record, expected: &str) {
    let mut replica = Replica::new(Model::vms(), 1);
    let id = replica.subscribe(0, "acme * * *");
    let above = replica.subscribe(0, "acme Voyage U *");
    let Routed::Poison(poison) = replica.record(record) else { panic!("{record:?} is routed") };
    let reason = format!("{:?}", poison.reason);
    assert!(reason.starts_with(expected), "{record:?}: {reason}");
    assert_eq!(poison.id.to_string(), "0-0");
    assert_eq!(replica.router.stats().poison, 1);
    assert_eq!(replica.router.stats().received, 1);
    // The partition moves on, and nobody is told.
    assert_eq!(replica.router.positions().iter().map(|(_, at)| at.next.0).collect::<Vec<_>>(), [1]);
    assert!(replica.bytes(id).is_empty() && replica.bytes(above).is_empty());
    let sound = Record::new("acme/Voyage/5", HEADER, "{}");
    assert!(matches!(replica.record(&sound), Routed::To(1)));
    assert_eq!(replica.messages(id).len(), 1);
}

#[test]
fn every_reason() {
    let keyed = |key: &str| Record::new(key, HEADER, "{}");
    let headed = |header: &str| Record::new("acme/Voyage/5", header, "{}");
    let many: Vec<String> = (0..33).map(|n| format!("Voyage/{n}")).collect();
    for (record, expected) in [
        (Record { key: None, ..keyed("") }, "NoKey"),
        (Record { key: Some(vec![0xff, b'/', b'a']), ..keyed("") }, "KeyShape"),
        (keyed(""), "KeyShape"),
        (keyed("acme"), "KeyShape"),
        (keyed("acme/Voyage"), "KeyShape"),
        (keyed("acme/Voyage/5/6"), "KeyShape"),
        (keyed("%zz/Voyage/5"), "Percent"),
        (keyed("%61cme/Voyage/5"), "Percent"),
        (keyed("acme/Voyage/%35"), "Percent"),
        (keyed("acme/Voyage/%2f"), "Percent"),
        (keyed("/Voyage/5"), "Id"),
        (keyed("acme//5"), "Id"),
        (keyed("acme/Voy-age/5"), "Id"),
        (keyed("acme/Voyage/"), "Id"),
        (keyed("acme/Voyage/%0A"), "Id"),
        (keyed(&format!("acme/Voyage/{}", "x".repeat(129))), "Id"),
        // The model says integer.
        (keyed("acme/Voyage/five"), "Id"),
        (keyed("acme/Voyage/05"), "Id"),
        (keyed("acme/Voyage/9007199254740992"), "Id"),
        (headed(""), "NoHeader"),
        (Record { headers: 2, ..headed(HEADER) }, "ManyHeaders"),
        (headed("1;U"), "HeaderShape"),
        (headed("1;U;;none;;;;;"), "HeaderShape"),
        (headed(&format!("1;U;;none;;{}", "x".repeat(20_000))), "HeaderShape"),
        (headed("2;U;;none"), "Format"),
        (headed("1;X;;none"), "Operation"),
        (headed("1;U;x;none"), "Version"),
        (headed("1;U;;whole"), "OldImage"),
        (headed("1;U;;none;Voyage"), "Owner"),
        (headed("1;U;;none;Voyage/"), "Owner"),
        (headed("1;U;;none;/5"), "Owner"),
        // A key that its type cannot have.
        (Record::new("acme/PortCall/7", "1;U;;none;Voyage/five", "{}"), "Owner"),
        (headed(&format!("1;U;;none;{}", many.join(","))), "ManyOwners"),
        (headed(&format!("1;U;;none;;{}", "x".repeat(129))), "ChangeId"),
        (headed("1;U;;none;;%zz"), "Percent"),
        (headed("1;U;;none;;;somebody"), "ChangedBy"),
        (headed("1;U;;none;;;;%zz"), "Percent"),
        (Record::new("acme/Voyage/5", HEADER, ""), "Tombstone"),
        (Record::new("acme/Voyage/5", "1;C;;none", ""), "Tombstone"),
    ] {
        check(&record, expected);
    }
}

#[test]
fn the_reason_is_the_record_s_own_error() {
    let mut replica = Replica::new(Model::vms(), 1);
    let Routed::Poison(poison) = replica.record(&Record::new("acme/Voyage/5", "2;U;;none", "{}"))
    else {
        panic!("routed")
    };
    assert_eq!(poison.reason, RecordError::Format(String::from("2")));
}

#[test]
fn a_change_published_again_is_dropped() {
    let mut replica = Replica::new(Model::vms(), 2);
    let id = replica.subscribe(1, "acme Voyage * *");
    let change = |key: &str, change_id: &str| {
        Record::new(&format!("acme/Voyage/{key}"), &format!("1;U;;none;;{change_id}"), "{}")
    };
    let mut outcomes = Vec::new();
    for (key, change_id) in [
        ("5", "a"),
        ("5", "a"),
        ("5", "b"),
        ("6", "a"),
        ("6", "a"),
        ("5", ""),
        ("5", ""),
        ("5", "%61"),
    ] {
        // `%61` is not how an `a` is spelt.
        outcomes.push(match replica.record(&change(key, change_id)) {
            Routed::To(n) => n.to_string(),
            Routed::Repeated => String::from("again"),
            Routed::Stale => String::from("stale"),
            Routed::Poison(_) => String::from("poison"),
            Routed::Note => String::from("note"),
        });
    }
    assert_eq!(outcomes, ["1", "again", "1", "1", "again", "1", "1", "poison"]);
    assert_eq!(replica.messages(id).len(), 5);
    assert_eq!(replica.router.stats().repeated, 2);
    // What nobody wanted is not remembered: who comes later gets the second copy.
    replica.record(&Record::new("acme/Vessel/1", "1;C;;none;;x", "{}"));
    let late = replica.subscribe(0, "acme Vessel * *");
    replica.record(&Record::new("acme/Vessel/1", "1;C;;none;;x", "{}"));
    assert_eq!(replica.messages(late).len(), 1);
    // A record that is refused does not spend its change's name.
    replica.record(&Record::new("acme/Vessel/one", "1;C;;none;;y", "{}"));
    let again = replica.record(&Record::new("acme/Vessel/one", "1;C;;none;;y", "{}"));
    assert!(matches!(again, Routed::Poison(_)), "{again:?}");
}

#[test]
fn a_broken_body_is_told_to_those_who_need_it() {
    let mut replica = Replica::new(Model::vms(), 1);
    let plain = replica.subscribe(0, "acme Voyage * *");
    let mut sub = subscription(definition(&replica.model, "acme Voyage * *"));
    sub.mask = Some(mask(&replica.model, &sub.definition.types, r#"{"referenceNo":"*"}"#));
    let masked = replica.register(0, sub);
    replica.carry();
    replica.adopt(masked);
    for (operation, body) in
        [("U", "{nonsense"), ("C", "{}"), ("D", "[1]"), ("U", r#"{"new":null}"#)]
    {
        replica.record(&Record::new("acme/Voyage/5", &format!("1;{operation};;none"), body));
    }
    replica.record(&Record::new("acme/Voyage/5", "1;D;;none", "{}"));
    let plain = replica.messages(plain);
    let masked = replica.messages(masked);
    assert!(plain.iter().all(|m| m.contains(r#""dataloyObject":5,"#)), "{plain:?}");
    assert_eq!((plain.len(), masked.len()), (5, 5));
    let gaps = masked.iter().filter(|m| m.contains(r#""statusCode":410"#)).count();
    assert_eq!(gaps, 4, "{masked:?}");
    assert!(masked[4].contains(r#""dataloyObject":{"key":5,"self":"#), "{}", masked[4]);
    assert_eq!(replica.shards[0].0.take_broken().len(), 4, "each is told once");
}

#[test]
fn nothing_is_merged_over_a_gap() {
    let mut replica = Replica::new(Model::vms(), 1);
    let sub = subscription(definition(&replica.model, "acme Voyage * *"));
    let list = mask(&replica.model, &sub.definition.types, r#"{"referenceNo":"*"}"#);
    let (sub_id, on_slow) = (Some("a".into()), OnSlow::Conflate);
    let sub = Subscription { mask: Some(list), sub: sub_id, on_slow, ..sub };
    let id = replica.register_as(0, opening(Framing::V1), sub);
    replica.carry();
    // All of them wait: the stream has not come yet. Who fetches anew at the gap finds the voyage, and has to be
    // told of its end.
    for (key, operation, body) in
        [(5, "C", r#"{"new":{"key":5}}"#), (6, "U", "{nonsense"), (5, "D", "{}")]
    {
        let header = format!("1;{operation};;none");
        replica.record(&Record::new(&format!("acme/Voyage/{key}"), &header, body));
    }
    replica.adopt(id);
    let came: Vec<String> = replica.messages(id).into_iter().skip(2).collect();
    let parts = [r#""eventType":"C""#, r#""type":"gap""#, r#""eventType":"D""#];
    assert!(came.iter().zip(parts).all(|(text, part)| text.contains(part)), "{came:?}");
    assert_eq!(came.len(), 3, "{came:?}");
}

#[test]
fn a_broken_body_that_alone_knew_the_owners_is_a_gap_above() {
    let mut replica = Replica::new(Model::vms(), 1);
    let mut subscribe = |text: &str| (text.to_owned(), replica.subscribe(0, text));
    let told = ["acme Voyage U 77", "acme VoyageHeader * *", "acme * U 77"].map(&mut subscribe);
    // Another tenant, another operation, no hierarchy, a type that is not above, the object itself.
    let not_told = [
        "other Voyage U 77",
        "acme Voyage C,D 77",
        "acme Voyage U 77 main",
        "acme Cargo U *",
        "acme * * *",
    ]
    .map(&mut subscribe);
    let record = |source: &str| {
        Record::new("acme/PortCall/5", &format!("1;C;;none;;;;{source}"), "{nonsense")
    };
    replica.record(&record(""));
    let gap = |m: &String| m.contains(r#""statusCode":410"#);
    for (text, id) in &told {
        let messages = replica.messages(*id);
        assert!(messages.len() == 1 && messages.iter().all(gap), "{text}: {messages:?}");
    }
    for (text, id) in &not_told {
        assert!(!replica.messages(*id).iter().any(gap), "{text}");
    }
    assert_eq!(replica.shards[0].0.take_broken().len(), 1);
    // Capture's header names every owner: nothing is unknown.
    replica.record(&record("capture"));
    for (text, id) in &told {
        assert_eq!(replica.messages(*id).len(), 1, "{text}");
    }
}
