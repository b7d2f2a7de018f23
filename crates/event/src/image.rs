//! The parsed body of a change: JSON read once, and never copied.
//!
//! A [`Document`] is the producer's own bytes and a flat tape of what stands where in them. Numbers and
//! strings stay the bytes that were sent, so that a value passes through digit for digit. A [`Body`] is
//! the document of a record, `{"new":{...}|null,"old":{...}|null}`.
//!
//! Invariants: the bytes of a document are valid UTF-8 and one valid JSON value (serde_json says so
//! before the tape is built); a tape entry's span lies inside them; the entries of a container follow it
//! directly, and `next` is the index behind the last of them. In an object they are name, value, name,
//! value. A document is immutable, so threads share it freely.
//!
//! Memory: 16 bytes of tape for each value and each name, at most 8 times the text.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::IgnoredAny;
use thiserror::Error;

use crate::{KeyKind, ObjectKey};

/// Most levels of nesting, by default.
pub const DEPTH_MAX: usize = 128;
/// Most bytes in a body, by default.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a document may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Most bytes; never more than `u32::MAX` count.
    pub bytes_max: usize,
    /// Most levels of nesting: a value without members has 0, `{}` has 1.
    pub depth_max: usize,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { bytes_max: BODY_BYTES_MAX, depth_max: DEPTH_MAX }
    }
}

/// Why a body cannot be used.
#[derive(Debug, Error)]
pub enum BodyError {
    /// More bytes than the limit.
    #[error("the JSON has {bytes} bytes, more than {bytes_max}")]
    TooLarge {
        /// How many there are.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The bytes are not UTF-8.
    #[error("the JSON is not UTF-8 from byte {0} on")]
    NotUtf8(usize),
    /// The text is not one JSON value.
    #[error("the JSON is broken at line {line}, column {column}")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1 (0 at the end of a line).
        column: usize,
        /// What serde_json found.
        #[source]
        source: serde_json::Error,
    },
    /// Nested deeper than the limit.
    #[error("the JSON is nested deeper than {depth_max} levels at byte {at}")]
    TooDeep {
        /// The limit.
        depth_max: usize,
        /// Where the level too many opens.
        at: usize,
    },
    /// The body is not an object.
    #[error("the body is {0}, expected an object with 'new' and 'old'")]
    NotAnObject(NodeKind),
    /// An image is neither an object nor null.
    #[error("'{name}' is {kind}, expected an object or null")]
    Image {
        /// `new` or `old`.
        name: &'static str,
        /// What it is instead.
        kind: NodeKind,
    },
    /// An image is of another object than the record.
    #[error("'{0}' has another key than the record")]
    Key(&'static str),
}

/// What a JSON value is. Its text has the article: `an object`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl std::fmt::Display for NodeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        })
    }
}

/// One value or name of the tape.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    end: u32,
    /// The index of the entry behind this value and all that it holds.
    next: u32,
    kind: NodeKind,
    /// A string with a backslash in it, which is to be decoded before it is compared.
    escaped: bool,
}

/// One JSON value: the bytes as they came, and where each value stands in them.
#[derive(Clone, Debug)]
pub struct Document {
    bytes: Bytes,
    tape: Box<[Entry]>,
}

impl Document {
    /// Checks the bytes and finds every value in them.
    ///
    /// # Errors
    /// [`BodyError`]: too large, not UTF-8, not JSON, too deep.
    pub fn parse(bytes: Bytes, limits: BodyLimits) -> Result<Self, BodyError> {
        let bytes_max = limits.bytes_max.min(u32::MAX as usize);
        if bytes.len() > bytes_max {
            return Err(BodyError::TooLarge { bytes: bytes.len(), bytes_max });
        }
        let text = std::str::from_utf8(&bytes).map_err(|e| BodyError::NotUtf8(e.valid_up_to()))?;
        serde_json::from_str::<IgnoredAny>(text).map_err(|source| BodyError::Json {
            line: source.line(),
            column: source.column(),
            source,
        })?;
        let tape = scan(text.as_bytes(), limits.depth_max)?;
        Ok(Self { bytes, tape })
    }

    /// The value itself.
    #[must_use]
    pub fn root(&self) -> Node<'_> {
        Node { document: self, index: 0 }
    }

    /// The bytes as they came.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The value at a place that [`Node::place`] told of this very document.
    #[must_use]
    pub const fn node(&self, place: u32) -> Node<'_> {
        Node { document: self, index: place }
    }

    fn entry(&self, index: u32) -> Option<&Entry> {
        self.tape.get(index as usize)
    }

    fn span(&self, entry: &Entry) -> &[u8] {
        self.bytes.get(entry.start as usize..entry.end as usize).unwrap_or_default()
    }
}

