mod search;
mod time;

use std::cell::Cell;

use super::*;
use bytes::Bytes;
use tidewire_event::image::{Body, BodyLimits, Document};
use tidewire_event::{ObjectType, Operation};
use tidewire_script::{Engine as _, NoReferences};

const IMAGE: &str = r#"{"key":7823672,"self":"https://vms.example.com/ws/rest/PortCall/7823672",
    "name":"Bergen","empty":"","escaped":"a\"b\\c\u00e9","price":701.50,"cents":0.10,"whole":7,
    "zero":0,"negative":-3,"small":1e-3,"large":1.5E3,"big":12345678901234567890,"flag":true,
    "off":false,"nothing":null,"at":"2026-09-14T13:37:26","later":"2026-09-17T01:37:26",
    "voyage":{"key":1,"self":"https://vms.example.com/ws/rest/Voyage/1","referenceNo":"KIT-2026-001",
        "vessel":{"key":2,"vesselName":"Tide Kittiwake"}},
    "gone":{"key":3,"vessel":null},
    "logs":[{"event":{"code":"ARR"},"at":"2026-09-01T00:00:00","n":1},
        {"event":{"code":"DEP"},"at":"2026-09-04T12:00:00","n":2.5},{"event":null,"at":null,"n":null}],
    "list":[1,2,3],"names":["a","b"],"none":[]}"#;

fn engine() -> RhaiEngine {
    // A busy machine must not matter.
    RhaiEngine::new(ScriptLimits::default(), Rc::new(|| Duration::ZERO))
}

fn event(operation: Operation, new: &str, old: &str) -> Event {
    let text = format!("{{\"new\":{new},\"old\":{old}}}");
    Event {
        object_type: ObjectType::new("PortCall").unwrap(),
        operation,
        body: Arc::new(Body::parse(Bytes::from(text), BodyLimits::default()).unwrap()),
        changed_by: Some(42),
    }
}

fn run(source: &str, event: &Event) -> Result<Outcome, ScriptError> {
    let mut engine = engine();
    let script = engine.compile(source)?;
    let references: Rc<dyn References> = Rc::new(NoReferences);
    engine.evaluate(&script, &engine.open(event, &references))
}

/// Over an update of the image above, whose old image has another price and no list.
fn update(source: &str) -> Result<Outcome, ScriptError> {
    let old = r#"{"key":7823672,"price":650,"name":"Bergen","voyage":{"key":9}}"#;
    run(source, &event(Operation::Update, IMAGE, old))
}

#[track_caller]
fn check(source: &str, fires: bool) {
    assert_eq!(update(source).map(|outcome| outcome.fired), Ok(fires), "{source}");
}

#[track_caller]
fn fails(source: &str, kind: Kind, place: (u32, u32), reason: &str) {
    let error = update(source).expect_err(source);
    let at = (error.line.unwrap_or(0), error.column.unwrap_or(0));
    assert_eq!((error.kind, at, error.reason.as_str()), (kind, place, reason), "{source}");
}

