//! The embedded models, and what a model file is refused for.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

use bytes::Bytes;
use tidewire_event::image::{Body, BodyLimits};
use tidewire_event::{KeyKind, ObjectType};
use tidewire_model::{MemberKind, Model, UnknownTypes};

fn texts(types: &[ObjectType]) -> Vec<&str> {
    types.iter().map(ObjectType::as_str).collect()
}

fn body(text: &str) -> Body {
    Body::parse(Bytes::copy_from_slice(text.as_bytes()), BodyLimits::default()).unwrap()
}

#[test]
fn the_vms_model_has_every_type_and_member_of_the_contract() {
    let model = Model::vms();
    assert_eq!(model.name(), "vms");
    let check = |object_type: &str, members: &str| {
        let def = model.type_def(object_type).unwrap_or_else(|| panic!("{object_type}"));
        assert_eq!(def.key_kind(), KeyKind::Integer);
        for path in members.split_whitespace() {
            let (name, below) = path.split_once('.').map_or((path, None), |(n, b)| (n, Some(b)));
            let member = def.members().get(name).unwrap_or_else(|| panic!("{object_type}.{name}"));
            let Some(below) = below else { continue };
            let found = match member.kind() {
                MemberKind::Plain | MemberKind::Open => false,
                MemberKind::Reference(to) => model.member(to.as_str(), below).is_some(),
                MemberKind::Nested(members) => members.get(below).is_some(),
            };
            assert!(found, "{object_type}.{path}");
        }
        for common in [
            "codeProperty",
            "createdDate",
            "modifiedDate",
            "createdById",
            "changedById",
            "externalObjectKey",
        ] {
            assert!(def.members().get(common).is_some(), "{object_type}.{common}");
        }
    };
    check(
        "VoyageHeader",
        "vesselCode vesselCodes.masterUser company businessUnit voyageStartYear voyageStartDate voyageNo referenceNo voyageStatus.statusTypeCode voyageStatus.statusTypeDesc isBudget isTemplate voyage",
    );
    check(
        "Voyage",
        "referenceNo vessel voyageHeader portCalls cargos tcs comments daysBallast daysCanal daysLoading daysDischarging daysLoaded daysOffhire daysIdle daysWaiting daysTotal daysTotalAtSea daysTotalInPort commission canalCost ballastBonus scenarios.scenarioCode voyageResult",
    );
    check(
        "PortCall",
        "portCallSequence reasonForCall.reasonForCall reasonForCall.reasonForCallDesc port.portName agent currency speed distanceActual daysAtSea departureFixed voyage eventLogs.event eventLogs.eventLogDate eventLogs.timezoneName eventLogs.isDateFixed",
    );
    check("EventLog", "event.eventCode event.eventDesc eventLogDate timezoneName isDateFixed");
    check(
        "Cargo",
        "cargoMeasurement cargoType freightCurrency charterer commodity voyage commissionAddress cargoPorts.cargoPortSequence cargoPorts.cargoQuantity cargoPorts.freightRate cargoPorts.port cargoPorts.portCall cargoPorts.reasonForCall",
    );
    check(
        "BunkerOrder",
        "portCall.agent portCall.port portCall.eventLogs portCall.voyage vessel.vesselName vessel.imoNumber bunkerOrderLines remarks supplier broker company",
    );
    check(
        "Document",
        "documentNo documentAmount company.companyCode documentType.documentType invoicingStatus.statusTypeCode businessPartner.businessPartnerName lines",
    );
    check("Vessel", "vesselCode vesselName imoNumber owner.businessPartnerName");
    check("Port", "portName unCode timezone");
    for rest in [
        "CargoPort",
        "SubCargo",
        "DocumentLine",
        "Tc",
        "Currency",
        "ExchangeRate",
        "BunkerOrderLine",
        "BusinessUnit",
        "Company",
        "User",
        "PaymentTerms",
        "Bank",
        "BusinessPartner",
    ] {
        check(rest, "");
    }
    assert_eq!(model.types().len(), 22);
    assert!(model.member("Voyage", "portCalls").unwrap().is_array());
    assert!(!model.member("Voyage", "vessel").unwrap().is_array());
    assert_eq!(model.member("BunkerOrder", "nothing"), None);
    assert!(model.minimal_view("Port").iter().any(|name| **name == *"portName"));
    assert_eq!(model.standard_fields("Unheard").len(), 0);
}

