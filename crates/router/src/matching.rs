//! Which views of a shard an event goes to.
//!
//! Exact, where the router's table is coarse: event types, `onlyMainObject`, owners found in the images,
//! and the right to read the changed object's type.

use hashbrown::HashMap;
use tidewire_event::{KeyKind, ObjectKey, ObjectType, Operation, Tenant};
use tidewire_model::Model;
use tidewire_wire::definition::{Definition, KeySelector, TypeSelector};

use crate::event::{OwnerRef, RoutedEvent};

/// Views by key, or for all objects.
#[derive(Debug, Default)]
struct Routes {
    all: Vec<usize>,
    by_key: HashMap<ObjectKey, Few>,
}

/// One view mostly, sometimes many.
#[derive(Debug)]
enum Few {
    One(usize),
    Many(Vec<usize>),
}

impl Few {
    fn as_slice(&self) -> &[usize] {
        match self {
            Self::One(view) => std::slice::from_ref(view),
            Self::Many(views) => views,
        }
    }
}

impl Routes {
    fn add(&mut self, view: usize, keys: &KeySelector) {
        let KeySelector::Keys(keys) = keys else {
            self.all.push(view);
            return;
        };
        for key in keys.iter() {
            match self.by_key.get_mut(key) {
                None => {
                    self.by_key.insert(key.clone(), Few::One(view));
                }
                Some(few) => match few {
                    Few::One(first) => *few = Few::Many(vec![*first, view]),
                    Few::Many(views) => views.push(view),
                },
            }
        }
    }

    fn remove(&mut self, view: usize, keys: &KeySelector) {
        let KeySelector::Keys(keys) = keys else {
            take_out(&mut self.all, view);
            return;
        };
        for key in keys.iter() {
            let empty = match self.by_key.get_mut(key) {
                None => false,
                Some(Few::One(only)) => *only == view,
                Some(Few::Many(views)) => {
                    take_out(views, view);
                    views.is_empty()
                }
            };
            if empty {
                self.by_key.remove(key);
            }
        }
    }

    fn visit(&self, key: &ObjectKey, visit: &mut dyn FnMut(usize)) {
        let keyed = self.by_key.get(key).map_or(&[][..], Few::as_slice);
        self.all.iter().chain(keyed).copied().for_each(visit);
    }

    /// The same for subscriptions of type `*`: their keys were read without a model, so that the text `5`
    /// of a type with string keys may stand there as a number.
    fn visit_guessed(&self, key: &ObjectKey, visit: &mut dyn FnMut(usize)) {
        self.visit(key, visit);
        if let ObjectKey::Text(text) = key
            && text.starts_with(|c: char| c.is_ascii_digit())
            && let Ok(number) = ObjectKey::parse(text, KeyKind::Integer)
        {
            self.by_key.get(&number).map_or(&[][..], Few::as_slice).iter().copied().for_each(visit);
        }
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty() && self.by_key.is_empty()
    }
}

fn take_out(views: &mut Vec<usize>, view: usize) {
    if let Some(at) = views.iter().position(|v| *v == view) {
        views.swap_remove(at);
    }
}

#[derive(Debug, Default)]
struct TenantRoutes {
    any_type: Routes,
    types: HashMap<ObjectType, Routes>,
}

/// The routes of one shard.
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    tenants: HashMap<Tenant, TenantRoutes>,
}

impl RouteTable {
    pub(crate) fn add(&mut self, view: usize, definition: &Definition) {
        let tenant = self.tenants.entry_ref(&definition.tenant).or_default();
        match &definition.types {
            TypeSelector::Any => tenant.any_type.add(view, &definition.keys),
            TypeSelector::One(object_type) => {
                tenant.types.entry_ref(object_type).or_default().add(view, &definition.keys);
            }
        }
    }

    pub(crate) fn remove(&mut self, view: usize, definition: &Definition) {
        let Some(tenant) = self.tenants.get_mut(&definition.tenant) else { return };
        match &definition.types {
            TypeSelector::Any => tenant.any_type.remove(view, &definition.keys),
            TypeSelector::One(object_type) => {
                if let Some(routes) = tenant.types.get_mut(object_type) {
                    routes.remove(view, &definition.keys);
                    if routes.is_empty() {
                        tenant.types.remove(object_type);
                    }
                }
            }
        }
        if tenant.types.is_empty() && tenant.any_type.is_empty() {
            self.tenants.remove(&definition.tenant);
        }
    }

    /// Calls `take` for every view that may want the event: first as its main object, then as an object
    /// above it. A view may come more than once.
    pub(crate) fn visit(
        &self,
        event: &RoutedEvent,
        owners: &[OwnerRef],
        mut take: impl FnMut(usize, Role),
    ) {
        let Some(tenant) = self.tenants.get(&event.route.tenant) else { return };
        let main = &mut |view| take(view, Role::Main);
        tenant.any_type.visit_guessed(&event.key, main);
        if let Some(routes) = tenant.types.get(&event.route.object_type) {
            routes.visit(&event.key, main);
        }
        let above = &mut |view| take(view, Role::Above);
        for owner in owners {
            tenant.any_type.visit_guessed(&owner.key, above);
            if let Some(routes) = tenant.types.get(&owner.object_type) {
                routes.visit(&owner.key, above);
            }
        }
    }
}

/// How an event concerns a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The changed object is subscribed itself.
    Main,
    /// An object above the changed one is subscribed.
    Above,
}

impl Role {
    /// Whether a definition wants an event of this operation in this role: a change below counts as an
    /// update of the object above it, whatever its own operation.
    pub(crate) fn wanted(self, definition: &Definition, operation: Operation) -> bool {
        match self {
            Self::Main => definition.events.contains(operation),
            Self::Above => {
                !definition.only_main_object && definition.events.contains(Operation::Update)
            }
        }
    }
}

/// All owners of the changed object: those that the record names, and where it does not name all of
/// them, those that its images tell. A broken body tells none.
pub(crate) fn owners_of(event: &RoutedEvent, model: &Model) -> Vec<OwnerRef> {
    let mut owners = event.owners.to_vec();
    if !event.look_for_owners {
        return owners;
    }
    let object_type = event.route.object_type.as_str();
    if let Ok(Some(body)) = event.body() {
        for image in [body.new_image(), body.old_image()].into_iter().flatten() {
            for (object_type, key) in model.owners_in_image(object_type, image) {
                let owner = OwnerRef { object_type, key };
                if !owners.contains(&owner) {
                    owners.push(owner);
                }
            }
        }
    }
    owners
}
