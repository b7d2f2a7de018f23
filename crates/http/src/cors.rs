//! Answers to browsers from other origins (the Fetch standard, "CORS protocol").
//!
//! No credentials: Tidewire has no cookies, and a page may send `Authorization` without them.

use warp::http::HeaderMap;
use warp::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderValue, ORIGIN, VARY,
};

use crate::AllowedOrigins;
use crate::headers::text;

/// What a page may send beyond what every page may.
const REQUEST_HEADERS: &str = "authorization, content-type, last-event-id";
/// What a page may read beyond what every page may.
const RESPONSE_HEADERS: &str = "retry-after";
/// Seconds for which a browser need not ask again.
const PREFLIGHT_SECONDS: &str = "600";

/// Where a request says it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nowhere: no browser, or a page of this very origin.
    Absent,
    /// A page that may talk to us.
    Permitted(HeaderValue),
    /// A page that may not, or an Origin that is none (several lines, not ASCII).
    Foreign(String),
}

impl Origin {
    pub(crate) fn of(headers: &HeaderMap, allowed: &AllowedOrigins) -> Self {
        let Some(first) = headers.get(ORIGIN) else { return Self::Absent };
        match text(headers, ORIGIN.as_str()) {
            Some(origin) if allowed.permits(origin, text(headers, "host")) => {
                Self::Permitted(first.clone())
            }
            Some(origin) => Self::Foreign(origin.to_owned()),
            None => Self::Foreign(String::new()),
        }
    }

    /// Lets the page read the answer.
    pub(crate) fn expose(&self, response: &mut HeaderMap) {
        // Also where there is no Origin: a cache must not give that answer to a page.
        response.append(VARY, HeaderValue::from_static("origin"));
        if let Self::Permitted(origin) = self {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            response
                .insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(RESPONSE_HEADERS));
        }
    }
}

/// Whether this OPTIONS request asks on behalf of a page.
pub(crate) fn is_preflight(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight of a permitted origin.
pub(crate) fn allow(methods: &HeaderValue, response: &mut HeaderMap) {
    response.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
    response.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
    response.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_SECONDS));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_of_requests() {
        let allowed =
            AllowedOrigins { list: vec!["https://app.example".into()], any_localhost_port: false };
        for (origins, expected) in [
            (&[][..], Origin::Absent),
            (
                &["https://app.example"],
                Origin::Permitted(HeaderValue::from_static("https://app.example")),
            ),
            (&["http://here:80"], Origin::Permitted(HeaderValue::from_static("http://here:80"))),
            (&["https://evil.example"], Origin::Foreign("https://evil.example".into())),
            (&["null"], Origin::Foreign("null".into())),
            (&[""], Origin::Foreign(String::new())),
            (&["https://app.example", "https://app.example"], Origin::Foreign(String::new())),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("host", HeaderValue::from_static("here"));
            for origin in origins {
                headers.append(ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(Origin::of(&headers, &allowed), expected, "{origins:?}");
        }
    }
}
