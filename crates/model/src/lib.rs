//! The data model: which types there are, what their members are, and how they hang together.
//!
//! The model is data (`model/*.toml`, described in `docs/reference/model.md`), so that another business
//! system brings its own file and no code. Pure: the caller reads the file.
//!
//! Invariants of a [`Model`]: every type that a member refers to is defined; standard, minimal and silent
//! lists name members; a type that names its owners is held by a hierarchy member of each of them.

mod file;
mod nearest;
mod owners;
mod types;

pub use file::{FORMAT, ModelErrors, ModelProblem};
pub use nearest::{distance, nearest};
pub use types::{Member, MemberKind, Members, TypeDef};

use std::collections::HashMap;

use tidewire_event::{KeyKind, ObjectType};

/// What becomes of a type that the model does not define.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UnknownTypes {
    /// It is refused.
    #[default]
    Refuse,
    /// Any name is taken for a type, without hierarchy, with any members (for migration).
    Accept,
}

/// A data model.
#[derive(Clone, Debug)]
pub struct Model {
    name: Box<str>,
    unknown_types: UnknownTypes,
    bookkeeping: Box<[Box<str>]>,
    types: HashMap<ObjectType, TypeDef>,
    /// In the order of the file.
    order: Box<[ObjectType]>,
}

impl Model {
    /// Reads a model file.
    ///
    /// # Errors
    /// [`ModelErrors`]: all problems of the file at once, each with its place.
    pub fn parse(text: &str) -> Result<Self, ModelErrors> {
        file::read(text)
    }

    /// The sample model of a voyage management system, `model/vms.toml`.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the file is built in, and a test reads it")]
    pub fn vms() -> Self {
        Self::parse(include_str!("../../../model/vms.toml")).expect("model/vms.toml is sound")
    }

    /// A tiny second business with string keys, `model/helpdesk.toml`.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the file is built in, and a test reads it")]
    pub fn sample_helpdesk() -> Self {
        Self::parse(include_str!("../../../model/helpdesk.toml"))
            .expect("model/helpdesk.toml is sound")
    }

    /// The model's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What becomes of a type that the model does not define.
    #[must_use]
    pub const fn unknown_types(&self) -> UnknownTypes {
        self.unknown_types
    }

    /// The same model with another rule for unknown types (`model.unknown_types` of the configuration).
    #[must_use]
    pub fn with_unknown_types(mut self, unknown_types: UnknownTypes) -> Self {
        self.unknown_types = unknown_types;
        self
    }

    /// The types in the order of the file.
    #[must_use]
    pub fn types(&self) -> &[ObjectType] {
        &self.order
    }

    /// The definition of a type; `None` where the model has none, whatever the rule for unknown types.
    #[must_use]
    pub fn type_def(&self, object_type: &str) -> Option<&TypeDef> {
        self.types.get(object_type)
    }

    /// Whether the model defines the type or accepts any.
    #[must_use]
    pub fn is_known(&self, object_type: &str) -> bool {
        self.unknown_types == UnknownTypes::Accept || self.types.contains_key(object_type)
    }

    /// The kind of the type's keys; `None` where the model does not define the type (then
    /// [`ObjectKey::guess`](tidewire_event::ObjectKey::guess) reads them).
    #[must_use]
    pub fn key_kind(&self, object_type: &str) -> Option<KeyKind> {
        self.type_def(object_type).map(TypeDef::key_kind)
    }

    /// The type whose name is nearest to one that is not known.
    #[must_use]
    pub fn nearest_type(&self, object_type: &str) -> Option<&ObjectType> {
        let name = nearest(object_type, self.order.iter().map(ObjectType::as_str))?;
        self.order.iter().find(|t| t.as_str() == name)
    }

    /// Every type below this one in the hierarchy, at any depth: a change of an object of one of them
    /// counts as an update of the object above it.
    #[must_use]
    pub fn types_below(&self, object_type: &str) -> &[ObjectType] {
        self.type_def(object_type).map_or(&[], |def| &def.below)
    }

    /// Every type above this one in the hierarchy, at any height.
    #[must_use]
    pub fn types_above(&self, object_type: &str) -> &[ObjectType] {
        self.type_def(object_type).map_or(&[], |def| &def.above)
    }

    /// The standard field list of a type.
    #[must_use]
    pub fn standard_fields(&self, object_type: &str) -> &[Box<str>] {
        self.type_def(object_type).map_or(&[], TypeDef::standard_fields)
    }

    /// What a caller who may not read the type may still see of it, besides `key` and `self`.
    #[must_use]
    pub fn minimal_view(&self, object_type: &str) -> &[Box<str>] {
        self.type_def(object_type).map_or(&[], TypeDef::minimal_view)
    }

    /// A member of a type.
    #[must_use]
    pub fn member(&self, object_type: &str, name: &str) -> Option<&Member> {
        self.type_def(object_type)?.members().get(name)
    }
}
