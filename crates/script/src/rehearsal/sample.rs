//! A made-up object of a type of the model.

use serde_json::{Map, Value, json};
use tidewire_model::{Member, MemberKind, Members, Model, TypeDef};

/// How deep references are expanded.
const DEPTH_MAX: usize = 4;
/// Most values in one object: a model is data, and may refer in any circle.
const VALUES_MAX: usize = 4000;

/// What stands in the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    ByName,
    /// As by name, but members about which the model says nothing are objects.
    OpenObjects,
    Number,
    Decimal,
    Text,
    Date,
    Flag,
}

impl Kind {
    pub(super) const ALL: [Self; 8] = [
        Self::Null,
        Self::ByName,
        Self::OpenObjects,
        Self::Number,
        Self::Decimal,
        Self::Text,
        Self::Date,
        Self::Flag,
    ];

    /// For people.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Null => "every field null",
            Self::ByName | Self::OpenObjects => "fields of the kinds that their names suggest",
            Self::Number => "numbers in its fields",
            Self::Decimal => "decimals in its fields",
            Self::Text => "texts in its fields",
            Self::Date => "dates in its fields",
            Self::Flag => "booleans in its fields",
        }
    }

    fn value(self, name: &str) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::ByName | Self::OpenObjects => Self::suggested(name).value(name),
            Self::Number => json!(7),
            Self::Decimal => "1234.50".parse().map_or(Value::Null, Value::Number),
            Self::Text => json!("sample"),
            Self::Date => json!("2026-09-14T13:37:26"),
            Self::Flag => json!(true),
        }
    }

    /// What the words of a name say of its value, in any business.
    fn suggested(name: &str) -> Self {
        let lower = name.to_ascii_lowercase();
        let ends = |ends: &[&str]| ends.iter().any(|end| lower.ends_with(end));
        let is_flag = |word: &str| {
            name.strip_prefix(word).is_some_and(|rest| rest.starts_with(|c: char| c.is_uppercase()))
        };
        if is_flag("is") || is_flag("has") || ends(&["fixed"]) {
            Self::Flag
        } else if ends(&["date", "time", "at"]) {
            Self::Date
        } else if ends(&[
            "code",
            "name",
            "desc",
            "description",
            "type",
            "no",
            "number",
            "text",
            "comments",
            "remarks",
            "zone",
            "property",
            "measurement",
            "reasonforcall",
            "status",
            "subject",
        ]) {
            Self::Text
        } else {
            Self::Decimal
        }
    }
}

/// The object as JSON text.
pub(super) fn sample(model: &Model, object_type: &str, kind: Kind) -> String {
    let mut maker = Maker { model, kind, left: VALUES_MAX };
    let members = model.type_def(object_type).map(TypeDef::members);
    Value::Object(maker.object(members, Some(object_type), 0)).to_string()
}

struct Maker<'a> {
    model: &'a Model,
    kind: Kind,
    left: usize,
}

impl Maker<'_> {
    fn object(
        &mut self,
        members: Option<&Members>,
        object_type: Option<&str>,
        depth: usize,
    ) -> Map<String, Value> {
        let mut out = Map::new();
        if let Some(name) = object_type {
            out.insert("key".into(), json!(1));
            out.insert("self".into(), format!("https://vms.example.com/ws/rest/{name}/1").into());
        }
        for member in members.into_iter().flat_map(Members::iter) {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            out.insert(member.name().to_owned(), self.member(member, depth));
        }
        out
    }

    fn member(&mut self, member: &Member, depth: usize) -> Value {
        if self.kind == Kind::Null {
            return Value::Null;
        }
        let one = match member.kind() {
            MemberKind::Open if self.kind == Kind::OpenObjects => json!({}),
            MemberKind::Plain | MemberKind::Open => self.kind.value(member.name()),
            MemberKind::Nested(below) => Value::Object(self.object(Some(below), None, depth)),
            MemberKind::Reference(to) => {
                let def = self.model.type_def(to.as_str()).filter(|_| depth < DEPTH_MAX);
                let members = def.map(TypeDef::members);
                Value::Object(self.object(members, Some(to.as_str()), depth + 1))
            }
        };
        if member.is_array() { Value::Array(vec![one]) } else { one }
    }
}