#[test]
fn fields_and_null() {
    for (source, fires) in [
        ("true", true),
        ("false", false),
        ("return true;", true),
        ("if dlpObject.flag { return true; } false", true),
        ("if dlpObject.off { true } else { false }", false),
        ("dlpObject.name == \"Bergen\"", true),
        ("dlpObject.name != 'x'", true),
        ("dlpObject.escaped == \"a\\\"b\\\\cé\"", true),
        ("dlpObject.key == 7823672", true),
        ("dlpObject.voyage.vessel.vesselName == \"Tide Kittiwake\"", true),
        ("dlpObject.voyage.vessel.owner.name == null", true),
        ("dlpObject.gone.vessel.vesselName == null", true),
        ("dlpObject.nothing == null", true),
        ("dlpObject.nothing == ()", true),
        ("dlpObject.nothing.at.all.there == null", true),
        ("dlpObject.unknown == null", true),
        ("dlpObject.unknown != null", false),
        ("dlpObject.name != null", true),
        ("dlpObject.name == null", false),
        ("dlpObject != null", true),
        ("oldDlpObject != null", true),
        ("dlpObject.empty == \"\"", true),
        ("dlpObject.empty == null", false),
        // A comparison with null is false, whichever way it is asked.
        ("dlpObject.nothing > 5", false),
        ("dlpObject.nothing < 5", false),
        ("dlpObject.nothing >= 5", false),
        ("dlpObject.nothing <= 5", false),
        ("5 > dlpObject.nothing", false),
        ("5 < dlpObject.nothing", false),
        ("dlpObject.price > dlpObject.nothing", false),
        ("dlpObject.nothing < dlpObject.price", false),
        ("dlpObject.nothing > \"a\"", false),
        ("dlpObject.nothing < dlpObject.nothing", false),
        ("dlpObject.nothing == dlpObject.unknown", true),
        ("dlpObject.nothing != dlpObject.unknown", false),
        ("dlpObject.nothing == 0", false),
        ("dlpObject.nothing == false", false),
        ("dlpObject.nothing == \"\"", false),
        ("dlpObject.voyage == null", false),
        ("dlpObject.voyage > 5", false),
        // It goes through calculations.
        ("dlpObject.nothing + 1 == null", true),
        ("1 + dlpObject.nothing == null", true),
        ("dlpObject.price - dlpObject.nothing == null", true),
        ("dlpObject.nothing * dlpObject.nothing == null", true),
        ("dlpObject.nothing / 0 == null", true),
        ("-dlpObject.nothing == null", true),
        ("abs(dlpObject.nothing - 1) > 5", false),
        ("round(dlpObject.nothing, 2) == null", true),
        ("min(dlpObject.nothing, 1) == null", true),
        ("max(dlpObject.price, dlpObject.nothing) == null", true),
        ("number(dlpObject.nothing) == null", true),
        ("parse_date(dlpObject.nothing) == null", true),
        ("days_between(dlpObject.nothing, dlpObject.at) > 1", false),
        ("days_between(dlpObject.at, dlpObject.nothing) == null", true),
        ("add_days(dlpObject.nothing, 3) == null", true),
        ("!dlpObject.nothing", true),
        ("is_null(dlpObject.nothing)", true),
        ("is_null(dlpObject.name)", false),
        ("dlpObject.name.is_null()", false),
        ("dlpObject.nothing.is_null()", true),
        ("or_else(dlpObject.nothing, 5) == 5", true),
        ("or_else(dlpObject.whole, 5) == 7", true),
        ("(dlpObject.nothing ?? 5) == 5", true),
        ("(dlpObject.whole ?? 5) == 7", true),
        ("dlpObject.nothing?.name == null", true),
        ("\"a\" + dlpObject.nothing == \"a\"", true),
        ("dlpObject.nothing.contains(\"x\")", false),
        ("dlpObject.nothing.starts_with(\"x\")", false),
        ("dlpObject.nothing.len == 0", true),
        ("dlpObject.nothing.len() == 0", true),
        ("dlpObject.nothing.is_empty()", true),
        ("dlpObject.nothing.upper() == null", true),
        ("dlpObject.nothing.some(|x| x > 1)", false),
        ("dlpObject.nothing.filter(|x| x > 1).len() == 0", true),
        ("dlpObject.nothing[0] == null", true),
        ("for x in dlpObject.nothing { return true; } false", false),
    ] {
        check(source, fires);
    }
}

