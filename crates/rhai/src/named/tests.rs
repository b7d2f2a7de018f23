use std::rc::Rc;
use std::time::Duration;

use tidewire_script::{Engine as _, Root, ScriptErrorKind};

use crate::{RhaiEngine, ScriptLimits};

/// The paths as texts (`old.` stands for the object before, `user.` for the user), then the loose names.
fn check(source: &str, paths: &[&str], loose: &[&str]) {
    let mut engine = RhaiEngine::new(ScriptLimits::default(), Rc::new(|| Duration::ZERO));
    let script = engine.compile(source).expect(source);
    let fields = engine.fields(&script);
    let mut found: Vec<String> = fields
        .paths
        .iter()
        .map(|field| {
            let root = match field.root {
                Root::Current => "",
                Root::Before => "old.",
                Root::User => "user.",
            };
            format!("{root}{}", field.path.join("."))
        })
        .collect();
    found.sort();
    let mut expected: Vec<String> = paths.iter().map(|p| (*p).to_owned()).collect();
    expected.sort();
    assert_eq!(found, expected, "{source}");
    assert_eq!(fields.loose, loose, "{source}");
}

#[test]
fn what_sources_name() {
    check("true", &[], &[]);
    check("dlpObject.name == 1", &["name"], &[]);
    check("dlpObject.a.b.c == 1", &["a.b.c"], &[]);
    check("dlpObject.a.b == oldDlpObject.a.b", &["a.b", "old.a.b"], &[]);
    check("dlpObject.a == 1 || dlpObject.a == 2", &["a"], &[]);
    check("wsUser.key == 1", &["user.key"], &[]);
    check("dlpObject.list[0].name == 1", &["list.name"], &[]);
    check("dlpObject.list[dlpObject.n].name == 1", &["list.name", "n"], &[]);
    check("(dlpObject.a).b == 1", &["a.b"], &[]);
    check("dlpObject?.a?.b == 1", &["a.b"], &[]);
    check("abs(dlpObject.a - oldDlpObject.a) > 1", &["a", "old.a"], &[]);
    check("dlpObject.a.abs() > 1", &["a"], &[]);
    check("dlpObject.name.contains(dlpObject.other)", &["name", "other"], &[]);
    check("if dlpObject.a { dlpObject.b } else { dlpObject.c }", &["a", "b", "c"], &[]);
    check("`${dlpObject.a} ${dlpObject.b}` == \"\"", &["a", "b"], &[]);
    check("[dlpObject.a, #{x: dlpObject.b}].len() == 1", &["a", "b"], &[]);
    check("switch dlpObject.a { 1 => dlpObject.b, _ => dlpObject.c }", &["a", "b", "c"], &[]);
    check("dlpObject.a ?? dlpObject.b", &["a", "b"], &[]);
    check("fn f(x) { x.name } f(dlpObject.a) == 1", &["a", "a.name"], &[]);
    check("fn f() { #{} } f().name == 1", &[], &["name"]);
    check("fn f(x) { x.name } f(dlpObject) == f(oldDlpObject)", &["name", "old.name"], &[]);
    check("fn f(x) { x.name } f(dlpObject); true", &["name"], &[]);
    check("mapResultsForMessage[\"?1\"] = dlpObject.a; true", &["a"], &[]);
}

#[test]
fn variables_stand_for_paths() {
    check("let v = dlpObject.voyage; v.no == 1", &["voyage", "voyage.no"], &[]);
    check("let o = dlpObject; o.voyage.no == 1", &["voyage.no"], &[]);
    check(
        "let v = dlpObject.voyage; let s = v.vessel; s.name == 1",
        &["voyage", "voyage.vessel", "voyage.vessel.name"],
        &[],
    );
    check("let x = (); x = dlpObject.a; x.b == 1", &["a", "a.b"], &[]);
    check(
        "let x = dlpObject.a; x = oldDlpObject.c; x.b == 1",
        &["a", "a.b", "old.c", "old.c.b"],
        &[],
    );
    check("for log in dlpObject.logs { log.event.code; } true", &["logs", "logs.event.code"], &[]);
    check(
        "for log in dlpObject.logs { let e = log.event; e.code; } true",
        &["logs", "logs.event", "logs.event.code"],
        &[],
    );
    check(
        "dlpObject.logs.some(|log| log.event.code == \"ARR\")",
        &["logs", "logs.event.code"],
        &[],
    );
    check(
        "let limit = 5; dlpObject.logs.filter(|l| l.n > limit).len() > 1",
        &["logs", "logs.n"],
        &[],
    );
    check(
        "let log = dlpObject.logs.find(|l| l.code == 1); log.at == 1",
        &["logs", "logs.code", "logs.at"],
        &[],
    );
    check("dlpObject.logs.find(|l| l.code == 1).at == 1", &["logs", "logs.code", "logs.at"], &[]);
    check(
        "let v = dlpObject.a ?? oldDlpObject.a; v.b == 1",
        &["a", "a.b", "old.a", "old.a.b"],
        &[],
    );
}

