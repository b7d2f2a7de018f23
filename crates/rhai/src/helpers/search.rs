//! `list.find_by("event.eventCode", "ARR")`: the first element whose field has a value.
//!
//! It gives what `list.find(|e| e.event.eventCode == "ARR")` gives, by `==` as scripts know it, without a
//! call into the language for each element. Each element counts as operations, as in a loop of the script's own.

use std::rc::Rc;

use rhai::{
    Array, Dynamic, Engine, EvalAltResult, ImmutableString, Map, NativeCallContext, Position,
    Variant,
};
use rust_decimal::Decimal;
use tidewire_event::image::NodeKind;
use tidewire_script::DateTime;

use super::date;
use crate::budget::Budget;
use crate::named::FIND_BY;
use crate::object::Object;
use crate::path::{Name, PathsInForce};

type Failed = Box<EvalAltResult>;

pub(super) fn register(engine: &mut Engine, paths: &PathsInForce, budget: &Rc<Budget>) {
    let mut searcher = Searcher { engine, paths, budget };
    searcher.register(|text: &ImmutableString| Wanted::Text(text));
    searcher.register(|c: &char| Wanted::Char(*c));
    searcher.register(|number: &Decimal| Wanted::Number(*number));
    searcher.register(|number: &i64| Wanted::Number((*number).into()));
    searcher.register(|yes: &bool| Wanted::Bool(*yes));
    searcher.register(|date: &DateTime| Wanted::Date(*date));
    searcher.register(|object: &Object| Wanted::Object(object));
    searcher.register(|_: &()| Wanted::Null);
}

struct Searcher<'a> {
    engine: &'a mut Engine,
    paths: &'a PathsInForce,
    budget: &'a Rc<Budget>,
}

impl Searcher<'_> {
    /// Registers the function for values of one type.
    fn register<T: Variant + Clone>(&mut self, wanted: fn(&T) -> Wanted<'_>) {
        let (paths, budget) = (self.paths.clone(), Rc::clone(self.budget));
        let search =
            move |context: NativeCallContext<'_>, list: Array, path: ImmutableString, value: T| {
                let paths = paths.get();
                let path = paths.iter().find(|known| known.text == path).ok_or_else(not_named)?;
                for element in list {
                    budget.count(path.names.len() as u64)?;
                    if wanted(&value).is_at(&element, &path.names, context.engine())? {
                        return Ok::<_, Failed>(element.flatten());
                    }
                }
                Ok(Dynamic::UNIT)
            };
        // By value, which is a copy of the list: what takes it by reference is followed by attempts to put
        // the list back into its object, and those are dearer for all but long lists.
        self.engine.register_fn(FIND_BY, search);
        self.engine.register_fn(FIND_BY, |_: (), _: ImmutableString, _: T| ());
    }
}

/// A source whose path is no literal is not compiled; this holds whatever a source finds to call it by.
fn not_named() -> Failed {
    let reason = format!("{FIND_BY}() was given a path that does not stand in the source");
    EvalAltResult::ErrorRuntime(reason.into(), Position::NONE).into()
}

/// What a field is compared with.
enum Wanted<'a> {
    Null,
    Text(&'a str),
    Char(char),
    Number(Decimal),
    Bool(bool),
    Date(DateTime),
    Object(&'a Object),
}

impl Wanted<'_> {
    fn is_at(&self, element: &Dynamic, path: &[Name], engine: &Engine) -> Result<bool, Failed> {
        // The usual case: nothing has to be converted.
        if let Self::Text(text) = self
            && let Some(object) = element.read_lock::<Object>()
            && let Some(node) = object.node_at(path)
            && node.kind() == NodeKind::String
        {
            return Ok(node.is_text(text));
        }
        self.is(&at(element, path, engine)?)
    }

    /// As `==` between the two in a script.
    fn is(&self, value: &Dynamic) -> Result<bool, Failed> {
        if let Some(text) = value.read_lock::<ImmutableString>() {
            return match self {
                Self::Text(wanted) => Ok(*wanted == text.as_str()),
                Self::Char(wanted) => Ok(text.chars().eq([*wanted])),
                Self::Date(wanted) => Ok(date::parse(&text)? == *wanted),
                _ => Ok(false),
            };
        }
        if let Some(date) = value.read_lock::<DateTime>() {
            return match self {
                Self::Date(wanted) => Ok(*wanted == *date),
                Self::Text(wanted) => Ok(date::parse(wanted)? == *date),
                _ => Ok(false),
            };
        }
        if let Some(object) = value.read_lock::<Object>() {
            return Ok(matches!(self, Self::Object(wanted) if wanted.is_same(&object)));
        }
        Ok(match self {
            Self::Null => value.is_unit(),
            Self::Number(wanted) => number(value).is_some_and(|number| number == *wanted),
            Self::Bool(wanted) => value.as_bool() == Ok(*wanted),
            Self::Char(wanted) => value.as_char() == Ok(*wanted),
            Self::Text(wanted) => value.as_char().is_ok_and(|c| wanted.chars().eq([c])),
            Self::Date(_) | Self::Object(_) => false,
        })
    }
}

fn number(value: &Dynamic) -> Option<Decimal> {
    value.as_decimal().ok().or_else(|| value.as_int().ok().map(Decimal::from))
}

/// The value of a path below an element, as a chain of names gives it.
fn at(element: &Dynamic, path: &[Name], engine: &Engine) -> Result<Dynamic, Failed> {
    let mut value = element.flatten_clone();
    for name in path {
        value = if value.is_unit() {
            return Ok(value);
        } else if let Some(object) = value.read_lock::<Object>() {
            object.member(name.id, &name.text)?
        } else if let Some(map) = value.read_lock::<Map>() {
            map.get(&*name.text).cloned().unwrap_or_default()
        } else {
            return Err(no_field(engine, &value, &name.text));
        };
    }
    Ok(value)
}

/// In Rhai's words, which are made ours where all errors are.
fn no_field(engine: &Engine, value: &Dynamic, name: &str) -> Failed {
    let of = engine.map_type_name(value.type_name());
    let reason = format!("Unknown property '{name}' - a getter is not registered for type '{of}'");
    EvalAltResult::ErrorDotExpr(reason, Position::NONE).into()
}
