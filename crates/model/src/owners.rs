//! What an image tells: the owners of its object, and whether an update is worth telling anybody.

use tidewire_event::image::{Node, NodeKind};
use tidewire_event::{KeyKind, ObjectKey, ObjectType};

use crate::{Model, TypeDef};

/// Images with more members are not compared: their update is told.
const COMPARED_MEMBERS_MAX: usize = 1000;

impl Model {
    /// The owners of an object as far as its image tells: the direct ones by the members that refer up
    /// to them, and higher ones where the image holds the owner's own members too
    /// (`"voyage":{"key":1,"voyageHeader":{"key":2}}`). Each owner once, the nearer one first. What refers
    /// *down* to the object (`BunkerOrder.portCall`) stands in no image of it.
    #[must_use]
    pub fn owners_in_image(
        &self,
        object_type: &str,
        image: Node<'_>,
    ) -> Vec<(ObjectType, ObjectKey)> {
        let mut owners = Vec::new();
        self.collect_owners(object_type, image, &mut owners);
        owners
    }

    /// Goes up as deep as the image is nested, which its parser bounds.
    fn collect_owners(
        &self,
        object_type: &str,
        image: Node<'_>,
        owners: &mut Vec<(ObjectType, ObjectKey)>,
    ) {
        let Some(def) = self.type_def(object_type) else { return };
        for name in &def.owners {
            let Some(owner_type) = def.members.get(name).and_then(|m| m.refers_to()) else {
                continue;
            };
            let Some(reference) = image.get(name).filter(|node| !node.is_null()) else { continue };
            if let Some(key) = reference_key(reference, self.key_kind(owner_type.as_str())) {
                let owner = (owner_type.clone(), key);
                if !owners.contains(&owner) {
                    owners.push(owner);
                }
            }
            self.collect_owners(owner_type.as_str(), reference, owners);
        }
    }

    /// Whether an update is to be told to nobody: at least one silent member of the type differs, and
    /// nothing else but the bookkeeping members (who changed it, and when). Values are compared byte for
    /// byte; both images must be whole.
    #[must_use]
    pub fn is_silent_update(&self, object_type: &str, old: Node<'_>, new: Node<'_>) -> bool {
        let Some(def) = self.type_def(object_type).filter(|def| !def.silent.is_empty()) else {
            return false;
        };
        if old.members().chain(new.members()).take(COMPARED_MEMBERS_MAX + 1).count()
            > COMPARED_MEMBERS_MAX
        {
            return false;
        }
        let mut silent_differs = false;
        for (name, _) in old.members().chain(new.members()) {
            let Some(name) = name.text() else { return false };
            if old.get(&name).map(Node::raw) == new.get(&name).map(Node::raw) {
                continue;
            }
            if is_in(&def.silent, &name) {
                silent_differs = true;
            } else if !is_in(&self.bookkeeping, &name) {
                return false;
            }
        }
        silent_differs
    }
}

fn is_in(names: &[Box<str>], name: &str) -> bool {
    names.iter().any(|n| **n == *name)
}

/// The key of the object that a reference names: `{"key":...}`, or the bare key.
fn reference_key(reference: Node<'_>, kind: Option<KeyKind>) -> Option<ObjectKey> {
    let key = match reference.kind() {
        NodeKind::Object => reference.get("key")?,
        _ => reference,
    };
    key.as_key(kind?)
}

/// All types that can be reached from a type by one step repeated, in breadth-first order.
pub(crate) fn reach<'a>(
    from: &'a TypeDef,
    step: impl Fn(&'a TypeDef) -> Vec<&'a TypeDef>,
) -> Box<[ObjectType]> {
    let mut found: Vec<&TypeDef> = step(from);
    let mut at = 0;
    while let Some(next) = found.get(at).copied() {
        at += 1;
        for def in step(next) {
            if !found.iter().any(|f| f.name == def.name) {
                found.push(def);
            }
        }
    }
    let mut reached: Vec<ObjectType> = Vec::new();
    for def in found {
        if !reached.contains(&def.name) {
            reached.push(def.name.clone());
        }
    }
    reached.into_boxed_slice()
}