#[test]
fn numbers() {
    for (source, fires) in [
        ("dlpObject.price > 700", true),
        ("dlpObject.price > 701.5", false),
        ("dlpObject.price >= 701.5", true),
        ("dlpObject.price == 701.5", true),
        ("dlpObject.price == 701.50", true),
        ("dlpObject.price < 702", true),
        ("700 < dlpObject.price", true),
        ("dlpObject.whole == 7", true),
        ("dlpObject.whole == 7.0", true),
        ("dlpObject.whole != 7", false),
        ("dlpObject.negative < 0", true),
        ("dlpObject.negative == -3", true),
        ("dlpObject.small == 0.001", true),
        ("dlpObject.large == 1500", true),
        ("dlpObject.big > 12345678901234567889", true),
        ("dlpObject.big == 12345678901234567890", true),
        // Money is exact.
        ("dlpObject.cents + 0.2 == 0.3", true),
        ("dlpObject.cents * 3 == 0.3", true),
        ("0.1 + 0.2 == 0.3", true),
        ("dlpObject.price - oldDlpObject.price == 51.5", true),
        ("dlpObject.price - oldDlpObject.price > 20000", false),
        ("abs(oldDlpObject.price - dlpObject.price) > 50", true),
        // A number of the object is a decimal: `/` does not cut.
        ("dlpObject.whole / 2 == 3.5", true),
        ("7 / dlpObject.whole == 1", true),
        ("7 / 2 == 3", true),
        ("7.0 / 2 == 3.5", true),
        ("number(7) / 2 == 3.5", true),
        ("dlpObject.whole % 4 == 3", true),
        ("dlpObject.whole + 1 == 8", true),
        ("1 + dlpObject.whole == 8", true),
        ("dlpObject.whole * 1.5 == 10.5", true),
        ("-dlpObject.whole == -7", true),
        ("abs(-5) == 5", true),
        ("abs(dlpObject.negative) == 3", true),
        ("dlpObject.negative.abs() == 3", true),
        ("round(2.5) == 3", true),
        ("round(-2.5) == -3", true),
        ("round(2.345, 2) == 2.35", true),
        ("round(2.344, 2) == 2.34", true),
        ("round(7, 2) == 7", true),
        ("dlpObject.price.round(0) == 702", true),
        ("min(1, 2) == 1", true),
        ("max(1, 2.5) == 2.5", true),
        ("max(dlpObject.price, 3) == 701.5", true),
        ("min(3, dlpObject.price) == 3", true),
        ("min(dlpObject.price, dlpObject.whole) == 7", true),
        ("number(\"12.50\") == 12.5", true),
        ("number(\" 3 \") == 3", true),
        ("number(\"x\") == null", true),
        ("number(dlpObject.price) == 701.5", true),
        // Kinds that have nothing to do with each other are not equal, and neither is more.
        ("dlpObject.name > 5", false),
        ("dlpObject.name == 5", false),
        ("dlpObject.flag == 1", false),
        ("dlpObject.price > \"7\"", false),
    ] {
        check(source, fires);
    }
}

#[test]
fn dates() {
    for (source, fires) in [
        ("days_between(dlpObject.at, dlpObject.later) == 2.5", true),
        ("days_between(dlpObject.later, dlpObject.at) == -2.5", true),
        ("hours_between(dlpObject.at, dlpObject.later) == 60", true),
        ("days_between(parse_date(dlpObject.at), dlpObject.later) == 2.5", true),
        ("days_between(dlpObject.at, parse_date(dlpObject.later)) == 2.5", true),
        ("days_between(dlpObject.at, \"2026-09-15\") < 1", true),
        ("days_between(dlpObject.at, dlpObject.at) == 0", true),
        ("parse_date(dlpObject.later) - parse_date(dlpObject.at) == 2.5", true),
        ("parse_date(dlpObject.at) < parse_date(dlpObject.later)", true),
        ("parse_date(dlpObject.at) > dlpObject.later", false),
        ("dlpObject.at <= parse_date(dlpObject.later)", true),
        ("parse_date(dlpObject.at) >= \"2026-09-14\"", true),
        ("parse_date(dlpObject.at) == dlpObject.at", true),
        ("parse_date(dlpObject.at) != dlpObject.later", true),
        ("parse_date(dlpObject.at) == parse_date(dlpObject.at)", true),
        ("add_days(dlpObject.at, 2.5) == dlpObject.later", true),
        ("add_days(dlpObject.at, 2) < dlpObject.later", true),
        ("add_days(parse_date(dlpObject.at), -1) == \"2026-09-13T13:37:26\"", true),
        ("add_hours(dlpObject.at, 60) == dlpObject.later", true),
        ("add_hours(dlpObject.at, dlpObject.whole) == \"2026-09-14T20:37:26\"", true),
        ("dlpObject.at.add_days(1).add_hours(-24) == dlpObject.at", true),
        // Texts of one form compare as they stand.
        ("dlpObject.at < dlpObject.later", true),
        ("dlpObject.at > \"2026-09-14T13:37:25\"", true),
        ("parse_date(dlpObject.at) < dlpObject.nothing", false),
        ("parse_date(dlpObject.at) == dlpObject.nothing", false),
    ] {
        check(source, fires);
    }
}