/// Else a script would read by such a variable what its readers must not.
#[test]
fn a_variable_that_may_be_something_else_makes_its_names_loose_as_well() {
    let made = "fn made() { #{} } ";
    let both = |source: &str, paths: &[&str], loose: &[&str]| {
        check(&format!("{made}{source}"), paths, loose);
    };
    both("let x = dlpObject.a; x = made(); x.b == 1", &["a", "a.b"], &["b"]);
    both("let x = dlpObject.a ?? made(); x.b == 1", &["a", "a.b"], &["b"]);
    both("(dlpObject.a ?? made()).b == 1", &["a", "a.b"], &["b"]);
    both("let x = dlpObject.a; x = made(); let y = x; y.b == 1", &["a", "a.b"], &["b"]);
    both("let x = dlpObject.a; x.c = made(); x.c.b == 1", &["a", "a.c", "a.c.b"], &["b", "c"]);
    both("let x = dlpObject.a; x.push(made()); x[0].b == 1", &["a", "a.b"], &["b"]);
    both("let x = dlpObject.a; push(x, made()); x[0].b == 1", &["a", "a.b"], &["b"]);
    both("fn f(x) { x.b } f(dlpObject.a); f(made()); true", &["a", "a.b"], &["b"]);
    both("for x in dlpObject.a { x.b } for x in made() { x.c }", &["a", "a.b", "a.c"], &["b", "c"]);
    both("dlpObject.a.some(|x| x.b) || made().some(|x| x.c)", &["a", "a.b", "a.c"], &["b", "c"]);
    both("dlpObject.a.reduce(|x, y| y.b, 0); true", &["a", "a.b"], &["b"]);
    both(
        "let f = |x| x.b; dlpObject.a.some(|x| x.c) && f.call(1)",
        &["a", "a.b", "a.c"],
        &["b", "c"],
    );
    both("dlpObject.a.find_by(\"b\", 1) == made().find_by(\"c\", 1)", &["a", "a.b"], &["c"]);
    both("let x = dlpObject.a; x = made(); x.find_by(\"b\", 1)", &["a", "a.b"], &["b"]);
    // A plain value has no fields.
    both("let x = (); x = dlpObject.a; if x == 1 { x = 2; } x.b == 1", &["a", "a.b"], &[]);
    both("let x = 0; x += dlpObject.a; x == 1", &["a"], &[]);
}

