//! The WebSocket opening handshake, server side (RFC 6455, section 4.2.1).

use headers::{HeaderMapExt as _, SecWebsocketAccept, SecWebsocketKey};
use warp::http::HeaderMap;
use warp::http::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};

use crate::RequestKind;
use crate::headers::{list, text};

/// Subprotocols looked at; a client that offers more means no good.
const SUBPROTOCOLS_MAX: usize = 16;

/// What a request wants, and for a handshake the answer to its key.
pub(crate) struct Handshake {
    pub(crate) kind: RequestKind,
    pub(crate) accept: Option<HeaderValue>,
}

pub(crate) fn read(headers: &HeaderMap) -> Handshake {
    match accept(headers) {
        Ok(accept) => Handshake { kind: RequestKind::WebSocket, accept: Some(accept) },
        Err(_) if wants_events(headers) => {
            Handshake { kind: RequestKind::EventStream, accept: None }
        }
        Err(missing) => Handshake { kind: RequestKind::Neither { missing }, accept: None },
    }
}

/// The subprotocols that the client offers, in its order.
pub(crate) fn subprotocols(headers: &HeaderMap) -> Vec<String> {
    list(headers, SEC_WEBSOCKET_PROTOCOL.as_str())
        .take(SUBPROTOCOLS_MAX)
        .map(str::to_owned)
        .collect()
}

/// The value of `Sec-WebSocket-Accept`, or what the handshake lacks.
fn accept(headers: &HeaderMap) -> Result<HeaderValue, &'static str> {
    if !has_token(headers, UPGRADE.as_str(), "websocket") {
        return Err("Upgrade: websocket (or Accept: text/event-stream)");
    }
    if !has_token(headers, CONNECTION.as_str(), "upgrade") {
        return Err("Connection: Upgrade");
    }
    if text(headers, SEC_WEBSOCKET_VERSION.as_str()) != Some("13") {
        return Err("Sec-WebSocket-Version: 13");
    }
    // What follows the head are frames: a body before them could not be told apart by every hop.
    let has_body = headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    if has_body {
        return Err("an empty body");
    }
    let key = text(headers, SEC_WEBSOCKET_KEY.as_str()).filter(|key| is_key(key));
    let key = key.and_then(|_| headers.typed_get::<SecWebsocketKey>());
    let mut answer = HeaderMap::with_capacity(1);
    answer.typed_insert(SecWebsocketAccept::from(
        key.ok_or("a Sec-WebSocket-Key of 16 bytes in base64")?,
    ));
    answer.remove(SEC_WEBSOCKET_ACCEPT).ok_or("a Sec-WebSocket-Key of 16 bytes in base64")
}

/// 16 bytes in base64: 22 characters and two of padding.
fn is_key(key: &str) -> bool {
    key.len() == 24
        && key.strip_suffix("==").is_some_and(|digits| {
            digits.len() == 22
                && digits
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        })
}

fn has_token(headers: &HeaderMap, name: &str, token: &str) -> bool {
    list(headers, name).any(|element| element.eq_ignore_ascii_case(token))
}

fn wants_events(headers: &HeaderMap) -> bool {
    list(headers, ACCEPT.as_str()).any(|range| {
        let media_type = range.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("text/event-stream")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: [(&str, &str); 4] = [
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn with(changes: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in SOUND {
            headers.insert(name, HeaderValue::from_static(value));
        }
        for (name, value) in changes {
            // `-` takes a header away, `+` adds one more line.
            if *value == "-" {
                headers.remove(*name);
            } else if let Some(value) = value.strip_prefix('+') {
                headers.append(*name, HeaderValue::from_static(value));
            } else {
                headers.insert(*name, HeaderValue::from_static(value));
            }
        }
        headers
    }

    #[test]
    fn the_accept_of_the_rfc() {
        let accept = read(&with(&[])).accept.unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn kinds() {
        const UPGRADE_MISSING: &str = "Upgrade: websocket (or Accept: text/event-stream)";
        const KEY_MISSING: &str = "a Sec-WebSocket-Key of 16 bytes in base64";
        let sse = Err("text/event-stream");
        for (changes, expected) in [
            (&[][..], Ok(())),
            (&[("upgrade", "WebSocket")], Ok(())),
            (&[("upgrade", "h2c, websocket")], Ok(())),
            (&[("connection", "keep-alive, Upgrade")], Ok(())),
            (&[("connection", "keep-alive"), ("connection", "+upgrade")], Ok(())),
            (&[("content-length", "0")], Ok(())),
            (&[("accept", "text/event-stream")], Ok(())),
            (&[("upgrade", "-")], Err(UPGRADE_MISSING)),
            (&[("upgrade", "h2c")], Err(UPGRADE_MISSING)),
            (&[("upgrade", "websockets")], Err(UPGRADE_MISSING)),
            (&[("upgrade", "-"), ("accept", "text/html, */*")], Err(UPGRADE_MISSING)),
            (&[("upgrade", "-"), ("accept", "text/event-stream")], sse),
            (&[("upgrade", "-"), ("accept", "Text/Event-Stream; q=0.9, */*")], sse),
            (&[("upgrade", "-"), ("accept", "text/event-streams")], Err(UPGRADE_MISSING)),
            (&[("connection", "-")], Err("Connection: Upgrade")),
            (&[("connection", "close")], Err("Connection: Upgrade")),
            (&[("sec-websocket-version", "-")], Err("Sec-WebSocket-Version: 13")),
            (&[("sec-websocket-version", "8")], Err("Sec-WebSocket-Version: 13")),
            (&[("sec-websocket-version", "13, 8")], Err("Sec-WebSocket-Version: 13")),
            (&[("sec-websocket-version", "+13")], Err("Sec-WebSocket-Version: 13")),
            (&[("content-length", "5")], Err("an empty body")),
            (&[("transfer-encoding", "chunked")], Err("an empty body")),
            (&[("sec-websocket-key", "-")], Err(KEY_MISSING)),
            (&[("sec-websocket-key", "")], Err(KEY_MISSING)),
            (&[("sec-websocket-key", "short")], Err(KEY_MISSING)),
            (&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=")], Err(KEY_MISSING)),
            (&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==A")], Err(KEY_MISSING)),
            (&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZSE9")], Err(KEY_MISSING)),
            (&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25j*Q==")], Err(KEY_MISSING)),
            (&[("sec-websocket-key", "+dGhlIHNhbXBsZSBub25jZQ==")], Err(KEY_MISSING)),
        ] {
            let expected = match expected {
                Ok(()) => RequestKind::WebSocket,
                Err("text/event-stream") => RequestKind::EventStream,
                Err(missing) => RequestKind::Neither { missing },
            };
            let handshake = read(&with(changes));
            assert_eq!(handshake.kind, expected, "{changes:?}");
            assert_eq!(handshake.accept.is_some(), expected == RequestKind::WebSocket);
        }
    }

    #[test]
    fn offered_subprotocols() {
        let headers = with(&[
            ("sec-websocket-protocol", "vms, bearer.a.b"),
            ("sec-websocket-protocol", "+ x ,,y"),
        ]);
        assert_eq!(subprotocols(&headers), ["vms", "bearer.a.b", "x", "y"]);
        let many = with(&[("sec-websocket-protocol", "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a")]);
        assert_eq!(subprotocols(&many).len(), SUBPROTOCOLS_MAX);
    }
}
