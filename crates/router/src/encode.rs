//! Encodes an event once per (field list, permission class).

use std::sync::Arc;

use hashbrown::HashMap;
use slab::Slab;
use tidewire_event::Operation;
use tidewire_fields::{FieldMask, MaskView, ProjectContext, Target, write_reference};
use tidewire_rights::PermissionClass;
use tidewire_wire::frame::{EventBody, ObjectValue, push_alert};

use crate::SelfLinks;
use crate::event::RoutedEvent;
use crate::matching::Role;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EncoderKey {
    mask: FieldMask,
    class: PermissionClass,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cached {
    /// The event it belongs to; 0 is none.
    event: u64,
    /// Where the body lies in the scratch buffer; `None` if it can't be made.
    span: Option<(usize, usize)>,
}

#[derive(Debug)]
struct Encoder {
    key: Option<EncoderKey>,
    users: u32,
    main: Cached,
    above: Cached,
}

/// The encoders of a shard.
#[derive(Debug)]
pub(crate) struct Encoders {
    links: Arc<SelfLinks>,
    /// One for the bare reference, one for each field list and class.
    encoders: Slab<Encoder>,
    index: HashMap<EncoderKey, usize>,
    scratch: Vec<u8>,
    object: Vec<u8>,
    event: u64,
}

/// The bare reference's encoder, always there.
const REFERENCE: usize = 0;

impl Encoders {
    pub(crate) fn new(links: Arc<SelfLinks>) -> Self {
        let reference =
            Encoder { key: None, users: 1, main: Cached::default(), above: Cached::default() };
        let mut encoders = Slab::new();
        encoders.insert(reference);
        Self {
            links,
            encoders,
            index: HashMap::new(),
            scratch: Vec::new(),
            object: Vec::new(),
            event: 0,
        }
    }

    pub(crate) fn acquire(&mut self, mask: Option<&FieldMask>, class: &PermissionClass) -> usize {
        let Some(mask) = mask else { return REFERENCE };
        let key = EncoderKey { mask: mask.clone(), class: class.clone() };
        if let Some(&at) = self.index.get(&key) {
            if let Some(encoder) = self.encoders.get_mut(at) {
                encoder.users += 1;
            }
            return at;
        }
        let encoder = Encoder {
            key: Some(key.clone()),
            users: 1,
            main: Cached::default(),
            above: Cached::default(),
        };
        let at = self.encoders.insert(encoder);
        self.index.insert(key, at);
        at
    }

    pub(crate) fn release(&mut self, at: usize) {
        if at == REFERENCE {
            return;
        }
        let Some(encoder) = self.encoders.get_mut(at) else { return };
        encoder.users -= 1;
        if encoder.users == 0
            && let Some(key) = self.encoders.remove(at).key
        {
            self.index.remove(&key);
        }
    }

    /// Forgets the bodies of the event before.
    pub(crate) fn begin(&mut self) {
        self.event += 1;
        self.scratch.clear();
    }

    /// The body of the event for an encoder; `None` if its field list needs a body that is broken.
    pub(crate) fn body(&mut self, at: usize, event: &RoutedEvent, role: Role) -> Option<&[u8]> {
        let encoder = self.encoders.get_mut(at)?;
        // Without a field list the body is the same in both roles.
        let (mask, cached) = match (&encoder.key, role) {
            (None, _) => (None, &mut encoder.main),
            (Some(key), Role::Main) => (Some(&key.mask), &mut encoder.main),
            (Some(key), Role::Above) => (Some(&key.mask), &mut encoder.above),
        };
        if cached.event != self.event {
            let start = self.scratch.len();
            let links = self.links.base(&event.route.tenant);
            let out = (&mut self.scratch, &mut self.object);
            let done = encode(out, mask, event, role, event.operation, links);
            *cached =
                Cached { event: self.event, span: done.then_some((start, self.scratch.len())) };
        }
        let (start, end) = cached.span?;
        self.scratch.get(start..end)
    }
}

impl Encoders {
    /// Appends the body of the event as if it were of another operation; false if it can't be made.
    pub(crate) fn body_as(
        &mut self,
        at: usize,
        event: &RoutedEvent,
        role: Role,
        operation: Operation,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(encoder) = self.encoders.get(at) else { return false };
        let mask = encoder.key.as_ref().map(|key| &key.mask);
        let links = self.links.base(&event.route.tenant);
        encode((out, &mut self.object), mask, event, role, operation, links)
    }
}

/// Appends the body; `operation` is the one that it names.
fn encode(
    (out, object): (&mut Vec<u8>, &mut Vec<u8>),
    mask: Option<&FieldMask>,
    event: &RoutedEvent,
    role: Role,
    operation: Operation,
    self_base: &str,
) -> bool {
    let alert = match event.alert() {
        None => None,
        Some(Ok(alert)) => Some(alert),
        Some(Err(_)) => return false,
    };
    // An alert shows the change that fired it.
    let (id, shown_type, key) = match alert {
        None => (event.id, &event.route.object_type, &event.key),
        Some(alert) => (alert.change, &alert.object_type, &alert.key),
    };
    let target = Target { object_type: shown_type, is_main: role == Role::Main };
    let object_type = target.object_type.as_str();
    let mut value = ObjectValue::Key(key);
    if let Some(mask) = mask {
        object.clear();
        let context = ProjectContext { self_base };
        let reference = |object: &mut Vec<u8>| {
            write_reference(target.object_type, key, &context, object);
        };
        if matches!(mask.for_type(target.object_type, target.is_main), MaskView::Reference) {
            reference(object);
        } else {
            let Ok(body) = event.body() else { return false };
            let image = match event.operation {
                // The selected fields of the last visible image.
                Operation::Delete => body.and_then(|b| b.old_image()),
                Operation::Create | Operation::Update => body.and_then(|b| b.new_image()),
            };
            match image {
                Some(image) => mask.project(target, image, key, &context, object),
                None if event.operation == Operation::Delete => reference(object),
                // An alert that was too large with the images of its change comes without.
                None if alert.is_some() => reference(object),
                // A create or update whose body lacks the new image is broken.
                None => return false,
            }
        }
        value = ObjectValue::Json(object);
    }
    EventBody {
        id,
        time_ms: event.time_ms,
        object_type,
        event: operation,
        object: value,
        key,
        self_base,
    }
    .encode(out);
    if let Some(alert) = alert {
        push_alert(out, &alert.json);
    }
    true
}
