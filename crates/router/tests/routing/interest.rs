//! Who gets which record: a table per rule, and registration and leaving.

use tidewire_model::{Model, UnknownTypes};
use tidewire_router::Routed;

use crate::harness::{Record, Replica, definition, subscription, text_key};
use tidewire_wire::definition::KeySelector;

/// One subscription on the second of two shards, one record: whether it arrives.
#[track_caller]
fn check(model: &Model, sub: &str, record: &Record, expected: bool) {
    let mut replica = Replica::new(model.clone(), 2);
    let id = replica.subscribe(1, sub);
    let routed = replica.record(record);
    assert!(matches!(routed, Routed::To(_)), "{sub}: {routed:?}");
    assert_eq!(replica.messages(id).len(), usize::from(expected), "{sub} <- {record:?}");
    assert_eq!(replica.shards[0].0.stats().web_socket_messages, 0);
    replica.leave(id);
    replica.assert_empty();
}

fn record(key: &str, header: &str, body: &str) -> Record {
    Record::new(key, header, body)
}

#[test]
fn types_events_and_keys() {
    let vms = Model::vms();
    let voyage = |op| record("acme/Voyage/5", &format!("1;{op};;none"), r#"{"new":{"key":5}}"#);
    for (sub, operations) in [
        ("acme Voyage * *", "CUD"),
        ("acme Voyage C *", "C"),
        ("acme Voyage U *", "U"),
        ("acme Voyage D *", "D"),
        ("acme Voyage C,D *", "CD"),
        ("acme Voyage * 5", "CUD"),
        ("acme Voyage * 4,5,6", "CUD"),
        ("acme Voyage U 4,5,6", "U"),
        ("acme Voyage * 4", ""),
        ("acme Voyage * 55", ""),
        ("acme * * *", "CUD"),
        ("acme * D *", "D"),
        ("acme * * 5", "CUD"),
        ("acme * * 4", ""),
        ("acme Voyage * * main", "CUD"),
        ("acme Cargo * *", ""),
        ("acme PortCall * *", ""),
        ("acme VoyageHeader * *", ""),
        ("other Voyage * *", ""),
        ("other * * *", ""),
        ("acm Voyage * *", ""),
    ] {
        for operation in ["C", "U", "D"] {
            check(&vms, sub, &voyage(operation), operations.contains(operation));
        }
    }
}

#[test]
fn a_record_without_a_value_is_a_delete() {
    let vms = Model::vms();
    let gone = record("acme/Voyage/5", "", "");
    check(&vms, "acme Voyage D *", &gone, true);
    check(&vms, "acme Voyage C,U *", &gone, false);
    check(&vms, "acme Voyage D 5", &record("acme/Voyage/5", "1;D;;none", ""), true);
}

#[test]
fn hierarchy_by_the_owners_that_a_record_names() {
    let vms = Model::vms();
    let call = |op: &str, owners: &str, source: &str| {
        let header = format!("1;{op};;none;{owners};;;{source}");
        record("acme/PortCall/7", &header, r#"{"new":{"key":7}}"#)
    };
    for (sub, owners, operation, expected) in [
        ("acme Voyage U 5", "Voyage/5", "U", true),
        ("acme Voyage U *", "Voyage/5", "U", true),
        // Whatever its own operation, a change below is an update of what is above.
        ("acme Voyage U 5", "Voyage/5", "C", true),
        ("acme Voyage U 5", "Voyage/5", "D", true),
        ("acme Voyage C 5", "Voyage/5", "C", false),
        ("acme Voyage D 5", "Voyage/5", "D", false),
        ("acme Voyage C,D *", "Voyage/5", "U", false),
        ("acme Voyage U 4", "Voyage/5", "U", false),
        ("acme Voyage U 5 main", "Voyage/5", "U", false),
        ("acme Voyage U * main", "Voyage/5", "U", false),
        ("acme Voyage U 5", "", "U", false),
        // Moved: both voyages are told.
        ("acme Voyage U 5", "Voyage/5,Voyage/6", "U", true),
        ("acme Voyage U 6", "Voyage/5,Voyage/6", "U", true),
        ("acme Voyage U 5,6", "Voyage/5,Voyage/6", "U", true),
        // Higher ones, and ones that refer down, where the producer names them.
        ("acme VoyageHeader U 2", "Voyage/5,VoyageHeader/2", "U", true),
        ("acme BunkerOrder U 9", "BunkerOrder/9", "U", true),
        ("acme * U 5", "Voyage/5", "U", true),
        ("acme * U 5 main", "Voyage/5", "U", false),
        ("acme * U 7", "Voyage/5", "U", true),
        ("other Voyage U 5", "Voyage/5", "U", false),
        // A producer may name an owner that the model does not hold above the type.
        ("acme Vessel U 3", "Vessel/3", "U", true),
        ("acme Vessel U 3 main", "Vessel/3", "U", false),
        ("acme Vessel U *", "Vessel/3", "C", true),
        ("acme Vessel U 4", "Vessel/3", "U", false),
    ] {
        check(&vms, sub, &call(operation, owners, "capture"), expected);
        check(&vms, sub, &call(operation, owners, ""), expected);
        check(&vms, sub, &call(operation, owners, "erp"), expected);
    }
}

#[test]
fn hierarchy_by_the_images_of_other_producers() {
    let vms = Model::vms();
    let moved = r#"{"new":{"key":7,"voyage":{"key":6,"voyageHeader":{"key":2}}},"old":{"key":7,"voyage":5}}"#;
    let names = |source: &str, owners: &str, body: &str| {
        record("acme/PortCall/7", &format!("1;U;;full;{owners};;;{source}"), body)
    };
    for (sub, expected) in [
        ("acme Voyage U 5", true),
        ("acme Voyage U 6", true),
        ("acme VoyageHeader U 2", true),
        ("acme VoyageHeader U *", true),
        ("acme Voyage U 7", false),
        ("acme Voyage C,D 5", false),
        ("acme Voyage U 5 main", false),
        ("acme * U 6", true),
        ("acme * U 6 main", false),
        ("acme BunkerOrder U *", false),
        ("acme Cargo U *", false),
    ] {
        check(&vms, sub, &names("", "", moved), expected);
        check(&vms, sub, &names("erp", "", moved), expected);
        // Capture has looked already: its images are not searched.
        check(&vms, sub, &names("capture", "", moved), false);
    }
    // Named and found together.
    check(&vms, "acme Voyage U 6", &names("", "BunkerOrder/9", moved), true);
    check(&vms, "acme BunkerOrder U 9", &names("", "BunkerOrder/9", moved), true);
    // A broken body tells no owners (types above get a gap: poison.rs); those that are named still hold.
    check(&vms, "acme Voyage U 6", &names("", "Voyage/6", "{nonsense"), true);
    check(&vms, "acme PortCall U 7", &names("", "", "{nonsense"), true);
}

#[test]
fn once_per_socket_even_where_two_rules_match() {
    let mut replica = Replica::new(Model::vms(), 2);
    let id = replica.subscribe(1, "acme * * *");
    let both = replica.subscribe(1, "acme Voyage U 5,6");
    let header = "1;U;;none;Voyage/5,Voyage/6;;;";
    replica.record(&record("acme/PortCall/5", header, r#"{"new":{"voyage":5}}"#));
    assert_eq!(replica.messages(id).len(), 1);
    assert_eq!(replica.messages(both).len(), 1);
    assert!(replica.messages(both)[0].contains(r#""objectType":"PortCall","eventType":"U""#));
}

#[test]
fn types_outside_the_model() {
    let accept = Model::vms().with_unknown_types(UnknownTypes::Accept);
    let crate_ = |owners: &str| record("acme/Crate/c%2F1", &format!("1;C;;none;{owners}"), "{}");
    check(&accept, "acme Crate C *", &crate_(""), true);
    check(&accept, "acme Crate C c%2F1", &crate_(""), true);
    check(&accept, "acme Crate C c1", &crate_(""), false);
    check(&accept, "acme Crate U *", &crate_(""), false);
    check(&accept, "acme * * *", &crate_(""), true);
    check(&accept, "acme Pallet U p%201", &crate_("Pallet/p%201"), true);
    check(&accept, "acme Pallet U 12", &crate_("Pallet/12"), true);
    check(&accept, "acme Pallet U 13", &crate_("Pallet/12"), false);
    check(&accept, "acme Pallet U 12 main", &crate_("Pallet/12"), false);
    check(&accept, "acme Voyage U 12", &crate_("Voyage/12"), true);
    let call = record("acme/PortCall/7", "1;U;;none;Pallet/12", r#"{"new":{"key":7}}"#);
    check(&accept, "acme Pallet U 12", &call, true);
    check(&accept, "acme Pallet U * main", &call, false);
    // Numbers without a model are numbers.
    check(&accept, "acme Crate U 17", &record("acme/Crate/17", "1;U;;none", "{}"), true);
}

#[test]
fn string_keys() {
    let desk = Model::sample_helpdesk();
    let ticket = |key: &str| record(&format!("acme/Ticket/{key}"), "1;U;;none", "{}");
    check(&desk, "acme Ticket U T-1", &ticket("T-1"), true);
    check(&desk, "acme Ticket U T-2", &ticket("T-1"), false);
    check(&desk, "acme Ticket U a%2Fb%3Bc%2C,x", &ticket("a%2Fb%3Bc%2C"), true);
    check(&desk, "acme Ticket U %C3%A9", &ticket("%C3%A9"), true);
    check(&desk, "acme Ticket U e", &ticket("%C3%A9"), false);
    check(&desk, "acme Ticket U 5", &ticket("5"), true);
    check(&desk, "acme Ticket U 5", &ticket("05"), false);
    check(&desk, "acme Ticket U 05", &ticket("05"), true);
    // The keys of `*` are read without a model: 5 is a number there and a text here.
    check(&desk, "acme * U 5", &ticket("5"), true);
    check(&desk, "acme * U T-1", &ticket("T-1"), true);
    check(&desk, "acme * U 5", &ticket("05"), false);
    check(&desk, "acme * U 5", &record("acme/Comment/c", "1;C;;none;Ticket/5", "{}"), true);
    let comment = r#"{"new":{"key":"c","ticket":{"key":"T/1"},"parent":"p"}}"#;
    let comment = record("acme/Comment/c", "1;C;;none", comment);
    check(&desk, "acme Ticket U T%2F1", &comment, true);
    check(&desk, "acme Comment U p", &comment, true);
    check(&desk, "acme Comment C p", &comment, false);
    check(&desk, "acme Comment C c", &comment, true);
    let strange = record("a%2Fb%20c/Ticket/x", "1;U;;none", "{}");
    let mut replica = Replica::new(desk.clone(), 1);
    let mut sub = definition(&desk, "t Ticket U *");
    sub.tenant = tidewire_event::Tenant::new("a/b c").unwrap();
    sub.keys = KeySelector::keys(vec![text_key("x")]).unwrap();
    let id = replica.register(0, subscription(sub));
    replica.carry();
    replica.adopt(id);
    replica.record(&strange);
    assert_eq!(replica.messages(id).len(), 1);
}

#[test]
fn rights_hide_a_type_also_from_above() {
    let mut replica = Replica::new(Model::vms(), 1);
    let mut ids = Vec::new();
    for hidden in [&[][..], &["PortCall"][..]] {
        for text in ["acme * * *", "acme Voyage U 5", "acme PortCall * *"] {
            let mut sub = subscription(definition(&replica.model, text));
            sub.class = crate::harness::class("acme", hidden);
            ids.push(replica.register(0, sub));
        }
    }
    replica.carry();
    ids.iter().for_each(|id| replica.adopt(*id));
    replica.record(&record("acme/PortCall/7", "1;U;;none;Voyage/5", "{}"));
    let counts: Vec<usize> = ids.iter().map(|id| replica.messages(*id).len()).collect();
    assert_eq!(counts, [1, 1, 1, 0, 0, 0]);
}

#[test]
fn silent_updates_reach_nobody() {
    let vms = Model::vms();
    let body = |old: &str, new: &str| format!(r#"{{"new":{new},"old":{old}}}"#);
    let update = |old_image: &str, old: &str, new: &str| {
        record("acme/Voyage/5", &format!("1;U;;{old_image}"), &body(old, new))
    };
    let (one, two) = (r#"{"key":5,"remarks":"a"}"#, r#"{"key":5,"remarks":"b"}"#);
    check(&vms, "acme Voyage * *", &update("full", one, two), false);
    check(&vms, "acme * * *", &update("full", one, two), false);
    check(&vms, "acme Voyage * *", &update("partial", one, two), true);
    let other = r#"{"key":5,"remarks":"b","referenceNo":"x"}"#;
    check(&vms, "acme Voyage * *", &update("full", one, other), true);
}

#[test]
fn a_registration_stands_between_two_records() {
    let mut replica = Replica::new(Model::vms(), 1);
    let first = replica.subscribe(0, "acme Voyage * *");
    let voyage = record("acme/Voyage/5", "1;U;;none", "{}");
    // Nothing is carried in between: the order of the router's queue alone decides.
    replica.route(&voyage);
    let sub = subscription(definition(&replica.model, "acme Voyage * *"));
    let second = replica.register(0, sub);
    replica.route(&voyage);
    replica.carry();
    replica.adopt(second);
    let ids = |messages: Vec<String>| -> Vec<String> {
        messages.iter().map(|m| m[..13].to_owned()).collect()
    };
    assert_eq!(
        ids(replica.messages(first)),
        [r#"{"id":"0-0","#, r#"{"id":"0-1","#].map(|s| format!("{s}\""))
    );
    assert_eq!(ids(replica.messages(second)), [format!("{}\"", r#"{"id":"0-1","#)]);
}

#[test]
fn leaving_leaves_nothing_behind() {
    let accept = Model::vms().with_unknown_types(UnknownTypes::Accept);
    let mut replica = Replica::new(accept, 3);
    let mut texts = Vec::new();
    for types in ["Voyage", "VoyageHeader", "BunkerOrder", "PortCall", "Crate", "*"] {
        for keys in ["*", "5", "1,2,3"] {
            for main in ["", " main"] {
                texts.push(format!("acme {types} * {keys}{main}"));
            }
        }
    }
    let voyage = record("acme/Voyage/5", "1;U;;none;VoyageHeader/1", "{}");
    for _ in 0..3 {
        let mut ids = Vec::new();
        for shard in [0, 1, 2, 0, 0] {
            ids.extend(texts.iter().map(|text| replica.subscribe(shard, text)));
        }
        assert_eq!(replica.router.subscriptions(), ids.len());
        // The first 100 go in another order than they came.
        for at in (0..100).rev() {
            let id = ids.swap_remove(at * 7 % ids.len());
            replica.leave(id);
        }
        assert!(matches!(replica.record(&voyage), Routed::To(1..)));
        ids.into_iter().for_each(|id| replica.leave(id));
        replica.assert_empty();
        assert!(matches!(replica.record(&voyage), Routed::To(0)));
    }
}
