//! `find_by` finds what `find` with a closure finds.

use super::*;

#[test]
fn by_the_value_of_a_path() {
    for (source, fires) in [
        ("dlpObject.logs.find_by(\"event.code\", \"DEP\").n == 2.5", true),
        ("dlpObject.logs.find_by(\"event.code\", \"ARR\").at == \"2026-09-01T00:00:00\"", true),
        (
            "let log = dlpObject.logs.find_by(\"event.code\", \"ARR\"); log.event.code == \"ARR\"",
            true,
        ),
        ("let logs = dlpObject.logs; logs.find_by(\"n\", 1).event.code == \"ARR\"", true),
        ("find_by(dlpObject.logs, \"n\", 1).event.code == \"ARR\"", true),
        ("let code = \"DEP\"; dlpObject.logs.find_by(\"event.code\", code).n == 2.5", true),
        ("fn n(x) { x.logs.find_by(\"event.code\", \"DEP\").n } n(dlpObject) == 2.5", true),
        ("[dlpObject].some(|x| x.logs.find_by(\"event.code\", \"DEP\").n == 2.5)", true),
        // Nothing is found, or there is nothing to look in.
        ("dlpObject.logs.find_by(\"event.code\", \"BRT\") == null", true),
        ("dlpObject.logs.find_by(\"event.code\", \"BRT\").event.code == null", true),
        ("dlpObject.none.find_by(\"event.code\", \"ARR\") == null", true),
        ("dlpObject.nothing.find_by(\"event.code\", \"ARR\") == null", true),
        ("dlpObject.unknown.find_by(\"event.code\", 1) == null", true),
        ("oldDlpObject.logs.find_by(\"event.code\", null) == null", true),
        ("find_by(null, \"event.code\", true) == null", true),
        // The first of several.
        ("[#{k: 1, v: 1}, #{k: 2, v: 2}, #{k: 2, v: 3}].find_by(\"k\", 2).v == 2", true),
        ("[#{k: #{l: 1}}, #{k: null}, #{}].find_by(\"k.l\", 1).k.l == 1", true),
        ("[null, #{k: 1}].find_by(\"k\", 1).k == 1", true),
        // Fields of other kinds.
        ("[dlpObject].find_by(\"flag\", true) == dlpObject", true),
        ("[dlpObject].find_by(\"off\", true) == null", true),
        ("[dlpObject].find_by(\"price\", 701.5) == dlpObject", true),
        ("[dlpObject].find_by(\"whole\", 7) == dlpObject", true),
        ("[dlpObject].find_by(\"at\", parse_date(\"2026-09-14T13:37:26\")) == dlpObject", true),
        ("[dlpObject].find_by(\"voyage\", dlpObject.voyage) == dlpObject", true),
        ("[dlpObject].find_by(\"voyage\", oldDlpObject.voyage) == null", true),
        ("[dlpObject].find_by(\"voyage.vessel.vesselName\", \"Tide Kittiwake\") != null", true),
        ("[dlpObject].find_by(\"gone.vessel.vesselName\", null) != null", true),
        ("[dlpObject].find_by(\"escaped\", dlpObject.escaped) != null", true),
        ("[dlpObject].find_by(\"list\", 1) == null", true),
        ("[#{c: 'x'}].find_by(\"c\", \"x\") != null", true),
        ("[#{c: \"x\"}].find_by(\"c\", 'x') != null", true),
        ("[#{c: 'x'}].find_by(\"c\", 'x') != null", true),
    ] {
        check(source, fires);
    }
}

#[test]
fn as_the_closure_does() {
    for value in [
        "null",
        "1",
        "1.0",
        "2.5",
        "2",
        "\"1\"",
        "\"ARR\"",
        "\"DEP\"",
        "\"\"",
        "true",
        "false",
        "'A'",
        "dlpObject",
        "dlpObject.nothing",
        "dlpObject.whole",
        "dlpObject.logs[1].event.code",
    ] {
        for path in ["event.code", "event", "at", "n", "missing", "missing.further"] {
            let run = |find: &str| {
                let source =
                    format!("let value = {value}; dlpObject.logs.{find} == dlpObject.logs[1]");
                update(&source).map(|outcome| outcome.fired)
            };
            let closure = run(&format!("find(|log| log.{path} == value)"));
            assert!(closure.is_ok(), "{path} {value}: {closure:?}");
            assert_eq!(run(&format!("find_by(\"{path}\", value)")), closure, "{path} {value}");
        }
    }
}

#[test]
fn what_goes_wrong() {
    fails(
        "dlpObject.list.find_by(\"name\", 1) == null",
        Kind::Type,
        (1, 16),
        "a number has no field 'name'",
    );
    fails(
        "dlpObject.logs.find_by(\"at.name\", 1) == null",
        Kind::Type,
        (1, 16),
        "a text has no field 'name'",
    );
    fails(
        "dlpObject.logs.find_by(\"event.code\", parse_date(dlpObject.at)) == null",
        Kind::Runtime,
        (1, 16),
        "the script threw: \"ARR\" is no date, expected yyyy-MM-ddTHH:mm:ss",
    );
    fails(
        "dlpObject.logs.find_by(\"n\", [1]) == null",
        Kind::Type,
        (1, 16),
        "there is no function find_by (array, string, array)",
    );
    fails(
        "dlpObject.voyage.find_by(\"n\", 1) == null",
        Kind::Type,
        (1, 18),
        "there is no function find_by (object, string, i64)",
    );
}

