//! One change as a producer sends it: read, checked against the data model, never altered.
//!
//! Invariants: a [`ChangeRequest`] is consistent (type, key, operation, images); its images are the
//! producer's own bytes, digit for digit; its owners are those that the images tell, in the old and in
//! the new one, and those that the producer named, each once.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use tidewire_event::image::{BodyLimits, DEPTH_MAX, Document, Node, NodeKind};
use tidewire_event::record::{CHANGE_ID_BYTES_MAX, OWNERS_MAX};
use tidewire_event::{KeyKind, ObjectKey, ObjectType, Operation, Version};
use tidewire_model::{Model, nearest};

use crate::error::ChangeError;
use crate::instant;

/// The members of a change, in the order of the documentation.
pub const MEMBERS: [&str; 11] = [
    "objectType",
    "key",
    "operation",
    "new",
    "old",
    "version",
    "epoch",
    "owners",
    "changedBy",
    "changedAt",
    "id",
];
const OWNER_MEMBERS: [&str; 2] = ["objectType", "key"];

/// The epoch of a version whose producer names none.
pub const DEFAULT_EPOCH: &str = "0";

/// How far ahead of this machine's clock `changedAt` may lie. Brokers refuse records further ahead
/// (`message.timestamp.after.max.ms`, one hour by default).
pub const AHEAD_MS_MAX: i64 = 60 * 60 * 1_000;

/// What a change is judged by.
#[derive(Clone, Debug)]
pub struct ChangeRules {
    /// The data model.
    pub model: Arc<Model>,
    /// Most bytes of one change.
    pub change_bytes_max: usize,
}

/// A change, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeRequest {
    /// The type of the object.
    pub object_type: ObjectType,
    /// Its key.
    pub key: ObjectKey,
    /// What happened.
    pub operation: Operation,
    /// The whole object as it is now.
    pub new: Option<Bytes>,
    /// The whole object as it was.
    pub old: Option<Bytes>,
    /// The version of the new image.
    pub version: Option<Version>,
    /// The objects above.
    pub owners: Vec<(ObjectType, ObjectKey)>,
    /// The key of the user who acted.
    pub changed_by: Option<u64>,
    /// When, in milliseconds since the Unix epoch; now where the producer does not say.
    pub changed_at_ms: i64,
    /// The idempotency key.
    pub id: Option<Arc<str>>,
}

impl ChangeRequest {
    /// Reads one change. `now_ms` stands in for a missing `changedAt`.
    ///
    /// # Errors
    /// The error names the member and what is wrong with it.
    pub fn parse(bytes: Bytes, rules: &ChangeRules, now_ms: i64) -> Result<Self, Rejected> {
        let limits = BodyLimits { bytes_max: rules.change_bytes_max, depth_max: DEPTH_MAX };
        let document = Document::parse(bytes, limits)
            .map_err(|error| Rejected { error: error.into(), object: None })?;
        Members::of(document.root(), "a change", &MEMBERS)
            .and_then(|members| Reader { members, rules, now_ms }.read(&document))
            .map_err(|error| Rejected { error, object: object_of(&document, &rules.model) })
    }

    /// The object that changed.
    #[must_use]
    pub fn object(&self) -> Object {
        (self.object_type.clone(), self.key.clone())
    }

    /// Whether an update or a delete came without the old image.
    #[must_use]
    pub fn lacks_old(&self) -> bool {
        self.operation != Operation::Create && self.old.is_none()
    }
}

/// An object of one tenant.
pub type Object = (ObjectType, ObjectKey);

/// A change that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Why.
    pub error: ChangeError,
    /// The object that it would have changed, where that can be told.
    pub object: Option<Object>,
}

/// The object of a change that may be wrong elsewhere.
fn object_of(document: &Document, model: &Model) -> Option<Object> {
    let root = document.root();
    let object_type = object_type(model, "objectType", root.get("objectType")?).ok()?;
    let key = object_key(model, &object_type, "key", root.get("key")?).ok()?;
    Some((object_type, key))
}

/// The members of one object: known ones, each once. A member that is null counts as absent.
struct Members<'a> {
    found: Vec<(&'static str, Node<'a>)>,
}

