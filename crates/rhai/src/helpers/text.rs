//! Texts: putting values into JSON and XML messages, and what Rhai lacks for decimals and dates.

use rhai::{Dynamic, Engine};
use rust_decimal::Decimal;

use crate::value;

pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("json_escape", |x: Dynamic| {
        value::text(&x).map_or_else(String::new, |text| json_escape(&text))
    });
    engine.register_fn("xml_escape", |x: Dynamic| {
        value::text(&x).map_or_else(String::new, |text| xml_escape(&text))
    });
    engine.register_fn("to_string", |x: Decimal| x.to_string());
    // `text.upper()` and `text.lower()` read better than Rhai's own, which stay.
    engine.register_fn("upper", |text: &str| text.to_uppercase());
    engine.register_fn("lower", |text: &str| text.to_lowercase());
    engine.register_fn("upper", |_: ()| ());
    engine.register_fn("lower", |_: ()| ());
}

/// A text as it stands between the quotes of a JSON string (RFC 8259, section 7).
fn json_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// A text as it stands in XML, between tags or quotes; characters that XML does not allow are left out.
fn xml_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}
