//! Reads a model file and tells all that is wrong with it at once.
//!
//! The file is walked by hand instead of through serde, because serde stops at the first problem.

use std::collections::HashMap;
use std::fmt;

use tidewire_event::{KeyKind, ObjectType};
use toml::{Table, Value};

use crate::owners::reach;
use crate::{Member, MemberKind, Members, Model, TypeDef, UnknownTypes, nearest};

/// The format that this version reads.
pub const FORMAT: i64 = 1;
/// Most levels of nested objects in a member.
const NESTED_DEPTH_MAX: usize = 8;

const FILE_KEYS: [&str; 5] = ["format", "name", "unknown_types", "common", "types"];
const COMMON_KEYS: [&str; 2] = ["members", "bookkeeping"];
const TYPE_KEYS: [&str; 9] =
    ["key", "code", "open", "standard", "minimal", "silent", "hierarchy", "owners", "members"];
/// What a member may be besides a type: no type is called so.
const WORDS: [&str; 2] = ["plain", "open"];
/// Every object has these two: no list names them, no member is called so.
const ALWAYS: [&str; 2] = ["key", "self"];

/// One problem of a model file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelProblem {
    /// Where: the dotted path of the entry, such as `types.PortCall.members.port`; empty for the file.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for ModelProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            return f.write_str(&self.what);
        }
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Everything that is wrong with a model file; one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelErrors(pub Vec<ModelProblem>);

impl fmt::Display for ModelErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ModelErrors {}

/// Reads the text of a model file.
pub(crate) fn read(text: &str) -> Result<Model, ModelErrors> {
    let table: Table = text.parse().map_err(|e: toml::de::Error| {
        let line =
            e.span().map(|span| text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1);
        let place = line.map_or_else(String::new, |line| format!("line {line}"));
        ModelErrors(vec![ModelProblem { place, what: e.message().to_owned() }])
    })?;
    let mut reader = Reader::default();
    let model = reader.model(&table);
    if reader.problems.is_empty() { Ok(model) } else { Err(ModelErrors(reader.problems)) }
}

#[derive(Default)]
struct Reader {
    problems: Vec<ModelProblem>,
    /// The names of all types of the file, known before the first member is read.
    names: Vec<ObjectType>,
}

impl Reader {
    fn problem(&mut self, place: &str, what: impl Into<String>) {
        self.problems.push(ModelProblem { place: place.to_owned(), what: what.into() });
    }

