//! JSON values become Rhai's, and Rhai's become text.

use rhai::{Array, Dynamic, EvalAltResult, Position};
use rust_decimal::Decimal;
use tidewire_event::image::{Node, NodeKind};
use tidewire_script::DateTime;

use crate::object::{Image, Object};
use std::rc::Rc;

/// Most elements of an array of an object that a script may look at, the same as of any array.
const ELEMENTS_MAX: usize = 10_000;

/// A value of an image. Objects stay where they are, numbers become decimals.
pub(crate) fn convert(image: &Rc<Image>, node: Node<'_>) -> Result<Dynamic, Box<EvalAltResult>> {
    Ok(match node.kind() {
        NodeKind::Null => Dynamic::UNIT,
        NodeKind::Bool => (node.raw() == b"true").into(),
        NodeKind::Number => number(node.raw())?.into(),
        // Half a surrogate pair is no text; nothing can be said of it.
        NodeKind::String => node.as_str().map_or(Dynamic::UNIT, |text| text.as_ref().into()),
        NodeKind::Object => Dynamic::from(Object::new(Rc::clone(image), node.place())),
        NodeKind::Array => {
            let mut out = Array::new();
            for element in node.elements() {
                if out.len() == ELEMENTS_MAX {
                    let what = "size of an array".to_owned();
                    return Err(EvalAltResult::ErrorDataTooLarge(what, Position::NONE).into());
                }
                out.push(convert(image, element)?);
            }
            out.into()
        }
    })
}

/// A JSON number as an exact decimal of up to 28 digits; further digits behind the point are rounded.
fn number(raw: &[u8]) -> Result<Decimal, Box<EvalAltResult>> {
    let text = std::str::from_utf8(raw).unwrap_or_default();
    let parsed =
        if text.contains(['e', 'E']) { Decimal::from_scientific(text) } else { text.parse() };
    parsed.map_err(|_| {
        let shown: String = text.chars().take(40).collect();
        let reason = format!("the number {shown} of the object is out of range");
        EvalAltResult::ErrorArithmetic(reason, Position::NONE).into()
    })
}

/// A value as it stands in a message; `None` for what has no text (an object, an array, a function).
pub(crate) fn text(value: &Dynamic) -> Option<String> {
    if value.is_unit() {
        return Some(String::new());
    }
    if let Some(text) = value.read_lock::<rhai::ImmutableString>() {
        return Some(text.as_str().to_owned());
    }
    if let Some(date) = value.read_lock::<DateTime>() {
        return Some(date.to_string());
    }
    let is_plain = value.is_int() || value.is_decimal() || value.is_bool() || value.is_char();
    is_plain.then(|| value.to_string())
}
