//! Takes typed values out of the merged configuration, and gathers what is wrong with them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Value, ValueKind};

use crate::error::Problem;
use crate::layer::{Merged, parse_value};
use crate::value::{parse_duration, parse_size, show_duration, show_size};

/// Most bytes of a value that is shown in a problem.
const SHOWN_BYTES_MAX: usize = 80;

/// Reads keys by their dotted names. A value that does not fit is a problem, and a stand-in is returned,
/// so that everything wrong is found in one run.
pub(crate) struct Reader {
    merged: Merged,
    problems: RefCell<Vec<Problem>>,
}

/// One table of an array of tables, such as `auth.issuers`.
pub(crate) struct Row<'r> {
    reader: &'r Reader,
    path: String,
    origin: String,
    members: BTreeMap<String, Value>,
}

impl Reader {
    pub(crate) const fn new(merged: Merged, problems: Vec<Problem>) -> Self {
        Self { merged, problems: RefCell::new(problems) }
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    pub(crate) fn problem(&self, key: &str, message: impl Into<String>) {
        let origin = self.merged.keys.get(key).map(origin_of).unwrap_or_default();
        self.add(key, message.into(), origin);
    }

    /// Whether nothing is wrong with a key so far.
    pub(crate) fn is_sound(&self, key: &str) -> bool {
        self.problems.borrow().iter().all(|problem| problem.key != key)
    }

    fn add(&self, key: &str, message: String, origin: String) {
        let problem = Problem { key: key.to_owned(), message, origin };
        self.problems.borrow_mut().push(problem);
    }

    fn raw(&self, key: &str) -> Value {
        self.merged.keys.get(key).cloned().unwrap_or_else(|| Value::new(None, ""))
    }

    pub(crate) fn text(&self, key: &str) -> String {
        self.parse(key, "a text", |text| Some(text.to_owned()))
    }

    /// A text, or `None` where it is empty.
    pub(crate) fn optional(&self, key: &str) -> Option<String> {
        Some(self.text(key)).filter(|text| !text.is_empty())
    }

    pub(crate) fn path(&self, key: &str) -> Option<PathBuf> {
        self.optional(key).map(PathBuf::from)
    }

    /// A file that must be there.
    pub(crate) fn file(&self, key: &str) -> Option<PathBuf> {
        let path = self.path(key)?;
        if let Err(error) = std::fs::File::open(&path) {
            self.problem(key, format!("{} cannot be read: {}", path.display(), error.kind()));
        }
        Some(path)
    }

    pub(crate) fn truth(&self, key: &str) -> bool {
        self.parse(key, "true or false", |text| text.parse().ok())
    }

    pub(crate) fn number<T>(&self, key: &str, range: RangeInclusive<T>) -> T
    where
        T: std::str::FromStr + PartialOrd + Display + Copy,
    {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let fits = |text: &str| text.parse().ok().filter(|n| range.contains(n));
        self.parse_or(key, &expected, fits, || *range.start())
    }

    pub(crate) fn duration(&self, key: &str, range: RangeInclusive<Duration>) -> Duration {
        let (low, high) = (show_duration(*range.start()), show_duration(*range.end()));
        let expected = format!("a duration from {low} to {high}, such as 25s");
        let fits = |text: &str| parse_duration(text).filter(|d| range.contains(d));
        self.parse_or(key, &expected, fits, || *range.start())
    }

    pub(crate) fn size(&self, key: &str, range: RangeInclusive<u64>) -> usize {
        let (low, high) = (show_size(*range.start()), show_size(*range.end()));
        let expected = format!("a size from {low} to {high}, such as 64KiB");
        let fits = |text: &str| {
            parse_size(text).filter(|n| range.contains(n)).and_then(|n| usize::try_from(n).ok())
        };
        self.parse_or(key, &expected, fits, || 0)
    }

    /// One of some words.
    pub(crate) fn choice<T: Copy>(&self, key: &str, words: &[(&str, T)], or: T) -> T {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let find = |text: &str| words.iter().find(|(w, _)| *w == text).map(|(_, value)| *value);
        self.parse_or(key, &names.join(" or "), find, || or)
    }

    /// A list: an array, or in the environment and on the command line texts separated by commas.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        let value = self.raw(key);
        self.list_of(key, &value)
    }

    /// A list whose items are read one by one.
    pub(crate) fn parsed_list<T>(
        &self,
        key: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let mut out = Vec::new();
        for item in self.list(key) {
            match parse(&item) {
                Some(value) => out.push(value),
                None => self.problem(key, format!("{} is not {expected}", shown(&item))),
            }
        }
        out
    }

