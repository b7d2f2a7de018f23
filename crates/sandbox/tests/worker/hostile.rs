//! More than 200 scripts that mean harm.

use std::time::Duration;

use tidewire_sandbox::Workers;
use tidewire_script::ScriptErrorKind as Kind;

use crate::support::{block_on, event, options, sources};

/// Families of ten, `{n}` being 1 to 10.
const FAMILIES: [(&str, &str); 21] = [
    (
        "memory by recursion",
        "fn t() { let s = \"\"; s.pad(250000, \"x\"); s }
        fn f(d) { let a = t(); let b = t(); let c = t(); let e = t(); let g = t(); let h = t();
            let i = t(); let j = t(); let k = t(); let l = t(); if d > 20 { {n} } else { f(d + 1) } }
        f(0) == 1",
    ),
    ("endless loops", "let x = {n}; loop { x += 1; }"),
    (
        "nested loops",
        "for a in 0..1000000 { for b in 0..1000000 { for c in 0..{n}000000 { } } } true",
    ),
    (
        "texts that double",
        "let s = \"x\"; loop { s += s; if s.len() > {n}000000 { return true; } }",
    ),
    ("texts that grow", "let s = `{n}`; loop { s += \"0123456789\"; }"),
    ("arrays that grow", "let a = []; loop { a.push([{n}, {n}, {n}]); }"),
    ("arrays that double", "let a = [{n}]; loop { a += a; }"),
    ("maps that grow", "let m = #{}; let i = 0; loop { m[`${i}`] = {n}; i += 1; }"),
    ("nested maps", "let m = #{}; loop { m = #{a: m, b: m, n: {n}}; }"),
    ("deep recursion", "fn f(x) { f(x + {n}) } f(0) == 1"),
    ("wide recursion", "fn f(x) { if x > 20 { 1 } else { f(x + 1) + f(x + 1) + {n} } } f(0) == 1"),
    ("closures", "let f = |x| x + {n}; let a = []; loop { a.push(f); let y = f.call(1); }"),
    (
        "closures that capture",
        "let a = []; let n = 0; loop { let c = n; a.push(|| c + {n}); n += 1; }",
    ),
    ("texts padded", "let all = []; loop { let s = \"\"; s.pad({n}0000, \"x\"); all.push(s); }"),
    (
        "arrays padded",
        "let all = []; for i in 0..1000 { let a = []; a.pad({n}000, i); all.push(a); } true",
    ),
    (
        "sorting",
        "let a = []; for i in 0..9000 { a.push((i * 7919 + {n}) % 9973); } loop { a.sort(|x, y| y - x); }",
    ),
    (
        "replacing",
        "let s = \"a\"; s.pad(100000, \"a\"); loop { let t = s; t.replace(\"a\", \"a{n}\"); }",
    ),
    (
        "splitting",
        "let s = \"\"; s.pad(200000, \"a,\"); let n = 0; loop { n += s.split(\",\").len() + {n}; }",
    ),
    ("powers", "let n = 1.0000001; loop { n = n ** {n}.5 + 1; }"),
    (
        "many variables",
        "let v0 = []; v0.pad(9999, {n}); let v1 = v0; let v2 = v0; let v3 = v0; let v4 = v0; let all = [v1]; loop { let w = v0; w.push(1); let t = [w.len()]; let x = w + t; }",
    ),
    (
        "searching",
        "let a = []; a.pad(9990, {n}); loop { if a.contains(\"never\") { return true; } let b = a.filter(|x| x != {n}); a.dedup(|x, y| false); }",
    ),
];

/// And some that are one of a kind, ten in all with their variants.
fn literals(n: usize) -> String {
    match n {
        1 => format!("let s = \"{}\"; loop {{ s += s; }}", "x".repeat(60_000)),
        2 => format!("{}1{} == 1", "(".repeat(20_000), ")".repeat(20_000)),
        3 => format!("[{}].len() == 1", "1,".repeat(30_000)),
        4 => format!("{}true", "!".repeat(60_000)),
        5 => format!("1{} == 1", " + 1".repeat(15_000)),
        6 => format!(
            "#{{{}}}.len() == 1",
            (0..5000).map(|i| format!("k{i}: 1,")).collect::<String>()
        ),
        7 => format!("{} true {}", "if true {".repeat(5000), "}".repeat(5000)),
        8 => {
            (0..3000).map(|i| format!("fn f{i}() {{ f{}() }}", i + 1)).collect::<String>() + "f0()"
        }
        9 => format!("dlpObject{} == 1", ".name".repeat(10_000)),
        _ => format!("`{}`.len() == 1", "${1}".repeat(15_000)),
    }
}

fn all() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for n in 1..=10 {
        for (family, source) in FAMILIES {
            all.push((format!("{family} {n}"), source.replace("{n}", &n.to_string())));
        }
        all.push((format!("literals {n}"), literals(n)));
    }
    all
}

fn memory(pid: u32, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

pub(crate) fn hostile_scripts_are_stopped() {
    block_on(async {
        let all = all();
        assert!(all.len() >= 200);
        let over = event(r#"{"new":{"name":"Bergen","n":1},"old":{"name":"Oslo","n":2}}"#);
        let mut kinds: std::collections::BTreeMap<&str, usize> = Default::default();
        let mut most = (Duration::ZERO, String::new());
        let mut largest = 0;
        let mut workers = Workers::start(options("script-worker", 1)).await.unwrap();
        let at_start = memory(workers.idle_pids()[0], "VmSize");
        for (index, (name, source)) in all.iter().enumerate() {
            if index % 20 == 0 {
                workers = Workers::start(options("script-worker", 1)).await.unwrap();
            }
            let alone = workers.evaluate_sources(&over, &sources(&[source])).await.unwrap();
            let result = &alone.results[0];
            let kind = match result {
                // Some come to an end within the limits.
                Ok(_) => "ended",
                Err(error) => error.kind.as_str(),
            };
            *kinds.entry(kind).or_default() += 1;
            assert!(
                !result.as_ref().is_err_and(|error| error.kind == Kind::Unavailable),
                "{name}: {result:?}"
            );
            if alone.cpu > most.0 {
                most = (alone.cpu, name.clone());
            }
            if let Some(pid) = workers.idle_pids().first() {
                largest = largest.max(memory(*pid, "VmPeak").saturating_sub(at_start));
            }
            // Its neighbours have their results, right away.
            let around =
                sources(&["dlpObject.name == \"Bergen\"", source, "dlpObject.n < oldDlpObject.n"]);
            let around = workers.evaluate_sources(&over, &around).await.unwrap();
            for place in [0, 2] {
                let fired = around.results[place].as_ref().map(|outcome| outcome.fired);
                assert_eq!(fired, Ok(true), "a neighbour of {name}");
            }
        }
        println!("{} scripts: {kinds:?}", all.len());
        println!("most CPU of one: {:?} ({})", most.0, most.1);
        println!("largest worker that survived: {} MiB above its start", largest >> 20);
        println!("{:?}", workers.stats());
        assert!(most.0 <= Duration::from_millis(100), "{most:?}");
    });
}
