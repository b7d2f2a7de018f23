//! A plain WebSocket client.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header::HeaderName};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::World;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A handshake.
pub(crate) struct Wish {
    address: SocketAddr,
    path: String,
    headers: Vec<(String, String)>,
    narrow: bool,
}

impl Wish {
    pub(crate) fn new(address: SocketAddr, path: &str) -> Self {
        Self { address, path: path.to_owned(), headers: Vec::new(), narrow: false }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The system keeps little for a client that does not read.
    pub(crate) fn narrow(mut self) -> Self {
        self.narrow = true;
        self
    }

    /// Connects; a refusal is its status.
    pub(crate) async fn try_open(self) -> Result<Socket, u16> {
        let mut request = format!("ws://{}{}", self.address, self.path)
            .into_client_request()
            .expect("a sound request");
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        let socket = TcpSocket::new_v4().unwrap();
        if self.narrow {
            socket.set_recv_buffer_size(4096).unwrap();
        }
        let stream = socket.connect(self.address).await.map_err(|_| 0_u16)?;
        stream.set_nodelay(true).unwrap();
        let opened = tokio::time::timeout(PATIENCE, client_async(request, stream));
        match opened.await.expect("an answer in time") {
            Ok((stream, response)) => {
                let protocol = response.headers().get("sec-websocket-protocol");
                let protocol = protocol.map(|value| value.to_str().unwrap().to_owned());
                Ok(Socket { stream, protocol })
            }
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("the handshake failed: {error}"),
        }
    }

    pub(crate) async fn open(self) -> Socket {
        match self.try_open().await {
            Ok(socket) => socket,
            Err(status) => panic!("refused: {status}"),
        }
    }
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    Text(String),
    Close(u16, String),
    /// The stream ended without a close frame.
    End,
}

/// An open socket.
pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// The subprotocol that was echoed.
    pub(crate) protocol: Option<String>,
}

impl Socket {
    /// The next text or close frame; `limit` is how long it may take.
    pub(crate) async fn next_within(&mut self, limit: Duration) -> Option<Came> {
        let next = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Text(text))) => return Came::Text(text.as_str().to_owned()),
                    Some(Ok(Message::Close(Some(frame)))) => {
                        return Came::Close(frame.code.into(), frame.reason.as_str().to_owned());
                    }
                    Some(Ok(Message::Close(None))) => return Came::Close(1005, String::new()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Came::End,
                }
            }
        };
        tokio::time::timeout(limit, next).await.ok()
    }

    pub(crate) async fn next(&mut self) -> Came {
        self.next_within(PATIENCE).await.expect("something comes")
    }

    /// The next message.
    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Came::Text(text) => text,
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// The next message, read.
    pub(crate) async fn json(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The id of the next message.
    pub(crate) async fn id(&mut self) -> String {
        let message = self.json().await;
        message["id"].as_str().unwrap_or_else(|| panic!("no id: {message}")).to_owned()
    }

    /// The message with this id. For a socket on a replica that may still have had older records before it
    /// when the socket came: those are messages for it too.
    pub(crate) async fn until(&mut self, id: &str) -> Value {
        loop {
            let message = self.json().await;
            assert!(message["id"].is_string(), "{message}");
            if message["id"] == id {
                return message;
            }
        }
    }

    /// The close frame, which must be the next.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        match self.next().await {
            Came::Close(code, reason) => (code, reason),
            other => panic!("expected a close, got {other:?}"),
        }
    }

    /// Answers pings until exactly so many sessions of the tenant are proven: who comes back sooner is told once
    /// more that its session starts. Nothing else may come meanwhile.
    pub(crate) async fn until_proven(&mut self, world: &World, tenant: &str, count: usize) {
        let until = Instant::now() + PATIENCE;
        while world.proven(tenant) != count {
            assert!(Instant::now() < until, "sessions are not proven in time");
            assert_eq!(self.next_within(Duration::from_millis(20)).await, None);
        }
    }

    /// Sends a text.
    pub(crate) async fn say(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn say_binary(&mut self, bytes: &[u8]) {
        self.stream.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// Sends a field list and waits until it is in force: an unknown field behind it is refused after it.
    pub(crate) async fn set_fields(&mut self, list: &str) {
        self.say(list).await;
        self.say(r#"{"noSuchFieldAtAll":"*"}"#).await;
        let refused = self.json().await;
        assert_eq!(refused["statusCode"], 400, "{refused}");
        let message = refused["message"].as_str().unwrap();
        assert!(message.starts_with("unknown field 'noSuchFieldAtAll'"), "{message}");
    }

    /// Says goodbye.
    pub(crate) async fn close(mut self) {
        self.stream.close(None).await.unwrap();
        while self.next().await != Came::End {}
    }
}
