//! Whether a text is one well-formed XML document (XML 1.0, without document types).
//!
//! A document type is refused: entities defined there are how a few bytes become gigabytes in a reader.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// Deepest nesting of elements.
const DEPTH_MAX: usize = 128;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: u64,
    pub(crate) reason: String,
}

/// Reads the text from its beginning to its end.
pub(crate) fn check(text: &str) -> Result<(), Fault> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.check_comments = true;
    config.allow_dangling_amp = false;
    config.allow_unmatched_ends = false;
    let (mut depth, mut has_root, mut is_start) = (0_usize, false, true);
    loop {
        let at = reader.buffer_position();
        let fault = |reason: &str| Err(Fault { at, reason: reason.to_owned() });
        let event = reader
            .read_event()
            .map_err(|e| Fault { at: reader.error_position(), reason: e.to_string() })?;
        match event {
            Event::Start(ref tag) | Event::Empty(ref tag) => {
                if depth == 0 && has_root {
                    return fault("there is more than one root element");
                }
                check_tag(tag).map_err(|reason| Fault { at, reason })?;
                has_root = true;
                if matches!(event, Event::Start(_)) {
                    depth += 1;
                }
                if depth > DEPTH_MAX {
                    return fault("elements are nested deeper than 128 levels");
                }
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Text(text) => {
                if depth == 0 && !text.chars().all(is_space) {
                    return fault("there is text outside the root element");
                }
                if !text.chars().all(is_char) {
                    return fault("there is a character that XML does not allow");
                }
                if text.contains("]]>") {
                    return fault("']]>' stands in text");
                }
            }
            Event::CData(_) | Event::GeneralRef(_) if depth == 0 => {
                return fault("there is text outside the root element");
            }
            Event::CData(text) => {
                if !text.chars().all(is_char) {
                    return fault("there is a character that XML does not allow");
                }
            }
            Event::GeneralRef(entity) => {
                check_entity(&entity).map_err(|reason| Fault { at, reason })?;
            }
            Event::DocType(_) => return fault("a document type is not allowed"),
            Event::Decl(_) if !is_start => {
                return fault("the XML declaration does not stand at the beginning");
            }
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
            Event::Eof if depth > 0 => return fault("an element is not closed"),
            Event::Eof if !has_root => return fault("there is no root element"),
            Event::Eof => return Ok(()),
        }
        is_start = false;
    }
}

fn check_tag(tag: &BytesStart<'_>) -> Result<(), String> {
    check_name(tag.name().as_ref())?;
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|e| e.to_string())?;
        check_name(attribute.key.as_ref())?;
        let value = &*attribute.value;
        if value.contains('<') || !value.chars().all(is_char) {
            return Err("the value of an attribute holds a character that must be escaped".into());
        }
        quick_xml::escape::unescape(value).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn check_name(text: &str) -> Result<(), String> {
    let is_start = |c: char| c.is_alphabetic() || c == '_' || c == ':';
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '-' | '.' | '\u{b7}');
    if text.starts_with(is_start) && text.chars().all(is_part) {
        return Ok(());
    }
    Err(format!("'{}' is no name", crate::names::clip(text, 40)))
}

fn check_entity(entity: &BytesRef<'_>) -> Result<(), String> {
    if let Ok(Some(c)) = entity.resolve_char_ref() {
        return if is_char(c) {
            Ok(())
        } else {
            Err("a character reference is not allowed".into())
        };
    }
    let name: &str = entity;
    match resolve_predefined_entity(name) {
        Some(_) => Ok(()),
        None => Err(format!("the entity '&{};' is not known", crate::names::clip(name, 40))),
    }
}

const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// The `Char` of XML 1.0, section 2.2.
const fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests;