impl<'a> Members<'a> {
    fn of(node: Node<'a>, what: &'static str, known: &[&'static str]) -> Result<Self, ChangeError> {
        if node.kind() != NodeKind::Object {
            return Err(ChangeError::NotAnObject { what, kind: node.kind() });
        }
        let mut found: Vec<(&'static str, Node<'a>)> = Vec::with_capacity(known.len());
        for (name, value) in node.members() {
            let Some(known_name) = known.iter().find(|known| name.is(known)) else {
                let name = name.text().unwrap_or(Cow::Borrowed("?"));
                let near = nearest(&name, known.iter().copied()).map(str::to_owned);
                return Err(ChangeError::UnknownMember { what, name: clip(&name), near });
            };
            if found.iter().any(|(other, _)| other == known_name) {
                return Err(ChangeError::Twice(known_name));
            }
            found.push((known_name, value));
        }
        found.retain(|(_, value)| !value.is_null());
        Ok(Self { found })
    }

    fn get(&self, name: &str) -> Option<Node<'a>> {
        self.found.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn required(&self, name: &'static str) -> Result<Node<'a>, ChangeError> {
        self.get(name).ok_or(ChangeError::Missing(name))
    }

    /// A text, if there is one.
    fn text(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, ChangeError> {
        self.get(name).map(|node| text(name, node)).transpose()
    }

    /// The digits of an integer that is not negative, if there is one.
    fn digits(&self, name: &'static str) -> Result<Option<&'a str>, ChangeError> {
        let Some(node) = self.get(name) else { return Ok(None) };
        let digits = std::str::from_utf8(node.raw()).unwrap_or_default();
        if node.kind() != NodeKind::Number || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ChangeError::NotAnInteger { name, got: clip(digits) });
        }
        Ok(Some(digits))
    }
}

fn text<'a>(name: &'static str, node: Node<'a>) -> Result<Cow<'a, str>, ChangeError> {
    let expected = match node.kind() {
        NodeKind::String => "one without half a surrogate pair",
        _ => "a string",
    };
    node.as_str().ok_or(ChangeError::Kind { name, expected, kind: node.kind() })
}

struct Reader<'a> {
    members: Members<'a>,
    rules: &'a ChangeRules,
    now_ms: i64,
}

impl<'a> Reader<'a> {
    fn read(&self, document: &Document) -> Result<ChangeRequest, ChangeError> {
        let model = &self.rules.model;
        let object_type = object_type(model, "objectType", self.members.required("objectType")?)?;
        let key = object_key(model, &object_type, "key", self.members.required("key")?)?;
        let operation = text("operation", self.members.required("operation")?)?;
        let operation = Operation::from_letter(&operation)
            .ok_or_else(|| ChangeError::Operation(clip(&operation)))?;
        let new = self.image("new", &object_type, &key)?;
        let old = self.image("old", &object_type, &key)?;
        match (operation, new, old) {
            (Operation::Create | Operation::Update, None, _) => {
                return Err(ChangeError::NewMissing(operation));
            }
            (Operation::Create, _, Some(_)) => return Err(ChangeError::OldOfCreate),
            (Operation::Delete, Some(_), _) => return Err(ChangeError::NewOfDelete),
            _ => {}
        }
        let own_bytes =
            |image: Option<Node<'_>>| image.map(|n| document.bytes().slice_ref(n.raw()));
        Ok(ChangeRequest {
            owners: self.owners(&object_type, new, old)?,
            new: own_bytes(new),
            old: own_bytes(old),
            version: self.version()?,
            changed_by: self.changed_by()?,
            changed_at_ms: self.changed_at()?,
            id: self.id()?,
            object_type,
            key,
            operation,
        })
    }

    /// An image, whose own `key` must not disagree: the record key is the authority.
    fn image(
        &self,
        name: &'static str,
        object_type: &ObjectType,
        key: &ObjectKey,
    ) -> Result<Option<Node<'a>>, ChangeError> {
        let Some(image) = self.members.get(name) else { return Ok(None) };
        if image.kind() != NodeKind::Object {
            return Err(ChangeError::Kind {
                name,
                expected: "an object or null",
                kind: image.kind(),
            });
        }
        if let Some(own) = image.get("key") {
            let kind = self.rules.model.key_kind(object_type.as_str());
            let kind = kind.unwrap_or_else(|| kind_of(own));
            if own.as_key(kind).is_none_or(|own| own.to_string() != key.to_string()) {
                let own = clip(&String::from_utf8_lossy(own.raw()));
                return Err(ChangeError::KeyDisagrees { name, own, key: key.to_string() });
            }
        }
        Ok(Some(image))
    }

    fn owners(
        &self,
        object_type: &ObjectType,
        new: Option<Node<'a>>,
        old: Option<Node<'a>>,
    ) -> Result<Vec<(ObjectType, ObjectKey)>, ChangeError> {
        let model = &self.rules.model;
        let mut owners: Vec<(ObjectType, ObjectKey)> = Vec::new();
        let told = new.into_iter().chain(old);
        let told = told.flat_map(|image| model.owners_in_image(object_type.as_str(), image));
        let named = self.named_owners()?;
        for owner in told.chain(named) {
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        }
        if owners.len() > OWNERS_MAX {
            return Err(ChangeError::ManyOwners(owners.len()));
        }
        Ok(owners)
    }

