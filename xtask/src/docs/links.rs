//! Relative links in Markdown, and whether what they name is there: the file, and the heading in it.
//!
//! Known forms: `[text](target)`, `![image](target)`, `[name]: target`. Code is left out, and so are
//! links to other places, which only a network could judge.

use std::fs;
use std::path::{Path, PathBuf};

/// Every link of the page at `path` (relative to `root`) that leads nowhere, with its line.
pub(super) fn broken(root: &Path, path: &Path, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, line) in prose(text) {
        for target in targets(&line) {
            if let Err(why) = judge(root, path, text, &target) {
                problems.push(format!("{}:{number}: {target}: {why}", path.display()));
            }
        }
    }
    problems
}

/// The lines outside code fences, numbered from 1, with inline code blanked.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut fence: Option<&str> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let start = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => lines.push((number, without_code(line))),
            _ => {}
        }
    }
    lines
}

fn without_code(line: &str) -> String {
    // Odd parts stand between backticks. A last odd part has no closing one and is text.
    let parts: Vec<&str> = line.split('`').collect();
    let last = parts.len() - 1;
    let kept = parts.iter().enumerate().filter(|(at, _)| at % 2 == 0 || *at == last);
    kept.map(|(_, part)| *part).collect::<Vec<_>>().join("`")
}

fn targets(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some((_, after)) = rest.split_once("](") {
        let Some((inside, behind)) = after.split_once(')') else { break };
        found.push(inside);
        rest = behind;
    }
    let definition = line.trim_start().strip_prefix('[').and_then(|line| line.split_once("]: "));
    // `[^1]: ` is a footnote.
    found.extend(definition.filter(|(name, _)| !name.starts_with('^')).map(|(_, target)| target));
    // A title may follow; pointed brackets may surround.
    let first = found.into_iter().filter_map(|target| target.split_whitespace().next());
    first.map(|target| target.trim_matches(['<', '>']).to_owned()).collect()
}

fn judge(root: &Path, path: &Path, text: &str, target: &str) -> Result<(), &'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(());
    }
    if target.starts_with('/') {
        return Err("is not relative");
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let folder = path.parent().unwrap_or(Path::new(""));
    let Some(file) = resolve(&folder.join(file)) else { return Err("leads out of the project") };
    let full = root.join(&file);
    if target.starts_with('#') {
        return if has_heading(text, heading) { Ok(()) } else { Err("no such heading") };
    }
    if !full.exists() {
        return Err("no such file");
    }
    if heading.is_empty() || file.extension().is_none_or(|extension| extension != "md") {
        return Ok(());
    }
    match fs::read_to_string(&full) {
        Ok(other) if has_heading(&other, heading) => Ok(()),
        Ok(_) => Err("no such heading"),
        Err(_) => Err("cannot be read"),
    }
}

/// `a/../b` is `b`; above the root there is nothing.
fn resolve(path: &Path) -> Option<PathBuf> {
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                if !resolved.pop() {
                    return None;
                }
            }
            std::path::Component::CurDir => {}
            other => resolved.push(other),
        }
    }
    Some(resolved)
}

fn has_heading(text: &str, wanted: &str) -> bool {
    let mut seen: Vec<String> = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if line.contains(&format!("id=\"{wanted}\"")) {
            return true;
        }
        let title = line.trim_start_matches('#');
        if fenced || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let anchor = anchor(title.trim());
        let earlier = seen.iter().filter(|other| **other == anchor).count();
        if (earlier == 0 && anchor == wanted) || format!("{anchor}-{earlier}") == wanted {
            return true;
        }
        seen.push(anchor);
    }
    false
}

/// The anchor that code hosts give a heading: lower case, spaces as hyphens, no punctuation.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Links in a page at `docs/page.md` of this very project.
    fn check(text: &str, expected: &[&str]) {
        let root = crate::tree::root().unwrap();
        let found = broken(&root, Path::new("docs/page.md"), text);
        let wanted: Vec<_> = expected.iter().map(|e| format!("docs/page.md:{e}")).collect();
        assert_eq!(found, wanted, "{text}");
    }

    #[test]
    fn finds_links_that_lead_nowhere() {
        check("no link", &[]);
        check("[a](../Cargo.toml)", &[]);
        check("[a](../Cargo.toml \"with a title\")", &[]);
        check("[a](<../Cargo.toml>)", &[]);
        check("[a](reference) and [b](../Makefile.not)", &["1: ../Makefile.not: no such file"]);
        check("\n![a](none.png)", &["2: none.png: no such file"]);
        check("[a]: none.md", &["1: none.md: no such file"]);
        check("[^1]: none.md", &[]);
        check("[a](https://example.com/none) [b](mailto:a@b.c)", &[]);
        check("[a](/docs)", &["1: /docs: is not relative"]);
        check("[a](../../x)", &["1: ../../x: leads out of the project"]);
        check("`[a](none.md)` [b](gone.md)", &["1: gone.md: no such file"]);
        check("a ` [b](gone.md)", &["1: gone.md: no such file"]);
        check("```\n[a](none.md)\n```\n[b](gone.md)", &["4: gone.md: no such file"]);
        check("~~~\n```\n[a](none.md)\n~~~", &[]);
    }

    #[test]
    fn finds_headings_that_are_not_there() {
        check("# One: two, `three`\n[a](#one-two-three)", &[]);
        check("# Two\n# Two\n[a](#two) [b](#two-1)", &[]);
        check("# Two\n[a](#two-1)", &["2: #two-1: no such heading"]);
        check("```\n# One\n```\n[a](#one)", &["4: #one: no such heading"]);
        check("<a id=\"x\"></a>\n[a](#x)", &[]);
        check("#one\n[a](#one)", &["2: #one: no such heading"]);
        check(
            "[a](errors/README.md#nothing-of-the-kind)",
            &["1: errors/README.md#nothing-of-the-kind: no such heading"],
        );
        check("[a](../Cargo.toml#x)", &[]);
    }
}
