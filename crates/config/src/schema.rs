//! The keys that exist: those of `defaults.toml`.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use toml::{Table, Value};

pub(crate) const DEFAULTS: &str = include_str!("../defaults.toml");

/// How far (in edits) a name may be from a known one to be taken for it.
const NEAR_EDITS_MAX: usize = 4;

pub(crate) static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::of_defaults);

/// The keys of `defaults.toml` by kind. An empty table there is a map: its entries are the user's.
pub(crate) struct Schema {
    pub(crate) table: Table,
    pub(crate) keys: BTreeSet<String>,
    pub(crate) maps: BTreeSet<String>,
    pub(crate) sections: BTreeSet<String>,
}

/// What a dotted name is.
pub(crate) enum Name {
    /// A key with one value.
    Key,
    /// The entry of a map.
    Entry { map: String, entry: String },
    /// A section, or a map as a whole.
    Section,
    /// Nothing we know.
    Unknown,
}

impl Schema {
    #[expect(clippy::expect_used, reason = "the file is built in, and every test reads it")]
    fn of_defaults() -> Self {
        let table: Table = DEFAULTS.parse().expect("defaults.toml is TOML");
        let mut schema = Self {
            table: Table::new(),
            keys: BTreeSet::new(),
            maps: BTreeSet::new(),
            sections: BTreeSet::new(),
        };
        schema.learn("", &table);
        schema.table = table;
        schema
    }

    fn learn(&mut self, path: &str, table: &Table) {
        for (name, value) in table {
            let full = join(path, name);
            match value {
                Value::Table(inner) if inner.is_empty() => {
                    self.maps.insert(full);
                }
                Value::Table(inner) => {
                    self.learn(&full, inner);
                    self.sections.insert(full);
                }
                _ => {
                    self.keys.insert(full);
                }
            }
        }
    }

    pub(crate) fn name(&self, full: &str) -> Name {
        if self.keys.contains(full) {
            return Name::Key;
        }
        if self.sections.contains(full) || self.maps.contains(full) {
            return Name::Section;
        }
        let of_map = |map: &String| {
            let entry = full.strip_prefix(map.as_str())?.strip_prefix('.')?;
            Some(Name::Entry { map: map.clone(), entry: entry.to_owned() })
        };
        self.maps.iter().find_map(of_map).unwrap_or(Name::Unknown)
    }

    /// The known key (or map) that `full` was probably meant to be.
    pub(crate) fn nearest(&self, full: &str) -> Option<&str> {
        nearest(full, self.keys.iter().chain(&self.maps).map(String::as_str))
    }
}

/// The candidate nearest to `name`, where one is near enough to be meant.
pub(crate) fn nearest<'c>(
    name: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    // A right last part in a wrong section is nearer than letters say.
    let last = |full: &str| full.rsplit('.').next().unwrap_or_default().to_owned();
    let wanted = last(name);
    candidates
        .map(|candidate| {
            let edits = strsim::damerau_levenshtein(name, candidate);
            let moved = name.contains('.') && last(candidate) == wanted;
            (if moved { edits.min(2) } else { edits }, edits, candidate)
        })
        .filter(|(score, _, candidate)| *score <= NEAR_EDITS_MAX.min(candidate.len() / 2))
        .min()
        .map(|(_, _, candidate)| candidate)
}

pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