#[test]
fn the_hierarchy_is_followed_to_its_ends() {
    let (vms, helpdesk) = (Model::vms(), Model::sample_helpdesk());
    let check = |model: &Model, object_type: &str, below: &[&str], above: &[&str]| {
        let sorted = |types: &[ObjectType]| {
            let mut names: Vec<String> = texts(types).into_iter().map(str::to_owned).collect();
            names.sort();
            names
        };
        assert_eq!(sorted(model.types_below(object_type)), below, "below {object_type}");
        assert_eq!(sorted(model.types_above(object_type)), above, "above {object_type}");
    };
    check(
        &vms,
        "VoyageHeader",
        &["Cargo", "CargoPort", "EventLog", "PortCall", "SubCargo", "Tc", "Voyage"],
        &[],
    );
    check(
        &vms,
        "Voyage",
        &["Cargo", "CargoPort", "EventLog", "PortCall", "SubCargo", "Tc"],
        &["VoyageHeader"],
    );
    check(&vms, "PortCall", &["EventLog"], &["BunkerOrder", "Voyage", "VoyageHeader"]);
    check(&vms, "EventLog", &[], &["BunkerOrder", "PortCall", "Voyage", "VoyageHeader"]);
    check(&vms, "BunkerOrder", &["BunkerOrderLine", "EventLog", "PortCall"], &[]);
    check(&vms, "Document", &["DocumentLine"], &[]);
    check(&vms, "Vessel", &[], &[]);
    check(&vms, "Unheard", &[], &[]);
    check(&helpdesk, "Ticket", &["Comment"], &[]);
    check(&helpdesk, "Comment", &["Comment"], &["Comment", "Ticket"]);
    assert_eq!(vms.types_below("VoyageHeader").first().map(ObjectType::as_str), Some("Voyage"));
}