/// The number of an entry or the place of a byte: both are below the byte limit, which is a `u32`.
#[expect(clippy::cast_possible_truncation, reason = "checked against u32::MAX in Document::parse")]
const fn place(number: usize) -> u32 {
    number as u32
}

/// Builds the tape over text that serde_json has accepted: only structure is looked at here.
fn scan(text: &[u8], depth_max: usize) -> Result<Box<[Entry]>, BodyError> {
    let mut tape: Vec<Entry> = Vec::with_capacity(text.len() / 12 + 4);
    let mut open: Vec<u32> = Vec::with_capacity(8);
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let start = at;
        at += 1;
        let (kind, escaped) = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => continue,
            b'}' | b']' => {
                let behind = place(tape.len());
                if let Some(entry) = open.pop().and_then(|i| tape.get_mut(i as usize)) {
                    entry.end = place(at);
                    entry.next = behind;
                }
                continue;
            }
            b'{' | b'[' => {
                if open.len() >= depth_max {
                    return Err(BodyError::TooDeep { depth_max, at: start });
                }
                open.push(place(tape.len()));
                (if byte == b'{' { NodeKind::Object } else { NodeKind::Array }, false)
            }
            b'"' => {
                let (behind, escaped) = string_end(text, at);
                at = behind;
                (NodeKind::String, escaped)
            }
            _ => {
                let rest = text.get(at..).unwrap_or_default();
                let is_end =
                    |b: &u8| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
                at += rest.iter().position(is_end).unwrap_or(rest.len());
                let kind = match byte {
                    b'n' => NodeKind::Null,
                    b't' | b'f' => NodeKind::Bool,
                    _ => NodeKind::Number,
                };
                (kind, false)
            }
        };
        let next = place(tape.len() + 1);
        tape.push(Entry { start: place(start), end: place(at), next, kind, escaped });
    }
    Ok(tape.into_boxed_slice())
}

/// The place behind the closing quote of a string whose first byte is at `at`, and whether a backslash
/// stands in it.
fn string_end(text: &[u8], mut at: usize) -> (usize, bool) {
    let mut escaped = false;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'"' => break,
            b'\\' => {
                escaped = true;
                at += 1;
            }
            _ => {}
        }
    }
    (at, escaped)
}

/// One value of a document.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    document: &'a Document,
    index: u32,
}

impl<'a> Node<'a> {
    fn entry(self) -> Option<&'a Entry> {
        self.document.entry(self.index)
    }

    /// Where it stands in its document, for whoever keeps the document and not the borrow.
    #[must_use]
    pub const fn place(self) -> u32 {
        self.index
    }

    /// What it is.
    #[must_use]
    pub fn kind(self) -> NodeKind {
        self.entry().map_or(NodeKind::Null, |entry| entry.kind)
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.kind() == NodeKind::Null
    }

    /// The exact bytes of the value, as the producer wrote them.
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        self.entry().map_or(b"null", |entry| self.document.span(entry))
    }

    /// The member with this (decoded) name; the last one where a name stands twice. `None` on a value
    /// that is not an object.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Node<'a>> {
        let document = self.document;
        let mut found = None;
        let Elements { mut at, end, .. } = self.children(NodeKind::Object);
        // Not by way of `members`: most of what a script or a field list costs is spent here.
        while at < end {
            let (member, index) = (document.entry(at)?, at + 1);
            let may_be = member.escaped || (member.end - member.start) as usize == name.len() + 2;
            if may_be {
                let member = Name { quoted: document.span(member), escaped: member.escaped };
                if member.is(name) {
                    found = Some(Node { document, index });
                }
            }
            at = document.entry(index)?.next;
        }
        found
    }

    /// The members of an object in the order of the text; nothing on another value.
    #[must_use]
    pub fn members(self) -> Members<'a> {
        Members { children: self.children(NodeKind::Object) }
    }

    /// The elements of an array in order; nothing on another value.
    #[must_use]
    pub fn elements(self) -> Elements<'a> {
        self.children(NodeKind::Array)
    }

    fn children(self, kind: NodeKind) -> Elements<'a> {
        let (at, end) = match self.entry() {
            Some(entry) if entry.kind == kind => (self.index + 1, entry.next),
            _ => (0, 0),
        };
        Elements { document: self.document, at, end }
    }

    /// The decoded text of a string; `None` on another value, and on a string with half a surrogate pair
    /// (`"\ud800"`), which JSON's grammar allows and no text is.
    #[must_use]
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        self.name().and_then(Name::text)
    }

    /// Whether it is a string with this (decoded) text.
    #[must_use]
    pub fn is_text(self, text: &str) -> bool {
        self.name().is_some_and(|name| name.is(text))
    }

    /// The value as a key: a plain integer below 2^53, or a string. `None` where it is not of the kind.
    #[must_use]
    pub fn as_key(self, kind: KeyKind) -> Option<ObjectKey> {
        match (kind, self.kind()) {
            (KeyKind::Integer, NodeKind::Number) => {
                let text = std::str::from_utf8(self.raw()).ok()?;
                ObjectKey::parse(text, kind).ok()
            }
            (KeyKind::Text, NodeKind::String) => ObjectKey::parse(&self.as_str()?, kind).ok(),
            _ => None,
        }
    }

    fn name(self) -> Option<Name<'a>> {
        let entry = self.entry().filter(|entry| entry.kind == NodeKind::String)?;
        Some(Name { quoted: self.document.span(entry), escaped: entry.escaped })
    }
}

