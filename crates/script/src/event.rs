//! The event that scripts are run over.

use std::sync::Arc;

use tidewire_event::image::{Body, Node};
use tidewire_event::{ObjectType, Operation};

/// A change, as scripts see it. Cheap to clone: the body is shared.
#[derive(Clone, Debug)]
pub struct Event {
    /// The type of the changed object.
    pub object_type: ObjectType,
    /// What happened to it.
    pub operation: Operation,
    /// Both images.
    pub body: Arc<Body>,
    /// Who acted: the key of a user.
    pub changed_by: Option<u64>,
}

impl Event {
    /// `dlpObject`: the object after the change; for a delete the last that was seen of it.
    #[must_use]
    pub fn current(&self) -> Option<Node<'_>> {
        match self.operation {
            Operation::Create | Operation::Update => self.body.new_image(),
            Operation::Delete => self.body.old_image(),
        }
    }

    /// `oldDlpObject`: the object before an update, as far as the producer told it. Nothing on a create
    /// or a delete (documented: updates only).
    #[must_use]
    pub fn before(&self) -> Option<Node<'_>> {
        match self.operation {
            Operation::Update => self.body.old_image(),
            Operation::Create | Operation::Delete => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use tidewire_event::image::BodyLimits;

    #[test]
    fn which_image_is_which() {
        let check = |operation, current: Option<&str>, before: Option<&str>| {
            let text = Bytes::from_static(br#"{"new":{"n":1},"old":{"n":0}}"#);
            let event = Event {
                object_type: ObjectType::new("Voyage").unwrap(),
                operation,
                body: Arc::new(Body::parse(text, BodyLimits::default()).unwrap()),
                changed_by: None,
            };
            let raw = |node: Option<Node<'_>>| {
                node.map(|node| String::from_utf8(node.raw().to_vec()).unwrap())
            };
            assert_eq!(raw(event.current()).as_deref(), current);
            assert_eq!(raw(event.before()).as_deref(), before);
        };
        check(Operation::Create, Some(r#"{"n":1}"#), None);
        check(Operation::Update, Some(r#"{"n":1}"#), Some(r#"{"n":0}"#));
        check(Operation::Delete, Some(r#"{"n":0}"#), None);
    }
}