#[test]
fn owners_are_read_from_an_image() {
    let (vms, helpdesk) = (Model::vms(), Model::sample_helpdesk());
    let check = |model: &Model, object_type: &str, image: &str, expected: &[&str]| {
        let body = body(&format!("{{\"new\":{image}}}"));
        let owners = model.owners_in_image(object_type, body.new_image().unwrap());
        let found: Vec<String> = owners.iter().map(|(t, k)| format!("{t}/{k}")).collect();
        assert_eq!(found, expected, "{object_type} {image}");
    };
    check(&vms, "PortCall", r#"{"voyage":{"key":5,"self":"x"}}"#, &["Voyage/5"]);
    check(&vms, "PortCall", r#"{"voyage":5}"#, &["Voyage/5"]);
    check(&vms, "PortCall", r#"{"voyage":null}"#, &[]);
    check(&vms, "PortCall", "{}", &[]);
    check(&vms, "PortCall", r#"{"voyage":{"key":"5"}}"#, &[]);
    check(&vms, "PortCall", r#"{"voyage":{"key":-5}}"#, &[]);
    check(&vms, "PortCall", r#"{"voyage":[{"key":5}]}"#, &[]);
    check(
        &vms,
        "PortCall",
        r#"{"voyage":{"key":5,"voyageHeader":{"key":9}}}"#,
        &["Voyage/5", "VoyageHeader/9"],
    );
    check(&vms, "PortCall", r#"{"voyage":{"voyageHeader":{"key":9}}}"#, &["VoyageHeader/9"]);
    check(
        &vms,
        "EventLog",
        r#"{"portCall":{"key":1,"voyage":{"key":5,"voyageHeader":9}}}"#,
        &["PortCall/1", "Voyage/5", "VoyageHeader/9"],
    );
    check(&vms, "Voyage", r#"{"voyageHeader":{"key":9},"vessel":{"key":3}}"#, &["VoyageHeader/9"]);
    check(&vms, "Cargo", r#"{"voyage":{"key":5}}"#, &["Voyage/5"]);
    check(&vms, "CargoPort", r#"{"cargo":{"key":4},"portCall":{"key":1}}"#, &["Cargo/4"]);
    check(&vms, "DocumentLine", r#"{"document":{"key":8}}"#, &["Document/8"]);
    check(
        &vms,
        "BunkerOrderLine",
        r#"{"bunkerOrder":{"key":8,"portCall":{"key":1}}}"#,
        &["BunkerOrder/8"],
    );
    check(&vms, "BunkerOrder", r#"{"portCall":{"key":1}}"#, &[]);
    check(&vms, "Unheard", r#"{"voyage":{"key":1}}"#, &[]);
    check(
        &helpdesk,
        "Comment",
        r#"{"ticket":{"key":"T-1"},"parent":{"key":"c1","ticket":{"key":"T-1"},"parent":{"key":"c0"}}}"#,
        &["Ticket/T-1", "Comment/c1", "Comment/c0"],
    );
}

#[test]
fn an_update_of_silent_members_alone_is_silent() {
    let model = Model::vms();
    let check = |old: &str, new: &str, expected: bool| {
        let body = body(&format!("{{\"new\":{new},\"old\":{old}}}"));
        let silent = model.is_silent_update(
            "BunkerOrder",
            body.old_image().unwrap(),
            body.new_image().unwrap(),
        );
        assert_eq!(silent, expected, "{old} -> {new}");
    };
    check(r#"{"key":1,"remarks":"a"}"#, r#"{"key":1,"remarks":"b"}"#, true);
    check(r#"{"key":1}"#, r#"{"key":1,"remarks":"b"}"#, true);
    check(
        r#"{"remarks":"a","modifiedDate":1,"changedById":1}"#,
        r#"{"remarks":"b","modifiedDate":2,"changedById":3}"#,
        true,
    );
    check(r#"{"remarks":"a","vessel":null}"#, r#"{"remarks":"b","vessel":{"key":1}}"#, false);
    check(r#"{"remarks":"a","vessel":null}"#, r#"{"remarks":"b"}"#, false);
    check(r#"{"modifiedDate":1}"#, r#"{"modifiedDate":2}"#, false);
    check(r#"{"remarks":"a"}"#, r#"{"remarks":"a"}"#, false);
}

#[test]
fn unknown_types_follow_the_rule() {
    let model = Model::vms();
    assert!(model.is_known("Voyage") && !model.is_known("voyage"));
    assert_eq!(model.nearest_type("voyage").map(ObjectType::as_str), Some("Voyage"));
    assert_eq!(model.nearest_type("PortCal").map(ObjectType::as_str), Some("PortCall"));
    assert_eq!(model.nearest_type("Zeppelin"), None);
    assert_eq!(model.key_kind("Zeppelin"), None);
    let model = model.with_unknown_types(UnknownTypes::Accept);
    assert!(model.is_known("Zeppelin"));
    assert_eq!(Model::sample_helpdesk().key_kind("Ticket"), Some(KeyKind::Text));
    assert_eq!(Model::sample_helpdesk().key_kind("Agent"), Some(KeyKind::Integer));
}

#[test]
fn all_problems_of_a_file_are_told_at_once() {
    let check = |text: &str, expected: &[&str]| {
        let found = Model::parse(text).unwrap_err().to_string();
        assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{text}");
    };
    let head = "format = 1\nname = \"x\"\n";
    let a = "[types.A]\nkey = \"integer\"\nstandard = []\n";
    check(
        "",
        &["format: must be 1", "name: must be a text", "types: must define at least one type"],
    );
    check("format = ", &["line 1: string values must be quoted, expected literal string"]);
    check(&format!("{head}typs = 1\n{a}"), &["typs: unknown key, the nearest known is \"types\""]);
    check(
        &format!("{head}unknown_types = 1\n{a}"),
        &["unknown_types: must be \"refuse\" or \"accept\""],
    );
    check(
        &format!("{head}[types.\"1\"]\n"),
        &["types.1: an object type is a letter, then up to 63 letters, digits or '_'"],
    );
    check(&format!("{head}[types]\nA = 1\n"), &["types.A: must be a table"]);
    check(
        &format!("{head}{a}[types.plain]\n"),
        &["types.plain: is a word that members use, not a type"],
    );
    check(
        &format!("{head}types = 1\n"),
        &["types: must be a table", "types: must define at least one type"],
    );
    check(
        &format!("{head}[types.A]\n"),
        &[
            "types.A.key: must be \"integer\" or \"string\"",
            "types.A.standard: is missing: the standard field list of the type",
        ],
    );
    check(
        &format!("{head}{a}open = 1\nhierachy = []\ncode = 1\n"),
        &[
            "types.A.hierachy: unknown key, the nearest known is \"hierarchy\"",
            "types.A.open: must be true or false",
            "types.A.code: must be the name of a member",
        ],
    );
    check(
        &format!("{head}{a}minimal = \"x\"\nsilent = [1]\n"),
        &[
            "types.A.minimal: must be a list of member names",
            "types.A.silent: must be a list of member names",
        ],
    );
    check(
        &format!(
            "{head}{a}minimal = [\"nam\", \"name\", \"name\", \"key\"]\ncode = \"nane\"\nmembers = {{ name = \"plain\" }}\n"
        ),
        &[
            "types.A.code: \"nane\" is an unknown member, the nearest known is \"name\"",
            "types.A.minimal: \"nam\" is an unknown member, the nearest known is \"name\"",
            "types.A.minimal: \"name\" stands twice",
            "types.A.minimal: \"key\" always comes and is not listed",
        ],
    );
    check(
        &format!(
            "{head}{a}members = {{ key = \"plain\", \"*\" = \"plain\", a = \"plian\", b = \"B\", c = 1, d = [], e = [[\"plain\"]], f = {{ g = \"Zeppelin\" }} }}\n"
        ),
        &[
            "types.A.members.key: is no name for a member",
            "types.A.members.*: is no name for a member",
            "types.A.members.a: \"plian\" is an unknown type, the nearest known is \"plain\"",
            "types.A.members.b: \"B\" is an unknown type",
            "types.A.members.c: must be \"plain\", \"open\", a type, a table of members, or an array of one of these",
            "types.A.members.d: an array has exactly one entry: what its elements are",
            "types.A.members.e: an array has exactly one entry: what its elements are",
            "types.A.members.f.g: \"Zeppelin\" is an unknown type",
        ],
    );
    check(
        &format!(
            "{head}{a}hierarchy = [\"p\"]\nowners = [\"many\", \"one\"]\nmembers = {{ p = \"plain\", many = [\"A\"], one = \"A\" }}\n"
        ),
        &[
            "types.A.hierarchy: \"p\" does not refer to a type",
            "types.A.owners: \"many\" is an array, and an owner is one object",
            "types.A.owners: no hierarchy member of A holds A",
            "types.A.owners: no hierarchy member of A holds A",
        ],
    );
    let deep = format!("{head}{a}[types.A.members]\n{}x = \"plain\"\n", "n.".repeat(10));
    check(&deep, &["types.A.members.n.n.n.n.n.n.n.n.n: is nested deeper than 8 levels"]);
}