/// The name of a member, as it stands in the text.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    quoted: &'a [u8],
    escaped: bool,
}

impl<'a> Name<'a> {
    /// The bytes with their quotes.
    #[must_use]
    pub const fn raw(self) -> &'a [u8] {
        self.quoted
    }

    /// Whether the decoded name is this text.
    #[must_use]
    pub fn is(self, text: &str) -> bool {
        if self.escaped {
            return self.text().is_some_and(|name| name == text);
        }
        self.inner() == text.as_bytes()
    }

    /// The decoded name; `None` where it holds half a surrogate pair.
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        if self.escaped {
            return serde_json::from_slice::<String>(self.quoted).ok().map(Cow::Owned);
        }
        std::str::from_utf8(self.inner()).ok().map(Cow::Borrowed)
    }

    fn inner(self) -> &'a [u8] {
        self.quoted.get(1..self.quoted.len().saturating_sub(1)).unwrap_or_default()
    }
}

/// The values inside a container, in order.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    document: &'a Document,
    at: u32,
    end: u32,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        if self.at >= self.end {
            return None;
        }
        let node = Node { document: self.document, index: self.at };
        self.at = node.entry()?.next;
        Some(node)
    }
}

/// The members of an object, in order, with their names.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    children: Elements<'a>,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Name<'a>, Node<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.children.next()?.name()?;
        Some((name, self.children.next()?))
    }
}

/// The body of a record: the object after the change, and before it.
#[derive(Clone, Debug)]
pub struct Body {
    document: Document,
    new: Option<u32>,
    old: Option<u32>,
}

impl Body {
    /// Reads `{"new":{...}|null,"old":{...}|null}`. A missing image counts as null, other members are
    /// ignored, and of two members with one name the last counts.
    ///
    /// # Errors
    /// [`BodyError`] says what is wrong and where.
    pub fn parse(bytes: Bytes, limits: BodyLimits) -> Result<Self, BodyError> {
        let document = Document::parse(bytes, limits)?;
        let root = document.root();
        if root.kind() != NodeKind::Object {
            return Err(BodyError::NotAnObject(root.kind()));
        }
        let image = |name: &'static str| match root.get(name) {
            None => Ok(None),
            Some(node) => match node.kind() {
                NodeKind::Null => Ok(None),
                NodeKind::Object => Ok(Some(node.index)),
                kind => Err(BodyError::Image { name, kind }),
            },
        };
        let (new, old) = (image("new")?, image("old")?);
        Ok(Self { document, new, old })
    }

    /// Checks that the images, where they hold a `key`, hold this one: the record's key is the authority.
    ///
    /// # Errors
    /// [`BodyError::Key`] names the image.
    pub fn check_key(&self, key: &ObjectKey) -> Result<(), BodyError> {
        for (name, image) in [("new", self.new_image()), ("old", self.old_image())] {
            let Some(own) = image.and_then(|image| image.get("key")) else { continue };
            // Where no model tells the kind, digits may stand as a number or as a text.
            let is_this = |kind| match (own.as_key(kind), key) {
                (Some(own), key) if own == *key => true,
                (Some(own), key) => own.to_string() == key.to_string(),
                (None, _) => false,
            };
            if ![KeyKind::Integer, KeyKind::Text].into_iter().any(is_this) {
                return Err(BodyError::Key(name));
            }
        }
        Ok(())
    }

    /// The whole body, for members beside the two images.
    #[must_use]
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// The object after the change.
    #[must_use]
    pub fn new_image(&self) -> Option<Node<'_>> {
        self.new.map(|index| Node { document: &self.document, index })
    }

    /// The object before the change.
    #[must_use]
    pub fn old_image(&self) -> Option<Node<'_>> {
        self.old.map(|index| Node { document: &self.document, index })
    }

    /// The bytes as they came.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        self.document.bytes()
    }
}
