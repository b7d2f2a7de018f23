//! Null: it goes through calculations, answers questions with false, and has no elements.
//!
//! Comparisons are Rhai's own: null equals null and nothing else, and `<` and `>` with null are false.

use std::any::TypeId;

use rhai::{Array, Dynamic, Engine, FnPtr, ImmutableString, Map, Module};
use rust_decimal::Decimal;
use tidewire_script::DateTime;

/// Properties of null that are not null.
pub(crate) const OF_NULL: [&str; 2] = ["len", "is_empty"];
const CALCULATIONS: [&str; 6] = ["+", "-", "*", "/", "%", "**"];

pub(super) fn register(engine: &mut Engine) {
    for name in CALCULATIONS {
        engine.register_fn(name, |_: (), _: ()| ());
        engine.register_fn(name, |_: (), _: i64| ());
        engine.register_fn(name, |_: i64, _: ()| ());
        engine.register_fn(name, |_: (), _: Decimal| ());
        engine.register_fn(name, |_: Decimal, _: ()| ());
        engine.register_fn(name, |_: (), _: DateTime| ());
        engine.register_fn(name, |_: DateTime, _: ()| ());
    }
    engine.register_fn("-", |_: ()| ());
    engine.register_fn("!", |_: ()| true);
    engine.register_fn("is_null", |value: Dynamic| value.is_unit());
    engine.register_fn(
        "or_else",
        |value: Dynamic, other: Dynamic| {
            if value.is_unit() { other } else { value }
        },
    );
    questions(engine);
    // `map.put(name, value)`, as the documented examples write it.
    engine.register_fn("put", |map: &mut Map, name: ImmutableString, value: Dynamic| {
        map.insert(name.as_str().into(), value);
    });
    let mut empty = Module::new();
    empty.set_iter(TypeId::of::<()>(), |_| Box::new(std::iter::empty()));
    engine.register_global_module(empty.into());
}

/// What may be asked of a text or an array that is not there.
fn questions(engine: &mut Engine) {
    for name in ["contains", "starts_with", "ends_with"] {
        engine.register_fn(name, |_: (), _: ImmutableString| false);
        engine.register_fn(name, |_: (), _: ()| false);
        engine.register_fn(name, |_: ImmutableString, _: ()| false);
    }
    for name in ["some", "any"] {
        engine.register_fn(name, |_: (), _: FnPtr| false);
    }
    engine.register_fn("all", |_: (), _: FnPtr| true);
    for name in ["filter", "map", "find"] {
        engine.register_fn(name, |_: (), _: FnPtr| ());
    }
    engine.register_fn("first", |array: &mut Array| array.first().cloned().unwrap_or_default());
    engine.register_fn("last", |array: &mut Array| array.last().cloned().unwrap_or_default());
    for name in ["to_upper", "to_lower", "first", "last"] {
        engine.register_fn(name, |_: ()| ());
    }
    engine.register_fn("sub_string", |_: (), _: i64| ());
    engine.register_fn("sub_string", |_: (), _: i64, _: i64| ());
    engine.register_indexer_get(|_: &mut (), _: i64| ());
    engine.register_fn("len", |_: ()| 0_i64);
    engine.register_get("len", |_: &mut ()| 0_i64);
    engine.register_fn("is_empty", |_: ()| true);
    engine.register_get("is_empty", |_: &mut ()| true);
}
