//! Lists for a terminal, or as JSON for programs.

use std::io::{self, Write as _};

use anyhow::Result;
use serde_json::Value;

use crate::terminal::plain;

/// Prints rows: their columns aligned, or each as JSON on a line of its own. `list` names a member that is
/// an array of objects with a `path`; it comes last.
pub(crate) fn print(
    as_json: bool,
    rows: &[Value],
    columns: &[&str],
    list: Option<&str>,
) -> Result<()> {
    let mut out = io::stdout().lock();
    if as_json {
        for row in rows {
            writeln!(out, "{row}")?;
        }
        return Ok(());
    }
    for line in lines(rows, columns, list) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn lines(rows: &[Value], columns: &[&str], list: Option<&str>) -> Vec<String> {
    let mut cells: Vec<Vec<String>> =
        vec![columns.iter().chain(&list).map(|name| name.to_ascii_uppercase()).collect()];
    for row in rows {
        let value = |name: &str| row.get(name).unwrap_or(&Value::Null);
        let mut line: Vec<String> = columns.iter().map(|name| cell(value(name))).collect();
        line.extend(list.map(|name| {
            let all = value(name).as_array().map(Vec::as_slice).unwrap_or_default();
            let paths: Vec<String> =
                all.iter().map(|one| cell(one.get("path").unwrap_or(&Value::Null))).collect();
            paths.join("  ")
        }));
        cells.push(line);
    }
    let count = cells.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = cells.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |cells: &Vec<String>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    cells.iter().map(line).collect()
}

/// A value for a terminal: what came from others must not move its cursor.
pub(crate) fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    plain(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [
            json!({"id":"r-1","session":null,"subscriptions":[{"path":"A/U/1"},{"path":"B/C/*"}]}),
            json!({"id":"r-22","session":"de\u{1b}[2Jsk","subscriptions":[]}),
        ];
        assert_eq!(
            lines(&rows, &["id", "session"], Some("subscriptions")),
            [
                "ID    SESSION   SUBSCRIPTIONS",
                "r-1   -         A/U/1  B/C/*",
                "r-22  de\u{fffd}[2Jsk",
            ]
        );
        assert_eq!(lines(&[], &["id"], None), ["ID"]);
    }
}