#[test]
fn arrays_texts_and_language() {
    for (source, fires) in [
        ("dlpObject.list.len == 3", true),
        ("dlpObject.list.len() == 3", true),
        ("dlpObject.list[0] == 1", true),
        ("dlpObject.list[-1] == 3", true),
        ("dlpObject.list[7] == null", true),
        ("dlpObject.none[0] == null", true),
        ("dlpObject.none.first() == null", true),
        ("dlpObject.logs[0].event.code == \"ARR\"", true),
        ("dlpObject.logs[2].event.code == null", true),
        ("dlpObject.logs[9].event.code == null", true),
        ("let n = 0; for log in dlpObject.logs { n += 1; } n == 3", true),
        ("let n = 0; for log in dlpObject.logs { n += log.n ?? 0; } n == 3.5", true),
        ("dlpObject.logs.some(|log| log.event.code == \"DEP\")", true),
        ("dlpObject.logs.some(|log| log.event.code == \"BRT\")", false),
        ("dlpObject.logs.all(|log| log.event.code != null)", false),
        ("dlpObject.logs.filter(|log| log.n > 1).len() == 1", true),
        ("dlpObject.logs.map(|log| log.n).len() == 3", true),
        ("let limit = 2; dlpObject.logs.filter(|log| log.n > limit).len() == 1", true),
        ("dlpObject.logs.find(|log| log.event.code == \"DEP\").n == 2.5", true),
        ("dlpObject.logs.find(|log| log.event.code == \"X\").n == null", true),
        ("let log = dlpObject.logs.find(|l| l.event.code == \"ARR\"); log.n == 1", true),
        ("\"a\" in dlpObject.names", true),
        ("\"z\" in dlpObject.names", false),
        ("dlpObject.name in [\"Bergen\", \"Oslo\"]", true),
        ("dlpObject.whole in [1, 7]", true),
        ("dlpObject.name.contains(\"erg\")", true),
        ("dlpObject.name.starts_with(\"Ber\")", true),
        ("dlpObject.name.ends_with(\"gen\")", true),
        ("dlpObject.name.len == 6", true),
        ("dlpObject.name.upper() == \"BERGEN\"", true),
        ("dlpObject.name.lower() == \"bergen\"", true),
        ("dlpObject.name.sub_string(0, 3) == \"Ber\"", true),
        ("dlpObject.name + \"!\" == \"Bergen!\"", true),
        ("`${dlpObject.name}: ${dlpObject.price}` == \"Bergen: 701.50\"", true),
        ("`${dlpObject.nothing}` == \"\"", true),
        ("dlpObject.name.split('r').len() == 2", true),
        ("dlpObject.voyage == dlpObject.voyage", true),
        ("dlpObject.voyage != oldDlpObject.voyage", true),
        ("dlpObject.voyage == oldDlpObject.voyage", false),
        ("dlpObject == oldDlpObject", true),
        ("dlpObject.voyage.key != oldDlpObject.voyage.key", true),
        ("fn twice(x) { x * 2 } twice(dlpObject.whole) == 14", true),
        ("switch dlpObject.name { \"Bergen\" => true, _ => false }", true),
        ("let x = if dlpObject.flag { 1 } else { 2 }; x == 1", true),
        ("try { throw \"x\"; } catch { return true; } false", true),
        ("eventType == \"U\"", true),
        ("objectType == \"PortCall\"", true),
        ("wsUser.key == 42", true),
        ("wsUser.userName == null", true),
        // What a language lets an author do, with no effect on anybody.
        ("let dlpObject = 5; dlpObject == 5", true),
    ] {
        check(source, fires);
    }
}

#[test]
fn what_each_operation_shows() {
    let new = r#"{"n":1}"#;
    let old = r#"{"n":0}"#;
    let check = |source: &str, operation, new: &str, old: &str, fires: bool| {
        let outcome = run(source, &event(operation, new, old));
        assert_eq!(outcome.map(|outcome| outcome.fired), Ok(fires), "{source} {operation}");
    };
    check("dlpObject.n == 1 && oldDlpObject == null", Operation::Create, new, "null", true);
    check("dlpObject.n == 1 && oldDlpObject == null", Operation::Create, new, old, true);
    check("dlpObject.n == 1 && oldDlpObject.n == 0", Operation::Update, new, old, true);
    check("dlpObject.n == 1 && oldDlpObject.n == null", Operation::Update, new, "null", true);
    check("dlpObject.n == 0 && oldDlpObject == null", Operation::Delete, "null", old, true);
    check("dlpObject == null && dlpObject.n == null", Operation::Delete, "null", "null", true);
    check("eventType == \"D\"", Operation::Delete, "null", old, true);
}

