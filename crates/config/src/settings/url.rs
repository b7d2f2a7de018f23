//! URLs, as far as the configuration has to know them.

use crate::reader::Reader;

pub(super) fn url(r: &Reader, key: &str) -> Option<String> {
    let text = r.optional(key)?;
    if !is_http_url(&text) {
        r.problem(key, format!("{text:?} is not a URL that starts with http:// or https://"));
    }
    Some(text.trim_end_matches('/').to_owned())
}

/// Strict, since the text goes into JSON strings and headers as it is.
pub(super) fn is_http_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '<' | '>');
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(fits))
}
