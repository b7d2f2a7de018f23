//! One socket.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use thiserror::Error;
use tidewire_auth::SecretText;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::{RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Error};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::url::Target;
use crate::http::retry_after;

/// From the look-up of the name to the end of the handshake.
const OPEN_MAX: Duration = Duration::from_secs(10);
/// The server pings every 25 s: a silence this long means that the connection is dead.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// No message is larger.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why there is no socket.
#[derive(Debug, Error)]
pub(super) enum OpenError {
    /// The handshake was answered with a status.
    #[error("the handshake was refused with {status}")]
    Status {
        /// The status.
        status: u16,
        /// The header `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// No connection, or no handshake.
    #[error("no connection: {0}")]
    Failed(String),
}

/// What a socket brings.
pub(super) enum Came {
    /// A message.
    Text(String),
    /// A close, with its code if it had one, and its reason.
    Closed(Option<u16>, String),
    /// The end without a close.
    Lost(String),
}

/// An open socket.
pub(super) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    closed: Option<(Option<u16>, String)>,
}

impl Socket {
    /// Connects and shows the token as a subprotocol, as a browser does.
    pub(super) async fn open(
        target: &Target,
        cursor: Option<&str>,
        token: &SecretText,
    ) -> Result<Self, OpenError> {
        let failed = |why: &dyn std::fmt::Display| OpenError::Failed(why.to_string());
        let url = target.url(cursor);
        let request = url.as_str().into_client_request();
        let mut request = request.map_err(|error| failed(&error))?;
        let offer = format!("{}, bearer.{}", target.protocol(), token.expose());
        let mut offer = HeaderValue::from_str(&offer).map_err(|error| failed(&error))?;
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
            Ok(Ok((stream, _))) => Ok(Self { stream, closed: None }),
            Ok(Err(Error::Http(response))) => {
                let header = response.headers().get(RETRY_AFTER);
                Err(OpenError::Status {
                    status: response.status().as_u16(),
                    retry_after: header.and_then(|value| retry_after(value.to_str().ok()?)),
                })
            }
            Ok(Err(error)) => Err(failed(&error)),
            Err(_) => Err(failed(&format!("no answer within {} s", OPEN_MAX.as_secs()))),
        }
    }

    /// The next message, or the end. Pings are answered on the way. Losing the future loses nothing.
    pub(super) async fn next(&mut self) -> Came {
        loop {
            let message = match tokio::time::timeout(SILENCE_MAX, self.stream.next()).await {
                Ok(message) => message,
                Err(_) => {
                    return Came::Lost(format!("nothing heard for {} s", SILENCE_MAX.as_secs()));
                }
            };
            match message {
                Some(Ok(Message::Text(text))) => return Came::Text(text.as_str().to_owned()),
                Some(Ok(Message::Close(frame))) => {
                    let close =
                        frame.map_or((None, String::new()), |CloseFrame { code, reason }| {
                            (Some(u16::from(code)), reason.as_str().to_owned())
                        });
                    // The answer to the close goes out while the end is read.
                    self.closed = Some(close);
                }
                Some(Ok(_)) => {}
                None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => {
                    return self.end("the connection closed");
                }
                Some(Err(error)) => return self.end(&error.to_string()),
            }
        }
    }

    fn end(&mut self, why: &str) -> Came {
        match self.closed.take() {
            Some((code, reason)) => Came::Closed(code, reason),
            None => Came::Lost(format!("the connection was lost: {why}")),
        }
    }

    /// Sends a message; one that does not go out is known by the end that follows.
    pub(super) async fn send(&mut self, text: String) {
        let _ = self.stream.send(Message::Text(text.into())).await;
    }

    /// Closes, and waits for the answer for so long.
    pub(super) async fn close(mut self, max: Duration) {
        let frame =
            CloseFrame { code: CloseCode::Normal, reason: tungstenite::Utf8Bytes::default() };
        let closing = async {
            // Who is gone already need not be told.
            let _ = self.stream.send(Message::Close(Some(frame))).await;
            while let Some(Ok(_)) = self.stream.next().await {}
        };
        // No answer is as good as one: the process ends.
        let _ = tokio::time::timeout(max, closing).await;
    }
}
