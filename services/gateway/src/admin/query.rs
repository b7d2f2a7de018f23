//! Queries of the APIs: `name=value` pairs, each known name once.

use std::collections::HashMap;

use tidewire_wire::error::Refusal;

/// Most bytes of a query.
const QUERY_BYTES_MAX: usize = 8 * 1024;

/// Entries on a page that names no limit.
const PAGE: usize = 100;
/// Most entries on a page.
const PAGE_MAX: usize = 1000;

/// The values of a query, by name.
#[derive(Debug)]
pub(crate) struct Query(HashMap<&'static str, String>);

impl Query {
    /// Reads a query that may have these names.
    pub(crate) fn parse(raw: &str, known: &[&'static str]) -> Result<Self, Refusal> {
        if raw.len() > QUERY_BYTES_MAX {
            let text = format!("the query has more than {QUERY_BYTES_MAX} bytes");
            return Err(Refusal::bad_request(text));
        }
        let mut values = HashMap::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(name) = known.iter().find(|known| **known == name) else {
                let text = format!("the query takes: {}", known.join(", "));
                return Err(Refusal::bad_request(text));
            };
            let Some(value) = decode(value) else {
                let text = format!("query parameter '{name}' is not percent-encoded UTF-8");
                return Err(Refusal::bad_request(text));
            };
            if values.insert(*name, value).is_some() {
                let text = format!("query parameter '{name}' is given twice");
                return Err(Refusal::bad_request(text));
            }
        }
        Ok(Self(values))
    }

    /// How many entries a page may have: `limit`, or [`PAGE`].
    pub(crate) fn limit(&self) -> Result<usize, Refusal> {
        let Some(text) = self.get("limit") else { return Ok(PAGE) };
        let limit = text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
        limit.ok_or_else(|| Refusal::bad_request(format!("'limit' is from 1 to {PAGE_MAX}")))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Decodes any valid percent-encoding (RFC 3986, section 2.1). A `+` is a plus: ids may hold one, and no
/// client of this API fills forms.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            out.push(u8::try_from(high << 4 | low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let check = |raw: &str, expected: Result<(Option<&str>, Option<&str>), &str>| {
            let query = Query::parse(raw, &["tenant", "limit"]);
            let got = query.as_ref().map(|query| (query.get("tenant"), query.get("limit")));
            match (got, expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{raw}"),
                (Err(refusal), Err(part)) => {
                    assert!(refusal.message.contains(part), "{raw}: {refusal}");
                }
                (got, expected) => panic!("{raw}: {got:?}, expected {expected:?}"),
            }
        };
        check("", Ok((None, None)));
        check("&&", Ok((None, None)));
        check("tenant=acme&limit=5", Ok((Some("acme"), Some("5"))));
        check("tenant=a%2fb%20+c", Ok((Some("a/b +c"), None)));
        check("tenant", Ok((Some(""), None)));
        check("tenant=%C3%98", Ok((Some("Ø"), None)));
        check("tenant=a=b", Ok((Some("a=b"), None)));
        for bad in ["tenant=%", "tenant=%2", "tenant=%zz", "tenant=%+1", "tenant=%ff"] {
            check(bad, Err("percent-encoded"));
        }
        check("tenant=a&tenant=b", Err("twice"));
        check("nonsense=1", Err("tenant, limit"));
        check(&format!("tenant={}", "x".repeat(QUERY_BYTES_MAX)), Err("bytes"));
    }
}
