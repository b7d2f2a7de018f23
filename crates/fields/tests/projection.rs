//! Golden rows: list and image in, exact bytes out.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

use bytes::Bytes;
use tidewire_event::image::{Body, BodyLimits};
use tidewire_event::{KeyKind, ObjectKey, ObjectType};
use tidewire_fields::{FieldList, FieldMask, MaskView, Parsed, ProjectContext, Scope, Target};
use tidewire_model::{Model, UnknownTypes};

const CTX: ProjectContext<'_> = ProjectContext { self_base: "https://h" };

/// Projects the change of an object (`Type/key`) for a subscription to `scope` (`*` = every type).
fn project(model: &Model, scope: &str, changed: &str, list: &str, image: &str) -> String {
    let Ok(Parsed::List(list)) = FieldList::parse(list) else { panic!("{list}") };
    let main = (scope != "*").then(|| ObjectType::new(scope).unwrap());
    let mask =
        FieldMask::compile(&list, model, main.as_ref().map_or(Scope::Any, Scope::One), &|_| true)
            .unwrap();
    let (name, key) = changed.split_once('/').unwrap();
    let object_type = ObjectType::new(name).unwrap();
    let key = match model.key_kind(name) {
        Some(kind) => ObjectKey::parse(key, kind).unwrap(),
        None => ObjectKey::guess(key).unwrap(),
    };
    let body =
        Body::parse(Bytes::from(format!("{{\"new\":{image}}}")), BodyLimits::default()).unwrap();
    let target = Target { object_type: &object_type, is_main: scope == "*" || scope == name };
    let mut out = Vec::new();
    mask.project(target, body.new_image().unwrap(), &key, &CTX, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_published_bunker_order_list() {
    let list = r#"{"portCall":{"agent":"*","port":{"portName":"*","timezone":"*"},"eventLogs":{"event":{"eventCode":"*","eventDesc":"*"},"eventLogDate":"*"}},"vessel":{"vesselName":"*","imoNumber":"*"},"remarks":"*"}"#;
    let image = r#"{"key":9,"self":"http://elsewhere/BunkerOrder/9","remarks":"500 mt  \u00e9","supplier":{"key":3},
        "vessel":{"imoNumber":9811000,"vesselName":"Ever Given","key":77,"self":"x","vesselCode":"EG"},
        "portCall":{"eventLogs":[{"eventLogDate":"2026-09-14T13:37:26","event":{"eventDesc":"Arrival","eventCode":"ARR","key":5,"self":"s5"},"key":31,"isDateFixed":true},{"key":32,"event":null}],
            "port":{"timezone":"Europe/Oslo","portName":"Bergen","key":11,"unCode":"NOBGO"},"key":12,"agent":{"businessPartnerName":"A/S Agent","key":14,"creditLimit":1.50},"speed":12.50}}"#;
    let expected = concat!(
        r#"{"key":9,"self":"https://h/ws/rest/BunkerOrder/9","portCall":{"key":12,"self":"https://h/ws/rest/PortCall/12","#,
        r#""agent":{"key":14,"self":"https://h/ws/rest/BusinessPartner/14","businessPartnerName":"A/S Agent"},"#,
        r#""port":{"key":11,"self":"https://h/ws/rest/Port/11","portName":"Bergen","timezone":"Europe/Oslo"},"#,
        r#""eventLogs":[{"key":31,"self":"https://h/ws/rest/EventLog/31","event":{"key":5,"self":"s5","eventCode":"ARR","eventDesc":"Arrival"},"eventLogDate":"2026-09-14T13:37:26"},"#,
        r#"{"key":32,"self":"https://h/ws/rest/EventLog/32","event":null}]},"#,
        r#""vessel":{"key":77,"self":"https://h/ws/rest/Vessel/77","vesselName":"Ever Given","imoNumber":9811000},"remarks":"500 mt  \u00e9"}"#,
    );
    assert_eq!(project(&Model::vms(), "BunkerOrder", "BunkerOrder/9", list, image), expected);
    let below = r#"{"agent":null,"speed":1,"eventLogs":[]}"#;
    let expected =
        r#"{"key":12,"self":"https://h/ws/rest/PortCall/12","agent":null,"eventLogs":[]}"#;
    assert_eq!(project(&Model::vms(), "BunkerOrder", "PortCall/12", list, below), expected);
}

/// Rows of one type: list, image, and the members behind `key` and `self`.
fn rows(model: &Model, scope: &str, changed: &str, rows: &[(&str, &str, &str)]) {
    let (object_type, key) = changed.split_once('/').unwrap();
    let shown_key = match model.key_kind(object_type) {
        Some(KeyKind::Text) => format!("\"{key}\""),
        _ => key.to_owned(),
    };
    let head = format!("{{\"key\":{shown_key},\"self\":\"https://h/ws/rest/{object_type}/{key}\"");
    for (list, image, members) in rows {
        let found = project(model, scope, changed, list, image);
        assert_eq!(found, format!("{head}{members}}}"), "{list} of {image}");
    }
}

#[test]
fn members_come_in_the_order_of_the_list_digit_for_digit() {
    rows(
        &Model::vms(),
        "Port",
        "Port/1",
        &[
            (r#"{"portName":"*"}"#, r#"{"portName":"Bergen"}"#, r#","portName":"Bergen""#),
            (r#"{"portName":"*"}"#, "{}", ""),
            (r#"{"portName":"*"}"#, r#"{"portName":null}"#, r#","portName":null"#),
            (
                r#"{"unCode":"*","portName":"*"}"#,
                r#"{"portName":"B","unCode":"U"}"#,
                r#","unCode":"U","portName":"B""#,
            ),
            (
                r#"{"portName":"*","unCode":"*"}"#,
                r#"{"portName":"B","unCode":"U"}"#,
                r#","portName":"B","unCode":"U""#,
            ),
            (r#"{"portName":"*"}"#, r#"{"portName":"a","portName":"b"}"#, r#","portName":"b""#),
            (r#"{"portName":"*"}"#, r#"{"port\u004eame":"b"}"#, r#","portName":"b""#),
            (
                r#"{"portName":"*"}"#,
                r#"{ "portName" : "\u00e9\/\ud83d\udea2" }"#,
                r#","portName":"\u00e9\/\ud83d\udea2""#,
            ),
            (r#"{"portName":"*"}"#, r#"{"portName":"\ud800"}"#, r#","portName":"\ud800""#),
            (r#"{"portName":"*"}"#, r#"{"portName":1.10}"#, r#","portName":1.10"#),
            (r#"{"portName":"*"}"#, r#"{"portName":-0.0E+07}"#, r#","portName":-0.0E+07"#),
            (
                r#"{"portName":"*"}"#,
                r#"{"portName":123456789012345678901234567890.123}"#,
                r#","portName":123456789012345678901234567890.123"#,
            ),
            (
                r#"{"portName":"*"}"#,
                r#"{"portName":{"a": [1, 2]}}"#,
                r#","portName":{"a": [1, 2]}"#,
            ),
            (r#"{"portName":"*"}"#, r#"{"portName":[ ]}"#, r#","portName":[ ]"#),
            (r#"{"key":"*","self":"*"}"#, r#"{"key":99,"self":"other","portName":"x"}"#, ""),
            (r#"{"portName":"*","key":"*"}"#, r#"{"key":99,"portName":"x"}"#, r#","portName":"x""#),
            (
                r#"{"*":"*"}"#,
                r#"{"timezone":"T","portName":"B","remarks":"r"}"#,
                r#","portName":"B","timezone":"T""#,
            ),
            (
                r#"{"remarks":"*","*":"*"}"#,
                r#"{"timezone":"T","portName":"B","remarks":"r"}"#,
                r#","remarks":"r","portName":"B","timezone":"T""#,
            ),
            (
                r#"{"*":"*","remarks":"*"}"#,
                r#"{"timezone":"T","portName":"B","remarks":"r"}"#,
                r#","portName":"B","timezone":"T","remarks":"r""#,
            ),
            (
                r#"{"timezone":"*","*":"*"}"#,
                r#"{"timezone":"T","portName":"B"}"#,
                r#","timezone":"T","portName":"B""#,
            ),
            (
                r#"{"createdDate":"*"}"#,
                r#"{"createdDate":"2026-01-01T00:00:00"}"#,
                r#","createdDate":"2026-01-01T00:00:00""#,
            ),
        ],
    );
}

#[test]
fn references_and_nested_objects() {
    rows(
        &Model::vms(),
        "PortCall",
        "PortCall/1",
        &[
            (
                r#"{"port":{}}"#,
                r#"{"port":{"key":2,"portName":"B"}}"#,
                r#","port":{"key":2,"self":"https://h/ws/rest/Port/2"}"#,
            ),
            (
                r#"{"port":{"key":"*"}}"#,
                r#"{"port":{"key":2,"self":"x","portName":"B"}}"#,
                r#","port":{"key":2,"self":"https://h/ws/rest/Port/2"}"#,
            ),
            (
                r#"{"port":{"unCode":"*"}}"#,
                r#"{"port":{"key":2}}"#,
                r#","port":{"key":2,"self":"https://h/ws/rest/Port/2"}"#,
            ),
            (
                r#"{"port":"*"}"#,
                r#"{"port":{"unCode":"U","key":2,"portName":"B","remarks":"r"}}"#,
                r#","port":{"key":2,"self":"https://h/ws/rest/Port/2","portName":"B","unCode":"U"}"#,
            ),
            (
                r#"{"port":{"*":"*"}}"#,
                r#"{"port":{"unCode":"U","key":2}}"#,
                r#","port":{"key":2,"self":"https://h/ws/rest/Port/2","unCode":"U"}"#,
            ),
            (
                r#"{"port":{"*":"*","remarks":"*"}}"#,
                r#"{"port":{"remarks":"r","unCode":"U","key":2}}"#,
                r#","port":{"key":2,"self":"https://h/ws/rest/Port/2","unCode":"U","remarks":"r"}"#,
            ),
            (r#"{"port":"*"}"#, r#"{"port":null}"#, r#","port":null"#),
            (r#"{"port":{"portName":"*"}}"#, r#"{"port":null}"#, r#","port":null"#),
            (
                r#"{"port":"*"}"#,
                r#"{"port":2}"#,
                r#","port":{"key":2,"self":"https://h/ws/rest/Port/2"}"#,
            ),
            (
                r#"{"port":{"portName":"*"}}"#,
                r#"{"port":{"portName":"B"}}"#,
                r#","port":{"portName":"B"}"#,
            ),
            (
                r#"{"port":{"portName":"*"}}"#,
                r#"{"port":{"key":null,"portName":"B"}}"#,
                r#","port":{"portName":"B"}"#,
            ),
            (r#"{"port":{}}"#, r#"{"port":{}}"#, r#","port":{}"#),
            (r#"{"port":{}}"#, r#"{"port":true}"#, r#","port":{}"#),
            (
                r#"{"*":"*"}"#,
                r#"{"voyage":{"key":4,"referenceNo":"secret"},"speed":1.0}"#,
                r#","speed":1.0,"voyage":{"key":4,"self":"https://h/ws/rest/Voyage/4"}"#,
            ),
            (
                r#"{"*":"*"}"#,
                r#"{"eventLogs":[{"key":1,"event":{}},null,{"key":2}]}"#,
                r#","eventLogs":[{"key":1,"self":"https://h/ws/rest/EventLog/1"},null,{"key":2,"self":"https://h/ws/rest/EventLog/2"}]"#,
            ),
            (
                r#"{"eventLogs":"*"}"#,
                r#"{"eventLogs":[{"key":1,"isDateFixed":true,"event":{"eventDesc":"D","x":1,"eventCode":"ARR"}}]}"#,
                r#","eventLogs":[{"key":1,"self":"https://h/ws/rest/EventLog/1","event":{"eventCode":"ARR","eventDesc":"D"},"isDateFixed":true}]"#,
            ),
            (r#"{"eventLogs":{"eventLogDate":"*"}}"#, r#"{"eventLogs":[]}"#, r#","eventLogs":[]"#),
            (
                r#"{"eventLogs":{"eventLogDate":"*"}}"#,
                r#"{"eventLogs":{"key":1,"eventLogDate":"d"}}"#,
                r#","eventLogs":{"key":1,"self":"https://h/ws/rest/EventLog/1","eventLogDate":"d"}"#,
            ),
            (
                r#"{"reasonForCall":"*"}"#,
                r#"{"reasonForCall":{"reasonForCallDesc":"Load","reasonForCall":"L","other":1}}"#,
                r#","reasonForCall":{"reasonForCall":"L","reasonForCallDesc":"Load"}"#,
            ),
            (
                r#"{"reasonForCall":{"reasonForCall":"*"}}"#,
                r#"{"reasonForCall":{"self":"s","reasonForCall":"L","key":7}}"#,
                r#","reasonForCall":{"key":7,"self":"s","reasonForCall":"L"}"#,
            ),
            (
                r#"{"reasonForCall":{"reasonForCall":"*"}}"#,
                r#"{"reasonForCall":"L"}"#,
                r#","reasonForCall":"L""#,
            ),
            (
                r#"{"reasonForCall":{}}"#,
                r#"{"reasonForCall":{"reasonForCall":"L"}}"#,
                r#","reasonForCall":{}"#,
            ),
        ],
    );
    rows(
        &Model::vms(),
        "Voyage",
        "Voyage/1",
        &[
            (
                r#"{"vessel":{"owner":{"businessPartnerName":"*"}}}"#,
                r#"{"vessel":{"key":2,"owner":{"key":3,"businessPartnerName":"O"}}}"#,
                r#","vessel":{"key":2,"self":"https://h/ws/rest/Vessel/2","owner":{"key":3,"self":"https://h/ws/rest/BusinessPartner/3","businessPartnerName":"O"}}"#,
            ),
            (
                r#"{"scenarios":{"scenarioCode":"*"}}"#,
                r#"{"scenarios":[{"scenarioCode":"A","x":1},{"x":1},null,2]}"#,
                r#","scenarios":[{"scenarioCode":"A"},{},null,2]"#,
            ),
            (
                r#"{"voyageResult":"*"}"#,
                r#"{"voyageResult":{"a":1.0}}"#,
                r#","voyageResult":{"a":1.0}"#,
            ),
            (
                r#"{"voyageResult":{"b":"*","a":{"c":"*"}}}"#,
                r#"{"voyageResult":{"a":{"c":1.0,"d":2},"b":[1],"key":4}}"#,
                r#","voyageResult":{"key":4,"b":[1],"a":{"c":1.0}}"#,
            ),
            (
                r#"{"voyageResult":{"*":"*","b":{"c":"*"}}}"#,
                r#"{"voyageResult":{"a":1,"b":{"c":2,"d":3}}}"#,
                r#","voyageResult":{"a":1,"b":{"c":2}}"#,
            ),
            (
                r#"{"daysTotal":"*","daysBallast":"*","daysCanal":"*","daysLoading":"*","daysIdle":"*","daysWaiting":"*","commission":"*","comments":"*","referenceNo":"*","vessel":{}}"#,
                r#"{"vessel":{"key":2},"comments":null,"daysCanal":3.00,"comments":"last","daysTotal":1.50,"key":5}"#,
                r#","daysTotal":1.50,"daysCanal":3.00,"comments":"last","vessel":{"key":2,"self":"https://h/ws/rest/Vessel/2"}"#,
            ),
        ],
    );
}

#[test]
fn string_keys_are_quoted_and_percent_encoded() {
    let model = Model::sample_helpdesk();
    let found = project(
        &model,
        "Ticket",
        "Ticket/T/1 \"x\"",
        r#"{"customer":{},"assignee":{}}"#,
        r#"{"customer":{"key":"a b\u00e9"},"assignee":{"key":7}}"#,
    );
    let expected = r#"{"key":"T/1 \"x\"","self":"https://h/ws/rest/Ticket/T%2F1%20%22x%22","customer":{"key":"a b\u00e9","self":"https://h/ws/rest/Customer/a%20b%C3%A9"},"assignee":{"key":7,"self":"https://h/ws/rest/Agent/7"}}"#;
    assert_eq!(found, expected);
    rows(
        &model,
        "Ticket",
        "Ticket/T-1",
        &[
            (
                r#"{"color":"*","size":{"w":"*"}}"#,
                r#"{"size":{"h":1,"w":2.0},"color":"red"}"#,
                r#","color":"red","size":{"w":2.0}"#,
            ),
            (r#"{"color":"*"}"#, "{}", ""),
            (r#"{"color":{"deep":"*"}}"#, r#"{"color":"red"}"#, r#","color":"red""#),
            (r#"{"customer":{}}"#, r#"{"customer":{"key":"\ud800"}}"#, r#","customer":{}"#),
        ],
    );
}

#[test]
fn an_object_below_shows_the_sub_list_under_its_member() {
    let vms = Model::vms();
    let voyage = r#"{"referenceNo":"*","portCalls":{"speed":"*","eventLogs":{"eventLogDate":"*"}},"cargos":"*"}"#;
    rows(
        &vms,
        "Voyage",
        "PortCall/5",
        &[
            (voyage, r#"{"speed":1.0,"voyage":{"key":1}}"#, r#","speed":1.0"#),
            (r#"{"portCalls":{}}"#, r#"{"speed":1.0}"#, ""),
            (
                r#"{"portCalls":"*"}"#,
                r#"{"speed":1.0,"voyage":{"key":1}}"#,
                r#","speed":1.0,"voyage":{"key":1,"self":"https://h/ws/rest/Voyage/1"}"#,
            ),
            (r#"{"referenceNo":"*"}"#, r#"{"speed":1.0,"referenceNo":"x"}"#, ""),
            (r#"{"*":"*"}"#, r#"{"speed":1.0}"#, ""),
        ],
    );
    rows(
        &vms,
        "Voyage",
        "EventLog/5",
        &[
            (voyage, r#"{"eventLogDate":"d","isDateFixed":true}"#, r#","eventLogDate":"d""#),
            (r#"{"portCalls":"*"}"#, r#"{"eventLogDate":"d"}"#, ""),
        ],
    );
    rows(
        &vms,
        "VoyageHeader",
        "EventLog/5",
        &[(
            r#"{"voyage":{"portCalls":{"eventLogs":{"isDateFixed":"*"}}}}"#,
            r#"{"isDateFixed":true}"#,
            r#","isDateFixed":true"#,
        )],
    );
    rows(&vms, "Voyage", "CargoPort/5", &[(voyage, r#"{"freightRate":1}"#, "")]);
    // A member that refers elsewhere is no hierarchy member: its sub-list is not for changes below.
    rows(
        &vms,
        "Cargo",
        "CargoPort/5",
        &[(r#"{"cargoPorts":{"freightRate":"*"}}"#, r#"{"freightRate":1}"#, r#","freightRate":1"#)],
    );
    let Ok(Parsed::List(list)) =
        FieldList::parse(r#"{"vessel":{"vesselName":"*"},"portCalls":{}}"#)
    else {
        panic!()
    };
    let [voyage, vessel, port_call] =
        ["Voyage", "Vessel", "PortCall"].map(|t| ObjectType::new(t).unwrap());
    let mask = FieldMask::compile(&list, &vms, Scope::One(&voyage), &|_| true).unwrap();
    assert!(matches!(mask.for_type(&voyage, true), MaskView::Members(_)));
    assert!(matches!(mask.for_type(&port_call, false), MaskView::Members(_)));
    assert!(matches!(mask.for_type(&vessel, false), MaskView::Reference));
}

#[test]
fn a_socket_of_every_type() {
    let vms = Model::vms();
    let list = r#"{"portName":"*","vessel":{"vesselName":"*"},"voyageNo":"*"}"#;
    let image = r#"{"portName":"B","vessel":{"key":1,"vesselName":"V"},"voyageNo":3}"#;
    rows(&vms, "*", "Port/1", &[(list, image, r#","portName":"B""#)]);
    rows(
        &vms,
        "*",
        "Voyage/1",
        &[(
            list,
            image,
            r#","vessel":{"key":1,"self":"https://h/ws/rest/Vessel/1","vesselName":"V"}"#,
        )],
    );
    rows(&vms, "*", "VoyageHeader/1", &[(list, image, r#","voyageNo":3"#)]);
    rows(&vms, "*", "DocumentLine/1", &[(list, image, "")]);
    let vms = vms.with_unknown_types(UnknownTypes::Accept);
    rows(
        &vms,
        "*",
        "Zeppelin/1",
        &[
            (list, image, r#","portName":"B","vessel":{"key":1,"vesselName":"V"},"voyageNo":3"#),
            (
                r#"{"*":"*"}"#,
                r#"{"key":1,"a": 1 ,"self":"x","b":{"key":2}}"#,
                r#","a":1,"b":{"key":2}"#,
            ),
            (r#"{"b":{"c":"*"},"*":"*"}"#, r#"{"a":1,"b":{"c":1,"d":2}}"#, r#","b":{"c":1},"a":1"#),
        ],
    );
}
