//! Field lists: what a client asks to see of an object, and the object as it asked for it.
//!
//! A client sends a [`FieldList`], a JSON object that mirrors the resource with `"*"` as its leaves.
//! Against a data model it compiles to a [`FieldMask`], which projects an image of a change to the bytes
//! of the selected object. The rules stand in `docs/reference/field-list.md`. Pure, and nothing here
//! depends on who is connected: equal lists of one scope have one mask.
//!
//! Invariants: a projection is valid JSON; every value in it but `key`, `self` and `null` is a copy of
//! the image's own bytes.

mod compile;
mod error;
mod list;
mod mask;
mod project;

pub use error::FieldListError;
pub use list::{
    FIELD_LIST_BYTES_MAX, FIELD_LIST_DEPTH_MAX, FIELD_LIST_NODES_MAX, FieldList, Parsed,
};
pub use mask::{FieldMask, MaskView, Plan, Scope, Target};
pub use project::{ProjectContext, write_reference};
