//! Writes the selected object.

use tidewire_event::image::{Node, NodeKind};
use tidewire_event::{ObjectKey, ObjectType, write_self_url};

use crate::list::quoted;
use crate::mask::{Form, Plan, Step};

/// What a projection needs besides list and image.
#[derive(Clone, Copy, Debug)]
pub struct ProjectContext<'a> {
    /// What `self` links start with; see [`write_self_url`].
    pub self_base: &'a str,
}

/// Appends `{"key","self"}`.
pub fn write_reference(
    object_type: &ObjectType,
    key: &ObjectKey,
    ctx: &ProjectContext<'_>,
    out: &mut Vec<u8>,
) {
    write_head(object_type, key, ctx, out);
    out.push(b'}');
}

/// Appends `{"key":..,"self":..` without the closing brace.
fn write_head(
    object_type: &ObjectType,
    key: &ObjectKey,
    ctx: &ProjectContext<'_>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"key\":");
    match key {
        ObjectKey::Integer(number) => {
            let text = number.to_string();
            out.extend_from_slice(text.as_bytes());
            write_self(object_type, &text, ctx, out);
        }
        ObjectKey::Text(text) => {
            out.extend_from_slice(quoted(text).as_bytes());
            write_self(object_type, text, ctx, out);
        }
    }
}

fn write_self(
    object_type: &ObjectType,
    key_text: &str,
    ctx: &ProjectContext<'_>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b",\"self\":\"");
    write_self_url(out, ctx.self_base, object_type.as_str(), key_text);
    out.push(b'"');
}

pub(crate) fn write_object(
    plan: &Plan,
    object_type: &ObjectType,
    image: Node<'_>,
    key: &ObjectKey,
    ctx: &ProjectContext<'_>,
    out: &mut Vec<u8>,
) {
    write_head(object_type, key, ctx, out);
    write_members(plan, image, ctx, out);
    out.push(b'}');
}

fn write_members(plan: &Plan, image: Node<'_>, ctx: &ProjectContext<'_>, out: &mut Vec<u8>) {
    if plan.by_name.is_empty() {
        for step in &plan.steps {
            match step.form {
                Form::Rest => write_rest(plan, image, out),
                _ => write_step(step, image.get(&step.name), ctx, out),
            }
        }
        return;
    }
    let mut found: Vec<Option<Node<'_>>> = vec![None; plan.steps.len()];
    for (name, value) in image.members() {
        let Some(name) = name.text() else { continue };
        let wanted = |place: &usize| plan.steps.get(*place).map(|step| step.name.as_bytes());
        let place =
            plan.by_name.binary_search_by(|place| wanted(place).cmp(&Some(name.as_bytes())));
        let place = place.ok().and_then(|at| plan.by_name.get(at));
        if let Some(slot) = place.and_then(|place| found.get_mut(*place)) {
            *slot = Some(value);
        }
    }
    for (step, value) in plan.steps.iter().zip(found) {
        match step.form {
            Form::Rest => write_rest(plan, image, out),
            _ => write_step(step, value, ctx, out),
        }
    }
}

fn write_step(step: &Step, value: Option<Node<'_>>, ctx: &ProjectContext<'_>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        out.extend_from_slice(separated(&step.prefix, out));
        write_value(&step.form, value, ctx, out);
    }
}

/// A prefix without its comma where nothing stands before it. Only an object that was just opened leaves
/// `{` as the last byte.
fn separated<'a>(prefix: &'a [u8], out: &[u8]) -> &'a [u8] {
    match (out.last(), prefix) {
        (Some(b'{'), [_, rest @ ..]) => rest,
        _ => prefix,
    }
}

/// Every member that no other step names, as it stands in the image.
fn write_rest(plan: &Plan, image: Node<'_>, out: &mut Vec<u8>) {
    for (name, value) in image.members() {
        let is_named = |step: &Step| !matches!(step.form, Form::Rest) && name.is(&step.name);
        if name.is("key") || name.is("self") || plan.steps.iter().any(is_named) {
            continue;
        }
        out.extend_from_slice(separated(b",", out));
        out.extend_from_slice(name.raw());
        out.push(b':');
        out.extend_from_slice(value.raw());
    }
}

fn write_value(form: &Form, value: Node<'_>, ctx: &ProjectContext<'_>, out: &mut Vec<u8>) {
    match (form, value.kind()) {
        (Form::Raw | Form::Rest, _) | (_, NodeKind::Null) => out.extend_from_slice(value.raw()),
        (_, NodeKind::Array) => {
            out.push(b'[');
            for (n, element) in value.elements().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write_value(form, element, ctx, out);
            }
            out.push(b']');
        }
        (Form::Reference(object_type), _) => {
            write_reference_head(object_type, value, ctx, out);
            out.push(b'}');
        }
        (Form::Expanded(object_type, plan), _) => {
            write_reference_head(object_type, value, ctx, out);
            write_members(plan, value, ctx, out);
            out.push(b'}');
        }
        (Form::Nested(plan), NodeKind::Object) => {
            out.push(b'{');
            for (name, prefix) in [("key", b",\"key\":".as_slice()), ("self", b",\"self\":")] {
                if let Some(value) = value.get(name) {
                    out.extend_from_slice(separated(prefix, out));
                    out.extend_from_slice(value.raw());
                }
            }
            write_members(plan, value, ctx, out);
            out.push(b'}');
        }
        (Form::Nested(_), _) => out.extend_from_slice(value.raw()),
    }
}

/// `{"key":..,"self":..` of an object in the image, or of a bare key. An object without a readable key
/// has neither.
fn write_reference_head(
    object_type: &ObjectType,
    value: Node<'_>,
    ctx: &ProjectContext<'_>,
    out: &mut Vec<u8>,
) {
    out.push(b'{');
    let key = if value.kind() == NodeKind::Object { value.get("key") } else { Some(value) };
    let Some(key) = key else { return };
    let text = match key.kind() {
        NodeKind::String => key.as_str(),
        NodeKind::Number => std::str::from_utf8(key.raw()).ok().map(Into::into),
        _ => None,
    };
    let Some(text) = text else { return };
    out.extend_from_slice(b"\"key\":");
    out.extend_from_slice(key.raw());
    write_self(object_type, &text, ctx, out);
}
