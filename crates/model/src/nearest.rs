//! The nearest known name to one that is not known, for error texts.

/// Names longer than this get no suggestion: the comparison costs the product of both lengths.
const NAME_BYTES_MAX: usize = 64;

/// How far two names are apart, or `None` where nobody would call one a slip of the other.
#[must_use]
pub fn distance(name: &str, candidate: &str) -> Option<usize> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || candidate.len() > NAME_BYTES_MAX {
        return None;
    }
    if name.eq_ignore_ascii_case(candidate) {
        return Some(0);
    }
    let apart = strsim::osa_distance(name, candidate);
    (apart <= (name.chars().count() / 3).min(4)).then_some(apart)
}

/// The candidate nearest to `name`, the first of several equally near; `None` where none is near.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = candidates.into_iter().filter_map(|c| distance(name, c).map(|apart| (apart, c)));
    near.min_by_key(|(apart, _)| *apart).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let check = |name: &str, expected: Option<&str>| {
            let known = ["portName", "unCode", "timezone", "port", "voyage"];
            assert_eq!(nearest(name, known), expected, "{name:?}");
        };
        check("portNam", Some("portName"));
        check("PORTNAME", Some("portName"));
        check("protName", Some("portName"));
        check("prot", Some("port"));
        check("time_zone", Some("timezone"));
        check("uncode", Some("unCode"));
        check("vessel", None);
        check("", None);
        check("x", None);
        check(&"x".repeat(1000), None);
    }
}
