//! The compiled field list.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use tidewire_event::image::Node;
use tidewire_event::{ObjectKey, ObjectType};
use tidewire_model::Model;

use crate::compile::{self, Compiled};
use crate::project::{self, ProjectContext};
use crate::{FieldList, FieldListError};

/// Which objects a list is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// Objects of one type, and what lies below them.
    One(&'a ObjectType),
    /// Objects of every type.
    Any,
}

/// Which object of a change is projected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The type of the changed object.
    pub object_type: &'a ObjectType,
    /// Whether it is itself what the client subscribed to, or lies below that.
    pub is_main: bool,
}

/// What of a changed object a mask shows.
#[derive(Clone, Copy, Debug)]
pub enum MaskView<'a> {
    /// `{"key","self"}` alone.
    Reference,
    /// Its selected members.
    Members(&'a Plan),
}

/// The members to write of one object, in order.
#[derive(Debug, Default)]
pub struct Plan {
    pub(crate) steps: Vec<Step>,
    /// The steps' places, sorted by name, where there are so many that looking each up costs more than
    /// one walk over the image; else empty.
    pub(crate) by_name: Vec<usize>,
}

/// One member to write.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: Box<str>,
    /// `,"name":`
    pub(crate) prefix: Box<[u8]>,
    pub(crate) form: Form,
}

/// How a value is written. An array is written element by element in the same form.
#[derive(Debug)]
pub(crate) enum Form {
    /// The image's bytes.
    Raw,
    /// `{"key","self"}`.
    Reference(ObjectType),
    /// `key`, `self`, members.
    Expanded(ObjectType, Arc<Plan>),
    /// An object without a type: `key` and `self` where the image has them, members.
    Nested(Arc<Plan>),
    /// Not one member but all that no other step names; of objects whose type the model does not know.
    Rest,
}

/// A compiled field list. Cheap to clone; equal and hashed by scope and canonical text, so that equal
/// lists can share one mask. It does not depend on rights: they only decide whether it compiles.
#[derive(Clone, Debug)]
pub struct FieldMask(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    canonical: Box<str>,
    scope: Option<ObjectType>,
    compiled: Compiled,
}

impl FieldMask {
    /// Compiles a list for a scope. `may_read` says of a type's name whether the caller may read it.
    ///
    /// # Errors
    /// [`FieldListError`] of the first refused field in the order of the list: unknown (400) or not
    /// allowed (401).
    pub fn compile(
        list: &FieldList,
        model: &Model,
        scope: Scope<'_>,
        may_read: &dyn Fn(&str) -> bool,
    ) -> Result<Self, FieldListError> {
        let compiled = compile::compile(list, model, scope, may_read)?;
        let scope = match scope {
            Scope::One(object_type) => Some(object_type.clone()),
            Scope::Any => None,
        };
        Ok(Self(Arc::new(Inner { canonical: list.canonical().into(), scope, compiled })))
    }

    /// The list's canonical text.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.0.canonical
    }

    /// What the mask shows of a changed object: the list itself for the subscribed object, the sub-list
    /// under the hierarchy member that holds its type for an object below (the highest such member of the
    /// list, and of those the first), else its reference.
    #[must_use]
    pub fn for_type(&self, changed_type: &ObjectType, is_main: bool) -> MaskView<'_> {
        let compiled = &self.0.compiled;
        let plan =
            if is_main { compiled.main(changed_type) } else { compiled.below.get(changed_type) };
        plan.map_or(MaskView::Reference, |plan| MaskView::Members(plan))
    }

    /// Appends the selected object as JSON: `key` and `self`, then the members in the order of the list;
    /// what the image lacks is absent. `self` links are built from `ctx.self_base`, whatever the image
    /// says, since one frame serves every socket.
    pub fn project(
        &self,
        target: Target<'_>,
        image: Node<'_>,
        key: &ObjectKey,
        ctx: &ProjectContext<'_>,
        out: &mut Vec<u8>,
    ) {
        match self.for_type(target.object_type, target.is_main) {
            MaskView::Reference => project::write_reference(target.object_type, key, ctx, out),
            MaskView::Members(plan) => {
                project::write_object(plan, target.object_type, image, key, ctx, out)
            }
        }
    }
}

impl PartialEq for FieldMask {
    fn eq(&self, other: &Self) -> bool {
        self.0.scope == other.0.scope && self.0.canonical == other.0.canonical
    }
}

impl Eq for FieldMask {}

impl Hash for FieldMask {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.canonical.hash(state);
    }
}

impl Compiled {
    fn main(&self, changed_type: &ObjectType) -> Option<&Arc<Plan>> {
        self.main.get(changed_type).or(self.other.as_ref())
    }
}

/// A map from type to plan.
pub(crate) type Plans = HashMap<ObjectType, Arc<Plan>>;
