//! The definition of one type and of its members.

use std::collections::HashMap;

use tidewire_event::{KeyKind, ObjectType};

/// What a member holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A value that is passed on as it is, and that a field list cannot look into.
    Plain,
    /// A value that is passed on as it is; the model does not say what is in it, so a field list may name
    /// anything there.
    Open,
    /// An object of another type, `{"key","self"}` where it is not expanded, or null.
    Reference(ObjectType),
    /// An object without a type of its own, with its members.
    Nested(Members),
}

/// A member of a type or of a nested object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub(crate) name: Box<str>,
    pub(crate) kind: MemberKind,
    pub(crate) is_array: bool,
}

impl Member {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds, or each of its elements where it is an array.
    #[must_use]
    pub const fn kind(&self) -> &MemberKind {
        &self.kind
    }

    /// Whether it is an array of that.
    #[must_use]
    pub const fn is_array(&self) -> bool {
        self.is_array
    }

    /// The type that it refers to, if it is a reference or an array of references.
    #[must_use]
    pub const fn refers_to(&self) -> Option<&ObjectType> {
        match &self.kind {
            MemberKind::Reference(object_type) => Some(object_type),
            MemberKind::Plain | MemberKind::Open | MemberKind::Nested(_) => None,
        }
    }
}

/// The members of a type or of a nested object, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Members {
    order: Vec<Member>,
    places: HashMap<Box<str>, usize>,
}

impl Members {
    /// The member of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Member> {
        self.places.get(name).and_then(|place| self.order.get(*place))
    }

    /// All members, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.order.iter()
    }

    /// The names, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(Member::name)
    }

    /// Adds a member, or replaces the one of its name.
    pub(crate) fn add(&mut self, member: Member) {
        if let Some(former) = self.places.get(&member.name).and_then(|i| self.order.get_mut(*i)) {
            *former = member;
            return;
        }
        self.places.insert(member.name.clone(), self.order.len());
        self.order.push(member);
    }
}

/// The definition of a type.
#[derive(Clone, Debug)]
pub struct TypeDef {
    pub(crate) name: ObjectType,
    pub(crate) key_kind: KeyKind,
    pub(crate) code: Option<Box<str>>,
    pub(crate) is_open: bool,
    pub(crate) standard: Box<[Box<str>]>,
    pub(crate) minimal: Box<[Box<str>]>,
    pub(crate) silent: Box<[Box<str>]>,
    pub(crate) hierarchy: Box<[Box<str>]>,
    pub(crate) owners: Box<[Box<str>]>,
    pub(crate) members: Members,
    pub(crate) below: Box<[ObjectType]>,
    pub(crate) above: Box<[ObjectType]>,
}

impl TypeDef {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &ObjectType {
        &self.name
    }

    /// The kind of its keys.
    #[must_use]
    pub const fn key_kind(&self) -> KeyKind {
        self.key_kind
    }

    /// The member that holds the code by which people know an object, such as `vesselCode`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Whether its objects may have members that the model does not name.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// The standard field list: `key` and `self`, then these.
    #[must_use]
    pub const fn standard_fields(&self) -> &[Box<str>] {
        &self.standard
    }

    /// What a caller who may not read the type may still see, besides `key` and `self`.
    #[must_use]
    pub const fn minimal_view(&self) -> &[Box<str>] {
        &self.minimal
    }

    /// Members whose change alone notifies nobody.
    #[must_use]
    pub const fn silent(&self) -> &[Box<str>] {
        &self.silent
    }

    /// The members that hold objects below this one.
    #[must_use]
    pub const fn hierarchy(&self) -> &[Box<str>] {
        &self.hierarchy
    }

    /// The members that refer up to the owners of this object.
    #[must_use]
    pub const fn owners(&self) -> &[Box<str>] {
        &self.owners
    }

    /// Its members, those common to all types included. `key` and `self` are not among them: every
    /// object has both.
    #[must_use]
    pub const fn members(&self) -> &Members {
        &self.members
    }
}
