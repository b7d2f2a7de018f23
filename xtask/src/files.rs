//! The length of source files: short ones are read, long ones are searched.

use std::fs;

use anyhow::Context;

use crate::tree;

/// Generated and vendored files would have to be excepted here; there are none.
const EXTENSIONS: [&str; 6] = ["rs", "sh", "js", "ts", "py", "java"];
/// From here on a file is worth a second look.
const LINES_LONG: usize = 400;
/// Longer than this, a file is refused.
const LINES_MAX: usize = 900;

/// Prints the median and the long files; gives those that are too long.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn check() -> anyhow::Result<Vec<String>> {
    let root = tree::root()?;
    let mut lengths = Vec::new();
    for path in tree::files(&root, &EXTENSIONS)? {
        let text = fs::read(root.join(&path))
            .with_context(|| format!("cannot read {}", path.display()))?;
        let lines = text.iter().filter(|&&byte| byte == b'\n').count();
        lengths.push((lines, path.display().to_string()));
    }
    lengths.sort();
    print!("{}", report(&lengths));
    Ok(too_long(&lengths))
}

fn report(sorted: &[(usize, String)]) -> String {
    let Some((median, _)) = sorted.get(sorted.len() / 2) else { return String::new() };
    let mut text = format!("{} source files, median {median} lines\n", sorted.len());
    for (lines, path) in sorted.iter().rev().filter(|(lines, _)| *lines > LINES_LONG) {
        text.push_str(&format!("{lines:6} {path}\n"));
    }
    text
}

fn too_long(lengths: &[(usize, String)]) -> Vec<String> {
    let huge = lengths.iter().filter(|(lines, _)| *lines > LINES_MAX);
    huge.map(|(lines, path)| format!("{path} has {lines} lines; {LINES_MAX} is the limit"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_long_and_refuses_the_huge() {
        let lengths: Vec<_> = [(3, "a"), (400, "b"), (401, "c"), (900, "d"), (901, "e")]
            .map(|(lines, path)| (lines, path.to_owned()))
            .to_vec();
        let text = report(&lengths);
        assert!(text.starts_with("5 source files, median 401 lines\n"), "{text}");
        assert_eq!(text.lines().count(), 4, "{text}");
        assert_eq!(too_long(&lengths), ["e has 901 lines; 900 is the limit"]);
        assert_eq!(report(&[]), "");
    }
}
