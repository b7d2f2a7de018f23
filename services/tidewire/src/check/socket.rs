//! One WebSocket, without any opinion about what comes.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tidewire_auth::SecretText;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::{RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::http::retry_after;

/// From the look-up of the name to the end of the handshake.
pub(super) const OPEN_MAX: Duration = Duration::from_secs(10);
/// The server pings every 25 s: a silence this long means that the connection is dead.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(40);
/// How long a close may take.
const CLOSE_MAX: Duration = Duration::from_secs(2);
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a connection could not be opened.
#[derive(Debug)]
pub(super) enum Refused {
    /// Answered with a status, and when to come back if it said so.
    Status(u16, Option<Duration>),
    /// Not answered.
    Unreachable,
}

/// What a connection brings.
#[derive(Debug)]
pub(super) enum Came {
    /// A text message, or the data of an event.
    Text(String),
    /// A cursor on a block of its own (event streams).
    Id(String),
    /// When to come back (event streams).
    Retry(Duration),
    /// The end, with its code and reason if it had them.
    Closed(Option<u16>, String),
}

/// The gateway as `http(s)://...` or `ws(s)://...`, in the first form and without a slash at its end.
pub(super) fn base(url: &str) -> anyhow::Result<String> {
    let forms = [
        ("http://", "http://"),
        ("https://", "https://"),
        ("ws://", "http://"),
        ("wss://", "https://"),
    ];
    let found = forms.iter().find_map(|(given, used)| {
        let rest = url.strip_prefix(given)?.trim_end_matches('/');
        (!rest.is_empty() && !rest.contains(['?', '#', ' '])).then(|| format!("{used}{rest}"))
    });
    found.ok_or_else(|| anyhow::anyhow!("{url:?} is not a URL such as http://127.0.0.1:8080"))
}

/// An open socket.
pub(super) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Connects; `protocol` is offered beside the token.
    pub(super) async fn open(
        gateway: &str,
        path: &str,
        protocol: &str,
        token: &SecretText,
    ) -> Result<Self, Refused> {
        let url = format!("{}{path}", gateway.replacen("http", "ws", 1));
        let Ok(mut request) = url.as_str().into_client_request() else {
            return Err(Refused::Unreachable);
        };
        let offer = format!("{protocol}, bearer.{}", token.expose());
        let Ok(mut offer) = HeaderValue::from_str(&offer) else { return Err(Refused::Unreachable) };
        offer.set_sensitive(true);
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offer);
        if url.starts_with("wss:") {
            // The second of two sockets finds it installed.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let open = connect_async_with_config(request, Some(config), true);
        match tokio::time::timeout(OPEN_MAX, open).await {
            Ok(Ok((stream, _))) => Ok(Self(stream)),
            Ok(Err(Error::Http(response))) => {
                let header = response.headers().get(RETRY_AFTER);
                let after = header.and_then(|value| retry_after(value.to_str().ok()?));
                Err(Refused::Status(response.status().as_u16(), after))
            }
            Ok(Err(_)) | Err(_) => Err(Refused::Unreachable),
        }
    }

    /// What comes next. Pings are answered on the way. Losing the future loses nothing.
    pub(super) async fn next(&mut self) -> Came {
        loop {
            match tokio::time::timeout(SILENCE_MAX, self.0.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => return Came::Text(text.as_str().to_owned()),
                Ok(Some(Ok(Message::Close(frame)))) => {
                    // The answer to the close goes out with the next flush.
                    let _ = tokio::time::timeout(CLOSE_MAX, self.0.flush()).await;
                    return frame.map_or(Came::Closed(None, String::new()), |frame| {
                        Came::Closed(Some(frame.code.into()), frame.reason.as_str().to_owned())
                    });
                }
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(_)) | None) | Err(_) => return Came::Closed(None, String::new()),
            }
        }
    }

    /// Sends a message; one that does not go out is known by the end that follows.
    pub(super) async fn send(&mut self, text: String) {
        let _ = self.0.send(Message::Text(text.into())).await;
    }

    pub(super) async fn close(mut self) {
        // Whoever is gone already need not be told.
        let _ = tokio::time::timeout(CLOSE_MAX, self.0.close(None)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways() {
        let check = |url: &str, expected: Option<&str>| {
            assert_eq!(base(url).ok().as_deref(), expected, "{url:?}");
        };
        check("http://127.0.0.1:8080", Some("http://127.0.0.1:8080"));
        check("ws://127.0.0.1:8080/", Some("http://127.0.0.1:8080"));
        check("wss://tide.example", Some("https://tide.example"));
        for bad in ["", "127.0.0.1:8080", "http://", "ftp://a", "http://a?x", "http://a b"] {
            check(bad, None);
        }
    }
}
