//! The functions that scripts have beside Rhai's own (docs/reference/scripts.md).
//!
//! All are pure. Null goes through: what cannot be computed of null is null, and a question about null is
//! answered with false. They are registered for exact types: a function that takes anything costs Rhai a
//! search at each call.

mod date;
mod null;
mod number;
mod text;

use rhai::Engine;

use crate::object::Object;

pub(crate) use null::OF_NULL;

pub(crate) fn register(engine: &mut Engine) {
    null::register(engine);
    number::register(engine);
    date::register(engine);
    text::register(engine);
    // Two objects are equal if they are the same object: its key tells.
    engine.register_fn("==", |one: Object, two: Object| one.is_same(&two));
    engine.register_fn("!=", |one: Object, two: Object| !one.is_same(&two));
}