#[test]
fn a_variable_that_may_be_too_much_makes_its_names_loose_as_well() {
    let many = |count: usize| {
        let paths: Vec<_> = (0..count).map(|n| format!("a{n}")).collect();
        let held: String = paths.iter().map(|path| format!("x = dlpObject.{path};")).collect();
        (format!("let x = (); {held} x.b == 1"), paths)
    };
    let (source, paths) = many(16);
    let behind = paths.iter().map(|path| format!("{path}.b"));
    let named: Vec<String> = paths.iter().cloned().chain(behind.clone()).collect();
    check(&source, &named.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    let (source, paths) = many(17);
    let named: Vec<String> = paths.iter().cloned().chain(behind).collect();
    check(&source, &named.iter().map(String::as_str).collect::<Vec<_>>(), &["b"]);
    // By way of too many others.
    let steps: String = (1..9).rev().map(|n| format!("v{n} = v{};", n - 1)).collect();
    let declared: String = (0..9).map(|n| format!("let v{n} = ();")).collect();
    let source = format!("{declared} v8 = dlpObject.a; {steps} v0 = v8; v8 = dlpObject.c; v1.b");
    let mut engine = RhaiEngine::new(ScriptLimits::default(), Rc::new(|| Duration::ZERO));
    let script = engine.compile(&source).unwrap();
    assert_eq!(engine.fields(&script).loose, ["b"]);
}

#[test]
fn each_name_has_its_place() {
    let mut engine = RhaiEngine::new(ScriptLimits::default(), Rc::new(|| Duration::ZERO));
    let script = engine.compile("true &&\n  dlpObject.voyge.vessel == null").unwrap();
    let field = &engine.fields(&script).paths[0];
    assert_eq!(field.places, [Some((2, 13)), Some((2, 19))]);
    let script = engine.compile("let v = dlpObject.voyage;\nv.vessel == null").unwrap();
    let field = &engine.fields(&script).paths[1];
    assert_eq!(field.places, [None, Some((2, 3))]);
}

#[test]
fn a_path_of_a_search_names_fields() {
    check(
        "dlpObject.logs.find_by(\"event.code\", \"ARR\") == null",
        &["logs", "logs.event.code"],
        &[],
    );
    check(
        "dlpObject.logs.find_by(\"event.code\", dlpObject.wanted).at == 1",
        &["logs", "logs.event.code", "logs.at", "wanted"],
        &[],
    );
    check(
        "let log = dlpObject.visit.logs.find_by(\"n\", 1); log.event.code == 1",
        &["visit.logs", "visit.logs.n", "visit.logs.event.code"],
        &[],
    );
    check(
        "let logs = oldDlpObject.logs; logs.find_by(\"n\", 1).at == 1",
        &["old.logs", "old.logs.n", "old.logs.at"],
        &[],
    );
    check(
        "fn at(visit) { visit.logs.find_by(\"n\", 1).at } at(dlpObject) == at(oldDlpObject)",
        &["logs", "logs.n", "logs.at", "old.logs", "old.logs.n", "old.logs.at"],
        &[],
    );
    check(
        "find_by(dlpObject.logs, \"event.code\", 1).at == 1",
        &["logs", "logs.event.code", "logs.at"],
        &[],
    );
    check("find_by(dlpObject.logs, \"n\", 1); true", &["logs", "logs.n"], &[]);
    check("dlpObject?.logs?.find_by(\"n\", 1)?.at == 1", &["logs", "logs.n", "logs.at"], &[]);
    check(
        "dlpObject.logs.filter(|l| l.x > 1).find_by(\"n\", 1).at == 1",
        &["logs", "logs.x", "logs.n", "logs.at"],
        &[],
    );
    check(
        "dlpObject.calls.some(|c| c.logs.find_by(\"n\", 1).at == 2)",
        &["calls", "calls.logs", "calls.logs.n", "calls.logs.at"],
        &[],
    );
    check(
        "const CODE = \"event.code\"; dlpObject.logs.find_by(CODE, 1) == null",
        &["logs", "logs.event.code"],
        &[],
    );
    // Of a list that the source does not show.
    check("fn f() { [] } f().find_by(\"event.code\", 1).at == 1", &[], &["at", "code", "event"]);
    check("[dlpObject.a].find_by(\"b.c\", 1) == null", &["a"], &["b", "c"]);
}

/// What a function of the script's own gives is none of the elements, whatever its name.
#[test]
fn a_function_of_its_own_hides_what_is_known() {
    check("fn first(x) { x.b } first(dlpObject.a).c == 1", &["a", "a.b"], &["c"]);
    check("fn first() { this.b } dlpObject.a.first().c == 1", &["a"], &["b", "c"]);
    check(
        "fn find_by(list, path, value) { list.b } find_by(dlpObject.a, \"n\", 1).c == 1",
        &["a", "a.b", "a.n"],
        &["c"],
    );
}

#[test]
fn a_path_has_its_place() {
    let mut engine = RhaiEngine::new(ScriptLimits::default(), Rc::new(|| Duration::ZERO));
    let source = "true &&\n  dlpObject.logs.find_by(\"event.code\", 1).at == 1";
    let script = engine.compile(source).unwrap();
    let fields = engine.fields(&script);
    let places = |path: &str| {
        let field = fields.paths.iter().find(|field| field.path.join(".") == path);
        field.unwrap().places.clone()
    };
    assert_eq!(places("logs"), [Some((2, 13))]);
    assert_eq!(places("logs.event.code"), [None, Some((2, 26)), Some((2, 26))]);
    assert_eq!(places("logs.at"), [Some((2, 13)), Some((2, 43))]);
}

#[test]
fn a_path_stands_in_the_source() {
    let check = |source: &str, place: (u32, u32), reason: &str| {
        let mut engine = RhaiEngine::new(ScriptLimits::default(), Rc::new(|| Duration::ZERO));
        let error = engine.compile(source).map(|_| ()).expect_err(source);
        let at = (error.line.unwrap_or(0), error.column.unwrap_or(0));
        let found = (error.kind, at, error.reason.as_str());
        assert_eq!(found, (ScriptErrorKind::Compile, place, reason), "{source}");
    };
    let put_together =
        "find_by() wants its path written out, as in find_by(\"event.eventCode\", \"ARR\")";
    for (source, place) in [
        ("let p = \"n\"; dlpObject.logs.find_by(p, 1) == null", (1, 37)),
        ("true &&\n dlpObject.logs.find_by(dlpObject.name, 1) == null", (2, 25)),
        ("dlpObject.logs.find_by(`${dlpObject.name}`, 1) == null", (1, 24)),
        ("dlpObject.logs.find_by(\"n\" + dlpObject.name, 1) == null", (1, 28)),
        ("dlpObject.logs.find_by(1, 1) == null", (1, 24)),
        ("dlpObject.logs.find_by(null, 1) == null", (1, 24)),
        ("dlpObject.logs.find_by(|x| x, 1) == null", (1, 24)),
        ("find_by(dlpObject.logs, dlpObject.name, 1) == null", (1, 25)),
        ("find_by(dlpObject.logs, dlpObject.name, 1); true", (1, 25)),
        ("fn f(l, p) { l.find_by(p, 1) } f(dlpObject.logs, \"n\") == null", (1, 24)),
        ("[1].some(|x| dlpObject.logs.find_by(x, 1) == null)", (1, 37)),
        ("if true { [[dlpObject.logs.find_by(dlpObject.name, 1)]]; } true", (1, 36)),
    ] {
        check(source, place, put_together);
    }
    for path in ["", ".", "a..b", "a b", "a[0].b", "2", "a.", "logs.é"] {
        let reason = format!(
            "\"{path}\" is no path of fields, expected up to 16 names with dots between them"
        );
        check(&format!("dlpObject.logs.find_by(\"{path}\", 1) == null"), (1, 24), &reason);
    }
}
