//! The functions that scripts have beside Rhai's own (docs/reference/scripts.md).
//!
//! All are pure. Null goes through: what cannot be computed of null is null, and a question about null is
//! answered with false. They are registered for exact types: a function that takes anything costs Rhai a
//! search at each call.

mod date;
mod null;
mod number;
mod search;
mod text;

use std::rc::Rc;

use rhai::Engine;

use crate::budget::Budget;
use crate::object::Object;
use crate::path::PathsInForce;

pub(crate) use null::OF_NULL;

pub(crate) fn register(engine: &mut Engine, paths: &PathsInForce, budget: &Rc<Budget>) {
    null::register(engine);
    number::register(engine);
    date::register(engine);
    text::register(engine);
    search::register(engine, paths, budget);
    // Two objects are equal if they are the same object: its key tells.
    engine.register_fn("==", |one: Object, two: Object| one.is_same(&two));
    engine.register_fn("!=", |one: Object, two: Object| !one.is_same(&two));
}
