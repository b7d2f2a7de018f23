//! Which texts are field lists, and which exact words refuse the others.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

use tidewire_event::ObjectType;
use tidewire_fields::{FieldList, FieldListError, FieldMask, Parsed, Scope};
use tidewire_model::{Model, UnknownTypes};

fn list(text: &str) -> FieldList {
    match FieldList::parse(text) {
        Ok(Parsed::List(list)) => list,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn lists_are_accepted_in_their_canonical_form() {
    let check = |text: &str, canonical: &str| {
        let parsed = list(text);
        assert_eq!(parsed.canonical(), canonical, "{text}");
        assert_eq!(list(canonical), parsed, "the canonical form of {text} is another list");
    };
    let same = |text: &str| check(text, text);
    same(r#"{"a":"*"}"#);
    same(r#"{"*":"*"}"#);
    same(r#"{"*":"*","a":"*"}"#);
    same(r#"{"a":{"*":"*"}}"#);
    same(r#"{"a":{}}"#);
    same(r#"{"a":{},"b":"*"}"#);
    same(r#"{"b":"*","a":"*"}"#);
    same(r#"{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":"*"}}}}}}}}"#);
    same(
        r#"{"voyage":{"key":"*"},"port":{"portName":"*"},"eventLogs":{"eventLogDate":"*","event":{"eventCode":"*"}}}"#,
    );
    same(r#"{"é":"*"}"#);
    same(r#"{"":"*"}"#);
    same(r#"{"a.b":"*"}"#);
    same(r#"{"a\"\\\n":"*"}"#);
    check(" {\n\t\"a\" : \"*\" , \"b\":{ \"c\" :\"*\"} }\r\n", r#"{"a":"*","b":{"c":"*"}}"#);
    check(r#"{"\u0061":"\u002a"}"#, r#"{"a":"*"}"#);
    check(r#"{"\u00e9\/":"*"}"#, r#"{"é/":"*"}"#);
    let many: Vec<String> = (0..500).map(|n| format!("\"f{n}\":\"*\"")).collect();
    same(&format!("{{{}}}", many.join(",")));
    let long = format!("{{\"{}\":\"*\"}}", "x".repeat(16 * 1024 - 8));
    assert_eq!(long.len(), 16 * 1024);
    same(&long);
}

#[test]
fn the_empty_object_is_a_reset() {
    for text in ["{}", " {} ", "{\n}"] {
        assert_eq!(FieldList::parse(text), Ok(Parsed::Reset), "{text:?}");
    }
}

#[test]
fn order_makes_another_list_and_spelling_does_not() {
    assert_ne!(list(r#"{"a":"*","b":"*"}"#), list(r#"{"b":"*","a":"*"}"#));
    assert_eq!(list(r#"{"a":"*"}"#), list(r#" { "\u0061" : "*" } "#));
}

#[test]
fn broken_shapes_are_refused_in_exact_words() {
    let check = |text: &str, expected: &str| {
        let error = FieldList::parse(text).unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
        assert_eq!(error.status(), 400, "{text}");
    };
    for (text, column) in [
        ("", 0),
        ("{", 1),
        ("nul", 3),
        ("{\"a\"", 4),
        ("{\"a\":", 5),
        ("{\"a\":\"*\"", 8),
        ("{\"a\":\"*\"}}", 10),
        ("{'a':'*'}", 2),
        ("{a:\"*\"}", 2),
        ("{\"a\":*}", 6),
        ("{\"a\":\"*\",}", 10),
        ("\u{feff}{}", 1),
        ("*", 1),
        ("hello", 1),
        ("{\"a\":\"\t\"}", 6),
    ] {
        check(text, &format!("the field list is not JSON: it breaks at line 1, column {column}"));
    }
    check("{\n\"a\":\n]", "the field list is not JSON: it breaks at line 3, column 1");
    for (text, found) in [
        ("[]", "an array"),
        ("[{}]", "an array"),
        ("null", "null"),
        ("1", "a number"),
        ("-1.5e3", "a number"),
        ("true", "a boolean"),
        ("false", "a boolean"),
        ("\"*\"", "a string"),
    ] {
        check(text, &format!("a field list is a JSON object, found {found}"));
    }
    for (leaf, found) in [
        ("1", "a number"),
        ("0", "a number"),
        ("-1", "a number"),
        ("true", "a boolean"),
        ("false", "a boolean"),
        ("null", "null"),
        (r#""""#, r#""""#),
        (r#""**""#, r#""**""#),
        (r#""x""#, r#""x""#),
        (r#"" *""#, r#"" *""#),
        (r#""portName""#, r#""portName""#),
        (r#""\ud800""#, ""),
    ] {
        for (before, path, after) in [
            ("{\"a\":", "a", "}"),
            ("{\"x\":\"*\",\"a\":{\"b\":", "a.b", "}}"),
            ("{\"a\":{\"b\":{\"c\":", "a.b.c", "}}}"),
        ] {
            check(
                &format!("{before}{leaf}{after}"),
                &format!("'{path}' must be \"*\" or an object, found {found}"),
            );
        }
    }
    check(
        &format!("{{\"a\":\"{}\"}}", "y".repeat(50)),
        &format!("'a' must be \"*\" or an object, found \"{}...\"", "y".repeat(40)),
    );
    for array in ["[]", "[\"*\"]", "[{\"b\":\"*\"}]"] {
        check(
            &format!("{{\"a\":{array}}}"),
            "'a' is an array: write an array's fields in the plain object form",
        );
        check(
            &format!("{{\"x\":{{\"a\":{array}}}}}"),
            "'x.a' is an array: write an array's fields in the plain object form",
        );
    }
    for star in ["{}", "{\"a\":\"*\"}", "1", "null", "[]", "\"x\"", "true"] {
        check(&format!("{{\"*\":{star}}}"), "'*' must be \"*\": it stands for the standard fields");
        check(
            &format!("{{\"a\":{{\"*\":{star}}}}}"),
            "'a.*' must be \"*\": it stands for the standard fields",
        );
    }
    check(r#"{"a":"*","a":"*"}"#, "'a' stands twice");
    check(r#"{"a":"*","\u0061":"*"}"#, "'a' stands twice");
    check(r#"{"a":{"b":"*","c":"*","b":{}}}"#, "'a.b' stands twice");
    check(r#"{"*":"*","*":"*"}"#, "'*' stands twice");
    check(r#"{"\ud800":"*"}"#, "a name below '' is not text");
    check(r#"{"a":{"\udfff":"*"}}"#, "a name below 'a' is not text");
    check(
        r#"{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":{"i":"*"}}}}}}}}}"#,
        "'a.b.c.d.e.f.g.h' is nested deeper than 8 levels",
    );
    check(
        r#"{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":{}}}}}}}}}"#,
        "'a.b.c.d.e.f.g.h' is nested deeper than 8 levels",
    );
    let many: Vec<String> = (0..501).map(|n| format!("\"f{n}\":\"*\"")).collect();
    check(&format!("{{{}}}", many.join(",")), "the field list names more than 500 fields");
    check(
        &format!("{{\"a\":{{{}}}}}", many.get(..500).unwrap().join(",")),
        "the field list names more than 500 fields",
    );
    check(&" ".repeat(16 * 1024 + 1), "the field list has 16385 bytes, more than 16384");
    let deep = format!("{}1{}", "{\"a\":".repeat(2000), "}".repeat(2000));
    check(&deep, "'the list' is nested deeper than 8 levels");
    let long = "n".repeat(5000);
    check(
        &format!("{{\"{long}\":1}}"),
        &format!("'{}...' must be \"*\" or an object, found a number", "n".repeat(200)),
    );
}

fn nobody_forbids(_: &str) -> bool {
    true
}

fn compile(
    model: &Model,
    scope: &str,
    text: &str,
    hidden: &[&str],
) -> Result<FieldMask, FieldListError> {
    let object_type = (scope != "*").then(|| ObjectType::new(scope).unwrap());
    let scope = object_type.as_ref().map_or(Scope::Any, Scope::One);
    FieldMask::compile(&list(text), model, scope, &|name| !hidden.contains(&name))
}

#[test]
fn known_fields_compile() {
    let (vms, helpdesk) = (Model::vms(), Model::sample_helpdesk());
    let check = |model: &Model, scope: &str, text: &str| {
        let mask =
            compile(model, scope, text, &[]).unwrap_or_else(|e| panic!("{scope} {text}: {e}"));
        assert_eq!(mask.canonical(), list(text).canonical());
    };
    for object_type in vms.types() {
        let def = vms.type_def(object_type.as_str()).unwrap();
        check(&vms, object_type.as_str(), r#"{"*":"*"}"#);
        check(&vms, object_type.as_str(), r#"{"key":"*","self":"*"}"#);
        for name in def.members().names() {
            check(&vms, object_type.as_str(), &format!("{{\"{name}\":\"*\"}}"));
            check(&vms, "*", &format!("{{\"{name}\":\"*\"}}"));
        }
    }
    check(&vms, "BunkerOrder", BUNKER_ORDER);
    check(&vms, "*", BUNKER_ORDER);
    check(
        &vms,
        "PortCall",
        r#"{"voyage":{"key":"*"},"port":{"portName":"*"},"eventLogs":{"eventLogDate":"*","event":{"eventCode":"*"}}}"#,
    );
    check(
        &vms,
        "Voyage",
        r#"{"vessel":{"owner":{"businessPartnerName":"*"}},"portCalls":{"port":{}},"scenarios":{"scenarioCode":"*"}}"#,
    );
    check(&vms, "Voyage", r#"{"voyageResult":{"anything":{"at":"*"}}}"#);
    check(&vms, "Tc", r#"{"hireRate":"*","periods":{"from":"*","*":"*"}}"#);
    check(
        &vms,
        "*",
        r#"{"portName":"*","voyageNo":"*","unCode":"*","voyage":{"portCalls":{"speed":"*"}}}"#,
    );
    check(
        &helpdesk,
        "Ticket",
        r#"{"status":{"code":"*"},"customer":"*","custom":{"any":"*"},"tags":"*"}"#,
    );
    check(
        &vms.clone().with_unknown_types(UnknownTypes::Accept),
        "Zeppelin",
        r#"{"a":{"b":"*"},"*":"*"}"#,
    );
    check(&vms.with_unknown_types(UnknownTypes::Accept), "*", r#"{"nobodyKnows":"*"}"#);
}

const BUNKER_ORDER: &str = r#"{"portCall":{"agent":"*","port":{"portName":"*","timezone":"*"},"eventLogs":{"event":{"eventCode":"*","eventDesc":"*"},"eventLogDate":"*"}},"vessel":{"vesselName":"*","imoNumber":"*"},"remarks":"*"}"#;

#[test]
fn unknown_fields_are_refused_with_path_and_nearest_name() {
    let (vms, helpdesk) = (Model::vms(), Model::sample_helpdesk());
    let check = |model: &Model, scope: &str, text: &str, expected: &str| {
        let error = compile(model, scope, text, &[]).unwrap_err();
        assert_eq!(error.to_string(), expected, "{scope} {text}");
        assert_eq!(error.status(), 400, "{scope} {text}");
    };
    // Every member of every closed type, with a letter too many and in the wrong case.
    let mut rows = 0;
    for object_type in vms.types() {
        let def = vms.type_def(object_type.as_str()).unwrap();
        for name in def.members().names().filter(|name| !def.is_open() && name.len() > 3) {
            for wrong in [format!("{name}x"), name.to_uppercase()] {
                let expected = format!("unknown field '{wrong}', the nearest known is '{name}'");
                check(&vms, object_type.as_str(), &format!("{{\"{wrong}\":\"*\"}}"), &expected);
                rows += 1;
            }
        }
    }
    assert!(rows > 300, "{rows}");
    check(
        &vms,
        "Port",
        r#"{"portNam":"*"}"#,
        "unknown field 'portNam', the nearest known is 'portName'",
    );
    check(&vms, "Port", r#"{"zeppelin":"*"}"#, "unknown field 'zeppelin'");
    check(&vms, "Port", r#"{"":"*"}"#, "unknown field ''");
    check(
        &vms,
        "Port",
        r#"{"portName":"*","zeppelin":"*","balloon":"*"}"#,
        "unknown field 'zeppelin'",
    );
    check(
        &vms,
        "PortCall",
        r#"{"port":{"portNmae":"*"}}"#,
        "unknown field 'port.portNmae', the nearest known is 'portName'",
    );
    check(&vms, "PortCall", r#"{"port.portName":"*"}"#, "unknown field 'port.portName'");
    check(
        &vms,
        "PortCall",
        r#"{"eventLogs":{"event":{"eventcode":"*"}}}"#,
        "unknown field 'eventLogs.event.eventcode', the nearest known is 'eventCode'",
    );
    check(
        &vms,
        "PortCall",
        r#"{"speed":{"knots":"*"}}"#,
        "unknown field 'speed.knots': 'speed' is a plain value without fields",
    );
    check(
        &vms,
        "PortCall",
        r#"{"key":{"x":"*"}}"#,
        "unknown field 'key.x': 'key' is a plain value without fields",
    );
    check(
        &vms,
        "PortCall",
        r#"{"port":{"self":{"x":"*"}}}"#,
        "unknown field 'port.self.x': 'port.self' is a plain value without fields",
    );
    check(
        &vms,
        "PortCall",
        r#"{"speed":{"*":"*"}}"#,
        "unknown field 'speed.*': 'speed' is a plain value without fields",
    );
    check(
        &vms,
        "Voyage",
        r#"{"scenarios":{"scenarioCod":"*"}}"#,
        "unknown field 'scenarios.scenarioCod', the nearest known is 'scenarioCode'",
    );
    check(
        &vms,
        "*",
        r#"{"portName":"*","port":{"portNaem":"*"}}"#,
        "unknown field 'port.portNaem', the nearest known is 'portName'",
    );
    check(&vms, "Zeppelin", r#"{"a":"*"}"#, "unknown object type 'Zeppelin'");
    check(
        &vms,
        "Voyages",
        r#"{"a":"*"}"#,
        "unknown object type 'Voyages', the nearest known is 'Voyage'",
    );
    check(
        &helpdesk,
        "Ticket",
        r#"{"status":{"kode":"*"}}"#,
        "unknown field 'status.kode', the nearest known is 'code'",
    );
    check(
        &helpdesk,
        "Customer",
        r#"{"nane":"*"}"#,
        "unknown field 'nane', the nearest known is 'name'",
    );
    check(&vms, "*", r#"{"portName":"*","hireRate":"*"}"#, "unknown field 'hireRate'");
    check(
        &vms,
        "*",
        r#"{"portNaem":{"x":"*"}}"#,
        "unknown field 'portNaem', the nearest known is 'portName'",
    );
    let closed = r#"
        format = 1
        name = "closed"
        types = { A = { key = "integer", standard = [], members = { alpha = "plain", b = "B" } }, B = { key = "integer", standard = [], members = { beta = "plain", alpha = { inner = "plain" } } } }
    "#;
    let closed = Model::parse(closed).unwrap();
    assert!(
        compile(&closed, "*", r#"{"beta":"*","alpha":{"inner":"*"},"b":{"alpha":{}}}"#, &[])
            .is_ok()
    );
    check(&closed, "*", r#"{"betta":"*"}"#, "unknown field 'betta', the nearest known is 'beta'");
    check(&closed, "*", r#"{"alpha":"*","gamma":"*"}"#, "unknown field 'gamma'");
    check(
        &closed,
        "*",
        r#"{"alpha":{"outer":"*"}}"#,
        "unknown field 'alpha.outer': 'alpha' is a plain value without fields",
    );
}

#[test]
fn rights_are_checked_on_the_list() {
    let vms = Model::vms();
    let check = |scope: &str, hidden: &[&str], text: &str, expected: Option<&str>| {
        let error = compile(&vms, scope, text, hidden).err();
        assert!(error.as_ref().is_none_or(|e| e.status() == 401), "{error:?}");
        assert_eq!(
            error.map(|e| e.to_string()).as_deref(),
            expected,
            "{scope} {text} without {hidden:?}"
        );
    };
    let vessel = |path: &str| {
        format!(
            "'{path}' is not allowed: you may not read Vessel beyond key, self, vesselCode, vesselName, imoNumber"
        )
    };
    check("Voyage", &[], r#"{"vessel":{"owner":"*"}}"#, None);
    check("Voyage", &["Vessel"], r#"{"vessel":{"owner":"*"}}"#, Some(&vessel("vessel.owner")));
    check(
        "Voyage",
        &["Vessel"],
        r#"{"vessel":{"vesselName":"*","owner":{}}}"#,
        Some(&vessel("vessel.owner")),
    );
    check(
        "Voyage",
        &["Vessel"],
        r#"{"vessel":{"vesselName":"*","imoNumber":"*","key":"*"}}"#,
        None,
    );
    check("Voyage", &["Vessel"], r#"{"vessel":{}}"#, None);
    check("Voyage", &["Vessel"], r#"{"vessel":"*"}"#, Some(&vessel("vessel")));
    check("Voyage", &["Vessel"], r#"{"vessel":{"*":"*"}}"#, Some(&vessel("vessel.*")));
    check(
        "Voyage",
        &["Vessel"],
        r#"{"vessel":{"createdDate":"*"}}"#,
        Some(&vessel("vessel.createdDate")),
    );
    check("Voyage", &["Vessel"], r#"{"*":"*"}"#, None);
    check(
        "Voyage",
        &["BusinessPartner"],
        r#"{"vessel":{"owner":{"businessPartnerName":"*"}}}"#,
        None,
    );
    check("Voyage", &["BusinessPartner"], r#"{"vessel":{"owner":"*"}}"#, None);
    check(
        "Voyage",
        &["BusinessPartner"],
        r#"{"vessel":{"owner":{"creditLimit":"*"}}}"#,
        Some(
            "'vessel.owner.creditLimit' is not allowed: you may not read BusinessPartner beyond key, self, businessPartnerCode, businessPartnerName",
        ),
    );
    check(
        "Voyage",
        &["PortCall"],
        r#"{"portCalls":{"portCallSequence":"*","port":{"portName":"*"},"speed":"*"}}"#,
        Some(
            "'portCalls.speed' is not allowed: you may not read PortCall beyond key, self, portCallSequence, port",
        ),
    );
    check(
        "PortCall",
        &["EventLog"],
        r#"{"eventLogs":{"eventLogDate":"*"}}"#,
        Some("'eventLogs.eventLogDate' is not allowed: you may not read EventLog beyond key, self"),
    );
    check(
        "PortCall",
        &["PortCall"],
        r#"{"speed":"*"}"#,
        Some(
            "'speed' is not allowed: you may not read PortCall beyond key, self, portCallSequence, port",
        ),
    );
    check("PortCall", &["PortCall"], r#"{"portCallSequence":"*"}"#, None);
    // Whatever type shows it: a socket of every type may not look into a hidden one either.
    check("*", &["Vessel"], r#"{"vessel":{"owner":"*"}}"#, Some(&vessel("vessel.owner")));
    check("*", &["Vessel"], r#"{"vesselName":"*","owner":"*"}"#, Some(&vessel("owner")));
    check("*", &["Vessel"], r#"{"remarks":"*","createdDate":"*"}"#, None);
    let closed = Model::parse("format = 1\nname = \"x\"\n[types.A]\nkey = \"integer\"\nstandard = []\nmembers = { a = \"plain\" }\n[types.B]\nkey = \"integer\"\nstandard = []\nminimal = [\"b\"]\nmembers = { b = \"plain\", c = \"plain\" }\n").unwrap();
    let any = |text| {
        compile(&closed, "*", text, &["B"]).map_err(|e| (e.status(), e.to_string())).map(|_| ())
    };
    assert_eq!(any(r#"{"a":"*","b":"*","*":"*"}"#), Ok(()));
    assert_eq!(
        any(r#"{"c":"*"}"#),
        Err((401, "'c' is not allowed: you may not read B beyond key, self, b".into()))
    );
    assert_eq!(any(r#"{"d":"*"}"#).map_err(|e| e.0), Err(400));
}

#[test]
fn equal_lists_of_one_scope_are_one_mask() {
    let vms = Model::vms();
    let mask = |scope: &str, text: &str| compile(&vms, scope, text, &[]).unwrap();
    assert_eq!(mask("Port", r#"{"portName":"*"}"#), mask("Port", r#" {"portNam\u0065" : "*"}"#));
    assert_ne!(
        mask("Port", r#"{"portName":"*","unCode":"*"}"#),
        mask("Port", r#"{"unCode":"*","portName":"*"}"#)
    );
    assert_ne!(mask("Port", r#"{"key":"*"}"#), mask("Voyage", r#"{"key":"*"}"#));
    assert_ne!(mask("Port", r#"{"key":"*"}"#), mask("*", r#"{"key":"*"}"#));
    let scope = ObjectType::new("Port").unwrap();
    let list = list(r#"{"portName":"*"}"#);
    let one = FieldMask::compile(&list, &vms, Scope::One(&scope), &nobody_forbids).unwrap();
    let set: std::collections::HashSet<FieldMask> =
        [one.clone(), one, mask("Port", list.canonical())].into();
    assert_eq!(set.len(), 1);
}
