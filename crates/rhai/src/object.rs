//! An object of an event, as a script holds it: a place in a shared body.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use rhai::{Dynamic, EvalAltResult};
use tidewire_event::image::{Body, BodyLimits, Document, Node, NodeKind};
use tidewire_event::percent_decode;
use tidewire_script::References;

use crate::path::Name;
use crate::value::convert;

/// So many fields are soonest found one after the other; most scripts look at fewer.
const FEW: usize = 8;

/// The number of a name of a field, given once for all scripts of an engine.
pub(crate) type NameId = u32;

enum Source {
    Body(Arc<Body>),
    Document(Arc<Document>),
    /// A user of whom only the key is known, made when a script looks at him.
    User {
        key: u64,
        document: OnceCell<Document>,
    },
}

/// A field that a script has looked at.
enum Seen {
    Value(Dynamic),
    /// An object, or an array with objects: as soon made again from its place as cloned.
    Place(u32),
}

/// What was looked at, by place and name.
#[derive(Default)]
struct SeenFields {
    few: Vec<(u64, Seen)>,
    more: HashMap<u64, Seen>,
}

impl SeenFields {
    fn get(&self, slot: u64) -> Option<&Seen> {
        let found = self.few.iter().find(|(known, _)| *known == slot).map(|(_, seen)| seen);
        found.or_else(|| self.more.get(&slot))
    }

    fn insert(&mut self, slot: u64, seen: Seen) {
        if self.few.len() == FEW {
            self.more.insert(slot, seen);
            return;
        }
        if self.few.is_empty() {
            self.few.reserve_exact(FEW);
        }
        self.few.push((slot, seen));
    }
}

/// A body or document with what scripts have looked at.
pub(crate) struct Image {
    source: Source,
    /// A script that looks twice, or another, gets what was converted once.
    seen: RefCell<SeenFields>,
    references: Rc<dyn References>,
    /// Whether this is what was found behind a reference: then nothing more is behind its root.
    is_behind: bool,
}

impl Image {
    /// The body of the event.
    pub(crate) fn of_event(body: Arc<Body>, references: Rc<dyn References>) -> Rc<Self> {
        Rc::new(Self::new(Source::Body(body), references, false))
    }

    /// `wsUser`: an object with the user's key; what else is known of him stands behind the reference.
    pub(crate) fn of_user(key: u64, references: Rc<dyn References>) -> Rc<Self> {
        let document = OnceCell::new();
        Rc::new(Self::new(Source::User { key, document }, references, false))
    }

    fn new(source: Source, references: Rc<dyn References>, is_behind: bool) -> Self {
        Self { source, seen: RefCell::default(), references, is_behind }
    }

    fn document(&self) -> &Document {
        match &self.source {
            Source::Body(body) => body.document(),
            Source::Document(document) => document,
            Source::User { key, document } => document.get_or_init(|| user(*key)),
        }
    }

    fn behind(&self, object_type: &str, key: &str) -> Option<Rc<Self>> {
        let document = self.references.image(object_type, key)?;
        let references = Rc::clone(&self.references);
        Some(Rc::new(Self::new(Source::Document(document), references, true)))
    }
}

#[expect(clippy::expect_used, reason = "the text is made of one number: it is JSON")]
fn user(key: u64) -> Document {
    let text = format!("{{\"key\":{key},\"self\":\"/ws/rest/User/{key}\"}}");
    Document::parse(Bytes::from(text), BodyLimits::default()).expect("an object of one number")
}

fn has_objects(node: Node<'_>) -> bool {
    let is_object = |node: Node<'_>| node.kind() == NodeKind::Object;
    is_object(node) || node.elements().next().is_some_and(is_object)
}

fn twice(value: Dynamic) -> (Dynamic, Seen) {
    (value.clone(), Seen::Value(value))
}

/// An object of an image. Read-only, and cheap to clone.
#[derive(Clone)]
pub(crate) struct Object {
    image: Rc<Image>,
    place: u32,
}

impl Object {
    pub(crate) const fn new(image: Rc<Image>, place: u32) -> Self {
        Self { image, place }
    }

    fn node(&self) -> Node<'_> {
        self.image.document().node(self.place)
    }

    /// A field; null where the object has none of this name, not even behind the reference that it is.
    pub(crate) fn member(&self, id: NameId, name: &str) -> Result<Dynamic, Box<EvalAltResult>> {
        let slot = u64::from(self.place) << 32 | u64::from(id);
        match self.image.seen.borrow().get(slot) {
            Some(Seen::Value(value)) => return Ok(value.clone()),
            Some(Seen::Place(place)) => {
                return convert(&self.image, self.image.document().node(*place));
            }
            None => {}
        }
        let (value, seen) = match self.node().get(name) {
            Some(node) if has_objects(node) => {
                (convert(&self.image, node)?, Seen::Place(node.place()))
            }
            Some(node) => twice(convert(&self.image, node)?),
            None => twice(self.behind(id, name)?),
        };
        self.image.seen.borrow_mut().insert(slot, seen);
        Ok(value)
    }

    /// What stands at the end of a path; `None` where that does not lie in the image as a whole.
    pub(crate) fn node_at(&self, path: &[Name]) -> Option<Node<'_>> {
        path.iter().try_fold(self.node(), |node, name| node.get(&name.text))
    }

    /// Follows the reference that this object is, if it is one.
    fn behind(&self, id: NameId, name: &str) -> Result<Dynamic, Box<EvalAltResult>> {
        if self.image.is_behind && self.place == 0 {
            return Ok(Dynamic::UNIT);
        }
        let Some((object_type, key)) = self.refers_to() else { return Ok(Dynamic::UNIT) };
        match self.image.behind(&object_type, &key) {
            Some(image) => Self::new(image, 0).member(id, name),
            None => Ok(Dynamic::UNIT),
        }
    }

    /// Type and key, as the `self` link tells them: `.../<Type>/<key>`.
    fn refers_to(&self) -> Option<(String, String)> {
        let link = self.node().get("self")?.as_str()?;
        let (before, key) = link.rsplit_once('/')?;
        let (_, object_type) = before.rsplit_once('/')?;
        let key = percent_decode(key).ok()?;
        Some((object_type.to_owned(), key.into_owned()))
    }

    /// Whether both are the same object: by key where both have one, else by their bytes.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (one, two) = (self.node(), other.node());
        let key = |node: Node<'_>| {
            node.get("key").filter(|key| key.kind() != NodeKind::Null).map(|key| key.raw().to_vec())
        };
        match (key(one), key(two)) {
            (Some(one), Some(two)) => one == two,
            _ => one.raw() == two.raw(),
        }
    }
}
