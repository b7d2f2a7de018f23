use std::rc::Rc;
use std::time::Duration;

use tidewire_script::{Engine as _, Root};

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