#[test]
fn results_and_messages() {
    let check = |source: &str, results: &[(&str, &str)], message: Option<&str>| {
        let outcome = update(source).unwrap();
        let expected: Vec<(String, String)> =
            results.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        assert_eq!(outcome.results, expected, "{source}");
        assert_eq!(outcome.message.as_deref(), message, "{source}");
    };
    let set = |value: &str| format!("mapResultsForMessage[\"?1\"] = {value}; true");
    for (value, text) in [
        ("dlpObject.name", "Bergen"),
        ("dlpObject.price", "701.50"),
        ("dlpObject.cents", "0.10"),
        ("dlpObject.whole", "7"),
        ("dlpObject.big", "12345678901234567890"),
        ("dlpObject.flag", "true"),
        ("dlpObject.nothing", ""),
        ("dlpObject.unknown.name", ""),
        ("5", "5"),
        ("1.50", "1.50"),
        ("'c'", "c"),
        ("\"é\"", "é"),
        ("parse_date(dlpObject.at)", "2026-09-14T13:37:26"),
        ("add_days(dlpObject.at, 1)", "2026-09-15T13:37:26"),
        ("days_between(dlpObject.at, dlpObject.later)", "2.5"),
        ("round(dlpObject.price / 3, 2)", "233.83"),
        ("json_escape(dlpObject.escaped)", "a\\\"b\\\\cé"),
        ("xml_escape(\"<a & 'b'>\")", "&lt;a &amp; &apos;b&apos;&gt;"),
        ("json_escape(dlpObject.nothing)", ""),
    ] {
        check(&set(value), &[("?1", text)], None);
    }
    check(
        "mapResultsForMessage.put(\"?2\", 5); mapResultsForMessage[\"?1\"] = 6; true",
        &[("?1", "6"), ("?2", "5")],
        None,
    );
    check("mapMessageFromServer[\"MSG\"] = `at ${dlpObject.name}`; true", &[], Some("at Bergen"));
    check("mapMessageFromServer.put(\"MSG\", dlpObject.price); true", &[], Some("701.50"));
    check("mapMessageFromServer[\"other\"] = 1; true", &[], None);
    // What did not fire says nothing.
    check("mapResultsForMessage[\"?1\"] = 5; false", &[], None);
}

#[test]
fn what_cannot_be_compiled() {
    for (source, place, reason) in [
        ("", (0, 0), ""),
        ("dlpObject.", (1, 11), ""),
        ("true\n  &&", (2, 5), ""),
        ("let x = ;", (1, 9), ""),
        ("if true {", (1, 10), ""),
        ("unknown.name == 1", (1, 1), "undefined variable: unknown"),
        ("true &&\n  dlpObjct.name == 1", (2, 3), "undefined variable: dlpObjct"),
    ] {
        if source.is_empty() {
            continue;
        }
        let error = update(source).expect_err(source);
        let at = (error.line.unwrap_or(0), error.column.unwrap_or(0));
        assert_eq!((error.kind, at), (Kind::Compile, place), "{source}: {error}");
        assert!(reason.is_empty() || error.reason == reason, "{source}: {error}");
    }
    for source in [
        "eval(\"true\")",
        "import \"x\" as y; true",
        "export x; true",
        "print(1); true",
        "debug(1); true",
        "Fn(\"print\").call(1); true",
        "is_def_var(\"x\")",
    ] {
        let error = update(source).expect_err(source);
        assert_eq!(error.kind, Kind::Compile, "{source}: {error}");
        assert!(error.line.is_some(), "{source}: {error}");
    }
}

#[test]
fn what_goes_wrong_when_it_runs() {
    let is_none = "the script returned null, expected true or false on every path";
    fails("", Kind::Type, (0, 0), is_none);
    fails("let x = 5;", Kind::Type, (1, 1), is_none);
    fails("if dlpObject.off { return true; }", Kind::Type, (1, 1), is_none);
    let wrong =
        |what: &str| format!("the script returned {what}, expected true or false on every path");
    fails("let x = 1;\ndlpObject.name", Kind::Type, (2, 1), &wrong("a text"));
    fails("5", Kind::Type, (1, 1), &wrong("an integer"));
    fails("dlpObject.price", Kind::Type, (1, 1), &wrong("a number"));
    fails("dlpObject.voyage", Kind::Type, (1, 1), &wrong("an object"));
    fails("dlpObject.list", Kind::Type, (1, 1), &wrong("an array"));
    fails("1 / 0 == 1", Kind::Runtime, (1, 3), "division by zero: 1 / 0");
    fails("dlpObject.price.name == 1", Kind::Type, (1, 17), "a number has no field 'name'");
    fails("dlpObject.list.name == 1", Kind::Type, (1, 16), "an array has no field 'name'");
    fails("throw \"no\";", Kind::Runtime, (1, 1), "the script threw: no");
    fails("nothing_here(1)", Kind::Type, (1, 1), "there is no function nothing_here (i64)");
    fails(
        "days_between(dlpObject.name, dlpObject.at) > 1",
        Kind::Runtime,
        (1, 1),
        "the script threw: \"Bergen\" is no date, expected yyyy-MM-ddTHH:mm:ss",
    );
    fails(
        "if dlpObject.nothing { true } else { false }",
        Kind::Type,
        (1, 13),
        "expected a boolean, found null",
    );
    fails("dlpObject.name - 1 == 2", Kind::Type, (1, 16), "there is no function - (string, i64)");
}

