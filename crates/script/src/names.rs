//! Small parts of error texts.

/// What is said of the nearest known name.
pub(crate) fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |near| format!(", the nearest known is '{near}'"))
}

/// A short piece of input for an error text, without control characters.
pub(crate) fn clip(text: &str, chars_max: usize) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let mut out: String = text.chars().take(chars_max).map(printable).collect();
    if text.chars().nth(chars_max).is_some() {
        out.push_str("...");
    }
    out
}

/// The candidate nearest to a name.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let near = candidates
        .into_iter()
        .filter_map(|candidate| tidewire_model::distance(name, candidate).map(|d| (d, candidate)));
    near.min_by_key(|(apart, _)| *apart).map(|(_, candidate)| candidate)
}