    fn named_owners(&self) -> Result<Vec<(ObjectType, ObjectKey)>, ChangeError> {
        let Some(list) = self.members.get("owners") else { return Ok(Vec::new()) };
        if list.kind() != NodeKind::Array {
            let kind = list.kind();
            return Err(ChangeError::Kind { name: "owners", expected: "an array", kind });
        }
        let model = &self.rules.model;
        let read = |owner: Node<'a>| {
            let members = Members::of(owner, "an owner", &OWNER_MEMBERS)?;
            let object_type = object_type(model, "objectType", members.required("objectType")?)?;
            let key = object_key(model, &object_type, "key", members.required("key")?)?;
            Ok((object_type, key))
        };
        // One more than may be is enough to refuse; the rest is not looked at.
        let owners = list.elements().take(OWNERS_MAX + 1).enumerate();
        owners
            .map(|(index, owner)| {
                read(owner).map_err(|source| ChangeError::Owner { index, source: Box::new(source) })
            })
            .collect()
    }

    fn version(&self) -> Result<Option<Version>, ChangeError> {
        let epoch = self.members.text("epoch")?;
        let Some(digits) = self.members.digits("version")? else {
            return if epoch.is_some() { Err(ChangeError::EpochAlone) } else { Ok(None) };
        };
        let number = digits.parse().map_err(|_| ChangeError::VersionTooHigh)?;
        let epoch = epoch.as_deref().unwrap_or(DEFAULT_EPOCH);
        Ok(Some(Version::new(epoch, number).map_err(ChangeError::Epoch)?))
    }

    fn changed_by(&self) -> Result<Option<u64>, ChangeError> {
        let Some(digits) = self.members.digits("changedBy")? else { return Ok(None) };
        match ObjectKey::parse(digits, KeyKind::Integer) {
            Ok(ObjectKey::Integer(user)) => Ok(Some(user)),
            _ => Err(ChangeError::NotAnInteger { name: "changedBy", got: clip(digits) }),
        }
    }

    fn changed_at(&self) -> Result<i64, ChangeError> {
        let Some(time) = self.members.text("changedAt")? else { return Ok(self.now_ms) };
        let ms = instant::parse(&time)
            .map_err(|source| ChangeError::ChangedAt { got: clip(&time), source })?;
        if ms > self.now_ms.saturating_add(AHEAD_MS_MAX) {
            return Err(ChangeError::Ahead(clip(&time)));
        }
        Ok(ms)
    }

    fn id(&self) -> Result<Option<Arc<str>>, ChangeError> {
        let Some(id) = self.members.text("id")? else { return Ok(None) };
        if id.is_empty() || id.len() > CHANGE_ID_BYTES_MAX || id.chars().any(char::is_control) {
            return Err(ChangeError::Id);
        }
        Ok(Some(Arc::from(&*id)))
    }
}

fn object_type(
    model: &Model,
    name: &'static str,
    node: Node<'_>,
) -> Result<ObjectType, ChangeError> {
    let text = text(name, node)?;
    let object_type =
        ObjectType::new(&text).map_err(|source| ChangeError::Name { name, source })?;
    if !model.is_known(&text) {
        let near = model.nearest_type(&text).map(ToString::to_string);
        return Err(ChangeError::UnknownType { name: text.into_owned(), near });
    }
    Ok(object_type)
}

/// The key kind of a type that the model does not define: what the JSON value is.
fn kind_of(node: Node<'_>) -> KeyKind {
    if node.kind() == NodeKind::String { KeyKind::Text } else { KeyKind::Integer }
}

fn object_key(
    model: &Model,
    object_type: &ObjectType,
    name: &'static str,
    node: Node<'_>,
) -> Result<ObjectKey, ChangeError> {
    let kind = model.key_kind(object_type.as_str()).unwrap_or_else(|| kind_of(node));
    let raw = || clip(&String::from_utf8_lossy(node.raw()));
    node.as_key(kind).ok_or_else(|| ChangeError::Key {
        name,
        object_type: object_type.to_string(),
        expected: match kind {
            KeyKind::Integer => "an integer from 0 to 9007199254740991",
            KeyKind::Text => "a string of 1 to 128 bytes without control characters",
        },
        got: raw(),
    })
}

/// A short piece of bad input for an error text.
fn clip(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    let mut out: String = text.chars().filter(|c| !c.is_control()).take(CHARS_MAX).collect();
    if text.chars().count() > CHARS_MAX {
        out.push('…');
    }
    out
}
