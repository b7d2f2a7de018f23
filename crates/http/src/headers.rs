//! Reading headers that come once.

use warp::http::HeaderMap;

/// A header's value, where it stands there exactly once and is visible ASCII: of two `Authorization` or
/// `Host` lines nobody can say which one another hop believed.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() {
        return None;
    }
    first.to_str().ok()
}

/// The comma-separated elements of a header, over all its lines, trimmed, without empty ones.
pub(crate) fn list<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|element| !element.is_empty())
}
