//! Scripts that mean harm, of the kinds that the tests of the workers know.

/// The kinds; `{n}` makes each script another.
const KINDS: [&str; 10] = [
    // Endless, and nested.
    "let x = {n}; loop { x += 1; }",
    "let x = 0; for a in 0..1000000 { for b in 0..1000000 { for c in 0..{n}000000 { x += 1; } } } true",
    // Memory: by recursion within the limits of each text, and by arrays within those of each array.
    "fn t() { let s = \"\"; s.pad(250000, \"x\"); s }
    fn f(d) { let a = t(); let b = t(); let c = t(); let e = t(); let g = t(); let h = t();
        let i = t(); let j = t(); let k = t(); let l = t(); if d > 20 { {n} } else { f(d + 1) } }
    f(0) == 1",
    "let v = []; v.pad(4000, {n}); loop { let w = v + v; let u = v + v; w.push(u.len()); }",
    // Texts and maps that grow.
    "let s = `{n}`; loop { s += \"0123456789\"; }",
    "let m = #{}; let i = 0; loop { m[`${i}`] = {n}; i += 1; }",
    // Deep and wide recursion.
    "fn f(x) { f(x + {n}) } f(0) == 1",
    "fn f(x) { if x > 20 { 1 } else { f(x + 1) + f(x + 1) + {n} } } f(0) == 1",
    // Much work in one native call.
    "let a = []; for i in 0..9000 { a.push((i * 7919 + {n}) % 9973); } loop { a.sort(|x, y| y - x); }",
    "let s = \"a\"; s.pad(200000, \"a\"); let n = {n}; loop { let t = s; t.replace(\"a\", \"b\"); n += 1; }",
];

/// So many, the kinds taken in turn.
pub(super) fn sources(count: usize) -> Vec<String> {
    let kinds = KINDS.iter().cycle().zip(1..=count);
    kinds.map(|(source, n)| source.replace("{n}", &n.to_string())).collect()
}
