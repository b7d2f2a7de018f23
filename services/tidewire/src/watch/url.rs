//! The URL of the socket. The token is no part of it: it goes in a header.

use tidewire_event::percent_encode;
use tidewire_wire::request::OBJECT_PREFIX;

use super::Args;

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    url: String,
    /// Whether the documented frames are spoken, which a named session belongs to.
    has_session: bool,
}

impl Target {
    /// As the arguments say.
    ///
    /// # Errors
    /// What is wrong with the gateway's URL or the field list.
    pub(super) fn new(args: &Args) -> Result<Self, String> {
        let base = base(&args.url)?;
        let mut url = format!(
            "{base}{OBJECT_PREFIX}{}/{}/{}/-?refuse=close",
            list(&args.object_type),
            list(&args.events),
            list(&args.key),
        );
        if let Some(session) = &args.session {
            url.push_str("&session=");
            url.push_str(&percent_encode(session));
        }
        if args.only_main_object {
            url.push_str("&onlyMainObject=true");
        }
        if let Some(fields) = &args.fields {
            url.push_str("&fields=");
            url.push_str(&percent_encode(fields));
        }
        Ok(Self { url, has_session: args.session.is_some() })
    }

    /// The whole URL, to go on from a cursor where there is one.
    pub(super) fn url(&self, cursor: Option<&str>) -> String {
        match cursor {
            Some(cursor) => format!("{}&lastEventId={cursor}", self.url),
            None => self.url.clone(),
        }
    }

    /// The subprotocol: a session keeps its position on the server, `tidewire.v1` tells cursors.
    pub(super) const fn protocol(&self) -> &'static str {
        if self.has_session { "vms" } else { "tidewire.v1" }
    }

    /// The URL up to the query.
    pub(super) fn shown(&self) -> &str {
        self.url.split('?').next().unwrap_or_default()
    }
}

/// The gateway, with the scheme of WebSockets and no slash at its end.
fn base(url: &str) -> Result<String, String> {
    let schemes =
        [("ws://", "ws://"), ("wss://", "wss://"), ("http://", "ws://"), ("https://", "wss://")];
    let found = schemes.iter().find_map(|(given, used)| {
        let rest = url.strip_prefix(given)?.trim_end_matches('/');
        (!rest.is_empty() && !rest.contains(['?', '#', ' '])).then(|| format!("{used}{rest}"))
    });
    found.ok_or_else(|| format!("{url:?} is not a URL such as ws://127.0.0.1:8080"))
}

/// Commas separate and `*` stands for all; what is between is encoded.
fn list(text: &str) -> String {
    let encode = |part: &str| {
        let part = part.trim();
        if part == "*" { part.to_owned() } else { percent_encode(part).into_owned() }
    };
    text.split(',').map(encode).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways() {
        let check = |url: &str, expected: Option<&str>| {
            assert_eq!(base(url).ok().as_deref(), expected, "{url:?}");
        };
        check("ws://127.0.0.1:8080", Some("ws://127.0.0.1:8080"));
        check("wss://tide.example/", Some("wss://tide.example"));
        check("http://localhost:8080/", Some("ws://localhost:8080"));
        check("https://tide.example/vms", Some("wss://tide.example/vms"));
        for bad in ["", "tide.example", "ws://", "ftp://a", "ws://a?x", "ws://a#x", "ws://a b"] {
            check(bad, None);
        }
    }

    #[test]
    fn parts_of_the_path() {
        let check = |text: &str, expected: &str| assert_eq!(list(text), expected, "{text:?}");
        check("Voyage", "Voyage");
        check("*", "*");
        check("C,U", "C,U");
        check("1, 2,3", "1,2,3");
        check("T/7", "T%2F7");
        check("søk 1", "s%C3%B8k%201");
    }
}
