//! What is wrong with a text, with its place, as compilers say it.

use std::fmt::Write as _;

/// Most characters of a line of source that are shown.
const WIDTH: usize = 100;

/// `<file>:<line>:<column>: <reason>`, then the line of source with a caret under the column. Line and
/// column count from 1; without a line only the first of it is said.
pub(super) fn at(
    file: &str,
    text: &str,
    line: Option<u32>,
    column: Option<u32>,
    reason: &str,
) -> String {
    let Some(line) = line else { return format!("{file}: {reason}") };
    let place = column.map_or_else(|| line.to_string(), |column| format!("{line}:{column}"));
    let mut out = format!("{file}:{place}: {reason}");
    let index = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
    // The end of the text may stand on a line of its own.
    let mut lines = text.lines().chain(std::iter::once(""));
    let Some(source) = lines.nth(index) else { return out };
    let caret = column.and_then(|c| usize::try_from(c).ok()?.checked_sub(1));
    // A long line is shown around its fault.
    let start = caret.filter(|at| *at >= WIDTH).map_or(0, |at| at - WIDTH / 2);
    let shown: String = source.chars().skip(start).take(WIDTH).map(visible).collect();
    let gutter = format!("{line:>4} | ");
    // Writing to a String cannot fail.
    let _ = write!(out, "\n{}", format!("{gutter}{shown}").trim_end());
    if let Some(caret) = caret {
        let before = gutter.chars().count() + (caret - start);
        let _ = write!(out, "\n{:before$}^", "");
    }
    out
}

/// One column, and no command to the terminal.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_fault() {
        let check = |text: &str, line: Option<u32>, column: Option<u32>, expected: &str| {
            assert_eq!(at("x.rhai", text, line, column, "why"), expected, "{text:?}");
        };
        check(
            "a\nlet b = c.d;\n",
            Some(2),
            Some(9),
            "x.rhai:2:9: why\n   2 | let b = c.d;\n               ^",
        );
        check("é\tb", Some(1), Some(3), "x.rhai:1:3: why\n   1 | é b\n         ^");
        check("a\u{1b}[2Jb", Some(1), Some(1), "x.rhai:1:1: why\n   1 | a\u{fffd}[2Jb\n       ^");
        // Behind the end of a line, and of the text.
        check("ab", Some(1), Some(3), "x.rhai:1:3: why\n   1 | ab\n         ^");
        check("ab", Some(2), Some(1), "x.rhai:2:1: why\n   2 |\n       ^");
        check("ab", Some(3), Some(1), "x.rhai:3:1: why");
        check("ab", Some(1), None, "x.rhai:1: why\n   1 | ab");
        check("ab", Some(1), Some(0), "x.rhai:1:0: why\n   1 | ab");
        check("ab", None, None, "x.rhai: why");
        check("ab", Some(0), Some(1), "x.rhai:0:1: why\n   0 | ab\n       ^");
    }

    #[test]
    fn a_long_line_is_shown_around_its_fault() {
        let text = format!("{}!{}", "x".repeat(500), "y".repeat(500));
        let shown = at("x", &text, Some(1), Some(501), "why");
        let lines: Vec<&str> = shown.lines().collect();
        let column = lines[2].find('^').unwrap();
        assert_eq!(lines[1].as_bytes()[column], b'!', "{shown}");
        assert!(lines[1].len() < 120);
    }
}