/// A list costs what a loop over it costs, however it is walked through.
#[test]
fn operations_are_counted() {
    let list = |elements: usize| {
        let logs = vec![r#"{"event":{"code":"ARR"}}"#; elements].join(",");
        event(Operation::Create, &format!("{{\"logs\":[{logs}]}}"), "null")
    };
    let limits = ScriptLimits { operations_max: 10_000, ..ScriptLimits::default() };
    let kind = |source: &str, event: &Event| {
        let mut engine = RhaiEngine::new(limits, Rc::new(|| Duration::ZERO));
        let script = engine.compile(source).unwrap();
        let references: Rc<dyn References> = Rc::new(NoReferences);
        let outcome = engine.evaluate(&script, &engine.open(event, &references));
        outcome.map_err(|error| (error.kind, error.reason)).map(|outcome| outcome.fired)
    };
    let too_many = Err((Kind::Operations, "too many operations".to_owned()));
    let search = "dlpObject.logs.find_by(\"event.code\", \"DEP\") == null";
    assert_eq!(kind(search, &list(4_900)), Ok(true));
    assert_eq!(kind(search, &list(5_100)), too_many);
    // Found at once.
    assert_eq!(
        kind("dlpObject.logs.find_by(\"event.code\", \"ARR\") != null", &list(9_000)),
        Ok(true)
    );
    let twice = format!("{search} && {search}");
    assert_eq!(kind(&twice, &list(2_400)), Ok(true));
    assert_eq!(kind(&twice, &list(2_600)), too_many);
    let again = "let logs = dlpObject.logs; loop { logs.find_by(\"event.code\", \"DEP\"); }";
    assert_eq!(kind(again, &list(50)), too_many);
    // Those of a closure count too.
    let closures = "[1, 2, 3].for_each(|x| { let n = 0; while n < 1000 { n += 1; } }); true";
    assert_eq!(kind(closures, &list(1)), too_many);
}

/// The clock is looked at while a list is searched.
#[test]
fn its_time_is_limited() {
    let logs = vec![r#"{"n":1}"#; 2_000].join(",");
    let event = event(Operation::Create, &format!("{{\"logs\":[{logs}]}}"), "null");
    let looks = Rc::new(Cell::new(0));
    let clock = {
        let looks = Rc::clone(&looks);
        move || {
            looks.set(looks.get() + 1);
            Duration::from_millis(looks.get() * 10)
        }
    };
    let mut engine = RhaiEngine::new(ScriptLimits::default(), Rc::new(clock));
    let script = engine.compile("dlpObject.logs.find_by(\"n\", 2) == null").unwrap();
    let references: Rc<dyn References> = Rc::new(NoReferences);
    let error = engine.evaluate(&script, &engine.open(&event, &references)).unwrap_err();
    assert_eq!((error.kind, looks.get()), (Kind::Deadline, 9));
}

/// A text that is put together is no path, by whatever way it gets to the function.
#[test]
fn only_paths_of_the_script_that_runs() {
    let mut engine = engine();
    let references: Rc<dyn References> = Rc::new(NoReferences);
    let opened = engine.open(&event(Operation::Update, IMAGE, "null"), &references);
    let with = engine.compile("dlpObject.logs.find_by(\"event.code\", \"ARR\") != null").unwrap();
    let other = engine.compile("dlpObject.logs.find_by(\"n\", 1) != null").unwrap();
    for _ in 0..3 {
        for script in [&with, &other] {
            assert_eq!(engine.evaluate(script, &opened).map(|outcome| outcome.fired), Ok(true));
        }
    }
    for source in [
        "[\"n\"].reduce(\"find_by\", dlpObject.logs) == null",
        "dlpObject.logs.find_by.call(\"n\", 1)",
        "call(find_by, dlpObject.logs, \"n\", 1) == null",
        "let f = find_by; f.call(dlpObject.logs, \"n\", 1) == null",
        "let m = #{f: find_by}; m.f(dlpObject.logs, \"n\", 1) == null",
    ] {
        let outcome = engine.compile(source).and_then(|script| engine.evaluate(&script, &opened));
        assert!(outcome.is_err(), "{source}: {outcome:?}");
    }
}

#[test]
fn a_reference_is_followed() {
    struct Events;
    impl References for Events {
        fn image(&self, object_type: &str, key: &str) -> Option<Arc<Document>> {
            let text = match (object_type, key) {
                ("Event", "1") => r#"{"key":1,"self":"x/Event/1","code":"ARR"}"#,
                ("Event", "2") => r#"{"key":2,"self":"x/Event/2","code":"DEP"}"#,
                _ => return None,
            };
            let limits = BodyLimits::default();
            Document::parse(Bytes::from_static(text.as_bytes()), limits).ok().map(Arc::new)
        }
    }
    let image = r#"{"logs":[{"n":1,"event":{"key":1,"self":"x/Event/1"}},
        {"n":2,"event":{"key":2,"self":"x/Event/2"}},{"n":3,"event":{"key":3,"self":"x/Event/3"}}]}"#;
    let over = event(Operation::Create, image, "null");
    for (source, fires) in [
        ("dlpObject.logs.find_by(\"event.code\", \"DEP\").n == 2", true),
        ("dlpObject.logs.find_by(\"event.code\", null).n == 3", true),
        ("dlpObject.logs.find_by(\"event.code\", \"X\") == null", true),
    ] {
        let mut engine = engine();
        let script = engine.compile(source).unwrap();
        let references: Rc<dyn References> = Rc::new(Events);
        let outcome = engine.evaluate(&script, &engine.open(&over, &references));
        assert_eq!(outcome.map(|outcome| outcome.fired), Ok(fires), "{source}");
    }
}
