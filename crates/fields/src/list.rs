//! The field list as the client wrote it: shape and limits, no model.

use bytes::Bytes;
use tidewire_event::image::{BodyError, BodyLimits, Document, Node, NodeKind};

use crate::FieldListError;

/// Most bytes in a field list.
pub const FIELD_LIST_BYTES_MAX: usize = 16 * 1024;
/// Most levels of nesting; `{"port":{"portName":"*"}}` has 2.
pub const FIELD_LIST_DEPTH_MAX: usize = 8;
/// Most names in all.
pub const FIELD_LIST_NODES_MAX: usize = 500;
/// Most characters of a path in an error text.
const PATH_CHARS_MAX: usize = 200;

/// What a message on the socket asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// `{}`: back to the message without a field list.
    Reset,
    /// A list.
    List(FieldList),
}

/// A field list of sound shape. Two lists are equal if they name the same fields in the same order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldList {
    pub(crate) fields: Vec<Field>,
    /// How many fields there are in all; the `id` of each is below it.
    pub(crate) count: usize,
    canonical: Box<str>,
}

/// One name of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: Box<str>,
    /// Its number in the order of the text, a name before the names below it.
    pub(crate) id: usize,
    pub(crate) below: Below,
}

/// What stands below a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Below {
    /// `"*"`.
    Star,
    /// An object.
    Fields(Vec<Field>),
}

impl FieldList {
    /// Reads a message.
    ///
    /// # Errors
    /// [`FieldListError`]: what is wrong with shape or size, with the path of the field.
    pub fn parse(text: &str) -> Result<Parsed, FieldListError> {
        if text.len() > FIELD_LIST_BYTES_MAX {
            return Err(FieldListError::TooLarge(text.len()));
        }
        let limits = BodyLimits::default();
        let document = Document::parse(Bytes::copy_from_slice(text.as_bytes()), limits).map_err(
            |e| match e {
                BodyError::TooDeep { .. } => FieldListError::TooDeep(String::from("the list")),
                BodyError::Json { line, column, .. } => FieldListError::Json { line, column },
                _ => FieldListError::Json { line: 1, column: 0 },
            },
        )?;
        let root = document.root();
        if root.kind() != NodeKind::Object {
            return Err(FieldListError::NotAnObject(root.kind()));
        }
        let mut reader = Reader { count: 0, path: Vec::new() };
        let fields = reader.fields(root)?;
        if fields.is_empty() {
            return Ok(Parsed::Reset);
        }
        let mut canonical = String::with_capacity(text.len());
        write_fields(&fields, &mut canonical);
        Ok(Parsed::List(Self { fields, count: reader.count, canonical: canonical.into() }))
    }

    /// The list without spaces, every name spelt in the same way, in the client's order. Parsing it gives
    /// an equal list.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

struct Reader {
    count: usize,
    path: Vec<Box<str>>,
}

impl Reader {
    fn here(&self) -> String {
        path_text(self.path.iter().map(|name| &**name))
    }

    fn fields(&mut self, object: Node<'_>) -> Result<Vec<Field>, FieldListError> {
        let mut fields: Vec<Field> = Vec::new();
        for (name, value) in object.members() {
            let name = name.text().ok_or_else(|| FieldListError::Name(self.here()))?;
            self.path.push(name.as_ref().into());
            if fields.iter().any(|field| *field.name == *name) {
                return Err(FieldListError::Duplicate(self.here()));
            }
            let id = self.count;
            self.count += 1;
            if self.count > FIELD_LIST_NODES_MAX {
                return Err(FieldListError::TooManyFields);
            }
            let below = self.below(&name, value)?;
            fields.push(Field { name: name.as_ref().into(), id, below });
            self.path.pop();
        }
        Ok(fields)
    }

    fn below(&mut self, name: &str, value: Node<'_>) -> Result<Below, FieldListError> {
        match value.kind() {
            NodeKind::String if value.as_str().as_deref() == Some("*") => Ok(Below::Star),
            _ if name == "*" => Err(FieldListError::Star(self.here())),
            NodeKind::Object if self.path.len() >= FIELD_LIST_DEPTH_MAX => {
                Err(FieldListError::TooDeep(self.here()))
            }
            NodeKind::Object => Ok(Below::Fields(self.fields(value)?)),
            NodeKind::Array => Err(FieldListError::Array(self.here())),
            NodeKind::String => {
                let found = value
                    .as_str()
                    .map_or_else(String::new, |text| format!("\"{}\"", cut(&text, 40)));
                Err(FieldListError::Leaf { path: self.here(), found })
            }
            kind => Err(FieldListError::Leaf { path: self.here(), found: kind.to_string() }),
        }
    }
}

fn write_fields(fields: &[Field], out: &mut String) {
    for (n, field) in fields.iter().enumerate() {
        out.push(if n == 0 { '{' } else { ',' });
        out.push_str(&quoted(&field.name));
        out.push(':');
        match &field.below {
            Below::Star => out.push_str("\"*\""),
            Below::Fields(fields) => write_fields(fields, out),
        }
    }
    out.push_str(if fields.is_empty() { "{}" } else { "}" });
}

/// A name as a JSON string.
pub(crate) fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}

/// The dotted path for an error text.
pub(crate) fn path_text<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let joined = names.collect::<Vec<_>>().join(".");
    cut(&joined, PATH_CHARS_MAX)
}

fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
