//! Every image of the fleet is an object of the sample model, member by member.

use serde_json::Value;
use tidewire_event::Tenant;
use tidewire_fleet::Fleet;
use tidewire_model::{MemberKind, Members, Model};

/// The place of the first member that the model does not know or that is not what it says.
fn fault(model: &Model, object_type: &str, image: &Value) -> Option<String> {
    let Some(def) = model.type_def(object_type) else {
        return Some(format!("no type {object_type}"));
    };
    let found = members_fault(model, def.members(), def.is_open(), image);
    found.map(|place| format!("{object_type}.{place}"))
}

fn members_fault(model: &Model, members: &Members, open: bool, image: &Value) -> Option<String> {
    image.as_object()?.iter().find_map(|(name, value)| {
        if name == "key" || name == "self" {
            return None;
        }
        let Some(member) = members.get(name) else {
            return (!open).then(|| name.clone());
        };
        if member.is_array() != value.is_array() && !value.is_null() {
            return Some(format!("{name} (array or not)"));
        }
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        values.iter().filter(|value| !value.is_null()).find_map(|value| match member.kind() {
            MemberKind::Open => None,
            MemberKind::Plain => value.is_object().then(|| format!("{name} (an object)")),
            MemberKind::Reference(to) => match value["key"].as_u64() {
                Some(_) => fault(model, to.as_str(), value),
                None => Some(format!("{name} (no key)")),
            },
            MemberKind::Nested(inner) => {
                members_fault(model, inner, false, value).map(|place| format!("{name}.{place}"))
            }
        })
    })
}

#[test]
fn images_have_the_members_of_the_model() {
    let model = Model::vms();
    let mut fleet = Fleet::new(5, 1_789_393_046_000, &Tenant::new("demo").unwrap());
    for n in 0..20_000 {
        let change = fleet.next(1_789_393_046_000 + n);
        let name = change.object_type.as_str();
        for image in change.new.iter().chain(&change.old) {
            assert_eq!(fault(&model, name, image), None, "{image}");
        }
        if let Some(new) = &change.new {
            for member in model.standard_fields(name) {
                let optional = ["description", "rateDate", "businessUnitName", "bunkerOrder"];
                assert!(
                    new.get(&**member).is_some() || optional.contains(&&**member),
                    "{name} lacks {member}"
                );
            }
        }
        for (owner, _) in &change.owners {
            assert!(model.types_above(name).contains(owner), "{name} below {owner}");
        }
    }
}

#[test]
fn the_check_finds_faults() {
    let model = Model::vms();
    let check = |image: Value, expected: &str| {
        assert_eq!(fault(&model, "PortCall", &image).as_deref(), Some(expected));
    };
    check(serde_json::json!({"eta": "2026"}), "PortCall.eta");
    check(serde_json::json!({"port": {"portName": "Bergen"}}), "PortCall.port (no key)");
    check(serde_json::json!({"eventLogs": {"key": 1}}), "PortCall.eventLogs (array or not)");
    check(serde_json::json!({"reasonForCall": {"x": 1}}), "PortCall.reasonForCall.x");
    check(serde_json::json!({"port": {"key": 1, "x": 1}}), "PortCall.Port.x");
}
