//! What a script reads: the fields that its source names, found without running it.
//!
//! Two questions need the answer. The author wants to be told of a slip of the pen
//! (`dlpObject.voyge.vessel`) when he saves, with its place. And whoever subscribes must be able to read
//! every field that the script names, else a script would be a way around his rights.
//!
//! A name whose object the source does not show (`call.port` where `call` came from a function) stands in
//! [`Fields::loose`], and counts as a field of every type in reach that has a member of that name.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidewire_event::ObjectType;
use tidewire_model::{MemberKind, Members, Model, TypeDef};

use crate::names::{hint, nearest};

/// Properties of texts, arrays and numbers, which are no fields.
const PROPERTIES: [&str; 7] = ["len", "chars", "bytes", "is_empty", "bits", "is_odd", "is_even"];
/// What every object has.
const ALWAYS: [&str; 2] = ["key", "self"];

/// Which variable a path starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Root {
    /// `dlpObject`.
    Current,
    /// `oldDlpObject`.
    Before,
    /// `wsUser`.
    User,
}

/// One path that the source names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FieldUse {
    /// Where it starts.
    pub root: Root,
    /// The names; an element of an array has no name of its own.
    pub path: Vec<String>,
    /// Line and column of each name, from 1; `None` where it is named elsewhere (`let v =
    /// dlpObject.voyage; v.vessel`).
    pub places: Vec<Option<(u32, u32)>>,
}

impl FieldUse {
    /// Where the name of this number is written, or the last of them.
    fn place(&self, index: usize) -> Option<(u32, u32)> {
        let place = self.places.get(index).copied().flatten();
        place.or_else(|| self.places.last().copied().flatten())
    }
}

/// All that a source names.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fields {
    /// Paths from a documented variable, each once.
    pub paths: Vec<FieldUse>,
    /// Names of fields of objects that the source does not show, each once, sorted.
    pub loose: Vec<String>,
}

/// A field that no trigger's type has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown field '{path}'{}", hint(.nearest.as_deref()))]
pub struct FieldError {
    /// The dotted path.
    pub path: String,
    /// The nearest name, if any is near.
    pub nearest: Option<String>,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Column, from 1.
    pub column: Option<u32>,
}

/// Where a path has led to.
#[derive(Clone, Copy)]
enum Shape<'a> {
    Type(&'a TypeDef),
    Nested(&'a Members),
    Plain,
    /// The model says nothing about it.
    Unknown,
}

impl<'a> Shape<'a> {
    /// What stands under a name; an error with the nearest name where nothing can stand there.
    fn step(self, name: &str, model: &'a Model) -> Result<Self, Option<&'a str>> {
        if ALWAYS.contains(&name) || PROPERTIES.contains(&name) {
            return Ok(Self::Plain);
        }
        let (members, is_open) = match self {
            Self::Unknown => return Ok(Self::Unknown),
            Self::Plain => return Err(None),
            Self::Type(def) => (def.members(), def.is_open()),
            Self::Nested(members) => (members, false),
        };
        match members.get(name).map(tidewire_model::Member::kind) {
            Some(MemberKind::Plain) => Ok(Self::Plain),
            Some(MemberKind::Open) => Ok(Self::Unknown),
            Some(MemberKind::Nested(below)) => Ok(Self::Nested(below)),
            Some(MemberKind::Reference(to)) => {
                Ok(model.type_def(to.as_str()).map_or(Self::Unknown, Self::Type))
            }
            None if is_open => Ok(Self::Unknown),
            None => Err(nearest(name, members.names())),
        }
    }
}

impl Fields {
    /// Looks for a path that none of the types has. Names under `wsUser` are looked up in `User` where
    /// the model has such a type.
    ///
    /// # Errors
    /// [`FieldError`]: the first such path.
    pub fn check(&self, model: &Model, types: &[ObjectType]) -> Result<(), FieldError> {
        for field in &self.paths {
            let starts = starts(field.root, model, types);
            let mut near = None;
            // How many names lead somewhere, on the type where most do.
            let mut good = 0;
            let is_known = starts.into_iter().any(|start| {
                let mut shape = start;
                for (index, name) in field.path.iter().enumerate() {
                    match shape.step(name, model) {
                        Ok(next) => shape = next,
                        Err(name) => {
                            near = near.or(name);
                            good = good.max(index);
                            return false;
                        }
                    }
                }
                true
            });
            if !is_known {
                let path = field.path.get(..=good).unwrap_or(&field.path).join(".");
                let (line, column) = field.place(good).unzip();
                return Err(FieldError { path, nearest: near.map(str::to_owned), line, column });
            }
        }
        Ok(())
    }

    /// Every field that the script reads when it is triggered by this type, as type and member. Whoever
    /// subscribes must be able to read all of them. A type that the model does not know is not told of.
    #[must_use]
    pub fn reads(&self, model: &Model, object_type: &ObjectType) -> Vec<(ObjectType, String)> {
        let mut reads = Vec::new();
        let mut add = |def: &TypeDef, name: &str| {
            let read = (def.name().clone(), name.to_owned());
            if !reads.contains(&read) {
                reads.push(read);
            }
        };
        for field in &self.paths {
            for mut shape in starts(field.root, model, std::slice::from_ref(object_type)) {
                for name in &field.path {
                    if let Shape::Type(def) = shape
                        && !ALWAYS.contains(&name.as_str())
                        && (def.is_open() || def.members().get(name).is_some())
                    {
                        add(def, name);
                    }
                    shape = shape.step(name, model).unwrap_or(Shape::Plain);
                }
            }
        }
        if !self.loose.is_empty() {
            for def in in_reach(model, object_type.as_str()) {
                for name in self.loose.iter().filter(|name| def.members().get(name).is_some()) {
                    add(def, name);
                }
            }
        }
        reads
    }
}

fn starts<'a>(root: Root, model: &'a Model, types: &[ObjectType]) -> Vec<Shape<'a>> {
    let shape = |name: &str| model.type_def(name).map_or(Shape::Unknown, Shape::Type);
    match root {
        Root::Current | Root::Before => types.iter().map(|t| shape(t.as_str())).collect(),
        Root::User => vec![shape("User")],
    }
}

/// A type and every type that can be reached from it by references.
fn in_reach<'a>(model: &'a Model, object_type: &str) -> Vec<&'a TypeDef> {
    let mut found: Vec<&TypeDef> = model.type_def(object_type).into_iter().collect();
    let mut at = 0;
    while let Some(def) = found.get(at).copied() {
        at += 1;
        let mut next = Vec::new();
        referred(def.members(), &mut next);
        for name in next {
            if let Some(def) = model.type_def(name.as_str())
                && !found.iter().any(|known| known.name() == def.name())
            {
                found.push(def);
            }
        }
    }
    found
}

fn referred<'a>(members: &'a Members, out: &mut Vec<&'a ObjectType>) {
    for member in members.iter() {
        match member.kind() {
            MemberKind::Reference(to) => out.push(to),
            MemberKind::Nested(below) => referred(below, out),
            MemberKind::Plain | MemberKind::Open => {}
        }
    }
}

#[cfg(test)]
mod tests;