    fn known_keys(&mut self, place: &str, table: &Table, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
            let what = unknown("key", nearest(key, known.iter().copied()));
            self.problem(&join(place, key), what);
        }
    }

    fn model(&mut self, file: &Table) -> Model {
        self.known_keys("", file, &FILE_KEYS);
        match file.get("format").and_then(Value::as_integer) {
            Some(FORMAT) => {}
            _ => self.problem("format", format!("must be {FORMAT}")),
        }
        let name = match file.get("name").and_then(Value::as_str) {
            Some(name) if !name.is_empty() => name,
            _ => {
                self.problem("name", "must be a text");
                ""
            }
        };
        let unknown_types = match file.get("unknown_types").map(Value::as_str) {
            None | Some(Some("refuse")) => UnknownTypes::Refuse,
            Some(Some("accept")) => UnknownTypes::Accept,
            Some(_) => {
                self.problem("unknown_types", "must be \"refuse\" or \"accept\"");
                UnknownTypes::Refuse
            }
        };
        let empty = Table::new();
        let types = self.table("", file, "types").unwrap_or(&empty);
        if types.is_empty() {
            self.problem("types", "must define at least one type");
        }
        for name in types.keys() {
            match ObjectType::new(name) {
                Ok(name) if !WORDS.contains(&name.as_str()) => self.names.push(name),
                Ok(_) => {
                    self.problem(&join("types", name), "is a word that members use, not a type")
                }
                Err(error) => self.problem(&join("types", name), error.to_string()),
            }
        }
        let common = self.table("", file, "common").unwrap_or(&empty);
        self.known_keys("common", common, &COMMON_KEYS);
        let mut members = Members::default();
        self.members("common", common, &mut members);
        let bookkeeping = self.names("common", common, "bookkeeping", &members);
        let mut defs: Vec<TypeDef> = Vec::new();
        for name in self.names.clone() {
            let place = join("types", name.as_str());
            match types.get(name.as_str()) {
                Some(Value::Table(table)) => {
                    defs.push(self.type_def(&place, name, table, &members))
                }
                _ => self.problem(&place, "must be a table"),
            }
        }
        self.link(&mut defs);
        let order = defs.iter().map(|def| def.name.clone()).collect();
        let types: HashMap<_, _> = defs.into_iter().map(|def| (def.name.clone(), def)).collect();
        Model { name: name.into(), unknown_types, bookkeeping, types, order }
    }

    fn table<'t>(&mut self, place: &str, parent: &'t Table, key: &str) -> Option<&'t Table> {
        match parent.get(key) {
            None => None,
            Some(Value::Table(table)) => Some(table),
            Some(_) => {
                self.problem(&join(place, key), "must be a table");
                None
            }
        }
    }

    fn type_def(
        &mut self,
        place: &str,
        name: ObjectType,
        table: &Table,
        common: &Members,
    ) -> TypeDef {
        self.known_keys(place, table, &TYPE_KEYS);
        let key_kind = match table.get("key").and_then(Value::as_str) {
            Some("integer") => KeyKind::Integer,
            Some("string") => KeyKind::Text,
            _ => {
                self.problem(&join(place, "key"), "must be \"integer\" or \"string\"");
                KeyKind::Integer
            }
        };
        let is_open = match table.get("open") {
            None => false,
            Some(Value::Boolean(is_open)) => *is_open,
            Some(_) => {
                self.problem(&join(place, "open"), "must be true or false");
                false
            }
        };
        let mut members = common.clone();
        self.members(place, table, &mut members);
        if !table.contains_key("standard") {
            self.problem(
                &join(place, "standard"),
                "is missing: the standard field list of the type",
            );
        }
        let code = match table.get("code") {
            None => None,
            Some(Value::String(code)) if members.get(code).is_some() => Some(code.as_str().into()),
            Some(Value::String(code)) => {
                self.not_a_member(&join(place, "code"), code, &members);
                None
            }
            Some(_) => {
                self.problem(&join(place, "code"), "must be the name of a member");
                None
            }
        };
        let hierarchy = self.names(place, table, "hierarchy", &members);
        self.references(&join(place, "hierarchy"), &hierarchy, &members, true);
        let owners = self.names(place, table, "owners", &members);
        self.references(&join(place, "owners"), &owners, &members, false);
        TypeDef {
            name,
            key_kind,
            code,
            is_open,
            standard: self.names(place, table, "standard", &members),
            minimal: self.names(place, table, "minimal", &members),
            silent: self.names(place, table, "silent", &members),
            hierarchy,
            owners,
            members,
            below: Box::default(),
            above: Box::default(),
        }
    }

    /// Reads a list of member names.
    fn names(
        &mut self,
        place: &str,
        table: &Table,
        key: &str,
        members: &Members,
    ) -> Box<[Box<str>]> {
        let place = join(place, key);
        let mut names: Vec<Box<str>> = Vec::new();
        let list = match table.get(key) {
            None => &[][..],
            Some(Value::Array(list)) => list,
            Some(_) => {
                self.problem(&place, "must be a list of member names");
                &[]
            }
        };
        for entry in list {
            match entry {
                Value::String(name) if ALWAYS.contains(&name.as_str()) => {
                    self.problem(&place, format!("{name:?} always comes and is not listed"));
                }
                Value::String(name) if names.iter().any(|n| **n == **name) => {
                    self.problem(&place, format!("{name:?} stands twice"));
                }
                Value::String(name) if members.get(name).is_some() => {
                    names.push(name.as_str().into())
                }
                Value::String(name) => self.not_a_member(&place, name, members),
                _ => self.problem(&place, "must be a list of member names"),
            }
        }
        names.into_boxed_slice()
    }

    fn not_a_member(&mut self, place: &str, name: &str, members: &Members) {
        let what = unknown("member", nearest(name, members.names()));
        self.problem(place, format!("{name:?} is an {what}"));
    }

    fn references(
        &mut self,
        place: &str,
        names: &[Box<str>],
        members: &Members,
        may_be_array: bool,
    ) {
        for member in names.iter().filter_map(|name| members.get(name)) {
            if member.refers_to().is_none() {
                self.problem(place, format!("{:?} does not refer to a type", member.name));
            } else if member.is_array && !may_be_array {
                self.problem(
                    place,
                    format!("{:?} is an array, and an owner is one object", member.name),
                );
            }
        }
    }

    fn members(&mut self, place: &str, parent: &Table, members: &mut Members) {
        let Some(table) = self.table(place, parent, "members") else { return };
        self.member_table(&join(place, "members"), table, members, 0);
    }

    fn member_table(&mut self, place: &str, table: &Table, members: &mut Members, depth: usize) {
        for (name, value) in table {
            let place = join(place, name);
            if name.is_empty() || name == "*" || (depth == 0 && ALWAYS.contains(&name.as_str())) {
                self.problem(&place, "is no name for a member");
                continue;
            }
            if let Some((kind, is_array)) = self.member_kind(&place, value, depth) {
                members.add(Member { name: name.as_str().into(), kind, is_array });
            }
        }
    }

    fn member_kind(
        &mut self,
        place: &str,
        value: &Value,
        depth: usize,
    ) -> Option<(MemberKind, bool)> {
        match value {
            Value::String(text) if text == "plain" => Some((MemberKind::Plain, false)),
            Value::String(text) if text == "open" => Some((MemberKind::Open, false)),
            Value::String(text) => match self.names.iter().find(|name| name.as_str() == text) {
                Some(name) => Some((MemberKind::Reference(name.clone()), false)),
                None => {
                    let known = self.names.iter().map(ObjectType::as_str).chain(WORDS);
                    let what = unknown("type", nearest(text, known));
                    self.problem(place, format!("{text:?} is an {what}"));
                    None
                }
            },
            Value::Table(_) if depth >= NESTED_DEPTH_MAX => {
                self.problem(place, format!("is nested deeper than {NESTED_DEPTH_MAX} levels"));
                None
            }
            Value::Table(table) => {
                let mut members = Members::default();
                self.member_table(place, table, &mut members, depth + 1);
                Some((MemberKind::Nested(members), false))
            }
            Value::Array(list) => match list.as_slice() {
                [element] if !element.is_array() => {
                    self.member_kind(place, element, depth).map(|(kind, _)| (kind, true))
                }
                _ => {
                    self.problem(place, "an array has exactly one entry: what its elements are");
                    None
                }
            },
            _ => {
                self.problem(
                    place,
                    "must be \"plain\", \"open\", a type, a table of members, or an array of one of these",
                );
                None
            }
        }
    }

    /// Checks the two directions of the hierarchy against each other, and follows them to their ends.
    fn link(&mut self, defs: &mut [TypeDef]) {
        for def in defs.iter() {
            for owner in targets(def, &def.owners) {
                let above = defs.iter().find(|d| d.name == *owner);
                if above
                    .is_some_and(|above| !targets(above, &above.hierarchy).any(|t| *t == def.name))
                {
                    let place = format!("types.{}.owners", def.name);
                    let what = format!("no hierarchy member of {owner} holds {}", def.name);
                    self.problem(&place, what);
                }
            }
        }
        let find = |name: &ObjectType| defs.iter().find(|def| def.name == *name);
        let below = |def| targets(def, &def.hierarchy).filter_map(find).collect::<Vec<_>>();
        let holds = |upper: &TypeDef, lower: &TypeDef| {
            targets(upper, &upper.hierarchy).any(|t| *t == lower.name)
        };
        let above =
            |def: &TypeDef| defs.iter().filter(|upper| holds(upper, def)).collect::<Vec<_>>();
        let links: Vec<_> = defs.iter().map(|def| (reach(def, below), reach(def, above))).collect();
        for (def, (below, above)) in defs.iter_mut().zip(links) {
            def.below = below;
            def.above = above;
        }
    }
}

/// The types that the named members of a type refer to.
fn targets<'a>(def: &'a TypeDef, names: &'a [Box<str>]) -> impl Iterator<Item = &'a ObjectType> {
    names.iter().filter_map(|name| def.members.get(name)?.refers_to())
}

fn join(place: &str, key: &str) -> String {
    if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") }
}

fn unknown(what: &str, near: Option<&str>) -> String {
    match near {
        Some(near) => format!("unknown {what}, the nearest known is {near:?}"),
        None => format!("unknown {what}"),
    }
}
