//! The header that carries a token.

/// The token of `Authorization: Bearer <token>`; the scheme in any case (RFC 9110, section 11.1).
#[must_use]
pub fn bearer(header: Option<&str>) -> Option<&str> {
    let (scheme, token) = header?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_tokens() {
        let check = |header: Option<&str>, expected: Option<&str>| {
            assert_eq!(bearer(header), expected, "{header:?}");
        };
        check(Some("Bearer abc"), Some("abc"));
        check(Some("bearer  abc "), Some("abc"));
        check(Some("Bearer "), Some(""));
        check(Some("Bearer"), None);
        check(Some("Basic abc"), None);
        check(None, None);
    }
}