/// What was found out of a function in one script, or with arguments of one type, must not serve another.
#[test]
fn functions_belong_to_their_script() {
    let mut engine = engine();
    let references: Rc<dyn References> = Rc::new(NoReferences);
    let sources = [
        ("fn f(x) { x + 1 == 8 } f(dlpObject.whole)", true),
        ("fn f(x) { x + 1 == 9 } f(dlpObject.whole)", false),
        ("[1, 2].some(|x| x == 2)", true),
        ("[1, 2].some(|x| x == 3)", false),
        ("dlpObject.whole == dlpObject.name", false),
    ];
    let scripts = sources.map(|(source, fires)| (engine.compile(source).unwrap(), fires));
    for (image, is_it) in [(IMAGE, true), (r#"{"whole":"a","name":"a"}"#, false)] {
        let opened = engine.open(&event(Operation::Update, image, "null"), &references);
        for round in 0..5 {
            for (place, (script, fires)) in scripts.iter().enumerate() {
                let outcome = engine.evaluate(script, &opened).map(|outcome| outcome.fired);
                match place {
                    2 | 3 => assert_eq!(outcome, Ok(*fires), "{round} {place}"),
                    4 => assert_eq!(outcome, Ok(!is_it), "{round}"),
                    _ if is_it => assert_eq!(outcome, Ok(*fires), "{round} {place}"),
                    // "a" + 1 is a text, which is no number.
                    _ => assert_eq!(outcome, Ok(false), "{round} {place}"),
                }
            }
        }
    }
}

#[test]
fn limits() {
    for (source, kind) in [
        ("loop { }", Kind::Operations),
        ("let n = 0; while true { n += 1; } true", Kind::Operations),
        ("fn f(n) { f(n + 1) } f(0)", Kind::Size),
        ("let s = \"x\"; loop { s += s; }", Kind::Size),
        ("let a = []; loop { a.push(1); }", Kind::Size),
        ("let a = [1]; loop { a += a; }", Kind::Size),
        // Measuring the map costs operations.
        ("let m = #{}; let n = 0; loop { m[`k${n}`] = 1; n += 1; }", Kind::Operations),
        ("let s = \"\"; s.pad(100000000, \"x\"); true", Kind::Size),
        ("let a = []; a.pad(100000000, 1); true", Kind::Size),
    ] {
        let error = update(source).expect_err(source);
        assert_eq!(error.kind, kind, "{source}: {error}");
    }
    let deep = format!("{}1{} == 1", "(".repeat(200), ")".repeat(200));
    assert_eq!(update(&deep).unwrap_err().kind, Kind::Size);
    let names: String = (0..501).map(|n| format!("dlpObject.f{n};")).collect();
    assert_eq!(update(&format!("{names} true")).unwrap_err().kind, Kind::Size);
}

#[test]
fn objects_cannot_be_changed() {
    for source in [
        "dlpObject.name = \"x\"; true",
        "dlpObject.voyage.vessel.vesselName = \"x\"; true",
        "dlpObject = 5; true",
        "eventType = \"D\"; true",
        "dlpObject.new_field = 1; true",
        "let v = dlpObject.voyage; v.referenceNo = 1; true",
        "dlpObject.list = [1]; true",
        "let v = dlpObject.voyage; v.list = [1]; true",
        "let v = dlpObject.voyage; v.vessel = dlpObject; true",
        "dlpObject.logs[0].event = null; true",
    ] {
        assert!(update(source).is_err(), "{source}");
    }
    fails(
        "let v = dlpObject.voyage; v.list = [1]; true",
        Kind::Type,
        (1, 29),
        "an object cannot be changed",
    );
    // An array is the script's own copy.
    check("let l = dlpObject.list; l.push(9); dlpObject.list.len == 3 && l.len == 4", true);
}

#[test]
fn scripts_of_one_event_know_nothing_of_each_other() {
    let mut engine = engine();
    let sources = [
        "mapResultsForMessage[\"?1\"] = dlpObject.list; let l = dlpObject.list; l.clear(); true",
        "let x = dlpObject.list; x[0] = 99; let f = || x; f.call(); true",
        "let f = || dlpObject; let g = || mapResultsForMessage; g.call(); dlpObject.list.len() == 3",
        "mapResultsForMessage.len() == 0 && dlpObject.list[0] == 1",
        "dlpObject.list.clear(); dlpObject.list.push(1); true",
        "mapResultsForMessage.len() == 0 && dlpObject.list[0] == 1 && dlpObject.list.len() == 3",
    ];
    let scripts: Vec<_> = sources.iter().map(|s| engine.compile(s).unwrap()).collect();
    let references: Rc<dyn References> = Rc::new(NoReferences);
    let opened = engine.open(&event(Operation::Update, IMAGE, "null"), &references);
    for _ in 0..3 {
        for (index, script) in scripts.iter().enumerate() {
            let outcome = engine.evaluate(script, &opened);
            if index == 3 || index == 5 {
                assert_eq!(outcome.map(|o| o.fired), Ok(true), "{}", sources[index]);
            }
        }
    }
}

#[test]
fn a_run_is_repeatable() {
    let source = r#"let m = #{b: 1, a: 2, c: 3}; let s = ""; for k in m.keys() { s += k; }
        mapResultsForMessage["?1"] = s; true"#;
    let first = update(source).unwrap();
    assert_eq!(first.results, [("?1".to_owned(), "abc".to_owned())]);
    for _ in 0..20 {
        assert_eq!(update(source).unwrap(), first);
    }
}

#[test]
fn a_number_out_of_range_is_an_error_where_it_is_read() {
    let image = r#"{"huge":1e400,"fine":1}"#;
    let over = event(Operation::Create, image, "null");
    assert!(run("dlpObject.fine == 1", &over).unwrap().fired);
    let error = run("true &&\n dlpObject.huge > 1", &over).unwrap_err();
    assert_eq!((error.kind, error.line), (Kind::Runtime, Some(2)));
    assert_eq!(error.reason, "the number 1e400 of the object is out of range");
}

#[test]
fn a_reference_leads_further() {
    struct Fleet;
    impl References for Fleet {
        fn image(&self, object_type: &str, key: &str) -> Option<Arc<Document>> {
            let text = match (object_type, key) {
                ("Voyage", "1") => {
                    r#"{"key":1,"self":"x/Voyage/1","vessel":{"key":2,"self":"x/Vessel/2"}}"#
                }
                ("Vessel", "2") => r#"{"key":2,"self":"x/Vessel/2","vesselName":"Tide Tern"}"#,
                ("User", "42") => r#"{"key":42,"userName":"operator1"}"#,
                _ => return None,
            };
            Document::parse(Bytes::from_static(text.as_bytes()), BodyLimits::default())
                .ok()
                .map(Arc::new)
        }
    }
    let image = r#"{"key":5,"self":"x/PortCall/5","voyage":{"key":1,"self":"x/Voyage/1"},"lost":{"key":9,"self":"x/Voyage/9"}}"#;
    let over = event(Operation::Create, image, "null");
    let check = |source: &str, fires: bool| {
        let mut engine = engine();
        let script = engine.compile(source).unwrap();
        let references: Rc<dyn References> = Rc::new(Fleet);
        let outcome = engine.evaluate(&script, &engine.open(&over, &references));
        assert_eq!(outcome.map(|o| o.fired), Ok(fires), "{source}");
    };
    check("dlpObject.voyage.vessel.vesselName == \"Tide Tern\"", true);
    check("dlpObject.voyage.nothing == null", true);
    check("dlpObject.voyage.vessel.nothing == null", true);
    check("dlpObject.lost.vessel.vesselName == null", true);
    check("wsUser.userName == \"operator1\"", true);
    check("dlpObject.voyage.vessel == dlpObject.voyage.vessel", true);
}