    fn list_of(&self, key: &str, value: &Value) -> Vec<String> {
        match &value.kind {
            ValueKind::Array(items) => items.iter().map(plain).collect(),
            _ => {
                let text = plain(value);
                if text.trim_start().starts_with('[') {
                    match parse_value(&origin_of(value), &text) {
                        Some(array) => return self.list_of(key, &array),
                        None => self.problem(key, "is not an array in TOML".to_owned()),
                    }
                    return Vec::new();
                }
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(str::to_owned).collect()
            }
        }
    }

    /// The tables of an array of tables; `known` are the members that they may have.
    pub(crate) fn rows(&self, key: &str, known: &[&str]) -> Vec<Row<'_>> {
        let mut value = self.raw(key);
        if let ValueKind::String(text) = &value.kind {
            match parse_value(&origin_of(&value), text) {
                Some(parsed) => value = parsed,
                None => {
                    self.problem(key, "expected an array of tables in TOML");
                    return Vec::new();
                }
            }
        }
        let origin = origin_of(&value);
        let ValueKind::Array(items) = value.kind else {
            self.problem(key, "expected an array of tables");
            return Vec::new();
        };
        let mut rows = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{key}[{index}]");
            let ValueKind::Table(members) = item.kind else {
                self.add(&path, "expected a table".to_owned(), origin.clone());
                continue;
            };
            for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
                let full = format!("{path}.{name}");
                let message = match crate::schema::nearest(name, known.iter().copied()) {
                    Some(near) => format!("unknown key; did you mean {near}?"),
                    None => "unknown key".to_owned(),
                };
                self.add(&full, message, origin.clone());
            }
            let members = members.into_iter().collect();
            rows.push(Row { reader: self, path, origin: origin.clone(), members });
        }
        rows
    }

    /// The entries of a map, as texts.
    pub(crate) fn map(&self, name: &str) -> BTreeMap<String, String> {
        let entries = self.merged.maps.get(name).into_iter().flatten();
        entries.map(|(entry, value)| (entry.clone(), plain(value))).collect()
    }

    /// The entries of a map, as lists.
    pub(crate) fn lists(&self, name: &str) -> BTreeMap<String, Vec<String>> {
        let entries = self.merged.maps.get(name).into_iter().flatten();
        entries
            .map(|(entry, value)| (entry.clone(), self.list_of(&format!("{name}.{entry}"), value)))
            .collect()
    }

    /// Where the value of a key came from.
    pub(crate) fn origin(&self, key: &str) -> String {
        self.merged.keys.get(key).map(origin_of).unwrap_or_default()
    }

    fn parse<T: Default>(&self, key: &str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> T {
        self.parse_or(key, expected, parse, T::default)
    }

    fn parse_or<T>(
        &self,
        key: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
        or: impl Fn() -> T,
    ) -> T {
        let value = self.raw(key);
        if matches!(value.kind, ValueKind::Array(_) | ValueKind::Table(_)) {
            self.problem(key, format!("expected {expected}"));
            return or();
        }
        let text = plain(&value);
        parse(&text).unwrap_or_else(|| {
            self.problem(key, format!("{} is not {expected}", shown(&text)));
            or()
        })
    }
}

impl Row<'_> {
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let value = self.members.get(name)?;
        if matches!(value.kind, ValueKind::Array(_) | ValueKind::Table(_)) {
            self.problem(name, "expected a text");
            return None;
        }
        Some(plain(value)).filter(|text| !text.is_empty())
    }

    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let path = format!("{}.{name}", self.path);
        self.members.get(name).map(|value| self.reader.list_of(&path, value)).unwrap_or_default()
    }

    pub(crate) fn problem(&self, name: &str, message: &str) {
        let key = if name.is_empty() { self.path.clone() } else { format!("{}.{name}", self.path) };
        self.reader.add(&key, message.to_owned(), self.origin.clone());
    }

    /// A file that must be there.
    pub(crate) fn file(&self, name: &str) -> Option<PathBuf> {
        let path = self.text(name).map(PathBuf::from)?;
        if std::fs::File::open(&path).is_err() {
            self.problem(name, &format!("{} cannot be read", Path::display(&path)));
        }
        Some(path)
    }
}

fn origin_of(value: &Value) -> String {
    value.origin().unwrap_or_default().to_owned()
}

fn plain(value: &Value) -> String {
    match &value.kind {
        ValueKind::Array(_) | ValueKind::Table(_) | ValueKind::Nil => String::new(),
        _ => value.clone().into_string().unwrap_or_default(),
    }
}

/// A value as it may stand in a problem.
fn shown(text: &str) -> String {
    let end = text.char_indices().map(|(at, _)| at).find(|at| *at >= SHOWN_BYTES_MAX);
    match end {
        Some(end) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
